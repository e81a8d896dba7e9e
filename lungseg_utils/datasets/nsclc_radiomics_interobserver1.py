"""NSCLC-Radiomics-Interobserver1 of The Cancer Imaging Archive: planning CT, the tumor outlined by five radiation oncologists.

Each RTSTRUCT holds "GTV-1vis-1" to "GTV-1vis-5", drawn by hand, and "GTV-1auto-1" to "GTV-1auto-5", drawn by the same people with the
help of a program. Only the former count as readers: contours that start from the same proposal agree for that reason. Files are chosen by
their headers, so any nesting of folders works.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..core import masks
from ..data.radiotherapy import only_contours, open_contours, patients, read_ct
from ..data.regions import listed
from ..types import Case, DatasetCard, InputError, Mask, Study

CARD = DatasetCard(
    title="NSCLC-Radiomics-Interobserver1",
    summary="Planning CT of 22 patients with non-small-cell lung cancer, the primary tumor outlined by five radiation oncologists each.",
    target="primary gross tumor volume, inside the outline of most readers",
    license="CC BY-NC 3.0",
    redistributable=False,
    phantom=False,
    citation="Wee L et al. (2019) Data from NSCLC-Radiomics-Interobserver1, The Cancer Imaging Archive; "
    "Aerts HJWL et al. (2014) Nature Communications 5:4006, doi:10.1038/ncomms5006",
    doi="10.7937/tcia.2019.cwvlpd26",
    source="https://www.cancerimagingarchive.net/collection/nsclc-radiomics-interobserver1/",
    labeled_patients=21,
    several_readers=True,
)
NAME = "nsclc_radiomics_interobserver1"
BY_HAND = r"(?i)gtv-?1vis-(\d+)"
MIN_READERS = 2


def cases(root: Path) -> list[Case]:
    """All patients below `root` (the data root or the data set's own folder), sorted; reads headers only.

    A patient without a CT, or without contours, is among them: `load` refuses it. Raises `InputError` if there is no CT at all.
    """
    return patients(Path(root), NAME)


def load(case: Case) -> Study:
    """Read a case: references "majority" (more than half of the readers), then "reader-1" and so on by the number in the region's name.

    Raises `InputError` for a case with fewer than two outlines drawn by hand, or with two of one reader.
    """
    contours = open_contours(only_contours(case))
    series = read_ct(case, contours)
    image, regions = series.image(), contours.regions()
    by_hand = sorted((int(match[1]), region.number) for region in regions if (match := re.fullmatch(BY_HAND, region.name)))
    readers_named = [reader for reader, _ in by_hand]
    if len(by_hand) < MIN_READERS or len(set(readers_named)) < len(by_hand):
        problem = f"{len(by_hand)} outlines by hand of {len(set(readers_named))} readers"
        raise InputError(contours.path, problem, f"It has: {listed(regions)}.")
    readers = {f"reader-{reader}": contours.mask(number, image, series.frame_uid) for reader, number in by_hand}
    return Study(image, {"majority": majority(readers), **readers})


def majority(readers: dict[str, Mask]) -> Mask:
    """Voxels inside the outlines of more than half of the readers."""
    return masks.agreed_by(readers.values(), len(readers) // 2 + 1)
