"""Check data sets before anything is computed with them: list every fault with its file, and summarize the cases.

Faults are: files that the readers refuse, values that are not HU, references without a lesion, and voxels that occur twice. One bad case
does not end the check, nor does a data set whose cases cannot even be listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .. import registry
from ..core.masks import MIN_LESION_VOXELS, label_lesions, longest_axial_diameter_mm
from ..types import Case, InputError, Mask, Study
from . import grids, nifti

CASE_COLUMNS = ["dataset", "case_id", "patient_id", "readable"]
FAULT_COLUMNS = ["dataset", "case_id", "where", "problem", "remedy"]
_Found = tuple[list[dict[str, object]], list[tuple[str, str, str, str, str]]]  # rows of `Report.cases`, and of `Report.faults`


@dataclass(frozen=True)
class Report:
    """`cases`: one row a case and reader, or one row for a case that cannot be read; `faults`: one row each, see `FAULT_COLUMNS`.

    A data set whose cases cannot be listed has one row in each, with an empty case_id.
    """

    cases: pd.DataFrame
    faults: pd.DataFrame


def check(datasets: Sequence[str], root: Path) -> Report:
    """Read all cases of data sets: of one below `root` (its folder, or CSV table), or of several in the folders of their names there."""
    found: list[_Found] = []
    seen: dict[str, Case] = {}
    for dataset in datasets:
        try:
            cases = _cases(dataset, Path(root) / dataset if len(datasets) > 1 else Path(root))
        except InputError as error:
            found.append(_refused(dataset, error))
        else:
            found += [_check_case(case, seen) for case in cases]
    rows, faults = ([item for part in parts for item in part] for parts in zip(*found, strict=True))
    return Report(pd.DataFrame(rows), pd.DataFrame(faults, columns=FAULT_COLUMNS))


def _cases(dataset: str, root: Path) -> list[Case]:
    cases = registry.dataset(dataset).cases(root)
    if not cases:
        raise InputError(root, f"no case of {dataset} in it", "Give the folder that it lies in.")
    return cases


def _refused(dataset: str, error: InputError, case_id: str = "", patient_id: str = "") -> _Found:
    row = dict(zip(CASE_COLUMNS, (dataset, case_id, patient_id, False), strict=True))
    return [row], [(dataset, case_id, error.where, error.problem, error.remedy)]


def _check_case(case: Case, seen: dict[str, Case]) -> _Found:
    try:
        study = registry.dataset(case.dataset).load(case)
    except InputError as error:
        return _refused(case.dataset, error, case.case_id, case.patient_id)
    faults = [(case.dataset, case.case_id, str(where), problem, remedy) for where, problem, remedy in _faults(case, study, seen)]
    return _rows(case, study), faults


def _rows(case: Case, study: Study) -> list[dict[str, object]]:
    image = study.image
    low, middle, high = (float(v) for v in np.percentile(image.array[::2, ::2], [1, 50, 99]))
    shared = dict(zip(CASE_COLUMNS, (case.dataset, case.case_id, case.patient_id, True), strict=True))
    shared |= {"axes": _stored_axes(case.image_path)}
    shared |= dict(zip(("size_x", "size_y", "size_z"), image.shape, strict=True))
    shared |= dict(zip(("spacing_x_mm", "spacing_y_mm", "spacing_z_mm"), image.spacing_mm, strict=True))
    shared |= {"hu_1_percent": low, "hu_median": middle, "hu_99_percent": high}
    return [shared | {"reader": name} | _lesions(mask) for name, mask in study.references.items()] or [shared]


def _stored_axes(path: Path) -> str:
    """The order in which a NIfTI file stores its axes, e.g. "LPS"; "DICOM" for a series, "LPS" for a MetaImage."""
    if not nifti.is_nifti(path):
        return "DICOM" if path.is_dir() else "LPS"
    return nifti.stored_axes(path)


def _lesions(reference: Mask) -> dict[str, float]:
    """Number, volume and longest axial diameter (of the largest lesion)."""
    found = {"lesions": int(label_lesions(reference.array).max()), "volume_ml": reference.volume_ml}
    return found | {"diameter_mm": longest_axial_diameter_mm(reference) if found["lesions"] else float("nan")}


def _faults(case: Case, study: Study, seen: dict[str, Case]) -> Iterator[tuple[object, str, str]]:
    if problem := grids.hu_problem(study.image):
        yield case.image_path, problem, grids.HU_REMEDY
    for name, mask in study.references.items():
        if mask.array.any() and not label_lesions(mask.array).any():
            problem = f"the reference {name} holds no component of {MIN_LESION_VOXELS} voxels, so no lesion"
            yield case.reference_paths[0], problem, "Look at it; leave it out if the case has none."
    content = hashlib.sha256(repr(study.image.shape).encode() + study.image.array.tobytes(order="F")).hexdigest()
    first = seen.setdefault(content, case)
    if first is not case:
        same = "the same patient" if first.patient_id == case.patient_id else f"another patient, {first.patient_id} and {case.patient_id}"
        problem = f"its voxels are those of {first.case_id} ({same})"
        yield case.image_path, problem, "Keep one of the two; a patient under two names may end up in training and in test."


def in_words(report: Report) -> str:
    """The report for people: what the cases are like, then every fault."""
    cases, faults = report.cases, report.faults
    readable, named = cases[cases["readable"]], cases[cases["case_id"] != ""]
    patients = named.groupby(["dataset", "patient_id"]).ngroups
    lines = [f"{named.groupby(['dataset', 'case_id']).ngroups} cases, {patients} patients, {len(faults)} faults"]
    names = [name for name in ("spacing_x_mm", "spacing_z_mm", "hu_median", "lesions", "volume_ml", "diameter_mm") if name in readable]
    if len(readable):
        lines += [readable[names].describe().loc[["count", "min", "50%", "max"]].round(2).to_string()]
        lines += ["axes as stored: " + ", ".join(f"{axes} {n}" for axes, n in readable["axes"].value_counts().items())]
    lines += [f"{row.case_id or row.dataset}: {row.where}: {row.problem}. {row.remedy}" for row in faults.itertuples()]
    return "\n".join(lines)


def table(report: Report) -> pd.DataFrame:
    """One table for a file: the rows of the cases, with the faults of each case joined by semicolons."""
    told = report.faults.assign(fault=report.faults["where"].astype(str) + ": " + report.faults["problem"])
    joined = told.groupby(["dataset", "case_id"])["fault"].agg("; ".join)
    keys = report.cases[["dataset", "case_id"]].itertuples(index=False, name=None)
    return report.cases.assign(faults=[joined.get(key, "") for key in keys])
