"""Names and titles of the pretrainings of stand-ins. Loads without torch."""

from __future__ import annotations

from ..types import InputError, ModelCard, Options, Pretraining

RANDOM = "random"
_TITLES = {"shapes": "shapes pretraining", "ct_like": "CT-like pretraining", RANDOM: "random weights"}


def title(card: ModelCard, options: Options) -> str:
    """Title of a stand-in, for tables and pages."""
    return f"{card.title}, {_TITLES[_kind(options)]}"


def pretraining(options: Options) -> Pretraining | None:
    """Settings of a stand-in's pretraining; None for the control with random weights."""
    if _kind(options) == RANDOM:
        return None
    return Pretraining(
        options["pretraining"], options["pretraining_steps"], options["pretraining_batch_size"], options["pretraining_learning_rate"]
    )


def _kind(options: Options) -> str:
    kind = options["pretraining"]
    if kind not in _TITLES:
        raise InputError(f"pretraining {kind}", "unknown", f"Choose one of {', '.join(_TITLES)}.")
    return kind
