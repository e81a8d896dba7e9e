"""Automatic 2-D networks on volumes: working grid, windows and neighbouring slices in, one probability per voxel out.

A network of this kind maps (batch, channels, rows, columns) to one logit per pixel of the middle slice. Channels are the
slice and its neighbours, once per CT window. Whole slices are shown at inference, so that no tiling hides the context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from .. import training, transforms
from ..efficiency import count_parameters, measure
from ..metrics import dsc
from ..types import Image, InputError, Mask, Prediction, Prompt, Study
from .augmentation import SliceAugmentation, slice_augmentation
from .losses import build_loss


@dataclass(frozen=True)
class SliceSettings:
    """What a slice-wise network sees, and how it is trained. Lengths in mm, windows in HU."""

    spacing_mm: tuple[float, float, float]
    windows_hu: tuple[tuple[float, float], ...]
    context: int
    context_step: int
    patch: tuple[int, int]
    batch_size: int
    steps: int
    learning_rate: float
    validate_every: int
    foreground_share: float
    loss: str = "dice_ce"
    size_multiple: int = 16
    threshold: float = 0.5
    inference_batch: int = 8

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return len(self.windows_hu) * (2 * self.context + 1)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> SliceSettings:
        """Settings from the options of an experiment (lists become tuples); keys of the network itself are left alone."""
        known = {f.name for f in fields(cls)}
        missing = sorted({f.name for f in fields(cls) if f.default is f.default_factory} - set(options))
        if missing:
            raise InputError("options", f"missing {missing}", "Add them to experiments.yml.")
        return cls(**{name: _as_tuple(value) for name, value in options.items() if name in known})


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class _WorkingCase:
    hu: np.ndarray  # int16 (z, rows, columns) on the working grid
    reference: np.ndarray  # float16, covered fraction
    foreground: np.ndarray  # int (n, 3) indices into them


class SliceSegmenter:
    """A segmenter around a 2-D network; ignores prompts. `probability` is on the image's own grid."""

    def __init__(self, network: torch.nn.Module, settings: SliceSettings, device: str = "auto"):
        self.device = training.choose_device(device)
        self.network = network.to(self.device)
        self.settings = settings
        self._image: Image | None = None

    def set_image(self, image: Image) -> None:
        """Take a CT and bring it to the working grid."""
        self._image = image
        self._slices = transforms.to_working_slices(image, self.settings.spacing_mm)

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """Segment the whole volume that `set_image` took."""
        if self._image is None:
            raise InputError("predict", "no image was set", "Call set_image first.")
        with measure() as cost:
            probability = transforms.from_working_slices(self._probabilities(self._slices), self._image)
            mask = Mask(probability > self.settings.threshold, self._image.affine)
        return Prediction(mask, probability, cost.seconds, cost.peak_memory_mb)

    def resolution_ceiling(self, reference: Mask) -> float:
        """DSC that a perfect answer on the working grid would reach."""
        return transforms.resolution_ceiling(reference, self.settings.spacing_mm)

    @torch.inference_mode()
    def _probabilities(self, slices: np.ndarray) -> np.ndarray:
        self.network.eval()
        result = np.empty(slices.shape, dtype=np.float32)
        for start in range(0, len(slices), self.settings.inference_batch):
            indices = range(start, min(start + self.settings.inference_batch, len(slices)))
            inputs = transforms.pad_to_multiple(self._channels(slices, indices), self.settings.size_multiple, -1.0)
            with training.autocast(self.device):
                logits = self.network(torch.from_numpy(inputs).to(self.device))
            probability = torch.sigmoid(logits.float())[:, 0].cpu().numpy()
            result[indices.start : indices.stop] = probability[:, : slices.shape[1], : slices.shape[2]]
        return result

    def _channels(self, slices: np.ndarray, indices: Sequence[int]) -> np.ndarray:
        stack = transforms.slice_context(slices, indices, self.settings.context, self.settings.context_step)
        return np.concatenate([transforms.window(stack, w) for w in self.settings.windows_hu], axis=1)

    def fit(
        self,
        train_studies: Sequence[Study],
        validation_studies: Sequence[Study],
        seed: int,
        folder: Path,
        identity: str,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Train on whole studies; the checkpoint of the highest mean 3-D DSC on the validation studies is kept.

        Without validation studies (few-shot) the last one is. Returns the history (step, quantity, value).
        """
        cases = [self._working_case(study) for study in tqdm(train_studies, desc="reading training cases", disable=not progress)]
        held_out = [self._working_case(study) for study in validation_studies]
        held_out = [case for case in held_out if len(case.foreground)]
        augment = slice_augmentation()
        plan = training.Plan(self.settings.steps, self.settings.learning_rate, seed, validate_every=self.settings.validate_every)
        return training.train(
            self.network,
            lambda rng: self._sample_batch(cases, augment, rng),
            build_loss(self.settings.loss),
            plan,
            folder,
            validate=(lambda: self._validation_dsc(held_out)) if held_out else None,
            identity=identity,
            progress=progress,
        )

    def save(self, path: Path, description: dict[str, Any]) -> None:
        """Write the weights and what they belong to."""
        training.save_weights(self.network, path, description)

    def load(self, path: Path) -> dict[str, Any]:
        """Read weights that `save` wrote; refuses those of another network. Returns their description."""
        return training.load_weights(self.network, path)

    def parameters(self) -> dict[str, int]:
        """Number of parameters, all and trained."""
        return count_parameters(self.network)

    def _working_case(self, study: Study) -> _WorkingCase:
        hu = np.rint(transforms.to_working_slices(study.image, self.settings.spacing_mm)).astype(np.int16)
        reference = transforms.to_working_slices(next(iter(study.references.values())), self.settings.spacing_mm)
        return _WorkingCase(hu, reference.astype(np.float16), np.argwhere(reference > 0.5))

    def _validation_dsc(self, cases: Sequence[_WorkingCase]) -> float:
        answers = [self._probabilities(case.hu) > self.settings.threshold for case in cases]
        return float(np.mean([dsc(case.reference > 0.5, answer) for case, answer in zip(cases, answers, strict=True)]))

    def _sample_batch(
        self, cases: Sequence[_WorkingCase], augment: SliceAugmentation, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = [augment(*self._sample(cases[rng.integers(len(cases))], rng), rng) for _ in range(self.settings.batch_size)]
        inputs, targets = (np.stack(part) for part in zip(*pairs, strict=True))
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def _sample(self, case: _WorkingCase, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One patch: inputs (channels, rows, columns) and reference (1, rows, columns)."""
        if len(case.foreground) and rng.random() < self.settings.foreground_share:
            centre = case.foreground[rng.integers(len(case.foreground))]
        else:
            centre = rng.integers(case.hu.shape)
        window = tuple(_place(c, p, n, rng) for c, p, n in zip(centre[1:], self.settings.patch, case.hu.shape[1:], strict=True))
        inputs = self._channels(case.hu[(slice(None), *window)], [int(centre[0])])[0]
        reference = case.reference[(int(centre[0]), *window)][None].astype(np.float32)
        return _pad_to(inputs, self.settings.patch, -1.0), _pad_to(reference, self.settings.patch, 0.0)


def _place(centre: int, length: int, available: int, rng: np.random.Generator) -> slice:
    """An interval of `length` that holds `centre`, at a random offset, inside [0, available)."""
    low = int(centre) - int(rng.integers(length // 4, length - length // 4))
    low = int(np.clip(low, 0, max(0, available - length)))
    return slice(low, min(low + length, available))


def _pad_to(array: np.ndarray, patch: tuple[int, int], value: float) -> np.ndarray:
    pads = [(0, 0), *[(0, p - n) for p, n in zip(patch, array.shape[1:], strict=True)]]
    return np.pad(array, pads, constant_values=value)
