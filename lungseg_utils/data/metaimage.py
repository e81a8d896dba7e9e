"""Read a CT from a MetaImage file (.mha)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import geometry
from ..types import Image, InputError
from .grids import HU_RANGE, positive_strides, refusing_damage, require_believable_voxels
from .used_files import note_used

if TYPE_CHECKING:
    import SimpleITK

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_image(path: Path) -> Image:
    """Returns float32 (x, y, z) in HU, clipped to `HU_RANGE`, RAS+. InputError for a missing or damaged file, or one that is not 3-D."""
    import SimpleITK

    path = Path(path)
    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, or fetch the data first.")
    note_used(path)
    with refusing_damage(path, "it cannot be read as MetaImage"):
        stored = SimpleITK.ReadImage(str(path))
        array = SimpleITK.GetArrayFromImage(stored)
    if array.ndim != 3 or stored.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(path, f"a CT volume has three axes, this has shape {array.shape}", "Give one 3-D volume per file.")
    require_believable_voxels(ras_affine(stored), path)
    array, affine = geometry.to_ras(np.clip(array, *HU_RANGE).transpose(2, 1, 0), ras_affine(stored))
    return Image(positive_strides(array), affine, path)


def ras_affine(stored: SimpleITK.Image | SimpleITK.ImageFileReader) -> np.ndarray:
    """ITK's origin, spacing and direction (LPS) as an affine (RAS)."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(stored.GetDirection(), (3, 3)) * np.asarray(stored.GetSpacing())
    affine[:3, 3] = stored.GetOrigin()
    return _LPS_TO_RAS @ affine
