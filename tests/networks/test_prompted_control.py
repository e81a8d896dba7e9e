"""The automatic control answers every prompt: by its network where that found something there, else by the shape of the prompt."""

import numpy as np
import pytest

from lungseg_utils.networks.prompted_control import with_prompts
from lungseg_utils.prompts import boxes, shapes
from lungseg_utils.types import Box, Mask, Points, Prediction, Prompt, SlicePrompt

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
FOUND, MISSED = np.s_[4:10, 4:10, 4:8], np.s_[24:34, 20:30, 8:13]


def _mask(*blocks):
    array = np.zeros((40, 36, 20), bool)
    for block in blocks:
        array[block] = True
    return Mask(array, AFFINE)


def _automatic(mask):
    return Prediction(mask, np.full(mask.shape, 0.25, np.float32), 3.0, 7.0)


def test_what_the_network_found_is_kept_and_nothing_falls_back():
    own = _mask(FOUND, np.s_[30:34, 4:8, 15:18])
    answer = with_prompts(_automatic(own), [boxes.one_slice(_mask(FOUND).array, 1)])
    assert np.array_equal(answer.mask.array, _mask(FOUND).array)
    assert answer.fallback_share == 0
    assert (answer.seconds, answer.peak_memory_mb) == (3.0, 7.0)  # the whole scan was segmented


@pytest.mark.parametrize("draw", [boxes.one_slice, boxes.volume, boxes.every_slice])
def test_a_prompt_at_which_the_network_found_nothing_gets_its_ellipse(draw):
    prompt = draw(_mask(MISSED).array, 1)
    answer = with_prompts(_automatic(_mask(FOUND)), [prompt])
    assert np.array_equal(answer.mask.array, shapes.span(prompt, answer.mask))
    assert answer.mask.array.any()
    assert answer.fallback_share == 1


def test_each_prompt_falls_back_alone_and_their_share_is_told():
    found, missed = boxes.volume(_mask(FOUND).array, 1), boxes.volume(_mask(MISSED).array, 2)
    answer = with_prompts(_automatic(_mask(FOUND)), [found, missed])
    assert np.array_equal(answer.mask.array, _mask(FOUND).array | shapes.span(missed, answer.mask))
    assert answer.fallback_share == 0.5


def test_a_click_beside_all_findings_gets_the_median_ball():
    prompt = Prompt(1, (SlicePrompt(10, points=Points(((20, 18, 10),), (1,))),), find_ends=True)
    answer = with_prompts(_automatic(_mask(np.s_[0:2, 0:2, 0:1])), [prompt])
    i, j, k = np.ogrid[:40, :36, :20]
    ball = (i - 20) ** 2 + (j - 18) ** 2 + (2 * (k - 10)) ** 2 <= (shapes.MEDIAN_DIAMETER_MM / 2) ** 2
    assert np.array_equal(answer.mask.array, ball)


def test_a_prediction_without_a_prompt_has_no_share():
    assert np.isnan(_automatic(_mask(FOUND)).fallback_share)


def test_a_square_of_four_voxels_spans_a_ball_of_its_side():
    """By hand: half axes of 2, 2 and 2 mm; slices 2 mm apart, so the ball reaches one slice to either side, at its pole only."""
    box = Box((10, 10, 9), (14, 14, 10))
    solid = shapes.span(Prompt(1, (SlicePrompt(9, box=box),), find_ends=True), _mask())
    assert [int(solid[:, :, k].sum()) for k in (8, 9, 10)] == [0, 12, 0]  # 16 voxels without the four corners; poles lie between centers
