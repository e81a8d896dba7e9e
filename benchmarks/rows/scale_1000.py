"""`scale_100` from 100 to 1000 cases."""

from __future__ import annotations

from ..row import Row, Setting, Work
from .scale_100 import WITHIN, compare_sizes

ROW = Row(
    work="1000 cases through scoring, result table and cohort table",
    against="ten times 100 cases",
    goal=WITHIN,
    warm=False,
    overnight=True,
)


def prepare(setting: Setting) -> Work:
    """Cases on the grid of the default profile."""
    return compare_sizes(100, 1000)
