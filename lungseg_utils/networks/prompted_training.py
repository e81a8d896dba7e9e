"""Training of promptable networks: settings, trainable parts, augmentation; the same for pretraining and for fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy import ndimage

from ..types import Box, InputError, Options, Points, SlicePrompt

TRAINABLE = ("encoder_and_decoder", "decoder", "lora")
LORA_RANK = 4
CONTRAST = 0.1
BRIGHTNESS = 0.05


@dataclass(frozen=True)
class TrainingSettings:
    """Budget and recipe of training on labeled patients. `trainable`: which parts move, the prompt encoder never."""

    steps: int
    batch_size: int
    learning_rate: float
    validate_every: int
    box_jitter: float  # each side of a training box is moved by up to this share of its length
    trainable: str = "encoder_and_decoder"
    loss: str = "dice_bce_per_image"
    point_share: float = 0.0  # of the steps ask with clicks (one to three, or a box and one) in the place of boxes
    follow_share: float = 0.0  # of the samples prompted as propagation does, from the neighbouring slice (0 in published recipes)
    clip_slices: int = 1  # slices of a training sample, for networks that follow an object through slices
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.trainable not in TRAINABLE:
            raise InputError(f"trainable {self.trainable}", "unknown", f"Choose one of {', '.join(TRAINABLE)}.")

    @classmethod
    def from_options(cls, options: Options) -> TrainingSettings:
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


@dataclass(frozen=True)
class PromptForm:
    """What the prompts of one training step consist of: alike for all samples, so that they make one tensor."""

    box: bool
    clicks: int

    @classmethod
    def draw(cls, point_share: float, rng: np.random.Generator) -> PromptForm:
        """A box; or, with probability `point_share`, one to three clicks, or a box and a click."""
        if point_share == 0 or rng.random() >= point_share:
            return cls(True, 0)
        return (cls(False, 1), cls(False, 2), cls(False, 3), cls(True, 1))[rng.integers(4)]


def draw_prompt(plane: np.ndarray, box: Box, form: PromptForm, rng: np.random.Generator) -> SlicePrompt:
    """A prompt of the given form for an object `plane` (x, y) on the slice of `box`, its (jittered) box.

    Without a box the first click lies inside, at least half as deep as the deepest voxel; other clicks are inside or, as often, outside
    of the object at no more than half its box's length from it.
    """
    index = box.ijk_min[2]
    places, labels = [], []
    for number in range(form.clicks):
        inside = (number == 0 and not form.box) or rng.random() < 0.5
        choices = np.argwhere(_half_deep(plane) if inside else _around(plane, box))
        if len(choices):
            i, j = choices[rng.integers(len(choices))]
            places.append((int(i), int(j), index))
            labels.append(int(inside))
    while places and len(places) < form.clicks:  # nothing lies outside: the same click once more
        places.append(places[-1])
        labels.append(labels[-1])
    points = Points(tuple(places), tuple(labels)) if places else None
    return SlicePrompt(index, box=box if form.box else None, points=points)


def _half_deep(plane: np.ndarray) -> np.ndarray:
    depth = ndimage.distance_transform_edt(np.pad(plane, 1))[1:-1, 1:-1]
    return plane & (depth >= depth.max() / 2)


def _around(plane: np.ndarray, box: Box) -> np.ndarray:
    near = np.zeros_like(plane)
    more = [int(np.ceil((box.ijk_max[a] - box.ijk_min[a]) / 2)) for a in (0, 1)]
    near[tuple(slice(max(0, box.ijk_min[a] - more[a]), box.ijk_max[a] + more[a]) for a in (0, 1))] = True
    return near & ~plane


def mirror(
    pictures: np.ndarray, positions: np.ndarray, labels: np.ndarray, targets: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """One random change for all slices of a sample: mirrored along each axis or not, contrast and brightness moved a little.

    Pictures and targets (slices, side, side); positions (m, 2) in pixels of that square and labels (m) as in `prompt_tokens`.
    """
    side, positions = pictures.shape[-1], positions.copy()
    for axis, xy in ((-1, 0), (-2, 1)):
        if rng.random() < 0.5:
            pictures, targets = np.flip(pictures, axis), np.flip(targets, axis)
            positions[:, xy] = side - positions[:, xy]
            if 2 in labels:  # the corners of a box stay sorted
                positions[:2, xy] = positions[:2, xy][::-1].copy()
    factor, shift = rng.uniform(1 - CONTRAST, 1 + CONTRAST), rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    pictures = np.clip((pictures - 0.5) * factor + 0.5 + shift, 0, 1)
    return np.ascontiguousarray(pictures, np.float32), positions.astype(np.float32), labels, np.ascontiguousarray(targets, np.float32)
