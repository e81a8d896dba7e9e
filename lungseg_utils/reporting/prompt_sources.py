"""Who draws the prompt, folded on the page "What a prompt is worth": each method by the source, against three opponents.

The opponents: the best prediction without a network and the box-channel U-Net, given the same prompts, and a reader's own outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from .. import registry
from ..core.masks import dsc
from ..data.cases import load_study
from ..evaluation import intervals, judges
from ..experiments import results
from ..prompts.ladder import PROMPT_SETTINGS
from ..prompts.sources import ANOTHER_READER, REFERENCE, TITLES
from . import contamination, folded, settings_labels
from .controls import role_of
from .labels import difference_text, interval_text, label_of
from .methods import Method, group_runs, titles

if TYPE_CHECKING:
    from IPython.display import HTML

SOURCES = {REFERENCE: "", ANOTHER_READER: ANOTHER_READER}  # as tables call them -> as `Method` does
_BOX_CHANNEL = "unet_prompted"
_DIGITS = 3  # as those of the differences beside them


def datasets(finished: Sequence[results.RunResult]) -> list[str]:
    """The data sets on which some method was prompted by one reader and judged by others."""
    found = [set(r.results["test_dataset"][r.results["source"] == ANOTHER_READER]) for r in finished]
    return sorted(set().union(*found))


def readers_by_patient(finished: Sequence[results.RunResult], dataset: str) -> pd.Series:
    """DSC of a reader's own outline, judged by at least two of the other readers; the mean of each patient. Reads the masks."""
    values: dict[str, list[float]] = {}
    for case in finished[0].cases(dataset):
        readers = list(judges.readers_of(load_study(case)).values())
        found = judges.estimates(readers, [mask.array for mask in readers], lambda a, b: dsc(a.array, b))
        if judges.OTHERS in found:  # else no two of the others agree anywhere, and nobody is judged by them
            values.setdefault(case.patient_id, []).append(found[judges.OTHERS])
    return pd.Series({patient: sum(found) / len(found) for patient, found in values.items()})


def folded_claims(finished: Sequence[results.RunResult]) -> HTML:
    """`claims` on each data set where one reader's prompts were judged by others, a table for each prompt setting and source."""
    shown = {}
    for name in datasets(finished):
        table = claims(finished, name, readers_by_patient(finished, name))
        for (prompt, source, n), part in table.groupby(["prompt", "prompt drawn by", "n"], sort=False):
            shown[f"{label_of(name)}, {prompt}, drawn by {source}, n = {n}"] = part.drop(columns=["prompt", "prompt drawn by", "n"])
    return folded.tables(shown, "In this edition the reference draws all prompts: its patients were outlined by one reader.")


def claims(finished: Sequence[results.RunResult], dataset: str, readers: pd.Series) -> pd.DataFrame:
    """One row per prompt setting, source and method: DSC and paired differences to the opponents, as text with intervals."""
    methods, names = group_runs(finished), titles(finished)
    rows = []
    for setting in PROMPT_SETTINGS:
        for source, asked_as in SOURCES.items():
            here = [m for m in methods if m.asked(dataset, setting, source=asked_as)]
            if setting == "none":  # without a prompt there is nothing to predict without a network
                here = [m for m in here if role_of(m.experiment) != "trivial"]
            values = {m.name: m.table(dataset, setting, source=asked_as).mean(axis=1) for m in here}
            opponents = {"best without a network": best_trivial(here, values), "box-channel U-Net": _box_channel(here, values)}
            opponents["a reader, judged alike"] = readers if source == ANOTHER_READER else None
            for method in here:
                row = {"prompt": label_of(setting), "prompt drawn by": TITLES[source], "method": names[method.name, setting]}
                row |= {"n": len(values[method.name]), "DSC": _mean(values[method.name])}
                row |= {f"minus {name}": _minus(values[method.name], other) for name, other in opponents.items()}
                row |= {settings_labels.COLUMN: settings_labels.count(method.experiment, dataset, setting)}
                rows.append(row | {"first weights had seen": _seen(method, dataset)})
    return pd.DataFrame(rows)


def _seen(method: Method, dataset: str) -> str:
    """What a source says that the first weights of a method were trained on; a dash for random ones."""
    return contamination.level_of(method.experiment, dataset) or "–"


def best_trivial(here: Sequence[Method], values: Mapping[str, pd.Series]) -> pd.Series | None:
    """Of the methods without a network the values with the best mean; None if there is none. `values`: by name of the method."""
    candidates = [values[method.name] for method in here if role_of(method.experiment) == "trivial"]
    return max(candidates, key=lambda series: series.mean()) if candidates else None


def _box_channel(here: Sequence[Method], values: dict[str, pd.Series]) -> pd.Series | None:
    """Of the one that is trained on all patients."""
    full = [m for m in here if m.experiment.model == _BOX_CHANNEL and not registry.card("paradigms", m.experiment.paradigm).few_shot]
    return values[full[0].name] if full else None


def _mean(values: pd.Series) -> str:
    summary = intervals.summarize_mean(values.to_numpy())
    return interval_text(summary.mean, summary.low, summary.high, _DIGITS)


def _minus(values: pd.Series, other: pd.Series | None) -> str:
    """The mean paired difference with its interval; a dash for an opponent that is not there, or is the method itself."""
    if other is None or other is values:
        return "–"
    common = values.index.intersection(other.index)
    summary = intervals.summarize_paired_difference(values[common], other[common])
    return difference_text(summary.mean, summary.low, summary.high)
