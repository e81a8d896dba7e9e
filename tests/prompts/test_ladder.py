"""The prompt settings of the ladder, how people err on them, and the controls, on lesions drawn by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from lungseg_utils import registry
from lungseg_utils.core.masks import dsc
from lungseg_utils.experiments import interaction
from lungseg_utils.networks.prompted_control import keep_prompted
from lungseg_utils.prompts import boxes, clicks, ladder, lines
from lungseg_utils.prompts.jitter import perturb
from lungseg_utils.types import Box, Image, Mask, Points, Prediction, Prompt, Segmenter, SlicePrompt, Study

SPACING = (1.0, 1.0, 2.0)
AFFINE = np.diag([*SPACING, 1.0])


def _volume(*parts, shape=(40, 40, 12)):
    array = np.zeros(shape, bool)
    for part in parts:
        array[part] = True
    return array


KINDS = (("box",), ("box", "points"), ("box", "points", "none"))


def _box(prompt, index):
    return next(slice_prompt.box for slice_prompt in prompt.slices if slice_prompt.index == index)


def test_a_model_is_asked_with_all_settings_of_its_kinds_and_a_detector_never_with_its_own_boxes():
    of = {kinds: ladder.settings_for(SimpleNamespace(prompts=kinds, is_automatic="none" in kinds)) for kinds in KINDS}
    assert of["box",] == ("box_every_slice", "box_alternate_slices", "box_3d", "box_one_slice", "recist_line", "detector_box")
    assert of["box", "points"] == tuple(name for name in ladder.PROMPT_SETTINGS if name != "none")
    assert of["box", "points", "none"] == tuple(name for name in ladder.PROMPT_SETTINGS if name != "detector_box")


def test_no_prompter_speaks_of_a_lesion_where_there_is_none():
    empty = Mask(np.zeros((5, 5, 5), bool), AFFINE)
    for card in ladder.PROMPT_SETTINGS.values():
        dialogue = card.make(empty, np.random.default_rng(0))
        assert next(dialogue) == ()
        with pytest.raises(StopIteration):
            dialogue.send(Prediction(empty, None, 0, 0))


# --- boxes ------------------------------------------------------------------------------------------------------------


def test_between_drawn_slices_boxes_are_interpolated_outwards():
    lesion = _volume(np.s_[10:20, 10:20, 2], np.s_[12:13, 10:14, 3], np.s_[14:16, 10:21, 4], np.s_[14:16, 10:21, 5])
    prompt = boxes.alternate_slices(lesion, 1)
    assert [slice_prompt.index for slice_prompt in prompt.slices] == [2, 3, 4, 5]
    assert prompt.actions == 3  # slices 2, 4 and the last one
    assert _box(prompt, 2) == Box((10, 10, 2), (20, 20, 3))
    assert _box(prompt, 3) == Box((12, 10, 3), (18, 21, 4))  # half way between 20 and 21 is rounded outwards
    assert _box(prompt, 5) == Box((14, 10, 5), (16, 21, 6))


def test_a_box_in_3d_has_its_rectangle_on_each_slice():
    lesion = _volume(np.s_[10:20, 12:15, 2], np.s_[11:13, 10:14, 3], np.s_[11:13, 10:14, 4])
    prompt = boxes.volume(lesion, 7)
    assert prompt.box_3d == Box((10, 10, 2), (20, 15, 5))
    assert [(h.index, h.box) for h in prompt.slices] == [(k, Box((10, 10, k), (20, 15, k + 1))) for k in (2, 3, 4)]
    assert (prompt.lesion_id, prompt.actions, prompt.find_ends) == (7, 1, False)


# --- the RECIST line ----------------------------------------------------------------------------------------------------


def test_the_longest_chord_of_a_rectangle_is_its_diagonal_in_mm():
    plane = np.zeros((30, 30), bool)
    plane[5:15, 8:12] = True
    assert lines.longest_chord(plane, (1.0, 1.0)) == ((5, 8), (14, 11))
    tall = np.zeros((30, 30), bool)
    tall[5:15, 8:15] = True
    assert lines.longest_chord(tall, (0.1, 1.0)) == ((5, 8), (14, 14))


def test_a_chord_stays_inside_the_lesion():
    u_shape = np.zeros((30, 30), bool)
    u_shape[5:25, 5:8] = u_shape[5:25, 20:23] = u_shape[22:25, 5:23] = True
    first, last = lines.longest_chord(u_shape, (1.0, 1.0))
    line = np.array(first) + np.linspace(0, 1, 200)[:, None] * (np.array(last) - first)
    assert u_shape[tuple(np.rint(line).astype(int).T)].all()
    assert np.linalg.norm(np.array(last) - first) < 22  # from one arm's top to the other's would be 27


def test_the_square_of_a_line_has_the_lines_length_around_its_middle():
    lesion = _volume(np.s_[10:20, 15, 4])  # ten voxels in a row
    prompt = lines.line_box(lesion, 1, SPACING)
    assert prompt.slices == (SlicePrompt(4, box=Box((10, 11, 4), (20, 21, 5))),)  # middle (15, 15.5), 10 mm long
    assert prompt.find_ends
    at_side = lines.line_box(_volume(np.s_[10:20, 1, 4]), 1, SPACING)
    assert at_side.slices[0].box.ijk_min[1] == 0


def test_a_line_ends_on_the_surface_of_the_lesion():
    plane = np.zeros((30, 30), bool)
    plane[5:15, 7] = True
    assert lines.surface_ends(plane, (1.0, 1.0)) == pytest.approx(np.array([[4.5, 7], [14.5, 7]]), abs=0.06)
    square = np.zeros((30, 30), bool)
    square[5:15, 5:15] = True
    assert lines.surface_ends(square, (1.0, 1.0)) == pytest.approx(np.array([[4.5, 4.5], [14.5, 14.5]]), abs=0.06)
    to_the_rim = np.ones((4, 1), bool)
    assert lines.surface_ends(to_the_rim, (1.0, 1.0)) == pytest.approx(np.array([[-0.5, 0], [3.5, 0]]), abs=0.06)
    bent = np.zeros((30, 30), bool)
    bent[5, 5:16] = bent[5:16, 15] = True  # a line from arm to arm would leave it between two voxels
    first, last = lines.longest_chord(bent, (1.0, 1.0))
    assert first[0] == last[0] or first[1] == last[1] or np.abs(np.subtract(first, last)).max() <= 2


def test_prompts_of_a_line_move_with_the_lesion():
    lesion = _volume(np.s_[10:19, 12:16, 4])
    for shift in ((1, 0), (0, 1), (1, 1)):
        moved = np.roll(lesion, shift, axis=(0, 1))
        for draw in (lines.line_box, lines.line_points):
            here, there = draw(lesion, 1, SPACING).slices[0], draw(moved, 1, SPACING).slices[0]
            if here.box is not None:
                assert np.subtract(there.box.ijk_min, here.box.ijk_min).tolist() == [*shift, 0]
                assert np.subtract(there.box.ijk_max, here.box.ijk_max).tolist() == [*shift, 0]
            else:
                assert np.subtract(there.points.ijk, here.points.ijk).tolist() == [[*shift, 0]] * 3


def test_points_of_a_line_are_its_ends_and_its_middle():
    prompt = lines.line_points(_volume(np.s_[10:21, 15, 4]), 1, SPACING)
    assert prompt.slices[0].points == Points(((10, 15, 4), (20, 15, 4), (15, 15, 4)), (1, 1, 1))


def test_a_single_voxel_wide_lesion_has_a_line_of_one_voxel():
    prompt = lines.line_box(_volume(np.s_[10, 15, 3:6]), 1, SPACING)
    assert prompt.slices[0].box == Box((10, 15, 3), (11, 16, 4))


# --- clicks -----------------------------------------------------------------------------------------------------------


def test_a_click_lies_deepest_inside_on_the_largest_slice():
    lesion = _volume(np.s_[10:21, 10:17, 5], np.s_[10:14, 10:14, 6])
    assert clicks.center_click(lesion, 1, SPACING).slices == (SlicePrompt(5, points=Points(((13, 13, 5),), (1,))),)
    ring = _volume(np.s_[5:30, 5:30, 5])
    ring[9:26, 9:26, 5] = False
    place = clicks.center_click(ring, 1, SPACING).slices[0].points.ijk[0]
    assert ring[place]


def test_random_clicks_stay_in_the_deep_half_and_differ():
    lesion, rng = _volume(np.s_[10:20, 10:20, 5]), np.random.default_rng(0)
    places = {clicks.random_click(lesion, 1, SPACING, rng).slices[0].points.ijk[0] for _ in range(200)}
    # depths on a side of ten are 1 2 3 4 5 5 4 3 2 1, and half of 5 is 2.5
    assert places == {(i, j, 5) for i in range(12, 18) for j in range(12, 18)}


def test_corrections_click_the_largest_error_as_inside_or_outside():
    reference = _volume(np.s_[10:20, 10:20, 3:8])
    labels = reference.astype(int)
    first = (clicks.center_click(reference, 1, SPACING),)
    half = reference.copy()
    half[:, :, 6:] = False
    more = clicks.corrected(first, labels, half, SPACING)
    place = more[0].slices[1].points
    assert place.labels == (1,)
    assert place.ijk[0][2] in (6, 7)
    assert more[0].actions == 2
    too_much = _volume(np.s_[10:20, 10:20, 3:8], np.s_[22:30, 10:20, 4:7])
    outside = clicks.corrected(first, labels, too_much, SPACING)[0].slices[1]
    assert outside.points.labels == (0,)
    assert 22 <= outside.points.ijk[0][0] < 30
    assert clicks.corrected(first, labels, reference, SPACING) is None


def test_a_correction_joins_the_lesion_that_it_lies_in_or_near():
    reference = _volume(np.s_[2:8, 2:8, 2:5], np.s_[30:36, 30:36, 6:9])
    labels = reference.astype(int)
    labels[30:36] *= 2
    first = tuple(clicks.center_click(labels == n, n, SPACING) for n in (1, 2))
    missed = _volume(np.s_[2:8, 2:8, 2:5])
    assert [p.actions for p in clicks.corrected(first, labels, missed, SPACING)] == [1, 2]
    wrong = reference | _volume(np.s_[2:8, 9:20, 2:5])
    assert [p.actions for p in clicks.corrected(first, labels, wrong, SPACING)] == [2, 1]


class _GrowsWithClicks(Segmenter):
    """Gives one more slice of the reference for each click that it was given."""

    def __init__(self, reference):
        self.reference, self.asked = reference, []

    def set_image(self, image):
        pass

    def predict(self, prompts=()):
        count = sum(len(h.points.labels) for p in prompts for h in p.slices)
        self.asked.append(count)
        answer = self.reference.array.copy()
        answer[:, :, 3 + count :] = False
        return Prediction(Mask(answer, AFFINE), None, 0.0, 0.0)


@pytest.mark.parametrize(("setting", "looks", "actions"), [("click", [1], 1), ("clicks_3", [1, 2, 3], 3), ("clicks_5", [1, 2, 3, 4], 4)])
def test_a_dialogue_of_clicks_ends_at_its_number_or_when_all_is_right(setting, looks, actions):
    reference = Mask(_volume(np.s_[10:20, 10:20, 3:7]), AFFINE)
    segmenter, study = _GrowsWithClicks(reference), Study(Image(np.zeros(reference.shape), AFFINE), {"r": reference})
    prediction, cost = interaction.run_interaction(segmenter, study, reference, setting, np.random.default_rng(0))
    assert segmenter.asked == looks
    assert cost == actions
    assert (dsc(reference.array, prediction.mask.array) == 1) == (setting == "clicks_5")


def test_dialogues_of_fewer_clicks_are_not_asked_again():
    reference = Mask(_volume(np.s_[10:20, 10:20, 3:9]), AFFINE)
    study = Study(Image(np.zeros(reference.shape), AFFINE), {"r": reference})

    def talk(segmenter):
        settings = ("clicks_5", "clicks_4", "clicks_3", "clicks_2", "click")
        return [interaction.run_interaction(segmenter, study, reference, setting, np.random.default_rng(0)) for setting in settings]

    alone, remembering = _GrowsWithClicks(reference), _GrowsWithClicks(reference)
    plain, kept = talk(alone), talk(interaction.MemoizedSegmenter(remembering))
    assert len(alone.asked) == 15
    assert remembering.asked == [1, 2, 3, 4, 5]
    for (first, actions), (second, as_many) in zip(plain, kept, strict=True):
        assert np.array_equal(first.mask.array, second.mask.array)
        assert actions == as_many


# --- jitter -----------------------------------------------------------------------------------------------------------


def _jittered(setting, share, seed, lesion=None):
    lesion = _volume(np.s_[10:30, 12:22, 3:9]) if lesion is None else lesion
    prompts = next(ladder.prompt_setting(setting).make(Mask(lesion, AFFINE), np.random.default_rng(0)))
    return perturb(prompts, share, np.random.default_rng(seed), lesion.shape, SPACING)


@pytest.mark.parametrize("setting", [name for name in ladder.PROMPT_SETTINGS if not name.startswith("clicks")])
def test_without_jitter_nothing_moves_and_the_same_seed_moves_alike(setting):
    prompts = next(ladder.prompt_setting(setting).make(Mask(_volume(np.s_[10:30, 12:22, 3:9]), AFFINE), np.random.default_rng(0)))
    assert perturb(prompts, 0.0, np.random.default_rng(1), (40, 40, 12), SPACING) == prompts
    assert _jittered(setting, 0.3, 5) == _jittered(setting, 0.3, 5)
    if setting != "none":
        assert len({str(_jittered(setting, 0.3, seed)) for seed in range(10)}) > 5


def test_sides_move_by_their_share_together_over_the_slices():
    together, moved = [], []
    for seed in range(200):
        prompt = _jittered("box_every_slice", 0.2, seed)[0]
        lows = np.array([h.box.ijk_min[0] for h in prompt.slices]) - 10
        assert np.abs(lows).max() <= 5  # 20 % of 20 voxels and a quarter more on each slice
        assert np.ptp(lows) <= 2
        together.append(np.abs(lows.mean()))
        moved.append((prompt.slices[0].index, prompt.slices[-1].index))
        assert [h.index for h in prompt.slices] == list(range(prompt.slices[0].index, prompt.slices[-1].index + 1))
    assert np.mean(together) == pytest.approx(2, abs=0.4)
    assert {first for first, _ in moved} == {2, 4}  # 20 % of 6 slices is one
    assert {last for _, last in moved} == {7, 9}


def test_a_tiny_box_moves_by_a_voxel_and_never_vanishes():
    lesion = _volume(np.s_[0:1, 37:40, 5:6])
    for seed in range(50):
        for setting in ("box_every_slice", "box_one_slice", "box_3d", "recist_line"):
            for slice_prompt in _jittered(setting, 0.4, seed, lesion)[0].slices:
                assert min(slice_prompt.box.ijk_min) >= 0
                assert np.all(np.array(slice_prompt.box.ijk_max) <= (40, 40, 12))


def test_a_single_slice_is_chosen_a_little_wrongly_and_clicks_move_by_the_lesions_size():
    slices = {_jittered("box_one_slice", 0.3, seed)[0].slices[0].index for seed in range(100)}
    assert slices == {1, 2, 3, 4, 5}  # 30 % of a mean side of 15 mm is two slices of 2 mm
    places = np.array([_jittered("click", 0.2, seed)[0].slices[0].points.ijk[0] for seed in range(300)])
    spread = np.ptp(places, axis=0)
    assert 9 <= spread[0] <= 12  # within 20 % of 30 mm on either side
    assert spread[2] == 0


# --- controls ---------------------------------------------------------------------------------------------------------


def _prompt(index, low, high, **more):
    return Prompt(1, (SlicePrompt(index, box=Box((*low, index), (*high, index + 1))),), **more)


def test_the_control_keeps_what_touches_the_prompt_and_cuts_it():
    near, far = np.s_[10:30, 10:14, 2:9], np.s_[33:38, 33:38, 2:9]
    mask = _volume(near, far)
    kept = keep_prompted(mask, [_prompt(5, (12, 10), (16, 14), find_ends=True)], SPACING)
    assert np.array_equal(kept, _volume(np.s_[10:21, 10:14, 2:9]))  # 5 mm beyond 16 on all slices
    only = keep_prompted(mask, [_prompt(5, (12, 10), (16, 14))], SPACING)
    assert np.array_equal(only, _volume(np.s_[10:21, 10:14, 5:6]))
    in_3d = Box((12, 10, 5), (16, 14, 6))
    assert np.array_equal(
        keep_prompted(mask, [Prompt(1, boxes.sections(in_3d), box_3d=in_3d)], SPACING),
        _volume(np.s_[10:21, 10:14, 3:8]),  # 5 mm are two slices
    )
    assert not keep_prompted(mask, [_prompt(5, (20, 20), (25, 25), find_ends=True)], SPACING).any()


def test_the_control_takes_clicks_inside_and_drops_what_is_only_clicked_as_outside():
    mask = _volume(np.s_[10:30, 10:14, 2:9], np.s_[33:38, 33:38, 2:9])
    inside = Prompt(1, (SlicePrompt(5, points=Points(((12, 12, 5),), (1,))),), find_ends=True)
    assert np.array_equal(keep_prompted(mask, [inside], SPACING), _volume(np.s_[10:30, 10:14, 2:9]))
    both = Points(((12, 12, 5), (29, 13, 5)), (1, 0))  # of one component: it cannot be cut, and the tumor is not thrown away with it
    kept = keep_prompted(mask, [Prompt(1, (SlicePrompt(5, points=both),), find_ends=True)], SPACING)
    assert np.array_equal(kept, _volume(np.s_[10:30, 10:14, 2:9]))
    two = _prompt(5, (12, 10), (36, 36))
    outside = SlicePrompt(5, box=two.slices[0].box, points=Points(((35, 35, 5),), (0,)))
    assert np.array_equal(keep_prompted(mask, [Prompt(1, (outside,))], SPACING), _volume(np.s_[10:30, 10:14, 5:6]))


def _trivial(rule, image, prompt, diameter=20.0):
    segmenter = registry.plugin("models", "trivial").build({"rule": rule, "median_diameter_mm": diameter})
    segmenter.set_image(image)
    return segmenter.predict((prompt,)).mask


def test_trivial_answers_to_a_click_and_to_a_line():
    i, j, k = np.ogrid[:40, :40, :24]
    ball = (i - 20) ** 2 + (j - 20) ** 2 + (2 * (k - 12)) ** 2 <= 10**2
    image = Image(np.where(ball, 40.0, -850.0), AFFINE)
    click = clicks.center_click(ball, 1, SPACING)
    assert np.array_equal(_trivial("ellipse", image, click).array, ball)
    assert _trivial("ellipse", image, click, diameter=10.0).volume_ml == pytest.approx(np.pi / 6, rel=0.1)
    assert _trivial("filled", image, click).volume_ml == pytest.approx(21 * 21 * 22 / 1000)
    for rule in ("otsu", "soft_tissue"):
        assert np.array_equal(_trivial(rule, image, click, diameter=14.0).array, ball)
    line = lines.line_points(ball, 1, SPACING)
    assert dsc(ball, _trivial("ellipse", image, line, diameter=3.0).array) > 0.9
    away = Prompt(1, (SlicePrompt(12, points=Points(((20, 20, 12), (28, 20, 12)), (1, 0))),), find_ends=True)
    cut = _trivial("soft_tissue", image, away).array
    assert not cut[25:, 20, 12].any()
    assert cut[20, 20, 12]


def test_an_ellipsoid_in_a_box_in_3d_is_half_of_it():
    lesion = _volume(np.s_[5:35, 10:30, 1:11])
    answer = _trivial("ellipse", Image(np.zeros(lesion.shape), AFFINE), boxes.volume(lesion, 1)).array
    assert answer.sum() / lesion.sum() == pytest.approx(np.pi / 6, rel=0.02)
    assert not (answer & ~lesion).any()
