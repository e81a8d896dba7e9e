"""Score one prediction against the references of its case: rows of the result table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..types import Mask, Study
from . import metrics, tables


def score(keys: Mapping[str, Any], study: Study, answer: Mask, failed: bool = False) -> list[dict[str, Any]]:
    """The rows of the result table for one answer to one case, against each of its references; `keys` as `tables.result_rows` wants."""
    rows = []
    for reader, judged in study.references.items():
        values = metrics.score_case(judged, answer, study.ignore, cut_ends(judged))
        lesions = metrics.score_lesions(judged, answer, study.ignore)
        rows += tables.result_rows(keys, reader, values, lesions, failed)
    return rows


def cut_ends(reference: Mask) -> tuple[bool, bool]:
    return bool(reference.array[:, :, 0].any()), bool(reference.array[:, :, -1].any())
