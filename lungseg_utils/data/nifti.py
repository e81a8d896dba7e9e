"""Read and write NIfTI images and masks.

Arrays come out as (x, y, z) in RAS+ order and are written back in the order of the file that they belong to. Nothing is interpolated.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from .. import geometry
from ..core.files import atomic_path
from ..types import Image, InputError, Mask
from .accounts import note_used
from .grids import HU_RANGE, empty_grid, positive_strides, refuse_other_grid, refusing_damage

# 4 GiB as float32; the longest whole-body CT (1024 x 1024 x 1000) still fits.
MAX_VOXELS = 2**30
_ENDINGS = (".nii", ".nii.gz")
# Deflate cannot expand by more than this, so a header that claims more than the file can hold is a lie.
_MAX_DEFLATE_RATIO = 1040


def write_mask(mask: Mask, path: Path, like_path: Path | None = None) -> None:
    """Write a mask as NIfTI (uint8, qform and sform set), whole or not at all.

    `like_path`: the NIfTI file of the image; the mask is then stored in that file's own order of axes, so that it lies
    on the original in any viewer. Without it (or for an image of another format) the axes are stored in RAS+ order.
    """
    _write_nifti(mask, mask.array.view(np.uint8), path, like_path)


def write_image(image: Image, path: Path, like_path: Path | None = None) -> None:
    """Write a CT as NIfTI: int16 if every voxel is a whole number, else float32. `like_path` as in `write_mask`."""
    whole = image.array.astype(np.int16)
    _write_nifti(image, whole if np.array_equal(whole, image.array) else image.array, path, like_path)


def _write_nifti(volume: Image | Mask, array: np.ndarray, path: Path, like_path: Path | None) -> None:
    path = Path(path)
    if not path.name.endswith(_ENDINGS):
        raise InputError(path, "not a NIfTI file name", "End it with .nii.gz or .nii.")
    affine = volume.affine
    if like_path is not None and Path(like_path).name.endswith(_ENDINGS) and not Path(like_path).is_dir():
        header = _open_nifti(Path(like_path))
        refuse_other_grid(empty_grid(header.shape[:3], header.affine, like_path), volume, like_path, path)
        affine = header.affine
        array = geometry.from_ras(array, affine)
    file = nib.Nifti1Image(array, affine)
    file.header.set_xyzt_units("mm")
    file.set_sform(affine, code=1)
    file.set_qform(affine, code=1)
    data = file.to_bytes()
    if path.name.endswith(".gz"):
        data = gzip.compress(data, compresslevel=3, mtime=0)  # no time stamp: equal masks make equal files
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_image(path: Path) -> Image:
    """Read a CT from a NIfTI file (.nii, .nii.gz); returns float32 (x, y, z) in HU, clipped to `HU_RANGE`, RAS+.

    Raises `InputError` for a file that is missing, damaged, or not one complete, rectangular volume in HU.
    """
    path = Path(path)
    _refuse_missing(path)
    array, affine = _read_nifti(path)
    if not np.isfinite(array).all():
        raise InputError(path, "it holds NaN or infinite voxels", "Export the CT again in Hounsfield units.")
    array, affine = geometry.to_ras(np.clip(array, *HU_RANGE), affine)
    return Image(positive_strides(array), affine, path)


def read_mask(path: Path, like: Image | Mask | None = None, label: int | None = None, allow_empty: bool = False) -> Mask:
    """Read a binary NIfTI mask; returns bool (x, y, z), RAS+. With `like` it must be on that grid.

    `label` picks one value of a multi-label file. Without it any values but 0 and 1 (up to 0.001 of rounding) are
    refused and named. Another grid is refused, never resampled; an empty mask only passes with `allow_empty`.
    """
    path = Path(path)
    _refuse_missing(path)
    array, affine = _read_nifti(path)
    array, affine = geometry.to_ras(array, affine)
    mask = Mask(positive_strides(_binary(array, label, path)), affine, path)
    if like is not None:
        refuse_other_grid(mask, like, path, "its image")
    if not (allow_empty or mask.array.any()):
        wanted = "" if label is None else f" for label {label}"
        raise InputError(path, f"the mask is empty{wanted}", "Leave the file out if the case has no reference.")
    return mask


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, or fetch the data first.")


def _binary(array: np.ndarray, label: int | None, path: Path) -> np.ndarray:
    if label is not None:
        return np.abs(array - label) < 1e-3
    ones = array == 1
    if np.count_nonzero(ones) + np.count_nonzero(array == 0) == array.size:
        return ones
    ones = np.abs(array - 1) < 1e-3
    if not (ones | (np.abs(array) < 1e-3)).all():
        values = np.unique(array)
        shown = ", ".join(f"{v:g}" for v in values[:10]) + (", ..." if len(values) > 10 else "")
        raise InputError(path, f"not a binary mask, it holds the values {shown}", "Choose one of them with `label`.")
    return ones


def _open_nifti(path: Path) -> nib.Nifti1Image:
    """The file's header, checked against the file's real size before any voxel is allocated."""
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(path, "neither NIfTI nor a folder of DICOM files", "Give a .nii.gz or .nii file, or a folder with one CT series.")
    with refusing_damage(path, "it cannot be read as NIfTI", "The file is damaged or of another kind: fetch or export it again."):
        file = cast(nib.Nifti1Image, nib.load(path))
        shape, kind, unit = file.shape, file.header.get_data_dtype().kind, file.header.get_xyzt_units()[0]
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise InputError(path, f"a CT volume has three axes, this has shape {shape}", "Give one 3-D volume per file.")
    _refuse_unbelievable_size(path, file)
    if kind not in "iuf":
        raise InputError(path, "its voxels are not single numbers (color or complex)", "Export the CT again in Hounsfield units.")
    if not (int(file.header["sform_code"]) or int(file.header["qform_code"])):
        raise InputError(path, "its header does not say which side is left", "Set the sform or the qform of the file.")
    if not np.isfinite(file.affine).all():
        raise InputError(path, "its header places it nowhere: the affine holds NaN or infinite numbers", "Export the CT again.")
    if unit not in ("mm", "unknown"):
        raise InputError(path, "its header does not count in millimeters", "Set the spatial unit of the file to mm.")
    return file


def _refuse_unbelievable_size(path: Path, file: nib.Nifti1Image) -> None:
    voxels = 1
    for n in file.shape:
        voxels *= int(n)  # Python integers: no overflow
    claimed = voxels * file.header.get_data_dtype().itemsize
    size = path.stat().st_size
    possible = size * (_MAX_DEFLATE_RATIO if path.name.endswith(".gz") else 1)
    if voxels <= 0 or voxels > MAX_VOXELS or claimed > possible:
        problem = f"its header claims {file.shape} voxels, the file has {size} bytes"
        raise InputError(path, problem, "The file is cut off or its header is wrong: fetch or export it again.")


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (float32, in the file's order) and affine; a gzip file is read to its end, where its checksum stands."""
    file = _open_nifti(path)
    note_used(path)
    with refusing_damage(path, "its voxels cannot be read", "The file is cut off or damaged: fetch or export it again."):
        if path.name.endswith(".gz"):
            file = type(file).from_bytes(_gunzip(path, file))
        array = file.get_fdata(dtype=np.float32, caching="unchanged")
    return array.reshape(file.shape[:3]), file.affine


def _gunzip(path: Path, file: nib.Nifti1Image) -> bytes:
    offset = int(cast(ArrayProxy, file.dataobj).offset)
    expected = offset + int(np.prod(file.shape, dtype=np.int64)) * file.header.get_data_dtype().itemsize
    with gzip.open(path, "rb") as handle:
        data = handle.read(expected)
        slack = handle.read(2**20)  # reaching the end checks the sum; anything longer is not voxels
    if len(data) < expected or len(slack) == 2**20:
        raise ValueError("length differs from what the header says")
    return data
