"""An account of files: of those in a folder, which were used, which were passed over, and why.

Readers note what they read (`used_files`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import registry
from ..core.files import files_below
from ..types import InputError
from . import nifti

_OTHER_FORMATS = (".nrrd", ".nhdr", ".mha", ".mhd", ".img", ".hdr", ".mgz", ".zip", ".tar", ".tgz", ".gz")
_SHOWN = 3


@dataclass(frozen=True)
class Account:
    """Files seen below a folder: how many were used, and why each of the others was passed over (by its path below the folder)."""

    used: int
    passed_over: dict[str, str]

    def in_words(self) -> str:
        """One line: numbers, and the reasons with the first files of each."""
        groups: dict[str, list[str]] = {}
        for name, reason in self.passed_over.items():
            groups.setdefault(reason, []).append(name)
        told = [f"{len(names)} {reason} ({_some(names)})" for reason, names in sorted(groups.items())]
        line = f"files: {self.used + len(self.passed_over)} seen, {self.used} used, {len(self.passed_over)} passed over"
        return f"{line}: {'; '.join(told)}" if told else line


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def account(folders: Iterable[Path], used: Iterable[Path], faulty: Iterable[str] = ()) -> Account:
    """Account for every file below the folders.

    Args:
        folders: Of which one may lie in another.
        used: Files that were read, also those of which what was read could not be used.
        faulty: Files and folders that are named in faults.
    """
    known = {Path(path).resolve() for path in used}
    faults = {Path(name).resolve() for name in faulty}
    seen: dict[Path, str] = {}  # each file once, under its name below the first folder that holds it
    folders = [Path(folder) for folder in folders]
    for folder in folders:
        for path in files_below(folder):
            name = path.relative_to(folder).as_posix()
            seen.setdefault(path.resolve(), name if len(folders) == 1 else f"{folder.name}/{name}")
    passed_over = {}
    for path, name in seen.items():
        if path not in known:
            passed_over[name] = "named as a fault" if path in faults else _reason(path)
    return Account(len(seen) - len(passed_over), passed_over)


def of_dataset(dataset: str, root: Path, used: set[Path], faulty: Iterable[str] = ()) -> Account:
    """Of the files of a data set: below its folder, or of a table those that were read of it."""
    folders = [folder for folder in (root / registry.whole(dataset), root) if folder.is_dir()][:1]
    return account(folders, used, faulty) if folders else Account(len(used), {})


def _reason(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    if path.name == "DICOMDIR":
        return "index of a DICOM medium"
    if nifti.is_nifti(path):
        return "NIfTI that was not read"
    if path.name.lower().endswith(_OTHER_FORMATS):
        return "of another format"
    return _reason_of_dicom(path) or "no image"


def _reason_of_dicom(path: Path) -> str:
    from .dicom_files import read_header

    try:
        header = read_header(path)
    except InputError:
        return "damaged DICOM"
    if header is None:
        return ""
    modality = str(header.get("Modality") or "of no modality")
    if modality == "CT" and "LOCALIZER" in (header.get("ImageType") or ()):
        return "DICOM localizer"
    return f"DICOM {modality} that was not read"
