"""What a reader is told about a model: its name in a title, how it works, and how it is trained.

The texts are the sections of `model_texts.md`. A change of one renders pages again and trains nothing. A model without a section is
described by its card.
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


def sections(path: Path = FILE) -> dict[str, tuple[str, str]]:
    """Model -> (title, text) of each section of a file, in its order."""
    _, *parts = _HEADING.split(path.read_text(encoding="utf-8"))
    return {key: (title.strip(), text.strip()) for key, title, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


def read(model: str, options: Options, path: Path = FILE) -> ModelText:
    """The text of a model, with its options in the places of {option}; title, and `about` or summary, of its card if it has none.

    InputError names an option in a text that the model does not have.
    """
    card, found = registry.card("models", model), sections(path)
    title, text = found.get(model, (card.title, card.about or card.summary))
    try:
        text = text.format(**options)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(f"{path}, {model}", f"{error} in braces is no option of the model", f"Options: {', '.join(options)}.") from error
    about, _, training = text.partition(TRAINING)
    return ModelText(title, about.strip(), training.strip())
