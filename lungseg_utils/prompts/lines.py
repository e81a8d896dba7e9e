"""RECIST lines: the longest line through the lesion on its largest slice, as radiologists draw it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..types import Box, Points, Prompt, SlicePrompt
from .boxes import largest_slice

_CONNECTED_8 = np.ones((3, 3), dtype=bool)
_SAMPLES_PER_VOXEL = 2


def line_box(lesion: np.ndarray, lesion_id: int, spacing_mm: Sequence[float]) -> Prompt:
    """The square around the line's midpoint with the line's length as its side, as MedSAM2's scripts make it.

    Ma et al. 2025, doi:10.48550/arXiv.2504.03600. A line of n voxel centres is n voxels long. The square is cut at the image's sides.
    """
    index = largest_slice(lesion)
    ends = np.array(longest_chord(lesion[:, :, index], spacing_mm), dtype=float)
    middle, mm = ends.mean(axis=0) + 0.5, np.asarray(spacing_mm[:2], dtype=float)
    half = (np.linalg.norm((ends[1] - ends[0]) * mm) + mm.mean()) / 2 / mm
    low = np.maximum(0, np.rint(middle - half)).astype(int)
    high = np.minimum(lesion.shape[:2], np.maximum(low + 1, np.rint(middle + half))).astype(int)
    box = Box((*low.tolist(), index), (*high.tolist(), index + 1))
    return Prompt(lesion_id, (SlicePrompt(index, box=box),), find_ends=True, actions=1)


def line_points(lesion: np.ndarray, lesion_id: int, spacing_mm: Sequence[float]) -> Prompt:
    """The two ends of the line and the voxel at its midpoint, as three clicks inside."""
    index = largest_slice(lesion)
    first, last = longest_chord(lesion[:, :, index], spacing_mm)
    middle = np.rint((np.array(first) + np.array(last)) / 2).astype(int).tolist()
    points = Points(tuple((p[0], p[1], index) for p in (first, last, middle)), (1, 1, 1))
    return Prompt(lesion_id, (SlicePrompt(index, points=points),), find_ends=True, actions=1)


def longest_chord(plane: np.ndarray, spacing_mm: Sequence[float]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Ends (voxel indices) of the longest line between two voxel centres that stays inside a plane's largest 8-connected part."""
    labels, _ = ndimage.label(plane, structure=_CONNECTED_8)
    part = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    rim = np.argwhere(part & ~ndimage.binary_erosion(part))
    first, last = np.triu_indices(len(rim))
    lengths = np.linalg.norm((rim[first] - rim[last]) * np.asarray(spacing_mm[:2]), axis=1)
    for pair in np.argsort(-lengths, kind="stable"):
        start, stop = rim[first[pair]], rim[last[pair]]
        if _inside(part, start, stop):
            return (int(start[0]), int(start[1])), (int(stop[0]), int(stop[1]))
    raise AssertionError("a single voxel is a chord of length zero")


def _inside(part: np.ndarray, start: np.ndarray, stop: np.ndarray) -> bool:
    count = 1 + _SAMPLES_PER_VOXEL * int(np.abs(stop - start).max())
    line = start + np.linspace(0, 1, count)[:, None] * (stop - start)
    return bool(part[tuple(np.rint(line).astype(int).T)].all())
