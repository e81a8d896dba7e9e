"""NSCLC-Radiomics (Lung1) of The Cancer Imaging Archive: planning CT of non-small-cell lung cancer with contours.

Files are chosen by their headers, never by name, so any nesting of folders works. The target is the primary tumor, GTV-1. The nodes
(GTV-2, ...), grown by 5 mm, are an ignore region.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..data.radiotherapy import only_contours, open_contours, patients, read_ct, region_to_ignore
from ..data.regions import listed
from ..types import Case, DatasetCard, InputError, Study

CARD = DatasetCard(
    title="NSCLC-Radiomics (Lung1)",
    short_title="NSCLC-Radiomics",
    summary="Planning CT of 422 patients with non-small-cell lung cancer and the contours drawn for radiotherapy.",
    target="primary gross tumor volume (GTV-1)",
    license="CC BY-NC 3.0",
    redistributable=False,
    phantom=False,
    citation="Aerts HJWL et al. (2019) Data From NSCLC-Radiomics (version 4), The Cancer Imaging Archive; "
    "Aerts HJWL et al. (2014) Nature Communications 5:4006, doi:10.1038/ncomms5006",
    doi="10.7937/K9/TCIA.2015.PF0M9REI",
    source="https://www.cancerimagingarchive.net/collection/nsclc-radiomics/",
    labeled_patients=422,
)
NAME = "nsclc_radiomics"
TARGET = "GTV-1"
OTHER_GTV = r"(?i)gtv.*"
IGNORE_MARGIN_MM = 5.0


def cases(root: Path) -> list[Case]:
    """All patients below `root` (the data root or the data set's own folder), sorted; reads headers only.

    A patient without a CT, or without contours, is among them: `load` refuses it. Raises `InputError` if there is no CT at all.
    """
    return patients(Path(root), NAME)


def load(case: Case, target: str = TARGET) -> Study:
    """Read a case: reference "GTV-1" and, if there are other GTVs, these grown by 5 mm as the region to ignore.

    `target` is a regular expression that must match one whole name of a region. Raises `InputError` for a patient
    whose target is missing or not usable. A node that outlines nothing is no reason, and nodes may share a name.
    """
    contours = open_contours(only_contours(case))
    series = read_ct(case, contours)
    image, regions = series.image(), contours.regions()
    wanted = [region for region in regions if re.fullmatch(target, region.name)]
    if len(wanted) != 1:
        remedy = f"It has: {listed(regions)}."
        raise InputError(contours.path, f"{len(wanted)} regions for {target!r}, one is needed", remedy)
    reference = contours.mask(wanted[0].number, image, series.frame_uid)
    nodes = [region.number for region in regions if re.fullmatch(OTHER_GTV, region.name) and region != wanted[0]]
    return Study(image, {"GTV-1": reference}, region_to_ignore(contours, nodes, image, series.frame_uid, reference, IGNORE_MARGIN_MM))
