"""Read and write NIfTI images and masks.

Arrays come out as (x, y, z) in RAS+ order and are written back in the order of the file that they belong to. Nothing is interpolated.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.fileholders import FileHolder

from .. import geometry
from ..core.files import atomic_path
from ..types import Image, InputError, Mask
from .grids import (
    HU_RANGE,
    empty_grid,
    positive_strides,
    refuse_other_grid,
    refuse_unbelievable_size,
    refusing_damage,
    require_believable_voxels,
)
from .used_files import note_used

_ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_SIDES_DIFFER, _CORNERS_DIFFER = 1e-3, 1e-3  # shares of a side, and of the extent: more than float32 and quaternions round


def is_nifti(path: Path | str) -> bool:
    """Whether a file's name ends as one of NIfTI, in letters of any case."""
    return _ENDING.search(Path(path).name) is not None


def name_without_ending(path: Path | str) -> str:
    """NAME of NAME.nii or NAME.nii.gz."""
    return _ENDING.sub("", Path(path).name)


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
    if not is_nifti(path):
        raise InputError(path, "not a NIfTI file name", "End it with .nii.gz or .nii.")
    affine = volume.affine
    if like_path is not None and is_nifti(like_path) and not Path(like_path).is_dir():
        header = _open_nifti(Path(like_path))
        refuse_other_grid(empty_grid(header.shape[:3], header.affine, like_path), volume, like_path, path)
        affine = header.affine
        array = geometry.from_ras(array, affine)
    file = nib.Nifti1Image(array, affine)
    file.header.set_xyzt_units("mm")
    file.set_sform(affine, code=1)
    file.set_qform(affine, code=1)
    data = file.to_bytes()
    if _is_zipped(path):
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
    mask = Mask(positive_strides(binary(array, label, path)), affine, path)
    if like is not None:
        refuse_other_grid(mask, like, path, "its image")
    if not (allow_empty or mask.array.any()):
        wanted = "" if label is None else f" for label {label}"
        raise InputError(path, f"the mask is empty{wanted}", "Leave the file out if the case has no reference.")
    return mask


def read_grid(path: Path) -> Mask:
    """An empty mask on the grid of a NIfTI file, from its header alone; there is no memory behind it."""
    path = Path(path)
    _refuse_missing(path)
    header = _open_nifti(path)
    return empty_grid(header.shape[:3], header.affine, path)


def stored_axes(path: Path) -> str:
    """The order in which a file stores its axes, e.g. "LPS"."""
    return "".join(nib.aff2axcodes(_open_nifti(Path(path)).affine))


def labels_in(path: Path) -> np.ndarray:
    """The values of a mask file other than 0, rounded to a thousandth, sorted."""
    array, _ = _read_nifti(Path(path))
    return values_of(array)


def values_of(array: np.ndarray) -> np.ndarray:
    """The values of an array other than 0, rounded to a thousandth, sorted."""
    values = np.unique(np.round(np.unique(array), 3))
    return values[values != 0]


def _is_zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, or fetch the data first.")


def binary(array: np.ndarray, label: int | None, path: Path) -> np.ndarray:
    """Where an array of a file is `label`, or (without one) 1: InputError, as in `read_mask`, for other values."""
    if label is not None:
        _refuse_fractions(array, path)
        return np.abs(array - label) < 1e-3
    ones = array == 1
    if np.count_nonzero(ones) + np.count_nonzero(array == 0) == array.size:
        return ones
    ones = np.abs(array - 1) < 1e-3
    if not (ones | (np.abs(array) < 1e-3)).all():
        values = np.unique(array)
        shown = ", ".join(f"{v:g}" for v in values[:10]) + (", ..." if len(values) > 10 else "")
        remedy = "Store the tumor as 1 and all else as 0; read_mask can choose one with `label`, and the command report with --label."
        raise InputError(path, f"not a binary mask, it holds the values {shown}", remedy)
    return ones


def _refuse_fractions(array: np.ndarray, path: Path) -> None:
    """Probabilities are no labels: a value chosen among them would find nearly nothing."""
    between = np.abs(array - np.round(array)) >= 1e-3
    if between.any():
        problem = f"it holds values between labels, e.g. {float(array[between][0]):.3g}"
        raise InputError(path, problem, "Threshold probabilities first, and store one whole number for each structure.")


def _open_nifti(path: Path) -> nib.Nifti1Image:
    """The file's header, checked against the file's real size before any voxel is allocated."""
    if not is_nifti(path):
        raise InputError(path, "neither NIfTI nor a folder of DICOM files", "Give a .nii.gz or .nii file, or a folder with one CT series.")
    with refusing_damage(path, "it cannot be read as NIfTI", "It is damaged or of another kind: fetch or export it again."):
        file = _header_of(path)
        shape, kind, unit = file.shape, file.header.get_data_dtype().kind, file.header.get_xyzt_units()[0]
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise InputError(path, f"a volume has three axes, this has shape {shape}", "Give one 3-D volume per file.")
    refuse_unbelievable_size(path, shape, file.header.get_data_dtype().itemsize, _is_zipped(path))
    if kind not in "iuf":
        raise InputError(path, "its voxels are not single numbers (color or complex)", "Export the CT again in Hounsfield units.")
    if not (int(file.header["sform_code"]) or int(file.header["qform_code"])):
        raise InputError(path, "its header does not say which side is left", "Set the sform or the qform of the file.")
    if not np.isfinite(file.affine).all():
        raise InputError(path, "its header places it nowhere: the affine holds NaN or infinite numbers", "Export the CT again.")
    if unit not in ("mm", "unknown"):
        raise InputError(path, "its header does not count in millimeters", "Set the spatial unit of the file to mm.")
    _refuse_contradiction(path, file)
    require_believable_voxels(file.affine, path)
    return file


def _header_of(path: Path) -> nib.Nifti1Image:
    ending = path.name[len(name_without_ending(path)) :]
    if ending in (ending.lower(), ending.upper()):
        return cast(nib.Nifti1Image, nib.load(path))
    return nib.Nifti1Image.from_file_map({"image": FileHolder(str(path))})  # nibabel's search by names knows no mixture


def _refuse_contradiction(path: Path, file: nib.Nifti1Image) -> None:
    """Refuse a header that says its place twice, differently: programs read one or the other, and measure other volumes."""
    remedy = "Programs read one or the other: find out which is right and set all of them to it, or export it again."
    stored, sides = np.abs(file.header["pixdim"][1:4].astype(float)), np.linalg.norm(file.affine[:3, :3], axis=0)
    if not (np.abs(stored - sides) <= _SIDES_DIFFER * sides).all():
        said = [", ".join(f"{side:.4g}" for side in three) for three in (sides, stored)]
        raise InputError(path, f"its header contradicts itself: its affine has voxels of {said[0]} mm, its pixdim of {said[1]} mm", remedy)
    if not (int(file.header["sform_code"]) and int(file.header["qform_code"])):
        return
    with refusing_damage(path, "its qform cannot be read", "Set the qform of the file as its sform, or export it again."):
        other = file.header.get_qform()
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in file.shape[:3]])).reshape(3, -1).T
    places = [geometry.ijk_to_world(corners, affine) for affine in (file.affine, other)]
    apart, extent = float(np.abs(places[0] - places[1]).max()), float(np.linalg.norm(np.ptp(places[0], axis=0)))
    if not apart <= sides.min() / 2 + _CORNERS_DIFFER * extent:
        raise InputError(path, f"its header contradicts itself: sform and qform place its voxels up to {apart:.3g} mm apart", remedy)


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (float32, in the file's order) and affine; a gzip file is read to its end, where its checksum stands."""
    file = _open_nifti(path)
    note_used(path)
    with refusing_damage(path, "its voxels cannot be read", "The file is cut off or damaged: fetch or export it again."):
        if _is_zipped(path):
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
