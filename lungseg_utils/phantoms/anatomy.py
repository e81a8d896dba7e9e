"""One chest without tumors: body wall, ribs, spine, sternum, mediastinum with its vessels and airways, lungs, diaphragm.

Frame: world mm, RAS+, the carina near the origin (x towards the patient's right, y anterior, z superior). Sizes are those
of textbook adults, each drawn from a range, so that no two patients share a body; all are warped by a smooth random field.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .fields import Space, coverage, curve, multiscale_field, smooth_field, smooth_max
from .vessels import draw_lung_trees

CAGE_MM = (128.0, 90.0, 150.0)  # inner half width, half depth, height above CAGE_SHOULDER_Z_MM
CAGE_SHOULDER_Z_MM = -55.0  # the chest narrows above this level
RIB_PITCH_MM = 27.0
HILA_MM = {"right": (46.0, -8.0, -24.0), "left": (-48.0, -14.0, -22.0)}
# Stations of lymph nodes: right paratracheal, subcarinal, right and left hilar, aortopulmonary, upper paratracheal.
NODE_SITES_MM = ((16, -4, 26), (2, -18, -22), (38, -8, -14), (-40, -10, -16), (-16, 12, 8), (12, 0, 48))


@dataclass(frozen=True)
class Build:
    """What differs between patients, drawn before anything is drawn in voxels (mm, HU)."""

    scale: tuple[float, float, float]  # standard chest mm per patient mm, along x, y, z
    wall_mm: float
    fat_mm: float
    rib_drop_mm: float
    rib_phase: float
    dome_mm: tuple[float, float]  # top of the right and left diaphragm
    heart_scale: float
    heart_shift_mm: float
    vessel_hu: float  # contrast medium in the blood
    muscle_hu: float
    fat_hu: float
    lung_hu: float
    gradient_hu_per_mm: float
    emphysema: float


def draw_build(rng: np.random.Generator, contrast_share: float, contrast_hu: tuple[float, float]) -> Build:
    """Random build of a patient; `contrast_share` of them have contrast medium of `contrast_hu` (range) in the blood."""
    contrast = rng.uniform(*contrast_hu) if rng.random() < contrast_share else rng.uniform(35, 48)
    return Build(
        scale=tuple(float(1 / np.clip(rng.normal(1, 0.055), 0.87, 1.13)) for _ in range(3)),
        wall_mm=float(np.clip(rng.normal(15, 3), 10, 22)),
        fat_mm=float(np.clip(rng.lognormal(2.45, 0.4), 5, 28)),
        rib_drop_mm=rng.uniform(115, 150),
        rib_phase=rng.uniform(0, 1),
        dome_mm=(rng.normal(-58, 11), rng.normal(-70, 11)),
        heart_scale=rng.normal(1.0, 0.08),
        heart_shift_mm=rng.normal(0, 5),
        vessel_hu=contrast,
        muscle_hu=rng.normal(54, 6),
        fat_hu=rng.normal(-103, 6),
        lung_hu=rng.normal(-874, 18),
        gradient_hu_per_mm=rng.uniform(0.15, 0.55),
        emphysema=float(rng.random() < 0.3) * rng.uniform(0.3, 1.0),
    )


@dataclass
class Chest:
    """What was drawn: HU, and signed distances (mm, positive inside) that later steps need; all float32 on the grid."""

    space: Space
    build: Build
    hu: np.ndarray
    body_mm: np.ndarray
    cage_mm: np.ndarray
    mediastinum_mm: np.ndarray
    lung_mm: np.ndarray
    above_mm: np.ndarray  # height above the diaphragm
    organ_mm: np.ndarray  # heart, great vessels, spine: what a tumor does not grow through
    hila_mm: dict[str, np.ndarray] = field(default_factory=dict)


def _cage_distance(space: Space, half_mm: tuple[float, float, float], power: float, lean_mm: float, back_mm: float) -> np.ndarray:
    """Distance to the chest's inner (or outer) surface: a tunnel of superelliptic section under a dome that leans back."""
    half_width, half_depth, height = half_mm
    x, y, z = space.warped
    y = y + np.float32(back_mm)
    above = np.clip(z - np.float32(CAGE_SHOULDER_Z_MM), 0, None)
    y = y + np.float32(lean_mm) * (above / np.float32(height)) ** 2
    flat = (np.abs(x) / np.float32(half_width)) ** np.float32(power) + (np.abs(y) / np.float32(half_depth)) ** np.float32(power)
    shape = np.maximum(flat + (above / np.float32(height)) ** np.float32(2.6), 1e-6) ** np.float32(1 / power)
    radius = np.sqrt(x * x + y * y + above * above)
    return np.clip(radius * (1 / shape - 1), -80, 80)


def _rib_distance(space: Space, cage: np.ndarray, build: Build) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the ribs (oblique rings outside the pleura) and the position along them, 0 at the spine to 1 in front."""
    ribs, along = space.empty(), np.zeros_like(cage)
    shell = (cage > -16) & (cage < 2)
    x, y, z = (w[shell] for w in space.warped)
    share = np.arctan2(np.abs(x), -(y + 8) * 1.25) / np.float32(np.pi)
    level = (z + np.float32(build.rib_drop_mm) * share + 14 * np.sin(np.pi * share) * (z < 60)) / RIB_PITCH_MM + build.rib_phase
    offset = (level - np.floor(level) - 0.5) * RIB_PITCH_MM * 0.85
    depth = cage[shell] + 6.0
    half_height = 6.0 + 1.5 * np.cos(3 * share)
    radial = np.sqrt((depth / 4.2) ** 2 + (offset / half_height) ** 2)
    distance = (1 - radial) * 4.6
    distance[(share > 0.93) | (share < 0.09)] = -20
    ribs[shell], along[shell] = distance, share
    return ribs, along


def _draw_wall(space: Space, build: Build, rng: np.random.Generator, cage: np.ndarray, body: np.ndarray, hu: np.ndarray) -> None:
    """Subcutaneous fat, muscle layers with fat planes between them, skin."""
    strands = multiscale_field(rng, space.axes, (40.0, 18.0, 9.0), space.world_mm)
    space.paint(hu, body, np.float32(build.fat_hu) + 7 * strands)
    thickness = np.float32(build.fat_mm) * np.clip(1 + 0.45 * smooth_field(rng, space.axes, 70.0, space.world_mm), 0.25, 2.5)
    muscle = np.minimum(body - thickness, -cage + 4)
    planes = np.abs(smooth_field(rng, space.axes, 26.0, space.world_mm)) * 11 - 1.4
    planes = np.maximum(planes, 6.5 - np.abs(cage + 6))  # intercostal muscle is compact
    space.paint(hu, np.minimum(muscle, planes), np.float32(build.muscle_hu) + 6 * strands)
    space.paint(hu, np.minimum(body, 2.0 - body), 10.0)


def _draw_ribs(space: Space, build: Build, rng: np.random.Generator, cage: np.ndarray, hu: np.ndarray) -> None:
    ribs, along = _rib_distance(space, cage, build)
    cartilage = along > 0.74
    density = 60 * smooth_field(rng, space.axes, 9.0, space.world_mm)
    space.paint(hu, ribs, np.where(cartilage, np.float32(105), 620 + density).astype(np.float32))
    space.paint(hu, np.where(cartilage, -20, ribs - 2.4).astype(np.float32), (210 + density).astype(np.float32))


def _spine_distances(space: Space) -> dict[str, np.ndarray]:
    x, y, z = space.warped
    y = y + 4 - np.float32(0.0009) * (z + 10) ** 2  # kyphosis
    level = (z / 23.0 - np.floor(z / 23.0) - 0.5) * 23.0
    body = (1 - np.sqrt((x / 17) ** 2 + ((y + 52) / 14.5) ** 2)) * 15 + 0.03 * (np.abs(level) - 6) ** 2 - 1
    disc = np.abs(level) - 9.4
    canal = 7.5 - np.sqrt(x * x + (y + 73) ** 2)
    arch = np.minimum(12.5 - np.sqrt((x / 1.15) ** 2 + (y + 75) ** 2), 5.0)
    process = np.minimum(3.5 - np.abs(x), np.minimum(y + 112 + 0.4 * level, -78 - y))
    process = np.minimum(process, 8 - np.abs(level))
    across = np.minimum(np.minimum(5 - np.abs(y + 79 + 0.15 * np.abs(x)), 25 - np.abs(x)), 5 - np.abs(level - 3))
    posterior = np.maximum(np.maximum(arch, process), across)
    return {"body": body, "disc": disc, "canal": canal, "posterior": posterior}


def _draw_spine(
    space: Space, build: Build, rng: np.random.Generator, spine: dict[str, np.ndarray], cage: np.ndarray, body: np.ndarray, hu: np.ndarray
) -> None:
    grain = 45 * smooth_field(rng, space.axes, 7.0, space.world_mm) + 25 * smooth_field(rng, space.axes, 20.0, space.world_mm)
    x, y, _ = space.warped
    muscle = (1 - np.sqrt(((np.abs(x) - 25) / 22) ** 2 + ((y + 100) / 15) ** 2)) * 16 + 2 * smooth_field(
        rng, space.axes, 16.0, space.world_mm
    )
    space.paint(hu, np.minimum(np.minimum(muscle, body - 0.6 * build.fat_mm), -cage - 1), np.float32(build.muscle_hu))
    space.paint(hu, np.minimum(spine["posterior"], body - 3), (430 + 2 * grain).astype(np.float32))
    space.paint(hu, spine["body"], (470 + grain).astype(np.float32))
    space.paint(hu, spine["body"] - 2.2, np.where(spine["disc"] > 0, 95, 190 + grain).astype(np.float32))
    space.paint(hu, spine["canal"], 25.0)


def _great_vessels(build: Build, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Centre lines (n, 4: x, y, z, radius in mm) of the great vessels, jittered by patient."""
    r = float(np.clip(rng.normal(13.5, 1.5), 10.5, 17))
    arch, s = rng.normal(30, 5), build.heart_shift_mm
    aorta = [
        [2, 22, -45, r], [12, 26, -22, r * 1.1], [10, 22, 4, r * 1.08], [1, 8, arch - 5, r], [-10, -10, arch, r * 0.95],
        [-20, -30, arch - 16, r * 0.92], [-23, -38, -8, r * 0.88], [-21, -40, -50, r * 0.85], [-13, -38, -120, r * 0.8],
    ]  # fmt: skip
    vena_cava = [[24, 16, -40, 10], [25, 16, -5, 9.5], [24, 14, 28, 9], [20, 18, 52, 7.5], [30, 16, 85, 6]]
    brachiocephalic = [[20, 20, 50, 7], [-4, 28, 52, 6], [-28, 18, 80, 6]]
    trunk = [[-16 + s, 42, -42, 13], [-20, 36, -22, 13.5], [-20, 20, -8, 12.5], [-17, 8, -10, 11]]
    right_artery = [[-17, 10, -10, 11], [6, 3, -14, 10.5], [28, 1, -17, 9.5], [46, -4, -24, 7.5], [52, -10, -42, 6]]
    left_artery = [[-17, 8, -10, 11], [-32, -2, -3, 9.5], [-45, -12, -8, 8], [-52, -20, -28, 6.5]]
    right_veins = [[50, 2, -52, 5], [32, -4, -44, 6.5], [12, -6, -44, 8]]
    left_veins = [[-52, 4, -42, 5], [-36, -4, -40, 6.5], [-18, -6, -44, 8]]
    branches = [
        [[10, 14, arch, 6], [12, 8, arch + 22, 6], [26, -4, 95, 5]],
        [[-3, 4, arch + 4, 4.5], [-8, -2, arch + 28, 4.2], [-16, -4, 95, 4]],
        [[-12, -10, arch + 2, 5.5], [-20, -16, arch + 26, 5], [-32, -18, 95, 5]],
    ]
    azygos = [[9, -34, -120, 3.5], [10, -36, -20, 3.8], [14, -32, 6, 4.5], [24, 0, 14, 5], [25, 14, 12, 5]]
    lines = {
        "artery": [aorta, *branches],
        "pulmonary": [trunk, right_artery, left_artery, right_veins, left_veins],
        "vein": [vena_cava, brachiocephalic, azygos],
    }
    jitter = rng.normal(0, 1.5, 3)
    return {
        name: [curve(np.asarray(line, dtype=float) + np.array([*(jitter + rng.normal(0, 1.2, 3)), 0.0])) for line in group]
        for name, group in lines.items()
    }


def _airways(rng: np.random.Generator) -> list[np.ndarray]:
    """Centre lines (n, 4) of the lumen of trachea and bronchi."""
    r = float(np.clip(rng.normal(8.2, 0.9), 6.5, 10.5))
    trachea = [[3, 2, 110, r], [2, -4, 60, r], [1, -12, 20, r], [0, -16, 2, r]]
    right = [[0, -16, 2, r * 0.9], [14, -17, -11, 6.8], [28, -18, -20, 6.2], [38, -20, -40, 4.8], [44, -26, -62, 3.2]]
    right_upper = [[22, -17, -14, 4.8], [36, -18, -8, 4.2], [48, -18, 4, 3.0]]
    left = [[0, -16, 2, r * 0.85], [-16, -20, -14, 6.2], [-34, -23, -26, 5.6], [-44, -28, -46, 4.2], [-50, -34, -64, 3.0]]
    left_upper = [[-34, -22, -25, 4.6], [-44, -14, -16, 4.0], [-52, -8, -4, 3.0]]
    shift = [*rng.normal(0, 1.5, 3), 0.0]
    return [curve(np.asarray(line) + shift) for line in (trachea, right, right_upper, left, left_upper)]


def _heart(space: Space, build: Build) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the pericardium and to the blood in the chambers."""
    s, shift = build.heart_scale, build.heart_shift_mm
    left, right, chambers = space.empty(), space.empty(), space.empty()
    space.draw_ellipsoid(left, (-34 + shift, 20, -78), (50 * s, 46 * s, 46 * s), 40)
    space.draw_ellipsoid(right, (14 + shift, 22, -66), (40 * s, 40 * s, 42 * s), 40)
    for centre, radii in (
        ((-46, 14, -84), (25, 24, 30)), ((-18, 44, -76), (28, 15, 28)), ((26, 24, -66), (20, 22, 28)), ((-4, -10, -54), (28, 15, 16)),
    ):  # fmt: skip
        space.draw_ellipsoid(chambers, (centre[0] + shift, *centre[1:]), tuple(r * s for r in radii), 6)
    heart = smooth_max(left, right, 25.0)
    return heart, np.minimum(chambers, heart - 6)


def _mediastinum(space: Space, organs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Distance to the mediastinal pleura: organs with a coat of fat, joined in front and behind by thin septa."""
    x, y, z = space.warped
    middle = x + 4 + 3 * smooth_field(rng, space.axes, 60.0, space.world_mm)
    width = 5 + 21 * np.exp(-(((y + 8) / 30) ** 2)) + 8 * np.clip((y - 58) / 25, 0, 1) + 8 * np.clip((z - 30) / 40, 0, 1)
    width = width + 2.5 * smooth_field(rng, space.axes, 28.0, space.world_mm)
    # the coat of fat ends at the hilum, where vessels and bronchi enter the lung bare
    coat = (
        4.5
        - 8 * np.clip((np.abs(middle) - 34) / 22, 0, 1) * (z > -48) * (y < 14)
        + 1.5 * smooth_field(rng, space.axes, 35.0, space.world_mm)
    )
    return smooth_max(width - np.abs(middle), organs + coat, 12.0).astype(np.float32)


def _diaphragm(space: Space, build: Build, rng: np.random.Generator) -> np.ndarray:
    """Height (mm) above the two domes of the diaphragm; deep sulci at the wall, deepest behind."""
    x, y, _ = space.warped
    z = space.axes[2].reshape(1, 1, -1)
    right = build.dome_mm[0] - 0.0042 * (x - 62) ** 2 - 0.0070 * (y - 16) ** 2
    left = build.dome_mm[1] - 0.0042 * (x + 62) ** 2 - 0.0075 * (y - 18) ** 2
    dome = smooth_max(right, left, 20.0) + 3 * smooth_field(rng, space.axes[:2], 40.0, space.world_mm)[..., None]
    slope = 1.0 / np.sqrt(1.0 + 0.00012 * ((np.abs(x) - 62) ** 2 + (y - 16) ** 2))
    return ((z - dome) * slope).astype(np.float32)


def _draw_abdomen(space: Space, build: Build, rng: np.random.Generator, cage: np.ndarray, above: np.ndarray, hu: np.ndarray) -> None:
    """Liver on the right, stomach with gas and spleen on the left, fat between."""
    x, y, _ = space.warped
    inside = np.minimum(cage, -above)
    texture = 7 * multiscale_field(rng, space.axes, (30.0, 10.0), space.world_mm)
    space.paint(hu, inside, np.float32(build.fat_hu) + texture)
    enhancement = 0.35 * (build.vessel_hu - 40)
    wave = 9 * smooth_field(rng, space.axes, 45.0, space.world_mm)
    space.paint(hu, np.minimum(inside, x + 18 + wave), 58 + enhancement + texture)
    spleen, stomach = space.empty(), space.empty()
    space.draw_ellipsoid(spleen, (-84, -42, -112), (34, 42, 52), 20)
    space.draw_ellipsoid(stomach, (-50, 34, -112), (46, 44, 48), 20)
    space.paint(hu, np.minimum(spleen + wave / 3, inside - 2), 52 + 1.2 * enhancement + texture)
    stomach = np.minimum(stomach + wave / 3, inside - 4)
    space.paint(hu, stomach, 35 + texture)
    space.paint(hu, np.minimum(stomach - 4, y - rng.uniform(20, 55)), -985.0)
    space.paint(hu, np.minimum(np.minimum(cage, 1.5 - np.abs(above + 1.5)), 40), np.float32(build.muscle_hu))


def _lung_hu(space: Space, build: Build, rng: np.random.Generator) -> np.ndarray:
    """Parenchyma: gravity gradient, patchy perfusion, fine texture, emphysema in some, fissures."""
    x, y, z = space.warped
    hu = np.float32(build.lung_hu) - np.float32(build.gradient_hu_per_mm) * (space.axes[1].reshape(1, -1, 1) - 5)
    hu = (
        hu
        + 11 * multiscale_field(rng, space.axes, (45.0, 20.0), space.world_mm)
        + 13 * multiscale_field(rng, space.axes, (8.0, 4.5), space.world_mm, 0.9)
    )
    if build.emphysema:
        holes = np.clip(multiscale_field(rng, space.axes, (14.0, 7.0), space.world_mm) - 0.5, 0, 1)
        hu = hu - np.float32(75 * build.emphysema) * holes
    oblique = z + 20 + 0.85 * y + 7 * smooth_field(rng, space.axes[:2], 45.0, space.world_mm)[..., None]
    horizontal = np.where(oblique > 0, z + 14 + 0.05 * y + 5 * smooth_field(rng, space.axes[:2], 40.0, space.world_mm)[..., None], 99)
    nearest = np.minimum(np.abs(oblique) * np.float32(0.76), np.where(x > 0, np.abs(horizontal), 99))
    fissure = np.clip(np.float32(0.9) / np.float32(space.grid.voxel_mm), 0, 1) * coverage(
        0.5 * space.grid.voxel_mm - nearest, space.grid.voxel_mm
    )
    return np.clip(hu + 200 * fissure, -985, None).astype(np.float32)


def _draw_mediastinum(
    space: Space, build: Build, rng: np.random.Generator, parts: dict[str, np.ndarray], region: np.ndarray, hu: np.ndarray
) -> None:
    strands = smooth_field(rng, space.axes, 7.0, space.world_mm)
    fat = np.float32(build.fat_hu) + 6 * strands + 95 * np.clip(strands - 1.1, 0, 1)
    space.paint(hu, region, fat.astype(np.float32))
    blood = build.vessel_hu
    texture = 5 * smooth_field(rng, space.axes, 14.0, space.world_mm)
    space.paint(hu, parts["heart"] - 2.0, (50 + 0.45 * (blood - 40) + texture).astype(np.float32))
    space.paint(hu, parts["chambers"], (blood + texture).astype(np.float32))
    space.paint(hu, parts["pulmonary"], np.float32(blood * rng.uniform(0.85, 1.1)))
    space.paint(hu, parts["vein"], np.float32(blood * rng.uniform(0.7, 1.2)))
    space.paint(hu, parts["artery"], np.float32(blood))
    if rng.random() < 0.5:  # calcified plaques of the aortic wall
        plaque = np.minimum(2.0 - np.abs(parts["artery"] - 1.0), 3 * smooth_field(rng, space.axes, 9.0, space.world_mm) - 5.5)
        space.paint(hu, plaque, 550.0)
    space.paint(hu, parts["esophagus"], np.float32(build.muscle_hu - 8))
    space.paint(hu, parts["esophagus_air"], -820.0)


def _draw_front(space: Space, build: Build, rng: np.random.Generator, cage: np.ndarray, hu: np.ndarray) -> None:
    """Bones in the wall: sternum, shoulder blades, collar bones."""
    x, y, z = space.warped
    half_width = 14 + 5 * np.clip(z / 60, -0.5, 1)
    sternum = np.minimum(np.minimum(half_width - np.abs(x), 5.5 - np.abs(cage + 7)), np.where(y > 0, 20, -20)).astype(np.float32)
    grain = 50 * smooth_field(rng, space.axes, 6.0, space.world_mm)
    space.paint(hu, sternum, (400 + grain).astype(np.float32))
    space.paint(hu, sternum - 2.0, (130 + grain).astype(np.float32))
    share = np.arctan2(np.abs(x), -y) / np.float32(np.pi)
    blade = np.minimum(2.6 - np.abs(cage + 15 + 30 * (share - 0.3) + 2 * np.sin(z / 11)), 130 * (0.13 - np.abs(share - 0.31 - 0.0006 * z)))
    blade = np.minimum(blade, np.minimum(z + 18, 90 - z))
    space.paint(hu, blade.astype(np.float32), (380 + grain).astype(np.float32))
    clavicle = space.empty()
    for side in (-1, 1):
        line = [[side * 20, 52, 66, 6.5], [side * 60, 62, 74, 5.5], [side * 105, 38, 84, 5.5], [side * 140, 20, 92, 7]]
        space.draw_tube(clavicle, curve(np.array(line, dtype=float)))
    space.paint(hu, clavicle, (520 + grain).astype(np.float32))
    space.paint(hu, clavicle - 2.2, (190 + grain).astype(np.float32))


def _organs(space: Space, build: Build, rng: np.random.Generator) -> dict[str, np.ndarray]:
    heart, chambers = _heart(space, build)
    parts = {"heart": heart, "chambers": chambers}
    for name, lines in _great_vessels(build, rng).items():
        parts[name] = space.empty()
        for line in lines:
            space.draw_tube(parts[name], line)
    parts["airway"] = space.empty()
    for line in _airways(rng):
        space.draw_tube(parts["airway"], line)
    esophagus = curve(
        np.array([[-2, -18, 110, 6], [-4, -22, 40, 6.5], [-5, -32, -10, 6.5], [-8, -33, -60, 7], [-14, -22, -120, 7.5]])
        + np.array([rng.normal(0, 2), rng.normal(0, 1.5), 0, 0])
    )
    parts["esophagus"], parts["esophagus_air"] = space.empty(), space.empty()
    space.draw_tube(parts["esophagus"], esophagus)
    gas = esophagus.copy()
    gas[:, 3] = rng.uniform(0.0, 4.0, len(gas))  # swallowed air, here more and there less
    space.draw_tube(parts["esophagus_air"], gas)
    return parts


def _draw_couch(space: Space, build: Build, body: np.ndarray, hu: np.ndarray) -> None:
    """The shell of the table, below the back."""
    x, y = space.axes[0][:, None, None], space.axes[1][None, :, None]
    top = -(CAGE_MM[1] + build.wall_mm + build.fat_mm + 22) / build.scale[1] + 0.0012 * x**2
    space.paint(hu, np.minimum(2.2 - np.abs(y - top), -1 - body), -300.0)


def draw_chest(space: Space, build: Build, rng: np.random.Generator, couch: bool) -> Chest:
    """Draw a whole chest; returns its HU before lesions, blur and noise."""
    half_width, half_depth, _ = CAGE_MM
    cage = _cage_distance(space, CAGE_MM, 2.35, 16.0, 0.0)
    outer = (half_width + build.wall_mm + build.fat_mm, half_depth + 0.9 * build.wall_mm + 0.7 * build.fat_mm + 8, 340.0)
    body = _cage_distance(space, outer, 2.6, 0.0, 8.0)
    above = _diaphragm(space, build, rng)
    parts = _organs(space, build, rng)
    spine = _spine_distances(space)
    organs = np.maximum.reduce([parts[n] for n in ("heart", "artery", "pulmonary", "vein", "airway")])
    solid = np.maximum.reduce([organs, parts["esophagus"], spine["body"] - 2])
    region = np.minimum(_mediastinum(space, solid, rng), cage)
    hu = np.full(space.grid.shape, -1000, dtype=np.float32)
    _draw_wall(space, build, rng, cage, body, hu)
    _draw_ribs(space, build, rng, cage, hu)
    _draw_front(space, build, rng, cage, hu)
    _draw_abdomen(space, build, rng, cage, above, hu)
    _draw_mediastinum(space, build, rng, parts, np.minimum(region, above + 10), hu)
    lung = np.minimum(np.minimum(cage, -region), above).astype(np.float32)
    space.paint(hu, lung, _lung_hu(space, build, rng))
    _draw_spine(space, build, rng, spine, cage, body, hu)
    space.paint(hu, parts["airway"] + 1.6, 20.0)
    space.paint(hu, parts["airway"], -985.0)
    if couch:
        _draw_couch(space, build, body, hu)
    chest = Chest(space, build, hu, body, cage, region, lung, above, np.maximum(organs, spine["body"]))
    chest.hila_mm = {side: space.to_world(np.array(point)) for side, point in HILA_MM.items()}
    draw_lung_trees(chest, rng)
    return chest
