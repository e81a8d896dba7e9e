"""Masks out as DICOM SEG, beside the CT series that they belong to. Apart from `io`, which every trained weight depends on.

What identifies the series and its study is taken over, so that an archive files the mask with it. Names, dates of birth and the like are
never read (as in `io`), and stay empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from . import geometry, io
from .types import InputError, Mask

_COPIED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "Modality")
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns")
_EMPTY = (
    "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip
_SERIES_NUMBER = 900  # far from those of a scanner


def write_dicom_seg(mask: Mask, path: Path, series_folder: Path, label: str, algorithm: str) -> None:
    """Write a mask, bool (x, y, z), RAS+, as one binary segment `label` that refers to the slices of the CT series in a folder.

    `algorithm` names what made it. Raises InputError if the mask is empty, is not on the grid of the series, or the series has no
    identifiers to refer to.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    if not mask.array.any():
        raise InputError(path, "the mask is empty, and DICOM SEG has no empty segments", "Segment something first.")
    series = io._read_series(Path(series_folder))
    io._refuse_other_grid(mask, io._grid(series.shape, series.stored_affine, series_folder), "mask", series_folder)
    frames = geometry.zyx(geometry.from_ras(mask.array, series.stored_affine))  # (slices, rows, columns)
    slice_mm = float(np.linalg.norm(series.stored_affine[:3, 2]))
    version = metadata.version("lungseg-utils")
    segmentation = hd.seg.Segmentation(
        source_images=_sources([header.filename for header in series.slices], slice_mm),
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
    with io.atomic_path(Path(path)) as temporary:
        segmentation.save_as(temporary)


def _sources(paths: Sequence[str], slice_mm: float) -> list[Any]:
    """The headers that a SEG file refers to and takes its study from; no pixels, no names. `slice_mm`: thickness where none is told."""
    import pydicom

    sources = []
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
    return sources
