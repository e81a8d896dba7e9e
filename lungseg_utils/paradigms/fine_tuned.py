"""Fine-tuning: a pretrained segmenter is trained on all training patients, the best checkpoint chosen on validation patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..types import ParadigmCard, Study

CARD = ParadigmCard(
    title="fine-tuned",
    summary="Pretrained weights trained further on all training patients of a fold; the checkpoint is chosen on its validation patients.",
    uses_target_labels=True,
)


def prepare(
    segmenter: Any, train: Sequence[Study], validation: Sequence[Study], seed: int, folder: Path, identity: str, progress: bool
) -> Any:
    """Train `segmenter` further and return (segmenter, history)."""
    return segmenter, segmenter.fit(train, validation, seed=seed, folder=folder, identity=identity, progress=progress)
