"""Automatic 3-D networks on whole CTs: from a working grid and CT windows to one probability per voxel of the original grid.

Such a network maps (batch, channels, slices, rows, columns) to one logit per voxel; a channel is a CT window. It is trained on patches
and, being convolutional, predicts slabs of whole slices, so no tile border cuts the context in a slice of a chest.
"""

from __future__ import annotations

import itertools
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

Part = tuple[slice, ...]  # of the working grid: slices, rows, columns


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
        """Probability of each voxel of the working grid, part by part so that memory does not grow with the scan.

        An image whose slices are hardly larger than a training patch (a cube) is seen in windows of the patch's size: networks learn
        where the sides of a patch are. With patches of 48 voxels, a cube of 50 that was filled with air to 64 scored a Dice of 0.23
        instead of 0.81.
        """
        self.network.eval()
        result = np.empty(slices.shape, dtype=np.float32)
        in_plane = max(self.settings.size_multiple, getattr(self.network, "multiple", 1))  # what is filled up to, here or by the network
        is_cube = all(n < p + in_plane for n, p in zip(slices.shape[1:], self.settings.patch[1:], strict=True))
        for inner, seen in _windows(slices.shape, self.settings) if is_cube else _whole_slices(slices.shape, self.settings):
            part = slices[seen]
            sizes = tuple(n + -n % self.settings.size_multiple for n in part.shape)
            if is_cube:
                sizes = (self.settings.patch[0] if _few(slices.shape, self.settings) else sizes[0], *self.settings.patch[1:])
            probability = self._probability(pad_to(self._channels(part), sizes, AIR))
            result[inner] = probability[tuple(slice(i.start - s.start, i.stop - s.start) for i, s in zip(inner, seen, strict=True))]
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


def _whole_slices(shape: tuple[int, ...], settings: Settings) -> Iterator[tuple[Part, Part]]:
    """(answered, seen): slabs of whole slices."""
    planes = tuple(slice(0, n) for n in shape[1:])
    for inner, seen in _slabs(shape[0], settings.slab, settings.slab_overlap):
        yield (inner, *planes), (seen, *planes)


def _slabs(count: int, slab: int, overlap: int) -> Iterator[tuple[slice, slice]]:
    """(slices answered, slices seen) that cover 0 .. count."""
    for start in range(0, count, slab):
        stop = min(start + slab, count)
        yield slice(start, stop), slice(max(0, start - overlap), min(count, stop + overlap))


def _windows(shape: tuple[int, ...], settings: Settings) -> Iterator[tuple[Part, Part]]:
    """(answered, seen): windows of a patch's size at either end of an axis, which meet in the middle; of many slices slabs."""
    depth, *sides = settings.patch
    along_z = _ends(shape[0], depth) if _few(shape, settings) else _slabs(shape[0], settings.slab, settings.slab_overlap)
    for spans in itertools.product(along_z, *(_ends(n, p) for n, p in zip(shape[1:], sides, strict=True))):
        yield tuple(inner for inner, _ in spans), tuple(seen for _, seen in spans)


def _few(shape: tuple[int, ...], settings: Settings) -> bool:
    """Whether an image has hardly more slices than a patch."""
    return shape[0] < settings.patch[0] + settings.size_multiple


def _ends(count: int, length: int) -> list[tuple[slice, slice]]:
    if count <= length:
        return [(slice(0, count), slice(0, count))]
    return [(slice(0, count // 2), slice(0, length)), (slice(count // 2, count), slice(count - length, count))]


def _around(center: int, length: int, available: int, rng: np.random.Generator) -> slice:
    """An interval of `length` that holds `center`, at a random offset, inside [0, available)."""
    return place(center - int(rng.integers(length // 4, length - length // 4)), length, available)
