"""Check outputs of a command before it computes anything: that they can be written, and that they are none of its inputs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..types import InputError

TABLES = (".csv", ".csv.gz")  # endings of what a command writes as a table
_LONGEST_PREFIX = 14  # of the temporary names of `files.atomic_path`


def require_file(out: Path, inputs: Iterable[Path] = (), endings: tuple[str, ...] = ()) -> None:
    """Refuse a file that cannot be written, that is one of the inputs or lies in one of them, or that has none of these endings."""
    out = Path(out)
    if endings and not out.name.lower().endswith(endings):
        raise InputError(out, "it is not named as what is written there", f"Let the name end in {' or '.join(endings)}.")
    _require_place(out, out.parent)
    if out.is_dir():
        raise InputError(out, "it is a folder", "Give the name of a file.")
    if out.exists() and not out.is_file():
        raise InputError(out, "it is no regular file, and would be replaced", "Give the name of a new file.")
    for source in map(Path, inputs):
        if _same(out, source):
            raise InputError(out, f"it is read, as {source}, and would be overwritten", "Give another name.")
        if out.exists() and source.is_dir() and _inside(out, source):
            raise InputError(out, f"this file of the input {source} would be overwritten", "Give a name outside of that folder.")


def require_folder(out: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse a folder in which no file can be written, or that is one of the inputs or holds one of them."""
    out = Path(out)
    _require_place(out, out)
    for source in map(Path, inputs):
        if _same(out, source) or _inside(source, out):
            raise InputError(out, f"it is read, as {source}, or holds it", "Give another folder.")


def _require_place(out: Path, folder: Path) -> None:
    remedy = "Choose another place, or give yourself the permission to write there."
    try:
        os.fsencode(out)
        while not os.path.lexists(folder):
            folder = folder.parent
        if not folder.is_dir():
            raise InputError(out, f"{folder} is no folder", "Choose another place.")
        longest = os.pathconf(folder, "PC_NAME_MAX") - _LONGEST_PREFIX
        if any(len(os.fsencode(part)) > longest for part in out.parts):
            raise InputError(out, f"a part of its name is longer than {longest} bytes", "Choose a shorter name.")
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable.tmp."):
            """It can be written. Permissions alone do not tell: a disk may be mounted for reading only."""
        out.exists()
    except UnicodeEncodeError as error:
        remedy = "Choose another name, or set the variable LC_ALL to C.UTF-8."
        raise InputError(ascii(str(out)), "the language settings of this machine know no such letters", remedy) from error
    except OSError as error:
        raise InputError(out, f"it cannot be written ({error.strerror})", remedy) from error


def _same(a: Path, b: Path) -> bool:
    """Whether two paths lead to one place, by links or other spellings too."""
    try:
        return a.samefile(b)
    except (FileNotFoundError, NotADirectoryError):
        return a.resolve() == b.resolve()


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve() != folder.resolve() and path.resolve().is_relative_to(folder.resolve())
