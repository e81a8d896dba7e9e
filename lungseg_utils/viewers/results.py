"""Slice viewers over the results of a finished experiment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from .. import registry
from ..evaluation import tables
from ..experiments import store
from ..types import Case
from .slice_viewer import ViewerCase, slice_viewer

if TYPE_CHECKING:
    from IPython.display import HTML

    from ..experiments.results import RunResult


def result_viewer(
    result: RunResult, dataset: str, prompter: str = "none", ranked: bool = False, public: bool = False, max_mb: float = 1.2
) -> HTML:
    """Slice viewer over one test data set of a `results.RunResult`, within `max_mb` gzipped.

    `ranked`: the worst, median and best case by DSC, of a data set that is tested for means; else every case, in the order of their names.
    Phantoms are always ranked.
    """
    values = tables.case_values(result.asked(prompter), "dsc")
    values = values[values["test_dataset"] == dataset]
    scores = values.groupby("case_id", sort=False)["value"].first()  # of the data set's own reference, which stands first
    cases = {case.case_id: case for case in result.cases(dataset)}
    ranked = ranked or registry.card("datasets", dataset).phantom
    labels = worst_median_best(scores) if ranked else {name: name for name in sorted(cases)}
    return slice_viewer(
        [_viewer_case(result, cases[name], prompter, label, scores.get(name)) for name, label in labels.items()],
        public=public,
        max_mb=max_mb,
    )


def result_viewers(
    result: RunResult, datasets: Iterable[str], ranked: bool = False, public: bool = False, max_mb: float = 1.2
) -> list[HTML]:
    """`result_viewer` of each data set, without a prompt; none of a result that is stored with the project, which keeps no predictions."""
    if result.folder != store.results_folder(result.experiment):
        return []
    return [result_viewer(result, name, ranked=ranked, public=public, max_mb=max_mb) for name in datasets]


def worst_median_best(scores: pd.Series) -> dict[str, str]:
    """case_id -> label, such as "worst and median: PN-03000" where one case is both."""
    ranked = scores.sort_values(kind="stable").index
    chosen: dict[str, list[str]] = {}
    for label, position in (("worst", 0), ("median", (len(ranked) - 1) // 2), ("best", len(ranked) - 1)):
        chosen.setdefault(ranked[position], []).append(label)
    return {name: f"{' and '.join(labels)}: {name}" for name, labels in chosen.items()}


def _viewer_case(result: RunResult, case: Case, prompter: str, title: str, dsc: float | None) -> ViewerCase:
    study = registry.plugin("datasets", case.dataset).load(case)
    reference = study.reference
    prediction = result.prediction(case.dataset, prompter, case.case_id, study)
    facts = {
        "DSC": "undefined" if dsc is None else f"{dsc:.3f}",
        "reference": f"{reference.volume_ml:.1f} ml",
        "prediction": f"{prediction.volume_ml:.1f} ml",
        **{key: value for key, value in case.attributes.items() if key in ("type", "contact", "solidity") and value},
    }
    return ViewerCase(
        title=title,
        image=study.image,
        masks={"reference": reference, "prediction": prediction},
        facts=facts,
        redistributable=registry.card("datasets", case.dataset).redistributable,
    )
