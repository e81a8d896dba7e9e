"""Masks of a whole data set in memory."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ...types import Mask


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask as compressed bits: a tumor in a scan takes some kilobytes, so all masks can be checked before the first is scored."""

    shape: tuple[int, int, int]
    affine: np.ndarray
    bits: bytes

    @classmethod
    def of(cls, mask: Mask) -> PackedMask:
        return cls(mask.shape, np.array(mask.affine), zlib.compress(np.packbits(mask.array.ravel(order="F")).tobytes(), 1))

    def mask(self) -> Mask:
        bits = np.frombuffer(zlib.decompress(self.bits), dtype=np.uint8)
        voxels = np.unpackbits(bits, count=int(np.prod(self.shape)))
        return Mask(voxels.view(bool).reshape(self.shape, order="F"), self.affine)
