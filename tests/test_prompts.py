"""Prompters and the trivial baseline, on lesions drawn by hand."""

import numpy as np
import pytest

from lungseg_utils import prompts, registry
from lungseg_utils.metrics import dsc
from lungseg_utils.types import Box, Image, InputError, Mask, Points, Prompt, SlicePrompt


def _mask(array):
    return Mask(array, np.diag([1.0, 1.0, 2.0, 1.0]))


def _boxes(array):
    hints = next(prompts.prompter("box_every_slice").make(_mask(array), np.random.default_rng(0)))
    return {(p.lesion_id, s.index, s.box.ijk_min, s.box.ijk_max) for p in hints for s in p.slices}


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
    dialogue = prompts.prompter("none").make(_mask(np.zeros((4, 4, 4), bool)), np.random.default_rng(0))
    assert next(dialogue) == ()
    with pytest.raises(StopIteration):
        dialogue.send(None)


def test_an_unknown_prompter_lists_the_known_ones():
    with pytest.raises(InputError, match="box_every_slice"):
        prompts.prompter("telepathy")


def _ellipse(array, hints):
    segmenter = registry.plugin("models", "box_ellipse").build({})
    segmenter.set_image(Image(np.zeros(array.shape), np.diag([1.0, 1.0, 2.0, 1.0])))
    return segmenter.predict(hints).mask.array


def test_the_ellipse_in_a_three_by_three_box_is_a_cross_with_corners_cut():
    # centres at -1, 0, 1 over a radius of 1.5: corners at (2/3)^2 * 2 = 0.89 <= 1 stay inside
    hints = (Prompt(1, (SlicePrompt(0, box=Box((0, 0, 0), (3, 3, 1))),)),)
    assert _ellipse(np.zeros((3, 3, 1)), hints).all()
    hints = (Prompt(1, (SlicePrompt(0, box=Box((0, 0, 0), (4, 4, 1))),)),)
    # centres at +-1.5 over 2: corners at 0.5625 * 2 > 1 fall outside
    assert _ellipse(np.zeros((4, 4, 1)), hints)[:, :, 0].sum() == 12


def test_the_ellipse_covers_pi_over_four_of_a_large_box():
    hints = (Prompt(1, (SlicePrompt(2, box=Box((10, 5, 2), (90, 65, 3))),)),)
    filled = _ellipse(np.zeros((100, 100, 4)), hints)
    assert filled.sum() == pytest.approx(np.pi / 4 * 80 * 60, rel=0.01)
    assert not filled[:, :, [0, 1, 3]].any()


def test_a_square_lesion_scores_what_geometry_says():
    # an ellipse inscribed in a square: 2 * (pi / 4) / (1 + pi / 4)
    array = np.zeros((80, 80, 3), bool)
    array[10:70, 10:70, 1] = True
    hints = next(prompts.prompter("box_every_slice").make(_mask(array), np.random.default_rng(0)))
    assert dsc(array, _ellipse(array, hints)) == pytest.approx(2 * (np.pi / 4) / (1 + np.pi / 4), abs=0.005)


def test_the_ellipse_refuses_clicks_and_boxes_refuse_emptiness():
    with pytest.raises(InputError, match="box on each slice"):
        _ellipse(np.zeros((3, 3, 3)), (Prompt(1, (SlicePrompt(0, points=Points(((1, 1, 0),), (1,))),)),))
    with pytest.raises(InputError, match="empty"):
        Box((1, 1, 1), (1, 2, 2))
    with pytest.raises(InputError, match="label"):
        Points(((1, 1, 1),), (1, 0))
