"""RIDER Lung CT of The Cancer Imaging Archive: two chest CTs within fifteen minutes, with the tumor contours of Wee et al.

A patient has many series: both scans, each reconstructed several times. Only the contours tell which series was outlined: the label of an
RTSTRUCT is "test" or "retest", and it names the series by its UID. One scan per patient is used, so no patient counts twice: the first
("test"), or the second ("retest") where the first was not outlined; `attributes` say which. Each RTSTRUCT holds the outline of a radiation
oncologist (GTVp_test_man), which is the reference, and the proposal of a program (GTVp_test_auto). The SEG files of the collection do not
say which of the two they hold, and are ignored.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..core.names import safe_name
from ..data.dicom_series import DicomFile, common_folder
from ..data.listing import complete
from ..data.radiotherapy import files_by_patient, only_contours, read_ct
from ..data.regions import listed
from ..data.rtstruct import open_rtstruct
from ..types import Case, DatasetCard, InputError, Study

CARD = DatasetCard(
    title="RIDER Lung CT",
    summary="Two CTs, fifteen minutes apart, of 32 patients with non-small-cell lung cancer; 31 with the primary tumor outlined by hand.",
    target="primary gross tumor volume (GTVp), drawn by hand on the first of the two scans",
    license="CC BY 3.0 (contours), CC BY 4.0 (images)",
    redistributable=True,
    phantom=False,
    citation="Zhao B et al. (2015) Data From RIDER Lung CT, The Cancer Imaging Archive; Wee L et al. (2020) RIDER Lung CT Segmentation "
    "Labels from: Decoding tumour phenotype by noninvasive imaging using a quantitative radiomics approach, The Cancer Imaging Archive",
    doi="10.7937/K9/TCIA.2015.U1X8A5NR",
    source="https://www.cancerimagingarchive.net/collection/rider-lung-ct/",
    labeled_patients=31,
)
NAME = "rider_lung_ct"
SCANS = ("test", "retest")  # in the order in which they are preferred


def cases(root: Path) -> list[Case]:
    """One case for each patient below `root` (the data root or the data set's own folder), sorted; any nesting will do.

    `image_path` is the folder of the series that its contours refer to, or all of the patient's where that series is not there:
    then `load` refuses it. A patient without contours is among them, without a reference. Raises `InputError` if there is no CT at all.
    """
    groups, faults = files_by_patient(Path(root), NAME)
    return complete(root, [_case(patient_id, files) for patient_id, files in groups.items()], faults)


def load(case: Case) -> Study:
    """Read a case: reference "GTVp", as drawn by hand.

    Raises `InputError` for contours that are missing or doubled, that do not say which scan they are of, that refer to a series that is
    not there, or that hold no outline by hand (or two) of their scan.
    """
    path = only_contours(case)
    contours = open_rtstruct(path)
    scan, drawn_on = contours.drawn_on()
    if scan.lower() not in SCANS:
        raise InputError(path, f"its description {scan!r} is neither test nor retest", "Fetch it again, or leave the patient out.")
    if len(drawn_on) != 1:
        raise InputError(path, f"it refers to {len(drawn_on)} series, one is needed", "Fetch it again, or leave the patient out.")
    series = read_ct(case, contours)
    image, regions = series.image(), contours.regions()
    by_hand = [region.number for region in regions if re.fullmatch(rf"(?i)gtvp_{scan}_man", region.name)]
    if len(by_hand) != 1:
        raise InputError(path, f"{len(by_hand)} outlines by hand of the {scan} scan, one is needed", f"It has: {listed(regions)}.")
    return Study(image, {"GTVp": contours.mask(by_hand[0], image, series.frame_uid)})


def _case(patient_id: str, files: list[DicomFile]) -> Case:
    contours = {file.path: _said(file.path) for file in files if file.modality == "RTSTRUCT"}
    of_scan = {scan: [path for path, (own, _) in contours.items() if own.lower() == scan] for scan in SCANS}
    scan = next((name for name in SCANS if of_scan[name]), "")
    chosen = of_scan.get(scan, list(contours))
    wanted = {uid for path in chosen for uid in contours[path][1]}
    slices = [file for file in files if file.modality == "CT"]
    image_path = common_folder([file for file in slices if file.series_uid in wanted] or slices or files)
    return Case(NAME, safe_name(patient_id), patient_id, image_path, tuple(chosen), {"scan": scan} if scan else {})


def _said(path: Path) -> tuple[str, tuple[str, ...]]:
    try:
        return open_rtstruct(path).drawn_on()
    except InputError:  # listing goes on: `load` meets the same fault, and names it
        return "", ()
