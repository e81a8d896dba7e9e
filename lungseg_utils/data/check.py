"""Check data sets before anything is computed with them: list every fault with its file, and summarize the cases.

Faults are: files that no case uses although they may be meant to be one, files that the readers refuse, values that are not HU, references
that lack slices or whose specks are no lesion, and voxels that occur twice. No fault hides another one: one bad case does not end the
check, nor does a data set whose cases cannot even be listed. At the end stands what became of each file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .. import registry
from ..core.masks import MIN_LESION_VOXELS, label_lesions, longest_axial_diameter_mm, slices_left_out
from ..types import Case, InputError, Mask, Study
from . import accounts, grids, nifti, used_files
from .contour_planes import LONGEST_GAP_MM
from .listing import ListingError

CASE_COLUMNS = ["dataset", "case_id", "patient_id", "readable"]
FAULT_COLUMNS = ["dataset", "case_id", "where", "problem", "remedy"]
_Found = tuple[list[dict[str, object]], list[tuple[str, str, str, str, str]]]  # rows of `Report.cases`, and of `Report.faults`


@dataclass(frozen=True)
class Report:
    """`cases`: one row a case and reader, or one row for a case that cannot be read; `faults`: one row each, see `FAULT_COLUMNS`.

    A data set whose listing has faults has one more row in `cases`, with an empty case_id. `accounts`: of each data set, its files.
    """

    cases: pd.DataFrame
    faults: pd.DataFrame
    accounts: Mapping[str, accounts.Account]


def check(datasets: Sequence[str], root: Path) -> Report:
    """Read all cases of data sets: of one below `root` (its folder, or CSV table), or of several in the folders of their names there."""
    found: list[_Found] = []
    seen: dict[str, Case] = {}
    told: dict[str, accounts.Account] = {}
    for dataset in datasets:
        own = Path(root) / dataset if len(datasets) > 1 else Path(root)
        with used_files.recording() as used:
            parts = _check_dataset(dataset, own, seen)
        found += parts
        told[dataset] = accounts.of_dataset(dataset, own, used, [fault[2] for part in parts for fault in part[1]])
    rows, faults = ([item for part in parts for item in part] for parts in zip(*found, strict=True))
    return Report(pd.DataFrame(rows), pd.DataFrame(faults, columns=FAULT_COLUMNS), told)


def _check_dataset(dataset: str, root: Path, seen: dict[str, Case]) -> list[_Found]:
    cases, faults = _cases(dataset, root)
    of_cases = [_check_case(case, seen) for case in cases]
    # a damaged file ends the reading of its case, too: it is one fault
    met = {fault[2:4] for _, of_case in of_cases for fault in of_case}
    of_listing = [_refused(dataset, fault) for fault in faults if (fault.where, fault.problem) not in met]
    rows = of_listing[0][0] if of_listing else []
    return [(rows, [fault for _, own in of_listing for fault in own]), *of_cases]


def _cases(dataset: str, root: Path) -> tuple[Sequence[Case], Sequence[InputError]]:
    """The cases that can be listed, and the faults of the listing."""
    try:
        cases = registry.dataset(dataset).cases(root)
    except ListingError as error:
        return error.cases, error.faults
    except InputError as error:
        return (), (error,)
    return cases, () if cases else (InputError(root, f"no case of {dataset} in it", "Give the folder that it lies in."),)


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
    """The order in which a NIfTI file stores its axes, e.g. "LPS"; "DICOM" for a series, and "MHA" for another format."""
    if not nifti.is_nifti(path):
        return "DICOM" if path.is_dir() else path.suffix[1:].upper()
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
        if missing := slices_left_out(mask, LONGEST_GAP_MM):
            problem = f"the reference {name} is empty on slices between slices of the same lesion: {', '.join(map(str, missing[:10]))}"
            yield case.reference_paths[0], problem, "Was every slice outlined? Interpolate it where it was drawn."
    content = hashlib.sha256(repr(study.image.shape).encode() + study.image.array.tobytes(order="F")).hexdigest()
    first = seen.setdefault(content, case)
    if first is not case:
        other = f"{first.case_id} of {first.dataset}, {first.image_path}"  # two data sets, or two folders, may share names
        same = "the same patient" if first.patient_id == case.patient_id else f"another patient, {first.patient_id} and {case.patient_id}"
        problem = f"its voxels are those of {other} ({same})"
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
    if len(without := _without_lesion(readable)):
        lines += [f"cases without a lesion: {len(without)} ({', '.join(without[:10])}{', ...' if len(without) > 10 else ''})"]
    lines += [f"{row.case_id or row.dataset}: {row.where}: {row.problem}. {row.remedy}" for row in faults.itertuples()]
    several = len(report.accounts) > 1
    lines += [f"{dataset + ' ' if several else ''}{account.in_words()}" for dataset, account in report.accounts.items()]
    return "\n".join(lines)


def _without_lesion(readable: pd.DataFrame) -> list[str]:
    """Cases in whose references nobody saw a lesion; cases without a reference are none of them."""
    if "lesions" not in readable:
        return []
    most = readable.groupby("case_id")["lesions"].max()
    return sorted(most.index[most == 0])


def table(report: Report) -> pd.DataFrame:
    """One table for a file: the rows of the cases, with the faults of each case joined by semicolons."""
    told = report.faults.assign(fault=report.faults["where"].astype(str) + ": " + report.faults["problem"])
    joined = told.groupby(["dataset", "case_id"])["fault"].agg("; ".join)
    keys = report.cases[["dataset", "case_id"]].itertuples(index=False, name=None)
    return report.cases.assign(faults=[joined.get(key, "") for key in keys])
