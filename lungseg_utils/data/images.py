"""Read a CT of any supported format."""

from __future__ import annotations

from pathlib import Path

from ..types import Image, InputError
from . import nifti
from .dicom_series import read_series


def read_image(path: Path, series_uid: str | None = None) -> Image:
    """Read a CT: a NIfTI file (.nii, .nii.gz) or a folder that holds one DICOM CT series, at any depth.

    Returns float32 (x, y, z) in HU, clipped to `HU_RANGE`, RAS+. Other modalities in the folder are ignored; of several
    CT series `series_uid` chooses one. Raises `InputError` for anything that is not one complete, rectangular volume.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file or folder", "Check the path, or fetch the data first.")
    return read_series(path, series_uid).image() if path.is_dir() else nifti.read_image(path)
