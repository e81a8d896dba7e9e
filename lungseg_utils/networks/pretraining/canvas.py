"""The canvas of a drawing, and the colors with which solids are painted on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

FIELD_MM = 180.0
SLICE_MM = (1.0, 5.0)
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Canvas:
    """Picture under construction: `values` in gray levels or HU, `owner` the number of the solid that is seen."""

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    pixel_mm: float
    slice_mm: float
    values: np.ndarray
    owner: np.ndarray

    def box(self, low_mm: np.ndarray, high_mm: np.ndarray) -> Box:
        """Voxels between two corners, a pixel and a slice wider, as slices (possibly empty)."""
        steps = (self.slice_mm, self.pixel_mm, self.pixel_mm)
        bounds = []
        for axis, step, low, high in zip(self.axes, steps, low_mm, high_mm, strict=True):
            first, last = (low - axis[0]) / step - 1, (high - axis[0]) / step + 2
            bounds.append(slice(min(max(int(first), 0), len(axis)), min(max(int(last), 0), len(axis))))
        return tuple(bounds)

    def whole(self) -> Box:
        """The box of all voxels."""
        return tuple(slice(0, n) for n in self.values.shape)

    def offsets(self, box: Box, origin_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets from `origin_mm` along each axis, shaped so that they broadcast over `box`."""
        z, y, x = (axis[part] - np.float32(o) for axis, part, o in zip(self.axes, box, origin_mm, strict=True))
        return z[:, None, None], y[:, None], x

    def paint(self, solid: Solid, color: Color, name: int = 0) -> None:
        """Put a solid in front of all before; the voxels that it covers by more than half become its own."""
        box = solid.box(self)
        if any(part.stop <= part.start for part in box):
            return
        cover = solid.cover(self, box)
        seen = self.values[box]
        seen += cover * (color.on(self, box) - seen)
        self.owner[box][cover > 0.5] = name


def make_canvas(rng: np.random.Generator, size: int, slices: int) -> Canvas:
    pixel_mm, slice_mm = FIELD_MM / size, float(rng.uniform(*SLICE_MM))
    in_plane = ((np.arange(size) - (size - 1) / 2) * pixel_mm).astype(np.float32)
    through = ((np.arange(slices) - slices // 2) * slice_mm).astype(np.float32)
    shape = (slices, size, size)
    return Canvas((through, in_plane, in_plane), pixel_mm, slice_mm, np.zeros(shape, np.float32), np.zeros(shape, np.int16))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())


def pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names = list(weights)
    limits = np.cumsum(list(weights.values()))
    return names[int(np.searchsorted(limits, rng.random() * limits[-1], side="right"))]


class Solid(Protocol):
    def box(self, canvas: Canvas) -> Box:
        """Voxels that may be covered."""

    def cover(self, canvas: Canvas, box: Box) -> np.ndarray:
        """Covered share of each voxel in `box`, float32 in [0, 1]."""


@dataclass(frozen=True, eq=False)
class _Waves:
    """Random texture of unit SD: a sum of plane waves, wave vectors (n, 3) in radians per mm, phases (n,)."""

    vectors: np.ndarray
    phases: np.ndarray
    contrast: float = 0.0  # above 0 the texture becomes blobs or stripes with edges

    def on(self, canvas: Canvas, box: Box) -> np.ndarray:
        """Texture over a box. Waves are products of a factor per axis, so the sum is one matrix product."""
        z, y, x = (axis[part] for axis, part in zip(canvas.axes, box, strict=True))
        kz, ky, kx = self.vectors.T
        left = (z[:, None, None] * kz + y[:, None] * ky + self.phases).astype(np.float32)
        right = np.outer(kx, x).astype(np.float32)
        waves = np.concatenate([np.cos(left), -np.sin(left)], axis=-1) @ np.concatenate([np.cos(right), np.sin(right)])
        waves *= np.float32(np.sqrt(2 / len(self.phases)))
        return np.tanh(waves * np.float32(self.contrast)) if self.contrast else waves


@dataclass(frozen=True, eq=False)
class Color:
    """Gray level or HU of a solid, with a texture of amplitude `swing` around it."""

    level: float
    swing: float = 0.0
    waves: _Waves | None = None

    def on(self, canvas: Canvas, box: Box) -> np.ndarray | np.float32:
        """Values over a box."""
        if self.waves is None or self.swing == 0:
            return np.float32(self.level)
        return np.float32(self.level) + np.float32(self.swing) * self.waves.on(canvas, box)


def draw_waves(rng: np.random.Generator, wavelength_mm: tuple[float, float], count: int = 24, contrast: float = 0.0) -> _Waves:
    vectors = rng.standard_normal((count, 3))
    vectors /= np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    low, high = wavelength_mm
    vectors *= 2 * np.pi / (low * (high / low) ** rng.random((count, 1)))
    return _Waves(vectors, rng.uniform(0, 2 * np.pi, count), contrast)
