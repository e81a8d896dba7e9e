"""Tumors and what looks like them: shapes, densities, the reader's outline, nodes, benign nodules, collapsed lung.

A tumor is a level set: lobes blended together, roughened on several scales, kept within what it may invade, its level
chosen so that the volume is as planned. The reference is what a reader draws: the surface smoothed, displaced by a smooth
random error about 1 mm strong and by a separate error in each slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from .anatomy import NODE_SITES_MM, Chest
from .fields import FAR_MM, coverage, multiscale_field, smooth_field, smooth_max

CONTACTS = ("isolated", "pleural", "mediastinal")
SOLIDITIES = ("solid", "part_solid", "necrotic", "cavitary")
READER_SMOOTH_SD_MM = 0.7
READER_SLICE_SD_MM = 0.8


@dataclass(frozen=True)
class LesionPlan:
    """What is wanted of a tumor before the anatomy has its say."""

    volume_ml: float
    contact: str
    solidity: str
    atelectasis: bool
    spicules: int


@dataclass
class Lesion:
    """A tumor in place: distances (mm, positive inside) on the patient's grid, of the true and of the drawn surface."""

    plan: LesionPlan
    contact: str
    centre_mm: np.ndarray
    true_mm: np.ndarray
    drawn_mm: np.ndarray


@dataclass
class Burden:
    """All that was put into one chest."""

    tumors: list[Lesion] = field(default_factory=list)
    nodes_mm: list[np.ndarray] = field(default_factory=list)
    benign_centres_mm: list[np.ndarray] = field(default_factory=list)
    confounder_mm: np.ndarray | None = None  # atelectasis and benign nodules, for tests
    atelectasis: bool = False


@dataclass(frozen=True)
class _Crop:
    """A box of the grid, and the same box with voxels divided by `factor`."""

    where: tuple[slice, slice, slice]
    axes: tuple[np.ndarray, ...]
    fine_axes: tuple[np.ndarray, ...]
    factor: tuple[int, int, int]

    def average(self, fine: np.ndarray) -> np.ndarray:
        """Mean over the fine voxels in each voxel of the grid."""
        fx, fy, fz = self.factor
        nx, ny, nz = (n // f for n, f in zip(fine.shape, self.factor, strict=True))
        return fine.reshape(nx, fx, ny, fy, nz, fz).mean((1, 3, 5))


def _crop(chest: Chest, centre_mm: np.ndarray, reach_mm: float, fine_mm: float) -> _Crop:
    space = chest.space
    where = space.box(centre_mm - reach_mm, centre_mm + reach_mm)
    factor = tuple(max(1, round(s / fine_mm)) for s in space.grid.spacing_mm)
    axes = tuple(axis[s] for axis, s in zip(space.axes, where, strict=True))
    fine = tuple(
        (a[:, None] + s * ((np.arange(f) + 0.5) / f - 0.5)).ravel().astype(np.float32)
        for a, s, f in zip(axes, space.grid.spacing_mm, factor, strict=True)
    )
    return _Crop(where, axes, fine, factor)


def _refine(values: np.ndarray, crop: _Crop) -> np.ndarray:
    """Linear interpolation of values on the crop to its fine grid."""
    for axis, factor in enumerate(crop.factor):
        if factor > 1:
            count = values.shape[axis]
            position = np.clip((np.arange(count * factor) + 0.5) / factor - 0.5, 0, count - 1)
            low = np.minimum(position.astype(int), max(count - 2, 0))
            share = (position - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
            high = np.minimum(low + 1, count - 1)
            values = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return values


def _offsets(axes: Sequence[np.ndarray], centre_mm: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(
        (axis - np.float32(c)).reshape([-1 if a == i else 1 for a in range(3)])
        for i, (axis, c) in enumerate(zip(axes, centre_mm, strict=True))
    )


def _lobes(rng: np.random.Generator, axes: Sequence[np.ndarray], centre_mm: np.ndarray, radius_mm: float) -> np.ndarray:
    """Two to seven blended balls around the centre, squeezed along a random axis."""
    direction = rng.normal(size=(3, 3))
    basis, _ = np.linalg.qr(direction)
    stretch = np.exp(rng.normal(0, 0.25, 3))
    stretch /= stretch.prod() ** (1 / 3)
    offset = _offsets(axes, centre_mm)
    local = [sum(np.float32(basis[i, a] / stretch[a]) * offset[i] for i in range(3)) for a in range(3)]
    count = int(rng.integers(2, 8))
    distance = None
    for index in range(count):
        place = rng.normal(0, 0.42 if index else 0.05, 3) * radius_mm
        size = radius_mm * (rng.uniform(0.35, 0.75) if index else rng.uniform(0.6, 0.9))
        ball = np.float32(size) - np.sqrt(sum((x - np.float32(p)) ** 2 for x, p in zip(local, place, strict=True)))
        distance = ball if distance is None else smooth_max(distance, ball, 0.3 * radius_mm)
    return distance


def _rough(rng: np.random.Generator, axes: Sequence[np.ndarray], radius_mm: float, chest: Chest) -> np.ndarray:
    """Roughness (mm) of a surface on scales from half its radius down to 3 mm."""
    strength = rng.uniform(0.12, 0.26) * radius_mm
    scales = tuple(max(3.0, radius_mm * s) for s in (0.9, 0.45, 0.25))
    return np.float32(strength) * multiscale_field(rng, axes, scales, chest.space.world_mm, 0.6)


def _largest_part(field_mm: np.ndarray, keep_share: float = 0.3) -> np.ndarray:
    """Push parts of {field > 0} smaller than `keep_share` of the largest below zero; faces connect."""
    labels, count = ndimage.label(field_mm > 0)
    if count <= 1:
        return field_mm
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    small = (sizes < keep_share * sizes.max())[labels] & (labels > 0)
    return np.where(small, np.float32(-1.0), field_mm)


def _allowed(chest: Chest, where: tuple[slice, slice, slice], centre_mm: np.ndarray, contact: str, rng: np.random.Generator) -> np.ndarray:
    """Distance inside what a tumor may fill: its lung, a little of the wall or of mediastinal fat, no organ."""
    wall = rng.choice([0.0, 1.0, 5.0], p=[0.55, 0.3, 0.15]) if contact == "pleural" else 0.0
    fat = rng.uniform(1.0, 9.0) if contact == "mediastinal" else 0.0
    inside = np.minimum(chest.cage_mm[where] + np.float32(wall), np.float32(fat) - chest.mediastinum_mm[where])
    inside = np.minimum(inside, -chest.organ_mm[where] - 0.5)
    inside = np.minimum(inside, (chest.space.warped[0][where] + 4) * np.float32(np.sign(centre_mm[0]) or 1.0))
    return np.minimum(inside, chest.above_mm[where])


def _site(chest: Chest, plan: LesionPlan, taken: list[tuple[np.ndarray, float]], rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Centre (mm) of a tumor of the planned volume and contact; if none fits, the roomiest place of the lung."""
    radius = (3 * plan.volume_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    space = chest.space
    step = tuple(slice(None, None, 2) for _ in range(3))
    offset = np.stack([w.ravel() for w in np.meshgrid(*[a[::2] for a in space.axes], indexing="ij")], 1)
    lung, wall, middle = chest.lung_mm[step].ravel(), chest.cage_mm[step].ravel(), -chest.mediastinum_mm[step].ravel()
    low, high = (np.array([a[i] for a in space.axes]) for i in (0, -1))
    room = np.minimum(offset - low, high - offset).min(1) > min(1.25 * radius + 4, 32)
    for centre, reach in taken:
        room &= np.linalg.norm(offset - centre, axis=1) > reach + 1.3 * radius + 8
    near, far = 0.15 * radius, 0.75 * radius
    fits = {
        "isolated": lung > 1.25 * radius + 3,
        "pleural": (wall > near) & (wall < far) & (middle > radius) & (lung > near),
        "mediastinal": (middle > near) & (middle < far) & (lung > near),
    }[plan.contact]
    pool = np.flatnonzero(fits & room)
    if pool.size:
        return offset[rng.choice(pool)].astype(float), plan.contact
    score = np.where(room & (lung > 1), np.minimum(lung, 0.8 * radius) + rng.uniform(0, 4, lung.size), -1)
    centre = offset[int(score.argmax())].astype(float)
    return centre, "mediastinal" if middle[int(score.argmax())] < wall[int(score.argmax())] else "pleural"


def _shape(chest: Chest, crop: _Crop, centre: np.ndarray, contact: str, plan: LesionPlan, rng: np.random.Generator) -> np.ndarray:
    """The tumor's level set on the crop's fine grid, about mm, positive inside, with the planned volume if there is room."""
    radius = (3 * plan.volume_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    fine = _lobes(rng, crop.fine_axes, centre, radius) + _rough(rng, crop.fine_axes, radius, chest)
    allowed = _refine(_allowed(chest, crop.where, centre, contact, rng), crop)
    voxel_ml = chest.space.grid.voxel_ml / np.prod(crop.factor)
    inside = fine[allowed > 0]
    wanted = round(plan.volume_ml / voxel_ml)
    wanted = min(wanted, int(0.8 * inside.size))
    if wanted < 1:
        return np.full(fine.shape, -5, dtype=np.float32)
    level = np.partition(inside, inside.size - wanted)[inside.size - wanted]
    return _largest_part(np.minimum(fine - level, allowed))


def _drawn(chest: Chest, crop: _Crop, fine: np.ndarray, radius_mm: float, rng: np.random.Generator) -> np.ndarray:
    """The reader's outline on the crop's grid: smoothed in the slice, displaced smoothly, and anew in each slice."""
    spacing = [s / f for s, f in zip(chest.space.grid.spacing_mm, crop.factor, strict=True)]
    smoothed = ndimage.gaussian_filter(np.clip(fine, -8, 8), [1.3 / spacing[0], 1.3 / spacing[1], 0], truncate=2.5)
    calm = np.float32(np.clip(radius_mm / 8.0, 0.35, 1.0))
    smoothed = crop.average(smoothed) + calm * READER_SMOOTH_SD_MM * smooth_field(rng, crop.axes, 14.0, chest.space.world_mm)
    for k in range(smoothed.shape[2]):
        smoothed[:, :, k] += calm * READER_SLICE_SD_MM * smooth_field(rng, crop.axes[:2], 11.0, chest.space.world_mm)
    return _largest_part(smoothed)


def _tumor_hu(chest: Chest, plan: LesionPlan, crop: _Crop, true_mm: np.ndarray, radius_mm: float, rng: np.random.Generator) -> np.ndarray:
    """HU inside the tumor on the crop's grid: texture, enhancement, and by kind a ground-glass coat, a dead or empty core."""
    solid = float(np.clip(rng.normal(38, 11), 14, 72)) + 0.22 * (chest.build.vessel_hu - 40) * rng.uniform(0.3, 1.0)
    texture = multiscale_field(rng, crop.axes, (max(6.0, 0.5 * radius_mm), 6.0), chest.space.world_mm, 0.7)
    hu = np.float32(solid) + np.float32(rng.uniform(5, 13)) * texture
    blob = true_mm - 0.45 * radius_mm + 0.16 * radius_mm * texture
    if plan.solidity == "necrotic":
        hu = hu + coverage(blob + 0.15 * radius_mm, 3.0) * (rng.uniform(-2, 18) - hu)
    elif plan.solidity == "cavitary":
        hu = hu + coverage(blob + 0.1 * radius_mm, 2.0) * (-950 - hu)
    elif plan.solidity == "part_solid":
        glass = rng.uniform(-640, -380) + 60 * texture
        hu = glass + coverage(blob + rng.uniform(0.0, 0.3) * radius_mm, 3.5) * (hu - glass)
    return hu.astype(np.float32)


def _spicules(chest: Chest, crop: _Crop, centre: np.ndarray, radius_mm: float, plan: LesionPlan, rng: np.random.Generator) -> np.ndarray:
    """Covered fraction of thin strands that run from the tumor into the lung; on the crop's grid."""
    result = np.zeros(tuple(len(a) for a in crop.axes), dtype=np.float32)
    offset = _offsets(crop.axes, centre)
    for _ in range(plan.spicules):
        way = rng.normal(size=3)
        way /= np.linalg.norm(way)
        reach = radius_mm * rng.uniform(1.25, 1.75) + rng.uniform(2, 7)
        along = sum(np.float32(w) * o for w, o in zip(way, offset, strict=True))
        across2 = np.clip(sum(o * o for o in offset) - along * along, 0, None)
        width = rng.uniform(0.5, 1.0) * np.clip(1.15 - along / np.float32(reach), 0, 1)
        half = max(0.5 * chest.space.grid.voxel_mm, 0.5)
        share = np.clip((width / half) ** 2, 0, 1) * np.exp(-0.5 * across2 / half**2)
        np.maximum(result, np.where((along > 0) & (along < reach), share, 0), out=result)
    return result


def add_tumor(chest: Chest, plan: LesionPlan, burden: Burden, outward_mm: float, rng: np.random.Generator) -> None:
    """Place, shape, paint and outline one tumor; changes `chest.hu` and `burden` in place."""
    radius = (3 * plan.volume_ml * 1000 / (4 * np.pi)) ** (1 / 3)
    taken = [(t.centre_mm, (3 * t.plan.volume_ml * 1000 / (4 * np.pi)) ** (1 / 3)) for t in burden.tumors]
    centre, contact = _site(chest, plan, taken, rng)
    crop = _crop(chest, centre, 1.9 * radius + 12, float(np.clip(radius / 14, 0.7, 1.6)))
    fine = _shape(chest, crop, centre, contact, plan, rng)
    true_mm = crop.average(fine)
    drawn = _drawn(chest, crop, fine + np.float32(outward_mm), radius, rng)
    contact = _contact(chest, crop, true_mm)
    if plan.atelectasis:
        _add_atelectasis(chest, crop, centre, radius, true_mm, burden, rng)
    hu = _tumor_hu(chest, plan, crop, true_mm, radius, rng)
    fine_mm = float(np.mean([s / f for s, f in zip(chest.space.grid.spacing_mm, crop.factor, strict=True)]))
    share = crop.average(coverage(fine, fine_mm))
    target = chest.hu[crop.where]
    if plan.spicules:
        lung = coverage(chest.lung_mm[crop.where], 2.0)
        strands = _spicules(chest, crop, centre, radius, plan, rng) * lung * (target < -300)
        target += strands * (10 - target)
    target += share * (hu - target)
    burden.tumors.append(Lesion(plan, contact, centre, _whole(chest, crop, true_mm), _whole(chest, crop, drawn)))


def _contact(chest: Chest, crop: _Crop, true_mm: np.ndarray, touch_mm: float = 2.5, share: float = 0.04) -> str:
    """What the finished tumor's surface touches with at least `share` of it: mediastinum, then pleura, else nothing."""
    surface = np.abs(true_mm) < 0.75 * chest.space.grid.voxel_mm
    if not surface.any():
        return "isolated"
    if (chest.mediastinum_mm[crop.where][surface] > -touch_mm).mean() >= share:
        return "mediastinal"
    wall = np.minimum(chest.cage_mm[crop.where], chest.above_mm[crop.where])[surface]
    return "pleural" if (wall < touch_mm).mean() >= share else "isolated"


def _whole(chest: Chest, crop: _Crop, values: np.ndarray) -> np.ndarray:
    result = np.full(chest.space.grid.shape, FAR_MM, dtype=np.float32)
    result[crop.where] = values
    return result


def _add_atelectasis(
    chest: Chest, crop: _Crop, centre: np.ndarray, radius: float, true_mm: np.ndarray, burden: Burden, rng: np.random.Generator
) -> None:
    """Collapsed lung that fans out from the tumor away from the hilum, about as dense as the tumor itself."""
    hilum = chest.hila_mm["right" if centre[0] > 0 else "left"]
    away = centre - hilum
    away = away / (np.linalg.norm(away) + 1e-6) + rng.normal(0, 0.25, 3)
    away /= np.linalg.norm(away)
    offset = _offsets(crop.axes, centre)
    along = sum(np.float32(w) * o for w, o in zip(away, offset, strict=True))
    across = np.sqrt(np.clip(sum(o * o for o in offset) - along * along, 0, None))
    wedge = np.float32(0.55 * radius + 3) + np.float32(rng.uniform(0.15, 0.45)) * along - across
    wedge = np.minimum(wedge, np.minimum(along + 0.2 * radius, 1.45 * radius + 9 - along))
    wedge = wedge + 3.0 * multiscale_field(rng, crop.axes, (14.0, 7.0), chest.space.world_mm)
    inside = np.minimum(wedge, chest.lung_mm[crop.where])
    density = rng.normal(38, 8) + 0.5 * (chest.build.vessel_hu - 40) * rng.uniform(0.4, 1.0)
    strands = multiscale_field(rng, crop.axes, (9.0, 5.0), chest.space.world_mm)
    value = density + 9 * strands - rng.uniform(50, 350) * np.clip(strands - 1.0, 0, 1)
    share = coverage(inside, chest.space.grid.voxel_mm)
    target = chest.hu[crop.where]
    target += share * (value.astype(np.float32) - target)
    _note_confounder(chest, burden, _whole(chest, crop, np.minimum(inside, -true_mm)))
    burden.atelectasis = True


def _note_confounder(chest: Chest, burden: Burden, distance: np.ndarray) -> None:
    burden.confounder_mm = distance if burden.confounder_mm is None else np.maximum(burden.confounder_mm, distance)


def add_nodes(chest: Chest, count: int, burden: Burden, rng: np.random.Generator) -> None:
    """Enlarged lymph nodes at mediastinal and hilar stations, as dense as a tumor."""
    order = rng.permutation(len(NODE_SITES_MM))[:count]
    for index in order:
        centre = np.array(NODE_SITES_MM[index]) + rng.normal(0, 3, 3)
        radii = rng.uniform(5.5, 10.5) * np.exp(rng.normal(0, 0.2, 3))
        distance = chest.space.empty()
        chest.space.draw_ellipsoid(distance, centre, tuple(radii), 4)
        distance = np.minimum(distance + 0.8 * smooth_field(rng, chest.space.axes, 9.0, chest.space.world_mm), -chest.organ_mm - 0.3)
        if (distance > 0).sum() * chest.space.grid.voxel_ml < 0.15:
            continue
        chest.space.paint(chest.hu, distance, float(rng.normal(42, 9) + 0.2 * (chest.build.vessel_hu - 40)))
        burden.nodes_mm.append(distance)


def add_benign(chest: Chest, count: int, burden: Burden, rng: np.random.Generator) -> None:
    """Small smooth nodules, some calcified, that are no tumors."""
    for _ in range(count):
        pool = np.flatnonzero(chest.lung_mm > 6)
        if not pool.size:
            return
        index = np.unravel_index(int(rng.choice(pool)), chest.lung_mm.shape)
        centre = np.array([axis[i] for axis, i in zip(chest.space.axes, index, strict=True)], dtype=float)
        if any(np.linalg.norm(centre - t.centre_mm) < 25 + (t.plan.volume_ml * 239) ** (1 / 3) for t in burden.tumors):
            continue
        distance = chest.space.empty()
        radius = rng.uniform(2.2, 5.0)
        place = np.array([w[index] for w in chest.space.warped])
        chest.space.draw_ellipsoid(distance, place, tuple(radius * np.exp(rng.normal(0, 0.1, 3))), 4)
        value = rng.uniform(180, 700) if rng.random() < 0.4 else rng.normal(35, 15)
        chest.space.paint(chest.hu, distance, float(value))
        burden.benign_centres_mm.append(centre)
        _note_confounder(chest, burden, distance)
