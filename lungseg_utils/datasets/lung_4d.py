"""4D-Lung of The Cancer Imaging Archive: one breathing phase of the planning CT of one patient, with the contours of that phase.

The RTSTRUCT names the series of its phase, and that series is read. Its regions end in the phase: "Tumor_c40" is the primary tumor at 40 %
of the breathing cycle, "LN_c40" a node. Files are chosen by their headers, so any nesting of folders works.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..data.radiotherapy import only_contours, patients, read_ct, region_to_ignore
from ..data.regions import listed
from ..data.rtstruct import open_rtstruct
from ..types import Case, DatasetCard, InputError, Study

CARD = DatasetCard(
    title="4D-Lung",
    summary="One phase of the four-dimensional planning CT of one of 20 patients with non-small-cell lung cancer, and its contours.",
    target="primary tumor of the phase; nodes, grown by 5 mm, are an ignore region",
    license="treated as CC BY 3.0, its text was not read",
    redistributable=False,
    phantom=False,
    citation="Hugo GD et al. (2016) Data from 4D Lung Imaging of NSCLC Patients, The Cancer Imaging Archive; "
    "Hugo GD et al. (2017) Medical Physics 44:762-771, doi:10.1002/mp.12059",
    doi="10.7937/K9/TCIA.2016.ELN8YGLE",
    source="https://www.cancerimagingarchive.net/collection/4d-lung/",
)
NAME = "lung_4d"
TARGET, NODES = r"(?i)tumou?r_c\d+", r"(?i)ln\d*_c\d+"
IGNORE_MARGIN_MM = 5.0


def cases(root: Path) -> list[Case]:
    """All patients below `root` (the data root or the data set's own folder), sorted; reads headers only.

    A patient without a CT, or without contours, is among them: `load` refuses it. Raises `InputError` if there is no CT at all.
    """
    return patients(Path(root), NAME)


def load(case: Case) -> Study:
    """Read a case: reference "tumor" and, if there are nodes, these grown by 5 mm as the region to ignore.

    Raises `InputError`, with the file, for contours that are missing or doubled, that do not name one series, that name one which is not
    there, or that hold no tumor (or two).
    """
    contours = open_rtstruct(only_contours(case))
    _, drawn_on = contours.drawn_on()
    if len(drawn_on) != 1:
        raise InputError(contours.path, f"it refers to {len(drawn_on)} series, one is needed", "Give the contours of one phase.")
    series = read_ct(case, contours)
    image, regions = series.image(), contours.regions()
    tumors = [region for region in regions if re.fullmatch(TARGET, region.name)]
    if len(tumors) != 1:
        raise InputError(contours.path, f"{len(tumors)} tumors, one is needed", f"It has: {listed(regions)}.")
    reference = contours.mask(tumors[0].number, image, series.frame_uid)
    nodes = [region.number for region in regions if re.fullmatch(NODES, region.name)]
    return Study(image, {"tumor": reference}, region_to_ignore(contours, nodes, image, series.frame_uid, reference, IGNORE_MARGIN_MM))
