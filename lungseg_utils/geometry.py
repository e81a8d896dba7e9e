"""The only file that permutes axes or changes grids.

Three frames: voxel (i, j, k) of an (x, y, z) array in RAS+ order; world RAS+ in mm; and the axial slice as people and
2-D networks see it, rows from anterior to posterior, columns from the patient's right to the left (radiological).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from scipy import sparse

from .types import Box, Image, InputError, Mask, Points

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


def unstacked_box(box: Box, shape: tuple[int, ...]) -> list[list[int]]:
    """Where a box of an (x, y, z) array of this shape lies in `unstack_axial` of it: half-open [from, to] of slices, rows, columns."""
    (i, j, k), (i_end, j_end, k_end) = box.ijk_min, box.ijk_max
    return [[k, k_end], [shape[1] - j_end, shape[1] - j], [shape[0] - i_end, shape[0] - i]]


def zyx(array: np.ndarray) -> np.ndarray:
    """(x, y, z) to (z, y, x), as SimpleITK and nnU-Net order axes, or back: in reverse order, none turned round."""
    return array.T


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
            lines = np.moveaxis(result, axis, 0)
            mixed = _axis_weights(len(lines), count) @ lines.reshape(len(lines), -1)
            result = np.moveaxis(mixed.reshape(count, *lines.shape[1:]), 0, axis)
    return np.ascontiguousarray(result)


def average_plane(array: np.ndarray, factor: int) -> np.ndarray:
    """Means over `factor` x `factor` voxels of the axial plane; float32. Sides in the plane must be multiples of the factor.

    As `resample` to that shape, by sums of blocks instead of products with matrices.
    """
    nx, ny, nz = array.shape
    rows = reduce(np.add, (array[n::factor].astype(np.float32) for n in range(factor)))
    total = reduce(np.add, (rows[:, n::factor] for n in range(factor)))
    return total.reshape(nx // factor, ny // factor, nz) / np.float32(factor**2)


@lru_cache(maxsize=64)
def _axis_weights(count_in: int, count_out: int) -> sparse.csr_array:
    """Matrix (count_out, count_in) whose rows sum to one.

    Nearly all of it is zero. As a full matrix it would also wake the threads of numpy's BLAS, which wait for more work so busily that
    they take a core from torch.
    """
    if count_out < count_in:
        edges = np.arange(count_out + 1) * (count_in / count_out)
        low, high = edges[:-1, None], edges[1:, None]
        cells = np.arange(count_in)[None]
        weights = np.clip(np.minimum(high, cells + 1) - np.maximum(low, cells), 0, None)
    else:
        centres = np.clip((np.arange(count_out) + 0.5) * (count_in / count_out) - 0.5, 0, count_in - 1)
        weights = np.clip(1 - np.abs(centres[:, None] - np.arange(count_in)[None]), 0, None)
    return sparse.csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


def shape_at_spacing(volume: Image | Mask, spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """Number of voxels that covers the volume's extent at about `spacing_mm` (at least one per axis)."""
    extent = np.asarray(volume.shape) * np.asarray(volume.spacing_mm)
    x, y, z = (int(n) for n in np.maximum(1, np.round(extent / np.asarray(spacing_mm))))
    return x, y, z


def resampled_affine(affine: np.ndarray, shape_in: tuple[int, ...], shape_out: tuple[int, ...]) -> np.ndarray:
    """Affine after `resample`: same outer faces, new voxel size."""
    scale = np.asarray(shape_in, dtype=float) / np.asarray(shape_out, dtype=float)
    result = np.array(affine, dtype=float)
    result[:3, :3] = affine[:3, :3] * scale
    result[:3, 3] = affine[:3, 3] + affine[:3, :3] @ (scale / 2 - 0.5)
    return result


@dataclass(frozen=True)
class AxialWindow:
    """A rectangle of whole voxels in the axial plane, half-open on both axes; it may reach beyond the image.

    Seen the radiological way its picture has `rows` (j downwards from j_max) and `columns` (i leftwards from i_max).
    """

    i_min: int
    i_max: int
    j_min: int
    j_max: int

    @property
    def rows(self) -> int:
        """Voxels from anterior to posterior."""
        return self.j_max - self.j_min

    @property
    def columns(self) -> int:
        """Voxels from right to left."""
        return self.i_max - self.i_min


def whole_plane(shape: tuple[int, ...]) -> AxialWindow:
    """The window that is the whole axial slice of an (x, y, z) array."""
    return AxialWindow(0, shape[0], 0, shape[1])


def window_around(box: Box, size_mm: float, spacing_mm: tuple[float, float, float], margin: float = 1.25) -> AxialWindow:
    """A window of about `size_mm` by `size_mm` whose centre is that of `box`; larger if the box times `margin` would not fit."""
    low, high = np.array(box.ijk_min[:2]), np.array(box.ijk_max[:2])
    side_mm = max(size_mm, margin * float(((high - low) * spacing_mm[:2]).max()))
    counts = np.maximum(1, np.round(side_mm / np.array(spacing_mm[:2]))).astype(int)
    start = np.floor((low + high - counts) / 2).astype(int)
    return AxialWindow(int(start[0]), int(start[0] + counts[0]), int(start[1]), int(start[1] + counts[1]))


def cut_window(array: np.ndarray, window: AxialWindow, index: int, fill: float) -> np.ndarray:
    """Slice `index` of an (x, y, z) array inside the window as (rows, columns), radiological; `fill` beyond the image."""
    result = np.full((window.columns, window.rows), fill, dtype=array.dtype)
    inside, source = _overlap(window, array.shape)
    result[inside] = array[(*source, index)]
    return result[::-1, ::-1].T


def paste_window(picture: np.ndarray, window: AxialWindow, plane: np.ndarray) -> None:
    """Raise `plane` (x, y) in place to the values of `picture` (rows, columns) inside the window (larger value wins)."""
    inside, target = _overlap(window, plane.shape)
    plane[target] = np.maximum(plane[target], picture.T[::-1, ::-1][inside])


def _overlap(window: AxialWindow, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the window that lies in the image: its place in the window, its place in the image."""
    low = np.maximum(0, (window.i_min, window.j_min))
    high = np.maximum(low, np.minimum(shape[:2], (window.i_max, window.j_max)))
    start = np.array((window.i_min, window.j_min))
    return _between(low - start, high - start), _between(low, high)


def _between(low: np.ndarray, high: np.ndarray) -> tuple[slice, slice]:
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def box_to_pixels(box: Box, window: AxialWindow, canvas: int) -> tuple[float, float, float, float]:
    """Edges (x_min, y_min, x_max, y_max) of a box in a picture of the window resized to canvas x canvas pixels.

    Edges lie between pixels: a box over the whole window is (0, 0, canvas, canvas).
    """
    x, y = canvas / window.columns, canvas / window.rows
    return (
        (window.i_max - box.ijk_max[0]) * x,
        (window.j_max - box.ijk_max[1]) * y,
        (window.i_max - box.ijk_min[0]) * x,
        (window.j_max - box.ijk_min[1]) * y,
    )


def points_to_pixels(points: Points, window: AxialWindow, canvas: int) -> np.ndarray:
    """Centers of voxels as (n, 2) x, y positions in the resized picture, in the coordinates of `box_to_pixels`."""
    ij = np.array([p[:2] for p in points.ijk], dtype=float).reshape(-1, 2) + 0.5
    return np.stack([(window.i_max - ij[:, 0]) * canvas / window.columns, (window.j_max - ij[:, 1]) * canvas / window.rows], axis=1)


def box_of_points(points: Points) -> Box:
    """Tight box, one slice thick, of the clicks with label 1, which lie on one slice."""
    inside = np.array([p for p, label in zip(points.ijk, points.labels, strict=True) if label == 1])
    return Box(tuple(inside.min(axis=0).tolist()), tuple((inside.max(axis=0) + 1).tolist()))


def plane_box(plane: np.ndarray, index: int, grow: float = 0.0) -> Box:
    """Tight box of the true voxels of `plane` (x, y) on slice `index`; each side then moved outwards by `grow` times its length.

    Sides are moved by whole voxels, rounded up, and stay inside the plane.
    """
    bounds = []
    for axis, count in enumerate(plane.shape):
        hit = np.flatnonzero(plane.any(axis=1 - axis))
        more = int(np.ceil(grow * (hit[-1] + 1 - hit[0])))
        bounds.append((max(0, int(hit[0]) - more), min(count, int(hit[-1]) + 1 + more)))
    return Box((bounds[0][0], bounds[1][0], index), (bounds[0][1], bounds[1][1], index + 1))
