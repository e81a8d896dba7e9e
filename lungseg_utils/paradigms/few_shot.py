"""Few-shot: training on exactly k labeled patients of the target data set, without validation patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..types import InputError, ParadigmCard, Study

CARD = ParadigmCard(
    title="few-shot",
    summary="Trained on k labelled patients for a fixed number of steps; the last checkpoint counts. k is every labelled patient used.",
    uses_target_labels=True,
    few_shot=True,
)


def prepare(
    segmenter: Any, train: Sequence[Study], validation: Sequence[Study], seed: int, folder: Path, identity: str, progress: bool
) -> Any:
    """Train `segmenter` on the k patients and return (segmenter, history)."""
    if validation:
        raise InputError("few-shot", f"{len(validation)} validation patients were given", "k counts every labelled patient: give none.")
    return segmenter, segmenter.fit(train, (), seed=seed, folder=folder, identity=identity, progress=progress)
