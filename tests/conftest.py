"""Shared fixtures: the real sample CTs, and writers of tiny DICOM files."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lungseg_utils.data import download, samples

BROWSER_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FRAME = "1.2.3.4.1"
SERIES = "1.2.3.4.2"


@pytest.fixture(scope="session")
def real_data(tmp_path_factory) -> Path:
    """Data root with all real sample CTs, fetched once per session from the mirror."""
    if not os.environ.get(download.MIRROR_VARIABLE):
        pytest.skip(f"real CTs are not at hand: set {download.MIRROR_VARIABLE} to a local copy of their addresses")
    root = tmp_path_factory.mktemp("data")
    for name in samples.names():
        samples.fetch(name, root, yes=True, progress=False)
    return root


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests of a run: playwright allows no second one at once."""
    from playwright.sync_api import sync_playwright

    path = _browser_path()
    if not path:
        # only where pytest is called by hand: `make test` stops at once without a browser
        pytest.skip("no Chromium: install it, or name it in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(BROWSER_OPTIONS))
        yield browser
        browser.close()


def _browser_path() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def chromium_with_webgpu(chromium):
    """A browser with a graphics processor, which the processor plays."""
    options = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    browser = chromium.browser_type.launch(executable_path=_browser_path(), args=[*BROWSER_OPTIONS, *options])
    yield browser
    browser.close()


@contextmanager
def another_process_holds(lock: Path):
    """Within the block a process of its own holds the file lock; then it is killed."""
    code = "import sys; from pathlib import Path; from lungseg_utils.core import locks\n"
    code += "with locks.exclusive(Path(sys.argv[1]), ''): print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            yield
        finally:
            other.kill()


@pytest.fixture(scope="session")
def hold_lock():
    """`with hold_lock(path):` another process holds that lock."""
    return another_process_holds


@pytest.fixture(scope="session")
def dicom() -> SimpleNamespace:
    """Writers of tiny DICOM files: `dicom.ct_series(folder, ...)`, `dicom.rtstruct(path, ...)`, `dicom.seg(path, ...)`, and their UIDs."""
    return SimpleNamespace(ct_series=write_ct_series, rtstruct=write_rtstruct, seg=write_seg, save=save_dicom, frame=FRAME, series=SERIES)


def save_dicom(dataset, path):
    """Write a pydicom dataset as an explicit little-endian DICOM file."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    if not getattr(dataset, "file_meta", None):
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_ct_series(
    folder,
    stored=None,
    origin=(0.0, 0.0, 0.0),
    cosines=(1, 0, 0, 0, 1, 0),
    spacing=(1.0, 1.0, 1.0),
    series_uid=SERIES,
    patient_id="P1",
    edit=None,
):
    """Write `stored` (slices, rows, columns), stored values with HU = value - 1024; spacing (column, row, slice) mm.

    `edit(dataset, index)` may change a slice before it is written, or return False to leave it out. Returns the datasets.
    """
    stored = np.full((4, 8, 8), 1024, np.int16) if stored is None else stored
    normal = np.cross(cosines[:3], cosines[3:])
    datasets = []
    for index, pixels in enumerate(stored):
        dataset = _ct_slice(pixels, series_uid, patient_id, index)
        dataset.ImagePositionPatient = [round(float(v), 6) for v in np.asarray(origin) + normal * spacing[2] * index]
        dataset.ImageOrientationPatient = [round(float(v), 9) for v in cosines]
        dataset.PixelSpacing = [spacing[1], spacing[0]]  # DICOM: between rows first
        dataset.SliceThickness = spacing[2]
        if edit is None or edit(dataset, index) is not False:
            # names that do not sort in slice order
            save_dicom(dataset, folder / f"{(7 * index + 3) % 101}.dcm")
            datasets.append(dataset)
    return datasets


def _ct_slice(pixels, series_uid, patient_id, index):
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = f"{series_uid}.{index + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.3.4.9", series_uid, FRAME
    dataset.Modality, dataset.PatientID, dataset.PatientName = "CT", patient_id, "Secret^Name"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.StudyID = ""
    dataset.InstanceNumber = index + 1
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = np.ascontiguousarray(pixels, np.int16).tobytes()
    return dataset


def write_rtstruct(path, rois, frame=FRAME, kind="CLOSED_PLANAR", patient_id="P1", refers_to=(), description=""):
    """Write contours: {name: [points (n, 3) in LPS mm, ...]}, without any reference to slices; `refers_to`: UIDs of series."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.3.4.5"
    dataset.SeriesInstanceUID, dataset.Modality, dataset.PatientID = "1.2.3.4.6", "RTSTRUCT", patient_id
    dataset.SeriesDescription, dataset.ReferencedFrameOfReferenceSequence = description, [_referenced_frame(refers_to)]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), 1):
        roi, group = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        if frame:
            roi.ReferencedFrameOfReferenceUID = frame
        group.ReferencedROINumber, group.ContourSequence = number, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [float(v) for v in np.ravel(points)]
            group.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(group)
    save_dicom(dataset, path)
    return path


def _referenced_frame(series_uids):
    from pydicom.dataset import Dataset

    frame, study = Dataset(), Dataset()
    study.ReferencedSOPInstanceUID, study.RTReferencedSeriesSequence = "1.2.3.4.9", [Dataset() for _ in series_uids]
    for series, uid in zip(study.RTReferencedSeriesSequence, series_uids, strict=True):
        series.SeriesInstanceUID = uid
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = FRAME, [study]
    return frame


def write_seg(path, datasets, pixels, kind="BINARY", labels=("Tumor",)):
    """Write a DICOM SEG file: pixels (slices, rows, columns) of the source datasets, values are segment numbers."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    def describe(number, label):
        return hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )

    seg = hd.seg.Segmentation(
        source_images=datasets,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[describe(number, label) for number, label in enumerate(labels, 1)],
        series_instance_uid=hd.UID(),
        series_number=2,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="x",
        device_serial_number="x",
    )
    seg.save_as(path)
    return path
