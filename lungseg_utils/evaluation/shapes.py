"""What comparisons need of one mask, computed once: a reference judges many predictions, and a prediction is judged by many references."""

from __future__ import annotations

from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from ..core.masks import bounding_box, label_lesions
from ..types import Mask
from .surfaces import Surface

Slices = tuple[slice, slice, slice]
_NOWHERE: Slices = (slice(0, 0), slice(0, 0), slice(0, 0))


class Shape:
    """A bool array (x, y, z) with the smallest box that holds it, its surface and its components."""

    def __init__(self, array: np.ndarray, spacing_mm: tuple[float, float, float]):
        self.array, self.spacing_mm = array, spacing_mm
        self.box = bounding_box(array) if array.any() else _NOWHERE

    @cached_property
    def surface(self) -> Surface:
        """Its surface; the array may not be empty."""
        return Surface(self.array, self.spacing_mm, self.box)

    @cached_property
    def _lesions(self) -> np.ndarray:
        return label_lesions(self.array[self.box])

    @cached_property
    def _components(self) -> np.ndarray:
        return label_lesions(self.array[self.box], min_voxels=1)

    def lesions(self, box: Slices) -> np.ndarray:
        """Labels of the components that are large enough for a lesion, inside a `box` that holds all of them (see `label_lesions`)."""
        return _placed(self._lesions, self.box, box)

    def components(self, box: Slices) -> np.ndarray:
        """Labels of all components, inside a `box` that holds all of them."""
        return _placed(self._components, self.box, box)


def of(mask: Mask) -> Shape:
    """The shape of a mask, the same one as long as the mask is kept by anybody: masks never change."""
    if mask not in _known:
        _known[mask] = Shape(mask.array, mask.spacing_mm)
    return _known[mask]


def common_box(a: Shape, b: Shape) -> Slices:
    """The smallest box that holds both; an empty one if both are empty."""
    held = [shape.box for shape in (a, b) if shape.box != _NOWHERE]
    if not held:
        return _NOWHERE
    x, y, z = (slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*held, strict=True))
    return x, y, z


def _placed(labels: np.ndarray, own: Slices, box: Slices) -> np.ndarray:
    if own == box:
        return labels
    placed = np.zeros(tuple(s.stop - s.start for s in box), dtype=labels.dtype)
    if own != _NOWHERE:
        placed[tuple(slice(o.start - b.start, o.stop - b.start) for o, b in zip(own, box, strict=True))] = labels
    return placed


_known: WeakKeyDictionary[Mask, Shape] = WeakKeyDictionary()
