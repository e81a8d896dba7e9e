"""Masks of outlines, by hand and against matplotlib."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from lungseg_utils.data import outline_masks
from lungseg_utils.data.lidc_database import Outline


def _outline(points, z_mm=0.0, is_hole=False):
    return Outline(z_mm, np.array(points, dtype=float), is_hole)


SQUARE = [(1, 1), (4, 1), (4, 5), (1, 5)]  # columns 1 to 4, rows 1 to 5
PIXELS = np.arange(8.0)


def test_the_outline_itself_is_outside_and_a_hole_is_taken_off():
    mask = outline_masks.inside([_outline(SQUARE)], PIXELS, PIXELS, np.array([0.0]), 1.0)[:, :, 0]
    assert np.argwhere(mask).tolist() == [[i, j] for i in (2, 3) for j in (2, 3, 4)]
    hole = _outline([(1.5, 1.5), (2.5, 1.5), (2.5, 2.5), (1.5, 2.5)], is_hole=True)
    mask = outline_masks.inside([_outline(SQUARE), hole], PIXELS, PIXELS, np.array([0.0]), 1.0)[:, :, 0]
    assert [2, 2] not in np.argwhere(mask).tolist()
    assert mask.sum() == 5


def test_two_regions_on_one_slice_are_united():
    mask = outline_masks.inside([_outline(SQUARE), _outline([(5, 5), (7, 5), (7, 7), (5, 7)])], PIXELS, PIXELS, np.array([0.0]), 1.0)
    assert mask.sum() == 7
    assert mask[6, 6, 0]


def test_a_voxel_takes_the_nearest_slice_within_half_a_step():
    outlines = [_outline(SQUARE, 0.0), _outline([(1, 1), (3, 1), (3, 3), (1, 3)], 2.5)]
    z_mm = np.array([-1.3, -1.25, 1.0, 1.25, 1.5, 3.75, 3.76])
    counts = outline_masks.inside(outlines, PIXELS, PIXELS, z_mm, 2.5).sum((0, 1)).tolist()
    assert counts == [0, 6, 6, 6, 1, 1, 0]  # the middle between both slices goes to the lower one
    assert not outline_masks.inside([], PIXELS, PIXELS, z_mm, 2.5).any()


def test_axes_may_run_backwards_and_in_fractions():
    columns, rows = np.arange(7.75, 0, -0.5), np.arange(0.25, 8, 0.5)
    mask = outline_masks.inside([_outline(SQUARE)], columns, rows, np.array([0.0]), 1.0)[:, :, 0]
    expected = np.logical_and.outer((columns > 1) & (columns < 4), (rows > 1) & (rows < 5))
    assert np.array_equal(mask, expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=3, max_size=12))
def test_equals_matplotlib_away_from_the_outline(points):
    grid = np.linspace(0.03, 9.97, 23)
    mask = outline_masks.inside([_outline(points)], grid, grid, np.array([0.0]), 1.0)[:, :, 0]
    centers = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    polygon = Polygon(points + points[:1], closed=True)
    ends = np.array(points + points[:1])
    near = np.min([_distance(centers, a, b) for a, b in zip(ends, ends[1:], strict=False)], axis=0) < 1e-6
    differ = mask.ravel() != polygon.contains_points(centers)
    winding = _winding(centers, ends)
    assert not (differ & ~near & (np.abs(winding) <= 1)).any()  # where an outline crosses itself both rules exist


def _distance(p, a, b):
    t = np.clip(((p - a) @ (b - a)) / max((b - a) @ (b - a), 1e-12), 0, 1)
    return np.linalg.norm(p - (a + t[:, None] * (b - a)), axis=1)


def _winding(p, ends):
    angles = np.arctan2(ends[None, :, 1] - p[:, 1:], ends[None, :, 0] - p[:, :1])
    turn = np.diff(angles, axis=1)
    return np.round(((turn + np.pi) % (2 * np.pi) - np.pi).sum(axis=1) / (2 * np.pi))
