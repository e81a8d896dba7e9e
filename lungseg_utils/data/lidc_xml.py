"""Read the annotation files (XML) of LIDC-IDRI: one mask for each reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import geometry
from ..types import InputError, Mask
from .dicom_series import Series
from .grids import positive_strides

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MAX_XML_BYTES = 64 * 2**20


def readers_of(series: Series, xml_path: Path) -> dict[str, Mask]:
    """Nodules of at least 3 mm as each LIDC reader outlined them; `{"reader-1": Mask, ...}` in the order of the XML file.

    Inside is what the outline encloses, without the outline itself; regions marked as excluded are cut out of their
    nodule. Outlines belong to slices by SOP instance UID, else by their z position; those on slices that the series
    does not have (a slab) are left out. A reader who outlined nothing has an empty mask. Source of the rules: Armato
    et al., Medical Physics 2011;38:915-931, doi:10.1118/1.3528204. `InputError` if the file belongs to another series.
    """
    root = _parse_lidc(Path(xml_path))
    uid = _lidc_series_uid(root)
    if uid not in (None, series.uid):
        raise InputError(series.folder, f"no CT series {uid}", f"It has: {series.uid} ({len(series.slices)} slices).")
    return _reader_masks(Path(xml_path), root, series)


def _reader_masks(xml_path: Path, root: Element, series: Series) -> dict[str, Mask]:
    sessions = root.findall("{*}readingSession")
    if not sessions:
        raise InputError(xml_path, "no reading session in it", "Give the XML file of a CT scan of LIDC-IDRI.")
    return {f"reader-{n}": _session_mask(session, series, xml_path) for n, session in enumerate(sessions, 1)}


def lidc_series_uid(xml_path: Path) -> str | None:
    """The CT series that an LIDC annotation file belongs to; None for any other XML file, such as those of radiographs."""
    root = _parse_xml(Path(xml_path))
    return _lidc_series_uid(root) if _is_lidc(root) else None


def _parse_lidc(path: Path) -> Element:
    root = _parse_xml(path)
    if not _is_lidc(root):
        raise InputError(path, f"not an LIDC annotation file (root element {root.tag})", "Give the XML file of a CT scan.")
    return root


def _is_lidc(root: Element) -> bool:
    return root.tag.rpartition("}")[2] == "LidcReadMessage"


def _parse_xml(path: Path) -> Element:
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


def _lidc_series_uid(root: Element) -> str | None:
    text = root.findtext("{*}ResponseHeader/{*}SeriesInstanceUid")
    return text.strip() if text and text.strip() else None


def _session_mask(session: Element, series: Series, xml_path: Path) -> Mask:
    stored = np.zeros(series.shape, bool)
    for nodule in session.findall("{*}unblindedReadNodule"):
        regions = nodule.findall("{*}roi")
        # A nodule below 3 mm is a single point, here and in the whole collection.
        if any(len(region.findall("{*}edgeMap")) > 1 for region in regions):
            stored |= _nodule_mask(regions, series, xml_path)
    array, affine = geometry.to_ras(stored, series.stored_affine)
    return Mask(positive_strides(array), affine, xml_path)


def _nodule_mask(regions: list[Element], series: Series, xml_path: Path) -> np.ndarray:
    included, excluded = np.zeros(series.shape, bool), np.zeros(series.shape, bool)
    for region in regions:
        index = _lidc_slice(region, series)
        if index is not None:
            target = included if (region.findtext("{*}inclusion") or "TRUE").strip().upper() == "TRUE" else excluded
            target[:, :, index] |= _inside_outline(region, series.shape[:2], xml_path)
    return included & ~excluded


def _lidc_slice(region: Element, series: Series) -> int | None:
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


def _inside_outline(region: Element, shape: tuple[int, int], xml_path: Path) -> np.ndarray:
    """Pixels (columns, rows) within the closed polygon through the outline's points, which are themselves outside."""
    from skimage.draw import polygon2mask

    try:
        points = np.array([[int(p.findtext("{*}" + axis) or "") for axis in ("xCoord", "yCoord")] for p in region.findall("{*}edgeMap")])
    except (TypeError, ValueError) as error:
        raise InputError(xml_path, "an outline has a point without coordinates", "Fetch the file again.") from error
    if len(points) == 0 or (points < 0).any() or (points >= shape).any():
        raise InputError(xml_path, "an outline leaves the image", "Give the XML file of this CT scan.")
    inside = polygon2mask(shape, points)
    inside[tuple(points.T)] = False
    return inside
