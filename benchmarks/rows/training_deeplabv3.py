"""Training steps of DeepLabV3, with the same two loops as for the U-Net."""

from __future__ import annotations

from ..row import Row, Setting, Work
from .training_unet import AGAINST, STEPS, compare_automatic

PATCH = (4, 96, 96)
LIMIT = 1e-2  # normalized over a batch of few values, it makes ten times more of rounding than the U-Net does
ROW = Row(work=f"{STEPS} training steps of DeepLabV3, batches at hand", against=AGAINST, goal=1.0)


def prepare(setting: Setting) -> Work:
    """The network of the default profile, on noise."""
    return compare_automatic("deeplabv3", STEPS, PATCH, LIMIT)
