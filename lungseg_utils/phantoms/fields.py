"""Grids in mm, smooth random fields, and signed distances: the drawing tools of the phantoms.

Every shape is a signed distance in mm (positive inside) that is evaluated on voxel centres. A distance turns into the
covered fraction of a voxel by a linear ramp one voxel wide, so that the same anatomy can be sampled on any grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAR_MM = -60.0
WORLD_MM = (-220.0, 220.0)


@dataclass(frozen=True)
class Grid:
    """Number of voxels and their size in mm along x, y, z (RAS+)."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def extent_mm(self) -> np.ndarray:
        """Edge lengths (3,) of the field of view in mm."""
        return np.asarray(self.shape) * np.asarray(self.spacing_mm)

    @property
    def voxel_mm(self) -> float:
        """Edge of the cube that has a voxel's volume, in mm."""
        return float(np.prod(self.spacing_mm) ** (1 / 3))

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def affine(self, centre_mm: tuple[float, float, float]) -> np.ndarray:
        """Voxel indices to world mm (4, 4) for a field of view centred on `centre_mm`."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = np.asarray(centre_mm) - self.extent_mm / 2 + np.asarray(self.spacing_mm) / 2
        return affine

    def axes(self, centre_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """World mm of the voxel centres along x, y, z (float32)."""
        origin = self.affine(centre_mm)[:3, 3]
        return tuple((o + s * np.arange(n)).astype(np.float32) for o, s, n in zip(origin, self.spacing_mm, self.shape, strict=True))


def scaled(grid: Grid, factor: float) -> Grid:
    """The same field of view with voxels `factor` times as large (rounded to whole voxels)."""
    shape = tuple(max(8, round(n / factor)) for n in grid.shape)
    return Grid(shape, tuple(float(e / n) for e, n in zip(grid.extent_mm, shape, strict=True)))


def _spline_weights(positions: np.ndarray, count: int) -> np.ndarray:
    """Cubic B-spline weights (n, count) of lattice nodes -1, 0, ..., count - 2 at `positions` in lattice steps."""
    distance = np.abs(positions[:, None] - (np.arange(count)[None] - 1.0))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def smooth_field(rng: np.random.Generator, axes: tuple[np.ndarray, ...], scale_mm: float, world_mm: tuple[float, float]) -> np.ndarray:
    """Smooth random field of zero mean and unit SD on the outer product of `axes` (mm); float32.

    A lattice of normal numbers `scale_mm` apart spans the interval `world_mm` on every axis, so the field at a point
    depends on the seed and the point only, not on the grid. Cubic B-splines between nodes: twice differentiable.
    """
    low, high = world_mm
    count = int(np.ceil((high - low) / scale_mm)) + 4
    values = rng.standard_normal((count,) * len(axes), dtype=np.float32)
    for axis in range(len(axes) - 1, -1, -1):
        weights = _spline_weights((np.asarray(axes[axis], dtype=np.float64) - low) / scale_mm, count)
        values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    # A cubic B-spline keeps on average the share 0.479 of the variance along each axis.
    return np.ascontiguousarray(values) * np.float32(0.479 ** (-len(axes) / 2))


def multiscale_field(
    rng: np.random.Generator, axes: tuple[np.ndarray, ...], scales_mm: tuple[float, ...], world_mm: tuple[float, float], decay: float = 0.6
) -> np.ndarray:
    """Sum of smooth fields, each scale `decay` times as strong as the one before, at unit SD; float32."""
    weights = decay ** np.arange(len(scales_mm))
    weights = weights / np.sqrt((weights**2).sum())
    return sum(np.float32(w) * smooth_field(rng, axes, s, world_mm) for w, s in zip(weights, scales_mm, strict=True))


def coverage(distance_mm: np.ndarray, width_mm: float) -> np.ndarray:
    """Covered fraction of voxels `width_mm` wide whose centres lie `distance_mm` inside a surface."""
    return np.clip(distance_mm * np.float32(1.0 / width_mm) + np.float32(0.5), 0, 1)


def smooth_max(a: np.ndarray, b: np.ndarray, blend_mm: float) -> np.ndarray:
    """Union of two distances whose crease is rounded over `blend_mm`."""
    overlap = np.clip(np.float32(blend_mm) - np.abs(a - b), 0, None)
    return np.maximum(a, b) + overlap * overlap * np.float32(0.25 / blend_mm)


def ellipsoid(offset_mm: tuple[np.ndarray, np.ndarray, np.ndarray], radii_mm: tuple[float, float, float]) -> np.ndarray:
    """Approximate distance to an ellipsoid's surface, from offsets (x, y, z) to its centre."""
    scaled_sum, gradient_sum = 0.0, 0.0
    for offset, radius in zip(offset_mm, radii_mm, strict=True):
        squared = (offset * np.float32(1.0 / radius)) ** 2
        scaled_sum = scaled_sum + squared
        gradient_sum = gradient_sum + squared * np.float32(1.0 / radius**2)
    norm = np.sqrt(scaled_sum)
    return norm * (1 - norm) / np.sqrt(gradient_sum + np.float32(1e-12))


def capsule(points: tuple[np.ndarray, np.ndarray, np.ndarray], start: np.ndarray, end: np.ndarray, radius_start: float, radius_end: float):
    """Distance to a tapered capsule between two points (3,) in mm."""
    axis = (end - start).astype(np.float32)
    relative = [p - np.float32(s) for p, s in zip(points, start, strict=True)]
    length2 = float(axis @ axis) + 1e-9
    share = np.clip(sum(r * np.float32(a / length2) for r, a in zip(relative, axis, strict=True)), 0, 1)
    distance2 = sum((r - share * a) ** 2 for r, a in zip(relative, axis, strict=True))
    return np.float32(radius_start) + share * np.float32(radius_end - radius_start) - np.sqrt(distance2)


def curve(points_mm: np.ndarray, step_mm: float = 8.0) -> np.ndarray:
    """Catmull-Rom curve through control points (n, d); returns (m, d) points about `step_mm` apart (d may hold radii)."""
    points = np.asarray(points_mm, dtype=float)
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    pieces = []
    for before, a, b, after in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        count = max(2, int(np.ceil(np.linalg.norm((b - a)[:3]) / step_mm)))
        t = (np.arange(count) / count)[:, None]
        pieces.append(
            0.5 * (2 * a + (b - before) * t + (2 * before - 5 * a + 4 * b - after) * t**2 + (3 * (a - b) + after - before) * t**3)
        )
    return np.vstack([*pieces, points[-1:]])


@dataclass(frozen=True)
class Space:
    """Where the chest is drawn: world mm of the voxels, and where each lies in the standard chest.

    The standard chest is stretched to the patient's size and then warped by a smooth random field.
    """

    grid: Grid
    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    warped: tuple[np.ndarray, np.ndarray, np.ndarray]
    world_mm: tuple[float, float]
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)  # standard chest mm per patient mm

    def to_world(self, chest_mm: np.ndarray) -> np.ndarray:
        """World mm of points (..., 3) of the standard chest, the random warp left out."""
        return np.asarray(chest_mm, dtype=float) / np.asarray(self.scale)

    def box(self, low_mm: np.ndarray, high_mm: np.ndarray) -> tuple[slice, slice, slice]:
        """Voxels between two corners, as slices (possibly empty)."""
        return tuple(
            slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high, side="right")))
            for axis, low, high in zip(self.axes, low_mm, high_mm, strict=True)
        )

    def draw_tube(self, distance: np.ndarray, points_mm: np.ndarray, margin_mm: float = 8.0, warp_mm: float = 8.0) -> None:
        """Unite `distance` with a tube in place; `points_mm` (n, 4) are x, y, z, radius. Untouched beyond `margin_mm`."""
        for start, end in zip(points_mm[:-1], points_mm[1:], strict=True):
            reach = max(start[3], end[3]) + margin_mm + warp_mm
            where = self.box(self.to_world(np.minimum(start, end)[:3] - reach), self.to_world(np.maximum(start, end)[:3] + reach))
            if any(s.stop <= s.start for s in where):
                continue
            piece = capsule(tuple(w[where] for w in self.warped), start[:3], end[:3], start[3], end[3])
            np.maximum(distance[where], piece, out=distance[where])

    def draw_ellipsoid(self, distance: np.ndarray, centre_mm, radii_mm, margin_mm: float = 10.0) -> None:
        """Unite `distance` with an ellipsoid in place."""
        reach = np.asarray(radii_mm) + margin_mm + 8.0
        where = self.box(self.to_world(np.asarray(centre_mm) - reach), self.to_world(np.asarray(centre_mm) + reach))
        if any(s.stop <= s.start for s in where):
            return
        piece = ellipsoid(tuple(w[where] - np.float32(c) for w, c in zip(self.warped, centre_mm, strict=True)), radii_mm)
        np.maximum(distance[where], piece, out=distance[where])

    def empty(self) -> np.ndarray:
        """A distance far outside everything; float32 on the grid."""
        return np.full(self.grid.shape, FAR_MM, dtype=np.float32)

    def paint(self, hu: np.ndarray, distance: np.ndarray, value: float | np.ndarray) -> None:
        """Blend `value` (HU) into `hu` in place where `distance` covers voxels."""
        share = coverage(distance, self.grid.voxel_mm)
        where = share > 0
        chosen = share[where]
        target = value[where] if isinstance(value, np.ndarray) else np.float32(value)
        hu[where] += chosen * (target - hu[where])


def make_space(
    rng: np.random.Generator,
    grid: Grid,
    centre_mm: tuple[float, float, float],
    warp_mm: tuple[float, float],
    scale: tuple[float, float, float],
) -> Space:
    """A space whose warp has SD `warp_mm` (coarse, fine) at lattice steps of 55 and 22 mm, after stretching by `scale`."""
    axes = grid.axes(centre_mm)
    warped = []
    for axis in range(3):
        shift = warp_mm[0] * smooth_field(rng, axes, 55.0, WORLD_MM) + warp_mm[1] * smooth_field(rng, axes, 22.0, WORLD_MM)
        straight = axes[axis].reshape([-1 if a == axis else 1 for a in range(3)]) * np.float32(scale[axis])
        warped.append((shift + straight).astype(np.float32))
    return Space(grid, axes, tuple(warped), WORLD_MM, scale)
