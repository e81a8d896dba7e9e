"""Clicks: one inside the lesion, and corrective ones where a prediction is most wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import SupportsInt

import numpy as np
from scipy import ndimage

from ..types import Points, Prompt, SlicePrompt
from .boxes import largest_slice

_CONNECTED_26 = np.ones((3, 3, 3), dtype=bool)


def center_click(lesion: np.ndarray, lesion_id: int, spacing_mm: Sequence[float]) -> Prompt:
    """The voxel deepest inside the lesion on its largest slice (in mm; the first in scan order where several are)."""
    index = largest_slice(lesion)
    depth = _depth_mm(lesion[:, :, index], spacing_mm[:2])
    return _one_click(np.unravel_index(int(depth.argmax()), depth.shape), index, lesion_id)


def random_click(lesion: np.ndarray, lesion_id: int, spacing_mm: Sequence[float], rng: np.random.Generator) -> Prompt:
    """A voxel of that slice, each equally likely that lies at least half as deep as the deepest one."""
    index = largest_slice(lesion)
    depth = _depth_mm(lesion[:, :, index], spacing_mm[:2])
    choices = np.argwhere(depth >= depth.max() / 2)
    return _one_click(choices[rng.integers(len(choices))], index, lesion_id)


def _one_click(place: Sequence[SupportsInt], index: int, lesion_id: int) -> Prompt:
    points = Points(((int(place[0]), int(place[1]), index),), (1,))
    return Prompt(lesion_id, (SlicePrompt(index, points=points),), find_ends=True, actions=1)


def corrected(
    prompts: tuple[Prompt, ...], labels: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[Prompt, ...] | None:
    """The prompts and one more click, in the middle of the largest 26-connected error; None if there is no error.

    `labels` numbers the lesions of the reference (x, y, z). What was missed is clicked as inside and joins the prompt of its lesion;
    what was falsely marked is clicked as outside and joins the prompt with the nearest click.
    """
    error, count = ndimage.label((labels > 0) != prediction, structure=_CONNECTED_26)
    if not count:
        return None
    largest = 1 + int(np.argmax(np.bincount(error.ravel())[1:]))
    where = ndimage.find_objects(error)[largest - 1]
    depth = _depth_mm(error[where] == largest, spacing_mm)
    place = tuple(int(v) + s.start for v, s in zip(np.unravel_index(int(depth.argmax()), depth.shape), where, strict=True))
    lesion = int(labels[place])
    chosen = next(n for n, p in enumerate(prompts) if p.lesion_id == lesion) if lesion else _nearest(prompts, place, spacing_mm)
    return (*prompts[:chosen], _with_click(prompts[chosen], place, int(bool(lesion))), *prompts[chosen + 1 :])


def _nearest(prompts: Sequence[Prompt], place: tuple[int, ...], spacing_mm: Sequence[float]) -> int:
    def distance(prompt: Prompt) -> float:
        clicks = np.array([p for slice_prompt in prompt.slices if slice_prompt.points is not None for p in slice_prompt.points.ijk])
        return float(np.linalg.norm((clicks - place) * np.asarray(spacing_mm), axis=1).min())

    return int(np.argmin([distance(prompt) for prompt in prompts]))


def _with_click(prompt: Prompt, place: tuple[int, int, int], label: int) -> Prompt:
    slice_prompts = {slice_prompt.index: slice_prompt for slice_prompt in prompt.slices}
    before = (slice_prompts[place[2]].points if place[2] in slice_prompts else None) or Points((), ())
    slice_prompts[place[2]] = SlicePrompt(place[2], points=Points((*before.ijk, place), (*before.labels, label)))
    return replace(prompt, slices=tuple(slice_prompts.values()), actions=prompt.actions + 1)


def _depth_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance of each true voxel to the nearest false one; what lies beyond the array is false."""
    inner = tuple(slice(1, -1) for _ in mask.shape)
    return ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[inner]
