"""Trivial baselines: answers to each prompt that no network was needed for. What a model must beat to have seen anything.

| rule | box on every slice | box on one slice | no prompt |
|---|---|---|---|
| filled | the boxes | a cuboid on the box | nothing |
| ellipse | the ellipses inscribed in the boxes | the ellipsoid on the box | nothing |
| otsu | in the boxes, above Otsu's threshold of each box | in the cuboid, above the threshold of the box | largest soft tissue in a lung |
| soft_tissue | in the boxes, within a fixed window of HU | in the cuboid, within the window | largest soft tissue in a lung |

Cuboid and ellipsoid reach half the mean side of the box, in mm, to either side of the prompted slice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from .. import geometry
from ..efficiency import measure
from ..types import Box, Image, InputError, Mask, ModelCard, Prediction, Prompt, SlicePrompt

_TITLES = {
    "ellipse": "ellipse in the box",
    "filled": "whole box",
    "otsu": "Otsu threshold in the box",
    "soft_tissue": "soft tissue in the box",
}
SOFT_TISSUE_HU = (-200.0, 200.0)
_LUNG_BELOW_HU = -500.0
_COARSE_MM = 3.0
_LUNG_CLOSING_MM = 12.0  # what is enclosed by, or lies at the rim of, a lung belongs to it

CARD = ModelCard(
    title="trivial baseline",
    summary="No network: fills the prompt by a rule (ellipse, whole box, Otsu's threshold, fixed window of HU).",
    reference="this project; Otsu 1979",
    doi="10.1109/TSMC.1979.4310076",
    licence="Apache-2.0",
    paradigms=("zero_shot",),
    prompters=("none", "box_every_slice", "box_one_slice"),
    options={"rule": "ellipse"},
)


def title(options: Mapping[str, Any]) -> str:
    """What it is called beside a number."""
    return _TITLES[options["rule"]]


def build(options: Mapping[str, Any], seed: int = 0) -> TrivialSegmenter:
    """The baseline of a rule; nothing about it is random."""
    if options["rule"] not in _TITLES:
        raise InputError(f"rule {options['rule']}", "unknown", f"Choose one of {', '.join(_TITLES)}.")
    return TrivialSegmenter(options["rule"])


class TrivialSegmenter:
    """Answers by a rule. Boxes on slices and no prompts are understood; anything else is refused."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self._image: Image | None = None

    def set_image(self, image: Image) -> None:
        """Remember the image."""
        self._image = image

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """Union of the answers to all boxes; without prompts the answer that needs none."""
        if self._image is None:
            raise InputError("predict", "no image was set", "Call set_image first.")
        with measure() as cost:
            filled = np.zeros(self._image.shape, dtype=bool)
            for prompt in prompts:
                for hint in prompt.slices:
                    if hint.box is None:
                        raise InputError("prompt", "the trivial baselines need a box on each slice", "Use a prompter of boxes.")
                    self._fill(filled, hint, prompt.find_ends)
            if not prompts and self.rule in ("otsu", "soft_tissue"):
                filled = _largest_soft_tissue_in_lung(self._image)
        return Prediction(Mask(filled, self._image.affine), None, cost.seconds, cost.peak_memory_mb)

    def parameters(self) -> dict[str, int]:
        """No parameters."""
        return {"parameters": 0, "parameters_trained": 0}

    def _fill(self, filled: np.ndarray, hint: SlicePrompt, find_ends: bool) -> None:
        box = _cuboid(hint.box, self._image) if find_ends else hint.box
        where = tuple(slice(low, high) for low, high in zip(box.ijk_min, box.ijk_max, strict=True))
        if self.rule == "ellipse":
            filled[where] |= _ellipsoid(box, hint.index, self._image.spacing_mm)
        elif self.rule == "filled":
            filled[where] = True
        else:
            filled[where] |= self._is_dense(hint.box)(self._image.array[where])

    def _is_dense(self, box: Box) -> Callable[[np.ndarray], np.ndarray]:
        low, high = SOFT_TISSUE_HU
        if self.rule == "soft_tissue":
            return lambda hu: (hu >= low) & (hu <= high)
        seen = self._image.array[tuple(slice(a, b) for a, b in zip(box.ijk_min, box.ijk_max, strict=True))]
        threshold = _otsu(seen)
        return lambda hu: hu >= threshold


def _otsu(hu: np.ndarray) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(hu)) if np.ptp(hu) > 0 else float(hu.flat[0])


def _cuboid(box: Box, image: Image) -> Box:
    """The box, made as thick as the mean of its two sides in mm; cut at the ends of the image."""
    sides_mm = [(box.ijk_max[a] - box.ijk_min[a]) * image.spacing_mm[a] for a in (0, 1)]
    reach = round(float(np.mean(sides_mm)) / 2 / image.spacing_mm[2])
    low, high = max(0, box.ijk_min[2] - reach), min(image.shape[2], box.ijk_max[2] + reach)
    return Box((*box.ijk_min[:2], low), (*box.ijk_max[:2], high))


def _ellipsoid(box: Box, index: int, spacing_mm: Sequence[float]) -> np.ndarray:
    """Voxels of the box whose centres lie in the ellipsoid around slice `index` that touches the box's sides.

    On a box one slice thick this is the inscribed ellipse. Along z its half axis is the mean of the other two, in mm.
    """
    squares = []
    for axis in (0, 1):
        low, high = box.ijk_min[axis], box.ijk_max[axis]
        radius = (high - low) / 2
        squares.append(((np.arange(low, high) + 0.5 - (low + radius)) / radius) ** 2)
    radius_mm = np.mean([(box.ijk_max[a] - box.ijk_min[a]) * spacing_mm[a] for a in (0, 1)]) / 2
    squares.append(((np.arange(box.ijk_min[2], box.ijk_max[2]) - index) * spacing_mm[2] / radius_mm) ** 2)
    return squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= 1.0


def _largest_soft_tissue_in_lung(image: Image) -> np.ndarray:
    """The largest connected soft tissue among what closed lungs enclose; lungs are low density that does not reach a side of the scan.

    Found on a grid of 3 mm, where closing takes a hundredth of the time that it takes on a full CT.
    """
    coarse = geometry.resample(image.array, geometry.shape_at_spacing(image, (_COARSE_MM,) * 3))
    spacing_mm = tuple(s * n / m for s, n, m in zip(image.spacing_mm, image.shape, coarse.shape, strict=True))
    lungs = _lungs(coarse)
    near = np.pad(ndimage.distance_transform_edt(~lungs, sampling=spacing_mm) <= _LUNG_CLOSING_MM, 1)  # beyond the scan there is no lung
    closed = ndimage.distance_transform_edt(near, sampling=spacing_mm)[1:-1, 1:-1, 1:-1] > _LUNG_CLOSING_MM
    low, high = SOFT_TISSUE_HU
    labels, count = ndimage.label(closed & ~lungs & (coarse >= low) & (coarse <= high))
    if not count:
        return np.zeros(image.shape, dtype=bool)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return geometry.resample(largest, image.shape) > 0.5


def _lungs(hu: np.ndarray) -> np.ndarray:
    """Low density that touches no side of the scan: neither the air around the patient nor what continues it."""
    labels, _ = ndimage.label(hu < _LUNG_BELOW_HU)
    sides = [labels[0], labels[-1], labels[:, 0], labels[:, -1]]
    outside = np.unique(np.concatenate([side.ravel() for side in sides]))
    return (labels > 0) & ~np.isin(labels, outside)
