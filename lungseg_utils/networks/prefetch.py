"""Predict which slices and windows are asked for next, to encode them in idle time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import geometry
from ..types import Prompt, SlicePrompt
from . import propagation
from .promptable import Place, SlicewiseSegmenter
from .view import WHOLE_SLICE

_SLICES_AHEAD = 2  # to either side


def places_ahead(segmenter: SlicewiseSegmenter, prompts: Sequence[Prompt], mask: np.ndarray, index: int) -> list[Place]:
    """What will probably be asked for after slice `index`, whose answer is in `mask` (x, y, z): its neighbors, nearest first.

    A network of whole slices sees the same window everywhere. One with a memory follows a lesion inside the window of its prompt. Of
    the others the next window is known one slice ahead: around the mask, as the propagation rule asks.
    """
    count = segmenter.image.shape[2]
    ways = [index + sign * step for step in range(1, _SLICES_AHEAD + 1) for sign in (1, -1)]
    ways = [way for way in ways if 0 <= way < count]
    if segmenter.view.field_mm == WHOLE_SLICE:
        return [(segmenter.view.window_for(SlicePrompt(way), segmenter.image), way) for way in (index, *ways)]
    slice_prompts = [slice_prompt for prompt in prompts for slice_prompt in prompt.slices if slice_prompt.index == index]
    if segmenter.follows_in_one_window:
        return [(segmenter.view.window_for(slice_prompt, segmenter.image), way) for slice_prompt in slice_prompts for way in ways]
    return [place for slice_prompt in slice_prompts for way in ways[:2] if (place := _propagated(segmenter, slice_prompt, mask, way))]


def _propagated(segmenter: SlicewiseSegmenter, slice_prompt: SlicePrompt, mask: np.ndarray, index: int) -> Place | None:
    """The window that the propagation rule asks for next to a prompted slice; None where its answer is empty."""
    plane = np.zeros(mask.shape[:2], dtype=bool)
    where = slice_prompt.box.voxels[:2] if slice_prompt.box is not None else (slice(None), slice(None))
    plane[where] = mask[(*where, slice_prompt.index)]
    if not plane.any():
        return None
    box = geometry.plane_box(plane, index, grow=propagation.GROW)
    return segmenter.view.window_for(SlicePrompt(index, box=box), segmenter.image), index
