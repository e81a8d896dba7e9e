"""Registry of plug-ins: every file in `models/`, `datasets/` and `paradigms/` is one, and its name is its key."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .types import InputError

KINDS = ("models", "datasets", "paradigms")


def names(kind: str) -> list[str]:
    """Sorted keys of all plug-ins of a kind ("models", "datasets", "paradigms"); imports none of them."""
    if kind not in KINDS:
        raise InputError(kind, "no such kind of plug-in", f"Choose one of {', '.join(KINDS)}.")
    package = importlib.import_module(f"{__package__}.{kind}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def plugin(kind: str, name: str) -> ModuleType:
    """The module of one plug-in; an unknown name is an error that lists the known ones."""
    full_name = f"{__package__}.{kind}.{name}"
    if full_name not in sys.modules and name not in names(kind):  # a plan of hundreds of experiments asks thousands of times
        raise InputError(name, f"not among the {kind}", f"Known: {', '.join(names(kind))}.")
    return importlib.import_module(full_name)


def card(kind: str, name: str) -> Any:
    """The plug-in's CARD; loads without torch."""
    return plugin(kind, name).CARD


def title(kind: str, name: str) -> str:
    """The title on the plug-in's CARD, read from its source: a list must not wait for all that the plug-ins import."""
    statements = ast.parse(Path(__file__).parent.joinpath(kind, f"{name}.py").read_text(encoding="utf-8")).body
    cards = [s.value for s in statements if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "CARD"]
    titles = [k.value.value for made in cards for k in made.keywords if k.arg == "title" and isinstance(k.value, ast.Constant)]
    return titles[0] if titles else card(kind, name).title
