"""The record of a benchmark row: the same work by a fast and a plain path, a check that they agree, and the least work needed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lungseg_utils.core import project
from lungseg_utils.reporting import speed
from lungseg_utils.types import InputError

from . import rows


@dataclass(frozen=True)
class Setting:
    """How a row is run. `full`: the work of an overnight run, where it is larger."""

    device: str = "cpu"
    full: bool = False


@dataclass(frozen=True)
class Agreement:
    """How far two answers agree, by one of `speed.AGREEMENTS`, and the limit that it must keep."""

    kind: str
    value: float
    limit: float


@dataclass(frozen=True)
class Work:
    """Work that is ready to be timed. Both paths start from the same data in memory (or on disk, where reading is the work).

    `check(fast, plain)` compares what they returned. `plain_share`: of the work that the plain path does. `operations` and `bytes`:
    what the work needs at least (a multiply-add is two).
    """

    fast: Callable[[], Any]
    plain: Callable[[], Any]
    check: Callable[[Any, Any], Agreement]
    operations: float
    bytes: float
    precision: str = "fp32"
    plain_share: float = 1.0


@dataclass(frozen=True)
class Row:
    """`prepare` returns the work. `goal` in the unit of `compared` (`speed.GAIN` or `speed.EXTRA`); NaN: a figure without a goal.

    `pairs`: of timed runs. `warm`: run once untimed before, unless that takes minutes. `overnight`: part of a full run only.
    """

    prepare: Callable[[Setting], Work]
    work: str
    against: str
    goal: float
    compared: str = speed.GAIN
    pairs: int = 5
    warm: bool = True
    overnight: bool = False
    device: str = "cpu"


def row(**card: Any) -> Callable[[Callable[[Setting], Work]], Row]:
    """Makes a row of a function in a module of `rows`; `card`: the fields of `Row` beside `prepare`."""
    return lambda prepare: Row(prepare, **card)


def fetched(place: str, what: str, command: str) -> Path:
    """A folder of fetched data below the data root; InputError if it is not at hand."""
    folder = project.cache_root() / place
    if not folder.is_dir():
        raise InputError(folder, f"{what} are not at hand", f"Run: {command}")
    return folder


@cache
def known() -> dict[str, Row]:
    """All rows by name, sorted."""
    modules = [importlib.import_module(f"{rows.__name__}.{module.name}") for module in pkgutil.iter_modules(rows.__path__)]
    return dict(sorted((name, value) for module in modules for name, value in vars(module).items() if isinstance(value, Row)))


def load(name: str) -> Row:
    """One row; InputError lists those there are."""
    if name not in known():
        raise InputError(f"row {name}", "there is none of this name", f"Choose among {', '.join(known())}.")
    return known()[name]
