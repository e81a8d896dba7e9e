"""Fine-tuning: a pretrained segmenter is trained on all training patients, the best checkpoint chosen on validation patients."""

from __future__ import annotations

from ..types import ParadigmCard
from ._supervised import prepare

__all__ = ["CARD", "prepare"]

CARD = ParadigmCard(
    title="fine-tuned",
    summary="Pretrained weights trained further on all training patients of a fold; the checkpoint is chosen on its validation patients.",
    uses_target_labels=True,
)
