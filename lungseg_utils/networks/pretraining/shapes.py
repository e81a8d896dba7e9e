"""Drawings of the kind "shapes": abstract forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .canvas import FIELD_MM, Canvas, Color, Solid, draw_waves, log_uniform, pick
from .scene import Scene, place, unit_range
from .solids import Compound, Tube, draw_crescent, draw_faceted, draw_hollow, draw_star, draw_tube, draw_turn, draw_union


def _draw_gray(rng: np.random.Generator, strength: float = 1.0) -> Color:
    """Any gray level: flat, cloudy, striped, blotched or grainy."""
    level, swing = rng.random(), strength * rng.uniform(0.03, 0.25)
    texture = pick(rng, {"flat": 4, "cloudy": 3, "stripes": 1.5, "blobs": 1.5, "grain": 1})
    if texture == "flat":
        return Color(level)
    if texture == "cloudy":
        return Color(level, swing, draw_waves(rng, (20.0, 120.0)))
    if texture == "stripes":
        return Color(level, swing, draw_waves(rng, (6.0, 40.0), count=1, contrast=rng.choice([0.0, 3.0])))
    if texture == "blobs":
        return Color(level, swing, draw_waves(rng, (12.0, 50.0), contrast=3.0))
    return Color(level, 0.6 * swing, draw_waves(rng, (3.0, 8.0), count=40))


def _draw_form(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float) -> Solid:
    form = pick(rng, {"star": 4.5, "boxy": 1, "faceted": 1.2, "union": 2.2, "hollow": 1, "crescent": 1.6, "tube": 1.2})
    if form == "star":
        style = pick(rng, {"plain": 0.6, "smooth": 1, "lobed": 1.6, "spiky": 1.2, "bitten": 1.6, "rough": 0.8})
        return draw_star(rng, centre_mm, radius_mm, style, stretch=rng.uniform(0.1, 0.6))
    if form == "boxy":
        return draw_star(rng, centre_mm, 0.85 * radius_mm, "plain", power=int(rng.choice([1, 4, 8])), stretch=rng.uniform(0.1, 0.5))
    if form == "faceted":
        return draw_faceted(rng, centre_mm, radius_mm)
    if form == "union":
        return draw_union(rng, centre_mm, radius_mm, pick(rng, {"plain": 1, "smooth": 1, "lobed": 1}))
    if form == "hollow":
        return draw_hollow(rng, centre_mm, radius_mm, pick(rng, {"plain": 1, "smooth": 1, "bitten": 1}))
    if form == "crescent":
        return draw_crescent(rng, centre_mm, radius_mm, pick(rng, {"plain": 1, "smooth": 1, "lobed": 1}))
    length, turn, thick = min(3 * radius_mm, 90.0), draw_turn(rng), radius_mm * rng.uniform(0.2, 0.4)
    return draw_tube(rng, centre_mm - turn[0] * length / 2, (thick, thick * rng.uniform(0.5, 1)), length, turn)


def _moved(solid: Solid, shift_mm: np.ndarray) -> Solid:
    """The same solid elsewhere."""
    if isinstance(solid, Compound):
        return Compound(*(tuple(_moved(s, shift_mm) for s in group) for group in (solid.parts, solid.holes, solid.within)))
    if isinstance(solid, Tube):
        return replace(solid, start_mm=solid.start_mm + shift_mm)
    return replace(solid, centre_mm=solid.centre_mm + shift_mm)


def _paint_background(rng: np.random.Generator, canvas: Canvas) -> None:
    _, y, x = canvas.axes
    canvas.values[...] = _draw_gray(rng).on(canvas, canvas.whole())
    if rng.random() < 0.4:
        slopes = rng.normal(0, 0.3, 2) / FIELD_MM
        canvas.values[...] += (slopes[0] * y[:, None] + slopes[1] * x).astype(np.float32)


def paint_strands(rng: np.random.Generator, canvas: Canvas, color: Color, count: int) -> None:
    """Thin tubes across the whole field that belong to nothing."""
    for _ in range(count):
        middle, turn, length = place(rng, 60.0, 20.0), draw_turn(rng), rng.uniform(60.0, 240.0)
        turn[0, 0] *= 0.2
        turn[0] /= np.linalg.norm(turn[0])
        thick = log_uniform(rng, 0.8, 4.0)
        canvas.paint(draw_tube(rng, middle - turn[0] * length / 2, (thick, thick), length, turn), color)


def paint_twins(rng: np.random.Generator, canvas: Canvas, solid: Solid, radius_mm: float, color: Color, name: int) -> None:
    """Solids that look like the target, beside it: only the box tells which is meant."""
    for _ in range(int(rng.integers(1, 4))):
        angle, gap = rng.uniform(0, 2 * np.pi), radius_mm * rng.uniform(1.5, 4.0)
        shift = np.array([rng.uniform(-0.5, 0.5) * radius_mm, gap * np.sin(angle), gap * np.cos(angle)])
        canvas.paint(_moved(solid, shift), replace(color, level=color.level + rng.normal(0, 0.03 * abs(color.level) + 0.01)), name)


def shapes_scene(rng: np.random.Generator, canvas: Canvas) -> Scene:
    """Solids one before another; the target is one of them at any depth of the pile."""
    _paint_background(rng, canvas)
    count = int(rng.integers(3, 11))
    target = int(rng.integers(max(1, count - 4), count + 1))
    for number in range(1, count + 1):
        radius = log_uniform(rng, 3.0, 42.0) if number == target else log_uniform(rng, 4.0, 45.0)
        solid = _draw_form(rng, place(rng, rng.choice([20.0, 75.0]) if number == target else 85.0, radius), radius)
        color = _draw_gray(rng, 0.8)
        if number == target and rng.random() < 0.35:
            paint_twins(rng, canvas, solid, radius, color, 100)
        canvas.paint(solid, color, number)
    if rng.random() < 0.35:
        paint_strands(rng, canvas, _draw_gray(rng), int(rng.integers(1, 4)))
    # What the picture cannot show must not count as contrast.
    np.clip(canvas.values, 0, 1, out=canvas.values)
    noise = rng.choice([0.0, 1.0], p=[0.15, 0.85]) * log_uniform(rng, 0.005, 0.12)
    return Scene(canvas, target, 0.04, log_uniform(rng, 0.4, 2.6), noise, log_uniform(rng, 0.3, 2.5))


def finish_shapes(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    gain = rng.uniform(0.6, 1.0)
    return unit_range(values * np.float32(gain) + np.float32(rng.uniform(0, 1 - gain)))
