"""Distances between the surfaces of two masks, weighted by area.

A surface consists of elements: a small triangle patch in each 2 x 2 x 2 neighborhood that holds voxels of both classes, with the area that
marching cubes gives it (Nikolov et al. 2021, doi:10.2196/26151; tables of the package `surface-distance`). Percentiles and means are
weighted by area, so they do not depend on how a grid cuts the same surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

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


class Surface:
    """The surface of a non-empty bool array (x, y, z): the corners of its grid at which voxels of both classes meet.

    `corners`: int (n, 3); corner (i, j, k) lies before voxel (i, j, k) on each axis. `areas_mm2`: of the surface element of each, (n,).
    """

    def __init__(self, array: np.ndarray, spacing_mm: tuple[float, float, float], box: tuple[slice, slice, slice] | None = None):
        """`box`: the smallest box that holds the array's true voxels, where it is known already."""
        box = box or bounding_box(array)
        codes = _neighbor_codes(array[box])
        on = (codes != 0) & (codes != 255)
        self.corners = np.argwhere(on) + [side.start for side in box]
        self.areas_mm2 = _area_table(tuple(map(float, spacing_mm)))[codes[on]]
        self.spacing_mm, self.shape = np.asarray(spacing_mm), array.shape

    def distances_mm(self, corners: np.ndarray) -> np.ndarray:
        """Distance from each of `corners` (m, 3) to the nearest corner of this surface, (m,).

        A search tree over the surface's few corners; a distance transform would visit every corner of a box that one far false positive
        makes as large as the scan. The tree only finds the nearest: steps along the grid are exact, and tolerances are often whole steps.
        """
        if not len(corners):
            return np.zeros(0)
        _, nearest = self._tree.query(corners * self.spacing_mm)
        return np.sqrt((((corners - self.corners[nearest]) * self.spacing_mm) ** 2).sum(axis=1))

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.corners * self.spacing_mm, balanced_tree=False, compact_nodes=False)  # quicker by half for corners on a grid

    def judged(self, ignore: np.ndarray | None, open_ends: tuple[bool, bool]) -> np.ndarray:
        """Which corners are judged, bool (n,): none that touches a voxel of `ignore`, none on an open (first, last) end of the volume."""
        judged = np.ones(len(self.corners), dtype=bool)
        if ignore is not None:
            judged &= ~self._touches(ignore)
        for is_open, end in zip(open_ends, (0, self.shape[2]), strict=True):
            if is_open:
                judged &= self.corners[:, 2] != end
        return judged

    def _touches(self, region: np.ndarray) -> np.ndarray:
        touched = np.zeros(len(self.corners), dtype=bool)
        for step in np.ndindex(2, 2, 2):
            voxels = self.corners - step
            inside = ((voxels >= 0) & (voxels < self.shape)).all(axis=1)
            touched[inside] |= region[tuple(voxels[inside].T)]
        return touched


def surface_distances(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, float, float],
    ignore: np.ndarray | None = None,
    open_ends: tuple[bool, bool] = (False, False),
) -> SurfaceDistances:
    """Distances between the surfaces of two non-empty bool arrays (x, y, z) of one shape; further arguments as of `distances_between`."""
    return distances_between(Surface(reference, spacing_mm), Surface(prediction, spacing_mm), ignore, open_ends)


def distances_between(
    reference: Surface, prediction: Surface, ignore: np.ndarray | None = None, open_ends: tuple[bool, bool] = (False, False)
) -> SurfaceDistances:
    """Distances between two surfaces on one grid.

    `ignore`: surface elements that touch this region (bool, same shape) are not judged. `open_ends`: where a lesion is cut
    by the (first, last) slice of the volume, the cut is no surface, and its elements are not judged either.
    """
    # as distances are between whole surfaces, only the elements that are asked are left out, never those that answer
    asked = [surface.judged(ignore, open_ends) for surface in (reference, prediction)]
    return SurfaceDistances(
        prediction.distances_mm(reference.corners[asked[0]]),
        reference.areas_mm2[asked[0]],
        reference.distances_mm(prediction.corners[asked[1]]),
        prediction.areas_mm2[asked[1]],
    )


@lru_cache(maxsize=64)
def _area_table(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Area (mm2) of the surface element of each neighbor code; made by thousands of small products, the same ones for each spacing."""
    return create_table_neighbour_code_to_surface_area(np.asarray(spacing_mm))
