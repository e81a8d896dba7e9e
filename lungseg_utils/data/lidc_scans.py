"""Masks of LIDC-IDRI's readers on a CT series of the collection, from the outlines in the database of `lidc_database`.

The database does not say who drew an outline. Its annotations of a scan stand reader by reader, and nobody outlines a voxel twice, so a
new reader begins where one annotation overlaps an earlier one of the same reader. How many readers outlined a voxel does not depend on it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache

import numpy as np

from .. import geometry
from ..types import InputError, Mask
from . import lidc_database
from .dicom_series import Series
from .grids import positive_strides
from .lidc_database import Annotation, Outline

READERS = 4  # read every scan of the collection
_SERIES = "SELECT s.series_instance_uid, a.id FROM scans s LEFT JOIN annotations a ON a.scan_id = s.id ORDER BY a.id"
_OFF_THE_SLICE = 0.1  # of the distance of slices: headers and database round positions
_REMEDY = "Leave the scan out: python -m lungseg_utils exclusions lidc_idri."


@cache
def annotations_by_series() -> dict[str, tuple[int, ...]]:
    """Ids of the annotations of every CT series of the collection, in the database's order; none for a scan without nodules of 3 mm.

    Raises `InputError` if the database is missing or of another version.
    """
    found: dict[str, tuple[int, ...]] = {}
    with closing(sqlite3.connect(f"{lidc_database.database().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        for uid, number in connection.execute(_SERIES):
            found[uid] = found.get(uid, ()) + (() if number is None else (number,))
    return found


def readers_of(series: Series, cut: bool = False) -> dict[str, Mask]:
    """Nodules of at least 3 mm as each reader outlined them: "reader-1" to "reader-4", bool (x, y, z), RAS+, on the grid of the series.

    The outline itself is outside. Who outlined nothing has an empty mask and comes last. `cut`: the series is a part of its scan, so
    outlines beyond its ends are left out. Source of the rules: Armato et al., Medical Physics 2011;38:915-931, doi:10.1118/1.3528204.

    Raises `InputError`, with the folder, for a series that the database does not have, an outline without its slice or beyond the image,
    an annotation that encloses no voxel, and outlines of more than four readers.
    """
    if series.uid not in annotations_by_series():
        problem = f"the database of LIDC's outlines has no series {series.uid or 'without a UID'}"
        raise InputError(series.folder, problem, "Give a CT series as The Cancer Imaging Archive has it, or leave it out.")
    readers: list[np.ndarray] = []
    for annotation in lidc_database.read(annotations_by_series()[series.uid]):
        if outlines := _on_slices(annotation, series, cut):
            box, inside = _enclosed(annotation, outlines, series)
            if not readers or (readers[-1][box] & inside).any():
                readers.append(np.zeros(series.shape, bool))
            readers[-1][box] |= inside
    if len(readers) > READERS:
        problem = f"its outlines overlap as those of {len(readers)} readers would, but {READERS} read each scan"
        raise InputError(series.folder, problem, _REMEDY)
    readers += [np.zeros(series.shape, bool) for _ in range(READERS - len(readers))]
    return {f"reader-{number}": _mask(array, series) for number, array in enumerate(readers, 1)}


def _on_slices(annotation: Annotation, series: Series, cut: bool) -> list[Outline]:
    """The outlines of an annotation, refused if one lacks its slice."""
    z_mm, near_mm = _z_mm(series), _OFF_THE_SLICE * annotation.scan.slice_step_mm
    low, high = (z_mm.min() - near_mm, z_mm.max() + near_mm) if cut else (-np.inf, np.inf)
    outlines = [outline for outline in annotation.outlines if low <= outline.z_mm <= high]
    for outline in outlines:
        if np.abs(z_mm - outline.z_mm).min() > near_mm:
            problem = f"no slice at z = {outline.z_mm:g} mm, where annotation {annotation.id} has an outline"
            raise InputError(series.folder, problem, f"Fetch all {len(annotation.scan.z_mm)} slices again; here are {len(z_mm)}.")
    return outlines


def _enclosed(annotation: Annotation, outlines: Sequence[Outline], series: Series) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """The box round the outlines in the stored array (columns, rows, slices), and which of its voxels they enclose."""
    from . import outline_masks  # a card loads without scikit-image

    points = np.vstack([outline.points for outline in outlines])
    low, high = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
    if (low < 0).any() or (high >= series.shape[:2]).any():
        raise InputError(series.folder, f"an outline of annotation {annotation.id} leaves the image", _REMEDY)
    z_mm = _z_mm(series)
    levels = [int(np.abs(z_mm - outline.z_mm).argmin()) for outline in outlines]
    slices = slice(min(levels), max(levels) + 1)
    if (high - low).min() < 2:  # no center lies between its sides
        inside = np.zeros((1, 1, 1), bool)
    else:
        columns, rows = (np.arange(first, last + 1) for first, last in zip(low, high, strict=True))
        inside = outline_masks.inside(outlines, columns, rows, z_mm[slices], annotation.scan.slice_step_mm)
    if not inside.any():
        raise InputError(series.folder, f"annotation {annotation.id} encloses no voxel, so its reader is empty there", _REMEDY)
    return (slice(low[0], high[0] + 1), slice(low[1], high[1] + 1), slices), inside


def _z_mm(series: Series) -> np.ndarray:
    """Position of each slice along the patient's axis, in the order of the series."""
    return np.array([float(header.ImagePositionPatient[2]) for header in series.slices])


def _mask(stored: np.ndarray, series: Series) -> Mask:
    array, affine = geometry.to_ras(stored, series.stored_affine)
    return Mask(positive_strides(array), affine, series.folder)
