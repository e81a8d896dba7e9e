"""Read a CT series with its contours, from files to image and mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from skimage.draw import polygon2mask

from lungseg_utils import geometry
from lungseg_utils.core.masks import dsc
from lungseg_utils.data import grids, images, rtstruct
from lungseg_utils.data.dicom_series import dicom_modality
from lungseg_utils.types import Image, InputError, Mask

from ..row import Agreement, Setting, Work, fetched, row

ROI = "GTV-1"


@row(
    work="a DICOM series of 134 slices with RTSTRUCT, from files to image and mask",
    against="SimpleITK's series reader, and scikit-image's rasterizer slice by slice",
    goal=1.0,
    pairs=15,
)
def dicom_series(setting: Setting) -> Work:
    """A patient of NSCLC-Radiomics; InputError if the sample CTs are not at hand."""
    return compare_reading(fetched("nsclc_radiomics/LUNG1-001", "the sample CTs", "make data"))


def compare_reading(folder: Path) -> Work:
    """The comparison on one folder with a CT series and its contours."""
    contours = next(path for path in sorted(folder.rglob("*.dcm")) if dicom_modality(path) == "RTSTRUCT")

    def fast() -> tuple[Image, Mask]:
        image = images.read_image(folder)
        return image, rtstruct.read_rtstruct(contours, image, ROI)

    size = sum(path.stat().st_size for path in folder.rglob("*.dcm"))
    return Work(fast, lambda: _read_plainly(folder, contours), _check, operations=0.0, bytes=float(size))


def _read_plainly(folder: Path, contours: Path) -> tuple[np.ndarray, np.ndarray]:
    """HU and mask, both (slices, rows, columns)."""
    reader = sitk.ImageSeriesReader()
    series = [reader.GetGDCMSeriesFileNames(str(folder), uid) for uid in reader.GetGDCMSeriesIDs(str(folder))]
    reader.SetFileNames(max(series, key=len))
    image = reader.Execute()
    mask = np.zeros(image.GetSize()[::-1], dtype=bool)
    file = pydicom.dcmread(contours)
    number = next(roi.ROINumber for roi in file.StructureSetROISequence if roi.ROIName == ROI)
    region = next(group for group in file.ROIContourSequence if group.ReferencedROINumber == number)
    for contour in region.ContourSequence:
        points = np.reshape(np.array(contour.ContourData, dtype=float), (-1, 3))
        places = np.array([image.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in points])
        mask[round(places[0, 2])] ^= polygon2mask(mask.shape[1:], places[:, 1::-1])
    return sitk.GetArrayFromImage(image), mask


def _check(fast: tuple[Image, Mask], plain: tuple[np.ndarray, np.ndarray]) -> Agreement:
    hu = np.clip(plain[0], *grids.HU_RANGE)
    if not np.array_equal(geometry.unstack_axial(fast[0].array), hu):
        raise InputError("dicom_series", "the two images are not identical", "Look at the readers.")
    return Agreement("dice", dsc(geometry.unstack_axial(fast[1].array), plain[1]), 0.99)
