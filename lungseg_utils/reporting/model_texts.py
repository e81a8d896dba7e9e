"""What a reader is told about a model: its name in a title, how it works, and how it is trained.

The text is Markdown in a file beside the model's module, `models/<name>.md`. A change of it renders pages again and trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import models, registry
from ..types import InputError, Options

TRAINING = "\n## Training\n"  # the heading of the part that only a trained experiment shows


@dataclass(frozen=True)
class ModelText:
    """`name` is the file's title; `about` and `training` are Markdown without headings, `training` may be empty."""

    name: str
    about: str
    training: str = ""


def read(model: str, options: Options) -> ModelText:
    """The text of a model, with its options in the places of {option}; title and summary of its card if it has no file.

    InputError names a file without a title, or one that names an option that the model does not have.
    """
    card = registry.card("models", model)
    path = Path(models.__file__).with_name(f"{model}.md")
    if not path.is_file():
        return ModelText(card.title, card.summary)
    try:
        text = path.read_text(encoding="utf-8").format(**options)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(path, f"{error} in braces is no option of the model", f"Options: {', '.join(options)}.") from error
    title, _, rest = text.partition("\n")
    if not title.startswith("# "):
        raise InputError(path, "it does not begin with a title", "Write '# NAME' into its first line.")
    about, _, training = rest.partition(TRAINING)
    return ModelText(title.removeprefix("# ").strip(), about.strip(), training.strip())
