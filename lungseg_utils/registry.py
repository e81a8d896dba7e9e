"""Registry of plug-ins: every file in `models/`, `datasets/` and `paradigms/` is one, and its name is its key.

`types` states what such a file must hold (`ModelModule`, `DatasetModule`, `ParadigmModule`). Defaults of what it may leave out are here.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal, cast, overload

from .types import (
    Checkpoint,
    DatasetCard,
    DatasetModule,
    InputError,
    ModelCard,
    ModelModule,
    Options,
    OwnWeights,
    ParadigmCard,
    ParadigmModule,
    PhantomModule,
    Pretraining,
)

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


def model(name: str) -> ModelModule:
    """The file of a model."""
    return cast(ModelModule, plugin("models", name))


def dataset(name: str) -> DatasetModule:
    """The file of a data set."""
    return cast(DatasetModule, plugin("datasets", name))


def whole(name: str) -> str:
    """The data set whose files a data set reads: itself, unless its card says that it is a part of another one."""
    return card("datasets", name).part_of or name


def phantoms(name: str) -> PhantomModule:
    """The file of a data set that is drawn; InputError for another one."""
    module = plugin("datasets", name)
    if not hasattr(module, "GRIDS"):
        raise InputError(name, "this data set is not drawn, it is read", "Choose one of phantoms.")
    return cast(PhantomModule, module)


def paradigm(name: str) -> ParadigmModule:
    """The file of a paradigm."""
    return cast(ParadigmModule, plugin("paradigms", name))


@overload
def card(kind: Literal["models"], name: str) -> ModelCard: ...
@overload
def card(kind: Literal["datasets"], name: str) -> DatasetCard: ...
@overload
def card(kind: Literal["paradigms"], name: str) -> ParadigmCard: ...
@overload
def card(kind: str, name: str) -> ModelCard | DatasetCard | ParadigmCard: ...
def card(kind: str, name: str) -> ModelCard | DatasetCard | ParadigmCard:
    """The plug-in's CARD; loads without torch."""
    return cast("ModelCard | DatasetCard | ParadigmCard", plugin(kind, name).CARD)


def model_title(name: str, options: Options) -> str:
    """What a model is called beside a number: its own `title(options)`, else the title on its card."""
    module = plugin("models", name)
    return str(module.title(options)) if hasattr(module, "title") else card("models", name).title


def checkpoints(name: str) -> tuple[Checkpoint, ...]:
    """The published weights that a model's file lists as `CHECKPOINTS`; none by default."""
    return tuple(getattr(plugin("models", name), "CHECKPOINTS", ()))


def published() -> tuple[str, ...]:
    """Models that start from weights of their authors: those that list any."""
    return tuple(name for name in names("models") if checkpoints(name))


def initial_weights(name: str, options: Options) -> Checkpoint | Pretraining | OwnWeights | None:
    """What a model starts from, by its own `initial_weights(options)`; random weights, None, by default."""
    module = plugin("models", name)
    if not hasattr(module, "initial_weights"):
        return None
    found: Checkpoint | Pretraining | OwnWeights | None = module.initial_weights(options)
    return found


def title(kind: str, name: str) -> str:
    """The title on the plug-in's CARD, read from its source: a list must not wait for all that the plug-ins import."""
    statements = ast.parse(Path(__file__).parent.joinpath(kind, f"{name}.py").read_text(encoding="utf-8")).body
    cards = [s.value for s in statements if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "CARD"]
    fields = [keyword for made in cards if isinstance(made, ast.Call) for keyword in made.keywords]
    titles = [field.value.value for field in fields if field.arg == "title" and isinstance(field.value, ast.Constant)]
    return str(titles[0]) if titles else card(kind, name).title
