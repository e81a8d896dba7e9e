"""Who draws the prompts of a question, and who judges the predictions: one pair for each draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ..evaluation import judges
from ..evaluation.scoring import score, score_judgments
from ..prompts import sources
from ..types import Case, InputError, Mask, Record, Row, Study
from .planning import Question

Scorer = Callable[[Row, Mask, bool], list[Record]]  # of keys, prediction, and whether the model failed


def draws_of(question: Question, case: Case, study: Study, found: Callable[[], Mask]) -> Iterator[tuple[Mask, Scorer]]:
    """The mask that the prompter looks at, and what scores the prediction, for each draw of a question.

    `found` gives the findings of a detector. Where another reader draws, each reader does so in turn, judged by the others; who outlined
    nothing has nothing to draw, and only judges. InputError for a case with fewer than two readers.
    """
    if question.source == sources.ANOTHER_READER:
        yield from _drawn_by_readers(case, study)
        return
    pointed_at = found() if question.source == sources.DETECTOR else study.reference
    for _ in range(question.draws):
        yield pointed_at, partial(_score_by_references, study)


def _drawn_by_readers(case: Case, study: Study) -> Iterator[tuple[Mask, Scorer]]:
    readers = list(judges.readers_of(study).values())
    if len(readers) < 2:
        raise InputError(case.case_id, f"{len(readers)} reader(s) outlined it", "Take another_reader out of prompt_sources.")
    for number, reader in enumerate(readers):
        if not reader.array.any():
            continue
        by_others = [judgment for judgment in judges.judgments_of(readers, number) if judgment.estimand != judges.SELF]
        yield reader, partial(_score_by_others, by_others, study.ignore)


def _score_by_references(study: Study, keys: Row, mask: Mask, failed: bool) -> list[Record]:
    return score(keys, study.references, mask, study.ignore, failed)


def _score_by_others(by_others: Sequence[judges.Judgment], ignore: Mask | None, keys: Row, mask: Mask, failed: bool) -> list[Record]:
    return score_judgments(keys, by_others, mask, ignore, failed)
