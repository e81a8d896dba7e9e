"""The only file that permutes axes or changes grids.

Three frames: voxel (i, j, k) of an (x, y, z) array in RAS+ order; world RAS+ in mm; and the axial slice as people and
2-D networks see it, rows from anterior to posterior, columns from the patient's right to the left (radiological).
"""

from __future__ import annotations

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from .types import Image, InputError, Mask

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_RAS_ORIENTATION = np.array([[0, 1], [1, 1], [2, 1]], dtype=float)


def to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip the axes of `array` so that they run in RAS+ order; no interpolation.

    Returns the array (a view) and its affine (4, 4). Exact inverse: `from_ras`.
    """
    orientation = io_orientation(affine)
    if np.isnan(orientation).any():
        raise InputError("affine", "it does not span three axes", "Repair the header of the file.")
    return apply_orientation(array, orientation), affine @ inv_ornt_aff(orientation, array.shape)


def from_ras(array: np.ndarray, stored_affine: np.ndarray) -> np.ndarray:
    """Undo `to_ras`: axes of `array` (RAS+ order) back to the order of a file with `stored_affine`."""
    return apply_orientation(array, ornt_transform(_RAS_ORIENTATION, io_orientation(stored_affine)))


def same_grid(a: Image | Mask, b: Image | Mask, tolerance_mm: float = 0.01) -> bool:
    """True if both have the same shape and no corner voxel's world position differs by more than `tolerance_mm`."""
    if a.shape != b.shape:
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.shape])).reshape(3, -1)
    return float(np.abs(ijk_to_world(corners.T, a.affine) - ijk_to_world(corners.T, b.affine)).max()) <= tolerance_mm


def ijk_to_world(ijk: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Voxel indices (n, 3) to world mm (n, 3)."""
    return np.asarray(ijk, dtype=float) @ affine[:3, :3].T + affine[:3, 3]


def world_to_ijk(world_mm: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """World mm (n, 3) to continuous voxel indices (n, 3)."""
    return (np.asarray(world_mm, dtype=float) - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T


def axial_slice(array: np.ndarray, index: int) -> np.ndarray:
    """Slice `index` of an (x, y, z) array as (rows, columns), seen the radiological way."""
    return array[::-1, ::-1, index].T


def stack_axial(slices: np.ndarray) -> np.ndarray:
    """Inverse of `axial_slice` over a stack: (z, rows, columns) to (x, y, z)."""
    return slices.transpose(2, 1, 0)[::-1, ::-1]


def unstack_axial(array: np.ndarray) -> np.ndarray:
    """All axial slices of an (x, y, z) array as (z, rows, columns); `stack_axial` undoes it."""
    return array[::-1, ::-1].transpose(2, 1, 0)


def crop(volume: Image | Mask, ijk_min: tuple[int, int, int], ijk_max: tuple[int, int, int]) -> Image | Mask:
    """The half-open box [ijk_min, ijk_max) of a volume, its affine moved along."""
    low, high = np.asarray(ijk_min), np.asarray(ijk_max)
    if (low < 0).any() or (high > volume.shape).any() or (high <= low).any():
        raise InputError("crop", f"{ijk_min} to {ijk_max} is not inside {volume.shape}", "Clip the box to the volume first.")
    affine = volume.affine.copy()
    affine[:3, 3] = ijk_to_world(low[None], volume.affine)[0]
    return type(volume)(volume.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], affine)


def resample(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resample an array over the same physical extent to `shape` (same number of axes); float32.

    Along an axis that gets coarser, new voxels are the averages of what they cover (no aliasing, and a mask becomes its
    covered fraction); along one that gets finer, linear interpolation between voxel centres, edge values held.
    """
    result = np.asarray(array, dtype=np.float32)
    for axis, count in enumerate(shape):
        if count != result.shape[axis]:
            weights = _axis_weights(result.shape[axis], count)
            result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result)


def _axis_weights(count_in: int, count_out: int) -> np.ndarray:
    """Matrix (count_out, count_in) whose rows sum to one."""
    if count_out < count_in:
        edges = np.arange(count_out + 1) * (count_in / count_out)
        low, high = edges[:-1, None], edges[1:, None]
        cells = np.arange(count_in)[None]
        weights = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)
    else:
        centres = np.clip((np.arange(count_out) + 0.5) * (count_in / count_out) - 0.5, 0, count_in - 1)
        weights = np.clip(1 - np.abs(centres[:, None] - np.arange(count_in)[None]), 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def shape_at_spacing(volume: Image | Mask, spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """Number of voxels that covers the volume's extent at about `spacing_mm` (at least one per axis)."""
    extent = np.asarray(volume.shape) * np.asarray(volume.spacing_mm)
    return tuple(int(n) for n in np.maximum(1, np.round(extent / np.asarray(spacing_mm))))


def resampled_affine(affine: np.ndarray, shape_in: tuple[int, ...], shape_out: tuple[int, ...]) -> np.ndarray:
    """Affine after `resample`: same outer faces, new voxel size."""
    scale = np.asarray(shape_in, dtype=float) / np.asarray(shape_out, dtype=float)
    result = np.array(affine, dtype=float)
    result[:3, :3] = affine[:3, :3] * scale
    result[:3, 3] = affine[:3, 3] + affine[:3, :3] @ (scale / 2 - 0.5)
    return result
