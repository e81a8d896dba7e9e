"""Progress callbacks for long loops; a callback may raise to cancel the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Hear = Callable[[str, int, int], None]
_listener: ContextVar[Hear] = ContextVar("listener", default=lambda what, done, total: None)


@contextmanager
def progress_callback(hear: Hear) -> Iterator[None]:
    """Within it, `hear(what, done, total)` hears of every step of the loops of this thread; what it raises ends them."""
    token = _listener.set(hear)
    try:
        yield
    finally:
        _listener.reset(token)


def report_progress(what: str, done: int, total: int) -> None:
    """Say that `done` of `total` steps are done."""
    _listener.get()(what, done, total)
