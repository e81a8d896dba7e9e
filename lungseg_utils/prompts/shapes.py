"""Shapes that prompts alone span: ellipses, ellipsoids and balls. The best answer without a network, and without a look at the CT.

Masks are bool (x, y, z) on the grid of the prompted image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..types import Box, Prompt, VoxelGrid

MEDIAN_DIAMETER_MM = 31.0  # of balls with the volumes of the 42 lesions of fold 0's training phantoms


def span(prompt: Prompt, grid: VoxelGrid, median_diameter_mm: float = MEDIAN_DIAMETER_MM) -> np.ndarray:
    """The ellipses inscribed in a prompt's boxes, the ellipsoid on one box or in a box in 3-D, the ball of its clicks."""
    result = np.zeros(grid.shape, dtype=bool)
    if prompt.box_3d is not None:
        result[prompt.box_3d.voxels] = inscribed(prompt.box_3d)
        return result
    solids = list(solids_on_boxes(prompt, grid))
    for index, _, solid in solids:
        result[solid.voxels] |= ellipsoid(solid, grid.spacing_mm, index)
    return result if solids else _balls(prompt, grid, median_diameter_mm)


def solids_on_boxes(prompt: Prompt, grid: VoxelGrid) -> Iterator[tuple[int, Box, Box]]:
    """(slice, its box, the solid on it) of each box on a slice: a cuboid where the ends are to be found, else the box itself."""
    for slice_prompt in prompt.slices:
        if slice_prompt.box is not None:
            yield slice_prompt.index, slice_prompt.box, cuboid(slice_prompt.box, grid) if prompt.find_ends else slice_prompt.box


def cuboid(box: Box, grid: VoxelGrid) -> Box:
    """The box, made as thick as the mean of its two sides in mm; cut at the ends of the image."""
    sides_mm = [(box.ijk_max[a] - box.ijk_min[a]) * grid.spacing_mm[a] for a in (0, 1)]
    reach = round(float(np.mean(sides_mm)) / 2 / grid.spacing_mm[2])
    low, high = max(0, box.ijk_min[2] - reach), min(grid.shape[2], box.ijk_max[2] + reach)
    return Box((*box.ijk_min[:2], low), (*box.ijk_max[:2], high))


def inscribed(box: Box) -> np.ndarray:
    """Voxels of the box whose centers lie in the ellipsoid that touches all six sides."""
    squares = []
    for low, high in zip(box.ijk_min, box.ijk_max, strict=True):
        radius = (high - low) / 2
        squares.append(((np.arange(high - low) + 0.5 - radius) / radius) ** 2)
    return squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= 1.0


def ellipsoid(box: Box, spacing_mm: Sequence[float], index: int) -> np.ndarray:
    """Voxels of the box whose centers lie in the ellipsoid around slice `index` that touches the box's sides.

    On a box one slice thick this is the inscribed ellipse. Along z its half axis is the mean of the other two, in mm.
    """
    squares = []
    for axis in (0, 1):
        low, high = box.ijk_min[axis], box.ijk_max[axis]
        radius = (high - low) / 2
        squares.append(((np.arange(low, high) + 0.5 - (low + radius)) / radius) ** 2)
    radius_mm = np.mean([(box.ijk_max[a] - box.ijk_min[a]) * spacing_mm[a] for a in (0, 1)]) / 2
    squares.append(((np.arange(box.ijk_min[2], box.ijk_max[2]) - index) * spacing_mm[2] / radius_mm) ** 2)
    return squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= 1.0


def _balls(prompt: Prompt, grid: VoxelGrid, median_diameter_mm: float) -> np.ndarray:
    result = np.zeros(grid.shape, dtype=bool)
    for center, diameter_mm in balls_of_clicks(prompt, grid, median_diameter_mm):
        result |= ball(center, diameter_mm, grid)
    return result & ~clicked_away(prompt, grid, median_diameter_mm)


def balls_of_clicks(prompt: Prompt, grid: VoxelGrid, median_diameter_mm: float) -> Iterator[tuple[np.ndarray, float]]:
    """Center (3) and diameter in mm of the ball that the clicks inside span, slice by slice; a single one has the median diameter."""
    inside = clicks_of(prompt, 1)
    for index in np.unique(inside[:, 2]):
        yield _ball_of(inside[inside[:, 2] == index], grid.spacing_mm, median_diameter_mm)


def clicked_away(prompt: Prompt, grid: VoxelGrid, median_diameter_mm: float) -> np.ndarray:
    """What clicks outside take away: a ball of half the median diameter around each."""
    result = np.zeros(grid.shape, dtype=bool)
    for center in clicks_of(prompt, 0):
        result |= ball(center, median_diameter_mm / 2, grid)
    return result


def clicks_of(prompt: Prompt, label: int) -> np.ndarray:
    """Voxel indices (n, 3) of a prompt's clicks with this label."""
    clicks = [p for h in prompt.slices if h.points for p, found in zip(h.points.ijk, h.points.labels, strict=True) if found == label]
    return np.array(clicks, dtype=int).reshape(-1, 3)


def _ball_of(clicks: np.ndarray, spacing_mm: Sequence[float], median_diameter_mm: float) -> tuple[np.ndarray, float]:
    if len(clicks) == 1:
        return clicks[0], median_diameter_mm
    pairs = (clicks[:, None] - clicks[None]) * np.asarray(spacing_mm)
    lengths = np.linalg.norm(pairs, axis=2)
    first, last = np.unravel_index(int(lengths.argmax()), lengths.shape)
    return (clicks[first] + clicks[last]) / 2, float(lengths.max() + np.mean(spacing_mm[:2]))


def ball(center: np.ndarray, diameter_mm: float, grid: VoxelGrid) -> np.ndarray:
    """The voxels whose centers lie in the ball around a place (3, voxel indices)."""
    squares = [((np.arange(n) - c) * s) ** 2 for n, c, s in zip(grid.shape, center, grid.spacing_mm, strict=True)]
    return squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= (diameter_mm / 2) ** 2
