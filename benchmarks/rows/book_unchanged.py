"""Time of `make book` if nothing has changed."""

from __future__ import annotations

from lungseg_utils.core import project
from lungseg_utils.reporting import speed
from lungseg_utils.types import InputError

from ..row import Agreement, Row, Setting, Work
from .start_list import python

PROFILE, NOTHING = "smoke", "nothing had changed"
ROW = Row(work="make quick, where nothing has changed", against="python that does nothing", goal=5.0, compared=speed.EXTRA, warm=False)


def prepare(setting: Setting) -> Work:
    """The book of the smallest profile, brought up to date."""
    page = project.project_root() / "build" / PROFILE / "html" / "index.html"
    if not page.is_file():
        raise InputError(page, "there is no book that could be unchanged", "Run: make quick")
    _build()
    return Work(_build, lambda: python("-c", "pass"), _check, operations=0.0, bytes=0.0)


def _build() -> str:
    return python("-m", "lungseg_utils", "workflow", "--profile", PROFILE, "--cores", "2")


def _check(fast: str, plain: str) -> Agreement:
    return Agreement("difference", float(NOTHING not in fast), 0.0)
