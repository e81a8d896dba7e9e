"""Read masks from NRRD files (.nrrd), as 3D Slicer writes them, by SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import geometry
from ..types import InputError, Mask
from .grids import empty_grid, positive_strides, refusing_damage, require_believable_voxels
from .metaimage import ras_affine
from .nifti import binary, values_of
from .used_files import note_used

ENDINGS = (".seg.nrrd", ".nrrd")
_DAMAGED = "it cannot be read as NRRD"
_SPACE = "NRRD_space"  # ITK's name for the entry that says which side is left


def read_grid(path: Path) -> Mask:
    """An empty mask on the grid of a file, from its header alone; there is no memory behind it."""
    shape, affine = _header(Path(path))
    return empty_grid(shape, affine, path)


def read_mask(path: Path, label: int | None = None) -> Mask:
    """A binary mask, or one value of several; bool (x, y, z), RAS+. It may be empty. InputError as of `nifti.read_mask`."""
    path = Path(path)
    _, affine = _header(path)
    array, affine = geometry.to_ras(_voxels(path), affine)
    return Mask(positive_strides(binary(array, label, path)), affine, path)


def labels_in(path: Path) -> np.ndarray:
    """The values other than 0, sorted."""
    return values_of(_voxels(Path(path)))


def _header(path: Path) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape along the stored x, y, z, and the affine of these axes to RAS+ mm."""
    import SimpleITK

    if not path.is_file():
        raise InputError(path, "no such file", "Check the path.")
    with refusing_damage(path, _DAMAGED):
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        shape, components, has_space = reader.GetSize(), reader.GetNumberOfComponents(), reader.HasMetaDataKey(_SPACE)
    if len(shape) != 3 or components != 1:
        remedy = "Export one label map; overlapping segments of 3D Slicer make several layers."
        raise InputError(path, f"a mask has three axes and one layer, this has shape {shape} with {components} layers", remedy)
    if not has_space:
        raise InputError(path, "its header does not say which side is left", "Set its space, e.g. left-posterior-superior.")
    affine = ras_affine(reader)
    require_believable_voxels(affine, path)
    return (shape[0], shape[1], shape[2]), affine


def _voxels(path: Path) -> np.ndarray:
    import SimpleITK

    note_used(path)
    with refusing_damage(path, _DAMAGED):
        return geometry.zyx(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))).astype(np.float32)
