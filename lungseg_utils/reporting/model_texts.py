"""What a reader is told about a model: its name in a title, how it works, and how it is trained.

The texts are the sections of `model_texts.md`. A change of one renders pages again and trains nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .. import registry
from ..types import InputError, Options

FILE = Path(__file__).with_suffix(".md")
TRAINING = "\n## Training\n"  # the heading of the part that only a trained experiment shows
_HEADING = re.compile(r"^# (\w+): (.+)$", re.MULTILINE)  # key and title of a model


@dataclass(frozen=True)
class ModelText:
    """`name` is the title; `about` and `training` are Markdown without headings, `training` may be empty."""

    name: str
    about: str
    training: str = ""


def models(path: Path = FILE) -> list[str]:
    """Keys of the models that have a text, in the order of the file."""
    return [key for key, _ in _HEADING.findall(path.read_text(encoding="utf-8"))]


def read(model: str, options: Options, path: Path = FILE) -> ModelText:
    """The text of a model, with its options in the places of {option}; title and summary of its card if it has none.

    InputError names an option in a text that the model does not have.
    """
    card = registry.card("models", model)
    _, *parts = _HEADING.split(path.read_text(encoding="utf-8"))
    sections = {key: (title, text) for key, title, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}
    if model not in sections:
        return ModelText(card.title, card.summary)
    title, text = sections[model]
    try:
        text = text.format(**options)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"{path}, {model}", f"{error} in braces is no option of the model", f"Options: {', '.join(options)}.") from error
    about, _, training = text.partition(TRAINING)
    return ModelText(title.strip(), about.strip(), training.strip())
