"""From Hounsfield units on any grid to the input of a network, and back: windowing, working grids, padding."""

from __future__ import annotations

import numpy as np

from .. import geometry
from ..types import Image, Mask


def window(hu: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """Clip HU to [low, high] and scale to [-1, 1]; float32, same shape."""
    low, high = window_hu
    return ((np.clip(hu, low, high) - low) * np.float32(2.0 / (high - low)) - np.float32(1.0)).astype(np.float32)


def to_working_slices(volume: Image | Mask, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Resample to about `spacing_mm` and unstack: float32 (z, rows, columns); a mask becomes its covered fraction."""
    array = geometry.resample(volume.array, geometry.shape_at_spacing(volume, spacing_mm))
    return np.ascontiguousarray(geometry.unstack_axial(array))


def from_working_slices(slices: np.ndarray, like: Image | Mask) -> np.ndarray:
    """Undo `to_working_slices` for a probability: float32 (x, y, z) on the grid of `like`."""
    return geometry.resample(geometry.stack_axial(slices), like.shape)


def resolution_ceiling(reference: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """DSC of a perfect prediction on the working grid, put back: what resampling alone costs (NaN for an empty reference)."""
    prediction = from_working_slices(to_working_slices(reference, spacing_mm), reference) > 0.5
    total = int(prediction.sum()) + int(reference.array.sum())
    return 2.0 * int((prediction & reference.array).sum()) / total if reference.array.any() else np.nan
