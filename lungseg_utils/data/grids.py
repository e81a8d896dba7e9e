"""Checks that readers and commands share: what a chest CT can be, comparison of grids, errors for damaged files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .. import geometry
from ..types import Image, InputError, Mask

HU_RANGE = (-1024.0, 3071.0)
"""What a CT can hold in 12 bits. Voxels outside the scanner's field of view carry -2000 to -3024 and are clipped."""
SHORTEST_MM, LONGEST_MM = 0.05, 10.0  # sides of a voxel: meters or micrometers under the name of millimeters lie far outside

# Air and soft tissue are in every chest: shares of voxels below and above these say that the values are HU.
AIR_HU, TISSUE_HU = -700.0, -200.0
_WHOLE_CHEST_MM = 200.0  # from this width on the picture holds the wall of the chest; cubes of nodules may hold hardly any of it
_LEAST_SHARE, _LEAST_SHARE_OF_A_CUBE = 0.05, 0.001
_MOST_METAL = 0.05  # voxels at the upper end of the range; the densest of 325 cubes of nodules has 0.003

# 4 GiB as float32; the longest whole-body CT (1024 x 1024 x 1000) still fits.
MAX_VOXELS = 2**30
# Deflate cannot expand by more than this, so a header that claims more than the file can hold is a lie.
_MAX_DEFLATE_RATIO = 1040
_ROUNDED_VOXELS = 0.1  # a header of four digits moves the last of 512 voxels by less than this


@contextmanager
def refusing_damage(path: object, problem: str, remedy: str = "It is damaged: fetch or export it again.") -> Iterator[None]:
    """Round calls of nibabel, pydicom and highdicom only: damaged bytes make them raise errors of any kind, often late."""
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(path, "it may not be read", "Give yourself the permission to read it.") from error
    except MemoryError as error:
        raise InputError(path, "there is not enough memory for what it says that it holds", f"Free some memory. {remedy}") from error
    except Exception as error:
        raise InputError(path, problem, remedy) from error


def require_believable_voxels(affine: np.ndarray, where: object) -> None:
    """Refuse voxels that no CT has, before memory is asked for in proportion to them."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    wrong = [side for side in sides if not SHORTEST_MM <= side <= LONGEST_MM]
    if wrong:
        shown = f"{wrong[0]:.1f}" if wrong[0] > 1 else f"{wrong[0]:.3g}"
        remedy = f"{SHORTEST_MM:g} to {LONGEST_MM:g} mm is sensible: is the header right, and does it count in millimeters?"
        raise InputError(where, f"its voxels are {shown} mm long", remedy)


def refuse_unbelievable_size(path: Path, shape: Sequence[int], bytes_per_voxel: int, zipped: bool) -> None:
    """Refuse a header that claims more voxels than its file can hold, before memory is asked for."""
    voxels = math.prod(int(n) for n in shape)  # Python integers: no overflow
    size = path.stat().st_size
    possible = size * (_MAX_DEFLATE_RATIO if zipped else 1)
    if min(shape) <= 0 or voxels > MAX_VOXELS or voxels * bytes_per_voxel > possible:
        problem = f"its header claims {tuple(shape)} voxels, the file has {size} bytes"
        raise InputError(path, problem, "The file is cut off or its header is wrong: fetch or export it again.")


def hu_problem(image: Image) -> str:
    """Why the values of a chest CT are no Hounsfield units, from samples of them; empty if they may be."""
    sample = image.array[::2, ::2]
    air, tissue, metal = (float(share.mean()) for share in (sample < AIR_HU, sample > TISSUE_HU, sample >= HU_RANGE[1]))
    wide = min(n * side for n, side in zip(image.shape[:2], image.spacing_mm[:2], strict=True)) >= _WHOLE_CHEST_MM
    least = _LEAST_SHARE if wide else _LEAST_SHARE_OF_A_CUBE
    if air < least or tissue < least:
        return f"no chest CT in HU: {air:.0%} of its voxels below {AIR_HU:g}, {tissue:.0%} above {TISSUE_HU:g}"
    if metal > _MOST_METAL:
        return f"no chest CT in HU: {metal:.0%} of its voxels at {HU_RANGE[1]:g} or more, as of dense metal"
    return ""


HU_REMEDY = "Export it in Hounsfield units, with rescale slope and intercept, and without values for padding."


def require_hu(image: Image, where: object) -> None:
    """Refuse an image whose values are no Hounsfield units: a model would answer it all the same."""
    if problem := hu_problem(image):
        raise InputError(where, problem, HU_REMEDY)


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
