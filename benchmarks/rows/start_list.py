"""Start-up time of the command `list`."""

from __future__ import annotations

import subprocess
import sys

from lungseg_utils import registry
from lungseg_utils.reporting import speed

from ..row import Agreement, Row, Setting, Work

ROW = Row(work="python -m lungseg_utils list", against="python that does nothing", goal=0.5, compared=speed.EXTRA)


def prepare(setting: Setting) -> Work:
    """Both in processes of their own."""
    return compare_starts(["-m", "lungseg_utils", "list"], [name for kind in registry.KINDS for name in registry.names(kind)])


def compare_starts(arguments: list[str], expected: list[str]) -> Work:
    """Python with arguments, beside python alone; what it prints must hold all of `expected`."""

    def check(fast: str, plain: str) -> Agreement:
        return Agreement("difference", float(sum(name not in fast for name in expected)), 0.0)

    return Work(lambda: python(*arguments), lambda: python("-c", "pass"), check, operations=0.0, bytes=0.0)


def python(*words: str) -> str:
    """What a python of its own prints."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout
