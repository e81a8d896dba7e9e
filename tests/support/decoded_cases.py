"""Read back what a slice viewer holds."""

import base64
import gzip
import json
import re

import numpy as np


def embedded(output) -> list[dict]:
    return json.loads(re.search(r'class="lv-data">(.*?)</script>', output.data, re.DOTALL)[1])["cases"]


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)


def decoded_hu(case: dict) -> np.ndarray:
    """(slices, rows, columns) HU, undone here independently of the script."""
    planes = unpacked(case["ct"]).reshape(2, *case["shape"]).astype(np.int64)
    codes = planes[0] + 256 * planes[1]
    steps = np.where(codes % 2, -(codes + 1) // 2, codes // 2)
    return case["lowest"] + case["step"] * np.cumsum(steps, axis=-1)


def decoded_mask(case: dict, name: str) -> np.ndarray:
    bits = next(mask["bits"] for mask in case["masks"] if mask["name"] == name)
    return np.unpackbits(unpacked(bits))[: np.prod(case["shape"])].reshape(case["shape"]).astype(bool)


def voxels_of(case: dict) -> tuple[np.ndarray, ...]:
    """Voxel indices i, j, k of the original image for every embedded pixel."""
    slices, rows, columns = np.indices(case["shape"])
    (i0, di), (j0, dj), (k0, dk) = case["voxel"]
    return (i0 + di * columns).astype(int), (j0 + dj * rows).astype(int), k0 + dk * slices
