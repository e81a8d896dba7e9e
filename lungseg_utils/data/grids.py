"""Checks that readers of all formats share: range of HU, comparison of grids, errors for damaged files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from .. import geometry
from ..types import Image, InputError, Mask

HU_RANGE = (-1024.0, 3071.0)
"""What a CT can hold in 12 bits. Voxels outside the scanner's field of view carry -2000 to -3024 and are clipped."""

_ROUNDED_VOXELS = 0.1  # a header of four digits moves the last of 512 voxels by less than this


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
    facts = [_described(v) for v in (volume, like)]
    difference, is_rounding = _difference(volume, like)
    problem = f"its grid ({facts[0]}) is not that of {other} ({facts[1]}): {difference}"
    rounded = f"If only the header was rounded, copy the affine of {other} into it. Else export both on the same grid"
    remedy = rounded if is_rounding else "Export both on the same grid"
    raise InputError(where, problem, f"{remedy}; they are never resampled silently.")


def _described(volume: Image | Mask) -> str:
    spacing, origin = (", ".join(f"{v:.7g}" for v in numbers) for numbers in (volume.spacing_mm, volume.affine[:3, 3]))
    return f"{volume.shape} voxels of ({spacing}) mm from ({origin}) mm"


def _difference(volume: Image | Mask, like: Image | Mask) -> tuple[str, bool]:
    """Where two grids differ most, in words, and whether this is so little that a rounded header may be the reason."""
    if volume.shape != like.shape:
        lengths = [f"{a} and {b} voxels along {axis}" for axis, a, b in zip("xyz", volume.shape, like.shape, strict=True) if a != b]
        return ", ".join(lengths), False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in volume.shape])).reshape(3, -1).T
    apart = np.abs(geometry.ijk_to_world(corners, volume.affine) - geometry.ijk_to_world(corners, like.affine))
    corner, axis = np.unravel_index(int(apart.argmax()), apart.shape)
    places = [float(geometry.ijk_to_world(corners[corner : corner + 1], v.affine)[0, axis]) for v in (volume, like)]
    at = tuple(corners[corner].tolist())
    words = f"voxel {at} lies {apart[corner, axis]:.3g} mm apart along {'xyz'[axis]}, at {places[0]:.4f} and {places[1]:.4f} mm"
    return words, bool(apart.max() < _ROUNDED_VOXELS * min(like.spacing_mm))
