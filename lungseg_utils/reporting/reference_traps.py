"""Page "How a protocol moves a score", part "Traps of the reference": readers' outlines alone, no model.

Whether pixels of an outline are nodule, whether the judge drew the box, whether voxels are pooled over patients: none of these changes a
prediction. Measured on the nodules of LIDC-IDRI that four readers outlined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import pandas as pd

from ..core.masks import dsc
from ..data.lidc_outlines import Nodule
from ..evaluation import intervals, judges
from ..types import Mask, Record
from . import who_drew_the_box as who
from .labels import difference_text, number_text

_BALL_MM = 1.0  # ellipses take no ball
READER, ELLIPSE = "reader", "ellipse"  # whose mask another reader judges
OUTLINE_IN, OUTLINE_OUT, BOTH_READINGS, SAME_JUDGE = "outline in", "outline out", "both readings", "same judge"


@dataclass(frozen=True)
class _Trap:
    """One row of the table: a score by this project's reading, and the same prediction by another one."""

    title: str
    predicted: str
    own: str  # columns of `measured`
    other: str


_TRAPS = (
    _Trap("pixels of the outline count as nodule in the prediction only", "a reader's own outline, judged by itself", "", BOTH_READINGS),
    _Trap("pixels of the outline count as nodule for everybody", "a reader's outline, judged by another", OUTLINE_OUT, OUTLINE_IN),
    _Trap("the box comes from the judge, not from another reader", "the ellipse in each box", ELLIPSE, SAME_JUDGE),
)
_POOLED = (
    ("voxels are pooled over patients", "a reader's outline, judged by another", READER, OUTLINE_OUT),
    ("voxels are pooled over patients", "the ellipse in each box of another reader", ELLIPSE, ELLIPSE),
)


def measure(nodule: Nodule) -> Record:
    """One nodule: DSC by each reading, means over its readers, and the voxels of which a pooled DSC is made.

    Keys: patient_id, `OUTLINE_OUT` and `OUTLINE_IN` (two readers), `BOTH_READINGS` (one outline without and with its pixels), `ELLIPSE`
    and `SAME_JUDGE` (ellipses judged by another reader and by whoever drew the boxes); READER_overlap, READER_total and so on.
    """
    outside, inside = nodule.masks(), nodule.masks(outline_inside=True)
    ellipses = who.predictions(outside, who.ELLIPSES, _BALL_MM)
    found = {name: _estimates(masks, [mask.array for mask in masks]) for name, masks in ((OUTLINE_OUT, outside), (OUTLINE_IN, inside))}
    of_ellipses = _estimates(outside, ellipses)
    row: Record = {name: values[judges.ANOTHER] for name, values in found.items()}
    row |= {ELLIPSE: of_ellipses[judges.ANOTHER], SAME_JUDGE: of_ellipses[judges.SELF]}
    row[BOTH_READINGS] = float(np.mean([dsc(a.array, b.array) for a, b in zip(outside, inside, strict=True)]))
    for name, predictions in ((READER, [mask.array for mask in outside]), (ELLIPSE, ellipses)):
        pairs = [(a.array, b) for i, a in enumerate(outside) for j, b in enumerate(predictions) if i != j]
        row[f"{name}_overlap"] = sum(int((a & b).sum()) for a, b in pairs)
        row[f"{name}_total"] = sum(int(a.sum()) + int(b.sum()) for a, b in pairs)
    return row | {"patient_id": nodule.scan.patient_id}


def _estimates(masks: Sequence[Mask], predictions: Sequence[np.ndarray]) -> dict[str, float]:
    return judges.estimates(masks, predictions, lambda reference, found: dsc(reference.array, found))


def measured(nodules: Iterable[Nodule], workers: int = 2) -> pd.DataFrame:
    """`measure` of nodules that several readers outlined, one row each, by several processes."""
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        return pd.DataFrame(pool.map(measure, nodules, chunksize=32))


def printable(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a trap: mean DSC over patients by this project's reading and by the other one, and the shift with its interval."""
    by_patient = frame.groupby("patient_id").mean(numeric_only=True)
    rows = []
    for trap in _TRAPS:
        own = by_patient[trap.own] if trap.own else pd.Series(1.0, by_patient.index)
        shift = intervals.summarize_paired_difference(by_patient[trap.other], own)
        text = difference_text(shift.mean, shift.low, shift.high, signed=True)
        rows.append(_row(trap.title, trap.predicted, own.mean(), by_patient[trap.other].mean(), text, shift.n))
    for title, predicted, counted, per_case in _POOLED:
        pooled = 2 * frame[f"{counted}_overlap"].sum() / frame[f"{counted}_total"].sum()
        own = by_patient[per_case].mean()
        rows.append(_row(title, predicted, own, pooled, difference_text(pooled - own, signed=True), len(by_patient)))
    return pd.DataFrame(rows)


def _row(title: str, predicted: str, own: float, other: float, shift: str, n: int) -> Record:
    dsc_own, dsc_other = number_text(own, 3), number_text(other, 3)
    return {"trap": title, "what is scored": predicted, "Dice, this project": dsc_own, "Dice, the trap": dsc_other, "shift": shift, "n": n}
