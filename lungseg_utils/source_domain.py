"""Synthetic pictures on which promptable networks learn "segment what the box points at", before they see any lung tumor.

Two kinds. `shapes` plays the role of natural images: overlapping solids of any gray level and texture. `ct_like` plays the
role of medical CT without lung tumors: soft tissue, fat, bones, vessels, organs, gas-filled and low-density cavities, and
inclusions in all of them, but no chest. Neither shares drawing or noise code with the lung phantoms.

Everything is a solid in a space of mm, axes (slice, row, column), origin in the middle of the field, and slices cut it.
Solids are star-shaped: seen from the centre, every direction meets the surface once, so that the distance to the surface
along the ray is known in closed form. Blur and noise are products with small Toeplitz matrices, which beats a convolution
on pictures as small as these and has no wrap-around.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np
from scipy import ndimage

from .types import InputError

KINDS = ("shapes", "ct_like")
FIELD_MM = 180.0
SLICE_MM = (1.0, 5.0)
WINDOW_HU = (-910.0, 590.0)
MIN_PIXELS_AT_128, MIN_PIXELS = 12, 3
MIN_SIZE = 32

# A target is refused if the middle slice shows it covering more or wider, or with less of its outline standing out.
_MAX_SHARE, _MAX_MM = 0.35, 92.0
_MIN_SEEN, _MIN_ONE_SIDED = 0.4, 0.2

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Clip:
    """Neighbouring slices and one object in them.

    `image` is float32 (slices, rows, columns) in [0, 1]. `mask` is bool of the same shape: the visible part of one object,
    of which the largest piece (26-connected over all slices) is kept; a single slice may still show several pieces of it.
    The middle slice, `slices // 2`, always shows it; slices before or after may not.
    """

    image: np.ndarray
    mask: np.ndarray


# --- the canvas -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Canvas:
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

    def paint(self, solid: _Solid, colour: _Colour, name: int = 0) -> None:
        """Put a solid in front of all before; the voxels that it covers by more than half become its own."""
        box = solid.box(self)
        if any(part.stop <= part.start for part in box):
            return
        cover = solid.cover(self, box)
        seen = self.values[box]
        seen += cover * (colour.on(self, box) - seen)
        self.owner[box][cover > 0.5] = name


def _make_canvas(rng: np.random.Generator, size: int, slices: int) -> _Canvas:
    pixel_mm, slice_mm = FIELD_MM / size, float(rng.uniform(*SLICE_MM))
    in_plane = ((np.arange(size) - (size - 1) / 2) * pixel_mm).astype(np.float32)
    through = ((np.arange(slices) - slices // 2) * slice_mm).astype(np.float32)
    shape = (slices, size, size)
    return _Canvas((through, in_plane, in_plane), pixel_mm, slice_mm, np.zeros(shape, np.float32), np.zeros(shape, np.int16))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names = list(weights)
    limits = np.cumsum(list(weights.values()))
    return names[int(np.searchsorted(limits, rng.random() * limits[-1], side="right"))]


# --- solids -----------------------------------------------------------------------------------------------------------


class _Solid(Protocol):
    def box(self, canvas: _Canvas) -> Box:
        """Voxels that may be covered."""

    def cover(self, canvas: _Canvas, box: Box) -> np.ndarray:
        """Covered share of each voxel in `box`, float32 in [0, 1]."""


@dataclass(frozen=True, eq=False)
class _Star:
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

    def box(self, canvas: _Canvas) -> Box:
        lengths = np.abs(self.turn) * self.radii_mm[:, None]
        half = np.sqrt((lengths**2).sum(axis=0)) if self.power <= 2 else lengths.sum(axis=0)
        # An octahedron reaches 1 / 0.75 of its radii and facets never lie farther out than 1 / 0.8.
        half = half * self._largest_swelling() * (1.34 if self.power == 1 or self.facets is not None else 1.0) + self.soft_mm / 2
        return canvas.box(self.centre_mm - half, self.centre_mm + half)

    def cover(self, canvas: _Canvas, box: Box) -> np.ndarray:
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
class _Tube:
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

    def box(self, canvas: _Canvas) -> Box:
        line, reach = self.point(np.linspace(0, self.length_mm, 12)), max(self.radii_mm) + 1.0
        return canvas.box(line.min(axis=0) - reach, line.max(axis=0) + reach)

    def cover(self, canvas: _Canvas, box: Box) -> np.ndarray:
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
class _Compound:
    """Union of `parts`, less `holes`, where all of `within` cover it."""

    parts: tuple[_Solid, ...]
    holes: tuple[_Solid, ...] = ()
    within: tuple[_Solid, ...] = ()

    def box(self, canvas: _Canvas) -> Box:
        boxes = [part.box(canvas) for part in self.parts]
        # An empty box must not widen the union to the corner of the canvas at which it happens to lie.
        boxes = [b for b in boxes if all(part.stop > part.start for part in b)] or boxes[:1]
        box = tuple(slice(min(p.start for p in parts), max(p.stop for p in parts)) for parts in zip(*boxes, strict=True))
        for limit in (solid.box(canvas) for solid in self.within):
            box = tuple(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(box, limit, strict=True))
        return box

    def cover(self, canvas: _Canvas, box: Box) -> np.ndarray:
        cover = self.parts[0].cover(canvas, box)
        for part in self.parts[1:]:
            cover = np.maximum(cover, part.cover(canvas, box))
        for hole in self.holes:
            cover = cover * (1 - hole.cover(canvas, box))
        for limit in self.within:
            cover = cover * limit.cover(canvas, box)
        return cover


def _draw_turn(rng: np.random.Generator) -> np.ndarray:
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


def _draw_star(
    rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float, style: str = "smooth", power: int = 2, stretch: float = 0.25
) -> _Star:
    """A star-shaped solid of the geometric mean radius `radius_mm`; `stretch` is the SD of the log of its three radii."""
    logs = np.clip(stretch * rng.standard_normal(3), -1.0, 1.0)
    radii = radius_mm * np.exp(logs - logs.mean())
    return _Star(np.asarray(centre_mm, float), _draw_turn(rng), radii, power=power, **_draw_bumps(rng, style))


def _draw_faceted(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float) -> _Star:
    star = _draw_star(rng, centre_mm, radius_mm, "plain")
    normals = rng.standard_normal((int(rng.integers(5, 14)), 3)).astype(np.float32)
    return replace(star, facets=normals / np.sqrt((normals**2).sum(axis=1, keepdims=True)))


def _draw_tube(
    rng: np.random.Generator, start_mm: np.ndarray, radii_mm: tuple[float, float], length_mm: float, turn: np.ndarray | None = None
) -> _Tube:
    sway = np.stack([length_mm * rng.uniform(0.02, 0.14, 2), rng.uniform(2.0, 7.0, 2) / length_mm, rng.uniform(0, 6.28, 2)], axis=1)
    return _Tube(np.asarray(start_mm, float), _draw_turn(rng) if turn is None else turn, length_mm, radii_mm, sway)


def _draw_union(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float, style: str) -> _Compound:
    """Two or three stars that overlap."""
    parts = [_draw_star(rng, centre_mm, 0.8 * radius_mm, style)]
    for _ in range(int(rng.integers(1, 3))):
        edge = parts[0].surface(rng.standard_normal(3)) * rng.uniform(0.8, 1.25)
        parts.append(_draw_star(rng, parts[0].centre_mm + edge, radius_mm * rng.uniform(0.35, 0.75), style))
    return _Compound(tuple(parts))


def _draw_hollow(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float, style: str) -> _Compound:
    """A star with a hole, concentric or not."""
    star = _draw_star(rng, centre_mm, radius_mm, style)
    shift = star.surface(rng.standard_normal(3)) * rng.uniform(0, 0.4)
    return _Compound((star,), holes=(_draw_star(rng, star.centre_mm + shift, radius_mm * rng.uniform(0.35, 0.65), "smooth"),))


def _draw_crescent(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float, style: str) -> _Compound:
    """A star less another of about its size beside it, so that its middle may lie outside of it."""
    star = _draw_star(rng, centre_mm, radius_mm, style)
    direction = star.turn @ np.array([0.4 * rng.standard_normal(), *rng.standard_normal(2)])
    cut = star.centre_mm + star.surface(direction) * rng.uniform(0.5, 1.0)
    return _Compound((star,), holes=(_draw_star(rng, cut, radius_mm * rng.uniform(0.6, 1.0), "smooth"),))


# --- colours ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Waves:
    """Random texture of unit SD: a sum of plane waves, wave vectors (n, 3) in radians per mm, phases (n,)."""

    vectors: np.ndarray
    phases: np.ndarray
    contrast: float = 0.0  # above 0 the texture becomes blobs or stripes with edges

    def on(self, canvas: _Canvas, box: Box) -> np.ndarray:
        """Texture over a box. Waves are products of a factor per axis, so the sum is one matrix product."""
        z, y, x = (axis[part] for axis, part in zip(canvas.axes, box, strict=True))
        kz, ky, kx = self.vectors.T
        left = (z[:, None, None] * kz + y[:, None] * ky + self.phases).astype(np.float32)
        right = np.outer(kx, x).astype(np.float32)
        waves = np.concatenate([np.cos(left), -np.sin(left)], axis=-1) @ np.concatenate([np.cos(right), np.sin(right)])
        waves *= np.float32(np.sqrt(2 / len(self.phases)))
        return np.tanh(waves * np.float32(self.contrast)) if self.contrast else waves


@dataclass(frozen=True, eq=False)
class _Colour:
    """Gray level or HU of a solid, with a texture of amplitude `swing` around it."""

    level: float
    swing: float = 0.0
    waves: _Waves | None = None

    def on(self, canvas: _Canvas, box: Box) -> np.ndarray | np.float32:
        """Values over a box."""
        if self.waves is None or self.swing == 0:
            return np.float32(self.level)
        return np.float32(self.level) + np.float32(self.swing) * self.waves.on(canvas, box)


def _draw_waves(rng: np.random.Generator, wavelength_mm: tuple[float, float], count: int = 24, contrast: float = 0.0) -> _Waves:
    vectors = rng.standard_normal((count, 3))
    vectors /= np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    low, high = wavelength_mm
    vectors *= 2 * np.pi / (low * (high / low) ** rng.random((count, 1)))
    return _Waves(vectors, rng.uniform(0, 2 * np.pi, count), contrast)


# --- what both kinds share --------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Scene:
    """A finished picture before blur and noise, and how it is to be blurred. Solids of number `target` are the object."""

    canvas: _Canvas
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


def _add_streaks(scene: _Scene) -> None:
    _, y, x = scene.canvas.axes
    for angle, offset, width, strength in scene.streaks:
        across = np.float32(np.cos(angle)) * y[:, None] + np.float32(np.sin(angle)) * x - np.float32(offset)
        scene.canvas.values[...] += np.float32(strength) * np.exp(-((across * np.float32(1 / width)) ** 2))


def _render(rng: np.random.Generator, scene: _Scene) -> np.ndarray:
    """Blur, streaks and noise over the painted values; still in gray levels or HU."""
    _add_streaks(scene)
    canvas = scene.canvas
    psf = _blur_matrix(canvas.values.shape[1], max(scene.blur_mm / canvas.pixel_mm, 0.2))
    return psf @ canvas.values @ psf.T + np.float32(scene.noise) * _noise(rng, canvas.values.shape, scene.grain_mm / canvas.pixel_mm)


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest 26-connected piece of a mask that is not empty."""
    box = ndimage.find_objects(mask.astype(np.int8))[0]
    labels, count = ndimage.label(mask[box], structure=np.ones((3, 3, 3), bool))
    result = np.zeros_like(mask)
    largest = 1 if count == 1 else int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    result[box] = labels == largest
    return result


def _visible(scene: _Scene, pixels: float) -> float:
    """Difference by which the surroundings of an object of so many pixels (at size 128) must stand out from it.

    Noise averages out over an object, so that a small one needs more contrast to be seen.
    """
    return max(scene.visible, 0.7 * scene.noise * (1 + np.sqrt(60 / pixels)))


def _stands_out(values: np.ndarray, mask: np.ndarray, visible: float) -> bool:
    """Does enough of the outline of a mask (rows, columns) differ by `visible` from what lies inside?"""
    rows, columns = (np.flatnonzero(mask.any(axis=a)) for a in (1, 0))
    box = (slice(max(rows[0] - 3, 0), rows[-1] + 4), slice(max(columns[0] - 3, 0), columns[-1] + 4))
    values, mask = values[box], mask[box]
    near, far = (ndimage.binary_dilation(mask, iterations=n) for n in (1, 3))
    ring = values[far & ~near]
    if ring.size == 0:
        return False
    difference = ring - values[mask].mean()
    brighter, darker = float((difference > visible).mean()), float((difference < -visible).mean())
    # A texture that strays to both sides of the object's level alike is camouflage, not contrast.
    return brighter + darker >= _MIN_SEEN and abs(brighter - darker) >= _MIN_ONE_SIDED


def _accepted_mask(scene: _Scene) -> np.ndarray | None:
    """The mask of the target, or None if it is too small, too large or invisible on the middle slice."""
    canvas = scene.canvas
    middle, pixels = len(canvas.values) // 2, canvas.values.shape[1] ** 2
    scale = pixels / 128**2
    least = max(MIN_PIXELS, MIN_PIXELS_AT_128 * scale)
    mask = canvas.owner == scene.target
    if mask[middle].sum() < least:
        return None
    mask = _largest_piece(mask)
    shown = mask[middle].sum()
    widest = max(np.ptp(np.flatnonzero(mask[middle].any(axis=axis))) + 1 for axis in (0, 1)) * canvas.pixel_mm if shown else 0.0
    if not least <= shown <= _MAX_SHARE * pixels or widest > _MAX_MM:
        return None
    return mask if _stands_out(canvas.values[middle], mask[middle], _visible(scene, shown / scale)) else None


def draw_clip(kind: str, rng: np.random.Generator, size: int = 128, slices: int = 8) -> Clip:
    """Draw a random scene, `slices` neighbouring slices of `size` x `size` pixels over 180 mm, and one object in it.

    The object is between about 5 and 90 mm across and covers at least 12 pixels of slice `slices // 2` at size 128 (the same
    area at other sizes, but never under 3 pixels). Slices are 1 to 5 mm apart. Scenes whose object would be hidden or invisible are
    drawn again. Depends on nothing but the arguments and the state of `rng`, which it advances. Raises InputError for an
    unknown kind, a size under 32 or less than one slice.
    """
    if kind not in KINDS:
        raise InputError("kind", f"{kind!r} is not a source domain", f"Use one of: {', '.join(KINDS)}.")
    if size < MIN_SIZE or slices < 1:
        raise InputError("size, slices", f"{slices} slices of {size} pixels cannot be drawn", f"Use 1 or more of {MIN_SIZE} or more.")
    while True:
        scene = _SCENES[kind](rng, _make_canvas(rng, size, slices))
        mask = _accepted_mask(scene)
        if mask is not None:
            return Clip(_FINISH[kind](rng, _render(rng, scene)), mask)


def draw_slice(kind: str, rng: np.random.Generator, size: int = 128) -> Clip:
    """Like `draw_clip`, but only the middle slice is drawn: arrays (1, size, size)."""
    return draw_clip(kind, rng, size, slices=1)


def _place(rng: np.random.Generator, reach_mm: float, radius_mm: float) -> np.ndarray:
    """Random centre (3,) within `reach_mm` of the middle along rows and columns, so that the middle slice cuts the solid."""
    return np.array([0.6 * radius_mm * rng.uniform(-1, 1), *(reach_mm * rng.uniform(-1, 1, 2))])


def _unit_range(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 1).astype(np.float32, copy=False)


# --- shapes -----------------------------------------------------------------------------------------------------------


def _draw_gray(rng: np.random.Generator, strength: float = 1.0) -> _Colour:
    """Any gray level: flat, cloudy, striped, blotched or grainy."""
    level, swing = rng.random(), strength * rng.uniform(0.03, 0.25)
    texture = _pick(rng, {"flat": 4, "cloudy": 3, "stripes": 1.5, "blobs": 1.5, "grain": 1})
    if texture == "flat":
        return _Colour(level)
    if texture == "cloudy":
        return _Colour(level, swing, _draw_waves(rng, (20.0, 120.0)))
    if texture == "stripes":
        return _Colour(level, swing, _draw_waves(rng, (6.0, 40.0), count=1, contrast=rng.choice([0.0, 3.0])))
    if texture == "blobs":
        return _Colour(level, swing, _draw_waves(rng, (12.0, 50.0), contrast=3.0))
    return _Colour(level, 0.6 * swing, _draw_waves(rng, (3.0, 8.0), count=40))


def _draw_form(rng: np.random.Generator, centre_mm: np.ndarray, radius_mm: float) -> _Solid:
    form = _pick(rng, {"star": 4.5, "boxy": 1, "faceted": 1.2, "union": 2.2, "hollow": 1, "crescent": 1.6, "tube": 1.2})
    if form == "star":
        style = _pick(rng, {"plain": 0.6, "smooth": 1, "lobed": 1.6, "spiky": 1.2, "bitten": 1.6, "rough": 0.8})
        return _draw_star(rng, centre_mm, radius_mm, style, stretch=rng.uniform(0.1, 0.6))
    if form == "boxy":
        return _draw_star(rng, centre_mm, 0.85 * radius_mm, "plain", power=int(rng.choice([1, 4, 8])), stretch=rng.uniform(0.1, 0.5))
    if form == "faceted":
        return _draw_faceted(rng, centre_mm, radius_mm)
    if form == "union":
        return _draw_union(rng, centre_mm, radius_mm, _pick(rng, {"plain": 1, "smooth": 1, "lobed": 1}))
    if form == "hollow":
        return _draw_hollow(rng, centre_mm, radius_mm, _pick(rng, {"plain": 1, "smooth": 1, "bitten": 1}))
    if form == "crescent":
        return _draw_crescent(rng, centre_mm, radius_mm, _pick(rng, {"plain": 1, "smooth": 1, "lobed": 1}))
    length, turn, thick = min(3 * radius_mm, 90.0), _draw_turn(rng), radius_mm * rng.uniform(0.2, 0.4)
    return _draw_tube(rng, centre_mm - turn[0] * length / 2, (thick, thick * rng.uniform(0.5, 1)), length, turn)


def _moved(solid: _Solid, shift_mm: np.ndarray) -> _Solid:
    """The same solid elsewhere."""
    if isinstance(solid, _Compound):
        return _Compound(*(tuple(_moved(s, shift_mm) for s in group) for group in (solid.parts, solid.holes, solid.within)))
    if isinstance(solid, _Tube):
        return replace(solid, start_mm=solid.start_mm + shift_mm)
    return replace(solid, centre_mm=solid.centre_mm + shift_mm)


def _paint_background(rng: np.random.Generator, canvas: _Canvas) -> None:
    _, y, x = canvas.axes
    canvas.values[...] = _draw_gray(rng).on(canvas, canvas.whole())
    if rng.random() < 0.4:
        slopes = rng.normal(0, 0.3, 2) / FIELD_MM
        canvas.values[...] += (slopes[0] * y[:, None] + slopes[1] * x).astype(np.float32)


def _paint_strands(rng: np.random.Generator, canvas: _Canvas, colour: _Colour, count: int) -> None:
    """Thin tubes across the whole field that belong to nothing."""
    for _ in range(count):
        middle, turn, length = _place(rng, 60.0, 20.0), _draw_turn(rng), rng.uniform(60.0, 240.0)
        turn[0, 0] *= 0.2
        turn[0] /= np.linalg.norm(turn[0])
        thick = _log_uniform(rng, 0.8, 4.0)
        canvas.paint(_draw_tube(rng, middle - turn[0] * length / 2, (thick, thick), length, turn), colour)


def _paint_twins(rng: np.random.Generator, canvas: _Canvas, solid: _Solid, radius_mm: float, colour: _Colour, name: int) -> None:
    """Solids that look like the target, beside it: only the box tells which is meant."""
    for _ in range(int(rng.integers(1, 4))):
        angle, gap = rng.uniform(0, 2 * np.pi), radius_mm * rng.uniform(1.5, 4.0)
        shift = np.array([rng.uniform(-0.5, 0.5) * radius_mm, gap * np.sin(angle), gap * np.cos(angle)])
        canvas.paint(_moved(solid, shift), replace(colour, level=colour.level + rng.normal(0, 0.03 * abs(colour.level) + 0.01)), name)


def _shapes_scene(rng: np.random.Generator, canvas: _Canvas) -> _Scene:
    """Solids one before another; the target is one of them at any depth of the pile."""
    _paint_background(rng, canvas)
    count = int(rng.integers(3, 11))
    target = int(rng.integers(max(1, count - 4), count + 1))
    for number in range(1, count + 1):
        radius = _log_uniform(rng, 3.0, 42.0) if number == target else _log_uniform(rng, 4.0, 45.0)
        solid = _draw_form(rng, _place(rng, rng.choice([20.0, 75.0]) if number == target else 85.0, radius), radius)
        colour = _draw_gray(rng, 0.8)
        if number == target and rng.random() < 0.35:
            _paint_twins(rng, canvas, solid, radius, colour, 100)
        canvas.paint(solid, colour, number)
    if rng.random() < 0.35:
        _paint_strands(rng, canvas, _draw_gray(rng), int(rng.integers(1, 4)))
    # What the picture cannot show must not count as contrast.
    np.clip(canvas.values, 0, 1, out=canvas.values)
    noise = rng.choice([0.0, 1.0], p=[0.15, 0.85]) * _log_uniform(rng, 0.005, 0.12)
    return _Scene(canvas, target, 0.04, _log_uniform(rng, 0.4, 2.6), noise, _log_uniform(rng, 0.3, 2.5))


def _finish_shapes(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    gain = rng.uniform(0.6, 1.0)
    return _unit_range(values * np.float32(gain) + np.float32(rng.uniform(0, 1 - gain)))


# --- CT ---------------------------------------------------------------------------------------------------------------

_AIR_HU, _FAT_HU, _MUSCLE_HU = -1000.0, -100.0, 50.0
_TARGET = 1


def _draw_tissue(rng: np.random.Generator, hu: float, swing_hu: tuple[float, float] = (0.0, 12.0)) -> _Colour:
    return _Colour(hu, rng.uniform(*swing_hu), _draw_waves(rng, (8.0, 60.0), count=10))


def _draw_connective(rng: np.random.Generator) -> _Colour:
    """What fills the body between organs: fat, muscle, or fat with strands and islands of muscle."""
    filling = _pick(rng, {"fat": 1, "muscle": 1, "mixed": 1.2})
    if filling == "fat":
        return _draw_tissue(rng, rng.normal(_FAT_HU, 8), (2.0, 20.0))
    if filling == "muscle":
        return _draw_tissue(rng, rng.normal(_MUSCLE_HU, 12))
    middle = rng.uniform(-60, 10)
    return _Colour(middle, rng.uniform(40, 75), _draw_waves(rng, (_log_uniform(rng, 6, 25), 80.0), contrast=_log_uniform(rng, 0.8, 4)))


def _paint_body(rng: np.random.Generator, canvas: _Canvas) -> _Star | None:
    """Connective tissue everywhere, or inside a body with a layer of fat under its skin; returns that body."""
    if rng.random() < 0.6:
        canvas.values[...] = _draw_connective(rng).on(canvas, canvas.whole())
        return None
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(90.0, 170.0)
    away = max(0.0, radius - rng.uniform(30.0, 85.0))
    body = _draw_star(rng, np.array([0, away * np.sin(angle), away * np.cos(angle)]), radius, "smooth", stretch=0.15)
    inner = replace(body, radii_mm=body.radii_mm - _log_uniform(rng, 2.0, 30.0))
    canvas.values[...] = _draw_tissue(rng, _FAT_HU, (2.0, 15.0)).on(canvas, canvas.whole())
    canvas.paint(inner, _draw_connective(rng))
    return body


def _remove_outside(canvas: _Canvas, body: _Star) -> None:
    """Air beyond the skin, whatever was drawn there."""
    outside = 1 - body.cover(canvas, canvas.whole())
    canvas.values[...] += outside * (np.float32(_AIR_HU) - canvas.values)
    canvas.owner[outside > 0.5] = 0


def _draw_organ_hu(rng: np.random.Generator) -> float:
    """Unenhanced soft tissue, or taken up contrast."""
    return float(rng.uniform(20, 75) if rng.random() < 0.6 else rng.uniform(75, 200))


def _paint_organ(rng: np.random.Generator, canvas: _Canvas, organ: _Star, hu: float, name: int = 0) -> None:
    if rng.random() < 0.5:
        rim = replace(organ, radii_mm=organ.radii_mm + _log_uniform(rng, 1.5, 6.0))
        canvas.paint(rim, _Colour(_FAT_HU))
    canvas.paint(organ, _draw_tissue(rng, hu), name)


def _paint_bone(rng: np.random.Generator, canvas: _Canvas) -> None:
    """A dense shell around marrow: a long shaft or an irregular block."""
    radius = _log_uniform(rng, 4.0, 16.0)
    shell, marrow = _Colour(rng.uniform(350, 1100)), _draw_tissue(rng, rng.uniform(0, 280), (10.0, 60.0))
    wall = max(1.5, radius * rng.uniform(0.12, 0.4))
    if rng.random() < 0.4:
        turn, length = _draw_turn(rng), rng.uniform(40.0, 150.0)
        shaft = _draw_tube(rng, _place(rng, 80.0, 20.0) - turn[0] * length / 2, (radius, radius), length, turn)
        canvas.paint(shaft, shell)
        canvas.paint(replace(shaft, radii_mm=(radius - wall, radius - wall)), marrow)
        return
    block = _draw_star(rng, _place(rng, 80.0, radius), 1.3 * radius, "bitten", stretch=0.35)
    canvas.paint(block, shell)
    canvas.paint(replace(block, radii_mm=np.maximum(block.radii_mm - wall, 0.3)), marrow)


def _paint_vessels(rng: np.random.Generator, canvas: _Canvas, within: tuple[_Solid, ...] = ()) -> None:
    """A trunk and the branches that leave it."""
    colour = _Colour(rng.uniform(35, 65) if rng.random() < 0.5 else rng.uniform(110, 380))
    length, thick, turn = rng.uniform(50.0, 170.0), _log_uniform(rng, 1.0, 8.0), _draw_turn(rng)
    centre = within[0].centre_mm if within else _place(rng, 60.0, 20.0)
    trunk = _draw_tube(rng, centre - turn[0] * length / 2, (thick, 0.6 * thick), length, turn)
    tubes = [trunk]
    for _ in range(int(rng.integers(0, 5))):
        start = trunk.point(np.array([rng.uniform(0.1, 0.9) * length]))[0]
        narrow = max(0.7, thick * rng.uniform(0.3, 0.7))
        tubes.append(_draw_tube(rng, start, (narrow, 0.5 * narrow), length * rng.uniform(0.2, 0.6)))
    for tube in tubes:
        canvas.paint(_Compound((tube,), within=within) if within else tube, colour)


def _paint_cavity(rng: np.random.Generator, canvas: _Canvas, cavity: _Star) -> float:
    """A wall around gas, or around spongy tissue of low density with strands; returns the HU inside."""
    wall = replace(cavity, radii_mm=cavity.radii_mm + _log_uniform(rng, 1.0, 5.0))
    canvas.paint(wall, _draw_tissue(rng, rng.uniform(20, 90)))
    if rng.random() < 0.35:
        hu = rng.uniform(-1000, -930)
        canvas.paint(cavity, _Colour(hu))
        if rng.random() < 0.4:
            # Fluid fills the lower part; a huge box whose upper face is the level stands for it.
            level = np.array([0.0, cavity.centre_mm[1] + cavity.radii_mm.min() * rng.uniform(-0.3, 0.7) + 500.0, 0.0])
            fluid = _Star(level, np.eye(3), np.full(3, 500.0), power=8)
            canvas.paint(_Compound((cavity,), within=(fluid,)), _draw_tissue(rng, rng.uniform(0, 60)))
        return hu
    hu = rng.uniform(-930, -650)
    canvas.paint(cavity, _Colour(hu, rng.uniform(5, 70), _draw_waves(rng, (4.0, 50.0), contrast=rng.choice([0.0, 2.0]))))
    for _ in range(int(rng.integers(0, 3))):
        _paint_vessels(rng, canvas, within=(cavity,))
    return hu


def _paint_loops(rng: np.random.Generator, canvas: _Canvas) -> None:
    """A crowd of walled loops that press on one another, filled with fluid, pulp or gas."""
    radius, hu = _log_uniform(rng, 6.0, 16.0), rng.uniform(25, 110)
    middle, wall = _place(rng, 70.0, radius), radius * rng.uniform(0.08, 0.3)
    for _ in range(int(rng.integers(3, 8))):
        centre = middle + np.array([0.4, 1.6, 1.6]) * radius * rng.standard_normal(3)
        loop = _draw_star(rng, centre, radius * rng.uniform(0.7, 1.3), "smooth", stretch=0.35)
        canvas.paint(loop, _Colour(hu))
        filling = _pick(rng, {"fluid": 2, "pulp": 1, "gas": 1})
        colour = {"fluid": _Colour(rng.uniform(-5, 30)), "pulp": _Colour(-150, 150, _draw_waves(rng, (4, 15))), "gas": _Colour(-980)}
        canvas.paint(replace(loop, radii_mm=loop.radii_mm - wall), colour[filling])


def _paint_surroundings(rng: np.random.Generator, canvas: _Canvas) -> None:
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
        radius = _log_uniform(rng, 8.0, 45.0)
        star = _draw_star(rng, _place(rng, 85.0, radius), radius, _pick(rng, {"smooth": 3, "lobed": 1, "bitten": 1}), stretch=0.3)
        if thing == "organ":
            _paint_organ(rng, canvas, star, _draw_organ_hu(rng))
        else:
            _paint_cavity(rng, canvas, star)


# Range of depths in its host at which the target's centre lies: 0 is the middle, 1 the surface.
_DEPTHS = {"inside": (0.0, 0.8), "fat": (0.0, 0.8), "wall": (0.9, 1.1), "cavity": (0.1, 1.05)}


class _Host(NamedTuple):
    """What the target lies in or at; `solid` is None for the connective tissue."""

    hu: float
    solid: _Star | None
    depth: float  # 0 in its middle, 1 on its surface


def _paint_host(rng: np.random.Generator, canvas: _Canvas, plan: str, centre_mm: np.ndarray, radius_mm: float) -> _Host:
    """Draw an organ, a cavity or a pad of fat such that the target's centre lies at a chosen depth of it."""
    if plan == "organ":
        return _Host(0.0, None, 0.0)
    low, high = _DEPTHS[plan]
    depth = float(rng.uniform(low, high))
    room = 5.0 if plan == "cavity" else 3.0
    size = min(max(radius_mm * _log_uniform(rng, 1.4, room), 14.0), 75.0)
    host = _draw_star(rng, np.zeros(3), size, _pick(rng, {"smooth": 3, "lobed": 1, "bitten": 1}))
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
        return float(host_hu + rng.choice([-1, 1], p=[0.6, 0.4]) * _log_uniform(rng, 25, 140))
    if plan == "wall":
        return float(host_hu + rng.normal(0, 20))
    if plan == "cavity" and rng.random() < 0.15:
        return float(rng.uniform(-650, -200))
    return float(rng.uniform(-20, 90) if rng.random() < 0.8 else rng.uniform(90, 350))


def _draw_target(rng: np.random.Generator, plan: str, centre_mm: np.ndarray, radius_mm: float, host: _Host) -> _Solid:
    style = _pick(rng, {"plain": 0.3, "smooth": 1, "lobed": 2, "spiky": 1.6, "bitten": 1.5, "rough": 1.1})
    if plan == "organ":
        style = _pick(rng, {"smooth": 2, "lobed": 1, "bitten": 1.5})
    stretch = rng.uniform(0.1, 0.55)
    form = _pick(rng, {"star": 5, "soft": 1.2, "union": 2.4, "hollow": 0.6, "crescent": 1.2})
    if form == "union":
        solid: _Solid = _draw_union(rng, centre_mm, radius_mm, style)
    elif form == "hollow" and radius_mm > 6:
        solid = _draw_hollow(rng, centre_mm, radius_mm, style)
    elif form == "crescent":
        solid = _draw_crescent(rng, centre_mm, radius_mm, style)
    else:
        star = _draw_star(rng, centre_mm, radius_mm, style, stretch=stretch)
        solid = replace(star, soft_mm=min(radius_mm, rng.uniform(1, 6))) if form == "soft" else star
    # A mass at a wall often has a flat side there: only the part within the cavity is its own.
    if plan == "cavity" and host.depth > 0.6 and rng.random() < 0.6:
        return _Compound((solid,), within=(host.solid,))
    return solid


def _paint_attached(rng: np.random.Generator, canvas: _Canvas, centre_mm: np.ndarray, radius_mm: float, hu: float) -> None:
    """Tubes that run into the target and look like it, but are not of it."""
    for _ in range(int(rng.integers(1, 4))):
        thick = max(0.8, radius_mm * rng.uniform(0.08, 0.35))
        tube = _draw_tube(rng, centre_mm, (thick, 0.6 * thick), radius_mm + rng.uniform(10.0, 60.0))
        canvas.paint(tube, _Colour(hu + rng.normal(0, 25)))


def _paint_target(rng: np.random.Generator, canvas: _Canvas) -> None:
    """The object with its host, its twins and what runs into or across it."""
    plan = _pick(rng, {"organ": 1.2, "inside": 2, "fat": 1.3, "wall": 1.3, "cavity": 2.6})
    radius = _log_uniform(rng, 9.0, 42.0) if plan == "organ" else _log_uniform(rng, 3.0, 34.0)
    centre = _place(rng, float(rng.choice([15.0, 60.0])), radius)
    host = _paint_host(rng, canvas, plan, centre, radius)
    hu = _draw_target_hu(rng, plan, host.hu)
    solid = _draw_target(rng, plan, centre, radius, host)
    colour = _draw_tissue(rng, hu, (0.0, 25.0))
    if rng.random() < 0.35:
        _paint_attached(rng, canvas, centre, radius, hu)
    if rng.random() < 0.35 and radius < 20:
        _paint_twins(rng, canvas, solid, radius, colour, 0)
    if plan == "organ" and rng.random() < 0.5:
        canvas.paint(_draw_star(rng, centre, radius * rng.uniform(1.2, 1.6)), _Colour(_FAT_HU))
    canvas.paint(solid, colour, _TARGET)
    if rng.random() < 0.15:
        core = _draw_star(rng, centre, radius * rng.uniform(0.3, 0.6))
        canvas.paint(_Compound((core,), within=(solid,)), _Colour(hu + rng.choice([-1, 1], p=[0.7, 0.3]) * rng.uniform(15, 90)), _TARGET)
    if rng.random() < 0.15:
        _paint_strands(rng, canvas, _Colour(rng.uniform(30, 300)), 1)


def _draw_streaks(rng: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Streaks through one point, as beside metal or dense bone; mostly none."""
    if rng.random() < 0.85:
        return []
    row, column = rng.uniform(-80, 80, 2)
    angles = rng.uniform(0, np.pi, int(rng.integers(2, 9)))
    strengths = rng.normal(0, _log_uniform(rng, 15, 120), len(angles))
    return [
        (float(a), float(np.cos(a) * row + np.sin(a) * column), float(rng.uniform(1.5, 6)), float(s))
        for a, s in zip(angles, strengths, strict=True)
    ]


def _ct_scene(rng: np.random.Generator, canvas: _Canvas) -> _Scene:
    body = _paint_body(rng, canvas)
    _paint_surroundings(rng, canvas)
    _paint_target(rng, canvas)
    if body is not None:
        _remove_outside(canvas, body)
    # What the window cuts off must not count as contrast; the margin lets noise fall on both sides of its ends.
    np.clip(canvas.values, WINDOW_HU[0] - 30, WINDOW_HU[1] + 60, out=canvas.values)
    noise = _log_uniform(rng, 5.0, 40.0)
    return _Scene(canvas, _TARGET, 22.0, _log_uniform(rng, 0.5, 1.5), noise, _log_uniform(rng, 0.4, 2.2), _draw_streaks(rng))


def _finish_ct(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """HU to [0, 1] through a window that varies a little."""
    low, high = WINDOW_HU[0] + rng.normal(0, 25), WINDOW_HU[1] + rng.normal(0, 40)
    return _unit_range((values - np.float32(low)) * np.float32(1 / (high - low)))


_SCENES = {"shapes": _shapes_scene, "ct_like": _ct_scene}
_FINISH = {"shapes": _finish_shapes, "ct_like": _finish_ct}
