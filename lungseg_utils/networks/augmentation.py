"""Augmentation of slices by MONAI: small affine maps, mirror images, contrast and noise, all drawn from one generator."""

from __future__ import annotations

import numpy as np
from monai.transforms import Compose, RandAffined, RandFlipd, RandGaussianNoised, RandScaleIntensityd, RandShiftIntensityd


def slice_augmentation() -> SliceAugmentation:
    """The augmentation that every slice-wise network shares."""
    return SliceAugmentation(
        Compose(
            [
                RandAffined(
                    ("image", "reference"),
                    prob=0.5,
                    rotate_range=0.2,
                    scale_range=(0.15, 0.15),
                    mode="bilinear",
                    padding_mode="border",
                ),
                RandFlipd(("image", "reference"), prob=0.5, spatial_axis=1),
                RandScaleIntensityd("image", factors=0.1, prob=0.5),
                RandShiftIntensityd("image", offsets=0.1, prob=0.5),
                RandGaussianNoised("image", prob=0.3, std=0.05),
            ]
        )
    )


class SliceAugmentation:
    """Callable on (inputs, reference, rng): arrays (channels, rows, columns) in and out, float32."""

    def __init__(self, transform: Compose):
        self._transform = transform

    def __call__(self, inputs: np.ndarray, reference: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw one random transform from `rng` and apply it."""
        self._transform.set_random_state(seed=int(rng.integers(2**31)))
        result = self._transform({"image": inputs, "reference": reference})
        return tuple(np.ascontiguousarray(result[key], dtype=np.float32) for key in ("image", "reference"))
