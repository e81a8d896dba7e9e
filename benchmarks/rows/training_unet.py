"""Training steps of the U-Net: this project's loop, with its checkpoints and memory format, and a plain loop around MONAI's network."""

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

from ..row import Agreement, Row, Setting, Work

STEPS, PATCH, LIMIT = 12, (32, 64, 64), 1e-3
AGAINST = "the library's network in a plain loop, same batches"
ROW = Row(work=f"{STEPS} training steps of the U-Net, batches at hand", against=AGAINST, goal=1.0)

Batch = tuple[Any, torch.Tensor]


def prepare(setting: Setting) -> Work:
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
