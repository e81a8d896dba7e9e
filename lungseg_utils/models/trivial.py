"""Trivial baselines: predictions from a prompt by a fixed rule, without a network. A model has to beat them.

| rule | boxes on slices | box on one slice | box in 3-D | clicks | none |
|---|---|---|---|---|---|
| filled | the boxes | a cuboid on the box | the box | a cube | – |
| ellipse | the ellipses inscribed in the boxes | the ellipsoid on the box | its ellipsoid | a ball | – |
| otsu | in the boxes, above Otsu's threshold of each | in the cuboid, above that of the box | in it, above its own | region | largest |
| soft_tissue | in the boxes, within a fixed window of HU | in the cuboid, within it | in it, within it | region | largest |

Cuboid and ellipsoid reach half the mean side of the box, in mm, to either side of the prompted slice. Several clicks inside on one slice
(a RECIST line) span the ball; a single one is the center of a ball as large as the median lesion of the training phantoms. Regions grow
from the clicks inside, through voxels above Otsu's threshold of that ball's bounding box (or within the window), inside a ball of
twice the size. Clicks outside remove a ball of half the size. Without a prompt: the largest soft tissue in a lung.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from .. import geometry
from ..core.measure import measure
from ..prompts import shapes
from ..types import Box, Image, InputError, Mask, ModelCard, Options, Prediction, Prompt, Segmenter

RULES = {
    "ellipse": "ellipse or ball",
    "filled": "whole box",
    "otsu": "Otsu threshold",
    "soft_tissue": "soft tissue",
}
SOFT_TISSUE_HU = (-200.0, 200.0)
_LUNG_BELOW_HU = -500.0
_COARSE_MM = 3.0
_LUNG_CLOSING_MM = 12.0  # what is enclosed by, or lies at the rim of, a lung belongs to it
CARD = ModelCard(
    title="trivial baseline",
    summary="No network: fills the prompt by a rule (ellipse or ball, whole box, Otsu's threshold, fixed window of HU).",
    reference="this project; Otsu 1979",
    doi="10.1109/TSMC.1979.4310076",
    license="Apache-2.0",
    paradigms=("zero_shot",),
    prompts=("box", "points", "none"),
    options={"rule": "ellipse", "median_diameter_mm": shapes.MEDIAN_DIAMETER_MM},
    learns=False,
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return f"trivial: {RULES[options['rule']]}"


def build(options: Options, seed: int = 0) -> TrivialSegmenter:
    """The baseline of a rule; nothing about it is random."""
    if options["rule"] not in RULES:
        raise InputError(f"rule {options['rule']}", "unknown", f"Choose one of {', '.join(RULES)}.")
    return TrivialSegmenter(options["rule"], float(options["median_diameter_mm"]))


class TrivialSegmenter(Segmenter):
    """Answers by a rule. `median_diameter_mm`: of a ball around a single click."""

    def __init__(self, rule: str, median_diameter_mm: float) -> None:
        self.rule, self.median_diameter_mm = rule, median_diameter_mm
        self._image: Image | None = None

    def set_image(self, image: Image) -> None:
        """Remember the image."""
        self._image = image

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """Union of the answers to all prompts; without prompts the answer that needs none."""
        if self._image is None:
            raise InputError("predict", "no image was set", "Call set_image first.")
        with measure() as cost:
            filled = np.zeros(self._image.shape, dtype=bool)
            for prompt in prompts:
                self._predict_lesion(filled, prompt)
            if not prompts and self.rule in ("otsu", "soft_tissue"):
                filled = _largest_soft_tissue_in_lung(self._image)
        return Prediction(Mask(filled, self._image.affine), None, cost.seconds, cost.peak_memory_mb)

    def parameters(self) -> dict[str, int]:
        """No parameters."""
        return {"parameters": 0, "parameters_trained": 0}

    def _predict_lesion(self, filled: np.ndarray, prompt: Prompt) -> None:
        if self.rule == "ellipse":
            filled |= shapes.span(prompt, self._image, self.median_diameter_mm)
        elif prompt.box_3d is not None:
            self._fill(filled, prompt.box_3d, prompt.box_3d)
        elif any(slice_prompt.box is not None for slice_prompt in prompt.slices):
            for _, seen, solid in shapes.solids_on_boxes(prompt, self._image):
                self._fill(filled, solid, seen)
        else:
            filled |= self._from_clicks(prompt)

    def _fill(self, filled: np.ndarray, box: Box, seen: Box) -> None:
        """Fill `box` by the rule; densities are judged by what the box `seen` holds."""
        where = box.voxels
        filled[where] |= True if self.rule == "filled" else self._is_dense(seen)(self._image.array[where])

    def _from_clicks(self, prompt: Prompt) -> np.ndarray:
        """Mask (x, y, z): the union of what each slice's clicks inside say, without what those outside take away."""
        result, inside = np.zeros(self._image.shape, dtype=bool), shapes.clicks_of(prompt, 1)
        for center, diameter_mm in shapes.balls_of_clicks(prompt, self._image, self.median_diameter_mm):
            result |= self._grow(center, diameter_mm, inside)
        return result & ~shapes.clicked_away(prompt, self._image, self.median_diameter_mm)

    def _grow(self, center: np.ndarray, diameter_mm: float, clicks: np.ndarray) -> np.ndarray:
        box = self._box_around(center, diameter_mm)
        if self.rule == "filled":
            result = np.zeros(self._image.shape, dtype=bool)
            result[box.voxels] = True
            return result
        dense = self._is_dense(box)(self._image.array) & shapes.ball(center, 2 * diameter_mm, self._image)
        labels, _ = ndimage.label(dense)
        reached = set(np.unique(labels[tuple(clicks.T)])) - {0}
        return np.isin(labels, sorted(reached))

    def _box_around(self, center: np.ndarray, diameter_mm: float) -> Box:
        half = diameter_mm / 2 / np.asarray(self._image.spacing_mm)
        low = np.clip(np.ceil(center - half), 0, np.array(self._image.shape) - 1).astype(int)
        high = np.clip(np.floor(center + half) + 1, low + 1, self._image.shape).astype(int)
        return Box(tuple(low.tolist()), tuple(high.tolist()))

    def _is_dense(self, box: Box) -> Callable[[np.ndarray], np.ndarray]:
        low, high = SOFT_TISSUE_HU
        if self.rule == "soft_tissue":
            return lambda hu: (hu >= low) & (hu <= high)
        threshold = _otsu(self._image.array[box.voxels])
        return lambda hu: hu >= threshold


def _otsu(hu: np.ndarray) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(hu)) if np.ptp(hu) > 0 else float(hu.flat[0])


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
