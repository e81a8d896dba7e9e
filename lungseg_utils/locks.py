"""One process at a time: file locks that end with their process, so that a killed run never blocks the next."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .types import InputError


@contextmanager
def exclusive(path: Path, problem: str) -> Iterator[None]:
    """Hold the lock file `path` for the block. InputError with `problem` at once if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(path.parent, problem, "Wait for it to end, or stop it.") from error
        yield
