"""Open DICOM files: their headers, or all of them. Files without the preamble of part 10, as older software writes, are files as well.

Of a header only the geometry, the identifiers and the fields that decode pixels are read. Names and dates of birth never enter memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core import files
from ..types import InputError
from .grids import refusing_damage

if TYPE_CHECKING:  # a card loads without pydicom
    from pydicom import FileDataset

_ENOUGH_FOR_HEADERS = 4096  # longer DICOM elements (pixels) are only read when asked for
_TAG_LINES = [
    "SOPClassUID SOPInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality ImageType PatientID",
    "ImagePositionPatient ImageOrientationPatient PixelSpacing Rows Columns RescaleSlope RescaleIntercept",
    "BitsAllocated BitsStored HighBit PixelRepresentation PhotometricInterpretation SamplesPerPixel NumberOfFrames",
    "PixelPaddingValue PixelPaddingRangeLimit PixelData",
]
_TAGS = " ".join(_TAG_LINES).split()
# Without a preamble a file starts with the tag of its first element: of group 2 or 8, in the byte order of the file.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def files_below(folder: Path) -> list[Path]:
    """All files below a folder but hidden ones and DICOMDIR, sorted; `InputError` if there is no such folder."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "Check the path, or fetch the data first.")
    return [path for path in files.files_below(folder) if not path.name.startswith(".") and path.name != "DICOMDIR"]


def read_header(path: Path) -> FileDataset | None:
    """The elements in `_TAGS`, long ones left on disk until asked for; None if the file is not DICOM."""
    from pydicom.errors import InvalidDicomError

    with refusing_damage(path, "its DICOM header cannot be read"):
        try:
            header = _read(path, defer_size=_ENOUGH_FOR_HEADERS, specific_tags=list(_TAGS))
        except InvalidDicomError:
            if path.suffix.lower() == ".dcm":
                raise
            return None
        for tag in ("Modality", "SeriesInstanceUID", "PatientID", "ImageType", "SOPClassUID"):
            header.get(tag)  # pydicom converts late: let it fail here
        return header


def read_whole_dicom(path: Path) -> FileDataset:
    """One DICOM file with all its elements; `InputError` if it is missing or damaged."""
    if not path.is_file():
        raise InputError(path, "no such file", "Check the path, or fetch the data first.")
    with refusing_damage(path, "it cannot be read as DICOM", "It is damaged or of another kind: fetch or export it again."):
        file = _read(path)
        file.get("Modality")
        return file


def _read(path: Path, defer_size: int | None = None, specific_tags: list[str] | None = None) -> FileDataset:
    """What pydicom reads by these options; its `InvalidDicomError` for what is not DICOM."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(path, defer_size=defer_size, specific_tags=specific_tags)
    except InvalidDicomError:
        with path.open("rb") as handle:
            if handle.read(2) not in _FIRST_GROUPS:
                raise
    file = pydicom.dcmread(path, force=True, defer_size=defer_size, specific_tags=specific_tags)
    if not file.get("SOPClassUID"):  # any bytes read as some elements
        raise InvalidDicomError("neither a preamble nor a class of DICOM objects")
    _say_how_it_is_encoded(file)
    return file


def _say_how_it_is_encoded(file: FileDataset) -> None:
    """Name the transfer syntax, which the missing part of the file would name, as pydicom found it; pixels are decoded by it."""
    from pydicom import uid

    if "TransferSyntaxUID" not in file.file_meta:
        implicit, little = file.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        file.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
