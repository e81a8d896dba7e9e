"""From one slice to a volume: the rule, on answers drawn by hand."""

import numpy as np
import pytest

from lungseg_utils.networks import propagation
from lungseg_utils.types import Box, SlicePrompt


def _walk(areas, seed, slice_mm=2.0, shape=(40, 40)):
    """Answers are squares of the given sides by slice index, whatever the box; returns planes and the boxes that were asked."""
    asked = {}

    def answer(slice_prompt):
        asked[slice_prompt.index] = slice_prompt.box
        plane = np.zeros(shape, np.float32)
        side = areas[slice_prompt.index]
        plane[10 : 10 + side, 12 : 12 + side] = 0.9
        return plane

    box = Box((10, 12, seed), (20, 22, seed + 1))
    return propagation.propagate(SlicePrompt(seed, box=box), answer, len(areas), slice_mm), asked


def test_it_goes_both_ways_and_ends_at_an_empty_or_tiny_mask():
    planes, asked = _walk([10, 0, 8, 10, 9, 4, 3, 10], seed=3)
    assert sorted(planes) == [2, 3, 4, 5]  # 1 is empty; 6 has 9 of 100 voxels, under a tenth; 0 and 7 lie behind
    assert sorted(asked) == [1, 2, 3, 4, 5, 6]


def test_the_next_box_is_that_of_the_last_mask_a_tenth_longer():
    _, asked = _walk([0, 10, 10, 4, 0], seed=1)
    assert asked[2] == Box((9, 11, 2), (21, 23, 3))  # 10 voxels, and one more at either end (a twentieth, rounded up)
    assert asked[3] == Box((9, 11, 3), (21, 23, 4))
    assert asked[4] == Box((9, 11, 4), (15, 17, 5))


def test_what_lies_beyond_the_box_does_not_count():
    box = Box((10, 10, 1), (20, 20, 2))
    planes = propagation.propagate(SlicePrompt(1, box=box), lambda slice_prompt: np.ones((40, 40), np.float32), 3, 1.0)
    assert {index: int(plane.sum()) for index, plane in planes.items()} == {1: 100, 0: 144, 2: 144}  # not 1600


def test_it_stops_after_150_mm_and_at_the_ends_of_the_scan():
    planes, _ = _walk([10] * 200, seed=100, slice_mm=5.0)
    assert (min(planes), max(planes)) == (70, 130)
    planes, _ = _walk([10] * 5, seed=0)
    assert sorted(planes) == [0, 1, 2, 3, 4]


def test_an_empty_first_answer_is_all_there_is():
    planes, asked = _walk([10, 0, 10], seed=1)
    assert sorted(planes) == sorted(asked) == [1]
    assert planes[1].max() == pytest.approx(0)
