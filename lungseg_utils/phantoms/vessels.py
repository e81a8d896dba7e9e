"""Branching trees of the lungs: arteries and veins tapering to the periphery, bronchi with walls beside the arteries.

A tree is grown by linking random points of the lung, nearest to the hilum first, to the node that makes the way to the
hilum short; radii follow Murray's law (the cube of a radius is the sum of its branches' cubes). Thin branches are laid
down as the volume that they fill, so that a vessel below the voxel size keeps its brightness on every grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fields import coverage

TREE_SEEDS = {"artery": 1300, "vein": 900, "airway": 60}
END_RADIUS_MM = {"artery": 0.55, "vein": 0.55, "airway": 0.75}
MURRAY_EXPONENT = 2.75
DETOUR = 0.35


@dataclass(frozen=True)
class Tree:
    """Edges from each node to its parent: points (n, 3) in mm, parent index (n,), radius (n,) in mm."""

    points_mm: np.ndarray
    parent: np.ndarray
    radius_mm: np.ndarray


def grow_tree(root_mm: np.ndarray, targets_mm: np.ndarray, end_radius_mm: float) -> Tree:
    """Link targets (n, 3) to a tree rooted at `root_mm`."""
    order = np.argsort(np.linalg.norm(targets_mm - root_mm, axis=1), kind="stable")
    points = np.vstack([root_mm[None], targets_mm[order]]).astype(np.float32)
    count = len(points)
    parent, path = np.zeros(count, dtype=int), np.zeros(count, dtype=np.float32)
    for i in range(1, count):
        distance = np.sqrt(((points[:i] - points[i]) ** 2).sum(1))
        cost = distance + DETOUR * path[:i]
        parent[i] = int(cost.argmin())
        path[i] = path[parent[i]] + distance[parent[i]]
    ends = np.zeros(count)
    for i in range(count - 1, 0, -1):
        ends[i] = max(ends[i], 1.0)
        ends[parent[i]] += ends[i]
    return Tree(points, parent, end_radius_mm * np.maximum(ends, 1) ** (1 / MURRAY_EXPONENT))


def _edge_samples(tree: Tree, step_mm: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (m, 3), radii (m,) and lengths (m,) along all edges; edges bend a little."""
    start, end = tree.points_mm[tree.parent[1:]], tree.points_mm[1:]
    length = np.linalg.norm(end - start, axis=1)
    pieces = np.maximum(1, np.ceil(length / step_mm)).astype(int)
    edge = np.repeat(np.arange(len(pieces)), pieces)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 0.5) / pieces[edge]
    bend = rng.normal(0, 0.09, (len(length), 3)) * length[:, None]
    points = start[edge] + share[:, None] * (end - start)[edge] + (4 * share * (1 - share))[:, None] * bend[edge]
    radius_end = tree.radius_mm[1:]
    radius_start = np.minimum(tree.radius_mm[tree.parent[1:]], radius_end * 1.35)
    radius = radius_start[edge] * (1 - share) + radius_end[edge] * share
    return points, radius, length[edge] / pieces[edge]


def _deposit(space, points: np.ndarray, volume_mm3: np.ndarray, spread_mm: np.ndarray) -> np.ndarray:
    """Fraction of each voxel filled by `volume_mm3` laid down at points, shared between the eight voxels around."""
    shape = space.grid.shape
    origin = np.array([axis[0] for axis in space.axes])
    position = (points - origin) / np.asarray(space.grid.spacing_mm)
    low = np.floor(position).astype(int)
    share = position - low
    filled = np.zeros(int(np.prod(shape)))
    for corner in np.ndindex(2, 2, 2):
        index = low + corner
        weight = np.prod(np.where(np.array(corner) == 1, share, 1 - share), axis=1) * volume_mm3
        inside = ((index >= 0) & (index < shape)).all(1)
        flat = np.ravel_multi_index(tuple(index[inside].T), shape)
        filled += np.bincount(flat, weights=weight[inside], minlength=filled.size)
    return (filled / np.prod(space.grid.spacing_mm)).reshape(shape).astype(np.float32)


def _tube_fraction(space, tree: Tree, rng: np.random.Generator, grow_mm: float = 0.0) -> np.ndarray:
    """Fraction of each voxel inside the tree's branches (radii grown by `grow_mm`); float32 on the grid."""
    thick_mm = 0.75 * space.grid.voxel_mm
    points, radius, length = _edge_samples(tree, 0.5 * space.grid.voxel_mm, rng)
    radius = radius + grow_mm
    thin = radius < thick_mm
    fraction = _deposit(space, points[thin], np.pi * radius[thin] ** 2 * length[thin], radius[thin])
    distance = space.empty()
    for centre, r in zip(points[~thin][::2], radius[~thin][::2], strict=True):
        where = space.box(centre - r - 3, centre + r + 3)
        offsets = [
            (axis[s] - c).reshape([-1 if a == i else 1 for a in range(3)])
            for i, (axis, s, c) in enumerate(zip(space.axes, where, centre, strict=True))
        ]
        if all(o.size for o in offsets):
            ball = np.float32(r) - np.sqrt(offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2).astype(np.float32)
            np.maximum(distance[where], ball, out=distance[where])
    return np.clip(np.maximum(fraction, coverage(distance, space.grid.voxel_mm)), 0, 1)


def _targets(chest, side: int, count: int, margin_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Random points (count, 3) inside one lung, at least `margin_mm` from its surface."""
    inside = (chest.lung_mm > margin_mm) & ((chest.space.warped[0] > 0) == (side > 0))
    index = np.flatnonzero(inside)
    if not index.size:
        return np.zeros((0, 3))
    chosen = np.stack(np.unravel_index(rng.choice(index, count), inside.shape), 1)
    low = np.array([axis[0] for axis in chest.space.axes])
    return low + (chosen + rng.uniform(-0.5, 0.5, chosen.shape)) * np.asarray(chest.space.grid.spacing_mm)


def draw_lung_trees(chest, rng: np.random.Generator) -> None:
    """Paint arteries, veins and bronchi of both lungs into `chest.hu` in place."""
    space, blood = chest.space, chest.build.vessel_hu
    lung = coverage(chest.lung_mm + 3, space.grid.voxel_mm)
    share = float(np.clip(space.grid.extent_mm.prod() / (360 * 360 * 192), 0.3, 1.0))
    for side, name in ((1, "right"), (-1, "left")):
        hilum = chest.hila_mm[name]
        for kind, count in TREE_SEEDS.items():
            targets = _targets(chest, side, max(8, int(count * share)), 12.0 if kind == "airway" else 2.5, rng)
            offset = {"artery": (0, 0, 4), "vein": (0, 8, -16), "airway": (-2 * side, -8, -6)}[kind]
            if not len(targets):
                continue
            tree = grow_tree(hilum + np.asarray(offset, dtype=float), targets, END_RADIUS_MM[kind])
            if kind == "airway":
                wall, lumen = _tube_fraction(space, tree, rng, 0.7), _tube_fraction(space, tree, rng)
                chest.hu += lung * ((wall - lumen) * (20 - chest.hu) * (wall > 0) + lumen * (-975 - chest.hu))
            else:
                filled = _tube_fraction(space, tree, rng) * lung
                chest.hu += filled * np.clip(np.float32(blood) - chest.hu, 0, None)
