"""A phantom as files: DICOM CT series with RTSTRUCT, or NIfTI. Everything is derived from the patient, nothing from the clock."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage
from skimage.measure import find_contours

from lungseg_utils.geometry import LPS_TO_RAS

from .cohort import Patient

UID_ROOT = "2.25"  # the root that needs no registration: the rest is one large number
STUDY_DATE, STUDY_TIME = "20200101", "120000"
ROI_COLOURS = {"GTV-1": [255, 0, 0], "GTV-2": [255, 160, 0], "Lung-Left": [0, 160, 255], "Lung-Right": [0, 220, 160]}
_MIN_CONTOUR_PIXELS = 1.0
RESCALE_INTERCEPT = -1024


def derived_uid(*parts: object) -> str:
    """A DICOM UID that depends on `parts` only."""
    digest = hashlib.sha256("/".join(str(p) for p in parts).encode()).hexdigest()
    return f"{UID_ROOT}.{int(digest[:32], 16)}"


def contours_lps(distance_mm: np.ndarray, affine: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Closed outlines of {distance > 0}, slice by slice: (slice index, points (n, 3) in LPS mm, two decimals)."""
    outlines = []
    to_lps = np.linalg.inv(LPS_TO_RAS) @ affine
    for k in np.flatnonzero((distance_mm > 0).any((0, 1))):
        padded = np.pad(np.clip(distance_mm[:, :, k], -6, 6), 1, constant_values=-6)
        for points in find_contours(padded, 0.0):
            ij = points[:-1] - 1
            area = 0.5 * abs(np.dot(ij[:, 0], np.roll(ij[:, 1], 1)) - np.dot(ij[:, 1], np.roll(ij[:, 0], 1)))
            if len(ij) < 3 or area < _MIN_CONTOUR_PIXELS:
                continue
            ijk = np.column_stack([ij, np.full(len(ij), k), np.ones(len(ij))])
            outlines.append((int(k), np.round((ijk @ to_lps.T)[:, :3], 2)))
    return outlines


def _base(patient: Patient, sop_class: str, instance: str, modality: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = instance
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = derived_uid("lungseg_utils")
    ds.PatientID, ds.PatientName, ds.Modality = patient.patient_id, patient.patient_id, modality
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyInstanceUID = derived_uid(patient.patient_id, "study")
    ds.FrameOfReferenceUID = derived_uid(patient.patient_id, "frame")
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = STUDY_DATE, STUDY_TIME, "1", ""
    ds.ReferringPhysicianName, ds.Manufacturer = "", "lungseg-utils phantom"
    return ds


def _lps_geometry(patient: Patient) -> tuple[np.ndarray, np.ndarray]:
    """Pixels as DICOM stores them (slice, row, column; rows towards posterior, columns towards the left) and positions (n, 3) LPS."""
    pixels = patient.hu[::-1, ::-1].transpose(2, 1, 0)
    nx, ny, nz = patient.hu.shape
    corner = np.column_stack([np.full(nz, nx - 1), np.full(nz, ny - 1), np.arange(nz), np.ones(nz)])
    return pixels, (corner @ (np.linalg.inv(LPS_TO_RAS) @ patient.affine).T)[:, :3]


def write_ct_series(patient: Patient, folder: Path) -> list[str]:
    """Write one CT file per slice; returns the SOP instance UIDs from the lowest slice up."""
    pixels, positions = _lps_geometry(patient)
    spacing = np.linalg.norm(patient.affine[:3, :3], axis=0)
    series = derived_uid(patient.patient_id, "series")
    uids = [derived_uid(patient.patient_id, "slice", k) for k in range(len(pixels))]
    for k, uid in enumerate(uids):
        ds = _base(patient, CTImageStorage, uid, "CT")
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = series, 1, k + 1
        ds.ImageType, ds.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
        ds.ImagePositionPatient = [f"{v:.4f}" for v in positions[k]]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
        ds.SliceThickness, ds.SliceLocation = f"{spacing[2]:.6f}", f"{positions[k][2]:.4f}"
        ds.Rows, ds.Columns = pixels.shape[1:]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, RESCALE_INTERCEPT, "HU"
        ds.PixelData = (pixels[k].astype(np.int32) - RESCALE_INTERCEPT).astype("<i2").tobytes()
        ds.save_as(folder / f"CT_{k:03d}.dcm", enforce_file_format=True)
    return uids


def _contour_item(points: np.ndarray, uid: str) -> Dataset:
    item, image = Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, uid
    item.ContourImageSequence = DicomSequence([image])
    item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
    item.ContourData = [f"{v:.2f}" for v in points.ravel()]
    return item


def write_rtstruct(patient: Patient, rois: dict[str, np.ndarray], uids: list[str], path: Path) -> None:
    """Write outlines of signed distances as one RTSTRUCT; an ROI without any outline is left out."""
    ds = _base(patient, RTStructureSetStorage, derived_uid(patient.patient_id, "rtstruct"), "RTSTRUCT")
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = derived_uid(patient.patient_id, "rtstruct-series"), 2, 1
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "PHANTOM", STUDY_DATE, STUDY_TIME
    ds.ReferencedFrameOfReferenceSequence = DicomSequence([_referenced_frame(patient, uids)])
    names, contours, observations = [], [], []
    for name, distance in rois.items():
        outlines = contours_lps(distance, patient.affine)
        if not outlines:
            continue
        number = len(names) + 1
        roi, contour, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "MANUAL"
        roi.ReferencedFrameOfReferenceUID = ds.FrameOfReferenceUID
        contour.ReferencedROINumber, contour.ROIDisplayColor = number, ROI_COLOURS.get(name, [255, 255, 0])
        contour.ContourSequence = DicomSequence([_contour_item(points, uids[k]) for k, points in outlines])
        observation.ObservationNumber, observation.ReferencedROINumber = number, number
        observation.RTROIInterpretedType, observation.ROIInterpreter = "GTV" if name.startswith("GTV") else "ORGAN", ""
        names.append(roi)
        contours.append(contour)
        observations.append(observation)
    ds.StructureSetROISequence, ds.ROIContourSequence = DicomSequence(names), DicomSequence(contours)
    ds.RTROIObservationsSequence = DicomSequence(observations)
    ds.save_as(path, enforce_file_format=True)


def _referenced_frame(patient: Patient, uids: list[str]) -> Dataset:
    frame, study, series = Dataset(), Dataset(), Dataset()
    images = []
    for uid in uids:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, uid
        images.append(image)
    series.SeriesInstanceUID = derived_uid(patient.patient_id, "series")
    series.ContourImageSequence = DicomSequence(images)
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", derived_uid(patient.patient_id, "study")
    study.RTReferencedSeriesSequence = DicomSequence([series])
    frame.FrameOfReferenceUID = derived_uid(patient.patient_id, "frame")
    frame.RTReferencedStudySequence = DicomSequence([study])
    return frame


def write_dicom_patient(patient: Patient, folder: Path) -> None:
    """Write CT series and RTSTRUCT of one patient into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    uids = write_ct_series(patient, folder)
    rois = {"GTV-1": patient.tumor_mm}
    if patient.node_mm is not None:
        rois["GTV-2"] = patient.node_mm
    write_rtstruct(patient, rois | patient.lung_mm, uids, folder / "RS.dcm")


def write_nifti(array: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write an array (x, y, z) as compressed NIfTI, byte for byte the same each time (no file name or time in the gzip header)."""
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed:
        packed.write(image.to_bytes())
