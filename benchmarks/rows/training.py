"""Training steps of this project's loop, with its checkpoints and memory format, and of a plain loop around the library's network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lungseg_utils import registry
from lungseg_utils.networks import training
from lungseg_utils.networks.losses import build_loss
from lungseg_utils.networks.sam import Size
from lungseg_utils.networks.sam2 import ClipLoss

from ..networks import draw_places, packaged_encoder
from ..row import Agreement, Setting, Work, row

STEPS, PATCH, LIMIT = 12, (32, 64, 64), 1e-3
AGAINST = "the library's network in a plain loop, same batches"
Batch = tuple[Any, torch.Tensor]
SLAB = (4, 96, 96)
LIMIT_OF_FEW_VALUES = 1e-2  # normalized over a batch of few values, it makes ten times more of rounding than the U-Net does
MANY_STEPS = training.Schedule.checkpoint_every  # steps so short that a checkpoint in twelve would be a twentieth of them


@row(work=f"{STEPS} training steps of the U-Net, batches at hand", against=AGAINST, goal=1.0)
def training_unet(setting: Setting) -> Work:
    """The network of the default profile, on noise."""
    return compare_automatic("unet", STEPS, PATCH)


def compare_automatic(model: str, steps: int, patch: tuple[int, int, int], limit: float = LIMIT) -> Work:
    """The comparison for any network of whole CTs, at any size (slices, rows, columns)."""
    module = registry.plugin("models", model)
    options = {**module.CARD.options, "device": "cpu"}
    plain_network = module.build(options).network.to(memory_format=torch.contiguous_format)
    plain_network.memory_format = torch.contiguous_format  # of slices, where it takes a volume apart
    generator = torch.Generator().manual_seed(0)
    shape = (int(options["batch_size"]), len(options["windows_hu"]), *patch)
    inputs = torch.randn(shape, generator=generator)
    targets = (torch.rand((shape[0], 1, *patch), generator=generator) > 0.9).float()
    loss = build_loss(options["loss"])
    return compare_loops(module.build(options).network, plain_network, lambda: (inputs, targets), loss, steps, limit)


def compare_loops(
    network: torch.nn.Module, plain_network: torch.nn.Module, batch: Callable[[], Batch], loss: Any, steps: int, limit: float = LIMIT
) -> Work:
    """Losses of `steps` steps from the same weights, by `training.train` and by a plain loop; they may differ by `limit`."""
    plan = training.Schedule(steps, 1e-3, seed=0, checkpoint_every=steps)

    def fast() -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            history = training.train(deepcopy(network), lambda rng: batch(), loss, plan, Path(folder), progress=False)
        return history["value"].to_numpy()

    def check(ours: np.ndarray, theirs: np.ndarray) -> Agreement:
        return Agreement("difference", float(np.abs(ours - theirs).max()), limit)

    return Work(fast, lambda: _plain_losses(deepcopy(plain_network), batch, loss, plan), check, operations=0.0, bytes=0.0)


def _plain_losses(network: torch.nn.Module, batch: Callable[[], Batch], loss: Any, plan: training.Schedule) -> np.ndarray:
    optimizer, values = torch.optim.AdamW(network.parameters(), plan.learning_rate, weight_decay=plan.weight_decay), []
    network.train()
    for step in range(plan.steps):
        torch.manual_seed(training.step_seed(plan.seed, step))  # the same dropout
        inputs, targets = batch()
        optimizer.param_groups[0]["lr"] = training.learning_rate_at(step, plan)
        optimizer.zero_grad()
        value = loss(network(*(inputs if isinstance(inputs, tuple) else (inputs,))), targets)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), plan.gradient_clip)
        optimizer.step()
        values.append(value.item())
    return np.array(values)


@row(work=f"{STEPS} training steps of DeepLabV3, batches at hand", against=AGAINST, goal=1.0)
def training_deeplabv3(setting: Setting) -> Work:
    """The network of the default profile, on noise."""
    return compare_automatic("deeplabv3", STEPS, SLAB, LIMIT_OF_FEW_VALUES)


@row(work=f"{MANY_STEPS} training steps of the small promptable ViT, batches at hand", against=AGAINST, goal=1.0, warm=False)
def training_vit(setting: Setting) -> Work:
    """The stand-in of the default profile, on noise."""
    return compare_vits(MANY_STEPS)


def compare_vits(steps: int) -> Work:
    """The comparison for any number of steps."""
    module = registry.plugin("models", "sam_stand_in")
    options = {**module.CARD.options, "device": "cpu"}
    ours, plain = (draw_places(module.build(options).network) for _ in range(2))
    encoder = packaged_encoder(Size.from_options(options), int(options["canvas"]))
    encoder.load_state_dict(plain.image_encoder.state_dict())
    plain.image_encoder = encoder
    count, canvas = int(options["batch_size"]), int(options["canvas"])
    pictures, targets = torch.rand((2, count, 1, canvas, canvas), generator=torch.Generator().manual_seed(0))
    batch = (pictures, *boxes(count, canvas)), (targets > 0.5).float()
    return compare_loops(ours, plain, lambda: batch, build_loss(options["loss"]), steps)


def boxes(count: int, canvas: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same box for each picture of a batch, as positions and labels of its corners."""
    corners = torch.tensor([[[0.2, 0.3], [0.7, 0.8]]]).expand(count, -1, -1) * canvas
    return corners, torch.tensor([[2, 3]], dtype=torch.int32).expand(count, -1)


@row(work=f"{STEPS} training steps of the small SAM 2-type stand-in on clips, batches at hand", against=AGAINST, goal=1.0)
def training_sam2(setting: Setting) -> Work:
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
