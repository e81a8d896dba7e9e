"""JPEG Lossless, the usual form of CT in archives, for pydicom: the package `imagecodecs` decodes it.

pydicom knows three packages for it that are not pinned here. This module has the form of its plug-ins, whose names it gives.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

_LOSSLESS, _LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
DECODER_DEPENDENCIES = {uid: ("imagecodecs",) for uid in (_LOSSLESS, _LOSSLESS_SV1)}


def is_available(uid: str) -> bool:
    """Asked by pydicom: whether frames of this transfer syntax can be decoded here."""
    return uid in DECODER_DEPENDENCIES and importlib.util.find_spec("imagecodecs") is not None


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """Called by pydicom: the pixels of one frame, as many bytes each as they were coded with."""
    import imagecodecs

    pixels = imagecodecs.jpegsof3_decode(src)
    bits = 8 * pixels.dtype.itemsize
    runner.set_option("bits_allocated", bits)
    if runner.pixel_representation == 1 and runner.bits_stored < bits:  # the coded number ends at the sign, which fills the rest
        unused = bits - runner.bits_stored
        pixels = (pixels << unused).view(f"i{pixels.dtype.itemsize}") >> unused
    return bytearray(pixels.tobytes())


@cache
def register() -> None:
    """Make pydicom use it, once a process."""
    from pydicom.pixels.decoders import JPEGLosslessDecoder, JPEGLosslessSV1Decoder

    for decoder in (JPEGLosslessDecoder, JPEGLosslessSV1Decoder):
        decoder.add_plugin("imagecodecs", (__name__, "_decode_frame"))
