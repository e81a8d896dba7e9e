"""Who draws the prompt and who judges the prediction: the estimands where several readers outlined the same lesion.

S: prompted and judged by reader A. X: prompted by A, judged by another reader, averaged over the others. H: prompted by A, judged by the
voxels in which at least two of the others agree. Each is averaged over all choices of A within the lesion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.masks import agreed_by
from ..types import Mask

AGREEING = 2  # of the other readers
SELF, ANOTHER, OTHERS = "S", "X", "H"
ESTIMANDS = {
    SELF: "the reader who drew the prompt",
    ANOTHER: "another reader",
    OTHERS: "at least two of the other readers",
}


@dataclass(frozen=True, eq=False)
class Judgment:
    """The masks that judge what was predicted from the prompt of reader number `prompter`; they are averaged."""

    prompter: int
    estimand: str
    references: tuple[Mask, ...]


def judgments(readers: Sequence[Mask]) -> Iterator[Judgment]:
    """All that the readers of one lesion allow: X needs two readers, H three. A consensus that is empty judges nothing."""
    for number, reader in enumerate(readers):
        others = tuple(mask for other, mask in enumerate(readers) if other != number)
        yield Judgment(number, SELF, (reader,))
        if others:
            yield Judgment(number, ANOTHER, others)
        if len(others) >= AGREEING:
            consensus = agreed_by(others, AGREEING)
            if consensus.array.any():
                yield Judgment(number, OTHERS, (consensus,))


def estimates(readers: Sequence[Mask], predictions: Sequence[np.ndarray], metric: Callable[[Mask, np.ndarray], float]) -> dict[str, float]:
    """Each estimand of one lesion; `predictions[n]` is what reader n's prompt led to, `metric` compares a reference with it."""
    values: dict[str, list[float]] = {}
    for judgment in judgments(readers):
        scores = [metric(reference, predictions[judgment.prompter]) for reference in judgment.references]
        values.setdefault(judgment.estimand, []).append(float(np.mean(scores)))
    return {estimand: float(np.mean(of_readers)) for estimand, of_readers in values.items()}
