"""What the models `own_KIND` share, which a reader of the project trained elsewhere: options, path, names. Loads without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..types import InputError, ModelCard, Options, OwnWeights
from . import project

PREFIX = "own_"  # of the names of these models, before their kind
UNKNOWN = "unknown"
OPTIONS = {
    "path": "",  # of the file or folder; a relative one starts at the folder of experiments.yml
    "trained_on": "",  # on which data, in words, or "unknown": the reader of a row has to know
    "name": "",  # beside a number; by default the last part of the path
    "device": "auto",
}


def card(published: ModelCard, title: str, summary: str, read_off: str = "") -> ModelCard:
    """The card of a model that is shown pictures as a published one is; `read_off`: its option that the weights themselves say."""
    kept = {name: value for name, value in published.options.items() if name != read_off}
    return ModelCard(
        title=title,
        summary=summary,
        reference=published.reference,
        doi=published.doi,
        license="its owner's",
        paradigms=("trained_elsewhere",),
        prompts=published.prompts,
        options={**kept, **OPTIONS},
    )


def weights(options: Options, find: Callable[[Path], Sequence[Path]] = lambda path: [path]) -> OwnWeights:
    """The files of the model; `find` lists those of its folder."""
    path = project.project_root() / Path(options["path"]).expanduser()
    return OwnWeights(path, lambda: find(_checked(path, options)))


def _checked(path: Path, options: Options) -> Path:
    if not options["path"]:
        raise InputError("path", "no file or folder of the model is named", "Give the option path.")
    if not options["trained_on"].strip():
        problem = "it is not said what this model was trained on"
        raise InputError(path, problem, f'Say it by --trained-on TEXT or the option trained_on, or give "{UNKNOWN}".')
    if not path.exists():
        raise InputError(path, "no such file or folder", "Check the path of the model.")
    return path


def title(card: ModelCard, options: Options) -> str:
    """What such a model is called beside a number: its own name, and what it is."""
    name = options["name"] or Path(options["path"]).name
    return f"{name} ({card.title})" if name else card.title


def trained_on(options: Options) -> str:
    """On what it was trained, as part of a sentence; "" for options of another model."""
    if not options.get("trained_on"):
        return ""
    if options["trained_on"].strip().lower() == UNKNOWN:
        return "unknown data (it may have seen the test patients)"
    return str(options["trained_on"]).strip()
