"""Read a DICOM CT series: list the files of a folder, choose and check one series, decode it to HU.

Headers are read by `dicom_files.read_header`, so names and dates of birth never enter memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .. import geometry
from ..types import Image, InputError
from . import jpeg_lossless
from .dicom_files import files_below, read_header
from .dicom_pixels import read_slice_hu
from .grids import empty_grid, refusing_damage, require_believable_voxels
from .listing import ListingError
from .used_files import note_used

if TYPE_CHECKING:  # a card loads without pydicom
    from pydicom import Dataset

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_NONE_OPENED: Mapping[Path, Dataset] = MappingProxyType({})


@dataclass(frozen=True)
class DicomFile:
    """One DICOM file of a folder, by its identifiers only."""

    path: Path
    modality: str
    series_uid: str
    patient_id: str


@dataclass(frozen=True)
class Series:
    """One CT series in order along its normal: headers with pixels still on disk, and the stored grid.

    `stored_affine` maps (column, row, slice) to RAS+ mm; `shape` is (columns, rows, slices).
    """

    folder: Path
    slices: tuple[Dataset, ...]
    stored_affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return int(self.slices[0].Columns), int(self.slices[0].Rows), len(self.slices)

    @property
    def uid(self) -> str:
        """The UID of the series."""
        return str(self.slices[0].get("SeriesInstanceUID", ""))

    @property
    def frame_uid(self) -> str | None:
        """The frame of reference, or None if the headers do not name one."""
        uid = self.slices[0].get("FrameOfReferenceUID")
        return str(uid) if uid else None

    def image(self) -> Image:
        """The series decoded: float32 (x, y, z) in HU, clipped to `HU_RANGE`, RAS+."""
        grid = empty_grid(self.shape, self.stored_affine, self.folder)
        array = np.empty(grid.shape, np.float32, order="F")
        stored = geometry.from_ras(array, self.stored_affine)  # a view: slices are written to their place at once
        note_used(*(str(header.filename) for header in self.slices))
        jpeg_lossless.register()
        for index, header in enumerate(self.slices):
            read_slice_hu(header, stored[:, :, index].T)
        return Image(array, grid.affine, self.folder)


def list_dicom(folder: Path) -> list[DicomFile]:
    """All DICOM files below a folder, sorted by path; other files are passed over. Reads headers only. Damaged ones are refused."""
    found, faults = find_dicom(folder)
    if faults:
        raise ListingError(folder, faults)
    return found


def find_dicom(folder: Path) -> tuple[list[DicomFile], list[InputError]]:
    """The same, with the faults of damaged files apart: one of them does not hide the others."""
    found, faults = [], []
    for path in files_below(Path(folder)):
        try:
            header = read_header(path)
        except InputError as fault:
            faults.append(fault)
            continue
        if header is not None:
            facts = [str(header.get(tag) or "").strip() for tag in ("Modality", "SeriesInstanceUID", "PatientID")]
            found.append(DicomFile(path, *facts))
    return found, faults


def common_folder(files: Iterable[DicomFile]) -> Path:
    """The deepest folder that holds all of these files, at any depth."""
    folders = {file.path.parent for file in files}
    while len(folders) > 1:
        deepest = max(folders, key=lambda folder: len(folder.parts))
        folders = folders - {deepest} | {deepest.parent}
    return folders.pop()


def dicom_modality(path: Path) -> str:
    """Modality of one DICOM file ("CT", "RTSTRUCT", "SEG", ...), "" if it is not DICOM or does not say."""
    header = read_header(Path(path))
    return "" if header is None else str(header.get("Modality") or "")


def frame_of_reference_uid(folder: Path, series_uid: str | Sequence[str] | None = None) -> str | None:
    """The frame of reference of the CT series in a folder, chosen as by `read_series`, or None if its headers do not name one."""
    return read_series(folder, series_uid).frame_uid


def read_series(folder: Path, series_uid: str | Sequence[str] | None = None, opened: Mapping[Path, Dataset] = _NONE_OPENED) -> Series:
    """The one CT series in a folder, or the one named by `series_uid`, checked and in order; its pixels stay on disk.

    Of several UIDs, such as a file with contours may name, the one whose series is here is taken; none names nothing.
    `opened`: files of the folder that have been read already, by path. They are not read again.
    """
    folder = Path(folder)
    found = [opened[path] if path in opened else read_header(path) for path in files_below(folder)]
    headers = [header for header in found if header is not None]
    with refusing_damage(folder, "a DICOM header in it cannot be read"):
        slices = _choose_series(folder, headers, series_uid)
    for header in slices:
        with refusing_damage(header.filename, "its DICOM header cannot be read"):
            _refuse_unusable_slice(header)
    return _order_slices(folder, slices)


def _choose_series(folder: Path, headers: list[Dataset], series_uid: str | Sequence[str] | None) -> list[Dataset]:
    groups: dict[str, list[Dataset]] = {}
    for header in headers:
        if header.get("Modality") == "CT" and "LOCALIZER" not in (header.get("ImageType") or ()):
            groups.setdefault(str(header.get("SeriesInstanceUID", "")), []).append(header)
    listing = "; ".join(f"{uid} ({len(group)} slices)" for uid, group in sorted(groups.items()))
    if not groups:
        found = ", ".join(sorted({str(h.get("Modality", "none")) for h in headers})) or "no DICOM file"
        raise InputError(folder, f"no CT image in it (found: {found})", "Give the folder with the CT series.")
    wanted = dict.fromkeys([series_uid] if isinstance(series_uid, str) else series_uid or ())
    here = [uid for uid in wanted if uid in groups]
    if wanted and not here:
        raise InputError(folder, f"no CT series {' or '.join(wanted)}", f"It has: {listing}. Contours of another series do not fit.")
    if len(here) == 1:
        return groups[here[0]]
    if len(groups) > 1:
        raise InputError(folder, f"{len(groups)} CT series in it: {listing}", "Choose one with `series_uid`, or give its folder.")
    return next(iter(groups.values()))


def _refuse_unusable_slice(header: Dataset) -> None:
    where = header.filename
    if int(header.get("NumberOfFrames") or 1) > 1 or header.get("SOPClassUID") == f"{_CT_IMAGE}.1":
        raise InputError(where, "a multi-frame DICOM file", "Convert it to a series of single slices or to NIfTI (dcm2niix).")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise InputError(where, "a color image", "Give the CT series itself, not a secondary capture.")
    needed = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SOPInstanceUID"]
    needed += ["RescaleSlope", "RescaleIntercept"]  # without them values could be off by 1024 HU
    lacking = [tag for tag in needed if header.get(tag) in (None, "")]
    if lacking:
        raise InputError(where, f"its header lacks {', '.join(lacking)}", "Export the series again, with its geometry.")
    _geometry_of(header)


def _geometry_of(header: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def _order_slices(folder: Path, headers: list[Dataset]) -> Series:
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
    require_believable_voxels(lps, folder)
    return Series(folder, tuple(headers), geometry.LPS_TO_RAS @ lps)


def _even_step(folder: Path, positions: np.ndarray, along: np.ndarray, headers: list[Dataset]) -> np.ndarray:
    """Vector from one slice to the next (3,), refused if a slice is missing, doubled or out of line."""
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if (gaps < 0.01).any():
        index = int(np.argmin(gaps))
        paths = [Path(str(header.filename)) for header in headers[index : index + 2]]
        names = " and ".join(str(path.relative_to(folder)) for path in paths)  # equal files in two folders have equal names
        raise InputError(folder, f"two slices at the same position: {names}", "Remove the doubled files or choose one series.")
    tolerance = max(0.01, 0.02 * usual)  # headers round positions to 0.01 mm or coarser
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    even = positions[0] + np.arange(len(positions))[:, None] * step
    if (np.abs(gaps - usual) > tolerance).any() or np.linalg.norm(positions - even, axis=1).max() > 5 * tolerance:
        index = int(np.argmax(np.abs(gaps - usual)))
        problem = f"uneven slice positions: {gaps[index]:.3f} mm at {along[index]:.2f} mm, elsewhere {usual:.3f} mm"
        raise InputError(folder, problem, "A slice is probably missing: fetch or export the series again.")
    return step


def refuse_other_frame(path: Path, frame_uid: str, ct_frame_uid: str | None) -> None:
    if frame_uid and ct_frame_uid and frame_uid != ct_frame_uid:
        problem = f"its frame of reference {frame_uid} is not that of the CT ({ct_frame_uid})"
        raise InputError(path, problem, "Its positions do not belong to this CT: give the file drawn on it.")
