"""List the files of a folder in nnU-Net's raw form as pairs of image and label, and name every file that makes no pair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..types import InputError

PARTS = ("imagesTr", "imagesTs")
LABELS = "labelsTr"
_ENDINGS = (".nii.gz", ".nii")
# What may be a scan or a mask to whoever put it there; other files are notes and tables, which are no fault.
_PICTURE = re.compile(r"(?i)(?P<name>.+?)(_(?P<channel>\d{4}))?(?P<ending>\.(nii|nii\.gz|nrrd|nhdr|mha|mhd|img|hdr|img\.gz|dcm|mgz))")


@dataclass(frozen=True)
class _File:
    path: Path
    name: str  # of the case
    channel: str  # "" if the file's name has none
    ending: str


@dataclass(frozen=True)
class Pair:
    """One case: its name, its image, and its label or None."""

    name: str
    image: Path
    label: Path | None


def pairs(root: Path) -> tuple[list[Pair], list[InputError]]:
    """The cases of a folder, in order of their files, and a fault for each file that belongs to none."""
    found: list[Pair] = []
    faults: list[InputError] = []
    labels = _by_name(root / LABELS, faults)
    known: set[str] = set()  # names of all images of labeled scans, usable or not: their labels are no second fault
    for part in PARTS:
        for file in _pictures(root / part, faults):
            if file.channel != "0000" and f"{file.name}_{file.channel}" in labels:  # a number of the case, not of a channel
                file = replace(file, name=f"{file.name}_{file.channel}", channel="")
            known |= {file.name} if part == PARTS[0] else set()
            fault = _fault_of_image(file)
            if fault:
                faults.append(fault)
                continue
            label = labels.get(file.name, [])
            usable = [own.path for own in label if own.ending in _ENDINGS]
            if part != PARTS[0] or len(usable) == 1:
                found.append(Pair(file.name, file.path, usable[0] if part == PARTS[0] else None))
            else:
                faults.append(_fault_of_labels(root, file.name, label))
    for name, own in sorted(labels.items()):
        if name not in known:
            faults += [InputError(label.path, f"a label without an image {PARTS[0]}/{name}_0000.nii.gz", _NO_IMAGE) for label in own]
    return found, faults


_NO_IMAGE = "Add the image, or remove the label."


def _pictures(folder: Path, faults: list[InputError]) -> Iterator[_File]:
    """Files directly in a folder that may be scans or masks; such files in folders below it are faults."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        match = _PICTURE.fullmatch(path.name)
        if match is None or any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        if path.parent != folder:
            faults.append(
                InputError(path, f"it lies in a folder below {folder.name}, where nothing is read", "Move it up, under its name.")
            )
        else:
            yield _File(path, match["name"], match["channel"] or "", match["ending"])


def _by_name(folder: Path, faults: list[InputError]) -> dict[str, list[_File]]:
    found: dict[str, list[_File]] = {}
    for file in _pictures(folder, faults):
        name = f"{file.name}_{file.channel}" if file.channel else file.name  # a label's name has no channel
        found.setdefault(name, []).append(file)
    return found


def _fault_of_image(file: _File) -> InputError | None:
    if not file.channel:
        right = f"{file.name}_0000{file.ending if file.ending in _ENDINGS else '.nii.gz'}"
        return InputError(file.path, "an image without a channel number in its name", f"Name it {right}.")
    if file.channel != "0000":
        return InputError(file.path, f"a second channel ({file.channel})", "A CT has one: keep NAME_0000.nii.gz only.")
    return _fault_of_ending(file)


def _fault_of_ending(file: _File) -> InputError | None:
    if file.ending in _ENDINGS:
        return None
    if file.ending.lower() in _ENDINGS:
        right = file.path.name.removesuffix(file.ending) + file.ending.lower()
        return InputError(
            file.path, f"its ending is {file.ending}, which programs that know {file.ending.lower()} pass over", f"Name it {right}."
        )
    return InputError(file.path, f"an image of another format ({file.ending})", "Convert it to NIfTI (.nii.gz).")


def _fault_of_labels(root: Path, name: str, labels: list[_File]) -> InputError:
    """An image has no usable label, or more than one."""
    if not labels:
        return InputError(root / LABELS / f"{name}.nii.gz", "no such file", f"Add it, or move the image to {PARTS[1]}.")
    if len(labels) == 1:
        fault = _fault_of_ending(labels[0])
        assert fault is not None, labels[0].path  # a usable one makes a pair
        return fault
    return InputError(
        labels[0].path, f"{labels[1].path.name} lies beside it, which is the label of the same case", "Remove one of the two."
    )
