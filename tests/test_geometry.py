"""Grids and frames, with values derived by hand."""

import itertools

import numpy as np
import pytest

from lungseg_utils import geometry
from lungseg_utils.types import Image, InputError, Mask


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


def test_finer_is_linear_between_centres_and_keeps_a_ramp_and_the_edges():
    assert geometry.resample(np.array([0.0, 4.0]), (4,)).tolist() == [0.0, 1.0, 3.0, 4.0]


def test_the_mean_survives_averaging_on_all_three_axes():
    array = np.random.default_rng(1).normal(size=(6, 8, 10))
    assert geometry.resample(array, (3, 4, 5)).mean() == pytest.approx(array.mean(), abs=1e-6)


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


def test_same_grid_sees_a_shift_of_a_tenth_of_a_millimetre():
    a = Mask(np.zeros((4, 4, 4), bool), _affine())
    assert geometry.same_grid(a, Mask(np.ones((4, 4, 4), bool), _affine()))
    assert not geometry.same_grid(a, Mask(np.zeros((4, 4, 4), bool), _affine(origin=(10.1, -20, 30))))
    assert not geometry.same_grid(a, Mask(np.zeros((4, 4, 5), bool), _affine()))
