"""Read masks from NRRD files (.nrrd), as 3D Slicer writes them, by pynrrd.

ITK's reader ends the whole process at some damaged headers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import geometry
from ..types import InputError, Mask
from .grids import empty_grid, positive_strides, refuse_unbelievable_size, refusing_damage, require_believable_voxels
from .nifti import binary, values_of
from .used_files import note_used

ENDINGS = (".seg.nrrd", ".nrrd")
_DAMAGED = "it cannot be read as NRRD"
_TO_RAS = {
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
}
_ELSEWHERE = ("data file", "datafile")
_SKIPS = ("line skip", "lineskip", "byte skip", "byteskip")


def read_grid(path: Path) -> Mask:
    """An empty mask on the grid of a file, from its header alone; there is no memory behind it."""
    shape, affine = _grid(Path(path))
    return empty_grid(shape, affine, path)


def read_mask(path: Path, label: int | None = None) -> Mask:
    """A binary mask, or one value of several; bool (x, y, z), RAS+. It may be empty. InputError as of `nifti.read_mask`."""
    path = Path(path)
    _, affine = _grid(path)
    array, affine = geometry.to_ras(_voxels(path), affine)
    return Mask(positive_strides(binary(array, label, path)), affine, path)


def labels_in(path: Path) -> np.ndarray:
    """The values other than 0, sorted."""
    path = Path(path)
    _grid(path)
    return values_of(_voxels(path))


def _grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape along the stored axes, and the affine of these axes to RAS+ mm."""
    header = _header(path)
    with refusing_damage(path, _DAMAGED):
        shape, kind, zipped = tuple(int(n) for n in header["sizes"]), str(header["type"]), str(header["encoding"]) != "raw"
        skipped = max(int(header.get(name, 0)) for name in _SKIPS)
    if len(shape) != 3:
        remedy = "Export one label map; overlapping segments of 3D Slicer make several layers."
        raise InputError(path, f"a mask has three axes and one layer, this has the sizes {shape}", remedy)
    if any(name in header for name in _ELSEWHERE):
        raise InputError(path, "its voxels are in another file", "Save it as one file, header and voxels together.")
    refuse_unbelievable_size(path, shape, _bytes_of(kind), zipped)
    if skipped > path.stat().st_size:
        raise InputError(path, "its header skips more than the file has", "It is damaged: export it again.")
    affine = _affine(path, header)
    require_believable_voxels(affine, path)
    return shape, affine


def _header(path: Path) -> dict[str, Any]:
    import nrrd

    if not path.is_file():
        raise InputError(path, "no such file", "Check the path.")
    with refusing_damage(path, _DAMAGED), path.open("rb") as file:
        return dict(nrrd.read_header(file))


def _bytes_of(kind: str) -> int:
    """Bytes of a voxel of one of NRRD's types: at least one."""
    return {"double": 8, "float": 4}.get(kind, 1)


def _affine(path: Path, header: dict[str, Any]) -> np.ndarray:
    to_ras = _TO_RAS.get(str(header.get("space", "")).lower())
    if to_ras is None or "space directions" not in header or "space origin" not in header:
        remedy = "Set its space, e.g. left-posterior-superior, with origin and directions."
        raise InputError(path, "its header does not say which side is left", remedy)
    if any(unit != "mm" for unit in header.get("space units", ())):
        raise InputError(path, "its header does not count in millimeters", "Export it again in mm.")
    affine = np.eye(4)
    with refusing_damage(path, _DAMAGED):
        affine[:3, :3] = (np.array(header["space directions"], dtype=float) * to_ras).T
        affine[:3, 3] = np.array(header["space origin"], dtype=float) * to_ras
    if not np.isfinite(affine).all():
        raise InputError(path, "its header places it nowhere: directions or origin are no numbers", "Export it again.")
    return affine


def _voxels(path: Path) -> np.ndarray:
    """Float32, along the stored axes."""
    import nrrd

    note_used(path)
    with refusing_damage(path, _DAMAGED):
        array, _ = nrrd.read(str(path))
        return array.astype(np.float32)
