"""From a finished experiment to the cases that a slice viewer shows: the worst, the median and the best."""

from __future__ import annotations

from typing import Any

from .. import registry, tables
from .slice_viewer import ViewerCase, slice_viewer


def result_viewer(result: Any, dataset: str, prompter: str = "none", public: bool = False, max_mb: float = 1.2) -> Any:
    """Slice viewer over worst, median and best case (by DSC) of one test data set of a `run.RunResult`, within `max_mb` gzipped."""
    values = tables.case_values(result.results, "dsc")
    values = values[(values["test_dataset"] == dataset) & (values["prompter"] == prompter)]
    ranked = values.groupby("case_id")["value"].mean().sort_values(kind="stable")
    chosen = {"worst": 0, "median": (len(ranked) - 1) // 2, "best": len(ranked) - 1}
    cases = {case.case_id: case for case in result.cases(dataset)}
    shown: dict[str, list[str]] = {}
    for name, position in chosen.items():
        shown.setdefault(ranked.index[position], []).append(name)
    return slice_viewer(
        [_viewer_case(result, cases[case_id], prompter, names, ranked[case_id]) for case_id, names in shown.items()],
        public=public,
        max_mb=max_mb,
    )


def _viewer_case(result: Any, case: Any, prompter: str, names: list[str], dsc: float) -> ViewerCase:
    study = registry.plugin("datasets", case.dataset).load(case)
    reference = next(iter(study.references.values()))
    prediction = result.prediction(case.dataset, prompter, case.case_id, study)
    facts = {
        "DSC": f"{dsc:.3f}",
        "reference": f"{reference.volume_ml:.1f} ml",
        "prediction": f"{prediction.volume_ml:.1f} ml",
        **{key: value for key, value in case.attributes.items() if key in ("type", "contact", "solidity") and value},
    }
    return ViewerCase(
        title=f"{' and '.join(names)}: {case.case_id}",
        image=study.image,
        masks={"reference": reference, "prediction": prediction},
        facts=facts,
        redistributable=registry.card("datasets", case.dataset).redistributable,
    )
