"""Files in and out: NIfTI, DICOM CT series, RTSTRUCT, DICOM SEG and LIDC XML in; NIfTI out.

Whatever the file's own order of axes is, arrays come out as (x, y, z) in RAS+ order with an affine in millimetres, and
are written back in the order of the file that they belong to. Nothing here interpolates. Every refusal is an
`InputError` that names the file, the problem and the remedy. Of a DICOM header only geometry, identifiers of the series
and what decodes the pixels are read: names, dates of birth and the like are never taken into memory.
"""

from __future__ import annotations

import errno
import gzip
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from . import geometry
from .types import Image, InputError, Mask

HU_RANGE = (-1024.0, 3071.0)
"""What a CT can hold in 12 bits. Voxels outside the scanner's field of view carry -2000 to -3024 and are clipped."""

# HU of one step of a stored value, and of the stored value 0: no scanner writes more than its 12 and 16 bits hold
_STEEPEST, _FARTHEST = 4096.0, 65536.0

# 4 GiB as float32; the longest whole-body CT (1024 x 1024 x 1000) still fits.
MAX_VOXELS = 2**30
# Deflate cannot expand by more than this, so a header that claims more than the file can hold is a lie.
_MAX_DEFLATE_RATIO = 1040
_MAX_XML_BYTES = 64 * 2**20
_ENOUGH_FOR_HEADERS = 4096  # longer DICOM elements (pixels) are only read when asked for

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_TAGS = [
    "SOPClassUID SOPInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality ImageType PatientID",
    "ImagePositionPatient ImageOrientationPatient PixelSpacing Rows Columns RescaleSlope RescaleIntercept",
    "BitsAllocated BitsStored HighBit PixelRepresentation PhotometricInterpretation SamplesPerPixel NumberOfFrames",
    "PixelData",
]
_TAGS = " ".join(_TAGS).split()


@contextmanager
def _refusing_damage(path: object, problem: str, remedy: str = "It is damaged: fetch or export it again.") -> Iterator[None]:
    """Round calls of nibabel, pydicom and highdicom only: damaged bytes make them raise errors of any kind, often late."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(path, problem, remedy) from error


# --- writing -------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, with the same suffix; move it onto `path` when the block ends well.

    The file is flushed to the disk before the move, so that a reader sees the old file or the whole new one, never a
    part. If the block fails, the temporary file is removed and `path` is left as it was. Makes missing parent folders.
    Raises `InputError` if the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.tmp.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(path, "the disk is full", "Free some space and run it again; nothing was left behind.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left below a folder in which nobody else writes."""
    for path in sorted(Path(folder).rglob(".*.tmp.*")):  # a folder before what is in it
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_mask(mask: Mask, path: Path, like_path: Path | None = None) -> None:
    """Write a mask as NIfTI (uint8, qform and sform set), whole or not at all.

    `like_path`: the NIfTI file of the image; the mask is then stored in that file's own order of axes, so that it lies
    on the original in any viewer. Without it (or for a DICOM folder) the axes are stored in RAS+ order.
    """
    _write_nifti(mask, mask.array.view(np.uint8), path, like_path)


def write_image(image: Image, path: Path, like_path: Path | None = None) -> None:
    """Write a CT as NIfTI: int16 if every voxel is a whole number, else float32. `like_path` as in `write_mask`."""
    whole = image.array.astype(np.int16)
    _write_nifti(image, whole if np.array_equal(whole, image.array) else image.array, path, like_path)


def _write_nifti(volume: Image | Mask, array: np.ndarray, path: Path, like_path: Path | None) -> None:
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(path, "not a NIfTI file name", "End it with .nii.gz or .nii.")
    affine = volume.affine
    if like_path is not None and not Path(like_path).is_dir():
        header = _open_nifti(Path(like_path))
        _refuse_other_grid(_grid(header.shape[:3], header.affine, like_path), volume, like_path, path)
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


# --- NIfTI ---------------------------------------------------------------------------------------------------------


def read_image(path: Path, series_uid: str | None = None) -> Image:
    """Read a CT: a NIfTI file (.nii, .nii.gz) or a folder that holds one DICOM CT series, at any depth.

    Returns float32 (x, y, z) in HU, clipped to `HU_RANGE`, RAS+. Other modalities in the folder are ignored; of several
    CT series `series_uid` chooses one. Raises `InputError` for anything that is not one complete, rectangular volume.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file or folder", "Check the path, or fetch the data first.")
    return _read_series_image(path, series_uid) if path.is_dir() else _read_nifti_image(path)


def _read_nifti_image(path: Path) -> Image:
    array, affine = _read_nifti(path)
    if not np.isfinite(array).all():
        raise InputError(path, "it holds NaN or infinite voxels", "Export the CT again in Hounsfield units.")
    array, affine = geometry.to_ras(np.clip(array, *HU_RANGE), affine)
    return Image(_positive_strides(array), affine, path)


def read_mask(path: Path, like: Image | Mask, label: int | None = None, allow_empty: bool = False) -> Mask:
    """Read a binary NIfTI mask on the grid of `like`; returns bool (x, y, z), RAS+.

    `label` picks one value of a multi-label file. Without it any values but 0 and 1 (up to 0.001 of rounding) are
    refused and named. Another grid is refused, never resampled; an empty mask only passes with `allow_empty`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, or fetch the data first.")
    array, affine = _read_nifti(path)
    array, affine = geometry.to_ras(array, affine)
    mask = Mask(_positive_strides(_binary(array, label, path)), affine, path)
    _refuse_other_grid(mask, like, path, "its image")
    if not (allow_empty or mask.array.any()):
        wanted = "" if label is None else f" for label {label}"
        raise InputError(path, f"the mask is empty{wanted}", "Leave the file out if the case has no reference.")
    return mask


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


def _open_nifti(path: Path) -> Any:
    """The file's header, checked against the file's real size before any voxel is allocated."""
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(path, "neither NIfTI nor a folder of DICOM files", "Give a .nii.gz or .nii file, or a folder with one CT series.")
    with _refusing_damage(path, "it cannot be read as NIfTI", "The file is damaged or of another kind: fetch or export it again."):
        file = nib.load(path)
        shape, kind, unit = file.shape, file.header.get_data_dtype().kind, file.header.get_xyzt_units()[0]
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise InputError(path, f"a CT volume has three axes, this has shape {shape}", "Give one 3-D volume per file.")
    _refuse_unbelievable_size(path, file)
    if kind not in "iuf":
        raise InputError(path, "its voxels are not single numbers (colour or complex)", "Export the CT again in Hounsfield units.")
    if not (int(file.header["sform_code"]) or int(file.header["qform_code"])):
        raise InputError(path, "its header does not say which side is left", "Set the sform or the qform of the file.")
    if not np.isfinite(file.affine).all():
        raise InputError(path, "its header places it nowhere: the affine holds NaN or infinite numbers", "Export the CT again.")
    if unit not in ("mm", "unknown"):
        raise InputError(path, "its header does not count in millimetres", "Set the spatial unit of the file to mm.")
    return file


def _refuse_unbelievable_size(path: Path, file: Any) -> None:
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
    with _refusing_damage(path, "its voxels cannot be read", "The file is cut off or damaged: fetch or export it again."):
        if path.name.endswith(".gz"):
            file = type(file).from_bytes(_gunzip(path, file))
        array = file.get_fdata(dtype=np.float32, caching="unchanged")
    return array.reshape(file.shape[:3]), file.affine


def _gunzip(path: Path, file: Any) -> bytes:
    offset = int(file.dataobj.offset)
    expected = offset + int(np.prod(file.shape, dtype=np.int64)) * file.header.get_data_dtype().itemsize
    with gzip.open(path, "rb") as handle:
        data = handle.read(expected)
        slack = handle.read(2**20)  # reaching the end checks the sum; anything longer is not voxels
    if len(data) < expected or len(slack) == 2**20:
        raise ValueError("length differs from what the header says")
    return data


def _positive_strides(array: np.ndarray) -> np.ndarray:
    """A copy only if needed: torch takes no negative strides. Axial slices stay contiguous."""
    return np.asfortranarray(array)


def _grid(shape: Iterable[int], stored_affine: np.ndarray, where: object) -> Mask:
    """An empty mask on a grid, without memory behind it, to compare with."""
    array, affine = geometry.to_ras(np.broadcast_to(np.False_, tuple(shape)), stored_affine)
    return Mask(array, affine, where)


def _refuse_other_grid(volume: Image | Mask, like: Image | Mask, where: object, other: object) -> None:
    if geometry.same_grid(volume, like):
        return
    facts = [
        f"{v.shape} voxels of {tuple(round(s, 4) for s in v.spacing_mm)} mm from {tuple(np.round(v.affine[:3, 3], 2).tolist())} mm"
        for v in (volume, like)
    ]
    problem = f"its grid ({facts[0]}) is not that of {other} ({facts[1]})"
    raise InputError(where, problem, "Export both on the same grid; they are never resampled silently.")


# --- DICOM: what is in a folder ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DicomFile:
    """One DICOM file of a folder, by its identifiers only."""

    path: Path
    modality: str
    series_uid: str
    patient_id: str


@dataclass(frozen=True)
class _Series:
    """One CT series in order along its normal: headers with pixels still on disk, and the stored grid.

    `stored_affine` maps (column, row, slice) to RAS+ mm; `shape` is (columns, rows, slices).
    """

    folder: Path
    slices: tuple[Any, ...]
    stored_affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return int(self.slices[0].Columns), int(self.slices[0].Rows), len(self.slices)


def list_dicom(folder: Path) -> list[DicomFile]:
    """All DICOM files below a folder, sorted by path; other files are passed over. Reads headers only."""
    result = []
    for path in _files_below(Path(folder)):
        header = _read_header(path)
        if header is not None:
            facts = [str(header.get(tag) or "") for tag in ("Modality", "SeriesInstanceUID", "PatientID")]
            result.append(DicomFile(path, *facts))
    return result


def dicom_modality(path: Path) -> str:
    """Modality of one DICOM file ("CT", "RTSTRUCT", "SEG", ...), "" if it is not DICOM or does not say."""
    header = _read_header(Path(path))
    return "" if header is None else str(header.get("Modality") or "")


def frame_of_reference_uid(folder: Path, series_uid: str | None = None) -> str | None:
    """The frame of reference of the CT series in a folder, or None if its headers do not name one."""
    uid = _read_series(Path(folder), series_uid).slices[0].get("FrameOfReferenceUID")
    return str(uid) if uid else None


def _files_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "Check the path, or fetch the data first.")
    return sorted(p for p in folder.rglob("*") if not p.name.startswith(".") and p.name != "DICOMDIR" and p.is_file())


def _read_header(path: Path) -> Any | None:
    """The elements in `_TAGS`, long ones left on disk until asked for; None if the file is not DICOM."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    with _refusing_damage(path, "its DICOM header cannot be read"):
        try:
            header = pydicom.dcmread(path, defer_size=_ENOUGH_FOR_HEADERS, specific_tags=_TAGS)
        except InvalidDicomError:
            if path.suffix.lower() == ".dcm":
                raise
            return None
        for tag in ("Modality", "SeriesInstanceUID", "PatientID", "ImageType", "SOPClassUID"):
            header.get(tag)  # pydicom converts late: let it fail here
        return header


# --- DICOM: CT series ----------------------------------------------------------------------------------------------


def _read_series_image(folder: Path, series_uid: str | None) -> Image:
    series = _read_series(folder, series_uid)
    grid = _grid(series.shape, series.stored_affine, folder)
    array = np.empty(grid.shape, np.float32, order="F")
    stored = geometry.from_ras(array, series.stored_affine)  # a view: slices are written to their place at once
    for index, header in enumerate(series.slices):
        _read_slice_hu(header, stored[:, :, index].T)
    return Image(array, grid.affine, folder)


def _read_slice_hu(header: Any, out: np.ndarray) -> None:
    """One slice in HU, clipped, into `out` (rows, columns)."""
    syntax = getattr(header.file_meta.get("TransferSyntaxUID"), "name", "unknown")
    remedy = "If it is compressed, decompress it first (gdcmconv --raw IN OUT); else it is damaged: fetch it again."
    with _refusing_damage(header.filename, f"its pixels cannot be decoded (transfer syntax {syntax})", remedy):
        pixels = np.asarray(header.pixel_array).reshape(out.shape)
        slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    # clipping would hide what no scanner writes: no number, one value for all voxels, or steps that jump over all that tissue can be
    if not (0 < abs(slope) <= _STEEPEST and abs(intercept) <= _FARTHEST):
        problem = f"its rescale slope {slope:g} and intercept {intercept:g} make no Hounsfield units of its pixels"
        raise InputError(header.filename, problem, "Repair the header of the file.")
    hu = pixels * slope + intercept
    np.clip(hu, *HU_RANGE, out=out, casting="same_kind")


def _read_series(folder: Path, series_uid: str | None = None) -> _Series:
    headers = [h for h in map(_read_header, _files_below(folder)) if h is not None]
    with _refusing_damage(folder, "a DICOM header in it cannot be read"):
        slices = _choose_series(folder, headers, series_uid)
    for header in slices:
        with _refusing_damage(header.filename, "its DICOM header cannot be read"):
            _refuse_unusable_slice(header)
    return _order_slices(folder, slices)


def _choose_series(folder: Path, headers: list[Any], series_uid: str | None) -> list[Any]:
    groups: dict[str, list[Any]] = {}
    for header in headers:
        if header.get("Modality") == "CT" and "LOCALIZER" not in (header.get("ImageType") or ()):
            groups.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(header)
    listing = "; ".join(f"{uid} ({len(group)} slices)" for uid, group in sorted(groups.items()))
    if not groups:
        found = ", ".join(sorted({str(h.get("Modality", "none")) for h in headers})) or "no DICOM file"
        raise InputError(folder, f"no CT image in it (found: {found})", "Give the folder with the CT series.")
    if series_uid is not None:
        if series_uid not in groups:
            raise InputError(folder, f"no CT series {series_uid}", f"It has: {listing}.")
        return groups[series_uid]
    if len(groups) > 1:
        raise InputError(folder, f"{len(groups)} CT series in it: {listing}", "Choose one with `series_uid`, or give its folder.")
    return next(iter(groups.values()))


def _refuse_unusable_slice(header: Any) -> None:
    where = header.filename
    if int(header.get("NumberOfFrames") or 1) > 1 or header.get("SOPClassUID") == f"{_CT_IMAGE}.1":
        raise InputError(where, "a multi-frame DICOM file", "Convert it to a series of single slices or to NIfTI (dcm2niix).")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise InputError(where, "a colour image", "Give the CT series itself, not a secondary capture.")
    needed = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SOPInstanceUID"]
    needed += ["RescaleSlope", "RescaleIntercept"]  # without them values could be off by 1024 HU
    lacking = [tag for tag in needed if header.get(tag) in (None, "")]
    if lacking:
        raise InputError(where, f"its header lacks {', '.join(lacking)}", "Export the series again, with its geometry.")
    _geometry_of(header)


def _geometry_of(header: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position (3,), direction cosines along a row and along a column (2, 3), pixel spacing (2,), all finite; LPS mm."""
    try:
        position = np.array(header.ImagePositionPatient, float)
        cosines = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        spacing = np.array(header.PixelSpacing, float)
        usable = position.shape == (3,) and spacing.shape == (2,) and (spacing > 0).all()
        usable = usable and np.isfinite(np.concatenate([position, cosines.ravel(), spacing])).all()
        usable = usable and np.abs(np.linalg.norm(cosines, axis=1) - 1).max() < 1e-3
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise InputError(header.filename, "its position, orientation or pixel spacing makes no sense", "Export the series again.")
    return position, cosines, spacing


def _order_slices(folder: Path, headers: list[Any]) -> _Series:
    if len(headers) < 2:
        raise InputError(folder, "a single CT slice", "Give the whole series.")
    facts = [_geometry_of(header) for header in headers]
    _, cosines, spacing = facts[0]
    size = (headers[0].Rows, headers[0].Columns)
    for header, (_, other_cosines, other_spacing) in zip(headers, facts, strict=True):
        if np.abs(other_cosines - cosines).max() > 1e-3:
            raise InputError(header.filename, "its orientation differs from the rest of the series", "Split the series by orientation.")
        if np.abs(other_spacing - spacing).max() > 1e-4 or (header.Rows, header.Columns) != size:
            raise InputError(header.filename, "its size or pixel spacing differs from the rest of the series", "Split the series.")
    positions = np.array([position for position, _, _ in facts])
    along = positions @ np.cross(*cosines)
    order = np.argsort(along, kind="stable")
    positions, headers = positions[order], [headers[i] for i in order]
    step = _even_step(folder, positions, along[order], headers)
    lps = np.eye(4)
    lps[:3, :3] = np.column_stack([cosines[0] * spacing[1], cosines[1] * spacing[0], step])
    lps[:3, 3] = positions[0]
    return _Series(folder, tuple(headers), geometry.LPS_TO_RAS @ lps)


def _even_step(folder: Path, positions: np.ndarray, along: np.ndarray, headers: list[Any]) -> np.ndarray:
    """Vector from one slice to the next (3,), refused if a slice is missing, doubled or out of line."""
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if (gaps < 0.01).any():
        index = int(np.argmin(gaps))
        names = f"{Path(headers[index].filename).name} and {Path(headers[index + 1].filename).name}"
        raise InputError(folder, f"two slices at the same position: {names}", "Remove the doubled files or choose one series.")
    tolerance = max(0.01, 0.02 * usual)  # headers round positions to 0.01 mm or coarser
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    even = positions[0] + np.arange(len(positions))[:, None] * step
    if (np.abs(gaps - usual) > tolerance).any() or np.linalg.norm(positions - even, axis=1).max() > 5 * tolerance:
        index = int(np.argmax(np.abs(gaps - usual)))
        problem = f"uneven slice positions: {gaps[index]:.3f} mm at {along[index]:.2f} mm, elsewhere {usual:.3f} mm"
        raise InputError(folder, problem, "A slice is probably missing: fetch or export the series again.")
    return step


# --- DICOM: RTSTRUCT -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Region:
    """One region of an RTSTRUCT file: name, number, frame of reference ("" if the file does not say)."""

    name: str
    number: int
    frame_uid: str


def rtstruct_roi_names(path: Path) -> list[str]:
    """Names of all regions in an RTSTRUCT file, in its own order."""
    return [region.name for region in _read_regions(Path(path), _read_rtstruct_file(Path(path)))]


def read_rtstruct(path: Path, image: Image, roi: str = "GTV-1", exact: bool = True, series_folder: Path | None = None) -> Mask:
    """Rasterize a region of an RTSTRUCT file on the grid of `image`; returns bool (x, y, z), RAS+.

    `roi` is the region's name, or a regular expression that must match exactly one whole name if `exact` is False.
    Contours are placed by their position in the patient (they need not refer to slices of the series); a voxel is
    inside if its centre is; contours nested in one plane are cut out of each other (XOR). With `series_folder` the
    frame of reference must be that of the CT series there. Raises `InputError` if the region is missing, has no closed
    contour, leaves the volume, lies between slices, or is empty.
    """
    path = Path(path)
    file = _read_rtstruct_file(path)
    region = _choose_region(path, _read_regions(path, file), roi, exact)
    if series_folder is not None:
        _refuse_other_frame(path, region.frame_uid, frame_of_reference_uid(Path(series_folder)))
    array = np.zeros(image.shape, bool, order="F")
    for lps_mm in _read_contours(path, file, region):
        ijk = geometry.world_to_ijk(lps_mm @ geometry.LPS_TO_RAS[:3, :3], image.affine)
        _xor_contour(array, ijk, f"{path}, {region.name}", image.spacing_mm[2])
    if not array.any():
        raise InputError(path, f"region {region.name!r} covers no voxel centre", "Choose another region.")
    return Mask(array, image.affine, path)


def _read_rtstruct_file(path: Path) -> Any:
    file = _read_whole_dicom(path)
    if file.get("Modality") != "RTSTRUCT" or "StructureSetROISequence" not in file:
        raise InputError(path, f"not an RTSTRUCT file (modality {file.get('Modality', 'none')})", "Give the file with the contours.")
    return file


def _read_regions(path: Path, file: Any) -> list[_Region]:
    with _refusing_damage(path, "its regions cannot be read"):
        return [
            _Region(str(item.ROIName).strip(), int(item.ROINumber), str(item.get("ReferencedFrameOfReferenceUID") or ""))
            for item in file.StructureSetROISequence
        ]


def _read_whole_dicom(path: Path) -> Any:
    import pydicom

    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, or fetch the data first.")
    with _refusing_damage(path, "it cannot be read as DICOM", "It is damaged or of another kind: fetch or export it again."):
        file = pydicom.dcmread(path)
        file.get("Modality")
        return file


def _choose_region(path: Path, regions: list[_Region], roi: str, exact: bool) -> _Region:
    found = [region for region in regions if (region.name == roi if exact else re.fullmatch(roi, region.name))]
    if len(found) != 1:
        problem = f"{'no' if not found else 'more than one'} region for {roi!r}"
        raise InputError(path, problem, f"It has: {', '.join(region.name for region in regions)}.")
    return found[0]


def _refuse_other_frame(path: Path, frame_uid: str, ct_frame_uid: str | None) -> None:
    if frame_uid and ct_frame_uid and frame_uid != ct_frame_uid:
        problem = f"its frame of reference {frame_uid} is not that of the CT ({ct_frame_uid})"
        raise InputError(path, problem, "Its positions do not belong to this CT: give the file drawn on it.")


def _read_contours(path: Path, file: Any, region: _Region) -> list[np.ndarray]:
    """All closed contours of a region, each as points (n, 3) in LPS mm."""
    with _refusing_damage(path, f"the contours of {region.name!r} cannot be read"):
        groups = [group for group in file.get("ROIContourSequence", ()) if group.ReferencedROINumber == region.number]
        contours = [contour for group in groups for contour in group.get("ContourSequence", ())]
        kinds = {str(contour.get("ContourGeometricType", "unknown")) for contour in contours}
        if not kinds or not kinds <= {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"}:
            problem = f"region {region.name!r} is not made of closed contours (found: {', '.join(sorted(kinds)) or 'none'})"
            raise InputError(path, problem, "Choose a region that outlines a volume.")
        points = [_contour_points(contour) for contour in contours]
        claimed = [int(contour.get("NumberOfContourPoints", len(own))) for contour, own in zip(contours, points, strict=True)]
    if claimed != [len(own) for own in points]:
        raise InputError(path, f"a contour of {region.name!r} has not the number of points it claims", "Fetch or export the file again.")
    return points


def _contour_points(contour: Any) -> np.ndarray:
    """Points (n, 3) of one contour, from its text at once: pydicom makes an object of each of what may be 100,000 numbers."""
    text = contour.get_item("ContourData").value
    return np.array(text.rstrip(b"\0 ").split(b"\\"), float).reshape(-1, 3)


def _xor_contour(array: np.ndarray, ijk: np.ndarray, where: str, spacing_mm: float) -> None:
    """Flip the voxels of `array` (x, y, z) inside one planar contour `ijk` (n, 3), `spacing_mm` between slices."""
    from skimage.draw import polygon2mask

    if not np.isfinite(ijk).all():
        raise InputError(where, "a contour has points that are no numbers", "Export the file again.")
    plane = round(float(ijk[:, 2].mean()))
    off_mm = np.abs(ijk[:, 2] - plane).max() * spacing_mm
    if not 0 <= plane < array.shape[2]:
        raise InputError(
            where, f"a contour lies outside the volume (slice {plane} of {array.shape[2]})", "Give the CT that it was drawn on."
        )
    if off_mm > max(0.1 * spacing_mm, 0.05):
        raise InputError(where, f"a contour lies {off_mm:.2f} mm off the nearest slice", "Give the CT that it was drawn on.")
    low, high = ijk[:, :2].min(axis=0), ijk[:, :2].max(axis=0)
    if (low < -1).any() or (high > np.array(array.shape[:2])).any():
        raise InputError(where, f"a contour leaves the image in plane (slice {plane})", "Give the CT that it was drawn on.")
    # Only the box round the contour: the test of each pixel is what costs.
    first = np.maximum(np.floor(low).astype(int), 0)
    last = np.minimum(np.ceil(high).astype(int) + 1, array.shape[:2])
    inside = polygon2mask(tuple(last - first), ijk[:, :2] - first)
    array[first[0] : last[0], first[1] : last[1], plane] ^= inside


# --- DICOM: SEG ----------------------------------------------------------------------------------------------------


def read_dicom_seg(path: Path, image: Image, segment: str, series_folder: Path | None = None) -> Mask:
    """One segment of a DICOM SEG file, by its label, on the grid of `image`; returns bool (x, y, z), RAS+.

    Frames are placed by their position and orientation and must fall on voxels of `image`; fractional segments are cut
    at one half. With `series_folder` the frame of reference must be that of the CT series there.
    """
    path = Path(path)
    file = _read_seg_file(path)
    number = _choose_segment(path, file, segment)
    if series_folder is not None:
        _refuse_other_frame(path, str(file.get("FrameOfReferenceUID") or ""), frame_of_reference_uid(Path(series_folder)))
    array = np.zeros(image.shape, bool, order="F")
    for frame, affine in _read_frames(path, file, number):
        _paste_frame(array, frame, affine, image, path)
    if not array.any():
        raise InputError(path, f"segment {segment!r} is empty", "Leave the file out if the case has no reference.")
    return Mask(array, image.affine, path)


def dicom_seg_labels(path: Path) -> list[str]:
    """Labels of all segments in a DICOM SEG file, in its own order."""
    return list(_segment_numbers(Path(path), _read_seg_file(Path(path))))


def _read_seg_file(path: Path) -> Any:
    import highdicom

    file = _read_whole_dicom(path)
    if file.get("Modality") != "SEG" or "SegmentSequence" not in file:
        raise InputError(path, f"not a DICOM SEG file (modality {file.get('Modality', 'none')})", "Give the segmentation file.")
    with _refusing_damage(path, "not a valid DICOM SEG file", "Export it again."):
        return highdicom.seg.Segmentation.from_dataset(file, copy=False)


def _segment_numbers(path: Path, file: Any) -> dict[str, int]:
    with _refusing_damage(path, "its segments cannot be read"):
        return {str(item.SegmentLabel).strip(): int(item.SegmentNumber) for item in file.SegmentSequence}


def _choose_segment(path: Path, file: Any, segment: str) -> int:
    numbers = _segment_numbers(path, file)
    if segment not in numbers:
        raise InputError(path, f"no segment {segment!r}", f"It has: {', '.join(numbers)}.")
    return numbers[segment]


def _read_frames(path: Path, file: Any, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames of one segment: bool (columns, rows, 1) and the affine (4, 4) of that single slice to RAS+ mm."""
    with _refusing_damage(path, "its frames cannot be decoded", "Decompress it first, or export it again."):
        pixels = np.asarray(file.pixel_array).reshape(-1, int(file.Rows), int(file.Columns))
        shared = file.SharedFunctionalGroupsSequence[0]
        groups = list(zip(pixels, file.PerFrameFunctionalGroupsSequence, strict=True))
        if file.SegmentationType == "LABELMAP":
            chosen = [(frame == number, own) for frame, own in groups]
        else:
            lowest = float(file.MaximumFractionalValue) / 2 if file.SegmentationType == "FRACTIONAL" else 1
            identify = "SegmentIdentificationSequence"
            chosen = [
                (frame >= lowest, own) for frame, own in groups if _macro(path, own, shared, identify).ReferencedSegmentNumber == number
            ]
        return [(inside.T[..., None], _frame_affine(path, own, shared)) for inside, own in chosen]


def _macro(path: Path, own: Any, shared: Any, name: str) -> Any:
    """A functional group of a frame: its own, else the one shared by all frames."""
    for group in (own, shared):
        if group.get(name):
            return group[name].value[0]
    raise InputError(path, f"its frames lack {name}", "Export it again, with its geometry.")


def _frame_affine(path: Path, own: Any, shared: Any) -> np.ndarray:
    """Affine (4, 4) from (column, row, 0) of one frame to RAS+ mm."""
    position, orientation, measures = (
        _macro(path, own, shared, name) for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    )
    origin = np.array(position.ImagePositionPatient, float)
    cosines = np.array(orientation.ImageOrientationPatient, float).reshape(2, 3)
    spacing = np.array(measures.PixelSpacing, float)
    lps = np.eye(4)  # one slice: its thickness does not matter
    lps[:3, :3] = np.column_stack([cosines[0] * spacing[1], cosines[1] * spacing[0], np.cross(*cosines)])
    lps[:3, 3] = origin
    return geometry.LPS_TO_RAS @ lps


def _paste_frame(array: np.ndarray, frame: np.ndarray, affine: np.ndarray, image: Image, path: Path) -> None:
    frame, affine = geometry.to_ras(frame, affine)
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in frame.shape])))
    ijk = geometry.world_to_ijk(geometry.ijk_to_world(corners, affine), image.affine)
    if not np.isfinite(ijk).all():
        raise InputError(path, "a frame has no position", "Export it again, with its geometry.")
    first = np.rint(ijk[0]).astype(int)
    if np.abs(ijk - (first + corners)).max() > 0.02 or (first < 0).any() or (first + frame.shape > array.shape).any():
        raise InputError(path, "a frame does not fall on voxels of the image", "Give the CT that it was drawn on.")
    array[tuple(slice(a, a + n) for a, n in zip(first, frame.shape, strict=True))] |= frame


# --- LIDC ----------------------------------------------------------------------------------------------------------


def read_lidc_readers(xml_path: Path, series_folder: Path, image: Image) -> dict[str, Mask]:
    """Nodules of at least 3 mm as each LIDC reader outlined them; `{"reader-1": Mask, ...}` in the order of the XML file.

    Inside is what the outline encloses, without the outline itself; regions marked as excluded are cut out of their
    nodule. Outlines belong to slices by SOP instance UID, else by their z position; those on slices that the series
    does not have (a slab) are left out. A reader who outlined nothing has an empty mask. Source of the rules: Armato
    et al., Medical Physics 2011;38:915-931, doi:10.1118/1.3528204.
    """
    xml_path = Path(xml_path)
    root = _parse_lidc(xml_path)
    series = _read_series(Path(series_folder), _lidc_series_uid(root))
    _refuse_other_grid(_grid(series.shape, series.stored_affine, series.folder), image, series.folder, "the image")
    sessions = root.findall("{*}readingSession")
    if not sessions:
        raise InputError(xml_path, "no reading session in it", "Give the XML file of a CT scan of LIDC-IDRI.")
    return {f"reader-{n}": _session_mask(session, series, image, xml_path) for n, session in enumerate(sessions, 1)}


def lidc_series_uid(xml_path: Path) -> str | None:
    """The CT series that an LIDC annotation file belongs to; None for any other XML file, such as those of radiographs."""
    root = _parse_xml(Path(xml_path))
    return _lidc_series_uid(root) if _is_lidc(root) else None


def _parse_lidc(path: Path) -> Any:
    root = _parse_xml(path)
    if not _is_lidc(root):
        raise InputError(path, f"not an LIDC annotation file (root element {root.tag})", "Give the XML file of a CT scan.")
    return root


def _is_lidc(root: Any) -> bool:
    return root.tag.rpartition("}")[2] == "LidcReadMessage"


def _parse_xml(path: Path) -> Any:
    import defusedxml.ElementTree
    from defusedxml.common import DefusedXmlException

    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, or fetch the data first.")
    if path.stat().st_size > _MAX_XML_BYTES:
        raise InputError(path, "far too large for an annotation file", "Give the XML file of one CT scan.")
    try:
        return defusedxml.ElementTree.parse(path, forbid_dtd=True).getroot()
    except (defusedxml.ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise InputError(path, f"not a readable XML file: {error}", "Fetch it again.") from error


def _lidc_series_uid(root: Any) -> str | None:
    text = root.findtext("{*}ResponseHeader/{*}SeriesInstanceUid")
    return text.strip() if text and text.strip() else None


def _session_mask(session: Any, series: _Series, image: Image, xml_path: Path) -> Mask:
    stored = np.zeros(series.shape, bool)
    for nodule in session.findall("{*}unblindedReadNodule"):
        regions = nodule.findall("{*}roi")
        # A nodule below 3 mm is a single point, here and in the whole collection.
        if any(len(region.findall("{*}edgeMap")) > 1 for region in regions):
            stored |= _nodule_mask(regions, series, xml_path)
    array, affine = geometry.to_ras(stored, series.stored_affine)
    return Mask(_positive_strides(array), affine, xml_path)


def _nodule_mask(regions: list[Any], series: _Series, xml_path: Path) -> np.ndarray:
    included, excluded = np.zeros(series.shape, bool), np.zeros(series.shape, bool)
    for region in regions:
        index = _lidc_slice(region, series)
        if index is not None:
            target = included if (region.findtext("{*}inclusion") or "TRUE").strip().upper() == "TRUE" else excluded
            target[:, :, index] |= _inside_outline(region, series.shape[:2], xml_path)
    return included & ~excluded


def _lidc_slice(region: Any, series: _Series) -> int | None:
    uid = (region.findtext("{*}imageSOP_UID") or "").strip()
    for index, header in enumerate(series.slices):
        if header.SOPInstanceUID == uid:
            return index
    try:
        z_mm = float(region.findtext("{*}imageZposition") or "nan")
    except ValueError:
        return None
    offsets = np.abs(np.array([float(header.ImagePositionPatient[2]) for header in series.slices]) - z_mm)
    nearest = int(np.argmin(offsets))
    return nearest if offsets[nearest] < 0.1 * abs(series.stored_affine[2, 2]) else None


def _inside_outline(region: Any, shape: tuple[int, int], xml_path: Path) -> np.ndarray:
    """Pixels (columns, rows) within the closed polygon through the outline's points, which are themselves outside."""
    from skimage.draw import polygon2mask

    try:
        points = np.array([[int(p.findtext("{*}" + axis)) for axis in ("xCoord", "yCoord")] for p in region.findall("{*}edgeMap")])
    except (TypeError, ValueError) as error:
        raise InputError(xml_path, "an outline has a point without coordinates", "Fetch the file again.") from error
    if len(points) == 0 or (points < 0).any() or (points >= shape).any():
        raise InputError(xml_path, "an outline leaves the image", "Give the XML file of this CT scan.")
    inside = polygon2mask(shape, points)
    inside[tuple(points.T)] = False
    return inside
