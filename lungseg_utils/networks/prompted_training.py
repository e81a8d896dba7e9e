"""How promptable networks are trained: settings, which parts move, augmentation; alike for pretraining and for fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from ..types import InputError

TRAINABLE = ("encoder_and_decoder", "decoder", "lora")
LORA_RANK = 4
CONTRAST = 0.1
BRIGHTNESS = 0.05


@dataclass(frozen=True)
class TrainingSettings:
    """Budget and recipe of training on labelled patients. `trainable`: which parts move, the prompt encoder never."""

    steps: int
    batch_size: int
    learning_rate: float
    validate_every: int
    box_jitter: float  # each side of a training box is moved by up to this share of its length
    trainable: str = "encoder_and_decoder"
    loss: str = "dice_bce_per_image"
    follow_share: float = 0.0  # of the samples prompted as propagation does, from the neighbouring slice (0 in published recipes)
    clip_slices: int = 1  # slices of a training sample, for networks that follow an object through slices
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.trainable not in TRAINABLE:
            raise InputError(f"trainable {self.trainable}", "unknown", f"Choose one of {', '.join(TRAINABLE)}.")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> TrainingSettings:
        """The options of a model that say how it is trained on patients."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in options.items() if k in known})


def free_parts(network: torch.nn.Module, trained_parts: Sequence[str], attention_layers: Sequence[str], trainable: str) -> None:
    """Freeze everything but what `trainable` names; "lora" adds low-rank updates to the attention layers of the first part.

    `trained_parts` are names of submodules: the image encoder first, then what decodes.
    """
    network.requires_grad_(False)
    moved = trained_parts if trainable == "encoder_and_decoder" else trained_parts[1:]
    for name in moved:
        network.get_submodule(name).requires_grad_(True)
    if trainable == "lora":
        add_lora(network.get_submodule(trained_parts[0]), attention_layers)


def add_lora(encoder: torch.nn.Module, attention_layers: Sequence[str]) -> None:
    """Low-rank updates (Hu et al. 2022, arXiv 2106.09685) by peft, in place; a second call changes nothing."""
    from peft import LoraConfig, inject_adapter_in_model

    if not any("lora_" in name for name, _ in encoder.named_parameters()):
        inject_adapter_in_model(LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=list(attention_layers)), encoder)


def mirror(pictures: np.ndarray, box_xy: np.ndarray, targets: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One random change for all slices of a sample: mirrored along each axis or not, contrast and brightness moved a little.

    Pictures and targets (slices, side, side), box (4) as edges x_min, y_min, x_max, y_max in pixels of that square.
    """
    side, box = pictures.shape[-1], box_xy.copy()
    for axis, (low, high) in ((-1, (0, 2)), (-2, (1, 3))):
        if rng.random() < 0.5:
            pictures, targets = np.flip(pictures, axis), np.flip(targets, axis)
            box[low], box[high] = side - box[high], side - box[low]
    factor, shift = rng.uniform(1 - CONTRAST, 1 + CONTRAST), rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    pictures = np.clip((pictures - 0.5) * factor + 0.5 + shift, 0, 1)
    return np.ascontiguousarray(pictures, np.float32), box.astype(np.float32), np.ascontiguousarray(targets, np.float32)
