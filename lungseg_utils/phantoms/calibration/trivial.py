"""Dice of trivial predictions that are derived from the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import pdist, squareform
from skimage.measure import label, regionprops

from ...core import masks
from ...types import Mask
from .properties import margin_box


def _inscribed(shape: tuple[int, ...]) -> np.ndarray:
    """The ellipse or ellipsoid inscribed in an array of `shape`: true where a voxel's centre is inside."""
    offsets = [((np.arange(n) - (n - 1) / 2) / (n / 2)) ** 2 for n in shape]
    return sum(o.reshape([-1 if a == i else 1 for a in range(len(shape))]) for i, o in enumerate(offsets)) <= 1


def _fill(mask: np.ndarray, ellipse: bool) -> np.ndarray:
    """Tight box of every component of `mask` (2-D or 3-D), filled or as its inscribed ellipse, united."""
    prediction = np.zeros_like(mask)
    for region in ndimage.find_objects(label(mask, connectivity=mask.ndim)):
        shape = tuple(s.stop - s.start for s in region)
        prediction[region] |= _inscribed(shape) if ellipse else True
    return prediction


def _recist_ball(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The ball whose diameter is the longest chord on the slice of largest area."""
    k = int(mask.sum((0, 1)).argmax())
    points = np.argwhere(mask[:, :, k] & ~ndimage.binary_erosion(mask[:, :, k])) * np.asarray(spacing_mm[:2])
    distance = squareform(pdist(points)) if len(points) > 1 else np.zeros((1, 1))
    a, b = np.unravel_index(int(distance.argmax()), distance.shape)
    centre = np.array([*(points[a] + points[b]) / 2, k * spacing_mm[2]])
    radius = (distance.max() + min(spacing_mm[:2])) / 2
    grids = [(np.arange(n) * s - c) ** 2 for n, s, c in zip(mask.shape, spacing_mm, centre, strict=True)]
    return grids[0][:, None, None] + grids[1][None, :, None] + grids[2][None, None, :] <= radius**2


def trivial_dsc(reference: Mask) -> dict[str, float]:
    """3-D DSC of predictions that know only a prompt drawn from the reference: boxes, inscribed ellipses, balls."""
    where = margin_box(reference.array, reference.spacing_mm, 60.0)
    mask = reference.array[where]
    slices = [np.stack([_fill(mask[:, :, k], e) for k in range(mask.shape[2])], 2) for e in (False, True)]
    one_slice, ball = np.zeros_like(mask), np.zeros_like(mask)
    for lesion in _components(mask):
        one_slice |= _one_slice_ellipsoid(lesion, reference.spacing_mm)
        ball |= _recist_ball(lesion, reference.spacing_mm)
    predictions = {
        "box_per_slice_dsc": slices[0],
        "ellipse_per_slice_dsc": slices[1],
        "box_3d_dsc": _fill(mask, False),
        "ellipsoid_3d_dsc": _fill(mask, True),
        "one_slice_ellipsoid_dsc": one_slice,
        "recist_ball_dsc": ball,
    }
    return {name: masks.dsc(mask, prediction) for name, prediction in predictions.items()}


def _components(mask: np.ndarray) -> list[np.ndarray]:
    labels = masks.label_lesions(mask)
    return [labels == i for i in range(1, int(labels.max(initial=0)) + 1)]


def _one_slice_ellipsoid(lesion: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Ellipsoid on the box of the slice of largest area; its third axis is the mean of the two seen."""
    k = int(lesion.sum((0, 1)).argmax())
    (x, y), *_ = [r.slice for r in regionprops(lesion[:, :, k].astype(np.uint8))]
    centres = [((s.start + s.stop - 1) / 2) * d for s, d in zip((x, y), spacing_mm, strict=False)] + [k * spacing_mm[2]]
    radii = [(s.stop - s.start) * d / 2 for s, d in zip((x, y), spacing_mm, strict=False)]
    radii.append(float(np.mean(radii)))
    grids = [((np.arange(n) * s - c) / r) ** 2 for n, s, c, r in zip(lesion.shape, spacing_mm, centres, radii, strict=True)]
    return grids[0][:, None, None] + grids[1][None, :, None] + grids[2][None, None, :] <= 1
