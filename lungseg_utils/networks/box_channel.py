"""3-D networks that are given the prompt: its boxes, filled, are one more input channel beside the CT windows.

So the specialists of MedSAM's comparison were given their prompts (Ma et al. 2024, doi:10.1038/s41467-024-44824-z). One network answers
all prompt settings with boxes: in training each sample has another one, drawn by the prompters of the ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .. import geometry
from ..core.masks import bounding_box, dsc, label_lesions
from ..core.measure import measure
from ..prompts import boxes, jitter, lines
from ..prompts.drawing import draw_prompts
from ..types import Box, Image, InputError, Mask, Prediction, Prompt, Study, VoxelGrid
from . import transforms
from .augmentation import augment_volumes
from .patches import AIR, PatchSegmenter, PatchSettings, pad_to, place

VALIDATED_BY = ("box_one_slice", "box_every_slice")  # prompt settings; the checkpoint of the highest mean over both is kept
_PROMPTERS: tuple[Callable[[np.ndarray, Sequence[float]], Prompt], ...] = (
    lambda lesion, _: boxes.every_slice(lesion, 1),
    lambda lesion, _: boxes.alternate_slices(lesion, 1),
    lambda lesion, _: boxes.one_slice(lesion, 1),
    lambda lesion, _: boxes.volume(lesion, 1),
    lambda lesion, spacing_mm: lines.line_box(lesion, 1, spacing_mm),
)
_EXACT_SHARE = 0.5  # of training prompts: errors move each side by a voxel or more, and who sees only those trusts no box
_OFF_CENTER = 8  # a patch lies off the middle of its lesion by up to its length over this, as windows at the image's sides do


@dataclass(frozen=True, kw_only=True)
class Settings(PatchSettings):
    """What a prompted network sees, and how it is trained."""

    box_jitter: float  # error in drawing half of the training prompts, as a share of the lesion's size


@dataclass(frozen=True)
class _WorkingLesion:
    hu: np.ndarray  # int16 (slices, rows, columns) of the whole scan on the working grid
    covered: np.ndarray  # float16, fraction of each voxel that this lesion covers
    middle: tuple[int, int, int]  # of the lesion's extent


@dataclass(frozen=True)
class Window:
    """Part of an image that is answered at once: `box` in the image's voxels, which becomes `shape` (x, y, z) on the working grid.

    `lengths`, (slices, rows, columns), are what the network is given: more than the shape only where the image is smaller than a patch.
    """

    box: Box
    shape: tuple[int, int, int]
    lengths: tuple[int, int, int]


class BoxChannelSegmenter(PatchSegmenter[Settings, _WorkingLesion]):
    """A segmenter around a 3-D network whose last input channel is the prompt. `probability` is on the image's own grid.

    Each prompt is one pass over a window around it; several are united. Without `find_ends` only prompted slices are answered.
    """

    _image: Image | None = None

    def set_image(self, image: Image) -> None:
        """Take a CT, to be asked about."""
        self._image = image

    @torch.inference_mode()
    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """Segment what the boxes point at; without prompts nothing. InputError for clicks, and for boxes outside of the image."""
        if self._image is None:
            raise InputError("predict", "no image was set", "Call set_image first.")
        self.network.eval()
        with measure() as cost:
            probability = np.zeros(self._image.shape, dtype=np.float32)
            for prompt in prompts:
                _check(prompt, self._image.shape)
                self._predict_lesion(probability, prompt)
            mask = Mask(probability > self.settings.threshold, self._image.affine)
        return Prediction(mask, probability, cost.seconds, cost.peak_memory_mb)

    def _predict_lesion(self, probability: np.ndarray, prompt: Prompt) -> None:
        """Raise `probability` (x, y, z) to that of one lesion."""
        window = window_around(prompt, self._image, self.settings)
        where = window.box.voxels
        hu = geometry.unstack_axial(geometry.resample(self._image.array[where], window.shape))
        prompted = geometry.unstack_axial(filled_boxes(prompt, window.box, window.shape))
        seen = np.concatenate([pad_to(self._channels(hu), window.lengths, AIR), pad_to(prompted[None], window.lengths, 0.0)])
        found = self._probability(seen.astype(np.float32))[tuple(slice(n) for n in hu.shape)]
        found = geometry.resample(geometry.stack_axial(found), probability[where].shape)
        if not prompt.find_ends:
            asked = {k for box in _boxes(prompt) for k in range(box.ijk_min[2], box.ijk_max[2])}
            found[:, :, [k not in asked for k in range(where[2].start, where[2].stop)]] = 0.0
        probability[where] = np.maximum(probability[where], found)

    def _working_cases(self, study: Study) -> Iterator[_WorkingLesion]:
        hu = np.rint(transforms.to_working_slices(study.image, self.settings.spacing_mm)).astype(np.int16)
        labels = label_lesions(study.reference.array)
        for number in range(1, int(labels.max(initial=0)) + 1):
            lesion = Mask(labels == number, study.reference.affine)
            covered = transforms.to_working_slices(lesion, self.settings.spacing_mm).astype(np.float16)
            z, row, column = ((s.start + s.stop) // 2 for s in bounding_box(covered > 0))
            yield _WorkingLesion(hu, covered, (z, row, column))

    def _sample(self, case: _WorkingLesion, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A patch around the lesion, without its prompt: that is drawn after augmentation, because a turned box is no box."""
        sizes = zip(case.middle, self.settings.patch, case.hu.shape, strict=True)
        where = tuple(_near(middle, length, available, rng) for middle, length, available in sizes)
        inputs, reference = self._channels(case.hu[where]), case.covered[where][None].astype(np.float32)
        return pad_to(inputs, self.settings.patch, AIR), pad_to(reference, self.settings.patch, 0.0)

    def _sample_batch(self, cases: Sequence[_WorkingLesion], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, references = augment_volumes(*self._sample_patches(cases, rng), rng)
        prompted = np.stack([self._drawn(reference[0].numpy(), rng) for reference in references])
        inputs = torch.cat([inputs, torch.from_numpy(prompted)], 1)
        return inputs.contiguous(memory_format=torch.channels_last_3d), references

    def _drawn(self, covered: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The channel (1, slices, rows, columns) of a prompt that is drawn from a lesion's patch."""
        grid = Mask(geometry.stack_axial(covered > min(0.5, covered.max() / 2)), np.diag([*self.settings.spacing_mm, 1.0]))
        if not grid.array.any():  # augmentation moved all of it out of the patch: nothing is asked for, and nothing is there
            return np.zeros((1, *covered.shape), np.float32)
        share = 0.0 if rng.random() < _EXACT_SHARE else self.settings.box_jitter
        exact = _PROMPTERS[rng.integers(len(_PROMPTERS))](grid.array, grid.spacing_mm)
        (prompt,) = jitter.perturb([exact], share, rng, grid.shape, grid.spacing_mm)
        channel = filled_boxes(prompt, Box((0, 0, 0), grid.shape), grid.shape)
        return geometry.unstack_axial(channel)[None].astype(np.float32)

    def _validation_dsc(self, studies: Sequence[Study]) -> Callable[[], float] | None:
        asked = [(study, draw_prompts(study.reference, setting)) for study in studies for setting in VALIDATED_BY]
        asked = [(study, prompts) for study, prompts in asked if prompts]
        return (lambda: float(np.mean([self._dsc(study, prompts) for study, prompts in asked]))) if asked else None

    def _dsc(self, study: Study, prompts: Sequence[Prompt]) -> float:
        self.set_image(study.image)
        return dsc(study.reference.array, self.predict(prompts).mask.array)


def window_around(prompt: Prompt, image: VoxelGrid, settings: PatchSettings) -> Window:
    """The window of a prompt: a training patch around its middle, moved into the image.

    Where the prompt is longer than the patch, so is the window, by steps of `size_multiple` and as far as the image reaches. What the
    network sees at prediction is therefore what it saw in training, and memory grows with the prompt and not with the scan.
    """
    low, high = _extent(prompt)
    spans = []
    for axis, (longest, length) in enumerate(zip(image.shape, reversed(settings.patch), strict=True)):
        coarser = settings.spacing_mm[axis] / image.spacing_mm[axis]
        spans.append(_span(int(low[axis]), int(high[axis]), longest, coarser, length, settings.size_multiple))
    (x, nx, lx), (y, ny, ly), (z, nz, lz) = spans
    return Window(Box((x.start, y.start, z.start), (x.stop, y.stop, z.stop)), (nx, ny, nz), (lz, ly, lx))


def _span(low: int, high: int, count: int, coarser: float, length: int, step: int) -> tuple[slice, int, int]:
    """Along one axis: an interval of the image, its cells on the working grid, and the length that the network is given."""
    available = max(1, round(count / coarser))
    while length * coarser < high - low and length + step <= available:
        length += step
    voxels = round(length * coarser)
    return place((low + high - voxels) // 2, voxels, count), min(length, available), length


def filled_boxes(prompt: Prompt, part: Box, shape: tuple[int, int, int]) -> np.ndarray:
    """The inside of a prompt's boxes, bool (x, y, z) on the grid of `shape` that covers `part` of the image."""
    result = np.zeros(shape, dtype=bool)
    for box in _boxes(prompt):
        result[tuple(_cells(box, part, axis, shape[axis]) for axis in range(3))] = True
    return result


def _cells(box: Box, part: Box, axis: int, count: int) -> slice:
    """The cells that a box fills along one axis, to the nearest edge; at least that which holds its middle."""
    finer = count / (part.ijk_max[axis] - part.ijk_min[axis])
    ends = [(end[axis] - part.ijk_min[axis]) * finer for end in (box.ijk_min, box.ijk_max)]
    low, high = (int(np.floor(end + 0.5)) for end in ends)
    if low == high:
        low = int(np.floor(sum(ends) / 2))
        high = low + 1
    return slice(max(0, low), max(0, high))


def _boxes(prompt: Prompt) -> list[Box]:
    """The box in 3-D, or those on slices."""
    return [prompt.box_3d] if prompt.box_3d is not None else [h.box for h in prompt.slices if h.box is not None]


def _extent(prompt: Prompt) -> tuple[np.ndarray, np.ndarray]:
    found = _boxes(prompt)
    return np.min([box.ijk_min for box in found], axis=0), np.max([box.ijk_max for box in found], axis=0)


def _near(middle: int, length: int, available: int, rng: np.random.Generator) -> slice:
    """An interval of `length` around a lesion, inside [0, available)."""
    off = length // _OFF_CENTER
    return place(middle - length // 2 + int(rng.integers(-off, off + 1)), length, available)


def _check(prompt: Prompt, shape: Sequence[int]) -> None:
    where = f"prompt of lesion {prompt.lesion_id}"
    if any(slice_prompt.points is not None for slice_prompt in prompt.slices):
        raise InputError(where, "it has clicks, which this model was not trained with", "Give boxes only.")
    if not _boxes(prompt):
        raise InputError(where, "it has no box", "Draw one on a slice, or one in 3-D.")
    low, high = _extent(prompt)
    if (low < 0).any() or (high > shape).any():
        raise InputError(where, f"a box reaches from {low.tolist()} to {high.tolist()}, the image has {shape} voxels", "Draw it inside.")
