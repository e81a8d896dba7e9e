"""Read regions of a DICOM RTSTRUCT file as masks: a `StructureSet` is the file, opened once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import geometry
from ..types import Image, InputError, Mask
from . import contour_planes, regions
from .dicom_files import read_whole_dicom
from .dicom_series import frame_of_reference_uid, refuse_other_frame
from .grids import refusing_damage
from .regions import Region
from .used_files import note_used

if TYPE_CHECKING:  # a card loads without pydicom
    from pydicom import Dataset, FileDataset

_XOR = "CLOSEDPLANAR_XOR"
_CLOSED = {"CLOSED_PLANAR", _XOR}


@dataclass(frozen=True)
class StructureSet:
    """An opened RTSTRUCT file."""

    path: Path
    file: FileDataset

    def regions(self) -> list[Region]:
        """All regions, in the file's own order."""
        return _read_regions(self.path, self.file)

    def names(self) -> list[str]:
        """Names of all regions, in the file's own order; two may be equal."""
        return [region.name for region in self.regions()]

    def mask(self, name: str | int, image: Image, ct_frame_uid: str | None = None, exact: bool = True) -> Mask:
        """One region, by name or number, on the grid of `image`, as `read_rtstruct` describes.

        `ct_frame_uid`: the frame of reference that it must have.
        """
        region = regions.choose(self.path, self.regions(), name, "region", exact)
        outlines = _read_outlines(self.path, self.file, region)
        if not outlines.kinds or outlines.kinds - _CLOSED:
            problem = f"region {region.name!r} is not made of closed contours (found: {', '.join(sorted(outlines.kinds)) or 'none'})"
            raise InputError(self.path, problem, "Choose a region that outlines a volume.")
        array = self._rasterize(region, outlines, image, ct_frame_uid)
        if not array.any():
            raise InputError(self.path, f"region {region.name!r} covers no voxel centre", "Choose another region.")
        return Mask(array, image.affine, self.path)

    def mask_with_gaps(self, number: int, image: Image, ct_frame_uid: str | None = None) -> Mask:
        """A region that is only ignored with its neighborhood: empty if it outlines nothing, and allowed to lack slices or to cross itself.

        It does not decide whether the patient can be used. Contours that do not lie on the CT are refused here too.
        """
        region = regions.choose(self.path, self.regions(), number, "region")
        outlines = _read_outlines(self.path, self.file, region)
        closed = bool(outlines.kinds) and not outlines.kinds - _CLOSED
        if not closed:
            return Mask(np.zeros(image.shape, bool, order="F"), image.affine, self.path)
        return Mask(self._rasterize(region, outlines, image, ct_frame_uid, to_ignore=True), image.affine, self.path)

    def _rasterize(
        self, region: Region, outlines: _Outlines, image: Image, ct_frame_uid: str | None, to_ignore: bool = False
    ) -> np.ndarray:
        refuse_other_frame(self.path, region.frame_uid, ct_frame_uid)
        in_voxels = [geometry.world_to_ijk(lps_mm @ geometry.LPS_TO_RAS[:3, :3], image.affine) for lps_mm in outlines.points]
        may_cross = to_ignore or outlines.kinds == {_XOR}
        where = f"{self.path}, {region.name}"
        return contour_planes.rasterize(in_voxels, image.shape, image.spacing_mm[2], where, may_cross, may_lack_slices=to_ignore)

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
    note_used(path)
    return StructureSet(path, file)


def read_rtstruct(path: Path, image: Image, roi: str | int = "GTV-1", exact: bool = True, series_folder: Path | None = None) -> Mask:
    """Rasterize a region of an RTSTRUCT file on the grid of `image`; returns bool (x, y, z), RAS+.

    `roi` is the region's name or number, or a regular expression that must match exactly one whole name if `exact` is
    False. Contours are placed by their position in the patient; a voxel is inside if its centre is; contours nested in one
    plane are cut out of each other (XOR). An outline that is stored more than once counts once. With `series_folder` the
    series that the file names, if it names one, must be there and have the frame of reference of the region. Raises
    `InputError` if the region is missing, has no closed contour, leaves the volume, lies between slices, lacks slices,
    has outlines that cross, or is empty.
    """
    opened = open_rtstruct(path)
    return opened.mask(roi, image, None if series_folder is None else frame_of_reference_uid(series_folder, opened.drawn_on()[1]), exact)


def _read_regions(path: Path, file: FileDataset) -> list[Region]:
    with refusing_damage(path, "its regions cannot be read"):
        found = [
            Region(str(item.ROIName).strip(), int(item.ROINumber), str(item.get("ReferencedFrameOfReferenceUID") or ""))
            for item in file.StructureSetROISequence
        ]
    regions.refuse_shared_numbers(path, found, "region")
    return found


@dataclass(frozen=True, eq=False)
class _Outlines:
    """All contours of a region: points (n, 3) of each in LPS mm, and the geometric types that occur. No points unless all are closed."""

    points: list[np.ndarray]
    kinds: set[str]


def _read_outlines(path: Path, file: FileDataset, region: Region) -> _Outlines:
    with refusing_damage(path, f"the contours of {region.name!r} cannot be read"):
        groups = [group for group in file.get("ROIContourSequence", ()) if group.ReferencedROINumber == region.number]
        contours = [contour for group in groups for contour in group.get("ContourSequence") or ()]
        kinds = {str(contour.get("ContourGeometricType", "unknown")) for contour in contours}
        if kinds - _CLOSED:
            return _Outlines([], kinds)
        points = [_contour_points(contour) for contour in contours]
        claimed = [int(contour.get("NumberOfContourPoints", len(own))) for contour, own in zip(contours, points, strict=True)]
    if claimed != [len(own) for own in points]:
        raise InputError(path, f"a contour of {region.name!r} has not the number of points it claims", "Fetch or export the file again.")
    return _Outlines(points, kinds)


def _contour_points(contour: Dataset) -> np.ndarray:
    """Points (n, 3) of one contour, from its text at once: pydicom makes an object of each of what may be 100,000 numbers."""
    text = contour.get_item("ContourData").value
    return np.array(text.rstrip(b"\0 ").split(b"\\"), float).reshape(-1, 3)
