"""Base of the 3-D networks that learn on patches of a working grid: their settings, training, weights and input channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..core.measure import count_parameters
from ..types import InputError, Mask, Options, Study, TrainableSegmenter, TrainingRun
from . import training, transforms
from .losses import build_loss

AIR = -1.0  # the lowest value of every window: what lies outside the image


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """What a network sees, and how it is trained. Lengths in mm, windows in HU, sizes as (slices, rows, columns)."""

    spacing_mm: tuple[float, float, float]  # of the working grid, x, y, z
    windows_hu: tuple[tuple[float, float], ...]
    patch: tuple[int, int, int]
    batch_size: int
    steps: int
    learning_rate: float
    validate_every: int
    size_multiple: int = 16
    loss: str = "dice_ce"
    threshold: float = 0.5

    @classmethod
    def from_options(cls, options: Options) -> Self:
        """Settings from the options of an experiment (lists become tuples); options of the network itself are left alone."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: _as_tuple(value) for name, value in options.items() if name in known})


def _as_tuple(value: object) -> object:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list | tuple) else value


AnySettings = TypeVar("AnySettings", bound=PatchSettings)
WorkingCase = TypeVar("WorkingCase")  # what a segmenter keeps of a study that it is trained on


class PatchSegmenter(TrainableSegmenter, Generic[AnySettings, WorkingCase], ABC):
    """A segmenter around a 3-D network from (batch, channels, slices, rows, columns) to one logit per voxel.

    What it keeps of a study, what a patch of it is, and what it is validated by are the subclass's part.
    """

    device: torch.device
    shares_batches = True  # several processes can train it together

    def __init__(self, network: torch.nn.Module, settings: AnySettings, device: str = "auto"):
        self.device = training.choose_device(device)
        self.network = network.to(self.device, memory_format=_memory_format(network))  # a third faster on a CPU than the default
        self.settings = settings

    @abstractmethod
    def _working_cases(self, study: Study) -> Iterable[WorkingCase]:
        """What patches of a study are drawn from, on the working grid."""

    @abstractmethod
    def _sample(self, case: WorkingCase, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One patch: inputs (channels, slices, rows, columns) and reference (1, slices, rows, columns)."""

    @abstractmethod
    def _sample_batch(self, cases: Sequence[WorkingCase], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented inputs and references of a training step."""

    @abstractmethod
    def _validation_dsc(self, studies: Sequence[Study]) -> Callable[[], float] | None:
        """What measures the mean 3-D DSC on the validation studies; None without any that holds a lesion."""

    def fit(self, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> pd.DataFrame:
        """Train on whole studies; the checkpoint of the highest mean 3-D DSC on the validation studies is kept.

        Without validation studies (few-shot) the last one is. Returns the history (step, quantity, value).
        """
        studies = tqdm(train, desc="reading training cases", disable=not run.progress)
        cases = [case for study in studies for case in self._working_cases(study)]
        if not cases:
            raise InputError("training", f"{len(train)} studies hold nothing to learn from", "Give labeled studies, with a lesion.")
        plan = training.Schedule(self.settings.steps, self.settings.learning_rate, run.seed, validate_every=self.settings.validate_every)
        return training.train(
            self.network,
            lambda rng: self._sample_batch(cases, rng),
            build_loss(self.settings.loss),
            plan,
            run.folder,
            validate=self._validation_dsc(validation),
            identity=run.identity,
            progress=run.progress,
        )

    def save(self, path: Path, description: Mapping[str, object]) -> None:
        """Write the weights and what they belong to."""
        training.save_weights(self.network, path, description)

    def load(self, path: Path) -> dict[str, object]:
        """Read weights that `save` wrote; refuses those of another network. Returns their description."""
        return training.load_weights(self.network, path)

    def parameters(self) -> dict[str, int]:
        """Number of parameters, all and trained."""
        return count_parameters(self.network)

    def resolution_ceiling(self, reference: Mask) -> float:
        """DSC that a perfect prediction on the working grid would reach."""
        return transforms.resolution_ceiling(reference, self.settings.spacing_mm)

    def _channels(self, hu: np.ndarray) -> np.ndarray:
        return np.stack([transforms.window(hu, w) for w in self.settings.windows_hu])

    def _probability(self, inputs: np.ndarray) -> np.ndarray:
        """What the network says of one input (channels, slices, rows, columns): float32 (slices, rows, columns)."""
        batch = torch.from_numpy(inputs[None]).contiguous(memory_format=torch.channels_last_3d)
        with training.autocast(self.device):
            logits = self.network(batch.to(self.device))
        return torch.sigmoid(logits.float())[0, 0].cpu().numpy()

    def _sample_patches(self, cases: Sequence[WorkingCase], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches of random cases, not yet augmented: inputs (batch, channels, ...) and references (batch, 1, ...)."""
        pairs = [self._sample(cases[rng.integers(len(cases))], rng) for _ in range(self.settings.batch_size)]
        inputs, references = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
        return inputs, references


def _memory_format(network: torch.nn.Module) -> torch.memory_format:
    """Channels last, for the dimensions that the network convolves in: each format refuses the weights of the other."""
    three_d = any(p.ndim == 5 for p in network.parameters())
    return torch.channels_last_3d if three_d else torch.channels_last


def place(start: int, length: int, available: int) -> slice:
    """The interval of `length` from `start`, moved into [0, available); shorter where that is shorter."""
    low = int(np.clip(start, 0, max(0, available - length)))
    return slice(low, min(low + length, available))


def pad_to(array: np.ndarray, patch: tuple[int, ...], value: float) -> np.ndarray:
    """An array (channels, slices, rows, columns) filled up with `value`, at the ends, to the size of a patch."""
    pads = [(0, 0), *[(0, p - n) for p, n in zip(patch, array.shape[1:], strict=True)]]
    return np.pad(array, pads, constant_values=value)
