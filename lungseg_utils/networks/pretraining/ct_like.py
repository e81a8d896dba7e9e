"""Drawings of the kind "ct_like": body-like scenes in HU."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .canvas import Canvas, Color, Solid, draw_waves, log_uniform, pick
from .scene import WINDOW_HU, Scene, place, unit_range
from .shapes import paint_strands, paint_twins
from .solids import Compound, Star, draw_crescent, draw_hollow, draw_star, draw_tube, draw_turn, draw_union

_AIR_HU, _FAT_HU, _MUSCLE_HU = -1000.0, -100.0, 50.0
_TARGET = 1


def _draw_tissue(rng: np.random.Generator, hu: float, swing_hu: tuple[float, float] = (0.0, 12.0)) -> Color:
    return Color(hu, rng.uniform(*swing_hu), draw_waves(rng, (8.0, 60.0), count=10))


def _draw_connective(rng: np.random.Generator) -> Color:
    """What fills the body between organs: fat, muscle, or fat with strands and islands of muscle."""
    filling = pick(rng, {"fat": 1, "muscle": 1, "mixed": 1.2})
    if filling == "fat":
        return _draw_tissue(rng, rng.normal(_FAT_HU, 8), (2.0, 20.0))
    if filling == "muscle":
        return _draw_tissue(rng, rng.normal(_MUSCLE_HU, 12))
    middle = rng.uniform(-60, 10)
    return Color(middle, rng.uniform(40, 75), draw_waves(rng, (log_uniform(rng, 6, 25), 80.0), contrast=log_uniform(rng, 0.8, 4)))


def _paint_body(rng: np.random.Generator, canvas: Canvas) -> Star | None:
    """Connective tissue everywhere, or inside a body with a layer of fat under its skin; returns that body."""
    if rng.random() < 0.6:
        canvas.values[...] = _draw_connective(rng).on(canvas, canvas.whole())
        return None
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(90.0, 170.0)
    away = max(0.0, radius - rng.uniform(30.0, 85.0))
    body = draw_star(rng, np.array([0, away * np.sin(angle), away * np.cos(angle)]), radius, "smooth", stretch=0.15)
    inner = replace(body, radii_mm=body.radii_mm - log_uniform(rng, 2.0, 30.0))
    canvas.values[...] = _draw_tissue(rng, _FAT_HU, (2.0, 15.0)).on(canvas, canvas.whole())
    canvas.paint(inner, _draw_connective(rng))
    return body


def _remove_outside(canvas: Canvas, body: Star) -> None:
    """Air beyond the skin, whatever was drawn there."""
    outside = 1 - body.cover(canvas, canvas.whole())
    canvas.values[...] += outside * (np.float32(_AIR_HU) - canvas.values)
    canvas.owner[outside > 0.5] = 0


def _draw_organ_hu(rng: np.random.Generator) -> float:
    """Unenhanced soft tissue, or taken up contrast."""
    return float(rng.uniform(20, 75) if rng.random() < 0.6 else rng.uniform(75, 200))


def _paint_organ(rng: np.random.Generator, canvas: Canvas, organ: Star, hu: float, name: int = 0) -> None:
    if rng.random() < 0.5:
        rim = replace(organ, radii_mm=organ.radii_mm + log_uniform(rng, 1.5, 6.0))
        canvas.paint(rim, Color(_FAT_HU))
    canvas.paint(organ, _draw_tissue(rng, hu), name)


def _paint_bone(rng: np.random.Generator, canvas: Canvas) -> None:
    """A dense shell around marrow: a long shaft or an irregular block."""
    radius = log_uniform(rng, 4.0, 16.0)
    shell, marrow = Color(rng.uniform(350, 1100)), _draw_tissue(rng, rng.uniform(0, 280), (10.0, 60.0))
    wall = max(1.5, radius * rng.uniform(0.12, 0.4))
    if rng.random() < 0.4:
        turn, length = draw_turn(rng), rng.uniform(40.0, 150.0)
        shaft = draw_tube(rng, place(rng, 80.0, 20.0) - turn[0] * length / 2, (radius, radius), length, turn)
        canvas.paint(shaft, shell)
        canvas.paint(replace(shaft, radii_mm=(radius - wall, radius - wall)), marrow)
        return
    block = draw_star(rng, place(rng, 80.0, radius), 1.3 * radius, "bitten", stretch=0.35)
    canvas.paint(block, shell)
    canvas.paint(replace(block, radii_mm=np.maximum(block.radii_mm - wall, 0.3)), marrow)


def _paint_vessels(rng: np.random.Generator, canvas: Canvas, within: tuple[Solid, ...] = ()) -> None:
    """A trunk and the branches that leave it."""
    color = Color(rng.uniform(35, 65) if rng.random() < 0.5 else rng.uniform(110, 380))
    length, thick, turn = rng.uniform(50.0, 170.0), log_uniform(rng, 1.0, 8.0), draw_turn(rng)
    centre = within[0].centre_mm if within else place(rng, 60.0, 20.0)
    trunk = draw_tube(rng, centre - turn[0] * length / 2, (thick, 0.6 * thick), length, turn)
    tubes = [trunk]
    for _ in range(int(rng.integers(0, 5))):
        start = trunk.point(np.array([rng.uniform(0.1, 0.9) * length]))[0]
        narrow = max(0.7, thick * rng.uniform(0.3, 0.7))
        tubes.append(draw_tube(rng, start, (narrow, 0.5 * narrow), length * rng.uniform(0.2, 0.6)))
    for tube in tubes:
        canvas.paint(Compound((tube,), within=within) if within else tube, color)


def _paint_cavity(rng: np.random.Generator, canvas: Canvas, cavity: Star) -> float:
    """A wall around gas, or around spongy tissue of low density with strands; returns the HU inside."""
    wall = replace(cavity, radii_mm=cavity.radii_mm + log_uniform(rng, 1.0, 5.0))
    canvas.paint(wall, _draw_tissue(rng, rng.uniform(20, 90)))
    if rng.random() < 0.35:
        hu = rng.uniform(-1000, -930)
        canvas.paint(cavity, Color(hu))
        if rng.random() < 0.4:
            # Fluid fills the lower part; a huge box whose upper face is the level stands for it.
            level = np.array([0.0, cavity.centre_mm[1] + cavity.radii_mm.min() * rng.uniform(-0.3, 0.7) + 500.0, 0.0])
            fluid = Star(level, np.eye(3), np.full(3, 500.0), power=8)
            canvas.paint(Compound((cavity,), within=(fluid,)), _draw_tissue(rng, rng.uniform(0, 60)))
        return hu
    hu = rng.uniform(-930, -650)
    canvas.paint(cavity, Color(hu, rng.uniform(5, 70), draw_waves(rng, (4.0, 50.0), contrast=rng.choice([0.0, 2.0]))))
    for _ in range(int(rng.integers(0, 3))):
        _paint_vessels(rng, canvas, within=(cavity,))
    return hu


def _paint_loops(rng: np.random.Generator, canvas: Canvas) -> None:
    """A crowd of walled loops that press on one another, filled with fluid, pulp or gas."""
    radius, hu = log_uniform(rng, 6.0, 16.0), rng.uniform(25, 110)
    middle, wall = place(rng, 70.0, radius), radius * rng.uniform(0.08, 0.3)
    for _ in range(int(rng.integers(3, 8))):
        centre = middle + np.array([0.4, 1.6, 1.6]) * radius * rng.standard_normal(3)
        loop = draw_star(rng, centre, radius * rng.uniform(0.7, 1.3), "smooth", stretch=0.35)
        canvas.paint(loop, Color(hu))
        filling = pick(rng, {"fluid": 2, "pulp": 1, "gas": 1})
        color = {"fluid": Color(rng.uniform(-5, 30)), "pulp": Color(-150, 150, draw_waves(rng, (4, 15))), "gas": Color(-980)}
        canvas.paint(replace(loop, radii_mm=loop.radii_mm - wall), color[filling])


def _paint_surroundings(rng: np.random.Generator, canvas: Canvas) -> None:
    """Organs, cavities, loops, bones and vessels anywhere, in random order."""
    most = {"organ": 3, "cavity": 2, "bone": 2, "vessels": 2}
    things = [thing for thing, count in most.items() for _ in range(int(rng.integers(0, count + 1)))]
    things += ["loops"] * int(rng.random() < 0.25)
    rng.shuffle(things)
    painters = {"bone": _paint_bone, "vessels": _paint_vessels, "loops": _paint_loops}
    for thing in things:
        if thing in painters:
            painters[thing](rng, canvas)
            continue
        radius = log_uniform(rng, 8.0, 45.0)
        star = draw_star(rng, place(rng, 85.0, radius), radius, pick(rng, {"smooth": 3, "lobed": 1, "bitten": 1}), stretch=0.3)
        if thing == "organ":
            _paint_organ(rng, canvas, star, _draw_organ_hu(rng))
        else:
            _paint_cavity(rng, canvas, star)


# Range of depths in its host at which the target's centre lies: 0 is the middle, 1 the surface.
_DEPTHS = {"inside": (0.0, 0.8), "fat": (0.0, 0.8), "wall": (0.9, 1.1), "cavity": (0.1, 1.05)}


class _Host(NamedTuple):
    """What the target lies in or at; `solid` is None for the connective tissue."""

    hu: float
    solid: Star | None
    depth: float  # 0 in its middle, 1 on its surface


def _paint_host(rng: np.random.Generator, canvas: Canvas, plan: str, centre_mm: np.ndarray, radius_mm: float) -> _Host:
    """Draw an organ, a cavity or a pad of fat such that the target's centre lies at a chosen depth of it."""
    if plan == "organ":
        return _Host(0.0, None, 0.0)
    low, high = _DEPTHS[plan]
    depth = float(rng.uniform(low, high))
    room = 5.0 if plan == "cavity" else 3.0
    size = min(max(radius_mm * log_uniform(rng, 1.4, room), 14.0), 75.0)
    host = draw_star(rng, np.zeros(3), size, pick(rng, {"smooth": 3, "lobed": 1, "bitten": 1}))
    # The wall shall be met within the slices rather than above or below them.
    direction = host.turn @ np.array([0.3 * rng.standard_normal(), *rng.standard_normal(2)]) / host.radii_mm
    host = replace(host, centre_mm=centre_mm - depth * host.surface(direction))
    if plan == "cavity":
        return _Host(_paint_cavity(rng, canvas, host), host, depth)
    hu = rng.normal(_FAT_HU, 10) if plan == "fat" else _draw_organ_hu(rng)
    _paint_organ(rng, canvas, host, hu)
    return _Host(float(hu), host, depth)


def _draw_target_hu(rng: np.random.Generator, plan: str, host_hu: float) -> float:
    if plan == "organ":
        return _draw_organ_hu(rng)
    if plan == "inside":
        return float(host_hu + rng.choice([-1, 1], p=[0.6, 0.4]) * log_uniform(rng, 25, 140))
    if plan == "wall":
        return float(host_hu + rng.normal(0, 20))
    if plan == "cavity" and rng.random() < 0.15:
        return float(rng.uniform(-650, -200))
    return float(rng.uniform(-20, 90) if rng.random() < 0.8 else rng.uniform(90, 350))


def _draw_target(rng: np.random.Generator, plan: str, centre_mm: np.ndarray, radius_mm: float, host: _Host) -> Solid:
    style = pick(rng, {"plain": 0.3, "smooth": 1, "lobed": 2, "spiky": 1.6, "bitten": 1.5, "rough": 1.1})
    if plan == "organ":
        style = pick(rng, {"smooth": 2, "lobed": 1, "bitten": 1.5})
    stretch = rng.uniform(0.1, 0.55)
    form = pick(rng, {"star": 5, "soft": 1.2, "union": 2.4, "hollow": 0.6, "crescent": 1.2})
    if form == "union":
        solid: Solid = draw_union(rng, centre_mm, radius_mm, style)
    elif form == "hollow" and radius_mm > 6:
        solid = draw_hollow(rng, centre_mm, radius_mm, style)
    elif form == "crescent":
        solid = draw_crescent(rng, centre_mm, radius_mm, style)
    else:
        star = draw_star(rng, centre_mm, radius_mm, style, stretch=stretch)
        solid = replace(star, soft_mm=min(radius_mm, rng.uniform(1, 6))) if form == "soft" else star
    # A mass at a wall often has a flat side there: only the part within the cavity is its own.
    if plan == "cavity" and host.depth > 0.6 and rng.random() < 0.6:
        return Compound((solid,), within=(host.solid,))
    return solid


def _paint_attached(rng: np.random.Generator, canvas: Canvas, centre_mm: np.ndarray, radius_mm: float, hu: float) -> None:
    """Tubes that run into the target and look like it, but are not of it."""
    for _ in range(int(rng.integers(1, 4))):
        thick = max(0.8, radius_mm * rng.uniform(0.08, 0.35))
        tube = draw_tube(rng, centre_mm, (thick, 0.6 * thick), radius_mm + rng.uniform(10.0, 60.0))
        canvas.paint(tube, Color(hu + rng.normal(0, 25)))


def _paint_target(rng: np.random.Generator, canvas: Canvas) -> None:
    """The object with its host, its twins and what runs into or across it."""
    plan = pick(rng, {"organ": 1.2, "inside": 2, "fat": 1.3, "wall": 1.3, "cavity": 2.6})
    radius = log_uniform(rng, 9.0, 42.0) if plan == "organ" else log_uniform(rng, 3.0, 34.0)
    centre = place(rng, float(rng.choice([15.0, 60.0])), radius)
    host = _paint_host(rng, canvas, plan, centre, radius)
    hu = _draw_target_hu(rng, plan, host.hu)
    solid = _draw_target(rng, plan, centre, radius, host)
    color = _draw_tissue(rng, hu, (0.0, 25.0))
    if rng.random() < 0.35:
        _paint_attached(rng, canvas, centre, radius, hu)
    if rng.random() < 0.35 and radius < 20:
        paint_twins(rng, canvas, solid, radius, color, 0)
    if plan == "organ" and rng.random() < 0.5:
        canvas.paint(draw_star(rng, centre, radius * rng.uniform(1.2, 1.6)), Color(_FAT_HU))
    canvas.paint(solid, color, _TARGET)
    if rng.random() < 0.15:
        core = draw_star(rng, centre, radius * rng.uniform(0.3, 0.6))
        canvas.paint(Compound((core,), within=(solid,)), Color(hu + rng.choice([-1, 1], p=[0.7, 0.3]) * rng.uniform(15, 90)), _TARGET)
    if rng.random() < 0.15:
        paint_strands(rng, canvas, Color(rng.uniform(30, 300)), 1)


def _draw_streaks(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Streaks through one point, as beside metal or dense bone; mostly none."""
    if rng.random() < 0.85:
        return []
    row, column = rng.uniform(-80, 80, 2)
    angles = rng.uniform(0, np.pi, int(rng.integers(2, 9)))
    strengths = rng.normal(0, log_uniform(rng, 15, 120), len(angles))
    return [
        (float(a), float(np.cos(a) * row + np.sin(a) * column), float(rng.uniform(1.5, 6)), float(s))
        for a, s in zip(angles, strengths, strict=True)
    ]


def ct_scene(rng: np.random.Generator, canvas: Canvas) -> Scene:
    body = _paint_body(rng, canvas)
    _paint_surroundings(rng, canvas)
    _paint_target(rng, canvas)
    if body is not None:
        _remove_outside(canvas, body)
    # What the window cuts off must not count as contrast; the margin lets noise fall on both sides of its ends.
    np.clip(canvas.values, WINDOW_HU[0] - 30, WINDOW_HU[1] + 60, out=canvas.values)
    noise = log_uniform(rng, 5.0, 40.0)
    return Scene(canvas, _TARGET, 22.0, log_uniform(rng, 0.5, 1.5), noise, log_uniform(rng, 0.4, 2.2), _draw_streaks(rng))


def finish_ct(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """HU to [0, 1] through a window that varies a little."""
    low, high = WINDOW_HU[0] + rng.normal(0, 25), WINDOW_HU[1] + rng.normal(0, 40)
    return unit_range((values - np.float32(low)) * np.float32(1 / (high - low)))
