"""Read and write files: atomic writing, CSV and JSON."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from ..types import InputError, Record

_GZIP = 16 + zlib.MAX_WBITS  # how zlib is asked for gzip's form


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder as `path`, with the same suffix; move it onto `path` when the block ends well.

    The file is flushed to the disk before the move, so a reader sees the old file or the whole new one, never a part. If the block
    fails, the temporary file is removed and `path` is left as it was. Missing parent folders are created. Raises `InputError` if the
    disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.tmp.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(path, "the disk is full", "Free some space and run it again; nothing was left behind.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted, each real folder once, linked ones too; `InputError` for a part that may not be read."""

    def refuse(error: OSError) -> None:
        raise InputError(error.filename or folder, f"it cannot be read ({error.strerror})", "Give yourself the permission.") from error

    found, seen = [], set()
    for place, inner, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads upwards would have no end
            inner.clear()
            continue
        seen.add(real)
        inner.sort()
        found += [path for name in names if (path := Path(place, name)).is_file()]
    return sorted(found)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left below a folder in which nobody else writes."""
    for path in sorted(Path(folder).rglob(".*.tmp.*")):  # a folder before what is in it
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write(frame: pd.DataFrame, path: Path, digits: int = 17) -> None:
    """Write a table as CSV, by default with full precision; compressed if its name ends in .gz. The file appears whole or not at all."""
    text = frame.to_csv(index=False, float_format=f"%.{digits}g", na_rep="nan").encode()
    with atomic_path(path) as temporary:  # zipped without a date or a name, so that equal tables are equal files
        temporary.write_bytes(_zipped(text) if path.suffix == ".gz" else text)


def _zipped(text: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP, 7, zlib.Z_FILTERED)  # digits take 1 % less than by default
    return packer.compress(text) + packer.flush()


def read_csv(path: Path, remedy: str, **options: object) -> pd.DataFrame:
    """Read a CSV file with pandas; InputError with `remedy` if the file is missing or is no table."""
    if not Path(path).is_file():
        raise InputError(path, "the table does not exist", remedy)
    try:
        return pd.read_csv(path, **options)
    except (ValueError, TypeError, OverflowError, EOFError, OSError, zlib.error) as error:  # pandas' own errors are ValueErrors
        raise InputError(path, f"not a valid table ({error})", remedy) from error


def replace_rows(old: pd.DataFrame, new: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """`new` after those rows of `old` whose values of `key` it does not have."""
    key = list(key)
    replaced = pd.MultiIndex.from_frame(old[key]).isin(pd.MultiIndex.from_frame(new[key]))
    return pd.concat([old[~replaced], new], ignore_index=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(value: object, path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n", path)


def read_json(path: Path) -> Record:
    """Read a JSON file; empty if it does not exist."""
    return json.loads(path.read_text()) if path.is_file() else {}
