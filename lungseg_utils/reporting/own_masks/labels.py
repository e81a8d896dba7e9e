"""Values of label files: a file whose labels are of another kind must not pass for one without a tumor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ...data import mask_files

_SHOWN = 10


def strangers(lacking: Sequence[Path], holding: Sequence[Path]) -> list[tuple[str, str, str]]:
    """Files without the tumor's value that hold a value which no file with it holds: where, what is wrong, what to do.

    A file with other structures that are known from files with a tumor is one without a tumor.

    Args:
        lacking: Files that do not hold the tumor's value.
        holding: Files that do. They are only read if one of the others is not all zeros.
    """
    found = {path: set(mask_files.labels_in(path).tolist()) for path in lacking}
    if not any(found.values()):
        return []
    known = {value for path in holding for value in mask_files.labels_in(path).tolist()}
    return [
        (
            str(path),
            f"it holds the values {_listed(values)}: not the tumor's, but {_listed(values - known)}, which no file with a tumor holds",
            "Store the tumor as one value in all files, and leave out the structures that few of them have.",
        )
        for path, values in found.items()
        if values - known
    ]


def held_by(paths: Iterable[Path]) -> str:
    """The values that files hold, in words."""
    return _listed({value for path in paths for value in mask_files.labels_in(path).tolist()})


def _listed(values: set[float]) -> str:
    ordered = sorted(values)
    return ", ".join(f"{value:g}" for value in ordered[:_SHOWN]) + (", ..." if len(ordered) > _SHOWN else "") or "nothing but 0"
