"""Views of a slice: what part of it a promptable network sees, at which size, in which window of HU."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy import ndimage

from .. import geometry
from ..geometry import AxialWindow
from ..types import (
    Image,
    Mask,
    Options,
    SlicePrompt,
)
from .training_volumes import LesionVolume

_AIR_HU = -1024.0
WHOLE_SLICE = 0.0


@dataclass(frozen=True)
class View:
    """From Hounsfield units to a network's input. `field_mm` 0 is the whole slice, else the least side of the window around a box.

    `field_margin`: the window's side is at least this many times the longest side of the box. `point_field_mm`: the least side around
    clicks, which do not show how large the lesion is. `eight_bit`: rounded to 256 levels, as the
    published scripts store their slices; `min_max`: each picture stretched to [0, 1] again (MedSAM); then `mean` and `std` (in
    units of [0, 1]) are taken off, channel by channel. `cubic`: resized by cubic splines instead of averages and straight lines.
    """

    canvas: int
    window_hu: tuple[float, float]
    field_mm: float = WHOLE_SLICE
    field_margin: float = 1.25
    point_field_mm: float = 100.0
    eight_bit: bool = False
    min_max: bool = False
    cubic: bool = False
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    @classmethod
    def from_options(cls, options: Options) -> View:
        """The options of a model that belong to its view (lists become tuples)."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if k in known})

    def window_for(self, slice_prompt: SlicePrompt, image: Image | Mask | LesionVolume) -> AxialWindow:
        """What the network sees when it is asked about the box, or the clicks inside, of a slice."""
        if self.field_mm == WHOLE_SLICE:
            return geometry.whole_plane(image.shape)
        if slice_prompt.box is not None:
            return geometry.window_around(slice_prompt.box, self.field_mm, image.spacing_mm, self.field_margin)
        return geometry.window_around(geometry.box_of_points(slice_prompt.points), self.point_field_mm, image.spacing_mm, self.field_margin)

    def picture(self, hu: np.ndarray, window: AxialWindow, index: int) -> np.ndarray:
        """Slice `index` of `hu` (x, y, z) inside the window: float32 (canvas, canvas) in [0, 1]."""
        low, high = self.window_hu
        plane = geometry.cut_window(hu, window, index, _AIR_HU).astype(np.float32)
        plane = (np.clip(plane, low, high) - low) / np.float32(high - low)
        if self.eight_bit:
            plane = np.floor(plane * 255) / np.float32(255)
        picture = self._resize(plane)
        if self.min_max:
            picture = (picture - picture.min()) / max(float(np.ptp(picture)), 1e-8)
        return picture

    def target(self, mask: np.ndarray, window: AxialWindow, index: int) -> np.ndarray:
        """Slice `index` of a mask (x, y, z) in the same picture: float32 (canvas, canvas), covered fractions."""
        return geometry.resample(geometry.cut_window(mask, window, index, False), (self.canvas, self.canvas))

    def _resize(self, plane: np.ndarray) -> np.ndarray:
        if not self.cubic or plane.shape == (self.canvas, self.canvas):
            return geometry.resample(plane, (self.canvas, self.canvas))
        zoom = [self.canvas / n for n in plane.shape]
        return np.clip(ndimage.zoom(plane, zoom, order=3, mode="nearest", grid_mode=True), 0, 1).astype(np.float32)

    def normalize(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (..., 1, canvas, canvas) in [0, 1] to three channels as the network was trained on them."""
        shape = (3, 1, 1)
        mean, std = (torch.tensor(v, dtype=pictures.dtype, device=pictures.device).view(shape) for v in (self.mean, self.std))
        return (pictures - mean) / std
