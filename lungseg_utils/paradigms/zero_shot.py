"""Zero-shot: the segmenter is used as it is, without any labeled patient of the target data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..types import ParadigmCard, Study

CARD = ParadigmCard(
    title="zero-shot",
    summary="Used as it is, without any labelled patient of the target data set.",
    uses_target_labels=False,
)


def prepare(
    segmenter: Any, train: Sequence[Study], validation: Sequence[Study], seed: int, folder: Path, identity: str, progress: bool
) -> Any:
    """Return (segmenter, empty history)."""
    return segmenter, pd.DataFrame(columns=["step", "quantity", "value"])
