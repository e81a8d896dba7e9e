"""RECIST lines: the longest line through the lesion on its largest slice, as radiologists draw it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..types import Box, Points, Prompt, SlicePrompt
from .boxes import largest_slice

_CONNECTED_8 = np.ones((3, 3), dtype=bool)
_SAMPLES_PER_VOXEL = 10


def line_box(lesion: np.ndarray, lesion_id: int, spacing_mm: Sequence[float]) -> Prompt:
    """The square around the line's midpoint with the line's length as its side, as MedSAM2's scripts make it.

    Ma et al. 2025, doi:10.48550/arXiv.2504.03600. The line ends on the lesion's surface. The square is cut at the image's sides.
    """
    index = largest_slice(lesion)
    ends, mm = surface_ends(lesion[:, :, index], spacing_mm), np.asarray(spacing_mm[:2], dtype=float)
    middle, half = ends.mean(axis=0) + 0.5, np.linalg.norm((ends[1] - ends[0]) * mm) / 2 / mm
    low = np.maximum(0, _nearest(middle - half))
    high = np.minimum(lesion.shape[:2], np.maximum(low + 1, _nearest(middle + half)))
    box = Box((*low.tolist(), index), (*high.tolist(), index + 1))
    return Prompt(lesion_id, (SlicePrompt(index, box=box),), find_ends=True, actions=1)


def _nearest(places: np.ndarray) -> np.ndarray:
    """Nearest whole numbers; halves go up, because to even numbers they would depend on where the lesion lies."""
    return np.floor(places + 0.5).astype(int)


def line_points(lesion: np.ndarray, lesion_id: int, spacing_mm: Sequence[float]) -> Prompt:
    """The two ends of the line and the voxel at its midpoint, as three clicks inside."""
    index = largest_slice(lesion)
    first, last = longest_chord(lesion[:, :, index], spacing_mm)
    middle = _nearest((np.array(first) + np.array(last)) / 2).tolist()
    points = Points(tuple((p[0], p[1], index) for p in (first, last, middle)), (1, 1, 1))
    return Prompt(lesion_id, (SlicePrompt(index, points=points),), find_ends=True, actions=1)


def drawn_line(prompt: Prompt) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    """The ends of the line that a prompt of points was drawn as, by `line_points`; None for clicks, each of which is an action."""
    points = prompt.slices[0].points if len(prompt.slices) == 1 and prompt.actions == 1 else None
    return (points.ijk[0], points.ijk[1]) if points is not None and points.labels == (1, 1, 1) else None


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


def surface_ends(plane: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Where the longest chord, made longer, leaves the plane's mask: float (2, 2) in voxels, whose centers are whole numbers."""
    first, last = (np.array(end, dtype=float) for end in longest_chord(plane, spacing_mm))
    along = last - first if (last != first).any() else np.array([1.0, 0.0])  # a single voxel is as long as its side
    along /= np.abs(along).max()
    return np.array([_leaves(plane, first, -along), _leaves(plane, last, along)])


def _leaves(plane: np.ndarray, end: np.ndarray, along: np.ndarray) -> np.ndarray:
    step, padded, count = along / _SAMPLES_PER_VOXEL, np.pad(plane, 1), 0
    while padded[tuple(_nearest(end + (count + 1) * step) + 1)]:
        count += 1
    return end + (count + 0.5) * step


def _inside(part: np.ndarray, start: np.ndarray, stop: np.ndarray) -> bool:
    count = 1 + _SAMPLES_PER_VOXEL * int(np.abs(stop - start).max())
    line = start + np.linspace(0, 1, count)[:, None] * (stop - start)
    return bool(part[tuple(_nearest(line).T)].all())
