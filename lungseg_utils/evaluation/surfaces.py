"""Distances between the surfaces of two masks, weighted by area.

A surface consists of elements: a small triangle patch in each 2 x 2 x 2 neighborhood that holds voxels of both classes, with the area that
marching cubes gives it (Nikolov et al. 2021, doi:10.2196/26151; tables of the package `surface-distance`). Percentiles and means are
weighted by area, so they do not depend on how a grid cuts the same surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from ..core.masks import bounding_box


@dataclass(frozen=True)
class SurfaceDistances:
    """Directed distances in mm between two surfaces, each with the areas (mm2) of its surface elements."""

    reference_to_prediction_mm: np.ndarray
    reference_areas_mm2: np.ndarray
    prediction_to_reference_mm: np.ndarray
    prediction_areas_mm2: np.ndarray

    @property
    def anything_judged(self) -> bool:
        """False where an ignore region or an open end leaves no element of either surface: then nothing is defined."""
        return bool(len(self.reference_areas_mm2) or len(self.prediction_areas_mm2))

    def nsd(self, tolerance_mm: float) -> float:
        """Normalized surface distance: share of both surfaces that lies within `tolerance_mm` of the other one."""
        if not self.anything_judged:
            return np.nan
        near = self.reference_areas_mm2[self.reference_to_prediction_mm <= tolerance_mm].sum()
        near += self.prediction_areas_mm2[self.prediction_to_reference_mm <= tolerance_mm].sum()
        return float(near / (self.reference_areas_mm2.sum() + self.prediction_areas_mm2.sum()))

    def hd95(self) -> float:
        """Larger of the two directed 95th percentiles, in mm; of one surface alone where nothing of the other one is judged."""
        directed = (
            (self.reference_to_prediction_mm, self.reference_areas_mm2),
            (self.prediction_to_reference_mm, self.prediction_areas_mm2),
        )
        return max((_weighted_percentile(distances, areas, 95) for distances, areas in directed if len(areas)), default=np.nan)

    def assd(self) -> float:
        """Average symmetric surface distance in mm: mean over both surfaces together."""
        if not self.anything_judged:
            return np.nan
        total = (self.reference_to_prediction_mm * self.reference_areas_mm2).sum()
        total += (self.prediction_to_reference_mm * self.prediction_areas_mm2).sum()
        return float(total / (self.reference_areas_mm2.sum() + self.prediction_areas_mm2.sum()))


def _weighted_percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    position = int(np.searchsorted(cumulative / cumulative[-1], percent / 100.0))
    return float(values[order][min(position, len(values) - 1)])


def _neighbor_codes(mask: np.ndarray) -> np.ndarray:
    """8-bit pattern of the 2 x 2 x 2 voxels around each corner of the grid: shape + 1 along each axis."""
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros(tuple(n + 1 for n in mask.shape), dtype=np.uint8)
    for bit, (dx, dy, dz) in enumerate(np.ndindex(2, 2, 2)):
        # the table counts bits from the far corner: (1, 1, 1) has weight 1, (0, 0, 0) has weight 128
        window = padded[dx : dx + codes.shape[0], dy : dy + codes.shape[1], dz : dz + codes.shape[2]]
        codes |= window << np.uint8(7 - bit)
    return codes


def surface_distances(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, float, float],
    ignore: np.ndarray | None = None,
    open_ends: tuple[bool, bool] = (False, False),
) -> SurfaceDistances:
    """Distances between the surfaces of two non-empty bool arrays (x, y, z).

    `ignore`: surface elements that touch this region (bool, same shape) are not judged. `open_ends`: where a lesion is cut
    by the (first, last) slice of the volume, the cut is no surface, and its elements are not judged either.
    """
    box = bounding_box(reference | prediction)
    areas = _area_table(tuple(map(float, spacing_mm)))
    judged = _judged_corners(reference.shape, ignore, open_ends, box)
    codes = [_neighbor_codes(mask[box]) for mask in (reference, prediction)]
    # as distances are between whole surfaces, only the elements that are asked are left out, never those that answer
    surfaces = [(code != 0) & (code != 255) for code in codes]
    asked = [surface & judged for surface in surfaces]
    return SurfaceDistances(
        _distances_mm(asked[0], surfaces[1], spacing_mm),
        areas[codes[0][asked[0]]],
        _distances_mm(asked[1], surfaces[0], spacing_mm),
        areas[codes[1][asked[1]]],
    )


@lru_cache(maxsize=64)
def _area_table(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Area (mm2) of the surface element of each neighbor code; made by thousands of small products, the same ones for each spacing."""
    return create_table_neighbour_code_to_surface_area(np.asarray(spacing_mm))


def _distances_mm(asked: np.ndarray, surface: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Distance from each true corner of `asked` to the nearest one of `surface`.

    A search tree over the surface's few corners; a distance transform would visit every corner of a box that one far false positive makes
    as large as the scan. The tree only finds the nearest: steps along the grid are exact, and tolerances are often whole steps.
    """
    start, end = np.argwhere(asked), np.argwhere(surface)
    if not len(start):
        return np.zeros(0)
    tree = cKDTree(end * np.asarray(spacing_mm), balanced_tree=False, compact_nodes=False)  # quicker by half for corners on a grid
    _, nearest = tree.query(start * np.asarray(spacing_mm))
    return np.sqrt((((start - end[nearest]) * np.asarray(spacing_mm)) ** 2).sum(axis=1))


def _judged_corners(
    shape: tuple[int, ...], ignore: np.ndarray | None, open_ends: tuple[bool, bool], box: tuple[slice, slice, slice]
) -> np.ndarray:
    judged = np.ones(tuple(s.stop - s.start + 1 for s in box), dtype=bool)
    if ignore is not None:
        judged &= ~_touching_corners(ignore, box)
    if open_ends[0] and box[2].start == 0:
        judged[:, :, 0] = False
    if open_ends[1] and box[2].stop == shape[2]:
        judged[:, :, -1] = False
    return judged


def _touching_corners(region: np.ndarray, box: tuple[slice, slice, slice]) -> np.ndarray:
    """Which corners of a box's grid (shape + 1 along each axis) touch a voxel of `region`, those just outside of the box included."""
    touched = np.zeros(tuple(s.stop - s.start + 2 for s in box), dtype=bool)
    seen = [slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box, region.shape, strict=True)]
    touched[tuple(slice(v.start - s.start + 1, v.stop - s.start + 1) for v, s in zip(seen, box, strict=True))] = region[tuple(seen)]
    for axis in range(3):
        low, high = (np.moveaxis(touched, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        touched = np.moveaxis(low | high, 0, axis)
    return touched
