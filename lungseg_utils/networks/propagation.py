"""Propagate a prediction from one prompted slice to a volume: one rule for all models that see one slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..geometry import plane_box
from ..types import Box, Points, SlicePrompt

GROW = 0.05  # of its length on each side, so that the previous mask's box becomes a tenth longer
LEAST_AREA = 0.10  # of the seed slice's area
REACH_MM = 150.0  # from the seed slice, in either direction


def propagate(
    seed: SlicePrompt,
    predict: Callable[[SlicePrompt], np.ndarray],
    count: int,
    slice_mm: float,
    clicks: Mapping[int, Points] | None = None,
    threshold: float = 0.5,
) -> dict[int, np.ndarray]:
    """Probability planes (x, y) by slice index, found from the prompt on one slice outwards.

    `predict(slice_prompt)` gives the probability plane of one prompted slice; `count` slices are `slice_mm` apart. The
    next slice's box is the previous mask's box, grown; it ends where a mask is empty or has under a tenth of the seed's area
    (that mask is left out), at the end of the scan, or after 150 mm. What a network says beyond the box that it was given does not
    count: otherwise a mask a little larger than its box makes the next box larger still, and soon everything is tumor. A slice that has
    `clicks` is asked with them beside its box.
    """
    planes = {seed.index: _inside(predict(seed), seed.box) if seed.box is not None else predict(seed)}
    first = planes[seed.index] > threshold
    if not first.any():
        return planes
    for direction in (1, -1):
        mask, index = first, seed.index + direction
        while 0 <= index < count and abs(index - seed.index) * slice_mm <= REACH_MM:
            box = plane_box(mask, index, grow=GROW)
            plane = _inside(predict(SlicePrompt(index, box=box, points=(clicks or {}).get(index))), box)
            mask = plane > threshold
            if not mask.any() or mask.sum() < LEAST_AREA * first.sum():
                break
            planes[index] = plane
            index += direction
    return planes


def _inside(plane: np.ndarray, box: Box) -> np.ndarray:
    result = np.zeros_like(plane)
    where = tuple(slice(low, high) for low, high in zip(box.ijk_min[:2], box.ijk_max[:2], strict=True))
    result[where] = plane[where]
    return result
