"""Start-up time of the command `report`."""

from __future__ import annotations

from lungseg_utils.reporting import speed

from ..row import Row, Setting, Work
from .start_list import compare_starts

ROW = Row(work="the start of python -m lungseg_utils report", against="python that does nothing", goal=2.0, compared=speed.EXTRA)


def prepare(setting: Setting) -> Work:
    """All that it imports."""
    return compare_starts(["-c", "from lungseg_utils import report; print(report.__name__)"], ["lungseg_utils.report"])
