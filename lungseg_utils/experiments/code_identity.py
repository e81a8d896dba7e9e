"""Hash the modules of the package that weights or results depend on, found by following imports.

No list is kept by hand, and a change to one model does not train another one again.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ..core import provenance

_PACKAGE = Path(__file__).parents[1]
# what only shows results, or only brings or makes files (whose bytes are hashed themselves), cannot change a result
_NOT_HASHED = ("phantoms", "data.samples", "data.download", "data.collections", "evaluation.intervals")


def of_training(model: str, paradigm: str, datasets: Iterable[str]) -> str:
    """Hash over the code that weights depend on: the model, the paradigm, and the readers of the training data sets."""
    return sha256(_plugins(model, paradigm, datasets), without=("phantoms",))


def of_evaluation(model: str, paradigm: str, datasets: Iterable[str]) -> str:
    """Hash over the code that a result depends on; `datasets`: the training and test data sets."""
    return sha256([*_plugins(model, paradigm, datasets), "experiments.run"], without=_NOT_HASHED)


def _plugins(model: str, paradigm: str, datasets: Iterable[str]) -> list[str]:
    return [f"models.{model}", f"paradigms.{paradigm}", *(f"datasets.{name}" for name in datasets)]


def closure(names: Iterable[str], without: Iterable[str] = ()) -> list[Path]:
    """Files of the modules `names` (like "models.unet") and of all modules of the package that they import, at any depth.

    Imports inside functions count. Modules and packages in `without`, and what only they import, are left out.
    """
    left_out, found, waiting = set(without), set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and not {name, name.split(".")[0]} & left_out:
            found.add(name)
            waiting += _imports(name)
    return sorted(_path(name) for name in found)


def sha256(names: Iterable[str], without: Iterable[str] = ()) -> str:
    """Hash over the files of `closure`."""
    return provenance.sha256_of_files(closure(names, without), _PACKAGE)


def _path(name: str) -> Path:
    folder = _PACKAGE.joinpath(*name.split(".")) if name else _PACKAGE
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


@cache
def _imports(name: str) -> tuple[str, ...]:
    path = _path(name)
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = {".".join(package)} if any(package) else set()  # a module's package runs first
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            if base is not None:
                found |= {known for alias in node.names if (known := _module(base, alias.name)) is not None}
    return tuple(sorted(found - {""}))


def _base(node: ast.ImportFrom, package: list[str]) -> list[str] | None:
    """The module that is imported from, inside the package; None if it lies outside."""
    rest = node.module.split(".") if node.module else []
    if node.level:
        parents = [p for p in package if p]
        return parents[: len(parents) - node.level + 1] + rest
    return rest[1:] if rest[:1] == [_PACKAGE.name] else None


def _module(base: list[str], name: str) -> str | None:
    """ "x" of "from base import x" is a separate module, or a name in the module `base`."""
    for candidate in (".".join([*base, name]), ".".join(base)):
        if candidate and _path(candidate).is_file():
            return candidate
    return None
