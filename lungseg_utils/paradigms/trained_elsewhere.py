"""Trained elsewhere: somebody else's training, used as it is. What it has seen is not known to the project, but said by its owner."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..types import ParadigmCard, Segmenter, Study, TrainingRun

CARD = ParadigmCard(
    title="trained elsewhere",
    summary="Used as it is. On which data it was trained is what its owner says; that is no claim of this project.",
    uses_target_labels=False,
)


def prepare(segmenter: Segmenter, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> tuple[Segmenter, pd.DataFrame]:
    """Return (segmenter, empty history)."""
    return segmenter, pd.DataFrame(columns=["step", "quantity", "value"])
