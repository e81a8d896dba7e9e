"""Clips of drawings with one target each: the pretraining data of stand-ins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...types import InputError
from .canvas import make_canvas
from .ct_like import ct_scene, finish_ct
from .scene import Scene, render
from .shapes import finish_shapes, shapes_scene
from .solids import MIN_PIXELS, MIN_PIXELS_AT_128

KINDS = ("shapes", "ct_like")
MIN_SIZE = 32
# A target is refused if the middle slice shows it covering more or wider, or with less of its outline standing out.
_MAX_SHARE, _MAX_MM = 0.35, 92.0
_MIN_SEEN, _MIN_ONE_SIDED = 0.4, 0.2


@dataclass(frozen=True, eq=False)
class Clip:
    """Neighboring slices and one object in them.

    `image` is float32 (slices, rows, columns) in [0, 1]. `mask` is bool of the same shape: the visible part of one object,
    of which the largest piece (26-connected over all slices) is kept; a single slice may still show several pieces of it.
    The middle slice, `slices // 2`, always shows it; slices before or after may not.
    """

    image: np.ndarray
    mask: np.ndarray


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest 26-connected piece of a mask that is not empty."""
    box = ndimage.find_objects(mask.astype(np.int8))[0]
    labels, count = ndimage.label(mask[box], structure=np.ones((3, 3, 3), bool))
    result = np.zeros_like(mask)
    largest = 1 if count == 1 else int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    result[box] = labels == largest
    return result


def _visible(scene: Scene, pixels: float) -> float:
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


def _accepted_mask(scene: Scene) -> np.ndarray | None:
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
        scene = _SCENES[kind](rng, make_canvas(rng, size, slices))
        mask = _accepted_mask(scene)
        if mask is not None:
            return Clip(_FINISH[kind](rng, render(rng, scene)), mask)


_SCENES = {"shapes": shapes_scene, "ct_like": ct_scene}
_FINISH = {"shapes": finish_shapes, "ct_like": finish_ct}
