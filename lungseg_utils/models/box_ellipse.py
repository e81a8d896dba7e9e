"""Trivial baseline: the ellipse inscribed in each box. What a promptable model must beat to have seen anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..efficiency import measure
from ..types import Box, Image, InputError, Mask, ModelCard, Prediction, Prompt

CARD = ModelCard(
    title="ellipse in the box",
    summary="Trivial baseline without a network: fills the ellipse inscribed in the box of each slice.",
    reference="this project",
    doi="",
    licence="Apache-2.0",
    paradigms=("zero_shot",),
    prompters=("box_every_slice",),
)


def build(options: Mapping[str, Any], seed: int = 0) -> EllipseSegmenter:
    """The baseline; it has no options, and nothing about it is random."""
    return EllipseSegmenter()


class EllipseSegmenter:
    """Draws, and looks at no voxel."""

    def __init__(self) -> None:
        self._image: Image | None = None

    def set_image(self, image: Image) -> None:
        """Remember the grid."""
        self._image = image

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """Union of the inscribed ellipses of all boxes; a prompt without boxes is refused."""
        if self._image is None:
            raise InputError("predict", "no image was set", "Call set_image first.")
        with measure() as cost:
            filled = np.zeros(self._image.shape, dtype=bool)
            for prompt in prompts:
                for hint in prompt.slices:
                    if hint.box is None:
                        raise InputError("prompt", "the ellipse baseline needs a box on each slice", "Use box_every_slice.")
                    _fill_ellipse(filled, hint.box)
        return Prediction(Mask(filled, self._image.affine), None, cost.seconds, cost.peak_memory_mb)

    def parameters(self) -> dict[str, int]:
        """No parameters."""
        return {"parameters": 0, "parameters_trained": 0}


def _fill_ellipse(filled: np.ndarray, box: Box) -> None:
    """Voxels of the box's slice whose centres lie in the ellipse that touches the box's four sides."""
    axes = []
    for low, high in zip(box.ijk_min[:2], box.ijk_max[:2], strict=True):
        radius = (high - low) / 2
        axes.append(((np.arange(low, high) + 0.5 - (low + radius)) / radius) ** 2)
    inside = axes[0][:, None] + axes[1][None, :] <= 1.0
    filled[box.ijk_min[0] : box.ijk_max[0], box.ijk_min[1] : box.ijk_max[1], box.ijk_min[2]] |= inside
