"""Control for every prompt setting: an automatic model that gets the same prompt as the promptable ones.

The predicted components that touch the prompt are kept, and cut to the prompt's box grown by 5 mm. Where none does, the answer is the one
that needs no network: the ellipse in the box, or the ball at the click. This measures what a prompt gives to a model that cannot read
it; a promptable model is worth what it adds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from ..prompts import shapes
from ..types import Box, Image, InputError, Mask, Prediction, Prompt, TrainableSegmenter

GROW_MM = 5.0
_CONNECTED_26 = np.ones((3, 3, 3), dtype=bool)


def keep_prompted(mask: np.ndarray, prompts: Sequence[Prompt], spacing_mm: Sequence[float]) -> np.ndarray:
    """The 26-connected components of a mask, bool (x, y, z), that touch a prompt, cut to its grown box; united over the prompts.

    A box on a slice is grown within the slice; with `find_ends` the cut holds on all slices, else only prompted ones are kept. A box in
    3-D is grown on all sides. Clicks cut nothing; a click outside takes away the component that it lies in, unless a click inside lies
    there too: it asks for a cut, which is more than to choose among components.
    """
    result = np.zeros_like(mask)
    for kept in _kept(mask, prompts, spacing_mm):
        result |= kept
    return result


def _kept(mask: np.ndarray, prompts: Sequence[Prompt], spacing_mm: Sequence[float]) -> Iterator[np.ndarray]:
    """What each prompt keeps of a mask."""
    labels, count = ndimage.label(mask, structure=_CONNECTED_26)
    for prompt in prompts:
        yield _touched(labels, count, prompt)[labels] & _allowed(mask.shape, prompt, spacing_mm)


def _touched(labels: np.ndarray, count: int, prompt: Prompt) -> np.ndarray:
    """Whether a prompt keeps a component, bool (1 + count); number 0 is no component."""
    kept = np.zeros(count + 1, dtype=bool)
    for value, touched in (
        (True, _in_boxes(labels, prompt)),
        (False, _clicked(labels, prompt, 0)),
        (True, _clicked(labels, prompt, 1)),
    ):
        for seen in touched:
            kept[seen] = value
    kept[0] = False
    return kept


class WholeScanSegmenter(TrainableSegmenter, ABC):
    """What automatic segmenters share: the scan is segmented once, whatever is asked of it; each answer is charged with the whole time.

    Given prompts, the segmenter is the control of their prompt setting: of its own prediction it keeps what they point at (`with_prompts`).
    """

    _image: Image | None = None
    _unprompted: Prediction | None = None  # to the image without a prompt

    def set_image(self, image: Image) -> None:
        """Take a CT; what was known of another one is forgotten, of the same one it is kept."""
        if image is not self._image:
            self._image, self._unprompted = image, None

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """Segment the whole volume that `set_image` took; with prompts, only what they point at."""
        if self._image is None:
            raise InputError("predict", "no image was set", "Call set_image first.")
        self._unprompted = self._unprompted or self._segment()
        return with_prompts(self._unprompted, prompts) if prompts else self._unprompted

    @abstractmethod
    def _segment(self) -> Prediction:
        """The answer to the image, without a prompt."""


def with_prompts(prediction: Prediction, prompts: Sequence[Prompt]) -> Prediction:
    """An automatic model's answer, of which only what the prompts point at is kept; its costs stay those of the whole.

    Where it has nothing at a prompt, the shape that the prompt spans is the answer, and `fallback_share` counts it. Without that, the
    control would be empty where its network missed the lesion, and a difference to it would measure detection only.
    """
    own, array, fallbacks = prediction.mask, np.zeros_like(prediction.mask.array), 0
    for prompt, kept in zip(prompts, _kept(own.array, prompts, own.spacing_mm), strict=True):
        falls_back = not kept.any()
        array |= shapes.span(prompt, own) if falls_back else kept
        fallbacks += falls_back
    return replace(prediction, mask=Mask(array, own.affine), fallback_share=fallbacks / len(prompts))


def _in_boxes(labels: np.ndarray, prompt: Prompt) -> Iterable[np.ndarray]:
    return (labels[slice_prompt.box.voxels].ravel() for slice_prompt in prompt.slices if slice_prompt.box is not None)


def _clicked(labels: np.ndarray, prompt: Prompt, label: int) -> Iterable[np.ndarray]:
    """Components under the prompt's clicks that are labeled as inside (1) or outside (0)."""
    for points in (slice_prompt.points for slice_prompt in prompt.slices if slice_prompt.points is not None):
        yield np.array([labels[p] for p, given in zip(points.ijk, points.labels, strict=True) if given == label], int)


def _allowed(shape: tuple[int, ...], prompt: Prompt, spacing_mm: Sequence[float]) -> np.ndarray:
    if prompt.box_3d is None and all(slice_prompt.box is None for slice_prompt in prompt.slices):
        return np.ones(shape, dtype=bool)
    allowed = np.zeros(shape, dtype=bool)
    if prompt.box_3d is not None:
        allowed[_grown(prompt.box_3d, shape, spacing_mm, axes=(0, 1, 2)).voxels] = True
        return allowed
    for slice_prompt in prompt.slices:
        if slice_prompt.box is not None:
            rows, columns, slices = _grown(slice_prompt.box, shape, spacing_mm, axes=(0, 1)).voxels
            allowed[rows, columns, slice(None) if prompt.find_ends else slices] = True
    return allowed


def _grown(box: Box, shape: Sequence[int], spacing_mm: Sequence[float], axes: Sequence[int]) -> Box:
    more = [round(GROW_MM / spacing_mm[axis]) if axis in axes else 0 for axis in range(3)]
    low = tuple(max(0, box.ijk_min[axis] - more[axis]) for axis in range(3))
    return Box(low, tuple(min(shape[axis], box.ijk_max[axis] + more[axis]) for axis in range(3)))
