"""Zero-shot: the segmenter is used as it is, without any labeled patient of the target data set."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..types import ParadigmCard, Segmenter, Study, TrainingRun

CARD = ParadigmCard(
    title="zero-shot",
    summary="Used as it is, without any labeled patient of the target data set.",
    uses_target_labels=False,
)


def prepare(segmenter: Segmenter, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> tuple[Segmenter, pd.DataFrame]:
    """Return (segmenter, empty history)."""
    return segmenter, pd.DataFrame(columns=["step", "quantity", "value"])
