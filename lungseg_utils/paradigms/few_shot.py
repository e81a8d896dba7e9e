"""Few-shot: training on exactly k labeled patients of the target data set, without validation patients."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..types import InputError, ParadigmCard, Segmenter, Study, TrainingRun
from . import _supervised

CARD = ParadigmCard(
    title="few-shot",
    summary="Trained on k labeled patients for a fixed number of steps; the last checkpoint counts. k is every labeled patient used.",
    uses_target_labels=True,
    few_shot=True,
)


def prepare(segmenter: Segmenter, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> tuple[Segmenter, pd.DataFrame]:
    """Train `segmenter` on the k patients and return (segmenter, history)."""
    if validation:
        raise InputError("few-shot", f"{len(validation)} validation patients were given", "k counts every labeled patient: give none.")
    return _supervised.prepare(segmenter, train, (), run)
