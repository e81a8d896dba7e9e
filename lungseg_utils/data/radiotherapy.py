"""Read collections of CT with contours (RTSTRUCT or SEG): patients from headers, and each file of a patient opened once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core import masks
from ..core.names import safe_name
from ..types import Case, Image, InputError, Mask
from . import dicom_files, dicom_seg, dicom_series, listing, rtstruct

Contours = rtstruct.StructureSet | dicom_seg.SegmentationFile
"""An opened file with contours: its `path` and `file`, its `regions()`, and `mask(name or number, image, ct_frame_uid)` of one."""


def files_by_patient(root: Path, dataset: str) -> tuple[dict[str, list[dicom_series.DicomFile]], list[InputError]]:
    """DICOM files below `root` (the data root or the data set's own folder) by patient_id, sorted, and damaged ones; reads headers only.

    Raises `InputError` if there is no CT at all.
    """
    own = root / dataset
    groups: dict[str, list[dicom_series.DicomFile]] = {}
    found, faults = dicom_series.find_dicom(own if own.is_dir() else root)
    for file in found:
        groups.setdefault(file.patient_id, []).append(file)
    if not any(file.modality == "CT" for file in found):
        missing = InputError(root, "holds no DICOM CT series", f"Fetch the data first: python -m lungseg_utils fetch {dataset}.")
        raise listing.ListingError(root, [missing, *faults])
    return dict(sorted(groups.items())), faults


def patients(root: Path, dataset: str) -> list[Case]:
    """One case for every patient below `root` (see `files_by_patient`), sorted: its CT, and its RTSTRUCT or else SEG files.

    A patient who lacks one of the two is among them: reading refuses it, so that nobody is lost unseen. Raises `ListingError` for damaged
    files, whose patients are unknown.
    """
    groups, faults = files_by_patient(root, dataset)
    return listing.complete(root, [_case(dataset, patient_id, files) for patient_id, files in groups.items()], faults)


def _case(dataset: str, patient_id: str, files: list[dicom_series.DicomFile]) -> Case:
    of_kind = {kind: [file for file in files if file.modality == kind] for kind in ("CT", "RTSTRUCT", "SEG")}
    contours = of_kind["RTSTRUCT"] or of_kind["SEG"]
    return Case(
        dataset,
        safe_name(patient_id),
        patient_id,
        dicom_series.common_folder(of_kind["CT"] or files),
        tuple(file.path for file in contours),
    )


def only_contours(case: Case) -> Path:
    """The one file with contours of a case; `InputError` if there is none or more than one."""
    if len(case.reference_paths) != 1:
        problem = f"{len(case.reference_paths)} files with contours, one is needed"
        raise InputError(case.image_path, problem, "Leave the patient out (`exclusions` lists such), or keep one file.")
    return case.reference_paths[0]


def open_contours(path: Path) -> Contours:
    """Open a file with contours, RTSTRUCT or SEG by its own word."""
    file = dicom_files.read_whole_dicom(path)
    return dicom_seg.open_dicom_seg(path, file) if file.get("Modality") == "SEG" else rtstruct.open_rtstruct(path, file)


def read_ct(case: Case, contours: Contours) -> dicom_series.Series:
    """The CT series that the contours were drawn on; the only one of the case if they do not say.

    Contours that lie in its folder are not read again. Raises `InputError` if they name a series that is not there: breathing moves a
    tumor by centimeters, so a series of the same frame of reference does not take its place.
    """
    _, drawn_on = contours.drawn_on()
    return dicom_series.read_series(case.image_path, drawn_on, {contours.path: contours.file})


def series_named(case: Case) -> tuple[str, ...]:
    """UIDs of the CT series that a case is, by its attribute `series_uid` or by its contours; none if neither says it."""
    if "series_uid" in case.attributes:
        return (case.attributes["series_uid"],)
    contours = [path for path in case.reference_paths if path.is_file() and dicom_series.dicom_modality(path) in ("RTSTRUCT", "SEG")]
    return open_contours(contours[0]).drawn_on()[1] if len(contours) == 1 else ()


def region_to_ignore(
    contours: Contours, numbers: Sequence[int], image: Image, ct_frame_uid: str | None, reference: Mask, margin_mm: float
) -> Mask | None:
    """Regions, by number, joined, grown by `margin_mm` and without the reference; None if they outline nothing.

    None of them decides whether the patient can be used: one may be empty, and several may have one name.
    """
    outlined = np.zeros(image.shape, bool, order="F")
    for number in numbers:
        outlined |= contours.mask_with_gaps(number, image, ct_frame_uid).array
    if not outlined.any():
        return None
    return Mask(masks.grow_mm(outlined, image.spacing_mm, margin_mm) & ~reference.array, image.affine)
