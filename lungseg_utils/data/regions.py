"""Find a region of a file with contours, or a segment of a DICOM SEG file: by its name, or by its number where names repeat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..types import InputError


@dataclass(frozen=True)
class Region:
    """One region of an RTSTRUCT file or one segment of a SEG file: name, number, frame of reference ("" if the file does not say).

    Only the number is unique: DICOM lets two regions share a name.
    """

    name: str
    number: int
    frame_uid: str = ""


def refuse_shared_numbers(path: Path, regions: Sequence[Region], kind: str) -> None:
    """`kind`: what the file calls them, "region" or "segment"."""
    numbers = [region.number for region in regions]
    for number in numbers:
        if numbers.count(number) > 1:
            names = ", ".join(region.name for region in regions if region.number == number)
            problem = f"{numbers.count(number)} {kind}s have the number {number} ({names}), so nothing tells apart what belongs to which"
            raise InputError(path, problem, "Export it again, with a number for each.")


def choose(path: Path, regions: Sequence[Region], wanted: str | int, kind: str, exact: bool = True) -> Region:
    """The region of a number or of a name, which is a regular expression of one whole name if `exact` is False.

    Raises `InputError` if there is none, or more than one of that name.
    """
    if isinstance(wanted, int):
        found = [region for region in regions if region.number == wanted]
    else:
        found = [region for region in regions if (region.name == wanted if exact else re.fullmatch(wanted, region.name))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(path, f"no {kind} {'for ' if kind == 'region' else ''}{wanted!r}", f"It has: {listed(regions)}.")
    problem = f"more than one {kind} for {wanted!r} (numbers {', '.join(str(region.number) for region in found)})"
    raise InputError(path, problem, f"Choose one by its number. It has: {listed(regions)}.")


def listed(regions: Sequence[Region]) -> str:
    """Names for a message, with their numbers where a name comes twice."""
    names = [region.name for region in regions]
    told = [f"{region.name} (number {region.number})" if names.count(region.name) > 1 else region.name for region in regions]
    return ", ".join(told)
