"""What collections of planning CTs with contours (RTSTRUCT or SEG) share: patients by headers, regions by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import io
from .types import Case, Image, InputError, Mask


def patients(root: Path, dataset: str) -> Iterator[tuple[Case | None, str]]:
    """(case, patient_id) of every patient below `root` (the data root or the data set's own folder), sorted; None without a CT."""
    own = root / dataset
    groups: dict[str, list[io.DicomFile]] = {}
    for file in io.list_dicom(own if own.is_dir() else root):
        groups.setdefault(file.patient_id, []).append(file)
    for patient_id, files in sorted(groups.items()):
        yield _case(dataset, patient_id, files), patient_id


def _case(dataset: str, patient_id: str, files: list[io.DicomFile]) -> Case | None:
    folders = {file.path.parent for file in files if file.modality == "CT"}
    if not folders:
        return None
    while len(folders) > 1:  # a patient's slices in several folders: the one above them all
        deepest = max(folders, key=lambda folder: len(folder.parts))
        folders = folders - {deepest} | {deepest.parent}
    contours = [tuple(file.path for file in files if file.modality == kind) for kind in ("RTSTRUCT", "SEG")]
    return Case(dataset, patient_id, patient_id, folders.pop(), contours[0] or contours[1])


def only_contours(case: Case) -> Path:
    """The one file with contours of a case; `InputError` if there is none or more than one."""
    if len(case.reference_paths) != 1:
        problem = f"{len(case.reference_paths)} files with contours, one is needed"
        raise InputError(case.image_path, problem, "Leave the patient out (`exclusions` lists such), or keep one file.")
    return case.reference_paths[0]


def region_names(path: Path) -> list[str]:
    """Names of the regions in a file with contours."""
    return io.dicom_seg_labels(path) if io.dicom_modality(path) == "SEG" else io.rtstruct_roi_names(path)


def read_region(path: Path, image: Image, name: str, series_folder: Path) -> Mask:
    """One region on the grid of its CT."""
    read = io.read_dicom_seg if io.dicom_modality(path) == "SEG" else io.read_rtstruct
    return read(path, image, name, series_folder=series_folder)
