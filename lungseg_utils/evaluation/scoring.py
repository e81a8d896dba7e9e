"""Score one prediction against the references of its case, as rows of the result table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..types import Mask, Record, Row
from . import metrics, tables
from .judges import Judgment


def score(keys: Row, references: Mapping[str, Mask], prediction: Mask, ignore: Mask | None = None, failed: bool = False) -> list[Record]:
    """Score one prediction against each reader's reference; returns rows of the result table.

    Args:
        keys: columns that all rows share, as `tables.result_rows` wants them.

    Raises:
        InputError: if the grids differ.
    """
    rows = []
    for reader, reference in references.items():
        comparison = metrics.Comparison(reference, prediction, ignore, cut_ends(reference))
        rows += tables.result_rows(keys, reader, metrics.case_values(comparison), metrics.lesion_values(comparison), failed)
    return rows


def score_judgments(
    keys: Row, judgments: Iterable[Judgment], prediction: Mask, ignore: Mask | None = None, failed: bool = False
) -> list[Record]:
    """Score what one reader's prompt led to by the other readers: case-level rows whose `reader` is the estimand.

    Values of several references of one judgment are averaged.
    """
    rows = []
    for judgment in judgments:
        scored = [score(keys, {judgment.estimand: reference}, prediction, ignore, failed) for reference in judgment.references]
        rows += tables.mean_rows([[row for row in part if row["lesion_id"] == ""] for part in scored])
    return rows


def cut_ends(reference: Mask) -> tuple[bool, bool]:
    """Whether the first and the last slice of the volume cut the lesion; its surface is not judged there."""
    return bool(reference.array[:, :, 0].any()), bool(reference.array[:, :, -1].any())
