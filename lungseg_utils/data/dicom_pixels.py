"""Decode the pixels of one DICOM slice to HU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..types import InputError
from .grids import HU_RANGE, refusing_damage

if TYPE_CHECKING:  # a card loads without pydicom
    from pydicom import Dataset

# HU of one step of a stored value, and of the stored value 0: no scanner writes more than its 12 and 16 bits hold
_STEEPEST, _FARTHEST = 4096.0, 65536.0


def read_slice_hu(header: Dataset, out: np.ndarray) -> None:
    """One slice in HU, clipped, into `out` (rows, columns)."""
    syntax = getattr(header.file_meta.get("TransferSyntaxUID"), "name", "unknown")
    remedy = "If it is compressed, decompress it first (gdcmconv --raw IN OUT); else it is damaged: fetch it again."
    with refusing_damage(header.filename, f"its pixels cannot be decoded (transfer syntax {syntax})", remedy):
        pixels = np.asarray(header.pixel_array).reshape(out.shape)
        slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    # clipping would hide what no scanner writes: no number, one value for all voxels, or steps that jump over all that tissue can be
    if not (0 < abs(slope) <= _STEEPEST and abs(intercept) <= _FARTHEST):
        problem = f"its rescale slope {slope:g} and intercept {intercept:g} make no Hounsfield units of its pixels"
        raise InputError(header.filename, problem, "Repair the header of the file.")
    hu = pixels * slope + intercept
    np.clip(hu, *HU_RANGE, out=out, casting="same_kind")
    with refusing_damage(header.filename, "its pixel padding value is no number", "Repair the header of the file."):
        padding = _padding(header)
    if padding is not None:  # whatever it would be in HU
        out[(pixels >= padding[0]) & (pixels <= padding[1])] = HU_RANGE[0]


def _padding(header: Dataset) -> tuple[int, int] | None:
    """Lowest and highest stored value of pixels that are no image (PS3.3 C.7.5.1.1.2), or None if the header names none.

    Some scanners write these as unsigned numbers where the pixels are signed: the bits count.
    """
    ends = [header.get(tag) for tag in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return None
    bits, signed = int(header.BitsAllocated), int(header.PixelRepresentation) == 1
    values = [int(end) % 2**bits for end in ends if end is not None]
    values = [value - 2**bits if signed and value >= 2 ** (bits - 1) else value for value in values]
    return min(values), max(values)
