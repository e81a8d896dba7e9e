"""The network that is given the prompt: what it sees, what it answers, and that it learns to follow its box."""

import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.core.masks import dsc
from lungseg_utils.networks import box_channel
from lungseg_utils.networks.box_channel import filled_boxes, window_around
from lungseg_utils.prompts import boxes, clicks
from lungseg_utils.prompts.drawing import draw_prompts
from lungseg_utils.types import Box, Image, InputError, Mask, Prompt, SlicePrompt, Study, TrainingRun

MODEL = registry.plugin("models", "unet_prompted")
OPTIONS = {
    **MODEL.CARD.options,
    "spacing_mm": (1.0, 1.0, 1.0),
    "patch": (16, 16, 16),
    "widths": (8, 16),
    "steps": 150,
    "validate_every": 75,
    "learning_rate": 1e-2,
}
SETTINGS = box_channel.Settings.from_options(OPTIONS)
LESION = np.s_[4:9, 10:14, 6:11]


def _volume(*blocks, shape=(20, 24, 16)):
    array = np.zeros(shape, bool)
    for block in blocks:
        array[block] = True
    return array


class _Echo(torch.nn.Module):
    """Answers what its last channel shows, so that a prediction is the prompt."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.weight = torch.nn.Parameter(torch.zeros(1, 1, 1, 1, 1))

    def forward(self, inputs):
        self.seen.append(inputs)
        return 20 * inputs[:, -1:] - 10


def _echoing(shape=(20, 24, 16), spacing=(1.0, 1.0, 1.0), **options):
    settings = box_channel.Settings.from_options({**OPTIONS, **options})
    segmenter = box_channel.BoxChannelSegmenter(_Echo(), settings, "cpu")
    segmenter.set_image(Image(np.full(shape, -850.0), np.diag([*spacing, 1.0])))
    return segmenter


# --- the channel ------------------------------------------------------------------------------------------------------


def _channel(prompt, shape=(20, 24, 16)):
    return filled_boxes(prompt, Box((0, 0, 0), shape), shape)


def test_the_channel_is_the_inside_of_the_boxes_voxel_by_voxel():
    lesion = _volume(LESION)
    assert np.array_equal(_channel(boxes.every_slice(lesion, 1)), lesion)
    assert np.array_equal(_channel(boxes.volume(lesion, 1)), lesion)
    assert np.array_equal(_channel(boxes.one_slice(lesion, 1)), _volume(np.s_[4:9, 10:14, 6:7]))


def test_a_window_sees_the_boxes_at_their_place_in_it():
    channel = filled_boxes(boxes.volume(_volume(LESION), 1), Box((2, 8, 4), (12, 18, 14)), (10, 10, 10))
    assert np.array_equal(channel, _volume(np.s_[2:7, 2:6, 2:7], shape=(10, 10, 10)))


def test_on_a_coarser_grid_edges_go_to_the_nearest_cell_and_a_thin_slice_to_the_one_that_holds_it():
    box = Prompt(1, (SlicePrompt(5, box=Box((4, 3, 5), (9, 14, 6))),), find_ends=True)
    channel = filled_boxes(box, Box((0, 0, 0), (20, 24, 16)), (10, 12, 4))
    assert np.array_equal(channel, _volume(np.s_[2:5, 2:7, 1:2], shape=(10, 12, 4)))  # 4.5 and 1.5 go up; slice 5 is in cell 1


# --- the window -------------------------------------------------------------------------------------------------------


def _prompt(low, high):
    return Prompt(1, boxes.sections(Box(low, high)), box_3d=Box(low, high))


def test_a_window_is_a_patch_around_the_prompt_and_stays_in_the_image():
    image = Mask(np.zeros((60, 60, 60), bool), np.eye(4))
    assert window_around(_prompt((28, 30, 20), (32, 34, 22)), image, SETTINGS).box == Box((22, 24, 13), (38, 40, 29))
    at_a_side = window_around(_prompt((0, 56, 2), (4, 60, 4)), image, SETTINGS)
    assert at_a_side.box == Box((0, 44, 0), (16, 60, 16))
    assert (at_a_side.shape, at_a_side.lengths) == ((16, 16, 16), (16, 16, 16))


def test_a_window_grows_only_with_its_prompt_and_only_as_far_as_the_image():
    image = Mask(np.zeros((60, 40, 20), bool), np.eye(4))
    grown = window_around(_prompt((10, 5, 0), (28, 38, 20)), image, SETTINGS)
    assert grown.shape == (32, 32, 16)
    assert grown.lengths == (16, 32, 32)  # slices, rows, columns
    assert grown.box == Box((3, 5, 2), (35, 37, 18))


def test_a_window_on_another_grid_has_the_patchs_voxels_and_an_image_smaller_than_it_is_filled_up():
    image = Mask(np.zeros((100, 100, 6), bool), np.diag([0.5, 0.5, 2.0, 1.0]))
    window = window_around(_prompt((48, 48, 2), (52, 52, 4)), image, SETTINGS)
    assert window.box == Box((34, 34, 0), (66, 66, 6))
    assert (window.shape, window.lengths) == ((16, 16, 12), (16, 16, 16))


def test_a_cube_hardly_larger_than_the_patch_is_never_filled_with_air():
    segmenter = _echoing(shape=(18, 18, 18))
    segmenter.predict([_prompt((0, 0, 12), (5, 5, 18))])
    assert segmenter.network.seen[0].shape == (1, 3, 16, 16, 16)
    hu = segmenter.network.seen[0][:, :2]
    assert all(len(channel.unique()) == 1 for channel in hu[0])  # -850 HU everywhere, and no -1000


# --- the answer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["box_every_slice", "box_alternate_slices", "box_3d"])
@pytest.mark.parametrize(("shape", "spacing"), [((20, 24, 16), (1.0, 1.0, 1.0)), ((40, 48, 8), (0.5, 0.5, 2.0))])
def test_an_answer_lies_where_the_prompt_is(setting, shape, spacing):
    where = tuple(slice(round(s.start / mm), round(s.stop / mm)) for s, mm in zip(np.s_[4:10, 10:14, 6:10], spacing, strict=True))
    lesion = Mask(_volume(where, shape=shape), np.diag([*spacing, 1.0]))
    answer = _echoing(shape, spacing).predict(draw_prompts(lesion, setting))
    assert np.array_equal(answer.mask.array, lesion.array)
    assert answer.probability.shape == shape


def test_an_answer_moves_with_its_box():
    segmenter, lesion = _echoing(), _volume(LESION)
    moved = np.roll(lesion, (7, -5, 3), axis=(0, 1, 2))
    first, second = (segmenter.predict([boxes.volume(mask, 1)]).mask.array for mask in (lesion, moved))
    assert np.array_equal(np.roll(first, (7, -5, 3), axis=(0, 1, 2)), second)


class _Everywhere(_Echo):
    def forward(self, inputs):
        return torch.full_like(inputs[:, -1:], 10.0)


def test_without_find_ends_only_prompted_slices_are_answered_and_with_it_the_window():
    segmenter, lesion = _echoing(), _volume(LESION)
    segmenter.network = _Everywhere()
    for prompt in (boxes.volume(lesion, 1), boxes.every_slice(lesion, 1)):
        assert np.flatnonzero(segmenter.predict([prompt]).mask.array.any(axis=(0, 1))).tolist() == [6, 7, 8, 9, 10]
    found = segmenter.predict([boxes.one_slice(lesion, 1)]).mask.array
    assert np.array_equal(found, _volume(np.s_[0:16, 4:20, 0:16]))


def test_several_lesions_are_united_one_window_each():
    segmenter, other = _echoing(), np.s_[15:19, 2:6, 1:4]
    both = Mask(_volume(LESION, other), np.eye(4))
    assert np.array_equal(segmenter.predict(draw_prompts(both, "box_3d")).mask.array, both.array)
    assert len(segmenter.network.seen) == 2


def test_without_a_prompt_nothing_is_answered_and_what_it_cannot_read_is_refused_in_words():
    segmenter, lesion = _echoing(), _volume(LESION)
    assert not segmenter.predict(()).mask.array.any()
    with pytest.raises(InputError, match="clicks"):
        segmenter.predict([clicks.center_click(lesion, 1, (1.0, 1.0, 1.0))])
    with pytest.raises(InputError, match="no box"):
        segmenter.predict([Prompt(1)])
    with pytest.raises(InputError, match="20, 24, 16"):
        segmenter.predict([_prompt((15, 15, 10), (19, 25, 12))])
    with pytest.raises(InputError, match="no image"):
        MODEL.build(OPTIONS).predict(())


# --- training ---------------------------------------------------------------------------------------------------------


def _two_balls(seed):
    """Two equal balls in noise, apart from each other: (image, [ball, ball])."""
    rng, middles = np.random.default_rng(seed), []
    while len(middles) < 2:
        middle = rng.integers(7, 25, 3)
        middles += [middle] if all(np.linalg.norm(middle - other) > 13 for other in middles) else []
    voxels = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), -1)
    balls = [((voxels - middle) ** 2).sum(-1) <= 25 for middle in middles]
    return Image(np.where(balls[0] | balls[1], 40.0, -850.0) + rng.normal(0, 30, (32, 32, 32)), np.eye(4)), balls


def _study(seed):
    image, balls = _two_balls(seed)
    return Study(image, {"reference": Mask(balls[0] | balls[1], np.eye(4))})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    segmenter = MODEL.build(OPTIONS)
    run = TrainingRun(0, tmp_path_factory.mktemp("run"), "x", progress=False)
    return segmenter, segmenter.fit([_study(seed) for seed in range(6)], [_study(9)], run)


def test_it_is_validated_by_the_mean_of_two_prompt_settings(trained):
    segmenter, history = trained
    study = _study(9)
    asked = [draw_prompts(study.reference, setting) for setting in ("box_one_slice", "box_every_slice")]
    segmenter.set_image(study.image)
    expected = np.mean([dsc(study.reference.array, segmenter.predict(prompts).mask.array) for prompts in asked])
    assert history.query("quantity == 'validation DSC'")["value"].max() == pytest.approx(expected)


@pytest.mark.parametrize("setting", ["box_one_slice", "box_3d", "box_every_slice", "recist_line"])
@pytest.mark.parametrize("seed", [50, 51])
def test_of_two_equal_balls_it_answers_the_one_in_the_box(trained, setting, seed):
    segmenter, _ = trained
    image, (asked, other) = _two_balls(seed)
    segmenter.set_image(image)
    answer = segmenter.predict(draw_prompts(Mask(asked, image.affine), setting)).mask.array
    assert dsc(asked, answer) > 0.7
    assert dsc(other, answer) < 0.1


def test_weights_come_back_and_those_of_a_network_without_the_prompt_are_refused(trained, tmp_path):
    segmenter, _ = trained
    segmenter.save(tmp_path / "w.pt", {"identity": "here"})
    loaded, (image, (asked, _)) = MODEL.build(OPTIONS, seed=5), _two_balls(50)
    assert loaded.load(tmp_path / "w.pt") == {"identity": "here"}
    answers = []
    for one in (segmenter, loaded):
        one.set_image(image)
        answers.append(one.predict([boxes.volume(asked, 1)]).probability)
    assert np.array_equal(*answers)
    automatic = registry.plugin("models", "unet")
    with pytest.raises(InputError, match="another network"):
        automatic.build({**automatic.CARD.options, "widths": (8, 16)}).load(tmp_path / "w.pt")


def test_a_training_patch_holds_its_lesion_alone_and_its_prompt_lies_on_it():
    segmenter = MODEL.build(OPTIONS)
    cases = list(segmenter._working_cases(_study(0)))
    assert len(cases) == 2
    assert cases[0].hu is cases[1].hu
    inputs, references = segmenter._sample_batch(cases, np.random.default_rng(1))
    assert inputs.shape == (2, 3, 16, 16, 16)
    for channel, reference in zip(inputs[:, -1], references[:, 0], strict=True):
        assert set(channel.unique().tolist()) == {0.0, 1.0}
        assert (channel * reference).sum() > 0.4 * channel.sum()  # a ball fills half of its box


def test_studies_without_a_lesion_cannot_be_learned_from(tmp_path):
    image, _ = _two_balls(0)
    nothing = Study(image, {"reference": Mask(np.zeros(image.shape, bool), image.affine)})
    with pytest.raises(InputError, match="nothing to learn"):
        MODEL.build(OPTIONS).fit([nothing], [], TrainingRun(0, tmp_path, "x", progress=False))
