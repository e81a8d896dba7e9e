"""Boxes around a lesion, from one on every slice to one in all. Planes and volumes are bool (x, y) and (x, y, z)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from ..geometry import plane_box
from ..types import Box, Prompt, SlicePrompt

_CONNECTED_8 = np.ones((3, 3), dtype=bool)


def every_slice(lesion: np.ndarray, lesion_id: int) -> Prompt:
    """One tight box per 8-connected component of each axial slice; only those slices are answered."""
    slice_prompts = tuple(_tight_boxes(lesion))
    return Prompt(lesion_id, slice_prompts, actions=len(slice_prompts))


def _tight_boxes(lesion: np.ndarray) -> Iterator[SlicePrompt]:
    for index in slices_of(lesion):
        components, _ = ndimage.label(lesion[:, :, index], structure=_CONNECTED_8)
        for rows, columns in ndimage.find_objects(components):
            yield SlicePrompt(index, box=Box((rows.start, columns.start, index), (rows.stop, columns.stop, index + 1)))


def alternate_slices(lesion: np.ndarray, lesion_id: int) -> Prompt:
    """Boxes on the first, every second and the last slice, around all that is on it; in between, sides half way (rounded outwards)."""
    indices = slices_of(lesion)
    drawn = sorted({*indices[::2], indices[-1]})
    boxes = {index: plane_box(lesion[:, :, index], index) for index in drawn}
    slice_prompts = []
    for index in range(indices[0], indices[-1] + 1):
        below, above = max(i for i in drawn if i <= index), min(i for i in drawn if i >= index)
        slice_prompts.append(SlicePrompt(index, box=_between(boxes[below], boxes[above], below, above, index)))
    return Prompt(lesion_id, tuple(slice_prompts), actions=len(drawn))


def _between(low: Box, high: Box, below: int, above: int, index: int) -> Box:
    share = (index - below) / (above - below) if above > below else 0.0
    start = [int(np.floor((1 - share) * low.ijk_min[a] + share * high.ijk_min[a])) for a in (0, 1)]
    stop = [int(np.ceil((1 - share) * low.ijk_max[a] + share * high.ijk_max[a])) for a in (0, 1)]
    return Box((start[0], start[1], index), (stop[0], stop[1], index + 1))


def one_slice(lesion: np.ndarray, lesion_id: int) -> Prompt:
    """The slice of largest area, and one tight box around all that is on it; the model must find the ends."""
    index = largest_slice(lesion)
    return Prompt(lesion_id, (SlicePrompt(index, box=plane_box(lesion[:, :, index], index)),), find_ends=True, actions=1)


def volume(lesion: np.ndarray, lesion_id: int) -> Prompt:
    """One tight box in 3-D. Models that know slices only are given its section on each slice that it spans."""
    rows, columns, slices = ndimage.find_objects(lesion.astype(np.uint8))[0]
    box = Box((rows.start, columns.start, slices.start), (rows.stop, columns.stop, slices.stop))
    return Prompt(lesion_id, sections(box), box_3d=box, actions=1)


def sections(box: Box) -> tuple[SlicePrompt, ...]:
    """The same rectangle on each slice of a box in 3-D."""
    low, high = box.ijk_min, box.ijk_max
    return tuple(SlicePrompt(k, box=Box((*low[:2], k), (*high[:2], k + 1))) for k in range(low[2], high[2]))


def slices_of(lesion: np.ndarray) -> list[int]:
    """Indices of the axial slices that show the lesion."""
    return [int(k) for k in np.flatnonzero(lesion.any(axis=(0, 1)))]


def largest_slice(lesion: np.ndarray) -> int:
    """The slice of largest area; the lowest index where several are equal."""
    return int(np.argmax(lesion.sum(axis=(0, 1))))
