"""Progress callbacks for long loops; a callback may raise to cancel the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Hear = Callable[[str, int, int], None]
_listener: ContextVar[Hear] = ContextVar("listener", default=lambda what, done, total: None)


@contextmanager
def progress_callback(hear: Hear) -> Iterator[None]:
    """Within the block, call `hear(what, done, total)` at every step of the loops of this thread; an exception in it ends the loop."""
    token = _listener.set(hear)
    try:
        yield
    finally:
        _listener.reset(token)


def report_progress(what: str, done: int, total: int) -> None:
    """Report that `done` of `total` steps are done."""
    _listener.get()(what, done, total)
