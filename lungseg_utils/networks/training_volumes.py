"""Training data of promptable networks: stacks of slices around one object, and the prompts on them.

The object is a lesion of a labeled patient, or one drawn for pretraining; from here on both are treated alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits
from tqdm import trange

from .. import geometry
from ..core.masks import label_lesions
from ..core.progress import report_progress
from ..types import Box, Study
from .pretraining import clips

SOURCE_FIELD_MM = 180.0  # what one drawn slice shows
_SOURCE_SIZE, _SOURCE_SLICES = 128, 8
_CONNECTED_8 = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class LesionVolume:
    """Slices around one object: `hu` int16 (x, y, z), `mask` bool of the object alone, and the voxel size."""

    hu: np.ndarray
    mask: np.ndarray
    spacing_mm: tuple[float, float, float]

    @cached_property
    def slices(self) -> np.ndarray:
        """Indices of the slices that show the object."""
        return np.flatnonzero(self.mask.any(axis=(0, 1)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        return self.hu.shape

    def components(self, index: int) -> list[np.ndarray]:
        """The 8-connected parts of the object on a slice, each a bool plane (x, y): what a box on every slice is drawn around."""
        labels, count = ndimage.label(self.mask[:, :, index], structure=_CONNECTED_8)
        return [labels == number for number in range(1, count + 1)]


def lesion_volumes(studies: Iterable[Study], beyond: int) -> list[LesionVolume]:
    """One volume per lesion of the studies' first references, with `beyond` further slices on either side where there are any."""
    volumes = []
    for study in studies:
        reference = study.reference
        labels = label_lesions(reference.array)
        for number, where in enumerate(ndimage.find_objects(labels), 1):
            low, high = max(0, where[2].start - beyond), min(labels.shape[2], where[2].stop + beyond)
            hu = np.rint(study.image.array[:, :, low:high]).astype(np.int16)
            volumes.append(LesionVolume(hu, labels[:, :, low:high] == number, study.image.spacing_mm))
    return volumes


def drawn_volumes(kind: str, count: int, seed: int, window_hu: tuple[float, float], progress: bool = True) -> list[LesionVolume]:
    """`count` objects of the source domain, in stacks of 8 slices; their gray values in [0, 1] take the place of the window's range."""
    volumes = []
    with threadpool_limits(1, "blas"):  # its many small products take ten times as long when several threads wait for each other
        for number in trange(count, desc=f"drawing {kind}", disable=not progress):
            report_progress(f"drawing {kind}", number, count)
            volumes.append(drawn_volume(kind, np.random.default_rng([seed, number]), window_hu, _SOURCE_SLICES))
    return volumes


def drawn_volume(kind: str, rng: np.random.Generator, window_hu: tuple[float, float], slices: int) -> LesionVolume:
    """One object of the source domain."""
    clip = clips.draw_clip(kind, rng, _SOURCE_SIZE, slices)
    low, high = window_hu
    hu = np.rint(geometry.stack_axial(clip.image) * (high - low) + low).astype(np.int16)
    pixel = SOURCE_FIELD_MM / _SOURCE_SIZE
    return LesionVolume(hu, geometry.stack_axial(clip.mask), (pixel, pixel, pixel))


def jitter_box(box: Box, share: float, shape: Sequence[int], rng: np.random.Generator) -> Box:
    """Each side of a box on one slice moved by up to `share` of its length, at least one voxel; kept inside `shape`, never empty."""
    low, high = list(box.ijk_min), list(box.ijk_max)
    for axis in (0, 1):
        reach = max(1, round(share * (high[axis] - low[axis]))) if share > 0 else 0
        moved = sorted(np.clip(np.array((low[axis], high[axis])) + rng.integers(-reach, reach + 1, 2), 0, shape[axis]).tolist())
        if moved[0] < moved[1]:
            low[axis], high[axis] = moved
    return Box(tuple(low), tuple(high))
