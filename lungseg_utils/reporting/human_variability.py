"""Page "Who drew the box?", folded: which methods may be called within human variability.

Never said where the prompt is a box of the reference, which hands over most of the outline. Elsewhere it takes patients enough, a bound
on the distance to the readers by DSC and by NSD, and by both more than the best answer without a network to the same prompt has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..evaluation import comparisons, intervals, plan
from ..prompts.ladder import PROMPT_SETTINGS
from ..prompts.sources import REFERENCE, own_source
from ..types import Row
from . import folded
from .labels import difference_text, label_of, trivial_rules
from .readers import MODEL, AgreementWithReaders, ReadDataset, agreement_with_readers, band_sentence, methods_of, missing_sentence

if TYPE_CHECKING:
    from IPython.display import HTML

COLUMN = "within human variability"
NEVER, TOO_FEW, SHOWN, NOT_SHOWN = "not used: the box is the reference's", "no claim under {} patients", "yes", "not shown"
NO_NETWORK = "–"  # a shape without a network is what others are held against


def may_be_said(setting: str, source: str = "") -> bool:
    """Whether the words may be used of a prompt setting at all. `source`: of its prompts, by default the setting's own."""
    return PROMPT_SETTINGS[setting].kind != "box" or (source or own_source(setting)) != REFERENCE


def shown(found: Sequence[ReadDataset], titles: Mapping[tuple[str, str], str]) -> HTML:
    """`printable_variability` of each data set with several readers, named with its human band."""
    parts = {
        f"{label_of(part.dataset)}: method against readers, minus readers among themselves. {band_sentence(part.pairs)}": (
            printable_variability(part.against, part.pairs, titles, plan.read().secondary_metric(part.dataset))
        )
        for part in found
    }
    why = " ".join(f"{label_of(part.dataset)}: {band_sentence(part.pairs)}" for part in found)
    return folded.tables(parts, f"{why} {missing_sentence(found)}".strip())


def printable_variability(against: pd.DataFrame, pairs: pd.DataFrame, titles: Mapping[tuple[str, str], str], nsd: str) -> pd.DataFrame:
    """One row per method and prompt setting: (method against readers) minus (readers among themselves) by DSC and NSD, and the verdict.

    Empty under ten patients with two readers who outlined something: then only points are shown.

    Args:
        against: from `readers.models_against_readers`, whose prompts are drawn from the reference.
        pairs: from `readers.readers_among_themselves`.
        titles: (experiment, prompt setting) -> title.
        nsd: the surface metric of the data set, as `AnalysisPlan.secondary_metric` gives it.
    """
    rows = []
    for setting, asked in against.groupby("prompter", sort=False):
        methods = {
            str(name): {metric: agreement_with_readers(part, pairs, metric) for metric in ("dsc", nsd)}
            for name, part in asked.groupby("experiment", sort=False)
        }
        shapes = [name for name in methods if titles[name, setting] in trivial_rules()]
        for name, found in methods.items():
            if all(agreement.comparison for agreement in found.values()):
                verdict = NO_NETWORK if name in shapes else _verdict(str(setting), found, [methods[shape] for shape in shapes])
                rows.append({"key": (setting, name)} | _row(str(setting), titles[name, setting], found) | {COLUMN: verdict})
    order = methods_of(against)
    rows.sort(key=lambda row: order.index(row["key"]))
    return pd.DataFrame(rows, columns=["prompt", "method", "n", "DSC", label_of(nsd), COLUMN])


def _row(setting: str, title: str, found: Mapping[str, AgreementWithReaders]) -> Row:
    comparisons_of = {metric: agreement.comparison for metric, agreement in found.items()}
    row: dict[str, Any] = {"prompt": label_of(setting), "method": title, "n": comparisons_of["dsc"].n}
    for metric, c in comparisons_of.items():
        row[label_of(metric)] = f"{difference_text(c.difference, signed=True)} (lower bound {difference_text(c.bound, signed=True)})"
    return row


def _verdict(setting: str, found: Mapping[str, AgreementWithReaders], shapes: Sequence[Mapping[str, AgreementWithReaders]]) -> str:
    if not may_be_said(setting):
        return NEVER
    readers = {metric: agreement.comparison for metric, agreement in found.items()}
    if readers["dsc"].n < intervals.MIN_PATIENTS_FOR_INFERENCE:
        return TOO_FEW.format(intervals.MIN_PATIENTS_FOR_INFERENCE)
    gains = {metric: _over_best_shape(metric, agreement, shapes) for metric, agreement in found.items() if shapes}
    return SHOWN if comparisons.within_human_variability(readers, gains) else NOT_SHOWN


def _over_best_shape(
    metric: str, agreement: AgreementWithReaders, shapes: Sequence[Mapping[str, AgreementWithReaders]]
) -> intervals.Summary:
    """The method minus the best answer without a network by this metric, on the same patients."""
    best = max((shape[metric].points[MODEL] for shape in shapes), key=lambda values: values.mean())
    return intervals.summarize_paired_difference(agreement.points[MODEL], best)
