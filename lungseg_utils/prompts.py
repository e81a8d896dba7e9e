"""Prompters: what a segmenter is told about a lesion, from nothing to a box on every slice.

A prompter is a generator. It is given the reference (bool, x, y, z) and a random generator, yields the prompts of one
look, receives the prediction that they led to, and ends when it has no more to say. All but `none` read the reference:
what they leak is written beside every number.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .geometry import plane_box
from .metrics import label_lesions
from .types import Box, InputError, Mask, Prediction, Prompt, SlicePrompt

Prompter = Generator[tuple[Prompt, ...], Prediction, None]
_CONNECTED_8 = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class PrompterCard:
    """What a rung of the prompt ladder is, and what it gives away."""

    title: str
    leaks: str
    make: Callable[[Mask, np.random.Generator], Prompter]


def _none(reference: Mask, rng: np.random.Generator) -> Prompter:
    yield ()


def _box_every_slice(reference: Mask, rng: np.random.Generator) -> Prompter:
    labels = label_lesions(reference.array)
    yield tuple(
        Prompt(lesion_id=lesion, slices=tuple(_tight_boxes(labels == lesion))) for lesion in range(1, int(labels.max(initial=0)) + 1)
    )


def _box_one_slice(reference: Mask, rng: np.random.Generator) -> Prompter:
    labels = label_lesions(reference.array)
    yield tuple(_one_slice(labels == lesion, lesion) for lesion in range(1, int(labels.max(initial=0)) + 1))


def _one_slice(lesion: np.ndarray, lesion_id: int) -> Prompt:
    """The slice of largest area (the lowest index where several are equal), and one tight box around all that is on it."""
    index = int(np.argmax(lesion.sum(axis=(0, 1))))
    return Prompt(lesion_id, slices=(SlicePrompt(index, box=plane_box(lesion[:, :, index], index)),), find_ends=True)


def _tight_boxes(lesion: np.ndarray) -> Generator[SlicePrompt, None, None]:
    """One tight box per 8-connected component of each axial slice."""
    for index in np.flatnonzero(lesion.any(axis=(0, 1))):
        components, _ = ndimage.label(lesion[:, :, index], structure=_CONNECTED_8)
        for rows, columns in ndimage.find_objects(components):
            low, high = (rows.start, columns.start, int(index)), (rows.stop, columns.stop, int(index) + 1)
            yield SlicePrompt(int(index), box=Box(low, high))


PROMPTERS: Mapping[str, PrompterCard] = {
    "none": PrompterCard("no prompt", "nothing", _none),
    "box_every_slice": PrompterCard("tight box on every tumor slice", "outline, extent, count", _box_every_slice),
    "box_one_slice": PrompterCard("one tight box on the slice of largest area", "that slice, one box", _box_one_slice),
}


def prompter(name: str) -> PrompterCard:
    """The prompter `name`; an unknown one is an error that lists the known ones."""
    if name not in PROMPTERS:
        raise InputError(f"prompter {name}", "unknown", f"Choose one of {', '.join(PROMPTERS)}.")
    return PROMPTERS[name]
