"""Random 3-D solids of which drawings are composed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .canvas import Box, Canvas, Solid

MIN_PIXELS_AT_128, MIN_PIXELS = 12, 3


@dataclass(frozen=True, eq=False)
class Star:
    """Star-shaped solid: a superellipsoid or a polytope whose radius is changed by bumps.

    `turn` has the solid's own axes as rows. `power` is the exponent of the superellipsoid (1, 2, 4 or 8). `facets` (m, 3),
    if any, are normals of planes that cut it. A bump (direction, sharpness, height) swells or dents the radius by the share
    `height` in its direction and fades with the angle: blunt ones make lobes and bays, sharp ones spicules.
    """

    centre_mm: np.ndarray
    turn: np.ndarray
    radii_mm: np.ndarray
    power: int = 2
    facets: np.ndarray | None = None
    directions: np.ndarray | None = None
    sharpness: np.ndarray | None = None
    heights: np.ndarray | None = None
    soft_mm: float = 0.0

    def _gauge(self, own: np.ndarray) -> np.ndarray:
        """Distance (n,) from the centre in units of the surface's, of points (3, n) in the solid's own frame of unit radii."""
        norm = np.sqrt(np.einsum("in,in->n", own, own)) + np.float32(1e-6)
        if self.power == 2:
            gauge = norm
        elif self.power == 1:
            gauge = np.abs(own).sum(axis=0) * np.float32(0.75) + np.float32(1e-6)
        else:
            powered = own * own
            gauge = np.sqrt(np.sqrt((powered * powered).sum(axis=0))) if self.power == 4 else np.abs(own).max(axis=0)
            gauge = gauge + np.float32(1e-6)
        if self.facets is not None:
            gauge = np.maximum((self.facets @ own).max(axis=0), gauge * np.float32(0.8))
        if self.directions is not None:
            gauge = gauge / self._swelling(own / norm)
        return gauge

    def _swelling(self, unit: np.ndarray) -> np.ndarray:
        bumps = np.exp((self.directions @ unit - np.float32(1)) * self.sharpness[:, None])
        return np.clip(np.float32(1) + self.heights @ bumps, np.float32(0.35), np.float32(2.2))

    def _largest_swelling(self) -> float:
        return 1.0 if self.heights is None else float(min(2.2, 1 + np.clip(self.heights, 0, None).sum()))

    def surface(self, direction: np.ndarray) -> np.ndarray:
        """Offset (3,) from the centre to the surface, in a direction (3,) of the solid's own frame."""
        unit = (direction / np.linalg.norm(direction)).astype(np.float32)
        return (self.turn.T @ (self.radii_mm * unit)) / float(self._gauge(unit[:, None])[0])

    def box(self, canvas: Canvas) -> Box:
        lengths = np.abs(self.turn) * self.radii_mm[:, None]
        half = np.sqrt((lengths**2).sum(axis=0)) if self.power <= 2 else lengths.sum(axis=0)
        # An octahedron reaches 1 / 0.75 of its radii and facets never lie farther out than 1 / 0.8.
        half = half * self._largest_swelling() * (1.34 if self.power == 1 or self.facets is not None else 1.0) + self.soft_mm / 2
        return canvas.box(self.centre_mm - half, self.centre_mm + half)

    def cover(self, canvas: Canvas, box: Box) -> np.ndarray:
        z, y, x = canvas.offsets(box, self.centre_mm)
        frame = (self.turn / self.radii_mm[:, None]).astype(np.float32)
        shape = tuple(part.stop - part.start for part in box)
        own = np.empty((3, *shape), np.float32)
        for axis, row in zip(own, frame, strict=True):
            np.add(row[0] * z + row[1] * y, row[2] * x, out=axis)
        gauge = self._gauge(own.reshape(3, -1)).reshape(shape)
        distance = np.sqrt(z * z + (y * y + x * x)) + np.float32(1e-3)
        # Along a steep ray the voxel is as deep as the slice is thick: thick slices blur where the surface is oblique to them.
        steepness = np.abs(z) / distance
        depth = np.float32(canvas.pixel_mm + self.soft_mm) + np.float32(canvas.slice_mm - canvas.pixel_mm) * steepness
        return np.clip(distance * (1 / gauge - 1) / depth + np.float32(0.5), 0, 1)


@dataclass(frozen=True, eq=False)
class Tube:
    """Winding tube of tapering radius: its centre line sways by sines on both sides of a straight axis.

    `frame` rows are the axis and two sides; `sway` (2, 3) holds amplitude in mm, angular frequency per mm and phase.
    """

    start_mm: np.ndarray
    frame: np.ndarray
    length_mm: float
    radii_mm: tuple[float, float]
    sway: np.ndarray

    def point(self, along_mm: np.ndarray) -> np.ndarray:
        """Points (n, 3) of the centre line in mm, at positions (n,) along the axis."""
        sides = [a * (np.sin(f * along_mm + p) - np.sin(p)) for a, f, p in self.sway]
        return self.start_mm + np.stack([along_mm, *sides], axis=1) @ self.frame

    def box(self, canvas: Canvas) -> Box:
        line, reach = self.point(np.linspace(0, self.length_mm, 12)), max(self.radii_mm) + 1.0
        return canvas.box(line.min(axis=0) - reach, line.max(axis=0) + reach)

    def cover(self, canvas: Canvas, box: Box) -> np.ndarray:
        z, y, x = canvas.offsets(box, self.start_mm)
        along, *sides = ((row[0] * z + row[1] * y) + row[2] * x for row in self.frame.astype(np.float32))
        inside = np.clip(along, 0, np.float32(self.length_mm))
        squared = (along - inside) ** 2
        for side, (a, f, p) in zip(sides, self.sway.astype(np.float32), strict=True):
            squared += (side - a * (np.sin(f * inside + p) - np.sin(p))) ** 2
        taper = np.float32((self.radii_mm[1] - self.radii_mm[0]) / self.length_mm)
        gap = np.float32(self.radii_mm[0]) + taper * inside - np.sqrt(squared)
        return np.clip(gap * np.float32(1 / canvas.pixel_mm) + np.float32(0.5), 0, 1)


@dataclass(frozen=True, eq=False)
class Compound:
    """Union of `parts`, less `holes`, where all of `within` cover it."""

    parts: tuple[Solid, ...]
    holes: tuple[Solid, ...] = ()
    within: tuple[Solid, ...] = ()

    def box(self, canvas: Canvas) -> Box:
        boxes = [part.box(canvas) for part in self.parts]
        # An empty box must not widen the union to the corner of the canvas at which it happens to lie.
        boxes = [b for b in boxes if all(part.stop > part.start for part in b)] or boxes[:1]
        box = tuple(slice(min(p.start for p in parts), max(p.stop for p in parts)) for parts in zip(*boxes, strict=True))
        for limit in (solid.box(canvas) for solid in self.within):
            box = tuple(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(box, limit, strict=True))
        return box

    def cover(self, canvas: Canvas, box: Box) -> np.ndarray:
        cover = self.parts[0].cover(canvas, box)
        for part in self.parts[1:]:
            cover = np.maximum(cover, part.cover(canvas, box))
        for hole in self.holes:
            cover = cover * (1 - hole.cover(canvas, box))
        for limit in self.within:
            cover = cover * limit.cover(canvas, box)
        return cover


def draw_turn(rng: np.random.Generator) -> np.ndarray:
    """Random rotation (3, 3), from a random unit quaternion."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.sqrt(q @ q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class _Bumps(NamedTuple):
    count: tuple[int, int]
    sharpness: tuple[float, float]
    height: tuple[float, float]


# How the surface of a solid deviates from a superellipsoid.
_STYLES: dict[str, tuple[_Bumps, ...]] = {
    "plain": (),
    "smooth": (_Bumps((2, 5), (1.0, 3.0), (-0.3, 0.3)),),
    "lobed": (_Bumps((5, 11), (4.0, 14.0), (-0.5, 0.75)),),
    "spiky": (_Bumps((2, 4), (2.0, 5.0), (-0.25, 0.25)), _Bumps((10, 20), (12.0, 80.0), (0.25, 0.9))),
    "bitten": (_Bumps((2, 4), (3.0, 10.0), (-0.85, -0.5)), _Bumps((1, 3), (2.0, 6.0), (-0.1, 0.4))),
    "rough": (_Bumps((3, 5), (1.5, 4.0), (-0.3, 0.3)), _Bumps((14, 24), (12.0, 45.0), (-0.4, 0.5))),
}


def _draw_bumps(rng: np.random.Generator, style: str) -> dict[str, np.ndarray]:
    if not _STYLES[style]:
        return {}
    sharpness, heights = [], []
    for bumps in _STYLES[style]:
        count = int(rng.integers(bumps.count[0], bumps.count[1] + 1))
        sharpness.append(rng.uniform(*bumps.sharpness, count))
        heights.append(rng.uniform(*bumps.height, count))
    directions = rng.standard_normal((sum(map(len, heights)), 3)).astype(np.float32)
    directions /= np.sqrt((directions**2).sum(axis=1, keepdims=True))
    return {
        "directions": directions,
        "sharpness": np.concatenate(sharpness).astype(np.float32),
        "heights": np.concatenate(heights).astype(np.float32),
    }


def draw_star(
    rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float, style: str = "smooth", power: int = 2, stretch: float = 0.25
) -> Star:
    """A star-shaped solid of the geometric mean radius `radius_mm`; `stretch` is the SD of the log of its three radii."""
    logs = np.clip(stretch * rng.standard_normal(3), -1.0, 1.0)
    radii = radius_mm * np.exp(logs - logs.mean())
    return Star(np.asarray(centre_mm, float), draw_turn(rng), radii, power=power, **_draw_bumps(rng, style))


def draw_faceted(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float) -> Star:
    star = draw_star(rng, centre_mm, radius_mm, "plain")
    normals = rng.standard_normal((int(rng.integers(5, 14)), 3)).astype(np.float32)
    return replace(star, facets=normals / np.sqrt((normals**2).sum(axis=1, keepdims=True)))


def draw_tube(
    rng: np.random.Generator, start_mm: np.ndarray, radii_mm: tuple[float, float], length_mm: float, turn: np.ndarray | None = None
) -> Tube:
    sway = np.stack([length_mm * rng.uniform(0.02, 0.14, 2), rng.uniform(2.0, 7.0, 2) / length_mm, rng.uniform(0, 6.28, 2)], axis=1)
    return Tube(np.asarray(start_mm, float), draw_turn(rng) if turn is None else turn, length_mm, radii_mm, sway)


def draw_union(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float, style: str) -> Compound:
    """Two or three stars that overlap."""
    parts = [draw_star(rng, centre_mm, 0.8 * radius_mm, style)]
    for _ in range(int(rng.integers(1, 3))):
        edge = parts[0].surface(rng.standard_normal(3)) * rng.uniform(0.8, 1.25)
        parts.append(draw_star(rng, parts[0].centre_mm + edge, radius_mm * rng.uniform(0.35, 0.75), style))
    return Compound(tuple(parts))


def draw_hollow(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float, style: str) -> Compound:
    """A star with a hole, concentric or not."""
    star = draw_star(rng, centre_mm, radius_mm, style)
    shift = star.surface(rng.standard_normal(3)) * rng.uniform(0, 0.4)
    return Compound((star,), holes=(draw_star(rng, star.centre_mm + shift, radius_mm * rng.uniform(0.35, 0.65), "smooth"),))


def draw_crescent(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float, style: str) -> Compound:
    """A star less another of about its size beside it, so that its middle may lie outside of it."""
    star = draw_star(rng, centre_mm, radius_mm, style)
    direction = star.turn @ np.array([0.4 * rng.standard_normal(), *rng.standard_normal(2)])
    cut = star.centre_mm + star.surface(direction) * rng.uniform(0.5, 1.0)
    return Compound((star,), holes=(draw_star(rng, cut, radius_mm * rng.uniform(0.6, 1.0), "smooth"),))
