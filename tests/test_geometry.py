"""Grids and frames, with values derived by hand."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from lungseg_utils import geometry
from lungseg_utils.types import Box, Image, InputError, Mask, Points


def _affine(spacing=(2.0, 3.0, 5.0), origin=(10.0, -20.0, 30.0)):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def _every_orientation():
    for permutation in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            yield permutation, signs


@pytest.mark.parametrize(("permutation", "signs"), list(_every_orientation()))
def test_to_ras_keeps_every_voxel_at_its_place_in_the_world(permutation, signs):
    stored = np.arange(2 * 3 * 4, dtype=float).reshape(2, 3, 4)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(permutation)] * np.asarray(signs) * np.array([1.0, 2.0, 4.0])
    affine[:3, 3] = [7, 8, 9]
    array, ras = geometry.to_ras(stored, affine)
    image = Image(array, ras)
    for ijk in itertools.product(range(2), range(3), range(4)):
        world = geometry.ijk_to_world(np.array([ijk]), affine)
        moved = np.rint(geometry.world_to_ijk(world, image.affine)[0]).astype(int)
        assert array[tuple(moved)] == stored[ijk]
    assert np.array_equal(geometry.from_ras(array, affine), stored)


def test_a_sheared_affine_is_refused_and_a_rotated_one_is_not():
    shear = _affine()
    shear[0, 2] = 0.5
    with pytest.raises(InputError, match="gantry tilt"):
        Image(np.zeros((2, 2, 2)), shear)
    angle = np.deg2rad(10)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert Image(np.zeros((2, 2, 2)), rotation @ _affine()).spacing_mm == pytest.approx((2, 3, 5))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused(bad):
    array = np.zeros((2, 2, 2))
    array[1, 1, 1] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        Image(array, _affine())


def test_axial_slice_shows_the_patients_right_on_the_left_and_anterior_on_top():
    array = np.zeros((3, 4, 2))
    array[2, 3, 1] = 1  # furthest right, most anterior
    assert np.argwhere(geometry.axial_slice(array, 1)).tolist() == [[0, 0]]


def test_unstack_and_stack_are_inverse():
    array = np.random.default_rng(0).normal(size=(3, 4, 5))
    slices = geometry.unstack_axial(array)
    assert slices.shape == (5, 4, 3)
    assert np.array_equal(slices[2], geometry.axial_slice(array, 2))
    assert np.array_equal(geometry.stack_axial(slices), array)


def test_coarser_means_averages_of_what_is_covered():
    # four voxels into two: pairs; three into two: 1 + half of the middle one, over 1.5
    assert geometry.resample(np.array([0.0, 2.0, 4.0, 8.0]), (2,)).tolist() == [1.0, 6.0]
    assert geometry.resample(np.array([3.0, 6.0, 9.0]), (2,)) == pytest.approx([4.0, 8.0])


def test_finer_is_linear_between_centers_and_keeps_a_ramp_and_the_edges():
    assert geometry.resample(np.array([0.0, 4.0]), (4,)).tolist() == [0.0, 1.0, 3.0, 4.0]


def test_the_mean_survives_averaging_on_all_three_axes():
    array = np.random.default_rng(1).normal(size=(6, 8, 10))
    assert geometry.resample(array, (3, 4, 5)).mean() == pytest.approx(array.mean(), abs=1e-6)


@pytest.mark.parametrize("shape", [(40, 64), (64, 150), (23, 64), (97, 31)])
def test_resampling_agrees_with_interpolation_and_with_averages_of_finer_cells(shape):
    array = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    expected = array.astype(float)
    for axis, count in enumerate(shape):
        size = expected.shape[axis]
        if count > size:
            places = (np.arange(count) + 0.5) * size / count - 0.5
            expected = np.apply_along_axis(lambda line, p=places, n=size: np.interp(p, np.arange(n), line), axis, expected)
        elif count < size:  # each voxel as so many equal cells that new voxels hold whole ones
            cells = np.repeat(expected, count, axis)
            expected = cells.reshape(*cells.shape[:axis], count, size, *cells.shape[axis + 1 :]).mean(axis + 1)
    found = geometry.resample(array, shape)
    assert (found.shape, found.dtype, found.flags.c_contiguous) == (shape, np.float32, True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_resampling_keeps_no_other_thread_busy():
    """Threads of numpy's BLAS go on waiting for a while after each product, on a core that a network wants."""
    script = """
import time
import numpy as np
from lungseg_utils import geometry
others = lambda: time.process_time() - time.thread_time()
plane, before = np.ones((512, 512), np.float32), others()
for _ in range(20):
    geometry.resample(plane, (1024, 1024))
    time.sleep(0.01)
print(others() - before)
"""
    several = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", script], env=several, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.1  # of what the other threads did; half a second by products of full matrices


def test_resampled_affine_keeps_the_outer_faces():
    affine = _affine()
    moved = geometry.resampled_affine(affine, (10, 10, 10), (5, 20, 10))
    for face in (-0.5, 9.5):
        here = geometry.ijk_to_world(np.full((1, 3), face), affine)
        there = geometry.ijk_to_world((np.full((1, 3), face) + 0.5) * np.array([0.5, 2, 1]) - 0.5, moved)
        assert here == pytest.approx(there)


def test_crop_moves_the_affine_along_and_refuses_what_lies_outside():
    mask = Mask(np.zeros((5, 6, 7), bool), _affine())
    part = geometry.crop(mask, (1, 2, 3), (4, 6, 7))
    assert part.shape == (3, 4, 4)
    assert geometry.ijk_to_world(np.zeros((1, 3)), part.affine) == pytest.approx(geometry.ijk_to_world(np.array([[1, 2, 3]]), mask.affine))
    with pytest.raises(InputError, match="not inside"):
        geometry.crop(mask, (0, 0, 0), (6, 6, 7))


def test_same_grid_sees_a_shift_of_a_tenth_of_a_millimeter():
    a = Mask(np.zeros((4, 4, 4), bool), _affine())
    assert geometry.same_grid(a, Mask(np.ones((4, 4, 4), bool), _affine()))
    assert not geometry.same_grid(a, Mask(np.zeros((4, 4, 4), bool), _affine(origin=(10.1, -20, 30))))
    assert not geometry.same_grid(a, Mask(np.zeros((4, 4, 5), bool), _affine()))


def _image_plane():
    """12 x 8 voxels; the value says where: 10 i + j."""
    i, j = np.meshgrid(np.arange(12), np.arange(8), indexing="ij")
    return (10 * i + j).astype(float)[:, :, None]


def test_a_window_is_cut_as_the_axial_slice_shows_it():
    array = _image_plane()
    whole = geometry.cut_window(array, geometry.whole_plane(array.shape), 0, -1)
    assert np.array_equal(whole, geometry.axial_slice(array, 0))
    part = geometry.cut_window(array, geometry.AxialWindow(2, 5, 1, 3), 0, -1)
    assert part.tolist() == [[42, 32, 22], [41, 31, 21]]  # anterior (large j) on top, right (large i) on the left
    beyond = geometry.cut_window(array, geometry.AxialWindow(10, 14, -1, 1), 0, -1)
    assert beyond.tolist() == [[-1, -1, 110, 100], [-1, -1, -1, -1]]
    assert (geometry.cut_window(array, geometry.AxialWindow(20, 22, 0, 2), 0, -1) == -1).all()


def test_what_was_cut_is_pasted_where_it_was():
    array = _image_plane()
    for window in (geometry.AxialWindow(2, 5, 1, 3), geometry.AxialWindow(-3, 4, 5, 12), geometry.whole_plane(array.shape)):
        plane = np.full(array.shape[:2], -5.0)
        geometry.paste_window(geometry.cut_window(array, window, 0, -1), window, plane)
        inside = np.zeros_like(plane, bool)
        inside[max(0, window.i_min) : window.i_max, max(0, window.j_min) : window.j_max] = True
        assert np.array_equal(plane[inside], array[:, :, 0][inside])
        assert (plane[~inside] == -5).all()


def test_the_larger_value_wins_where_two_answers_overlap():
    plane = np.zeros((4, 4))
    geometry.paste_window(np.full((2, 2), 0.7), geometry.AxialWindow(0, 2, 0, 2), plane)
    geometry.paste_window(np.full((2, 2), 0.3), geometry.AxialWindow(1, 3, 1, 3), plane)
    assert plane[1, 1] == 0.7
    assert plane[2, 2] == 0.3


def test_boxes_and_points_become_pixels_of_the_picture():
    window = geometry.AxialWindow(10, 30, 100, 140)  # 20 columns, 40 rows, on a canvas of 80: 4 and 2 pixels a voxel
    assert geometry.box_to_pixels(Box((10, 100, 5), (30, 140, 6)), window, 80) == (0, 0, 80, 80)
    # i from 12 to 15: columns 30-15 to 30-12, times 4; j from 130 to 131: rows 140-131 to 140-130, times 2
    assert geometry.box_to_pixels(Box((12, 130, 5), (15, 131, 6)), window, 80) == (60, 18, 72, 20)
    points = geometry.points_to_pixels(Points(((12, 130, 5), (29, 139, 5)), (1, 0)), window, 80)
    assert points.tolist() == [[70, 19], [2, 1]]  # centres of voxels


def test_a_window_around_a_box_is_square_in_mm_and_grows_with_the_box():
    small = geometry.window_around(Box((50, 40, 3), (54, 44, 4)), 60.0, (1.0, 2.0, 5.0))
    assert (small.columns, small.rows) == (60, 30)
    assert (small.i_min + small.i_max) / 2 == pytest.approx(52, abs=0.5)
    assert (small.j_min + small.j_max) / 2 == pytest.approx(42, abs=0.5)
    large = geometry.window_around(Box((0, 40, 3), (100, 44, 4)), 60.0, (1.0, 2.0, 5.0), margin=1.5)
    assert (large.columns, large.rows) == (150, 75)


def test_the_box_of_a_plane_is_tight_and_grows_by_whole_voxels_inside_the_plane():
    plane = np.zeros((20, 10), bool)
    plane[3:13, 0:4] = True
    assert geometry.plane_box(plane, 7) == Box((3, 0, 7), (13, 4, 8))
    assert geometry.plane_box(plane, 7, grow=0.1) == Box((2, 0, 7), (14, 5, 8))  # a tenth of 10 is 1; of 4 it is rounded up to 1


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_averages_of_blocks_are_what_resampling_gives(factor):
    array = np.random.default_rng(0).normal(size=(12, 6, 4)).astype(np.float32)
    expected = geometry.resample(array, (12 // factor, 6 // factor, 4))
    assert np.allclose(geometry.average_plane(array, factor), expected, atol=1e-6)
