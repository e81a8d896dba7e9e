"""Masks of outlines that were drawn on the slices of a scan, on any grid with axes along those of the scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.measure import grid_points_in_poly

from .lidc_database import Outline

_INSIDE = 1  # of the labels of grid_points_in_poly; vertices and edges have others
_ROUNDING_MM = 1e-3  # positions are stored with few digits


def inside(outlines: Sequence[Outline], columns: np.ndarray, rows: np.ndarray, z_mm: np.ndarray, slice_step_mm: float) -> np.ndarray:
    """Voxels whose center lies inside the outlines of the nearest outlined slice: bool (columns, rows, slices).

    Args:
        outlines: Polygons in columns and rows of the scan. What holes enclose is taken off. The outline itself is not inside.
        columns: Position of each voxel along the first axis, in columns of the scan (fractions allowed), evenly spaced.
        rows: The same along the second axis, in rows of the scan.
        z_mm: Position of each voxel along the third axis.
        slice_step_mm: Distance of the scan's slices. A voxel farther than half of it from every outlined slice is outside.
    """
    mask = np.zeros((len(columns), len(rows), len(z_mm)), dtype=bool)
    levels = np.unique([outline.z_mm for outline in outlines])
    if not len(levels):
        return mask
    nearest = np.abs(np.subtract.outer(np.asarray(z_mm, dtype=float), levels)).argmin(axis=1)
    near = np.abs(levels[nearest] - z_mm) <= slice_step_mm / 2 + _ROUNDING_MM
    for number in np.unique(nearest[near]):
        here = [outline for outline in outlines if outline.z_mm == levels[number]]
        mask[:, :, near & (nearest == number)] = _plane(here, columns, rows)[:, :, None]
    return mask


def _plane(outlines: Sequence[Outline], columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    filled, holes = (np.zeros((len(columns), len(rows)), dtype=bool) for _ in range(2))
    for outline in outlines:
        (holes if outline.is_hole else filled)[:] |= _enclosed(outline.points, columns, rows)
    return filled & ~holes


def _enclosed(points: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    first = np.array([columns[0], rows[0]])
    step = np.array([columns[1] - columns[0], rows[1] - rows[0]])
    return grid_points_in_poly((len(columns), len(rows)), (points - first) / step, binarize=False) == _INSIDE
