"""Automatic 3-D networks on whole CTs: from a working grid and CT windows to one probability per voxel of the original grid.

Such a network maps (batch, channels, slices, rows, columns) to one logit per voxel; a channel is a CT window. It is trained on patches
and, being convolutional, predicts slabs of whole slices, so no tile border cuts the context in a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..core.masks import dsc
from ..core.measure import count_parameters, measure
from ..types import Mask, Options, Prediction, Study, TrainingRun
from . import training, transforms
from .augmentation import augment_volumes
from .losses import build_loss
from .prompted_control import WholeScanSegmenter

_AIR = -1.0  # the lowest value of every window: what lies outside the image


@dataclass(frozen=True)
class Settings:
    """What an automatic network sees, and how it is trained. Lengths in mm, windows in HU, sizes as (slices, rows, columns)."""

    spacing_mm: tuple[float, float, float]  # of the working grid, x, y, z
    windows_hu: tuple[tuple[float, float], ...]
    patch: tuple[int, int, int]
    batch_size: int
    steps: int
    learning_rate: float
    validate_every: int
    foreground_share: float  # of the patches that hold a tumor voxel for sure
    slab: int  # slices that are answered at once
    slab_overlap: int  # further slices on either side that are seen, and not answered
    size_multiple: int = 16
    loss: str = "dice_ce"
    threshold: float = 0.5

    @classmethod
    def from_options(cls, options: Options) -> Settings:
        """Settings from the options of an experiment (lists become tuples); options of the network itself are left alone."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: _as_tuple(value) for name, value in options.items() if name in known})


def _as_tuple(value: object) -> object:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class _WorkingCase:
    hu: np.ndarray  # int16 (slices, rows, columns) on the working grid
    reference: np.ndarray  # float16, covered fraction
    foreground: np.ndarray  # int (n, 3), indices of tumor voxels


class AutomaticSegmenter(WholeScanSegmenter):
    """A segmenter around a 3-D network that reads no prompts. `probability` is on the image's own grid.

    Prompts are answered as by all automatic segmenters (`WholeScanSegmenter`).
    """

    device: torch.device
    shares_batches = True  # several processes can train it together

    def __init__(self, network: torch.nn.Module, settings: Settings, device: str = "auto"):
        self.device = training.choose_device(device)
        self.network = network.to(self.device, memory_format=_memory_format(network))  # a third faster on a CPU than the default
        self.settings = settings

    def _segment(self) -> Prediction:
        with measure() as cost:
            slices = transforms.to_working_slices(self._image, self.settings.spacing_mm)
            probability = transforms.from_working_slices(self._probabilities(slices), self._image)
            mask = Mask(probability > self.settings.threshold, self._image.affine)
        return Prediction(mask, probability, cost.seconds, cost.peak_memory_mb)

    def resolution_ceiling(self, reference: Mask) -> float:
        """DSC that a perfect prediction on the working grid would reach."""
        return transforms.resolution_ceiling(reference, self.settings.spacing_mm)

    @torch.inference_mode()
    def _probabilities(self, slices: np.ndarray) -> np.ndarray:
        """Probability of each voxel of the working grid, slab by slab so that memory does not grow with the scan."""
        self.network.eval()
        result = np.empty(slices.shape, dtype=np.float32)
        for inner, seen in _slabs(len(slices), self.settings.slab, self.settings.slab_overlap):
            part = slices[seen]
            inputs = transforms.pad_to_multiple(self._channels(part)[None], self.settings.size_multiple, _AIR)
            with training.autocast(self.device):
                logits = self.network(_tensor(inputs).to(self.device))
            probability = torch.sigmoid(logits.float())[0, 0].cpu().numpy()[tuple(slice(n) for n in part.shape)]
            result[inner] = probability[inner.start - seen.start : inner.stop - seen.start]
        return result

    def _channels(self, hu: np.ndarray) -> np.ndarray:
        return np.stack([transforms.window(hu, w) for w in self.settings.windows_hu])

    def fit(self, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> pd.DataFrame:
        """Train on whole studies; the checkpoint of the highest mean 3-D DSC on the validation studies is kept.

        Without validation studies (few-shot) the last one is. Returns the history (step, quantity, value).
        """
        self._unprompted = None
        cases = [self._working_case(study) for study in tqdm(train, desc="reading training cases", disable=not run.progress)]
        held_out = [self._working_case(study) for study in validation]
        held_out = [case for case in held_out if len(case.foreground)]
        plan = training.Schedule(self.settings.steps, self.settings.learning_rate, run.seed, validate_every=self.settings.validate_every)
        return training.train(
            self.network,
            lambda rng: self._sample_batch(cases, rng),
            build_loss(self.settings.loss),
            plan,
            run.folder,
            validate=(lambda: self._validation_dsc(held_out)) if held_out else None,
            identity=run.identity,
            progress=run.progress,
        )

    def save(self, path: Path, description: Mapping[str, object]) -> None:
        """Write the weights and what they belong to."""
        training.save_weights(self.network, path, description)

    def load(self, path: Path) -> dict[str, object]:
        """Read weights that `save` wrote; refuses those of another network. Returns their description."""
        self._unprompted = None
        return training.load_weights(self.network, path)

    def parameters(self) -> dict[str, int]:
        """Number of parameters, all and trained."""
        return count_parameters(self.network)

    def _working_case(self, study: Study) -> _WorkingCase:
        hu = np.rint(transforms.to_working_slices(study.image, self.settings.spacing_mm)).astype(np.int16)
        reference = transforms.to_working_slices(study.reference, self.settings.spacing_mm)
        return _WorkingCase(hu, reference.astype(np.float16), np.argwhere(reference > 0.5))

    def _validation_dsc(self, cases: Sequence[_WorkingCase]) -> float:
        predictions = [self._probabilities(case.hu) > self.settings.threshold for case in cases]
        return float(np.mean([dsc(case.reference > 0.5, prediction) for case, prediction in zip(cases, predictions, strict=True)]))

    def _sample_batch(self, cases: Sequence[_WorkingCase], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = [self._sample(cases[rng.integers(len(cases))], rng) for _ in range(self.settings.batch_size)]
        inputs, references = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
        inputs, references = augment_volumes(inputs, references, rng)
        return inputs.contiguous(memory_format=torch.channels_last_3d), references

    def _sample(self, case: _WorkingCase, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One patch: inputs (channels, slices, rows, columns) and reference (1, slices, rows, columns)."""
        if len(case.foreground) and rng.random() < self.settings.foreground_share:
            centre = case.foreground[rng.integers(len(case.foreground))]
        else:
            centre = rng.integers(case.hu.shape)
        where = tuple(_place(c, p, n, rng) for c, p, n in zip(centre, self.settings.patch, case.hu.shape, strict=True))
        inputs, reference = self._channels(case.hu[where]), case.reference[where][None].astype(np.float32)
        return _pad_to(inputs, self.settings.patch, _AIR), _pad_to(reference, self.settings.patch, 0.0)


def _memory_format(network: torch.nn.Module) -> torch.memory_format:
    """Channels last, for the dimensions that the network convolves in: each format refuses the weights of the other."""
    three_d = any(p.ndim == 5 for p in network.parameters())
    return torch.channels_last_3d if three_d else torch.channels_last


def _tensor(inputs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(inputs).contiguous(memory_format=torch.channels_last_3d)


def _slabs(count: int, slab: int, overlap: int) -> Iterator[tuple[slice, slice]]:
    """(slices answered, slices seen) that cover 0 .. count."""
    for start in range(0, count, slab):
        stop = min(start + slab, count)
        yield slice(start, stop), slice(max(0, start - overlap), min(count, stop + overlap))


def _place(centre: int, length: int, available: int, rng: np.random.Generator) -> slice:
    """An interval of `length` that holds `centre`, at a random offset, inside [0, available)."""
    low = int(centre) - int(rng.integers(length // 4, length - length // 4))
    low = int(np.clip(low, 0, max(0, available - length)))
    return slice(low, min(low + length, available))


def _pad_to(array: np.ndarray, patch: tuple[int, ...], value: float) -> np.ndarray:
    pads = [(0, 0), *[(0, p - n) for p, n in zip(patch, array.shape[1:], strict=True)]]
    return np.pad(array, pads, constant_values=value)
