"""Training steps of the small SAM 2 of the stand-ins on clips: this project's loop and a plain one around the package's classes."""

from __future__ import annotations

from copy import deepcopy

import torch

from lungseg_utils import registry
from lungseg_utils.networks.sam2 import ClipLoss

from ..networks import draw_places
from ..row import Row, Setting, Work
from .training_unet import AGAINST, STEPS, compare_loops
from .training_vit import boxes

ROW = Row(work=f"{STEPS} training steps of the small SAM 2-type stand-in on clips, batches at hand", against=AGAINST, goal=1.0)


def prepare(setting: Setting) -> Work:
    """The stand-in of the default profile, on noise."""
    return compare_sam2(STEPS)


def compare_sam2(steps: int) -> Work:
    """The comparison for any number of steps."""
    module = registry.plugin("models", "sam2_stand_in")
    options = {**module.CARD.options, "device": "cpu"}
    network = draw_places(module.build(options).network)
    count, slices, canvas = int(options["batch_size"]), int(options["clip_slices"]), int(options["canvas"])
    pictures, noise = torch.rand((2, count, slices, canvas, canvas), generator=torch.Generator().manual_seed(0))
    there = torch.ones((count, slices), dtype=torch.bool)
    batch = (pictures, *boxes(count, canvas)), ((noise > 0.5).float(), there, there)
    return compare_loops(network, deepcopy(network), lambda: batch, ClipLoss(options["loss"]), steps)
