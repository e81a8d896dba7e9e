"""Prompters and the trivial baseline, on lesions drawn by hand."""

import numpy as np
import pytest

from lungseg_utils import registry
from lungseg_utils.core.masks import dsc
from lungseg_utils.prompts import ladder
from lungseg_utils.types import Box, Image, InputError, Mask, Points, Prompt, SlicePrompt


def _mask(array):
    return Mask(array, np.diag([1.0, 1.0, 2.0, 1.0]))


def _boxes(array):
    prompts = next(ladder.prompt_setting("box_every_slice").make(_mask(array), np.random.default_rng(0)))
    return {(p.lesion_id, s.index, s.box.ijk_min, s.box.ijk_max) for p in prompts for s in p.slices}


def test_one_tight_box_per_component_and_slice():
    array = np.zeros((10, 10, 4), bool)
    array[2:5, 3:7, 1] = True
    array[2:4, 3:4, 2] = array[6:8, 3:4, 2] = True  # two parts on one slice; the right one hangs on the left by slice 1 only
    array[4:7, 3, 1] = True
    assert _boxes(array) == {
        (1, 1, (2, 3, 1), (7, 7, 2)),
        (1, 2, (2, 3, 2), (4, 4, 3)),
        (1, 2, (6, 3, 2), (8, 4, 3)),
    }


def test_an_empty_reference_gives_no_box_and_none_gives_none():
    assert _boxes(np.zeros((4, 4, 4), bool)) == set()
    dialogue = ladder.prompt_setting("none").make(_mask(np.zeros((4, 4, 4), bool)), np.random.default_rng(0))
    assert next(dialogue) == ()
    with pytest.raises(StopIteration):
        dialogue.send(None)


def test_an_unknown_prompter_lists_the_known_ones():
    with pytest.raises(InputError, match="box_every_slice"):
        ladder.prompt_setting("telepathy")


def _ellipse(array, prompts):
    segmenter = registry.plugin("models", "trivial").build({"rule": "ellipse", "median_diameter_mm": 20.0})
    segmenter.set_image(Image(np.zeros(array.shape), np.diag([1.0, 1.0, 2.0, 1.0])))
    return segmenter.predict(prompts).mask.array


def test_the_ellipse_in_a_three_by_three_box_is_a_cross_with_corners_cut():
    # centres at -1, 0, 1 over a radius of 1.5: corners at (2/3)^2 * 2 = 0.89 <= 1 stay inside
    prompts = (Prompt(1, (SlicePrompt(0, box=Box((0, 0, 0), (3, 3, 1))),)),)
    assert _ellipse(np.zeros((3, 3, 1)), prompts).all()
    prompts = (Prompt(1, (SlicePrompt(0, box=Box((0, 0, 0), (4, 4, 1))),)),)
    # centres at +-1.5 over 2: corners at 0.5625 * 2 > 1 fall outside
    assert _ellipse(np.zeros((4, 4, 1)), prompts)[:, :, 0].sum() == 12


def test_the_ellipse_covers_pi_over_four_of_a_large_box():
    prompts = (Prompt(1, (SlicePrompt(2, box=Box((10, 5, 2), (90, 65, 3))),)),)
    filled = _ellipse(np.zeros((100, 100, 4)), prompts)
    assert filled.sum() == pytest.approx(np.pi / 4 * 80 * 60, rel=0.01)
    assert not filled[:, :, [0, 1, 3]].any()


def test_a_square_lesion_scores_what_geometry_says():
    # an ellipse inscribed in a square: 2 * (pi / 4) / (1 + pi / 4)
    array = np.zeros((80, 80, 3), bool)
    array[10:70, 10:70, 1] = True
    prompts = next(ladder.prompt_setting("box_every_slice").make(_mask(array), np.random.default_rng(0)))
    assert dsc(array, _ellipse(array, prompts)) == pytest.approx(2 * (np.pi / 4) / (1 + np.pi / 4), abs=0.005)


def test_boxes_refuse_emptiness_and_points_want_labels():
    with pytest.raises(InputError, match="empty"):
        Box((1, 1, 1), (1, 2, 2))
    with pytest.raises(InputError, match="label"):
        Points(((1, 1, 1),), (1, 0))


def test_one_slice_gets_one_box_on_the_slice_of_largest_area_the_lowest_where_equal():
    array = np.zeros((12, 12, 6), bool)
    array[2:5, 3:7, 1] = True
    array[1:5, 3:7, 2] = array[2:6, 3:7, 3] = True  # the same area on 2 and 3
    array[9:11, 3:7, 2] = True  # a second part that hangs on the first one through the next line
    array[5:9, 3, 2] = True
    prompts = next(ladder.prompt_setting("box_one_slice").make(_mask(array), np.random.default_rng(0)))
    found = [(p.lesion_id, p.find_ends, [(s.index, s.box) for s in p.slices]) for p in prompts]
    assert found == [(1, True, [(2, Box((1, 3, 2), (11, 7, 3)))])]
    assert next(ladder.prompt_setting("box_one_slice").make(_mask(np.zeros((4, 4, 4), bool)), np.random.default_rng(0))) == ()


@pytest.fixture
def ball():
    """A ball of radius 10 mm in soft tissue (40 HU) in lung (-850 HU), on voxels of 1 x 1 x 2 mm."""
    i, j, k = np.ogrid[:40, :40, :24]
    inside = (i - 20) ** 2 + (j - 20) ** 2 + (2 * (k - 12)) ** 2 <= 100
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    return Image(np.where(inside, 40.0, -850.0), affine), Mask(inside, affine)


@pytest.mark.parametrize(
    ("rule", "prompter", "least", "most"),
    [
        ("ellipse", "box_every_slice", 0.95, 1.0),
        ("ellipse", "box_one_slice", 0.90, 0.95),  # its half axis is 10.5: 2 / (1 + 1.05 ** 3) = 0.93
        ("filled", "box_every_slice", 0.80, 0.92),  # a square around a circle: 2 pi/4 / (1 + pi/4) = 0.88
        ("filled", "box_one_slice", 0.57, 0.63),  # 21 x 21 x 22 mm around a ball: its share is 0.43, so 2 * 0.43 / 1.43 = 0.60
        ("otsu", "box_every_slice", 1.0, 1.0),
        ("otsu", "box_one_slice", 0.99, 1.0),
        ("soft_tissue", "box_every_slice", 1.0, 1.0),
        ("soft_tissue", "box_one_slice", 0.99, 1.0),
    ],
)
def test_trivial_rules_on_a_ball(ball, rule, prompter, least, most):
    image, reference = ball
    segmenter = registry.plugin("models", "trivial").build({"rule": rule, "median_diameter_mm": 20.0})
    segmenter.set_image(image)
    prompts = next(ladder.prompt_setting(prompter).make(reference, np.random.default_rng(0)))
    assert least <= dsc(reference.array, segmenter.predict(prompts).mask.array) <= most


def test_without_a_prompt_rules_of_density_take_the_largest_soft_tissue_in_a_lung():
    array = np.full((60, 60, 20), 40.0)
    array[:3] = array[-3:] = array[:, :3] = array[:, -3:] = -1000  # air around the body
    array[10:50, 10:50, 2:18] = -850
    array[15:33, 15:33, 5:14] = 50  # the largest
    array[38:42, 38:42, 6:9] = 50
    image = Image(array, np.diag([1.0, 1.0, 2.0, 1.0]))
    largest = np.zeros(array.shape, bool)
    largest[15:33, 15:33, 5:14] = True
    for rule in ("otsu", "soft_tissue", "ellipse"):
        segmenter = registry.plugin("models", "trivial").build({"rule": rule, "median_diameter_mm": 20.0})
        segmenter.set_image(image)
        answer = segmenter.predict(()).mask.array
        if rule == "ellipse":
            assert not answer.any()
        else:  # found on a grid of 3 mm, so that its rim is rough
            assert dsc(largest, answer) > 0.75
            assert not answer[36:44, 36:44].any()
            assert not answer[:10].any()


def test_an_unknown_rule_lists_the_known_ones():
    with pytest.raises(InputError, match="soft_tissue"):
        registry.plugin("models", "trivial").build({"rule": "guess", "median_diameter_mm": 20.0})
