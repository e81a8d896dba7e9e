"""Automatic 3-D networks on whole CTs: from a working grid and CT windows to one probability per voxel of the original grid.

Such a network maps (batch, channels, slices, rows, columns) to one logit per voxel; a channel is a CT window. It is trained on patches
and, being convolutional, predicts slabs of whole slices, so no tile border cuts the context in a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..core.masks import dsc
from ..core.measure import measure
from ..types import Mask, Prediction, Study, TrainingRun
from . import transforms
from .augmentation import augment_volumes
from .patches import AIR, PatchSegmenter, PatchSettings, pad_to, place
from .prompted_control import WholeScanSegmenter


@dataclass(frozen=True, kw_only=True)
class Settings(PatchSettings):
    """What an automatic network sees, and how it is trained."""

    foreground_share: float  # of the patches that hold a tumor voxel for sure
    slab: int  # slices that are answered at once
    slab_overlap: int  # further slices on either side that are seen, and not answered


@dataclass(frozen=True)
class _WorkingCase:
    hu: np.ndarray  # int16 (slices, rows, columns) on the working grid
    reference: np.ndarray  # float16, covered fraction
    foreground: np.ndarray  # int (n, 3), indices of tumor voxels


class AutomaticSegmenter(PatchSegmenter[Settings, _WorkingCase], WholeScanSegmenter):
    """A segmenter around a 3-D network that reads no prompts. `probability` is on the image's own grid.

    Prompts are answered as by all automatic segmenters (`WholeScanSegmenter`).
    """

    def _segment(self) -> Prediction:
        with measure() as cost:
            slices = transforms.to_working_slices(self._image, self.settings.spacing_mm)
            probability = transforms.from_working_slices(self._probabilities(slices), self._image)
            mask = Mask(probability > self.settings.threshold, self._image.affine)
        return Prediction(mask, probability, cost.seconds, cost.peak_memory_mb)

    @torch.inference_mode()
    def _probabilities(self, slices: np.ndarray) -> np.ndarray:
        """Probability of each voxel of the working grid, slab by slab so that memory does not grow with the scan."""
        self.network.eval()
        result = np.empty(slices.shape, dtype=np.float32)
        for inner, seen in _slabs(len(slices), self.settings.slab, self.settings.slab_overlap):
            part = slices[seen]
            inputs = transforms.pad_to_multiple(self._channels(part), self.settings.size_multiple, AIR)
            probability = self._probability(inputs)[tuple(slice(n) for n in part.shape)]
            result[inner] = probability[inner.start - seen.start : inner.stop - seen.start]
        return result

    def fit(self, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> pd.DataFrame:
        """Train on whole studies, by the mean 3-D DSC of whole predictions on the validation studies."""
        self._unprompted = None
        return super().fit(train, validation, run)

    def load(self, path: Path) -> dict[str, object]:
        """Read weights that `save` wrote; refuses those of another network. Returns their description."""
        self._unprompted = None
        return super().load(path)

    def _working_cases(self, study: Study) -> Sequence[_WorkingCase]:
        return [self._working_case(study)]

    def _working_case(self, study: Study) -> _WorkingCase:
        hu = np.rint(transforms.to_working_slices(study.image, self.settings.spacing_mm)).astype(np.int16)
        reference = transforms.to_working_slices(study.reference, self.settings.spacing_mm)
        return _WorkingCase(hu, reference.astype(np.float16), np.argwhere(reference > 0.5))

    def _validation_dsc(self, studies: Sequence[Study]) -> Callable[[], float] | None:
        cases = [case for case in map(self._working_case, studies) if len(case.foreground)]
        return (lambda: float(np.mean([self._dsc(case) for case in cases]))) if cases else None

    def _dsc(self, case: _WorkingCase) -> float:
        return dsc(case.reference > 0.5, self._probabilities(case.hu) > self.settings.threshold)

    def _sample_batch(self, cases: Sequence[_WorkingCase], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, references = augment_volumes(*self._sample_patches(cases, rng), rng)
        return inputs.contiguous(memory_format=torch.channels_last_3d), references

    def _sample(self, case: _WorkingCase, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One patch: inputs (channels, slices, rows, columns) and reference (1, slices, rows, columns)."""
        if len(case.foreground) and rng.random() < self.settings.foreground_share:
            center = case.foreground[rng.integers(len(case.foreground))]
        else:
            center = rng.integers(case.hu.shape)
        where = tuple(_around(int(c), p, n, rng) for c, p, n in zip(center, self.settings.patch, case.hu.shape, strict=True))
        inputs, reference = self._channels(case.hu[where]), case.reference[where][None].astype(np.float32)
        return pad_to(inputs, self.settings.patch, AIR), pad_to(reference, self.settings.patch, 0.0)


def _slabs(count: int, slab: int, overlap: int) -> Iterator[tuple[slice, slice]]:
    """(slices answered, slices seen) that cover 0 .. count."""
    for start in range(0, count, slab):
        stop = min(start + slab, count)
        yield slice(start, stop), slice(max(0, start - overlap), min(count, stop + overlap))


def _around(center: int, length: int, available: int, rng: np.random.Generator) -> slice:
    """An interval of `length` that holds `center`, at a random offset, inside [0, available)."""
    return place(center - int(rng.integers(length // 4, length - length // 4)), length, available)
