"""Checks that readers of all formats share: range of HU, comparison of grids, errors for damaged files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from .. import geometry
from ..types import Image, InputError, Mask

HU_RANGE = (-1024.0, 3071.0)
"""What a CT can hold in 12 bits. Voxels outside the scanner's field of view carry -2000 to -3024 and are clipped."""


@contextmanager
def refusing_damage(path: object, problem: str, remedy: str = "It is damaged: fetch or export it again.") -> Iterator[None]:
    """Round calls of nibabel, pydicom and highdicom only: damaged bytes make them raise errors of any kind, often late."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(path, problem, remedy) from error


def positive_strides(array: np.ndarray) -> np.ndarray:
    """A copy only if needed: torch takes no negative strides. Axial slices stay contiguous."""
    return np.asfortranarray(array)


def empty_grid(shape: Iterable[int], stored_affine: np.ndarray, where: object) -> Mask:
    """An empty mask on a grid, without memory behind it, to compare with."""
    array, affine = geometry.to_ras(np.broadcast_to(np.False_, tuple(shape)), stored_affine)
    return Mask(array, affine, where)


def refuse_other_grid(volume: Image | Mask, like: Image | Mask, where: object, other: object) -> None:
    if geometry.same_grid(volume, like):
        return
    facts = [
        f"{v.shape} voxels of {tuple(round(s, 4) for s in v.spacing_mm)} mm from {tuple(np.round(v.affine[:3, 3], 2).tolist())} mm"
        for v in (volume, like)
    ]
    problem = f"its grid ({facts[0]}) is not that of {other} ({facts[1]})"
    raise InputError(where, problem, "Export both on the same grid; they are never resampled silently.")
