"""Read regions of a DICOM RTSTRUCT file as masks: a `StructureSet` is the file, opened once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import geometry
from ..types import Image, InputError, Mask
from .dicom_series import frame_of_reference_uid, read_whole_dicom, refuse_other_frame
from .grids import refusing_damage

if TYPE_CHECKING:  # a card loads without pydicom
    from pydicom import Dataset, FileDataset

# Files round positions, so copies of an outline differ by up to 0.07 voxels (LUNG1-002). No reader draws a ring as thin as this.
_COPY_VOXELS = 0.25
_POINTS_AT_ONCE = 256


@dataclass(frozen=True)
class _Region:
    """One region of an RTSTRUCT file: name, number, frame of reference ("" if the file does not say)."""

    name: str
    number: int
    frame_uid: str


@dataclass(frozen=True)
class StructureSet:
    """An opened RTSTRUCT file."""

    path: Path
    file: FileDataset

    def names(self) -> list[str]:
        """Names of all regions, in the file's own order."""
        return [region.name for region in _read_regions(self.path, self.file)]

    def mask(self, name: str, image: Image, ct_frame_uid: str | None = None, exact: bool = True) -> Mask:
        """One region on the grid of `image`, as `read_rtstruct` describes. `ct_frame_uid`: the frame of reference that it must have."""
        region = _choose_region(self.path, _read_regions(self.path, self.file), name, exact)
        refuse_other_frame(self.path, region.frame_uid, ct_frame_uid)
        array = np.zeros(image.shape, bool, order="F")
        contours = _read_contours(self.path, self.file, region)
        for ijk in _without_copies([geometry.world_to_ijk(lps_mm @ geometry.LPS_TO_RAS[:3, :3], image.affine) for lps_mm in contours]):
            _xor_contour(array, ijk, f"{self.path}, {region.name}", image.spacing_mm[2])
        if not array.any():
            raise InputError(self.path, f"region {region.name!r} covers no voxel centre", "Choose another region.")
        return Mask(array, image.affine, self.path)

    def drawn_on(self) -> tuple[str, tuple[str, ...]]:
        """What the file says of itself: its series description ("" if it has none), and the UIDs of the series it was drawn on."""
        with refusing_damage(self.path, "the series that it refers to cannot be read"):
            frames = self.file.get("ReferencedFrameOfReferenceSequence") or ()
            studies = [study for frame in frames for study in frame.get("RTReferencedStudySequence") or ()]
            series = [str(item.SeriesInstanceUID) for study in studies for item in study.get("RTReferencedSeriesSequence") or ()]
            return str(self.file.get("SeriesDescription") or "").strip(), tuple(dict.fromkeys(series))


def open_rtstruct(path: Path, file: FileDataset | None = None) -> StructureSet:
    """Open an RTSTRUCT file; `file` is its content where it has been read already. `InputError` for a file of another kind."""
    path = Path(path)
    file = read_whole_dicom(path) if file is None else file
    if file.get("Modality") != "RTSTRUCT" or "StructureSetROISequence" not in file:
        raise InputError(path, f"not an RTSTRUCT file (modality {file.get('Modality', 'none')})", "Give the file with the contours.")
    return StructureSet(path, file)


def read_rtstruct(path: Path, image: Image, roi: str = "GTV-1", exact: bool = True, series_folder: Path | None = None) -> Mask:
    """Rasterize a region of an RTSTRUCT file on the grid of `image`; returns bool (x, y, z), RAS+.

    `roi` is the region's name, or a regular expression that must match exactly one whole name if `exact` is False.
    Contours are placed by their position in the patient (they need not refer to slices of the series); a voxel is
    inside if its centre is; contours nested in one plane are cut out of each other (XOR). An outline that is stored more
    than once counts once. With `series_folder` the frame of reference must be that of the CT series there. Raises
    `InputError` if the region is missing, has no closed contour, leaves the volume, lies between slices, or is empty.
    """
    opened = open_rtstruct(path)
    return opened.mask(roi, image, None if series_folder is None else frame_of_reference_uid(series_folder), exact)


def _read_regions(path: Path, file: FileDataset) -> list[_Region]:
    with refusing_damage(path, "its regions cannot be read"):
        return [
            _Region(str(item.ROIName).strip(), int(item.ROINumber), str(item.get("ReferencedFrameOfReferenceUID") or ""))
            for item in file.StructureSetROISequence
        ]


def _choose_region(path: Path, regions: list[_Region], roi: str, exact: bool) -> _Region:
    found = [region for region in regions if (region.name == roi if exact else re.fullmatch(roi, region.name))]
    if len(found) != 1:
        problem = f"{'no' if not found else 'more than one'} region for {roi!r}"
        raise InputError(path, problem, f"It has: {', '.join(region.name for region in regions)}.")
    return found[0]


def _read_contours(path: Path, file: FileDataset, region: _Region) -> list[np.ndarray]:
    """All closed contours of a region, each as points (n, 3) in LPS mm."""
    with refusing_damage(path, f"the contours of {region.name!r} cannot be read"):
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


def _contour_points(contour: Dataset) -> np.ndarray:
    """Points (n, 3) of one contour, from its text at once: pydicom makes an object of each of what may be 100,000 numbers."""
    text = contour.get_item("ContourData").value
    return np.array(text.rstrip(b"\0 ").split(b"\\"), float).reshape(-1, 3)


def _without_copies(contours: list[np.ndarray]) -> list[np.ndarray]:
    """The contours (n, 3), in voxels, without those that repeat another one: XOR would cancel what is stored twice."""
    kept: list[np.ndarray] = []
    boxes = np.empty((0, 6))
    for contour in contours:
        box = np.concatenate([contour.min(axis=0), contour.max(axis=0)])
        with np.errstate(invalid="ignore"):  # points that are no numbers are refused where they are drawn
            near = np.flatnonzero(np.abs(boxes - box).max(axis=1) <= _COPY_VOXELS)
        if not any(_follows(contour, kept[i]) and _follows(kept[i], contour) for i in near):
            kept.append(contour)
            boxes = np.vstack([boxes, box])
    return kept


def _follows(points: np.ndarray, polygon: np.ndarray) -> bool:
    """True if all points (n, 3) lie on the outline of a closed polygon (m, 3), as near as copies do."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    squared = np.maximum((edges**2).sum(axis=1), np.finfo(float).tiny)
    for start in range(0, len(points), _POINTS_AT_ONCE):
        offsets = points[start : start + _POINTS_AT_ONCE, None] - polygon
        along = np.clip((offsets * edges).sum(axis=2) / squared, 0, 1)
        distances = np.linalg.norm(offsets - along[..., None] * edges, axis=2)
        if not (distances.min(axis=1) <= _COPY_VOXELS).all():
            return False
    return True


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
