"""Locks between processes: a lock ends with its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..types import InputError

WITHOUT_END = -1.0  # patience of who waits until the lock is free
_POLL_SECONDS = 0.5


@contextmanager
def exclusive(path: Path, problem: str, patience_seconds: float = 0) -> Iterator[None]:
    """Hold the lock file `path` for the block. InputError with `problem` if another process still holds it after the patience."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=patience_seconds, poll_interval=_POLL_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(path.parent, problem, "Wait for it to end, or stop it.") from error
    try:
        yield
    finally:
        lock.release()
