"""The CT phantom of the Image Biomarker Standardization Initiative: one patient's CT, cropped around one lung.

The publisher calls it a phantom. It is the CT of patient LUNG1-002 of NSCLC-Radiomics and has that patient's id here, so the two are
never in different splits.
"""

from __future__ import annotations

from pathlib import Path

from ..data import dicom_series, radiotherapy, rtstruct
from ..types import Case, DatasetCard, Study

CARD = DatasetCard(
    title="IBSI 1 CT phantom",
    short_title="IBSI CT phantom",
    summary="One hemithorax of one patient (LUNG1-002 of NSCLC-Radiomics) with the tumor's contours, a standard of radiomics.",
    target="primary gross tumor volume (GTV-1)",
    license="CC BY-NC 3.0",
    redistributable=False,
    phantom=False,
    citation="Lambin P et al. (2017) Nature Reviews Clinical Oncology 14:749-762, doi:10.1038/nrclinonc.2017.141; "
    "Lambin P (2016) Radiomics Digital Phantom, CancerData",
    doi="10.17195/candat.2016.08.1",
    source="https://github.com/theibsi/data_sets/tree/6da96021bc91faf4c0cb7fd7fa56a4225d2064a8/ibsi_1_ct_radiomics_phantom",
)
PATIENT_ID = "LUNG1-002"


def cases(root: Path) -> list[Case]:
    """The one case, from the DICOM form below `root` (the data root or the data set's own folder)."""
    own = Path(root) / "ibsi_ct_phantom"
    folder = (own if own.is_dir() else Path(root)) / "dicom"
    contours = tuple(file.path for file in dicom_series.list_dicom(folder) if file.modality == "RTSTRUCT")
    return [Case("ibsi_ct_phantom", "ibsi_ct_phantom", PATIENT_ID, folder, contours)]


def load(case: Case) -> Study:
    """Read the CT and the reference "GTV-1". Raises `InputError` if a file is missing or damaged."""
    contours = rtstruct.open_rtstruct(radiotherapy.only_contours(case))
    series = radiotherapy.read_ct(case, contours)
    image = series.image()
    return Study(image, {"GTV-1": contours.mask("GTV-1", image, series.frame_uid)})
