"""Image embeddings that are kept for further prompts, within a limit of bytes, whatever segmenter they are of.

A prompt on a slice that was seen in the same window then costs prompt encoder and mask decoder only. The adapters keep some embeddings
for themselves, by number of slices; here is what a person needs who asks many models about many slices for an hour.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from .. import geometry, training
from ..geometry import AxialWindow
from ..types import Image, Prompt, SlicePrompt
from . import propagation
from .promptable import WHOLE_SLICE, SlicewiseSegmenter

Place = tuple[AxialWindow, int]  # what an image encoder sees: a window of a slice
_SLICES_AHEAD = 2  # to either side


class EmbeddingCache:
    """Embeddings (a tensor, or a list of tensors) by key; beyond `max_mb` (1e6 bytes each) those least recently asked for are dropped."""

    def __init__(self, max_mb: float):
        self.max_mb = max_mb
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def mb(self) -> float:
        """What is kept now."""
        return self._bytes / 1e6

    def get(self, key: Hashable) -> Any | None:
        """The embedding, now the last one to be dropped; None if it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Hashable, embedding: Any) -> None:
        """Keep a new embedding; one that is larger than the limit by itself is not kept."""
        self._kept[key] = embedding
        self._bytes += _bytes(embedding)
        while self._bytes > self.max_mb * 1e6:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._bytes = 0


def _bytes(embedding: Any) -> int:
    return sum(t.nbytes for t in ([embedding] if isinstance(embedding, torch.Tensor) else embedding))


class KeptEmbeddings:
    """Puts a cache before the image encoder of a slice-wise segmenter, in the place of the segmenter's own store.

    Its weights must not move any more. `watch(indices)` hears of slices before they are looked at; what it raises ends the prediction,
    so that a long one can be followed and stopped. One thread at a time.
    """

    def __init__(self, segmenter: SlicewiseSegmenter, cache: EmbeddingCache, watch: Callable[[Sequence[int]], None] | None = None):
        self.segmenter, self.cache, self.watch = segmenter, cache, watch
        self._images: WeakKeyDictionary[Image, int] = WeakKeyDictionary()
        self._numbers = itertools.count()  # never given twice, unlike addresses
        # Every answer comes by here, and nothing else does. The adapters themselves stay as they are: all trained weights depend on them.
        self._encode = segmenter._embed
        segmenter._embed = self._embed

    def _embed(self, places: Sequence[Place]) -> Any:
        if self.watch:
            self.watch([index for _, index in places])
        known = {place: self.cache.get(self._key(place)) for place in dict.fromkeys(places)}
        missing = [place for place, embedding in known.items() if embedding is None]
        if missing:
            self.segmenter._forget()  # what it would keep by itself, a second time
            for place, embedding in zip(missing, self._encode(missing), strict=True):
                # a row of a batch would hold the memory of the whole batch
                known[place] = embedding.clone() if isinstance(embedding, torch.Tensor) else embedding
                self.cache.put(self._key(place), known[place])
            self.segmenter._forget()
        found = [known[place] for place in places]
        return torch.stack(found) if isinstance(found[0], torch.Tensor) else found

    def _key(self, place: Place) -> Hashable:
        image = self.segmenter._image
        if image not in self._images:
            self._images[image] = next(self._numbers)
        return (self, self._images[image], *place)

    def make_ready(self, place: Place) -> None:
        """Encode a window of a slice of the segmenter's image, if it is not kept."""
        if self.cache.get(self._key(place)) is None:
            self.segmenter.network.eval()
            with torch.inference_mode(), training.autocast(self.segmenter.device):
                self._embed([place])

    def places_ahead(self, prompts: Sequence[Prompt], mask: np.ndarray, index: int) -> list[Place]:
        """What will probably be asked for after slice `index`, whose answer is in `mask` (x, y, z): its neighbours, nearest first.

        A network of whole slices sees the same window everywhere. One with a memory follows a lesion inside the window of its prompt. Of
        the others the next window is known one slice ahead: around the mask, as the propagation rule asks.
        """
        count = self.segmenter._image.shape[2]
        ways = [index + sign * step for step in range(1, _SLICES_AHEAD + 1) for sign in (1, -1)]
        ways = [way for way in ways if 0 <= way < count]
        if self.segmenter.view.field_mm == WHOLE_SLICE:
            return [(geometry.whole_plane(mask.shape), way) for way in (index, *ways)]
        hints = [hint for prompt in prompts for hint in prompt.slices if hint.index == index]
        if type(self.segmenter)._answer_lesion is SlicewiseSegmenter._answer_lesion:
            return [place for hint in hints for way in ways[:2] if (place := self._propagated(hint, mask, way))]
        return [(self.segmenter.view.window_for(hint, self.segmenter._image), way) for hint in hints for way in ways]

    def _propagated(self, hint: SlicePrompt, mask: np.ndarray, index: int) -> Place | None:
        """The window that the propagation rule asks for next to a prompted slice; None where its answer is empty."""
        plane = np.zeros(mask.shape[:2], dtype=bool)
        where = hint.box.voxels[:2] if hint.box is not None else (slice(None), slice(None))
        plane[where] = mask[(*where, hint.index)]
        if not plane.any():
            return None
        box = geometry.plane_box(plane, index, grow=propagation.GROW)
        return self.segmenter.view.window_for(SlicePrompt(index, box=box), self.segmenter._image), index
