"""LIDC-IDRI: chest CT with lung nodules of at least 3 mm, each outlined by up to four readers.

Readers are anonymous and numbered as in the XML file: reader-1 of two scans need not be the same person. The samples that `fetch` brings
are two slabs of 16 and 12 slices, not whole scans: `touches_end` tells whether the slab cuts a nodule.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core import masks
from ..data import dicom_series, lidc_xml
from ..types import Case, DatasetCard, InputError, Mask, Study

CARD = DatasetCard(
    title="LIDC-IDRI",
    summary="Chest CT of 1010 patients, nodules of at least 3 mm outlined by four readers; two slabs can be fetched.",
    target="nodules of at least 3 mm, inside the outline of at least two of four readers",
    license="CC BY 3.0",
    redistributable=True,
    phantom=False,
    citation="Armato SG III et al. (2015) Data From LIDC-IDRI, The Cancer Imaging Archive; "
    "Armato SG III et al. (2011) Medical Physics 38:915-931, doi:10.1118/1.3528204",
    doi="10.7937/K9/TCIA.2015.LO9QL9SX",
    source="https://www.cancerimagingarchive.net/collection/lidc-idri/",
    several_readers=True,
)


def cases(root: Path) -> list[Case]:
    """Every CT series below `root` (the data root or the data set's own folder), sorted, each with its annotation file.

    A series without one is among them, without a reference: `load` refuses it. Raises `InputError` if no series has one.
    """
    own = Path(root) / "lidc_idri"
    folder = own if own.is_dir() else Path(root)
    annotations = {uid: path for path in sorted(folder.rglob("*.xml")) if (uid := lidc_xml.lidc_series_uid(path))}
    series = {file.series_uid: file for file in dicom_series.list_dicom(folder) if file.modality == "CT"}
    if not set(series) & set(annotations):
        raise InputError(root, "holds no DICOM CT series with an LIDC annotation file", "Fetch the data first: make data.")
    found = sorted((file.patient_id, uid, file.path.parent) for uid, file in series.items())
    patients = [patient_id for patient_id, _, _ in found]
    result = []
    for index, (patient_id, uid, image_path) in enumerate(found):
        # eight patients of the collection were scanned twice
        number = patients[: index + 1].count(patient_id)
        case_id = patient_id if patients.count(patient_id) == 1 else f"{patient_id}-scan-{number}"
        references = (annotations[uid],) if uid in annotations else ()
        result.append(Case("lidc_idri", case_id, patient_id, image_path, references))
    return result


def load(case: Case) -> Study:
    """Read a case: references "consensus" (at least two readers), then "reader-1" and so on, in that order.

    A reader who outlined nothing has an empty mask, and so has the consensus if no two readers agree.
    """
    if len(case.reference_paths) != 1:
        raise InputError(case.image_path, "its series has no annotation file", "Fetch the data set again, or leave the case out.")
    series = dicom_series.read_series(case.image_path)
    image = series.image()
    readers = lidc_xml.readers_of(series, case.reference_paths[0])
    return Study(image, {"consensus": consensus(Study(image, readers)), **readers})


def votes(study: Study) -> np.ndarray:
    """Number of readers whose outline holds a voxel: uint8 (x, y, z)."""
    readers = [mask.array for name, mask in study.references.items() if name.startswith("reader-")]
    return np.sum(readers, axis=0, dtype=np.uint8)


def consensus(study: Study, at_least: int = 2) -> Mask:
    """Voxels inside the outlines of at least `at_least` readers."""
    return masks.agreed_by((mask for name, mask in study.references.items() if name.startswith("reader-")), at_least)


def touches_end(mask: Mask) -> bool:
    """True if the mask reaches the first or the last slice: then a slab may have cut it, and its end is no surface."""
    return bool(mask.array[:, :, [0, -1]].any())
