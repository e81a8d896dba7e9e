"""Read collections of CT with contours (RTSTRUCT or SEG): patients from headers, and each file of a patient opened once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.names import safe_name
from ..types import Case, InputError
from . import dicom_seg, dicom_series, rtstruct

Contours = rtstruct.StructureSet | dicom_seg.SegmentationFile
"""An opened file with contours: its `path` and `file`, `names()` of its regions, and `mask(name, image, ct_frame_uid)` of one."""


def files_by_patient(root: Path, dataset: str) -> dict[str, list[dicom_series.DicomFile]]:
    """DICOM files below `root` (the data root or the data set's own folder) by patient_id, sorted; reads headers only.

    Raises `InputError` if there is no CT at all.
    """
    own = root / dataset
    groups: dict[str, list[dicom_series.DicomFile]] = {}
    for file in dicom_series.list_dicom(own if own.is_dir() else root):
        groups.setdefault(file.patient_id, []).append(file)
    if not any(file.modality == "CT" for files in groups.values() for file in files):
        raise InputError(root, "holds no DICOM CT series", f"Fetch the data first: python -m lungseg_utils fetch {dataset}.")
    return dict(sorted(groups.items()))


def patients(root: Path, dataset: str) -> list[Case]:
    """One case for every patient below `root` (see `files_by_patient`), sorted: its CT, and its RTSTRUCT or else SEG files.

    A patient who lacks one of the two is among them: reading refuses it, so that nobody is lost unseen.
    """
    return [_case(dataset, patient_id, files) for patient_id, files in files_by_patient(root, dataset).items()]


def _case(dataset: str, patient_id: str, files: list[dicom_series.DicomFile]) -> Case:
    of_kind = {kind: [file for file in files if file.modality == kind] for kind in ("CT", "RTSTRUCT", "SEG")}
    contours = of_kind["RTSTRUCT"] or of_kind["SEG"]
    return Case(dataset, safe_name(patient_id), patient_id, common_folder(of_kind["CT"] or files), tuple(file.path for file in contours))


def common_folder(files: Iterable[dicom_series.DicomFile]) -> Path:
    """The deepest folder that holds all of these files, at any depth."""
    folders = {file.path.parent for file in files}
    while len(folders) > 1:
        deepest = max(folders, key=lambda folder: len(folder.parts))
        folders = folders - {deepest} | {deepest.parent}
    return folders.pop()


def only_contours(case: Case) -> Path:
    """The one file with contours of a case; `InputError` if there is none or more than one."""
    if len(case.reference_paths) != 1:
        problem = f"{len(case.reference_paths)} files with contours, one is needed"
        raise InputError(case.image_path, problem, "Leave the patient out (`exclusions` lists such), or keep one file.")
    return case.reference_paths[0]


def open_contours(path: Path) -> Contours:
    """Open a file with contours, RTSTRUCT or SEG by its own word."""
    file = dicom_series.read_whole_dicom(path)
    return dicom_seg.open_dicom_seg(path, file) if file.get("Modality") == "SEG" else rtstruct.open_rtstruct(path, file)


def read_ct(case: Case, contours: Contours, series_uid: str | None = None) -> dicom_series.Series:
    """The CT series of a case, of several the one of `series_uid`. Contours that lie in its folder are not read again."""
    return dicom_series.read_series(case.image_path, series_uid, {contours.path: contours.file})
