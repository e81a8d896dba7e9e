"""Read and write masks as DICOM SEG: a `SegmentationFile` is such a file, opened once.

A written file takes over the identifiers of its series and study, which archives need. Names and dates of birth stay empty.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import geometry
from ..core import files
from ..types import Image, InputError, Mask
from . import dicom_series, grids, regions
from .dicom_files import read_whole_dicom
from .dicom_series import frame_of_reference_uid, refuse_other_frame
from .grids import refusing_damage
from .regions import Region
from .used_files import note_used

if TYPE_CHECKING:  # a card loads without pydicom
    from pydicom import Dataset, FileDataset

_COPIED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "Modality")
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns")
_EMPTY = (
    "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip
_NEEDED = ("Rows", "Columns", "SegmentationType", "PixelData", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
_SERIES_NUMBER = 900  # far from those of a scanner


def write_dicom_seg(
    mask: Mask, path: Path, series_folder: Path, label: str, algorithm: str, series_uid: str | Sequence[str] | None = None
) -> None:
    """Write a mask, bool (x, y, z), RAS+, as one binary segment `label` that refers to the slices of the CT series in a folder.

    `algorithm` names what made it; `series_uid` chooses a series as in `read_series`. Raises InputError if the mask is empty, is not on the
    grid of the series, or the series has no identifiers to refer to.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    if not mask.array.any():
        raise InputError(path, "the mask is empty, and DICOM SEG has no empty segments", "Segment something first.")
    series = dicom_series.read_series(Path(series_folder), series_uid)
    grids.refuse_other_grid(mask, grids.empty_grid(series.shape, series.stored_affine, series_folder), "mask", series_folder)
    frames = geometry.zyx(geometry.from_ras(mask.array, series.stored_affine))  # (slices, rows, columns)
    slice_mm = float(np.linalg.norm(series.stored_affine[:3, 2]))
    version = metadata.version("lungseg-utils")
    segmentation = hd.seg.Segmentation(
        source_images=_sources([str(header.filename) for header in series.slices], slice_mm),
        pixel_array=np.ascontiguousarray(frames, np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=1,
                segment_label=label,
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Neoplasm,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
                algorithm_identification=hd.AlgorithmIdentificationSequence(
                    name=algorithm[:64], version=version, family=codes.DCM.ArtificialIntelligence
                ),
            )
        ],
        series_instance_uid=hd.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="lungseg_utils",
        manufacturer_model_name="prompt playground",
        software_versions=version,
        device_serial_number="none",
        series_description=f"{label}, by prompts"[:64],
    )
    with files.atomic_path(Path(path)) as temporary:
        segmentation.save_as(temporary)


def _sources(paths: Sequence[str], slice_mm: float) -> list[Dataset]:
    """The headers that a SEG file refers to and takes its study from; no pixels, no names. `slice_mm`: thickness where none is told."""
    import pydicom

    sources: list[Dataset] = []
    for path in paths:
        source = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*_COPIED, *_GEOMETRY])
        lacking = [tag for tag in (*_COPIED, *_GEOMETRY[:3]) if source.get(tag) in (None, "")]
        if lacking:
            raise InputError(path, f"its header lacks {', '.join(lacking)}", "A segmentation cannot refer to it; export NIfTI instead.")
        if source.get("SliceThickness") is None:
            source.SliceThickness = slice_mm
        for tag in _EMPTY:
            setattr(source, tag, "")
        sources.append(source)
    if frames := len({source.FrameOfReferenceUID for source in sources} - {sources[0].FrameOfReferenceUID}):
        problem = f"its slices have {frames + 1} frames of reference"  # as a public copy of LIDC-IDRI-0001 does
        raise InputError(Path(paths[0]).parent, problem, "A segmentation refers to one; export NIfTI instead.")
    return sources


@dataclass(frozen=True)
class SegmentationFile:
    """An opened DICOM SEG file. Only what places voxels must be there: how they were drawn is for people."""

    path: Path
    file: FileDataset

    def regions(self) -> list[Region]:
        """All segments by label and number, in the file's own order."""
        with refusing_damage(self.path, "its segments cannot be read"):
            found = [Region(str(item.get("SegmentLabel") or "").strip(), int(item.SegmentNumber)) for item in self.file.SegmentSequence]
        regions.refuse_shared_numbers(self.path, found, "segment")
        return found

    def names(self) -> list[str]:
        """Labels of all segments, in the file's own order; two may be equal."""
        return [region.name for region in self.regions()]

    def mask(self, name: str | int, image: Image, ct_frame_uid: str | None = None) -> Mask:
        """One segment, by label or number, on the grid of `image`, as `read_dicom_seg` describes.

        `ct_frame_uid`: the frame of reference that it must have.
        """
        region = regions.choose(self.path, self.regions(), name, "segment")
        mask = self.mask_to_ignore(region.number, image, ct_frame_uid)
        if not mask.array.any():
            raise InputError(self.path, f"segment {region.name!r} is empty", "Leave the file out if the case has no reference.")
        return mask

    def mask_to_ignore(self, number: int, image: Image | Mask, ct_frame_uid: str | None = None) -> Mask:
        """The same of a segment that may be empty."""
        refuse_other_frame(self.path, str(self.file.get("FrameOfReferenceUID") or ""), ct_frame_uid)
        array = np.zeros(image.shape, bool, order="F")
        for frame, affine in _read_frames(self.path, self.file, number):
            _paste_frame(array, frame, affine, image, self.path)
        return Mask(array, image.affine, self.path)

    def drawn_on(self) -> tuple[str, tuple[str, ...]]:
        """What the file says of itself: its series description ("" if it has none), and the UIDs of the series it was drawn on."""
        with refusing_damage(self.path, "the series that it refers to cannot be read"):
            series = [str(item.SeriesInstanceUID) for item in self.file.get("ReferencedSeriesSequence") or ()]
            return str(self.file.get("SeriesDescription") or "").strip(), tuple(dict.fromkeys(series))


def open_dicom_seg(path: Path, file: FileDataset | None = None) -> SegmentationFile:
    """Open a DICOM SEG file; `file` is its content where it has been read already. `InputError` for a file of another kind."""
    path = Path(path)
    file = read_whole_dicom(path) if file is None else file
    if file.get("Modality") != "SEG" or "SegmentSequence" not in file:
        raise InputError(path, f"not a DICOM SEG file (modality {file.get('Modality', 'none')})", "Give the segmentation file.")
    lacking = [tag for tag in _NEEDED if tag not in file]
    if lacking:
        raise InputError(path, f"not a valid DICOM SEG file: it lacks {', '.join(lacking)}", "Export it again.")
    if file.SegmentationType not in _KINDS:
        raise InputError(path, f"its segments are of the unknown type {file.SegmentationType!r}", f"Export one of {', '.join(_KINDS)}.")
    note_used(path)
    return SegmentationFile(path, file)


def read_dicom_seg(path: Path, image: Image, segment: str | int, series_folder: Path | None = None) -> Mask:
    """One segment of a DICOM SEG file, by its label or number, on the grid of `image`; returns bool (x, y, z), RAS+.

    Frames are placed by their position and orientation and must fall on voxels of `image`; fractional segments are cut
    at one half. With `series_folder` the series that the file names must be there, and have its frame of reference.
    """
    opened = open_dicom_seg(path)
    return opened.mask(segment, image, None if series_folder is None else frame_of_reference_uid(series_folder, opened.drawn_on()[1]))


def _read_frames(path: Path, file: FileDataset, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames of one segment: bool (columns, rows, 1) and the affine (4, 4) of that single slice to RAS+ mm."""
    with refusing_damage(path, "its frames cannot be decoded", "Decompress it first, or export it again."):
        pixels = np.asarray(file.pixel_array).reshape(-1, int(file.Rows), int(file.Columns))
        shared = file.SharedFunctionalGroupsSequence[0]
        groups = list(zip(pixels, file.PerFrameFunctionalGroupsSequence, strict=True))
        if file.SegmentationType == "LABELMAP":
            chosen = [(frame == number, own) for frame, own in groups]
        else:
            lowest = float(file.MaximumFractionalValue) / 2 if file.SegmentationType == "FRACTIONAL" else 1
            identify = "SegmentIdentificationSequence"
            chosen = [
                (frame >= lowest, own) for frame, own in groups if _macro(path, own, shared, identify).ReferencedSegmentNumber == number
            ]
        return [(inside.T[..., None], _frame_affine(path, own, shared)) for inside, own in chosen]


def _macro(path: Path, own: Dataset, shared: Dataset, name: str) -> Dataset:
    """A functional group of a frame: its own, else the one shared by all frames."""
    for group in (own, shared):
        if group.get(name):
            return group[name].value[0]
    raise InputError(path, f"its frames lack {name}", "Export it again, with its geometry.")


def _frame_affine(path: Path, own: Dataset, shared: Dataset) -> np.ndarray:
    """Affine (4, 4) from (column, row, 0) of one frame to RAS+ mm."""
    position, orientation, measures = (
        _macro(path, own, shared, name) for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    )
    origin = np.array(position.ImagePositionPatient, float)
    cosines = np.array(orientation.ImageOrientationPatient, float).reshape(2, 3)
    spacing = np.array(measures.PixelSpacing, float)
    lps = np.eye(4)  # one slice: its thickness does not matter
    lps[:3, :3] = np.column_stack([cosines[0] * spacing[1], cosines[1] * spacing[0], np.cross(*cosines)])
    lps[:3, 3] = origin
    return geometry.LPS_TO_RAS @ lps


def _paste_frame(array: np.ndarray, frame: np.ndarray, affine: np.ndarray, image: Image | Mask, path: Path) -> None:
    frame, affine = geometry.to_ras(frame, affine)
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in frame.shape])))
    ijk = geometry.world_to_ijk(geometry.ijk_to_world(corners, affine), image.affine)
    if not np.isfinite(ijk).all():
        raise InputError(path, "a frame has no position", "Export it again, with its geometry.")
    first = np.rint(ijk[0]).astype(int)
    if np.abs(ijk - (first + corners)).max() > 0.02 or (first < 0).any() or (first + frame.shape > array.shape).any():
        raise InputError(path, "a frame does not fall on voxels of the image", "Give the CT that it was drawn on.")
    array[tuple(slice(a, a + n) for a, n in zip(first, frame.shape, strict=True))] |= frame
