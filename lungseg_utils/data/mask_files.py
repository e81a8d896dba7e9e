"""Masks of any format that people score: NIfTI, NRRD and DICOM SEG, by the ending of the file's name.

A DICOM SEG file holds the slices that somebody drew on, and not the grid of their scan: it is read on the grid of another file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..types import InputError, Mask
from . import dicom_seg, dicom_series, grids, nifti, nrrd

_SEG = ".dcm"
FORMATS = "NAME.nii.gz, NAME.nii, NAME.nrrd or NAME.dcm (DICOM SEG)"


def is_mask(path: Path) -> bool:
    """Whether a file's name ends as one of a mask, in letters of any case."""
    return nifti.is_nifti(path) or path.name.lower().endswith((*nrrd.ENDINGS, _SEG))


def name_without_ending(path: Path) -> str:
    """NAME of NAME.nii.gz, NAME.seg.nrrd and so on."""
    ending = next((e for e in (*nrrd.ENDINGS, _SEG) if path.name.lower().endswith(e)), "")
    return path.name[: -len(ending)] if ending else nifti.name_without_ending(path)


def has_grid(path: Path) -> bool:
    """Whether a file says on which grid its mask lies."""
    return not _is_seg(path)


def read_grid(path: Path) -> Mask:
    """An empty mask on the grid of a file that has one, or of a CT: a file, or a folder with one DICOM series."""
    if path.is_dir():
        series = dicom_series.read_series(path)
        return grids.empty_grid(series.shape, series.stored_affine, path)
    return nrrd.read_grid(path) if _is_nrrd(path) else nifti.read_grid(path)


def read_mask(path: Path, like: Mask, label: int | None = None) -> Mask:
    """A mask on the grid of `like`; bool (x, y, z), RAS+. It may be empty.

    `label`: the value, or the number of the segment, of the tumor; without it the mask is binary, or has one segment. InputError for
    another grid, and for what is not binary.
    """
    if _is_seg(path):
        return _read_seg(path, like, label)
    if not _is_nrrd(path):
        return nifti.read_mask(path, like, label, allow_empty=True)
    mask = nrrd.read_mask(path, label)
    grids.refuse_other_grid(mask, like, path, "its image")
    return mask


def labels_in(path: Path) -> np.ndarray:
    """The values of a mask file other than 0, or the numbers of its segments, sorted."""
    if _is_seg(path):
        return np.array(sorted(region.number for region in dicom_seg.open_dicom_seg(path).regions()), dtype=float)
    return nrrd.labels_in(path) if _is_nrrd(path) else nifti.labels_in(path)


def _read_seg(path: Path, like: Mask, label: int | None) -> Mask:
    opened = dicom_seg.open_dicom_seg(path)
    regions = {region.number: region.name for region in opened.regions()}
    if label is None and len(regions) != 1:
        listed = ", ".join(f"{number} {name!r}" for number, name in regions.items())
        raise InputError(
            path, f"it has {len(regions)} segments: {listed}", "Choose one with `label`, and in the command report with --label."
        )
    return opened.mask_with_gaps(next(iter(regions)) if label is None else label, like)


def _is_seg(path: Path) -> bool:
    return path.name.lower().endswith(_SEG)


def _is_nrrd(path: Path) -> bool:
    return path.name.lower().endswith(nrrd.ENDINGS)
