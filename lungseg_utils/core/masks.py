"""Measurements of binary masks that need no metric: overlap, components, bounding box, diameter, growth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import pdist

from ..types import Mask


def longest_axial_diameter_mm(mask: Mask) -> float:
    """Largest distance between two voxel centers of one lesion on one axial slice, over all lesions; NaN without a lesion."""
    labels, best = label_lesions(mask.array), np.nan
    for index in np.flatnonzero(labels.any(axis=(0, 1))):
        for lesion in np.unique(labels[:, :, index])[1:]:
            places = np.argwhere(labels[:, :, index] == lesion) * np.asarray(mask.spacing_mm[:2])
            length = pdist(_hull(places)).max() if len(places) > 1 else 0.0
            best = np.nanmax([best, length + float(np.mean(mask.spacing_mm[:2]))])
    return float(best)


def _hull(places: np.ndarray) -> np.ndarray:
    """The first and last place of each row: the farthest pair is among them."""
    order = np.lexsort((places[:, 1], places[:, 0]))
    places = places[order]
    starts = np.flatnonzero(np.r_[True, np.diff(places[:, 0]) > 0])
    return np.unique(np.concatenate([places[starts], places[np.r_[starts[1:] - 1, len(places) - 1]]]), axis=0)


def agreed_by(masks: Iterable[Mask], at_least: int) -> Mask:
    """Voxels that lie in at least `at_least` of the masks, which share one grid."""
    masks = list(masks)
    votes = np.stack([mask.array for mask in masks]).sum(axis=0)
    return Mask(np.asarray(votes >= at_least), masks[0].affine)


MIN_LESION_VOXELS = 3  # a smaller reference component is not a lesion
_CONNECTED_26 = np.ones((3, 3, 3), dtype=bool)


def dsc(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Dice similarity coefficient of two bool arrays of one shape; NaN if both are empty."""
    total = np.count_nonzero(reference) + np.count_nonzero(prediction)
    return 2.0 * np.count_nonzero(reference & prediction) / total if total else np.nan


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box that holds all true voxels of an array that has some."""
    plane = np.any(mask, axis=2)  # the other two axes are then sought in a plane, the third in what is left of the volume
    rows, columns = _span(np.any(plane, axis=1)), _span(np.any(plane, axis=0))
    return rows, columns, _span(np.any(mask[rows, columns], axis=(0, 1)))


def _span(line: np.ndarray) -> slice:
    hits = np.flatnonzero(line)
    return slice(int(hits[0]), int(hits[-1]) + 1)


def label_lesions(mask: np.ndarray, min_voxels: int = MIN_LESION_VOXELS) -> np.ndarray:
    """26-connected components of at least `min_voxels`, numbered 1, 2, ... in scan order; 0 elsewhere (int32)."""
    result = np.zeros(mask.shape, dtype=np.int32)
    if not mask.any():
        return result
    box = bounding_box(mask)  # a tumor fills a small part of a scan, and every pass over the rest costs more than the work
    labels, count = ndimage.label(mask[box], structure=_CONNECTED_26)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = np.flatnonzero(sizes[1:] >= min_voxels) + 1
    renumber = np.zeros(count + 1, dtype=np.int32)
    renumber[keep] = np.arange(1, len(keep) + 1)
    result[box] = renumber[labels]
    return result


def slices_left_out(mask: Mask, longest_mm: float) -> list[int]:
    """Slices on which a lesion is missing: it ends below them and begins again above them, at most `longest_mm` of slices in a row.

    It ends where a part, connected in plane, has no voxel of the next slice over it, and it begins again where both parts share at least
    `MIN_LESION_VOXELS`. A lesion that is merely thinner in between does not end.
    """
    if not mask.array.any():
        return []
    rows, columns, slices = bounding_box(mask.array)
    box, missing = mask.array[rows, columns, slices], set()
    most = int(longest_mm / mask.spacing_mm[2] + 1e-6)
    ends = [_without_neighbor(box, index, index + 1) for index in range(box.shape[2] - 1)]
    begins = [_without_neighbor(box, index, index - 1) if index else None for index in range(box.shape[2])]
    for low, end in enumerate(ends):
        for high in range(low + 2, min(box.shape[2], low + 2 + most)):
            if np.count_nonzero(end & begins[high]) >= MIN_LESION_VOXELS:
                missing |= set(range(low + 1, high))
                break
    return [slices.start + index for index in sorted(missing)]


def _without_neighbor(box: np.ndarray, index: int, other: int) -> np.ndarray:
    """The parts of one slice, connected in plane, that have no voxel of another slice over or under them."""
    parts, count = ndimage.label(box[:, :, index], structure=_CONNECTED_26[1])
    met = np.bincount(parts[box[:, :, other]], minlength=count + 1)
    return (parts > 0) & (met[parts] == 0)


def grow_mm(array: np.ndarray, spacing_mm: tuple[float, float, float], margin_mm: float) -> np.ndarray:
    """Voxels (x, y, z) whose center lies within `margin_mm` of the center of a true voxel; Euclidean."""
    if not array.any():
        return array.copy()
    reach = np.ceil(margin_mm / np.asarray(spacing_mm)).astype(int)
    inside = np.argwhere(array)
    box = tuple(slice(max(a - r, 0), b + r + 1) for a, b, r in zip(inside.min(0), inside.max(0), reach, strict=True))
    grown = np.zeros_like(array)
    grown[box] = ndimage.distance_transform_edt(~array[box], sampling=spacing_mm) <= margin_mm + 1e-6
    return grown
