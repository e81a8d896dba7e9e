"""File locks that allow one process at a time. A lock ends with its process, so a killed run never blocks the next one."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..types import InputError

_POLL_SECONDS = 0.5


@contextmanager
def exclusive(path: Path, problem: str, patience_seconds: float = 0) -> Iterator[None]:
    """Hold the lock file `path` for the block. InputError with `problem` if another process still holds it after the patience."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_seconds
    with path.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise InputError(path.parent, problem, "Wait for it to end, or stop it.") from error
                time.sleep(_POLL_SECONDS)
        yield
