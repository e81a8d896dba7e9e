"""Errors in drawing prompts: offsets by a share of the prompt's size, consistent over a lesion, with a small part drawn anew on each slice.

Every side of a box is moved outwards or inwards by up to `share` of the box's length along that axis, by at least one voxel. One
offset per side holds for the whole lesion; a quarter of the share is drawn anew on each slice. Along z the first and last slice move
alike, so slices are left out or added. Clicks and the slice of a single box move by up to `share` of the lesion's size as the
prompt shows it. A box may miss the lesion; it is never empty and never leaves the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..types import Box, Points, Prompt, SlicePrompt
from .boxes import sections

_PER_SLICE = 0.25  # of the share: people err consistently (protocol)
_CLICK_REACH_MM = 30.0  # a click alone shows no size: its share is of about the median tumor's diameter


def perturb(
    prompts: Sequence[Prompt], share: float, rng: np.random.Generator, shape: Sequence[int], spacing_mm: Sequence[float]
) -> tuple[Prompt, ...]:
    """All prompts as somebody would draw them who errs by up to `share` (0.1 is ten per cent); 0 gives them back."""
    return tuple(prompts) if share == 0 else tuple(_perturb(p, share, rng, shape, spacing_mm) for p in prompts)


def _perturb(prompt: Prompt, share: float, rng: np.random.Generator, shape: Sequence[int], spacing_mm: Sequence[float]) -> Prompt:
    sides = rng.uniform(-share, share, (3, 2))  # axis; low and high side
    if prompt.box_3d is not None:
        box = _moved(prompt.box_3d, sides, shape)
        return replace(prompt, box_3d=box, slices=sections(box))
    slice_prompts = prompt.slices
    if all(slice_prompt.box is not None for slice_prompt in slice_prompts):
        slice_prompts = _with_other_ends(slice_prompts, sides[2], share, shape[2], spacing_mm, prompt.find_ends)
    shift = rng.uniform(-share, share, 2) * _size_mm(slice_prompts, spacing_mm) / np.asarray(spacing_mm[:2])
    return replace(prompt, slices=tuple(_moved_slice_prompt(h, sides, shift, share, rng, shape) for h in slice_prompts))


def _moved_slice_prompt(
    slice_prompt: SlicePrompt, sides: np.ndarray, shift: np.ndarray, share: float, rng: np.random.Generator, shape: Sequence[int]
) -> SlicePrompt:
    own = rng.uniform(-share, share, (2, 2)) * _PER_SLICE
    box = slice_prompt.box
    if box is not None:
        box = _moved(box, np.vstack([sides[:2], np.zeros((1, 2))]), shape, own)
    points = slice_prompt.points
    if points is not None:
        places = [(*np.clip(np.rint(np.array(p[:2]) + shift), 0, np.array(shape[:2]) - 1).astype(int).tolist(), p[2]) for p in points.ijk]
        points = Points(tuple(places), points.labels)
    return SlicePrompt(slice_prompt.index, box=box, points=points)


def _moved(box: Box, sides: np.ndarray, shape: Sequence[int], own: np.ndarray | None = None) -> Box:
    """Sides (axis, low and high) as shares of the box's lengths; an offset that is not zero is at least one voxel.

    `own` adds to the first two axes what is this slice's alone; it may round to nothing.
    """
    low, high = [], []
    for axis in range(3):
        length = box.ijk_max[axis] - box.ijk_min[axis]
        offsets = [int(np.sign(s)) * max(1, round(abs(s) * length)) if s else 0 for s in sides[axis]]
        if own is not None and axis < 2:
            offsets = [offset + round(s * length) for offset, s in zip(offsets, own[axis], strict=True)]
        start, stop = sorted((box.ijk_min[axis] - offsets[0], box.ijk_max[axis] + offsets[1]))
        start = min(max(start, 0), shape[axis] - 1)
        low.append(start)
        high.append(min(max(stop, start + 1), shape[axis]))
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _with_other_ends(
    slice_prompts: Sequence[SlicePrompt], sides: np.ndarray, share: float, count: int, spacing_mm: Sequence[float], find_ends: bool
) -> tuple[SlicePrompt, ...]:
    """Boxes on slices with the first and last one moved along z: those beyond are dropped, the outermost one is repeated outwards."""
    if find_ends:  # one slice only: it is chosen a little wrongly
        step = round(sides[0] * _size_mm(slice_prompts, spacing_mm) / spacing_mm[2])
        index = int(np.clip(slice_prompts[0].index + step, 0, count - 1))
        return (_on_slice(slice_prompts[0], index),)
    first, last = min(h.index for h in slice_prompts), max(h.index for h in slice_prompts)
    span = _moved(Box((0, 0, first), (1, 1, last + 1)), np.vstack([np.zeros((2, 2)), sides[None]]), (1, 1, count))
    start, stop = span.ijk_min[2], span.ijk_max[2]
    kept = [h for h in slice_prompts if start <= h.index < stop]
    ends = [h for h in slice_prompts if h.index == first], [h for h in slice_prompts if h.index == last]
    added = [_on_slice(h, k) for k in range(start, min(first, stop)) for h in ends[0]]
    added += [_on_slice(h, k) for k in range(max(last + 1, start), stop) for h in ends[1]]
    return tuple(sorted([*kept, *added], key=lambda h: h.index)) or (_on_slice(slice_prompts[0], start),)


def _on_slice(slice_prompt: SlicePrompt, index: int) -> SlicePrompt:
    assert slice_prompt.box is not None  # slices of clicks are not moved along z
    return SlicePrompt(index, box=Box((*slice_prompt.box.ijk_min[:2], index), (*slice_prompt.box.ijk_max[:2], index + 1)))


def _size_mm(slice_prompts: Sequence[SlicePrompt], spacing_mm: Sequence[float]) -> float:
    """What the prompt shows of the lesion's size in the plane: the mean side of its largest box, or the spread of its clicks."""
    sides = [np.mean([(h.box.ijk_max[a] - h.box.ijk_min[a]) * spacing_mm[a] for a in (0, 1)]) for h in slice_prompts if h.box is not None]
    if sides:
        return float(max(sides))
    clicks = np.array([p[:2] for h in slice_prompts if h.points is not None for p in h.points.ijk], dtype=float) * np.asarray(
        spacing_mm[:2]
    )
    spread = float(np.linalg.norm(np.ptp(clicks, axis=0)))
    return spread or _CLICK_REACH_MM
