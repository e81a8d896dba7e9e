"""Note the files that readers take content from. Within `recording()` the notes are kept; elsewhere they cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_used: ContextVar[set[Path] | None] = ContextVar("used", default=None)


@contextmanager
def recording() -> Iterator[set[Path]]:
    """Collect the files that are read within the block."""
    used: set[Path] = set()
    token = _used.set(used)
    try:
        yield used
    finally:
        _used.reset(token)


def note_used(*paths: Path | str) -> None:
    """Called by every reader with the files that it took content from."""
    used = _used.get()
    if used is not None:
        used.update(Path(path).resolve() for path in paths)
