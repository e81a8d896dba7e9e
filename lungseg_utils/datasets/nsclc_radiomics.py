"""NSCLC-Radiomics (Lung1) of The Cancer Imaging Archive: planning CT of non-small-cell lung cancer with contours.

Files are chosen by their headers, never by name, so any nesting of folders works. The target is the primary tumor, GTV-1. The nodes
(GTV-2, ...), grown by 5 mm, are an ignore region.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..core import masks
from ..data.images import read_image
from ..data.radiotherapy import only_contours, patients, read_region, region_names
from ..types import Case, DatasetCard, Image, InputError, Mask, Study

CARD = DatasetCard(
    title="NSCLC-Radiomics (Lung1)",
    short_title="NSCLC-Radiomics",
    summary="Planning CT of 422 patients with non-small-cell lung cancer and the contours drawn for radiotherapy.",
    target="primary gross tumor volume (GTV-1)",
    licence="CC BY-NC 3.0",
    redistributable=False,
    phantom=False,
    citation="Aerts HJWL et al. (2019) Data From NSCLC-Radiomics (version 4), The Cancer Imaging Archive; "
    "Aerts HJWL et al. (2014) Nature Communications 5:4006, doi:10.1038/ncomms5006",
    doi="10.7937/K9/TCIA.2015.PF0M9REI",
    source="https://www.cancerimagingarchive.net/collection/nsclc-radiomics/",
    labelled_patients=422,
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
    whose target is missing or not usable.
    """
    path = only_contours(case)
    image = read_image(case.image_path)
    names = region_names(path)
    wanted = [name for name in names if re.fullmatch(target, name)]
    if len(wanted) != 1:
        raise InputError(path, f"{len(wanted)} regions for {target!r}, one is needed", f"It has: {', '.join(names)}.")
    reference = read_region(path, image, wanted[0], case.image_path)
    nodes = [name for name in names if re.fullmatch(OTHER_GTV, name) and name != wanted[0]]
    return Study(image, {"GTV-1": reference}, _ignore_region(path, image, nodes, reference, case.image_path))


def _ignore_region(path: Path, image: Image, nodes: list[str], reference: Mask, series_folder: Path) -> Mask | None:
    if not nodes:
        return None
    union = np.zeros(image.shape, bool)
    for name in nodes:
        union |= read_region(path, image, name, series_folder).array
    return Mask(masks.grow_mm(union, image.spacing_mm, IGNORE_MARGIN_MM) & ~reference.array, image.affine)
