"""Render a scene: the parts of one drawing, blur, noise and streaks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .canvas import Canvas

WINDOW_HU = (-910.0, 590.0)


@dataclass(eq=False)
class Scene:
    """A finished picture before blur and noise, and how it is to be blurred. Solids of number `target` are the object."""

    canvas: Canvas
    target: int
    visible: float  # gray levels or HU by which a pixel must at least differ from the object to stand out
    blur_mm: float
    noise: float  # SD, gray levels or HU
    grain_mm: float
    streaks: list[tuple[float, float, float, float]] = field(default_factory=list)  # angle, offset mm, width mm, strength


def _blur_matrix(count: int, sigma: float) -> np.ndarray:
    """Gaussian of SD `sigma` steps as a matrix (count, count) whose rows sum to one, so that borders are not darkened."""
    steps = np.arange(count, dtype=np.float32)
    weights = np.exp((steps[:, None] - steps) ** 2 * np.float32(-0.5 / sigma**2))
    return weights / weights.sum(axis=1, keepdims=True)


def _noise(rng: np.random.Generator, shape: tuple[int, int, int], grain: float) -> np.ndarray:
    """Noise of unit SD whose grains are `grain` pixels wide and whose slow part is taken out, as reconstruction does."""
    white = rng.standard_normal(shape, dtype=np.float32)
    if len(white) > 1:
        share = np.float32(rng.uniform(0, 0.4))
        white[1:] += share * white[:-1]
    if grain > 0.25:
        fine, slow = _blur_matrix(shape[1], grain), _blur_matrix(shape[1], 3 * grain)
        rest = np.float32(rng.uniform(0, 1))
        white = fine @ white @ fine.T - rest * (slow @ white @ slow.T)
    return white * (1 / white.std())


def _add_streaks(scene: Scene) -> None:
    _, y, x = scene.canvas.axes
    for angle, offset, width, strength in scene.streaks:
        across = np.float32(np.cos(angle)) * y[:, None] + np.float32(np.sin(angle)) * x - np.float32(offset)
        scene.canvas.values[...] += np.float32(strength) * np.exp(-((across * np.float32(1 / width)) ** 2))


def render(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Blur, streaks and noise over the painted values; still in gray levels or HU."""
    _add_streaks(scene)
    canvas = scene.canvas
    psf = _blur_matrix(canvas.values.shape[1], max(scene.blur_mm / canvas.pixel_mm, 0.2))
    return psf @ canvas.values @ psf.T + np.float32(scene.noise) * _noise(rng, canvas.values.shape, scene.grain_mm / canvas.pixel_mm)


def place(rng: np.random.Generator, reach_mm: float, radius_mm: float) -> np.ndarray:
    """Random centre (3,) within `reach_mm` of the middle along rows and columns, so that the middle slice cuts the solid."""
    return np.array([0.6 * radius_mm * rng.uniform(-1, 1), *(reach_mm * rng.uniform(-1, 1, 2))])


def unit_range(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 1).astype(np.float32, copy=False)
