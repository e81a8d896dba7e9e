"""Training on all training patients of a fold; the checkpoint is chosen on its validation patients."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..types import Segmenter, Study, TrainingRun, trainable


def prepare(segmenter: Segmenter, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> tuple[Segmenter, pd.DataFrame]:
    """Train `segmenter` and return (segmenter, history)."""
    return segmenter, trainable(segmenter).fit(train, validation, run)
