"""Who draws the prompt and who judges the prediction: the estimands where several readers outlined the same lesion.

S: prompted and judged by reader A. X: prompted by A, judged by another reader, averaged over the others. H: prompted by A, judged by the
voxels in which at least two of the others agree. Each is averaged over all choices of A within the lesion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.masks import agreed_by
from ..types import Mask, Study

READER = "reader-"  # how the references of single readers are called
AGREEING = 2  # of the other readers
SELF, ANOTHER, OTHERS = "same reader", "another reader", "other readers"
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


def readers_of(study: Study) -> dict[str, Mask]:
    """The masks of single readers of a study; empty if its reference is not given reader by reader."""
    return {name: mask for name, mask in study.references.items() if name.startswith(READER)}


def judgments(readers: Sequence[Mask]) -> Iterator[Judgment]:
    """All that the readers of one lesion allow."""
    return (judgment for number in range(len(readers)) for judgment in judgments_of(readers, number))


def judgments_of(readers: Sequence[Mask], prompter: int) -> Iterator[Judgment]:
    """Those of one reader's prompt: X needs another reader, H two. A consensus that is empty judges nothing."""
    others = tuple(mask for number, mask in enumerate(readers) if number != prompter)
    yield Judgment(prompter, SELF, (readers[prompter],))
    if others:
        yield Judgment(prompter, ANOTHER, others)
    if len(others) >= AGREEING:
        consensus = agreed_by(others, AGREEING)
        if consensus.array.any():
            yield Judgment(prompter, OTHERS, (consensus,))


def estimates(readers: Sequence[Mask], predictions: Sequence[np.ndarray], metric: Callable[[Mask, np.ndarray], float]) -> dict[str, float]:
    """Each estimand of one lesion; `predictions[n]` is what reader n's prompt led to, `metric` compares a reference with it."""
    values: dict[str, list[float]] = {}
    for judgment in judgments(readers):
        scores = [metric(reference, predictions[judgment.prompter]) for reference in judgment.references]
        values.setdefault(judgment.estimand, []).append(float(np.mean(scores)))
    return {estimand: float(np.mean(of_readers)) for estimand, of_readers in values.items()}
