"""Small trainings, alone or with other processes: what tests start under torchrun. Arguments: folder, step to stop before, models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lungseg_utils import registry
from lungseg_utils.core import distributed, files
from lungseg_utils.networks import training
from lungseg_utils.networks.losses import build_loss
from lungseg_utils.types import Image, Mask, Study, TrainingRun

MODELS = {
    "unet": {"spacing_mm": [2.0, 2.0, 3.0], "patch": [8, 16, 16], "widths": [8, 16], "steps": 12, "validate_every": 6, "batch_size": 4},
    "unet_prompted": {"spacing_mm": [2.0, 2.0, 3.0], "patch": [8, 16, 16], "widths": [8, 16], "steps": 12, "validate_every": 6,
                      "batch_size": 4},
    "deeplabv3": {"spacing_mm": [2.0, 2.0, 3.0], "patch": [4, 16, 16], "width": 0.5, "steps": 4, "validate_every": 4, "batch_size": 4},
    "sam_stand_in": {"canvas": 32, "patch": 8, "width": 16, "depth": 2, "heads": 2, "global_blocks": [1], "window": 2, "prompt_width": 16,
                     "decoder_width": 32, "steps": 12, "batch_size": 4, "validate_every": 12, "learning_rate": 1e-3, "point_share": 0.5},
    "sam2_stand_in": {"canvas": 64, "steps": 6, "batch_size": 2, "validate_every": 6},
}  # fmt: skip
SINGLE = ("sam_stand_in", "sam2_stand_in")  # segment-anything and sam2 place their prompts in single precision
PLAIN = training.Schedule(steps=12, learning_rate=1e-2, seed=3, warmup_steps=5, checkpoint_every=5)


def study(seed: int) -> Study:
    """A bright box in noise."""
    rng, box = np.random.default_rng(seed), np.zeros((32, 28, 14), bool)
    i, j = rng.integers(4, 12, 2)
    box[i : i + 9, j : j + 8, 4:9] = True
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    return Study(Image(np.where(box, 40, -800) + rng.normal(0, 30, box.shape), affine), {"reference": Mask(box, affine)})


def without_dropout(network: torch.nn.Module) -> torch.nn.Module:
    """Which units are dropped depends on how a batch is split; everything else must not."""
    for module in network.modules():
        for name in ("p", "dropout_p"):
            if hasattr(module, name):
                setattr(module, name, 0.0)
    return network


def in_double(network: torch.nn.Module) -> torch.nn.Module:
    """Sums in another order differ by 1e-16, not 1e-7: normalization over few values and Adam enlarge that as each machine rounds."""

    def widened(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(a.double() if a.is_floating_point() else a for a in arguments)

    network.double().register_forward_pre_hook(widened)
    return network


def plain() -> torch.nn.Module:
    """A network that normalizes over the batch."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 1))


def sample(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Four noisy planes, and where they are bright."""
    planes = torch.from_numpy(rng.normal(size=(4, 1, 8, 8)).astype(np.float32))
    return planes, (planes > 0.5).float()


def train(model: str, folder: Path) -> pd.DataFrame:
    """The history: each loss depends on the weights that all steps before it left."""
    if model == "plain":
        return training.train(in_double(plain()), sample, build_loss("dice_ce"), PLAIN, folder, progress=False)
    module = registry.plugin("models", model)
    segmenter = module.build({**module.CARD.options, **MODELS[model]}, 0)
    without_dropout(segmenter.network)
    if model not in SINGLE:
        in_double(segmenter.network)
    return segmenter.fit([study(s) for s in range(3)], [study(9)], TrainingRun(0, folder, "x", progress=False))


def stopped_before(step: int, train_step: Callable[..., float]) -> Callable[..., float]:
    """A training step that raises in the place of step `step` (from 0)."""
    done = []

    def counted(*arguments: Any) -> float:
        if len(done) == step:
            raise KeyboardInterrupt
        done.append(1)
        return train_step(*arguments)

    return counted


def main(folder: Path, stop: int, models: list[str]) -> None:
    """Train as one of the processes, which the first one calls; it alone writes the history."""
    if stop:
        training._step = stopped_before(stop, training._step)
    distributed.broadcast("train")
    for model in models:
        history = train(model, folder / model)
        if distributed.index() == 0:
            files.write(history, folder / model / "history.csv")
    distributed.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
