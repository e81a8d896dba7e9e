"""Page "What goes wrong": examples of failures by kind, and failed, empty and worst predictions in numbers."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import registry
from ..experiments import store
from ..experiments.results import RunResult, prediction_path
from ..geometry import unstack_axial
from ..types import Study
from . import controls, methods
from .labels import label_of

WORST_SHOWN = 3
# kinds of failures, in the order of the page
MISSED, LEAKED, ENDS, ATELECTASIS, SMALL = "missed", "leaked", "wrong ends", "next to collapsed lung", "too small"
KINDS: Mapping[str, str] = {
    MISSED: "no voxel of the tumor was found",
    LEAKED: "most of what is wrong lies around the tumor, on its own slices",
    ENDS: "most of what is wrong lies on slices above or below, where only one of the two masks is",
    ATELECTASIS: "the tumor touches collapsed lung, which looks alike",
    SMALL: "most of what is wrong is tumor that was left out on its own slices",
}
EXAMPLES = 12
_POOR, _CANDIDATES = 0.7, 4  # the Dice below which an example is looked for, and how many of each method and prompt
_PROMPTS = ("none", "box_one_slice", "box_every_slice", "click")


def failure_table(finished: Sequence[RunResult], datasets: Sequence[str]) -> pd.DataFrame:
    """Every failed and every empty prediction, and the worst ones of each method and prompt setting over all its runs.

    Trivial baselines without a prompt, which predict nothing, are left out.

    Returns:
        One row per prediction. Columns: method (title), setting, test_dataset, case, experiment (name of the method),
        first_run (whether it is of the run that the book's viewers show), kind ("failed", "empty" or "worst"), dsc, reference_ml, reason.
    """
    rows, names = [], methods.titles(finished)
    for method in methods.group_runs(finished):
        is_trivial = controls.role_of(method.experiment) == "trivial"
        records = [(r.experiment.name, case) for r in method.results for case in r.provenance["cases"]]
        reasons = {(name, c["test_dataset"], c["prompter"], c["case_id"]): c["failure"] for name, c in records}
        wide = pd.concat([_wide(r.asked(), datasets).assign(experiment=r.experiment.name) for r in method.results], ignore_index=True)
        for (dataset, setting), part in wide.groupby(["test_dataset", "prompter"], sort=False):
            if is_trivial and setting == "none":
                continue
            worst = part["dsc"].nsmallest(WORST_SHOWN).index
            first = {r.experiment.name for r in method.first_run(dataset)}
            for index, row in part.iterrows():
                reason = reasons.get((row["experiment"], dataset, setting, row["case_id"]), "")
                reason = reason or ("not recorded" if row["failed"] else "")
                kind = "failed" if reason else "empty" if row["prediction_volume"] == 0 else "worst" if index in worst else ""
                if kind:
                    found = {"method": names[method.name, setting], "setting": setting, "test_dataset": dataset, "case": row["case_id"]}
                    found |= {"experiment": method.name, "first_run": row["experiment"] in first}
                    rows.append(found | {"kind": kind, "dsc": row["dsc"], "reference_ml": row["reference_volume"], "reason": reason})
    known = ["method", "setting", "test_dataset", "case", "experiment", "first_run"]
    return pd.DataFrame(rows, columns=[*known, "kind", "dsc", "reference_ml", "reason"])


def _wide(results: pd.DataFrame, datasets: Sequence[str]) -> pd.DataFrame:
    rows = results[(results["lesion_id"] == "") & results["test_dataset"].isin(datasets)]
    rows = rows[rows["metric"].isin(["dsc", "prediction_volume", "reference_volume"])]
    keys = ["test_dataset", "prompter", "case_id"]
    wide = rows.groupby([*keys, "metric"], sort=False)["value"].first().unstack("metric")
    wide["failed"] = rows.assign(failed=rows["status"] == "failed").groupby(keys)["failed"].any()
    return wide[wide["reference_volume"] > 0].reset_index()


def printable_failures(table: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """`failure_table` of some kinds, as a table for a page."""
    part = table[table["kind"].isin(kinds)].sort_values(["method", "test_dataset", "dsc"], kind="stable")
    return pd.DataFrame(
        {
            "case": part["case"],
            "what": part["kind"],
            "Dice": [f"{v:.2f}" for v in part["dsc"]],
            "tumor (ml)": [f"{v:.1f}" for v in part["reference_ml"]],
            "method": part["method"],
            "prompt": [label_of(setting) for setting in part["setting"]],
            "test set": [label_of(name) for name in part["test_dataset"]],
            "reason": part["reason"],
        }
    )


def failure_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Number of failed or empty predictions: a row per method and prompt, a column per test set, from `failure_table`."""
    bad = table[table["kind"].isin(["failed", "empty"])]
    counts = bad.groupby(["method", "setting", "test_dataset"], sort=False)["kind"].agg(_counted_kinds).unstack("test_dataset").fillna("–")
    sets = [name for name in dict.fromkeys(table["test_dataset"]) if name in counts]
    shown = counts.reindex(bad.drop_duplicates(["method", "setting"]).set_index(["method", "setting"]).index)[sets].reset_index()
    shown["setting"] = [label_of(setting) for setting in shown["setting"]]
    return shown.rename(columns={"setting": "prompt", **{name: label_of(name) for name in sets}}).rename_axis(columns=None)


def failure_values(table: pd.DataFrame) -> dict[str, int]:
    """Values by glue key: failures_failed, failures_empty, and failures_empty_prompted (empty despite a prompt)."""
    empty = table[table["kind"] == "empty"]
    return {
        "failures_failed": int((table["kind"] == "failed").sum()),
        "failures_empty": len(empty),
        "failures_empty_prompted": int((empty["setting"] != "none").sum()),
    }


def _counted_kinds(kinds: pd.Series) -> str:
    numbers = {kind: int((kinds == kind).sum()) for kind in ("empty", "failed")}
    return ", ".join(f"{number} {kind}" for kind, number in numbers.items() if number)


def predictions(finished: Iterable[RunResult], datasets: Sequence[str]) -> int:
    """Number of predictions on cases with a tumor, over all methods, prompts and runs, as `failure_table` looks at them."""
    found = 0
    for result in finished:
        wide = _wide(result.asked(), datasets)
        found += int((wide["prompter"] != "none").sum() if controls.role_of(result.experiment) == "trivial" else len(wide))
    return found


def answer(values: Mapping[str, int], total: int, sizes: Mapping[str, object], tested: str) -> str:
    """The finding of the page. `values`: `failure_values`; `sizes`: `strata.size_values` of the U-Net, or nothing; `tested`: whom."""
    text = (
        f"Of {total:,} predictions on {tested} with a tumor, {_number(values['failures_failed'])} failed outright and "
        f"{_number(values['failures_empty'])} were empty, {_number(values['failures_empty_prompted'])} of them despite a prompt. Both "
        "count as Dice 0."
    )
    counts = [sizes.get(f"strata_{name}_n", 0) for name in ("small", "large")]
    if all(counts):
        text += (
            f" Without a prompt, the U-Net's mean Dice is {sizes['strata_small']} on the {counts[0]} {tested} whose largest tumor is at "
            f"most 30 mm long, and {sizes['strata_large']} on the {counts[1]} others."
        )
    return text


def _number(count: int) -> str:
    return f"{count:,}" if count else "none"


def download(table: pd.DataFrame, name: str, text: str) -> str:
    """Markdown of a link that holds a table as a CSV file."""
    data = base64.b64encode(table.to_csv(index=False).encode()).decode("ascii")
    return f'<a download="{name}" href="data:text/csv;base64,{data}">{text}</a>'


def folded_list(table: pd.DataFrame, link: str) -> str:
    """Markdown of the folded counts, glued as counts, with a link to the whole list."""
    bad = table["kind"].isin(["failed", "empty"]).any()
    shown = "```{glued} failures.ipynb::counts\n```" if bad else "No prediction failed, and none was empty."
    return (
        f":::{{dropdown}} Failed and empty predictions by method\n{shown}\n\n"
        f"Failed, empty, and the three worst predictions of each method, prompt and test set, over all its runs: {link}.\n:::"
    )


# --- examples ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Example:
    """One poor prediction as it is shown: a slice of the CT with both masks, as rows and columns the radiological way."""

    kind: str
    dataset: str
    case_id: str
    experiment: str  # name of the method
    setting: str
    title: str  # of the method
    dsc: float
    image: np.ndarray  # HU
    reference: np.ndarray
    prediction: np.ndarray
    spacing_mm: tuple[float, float]  # rows, columns
    redistributable: bool


@dataclass(frozen=True)
class _Poor:
    """A poor prediction: where it goes wrong, and the slice that shows it."""

    kind: str
    severity: float
    index: int


def classify(reference: np.ndarray, prediction: np.ndarray, atelectasis: bool = False) -> _Poor:
    """The kind of a poor prediction from both masks (x, y, z): where most of the voxels lie in which they differ."""
    overlap, total = reference & prediction, reference.sum() + prediction.sum()
    per_slice = {name: mask.sum(axis=(0, 1)) for name, mask in (("reference", reference), ("prediction", prediction), ("overlap", overlap))}
    if not overlap.any():
        return _Poor(MISSED, float(reference.sum()), int(per_slice["reference"].argmax()))
    both = (per_slice["reference"] > 0) & (per_slice["prediction"] > 0)
    wrong = {
        ENDS: np.where(both, 0, per_slice["reference"] + per_slice["prediction"]),
        LEAKED: np.where(both, per_slice["prediction"] - per_slice["overlap"], 0),
        SMALL: np.where(both, per_slice["reference"] - per_slice["overlap"], 0),
    }
    kind = max(wrong, key=lambda name: wrong[name].sum())
    if atelectasis:
        return _Poor(ATELECTASIS, float(sum(part.sum() for part in wrong.values()) / total), int(sum(wrong.values()).argmax()))
    return _Poor(kind, float(wrong[kind].sum() / total), int(wrong[kind].argmax()))


def examples(finished: Sequence[RunResult], datasets: Sequence[str]) -> list[Example]:
    """Up to `EXAMPLES` poor predictions whose masks are on this machine, of different kinds, cases and methods; kind by kind.

    The first run of each method is looked at, as in the book's viewers; trivial baselines are left out.
    """
    found: list[tuple[_Poor, Example]] = []
    for dataset in datasets:
        found += _examples_of(finished, dataset)
    found.sort(key=lambda pair: -pair[0].severity)
    chosen: list[Example] = []
    for _ in range(EXAMPLES):  # of each kind one, then two, and so on: all kinds have a place
        for kind in KINDS:
            more = _next([example for _, example in found if example.kind == kind], chosen)
            if more is not None and len(chosen) < EXAMPLES:
                chosen.append(more)
    return sorted(chosen, key=lambda example: list(KINDS).index(example.kind))


def _next(of_kind: Sequence[Example], chosen: Sequence[Example]) -> Example | None:
    """The most severe one of another case, of a method and prompt that was shown least."""
    cases = {(example.dataset, example.case_id) for example in chosen}
    shown = [(example.title, example.setting) for example in chosen]
    free = [example for example in of_kind if (example.dataset, example.case_id) not in cases]
    return min(free, key=lambda example: shown.count((example.title, example.setting)), default=None)


def _examples_of(finished: Sequence[RunResult], dataset: str) -> Iterator[tuple[_Poor, Example]]:
    names, studies = methods.titles(finished), {}
    for method in methods.group_runs(finished):
        if controls.role_of(method.experiment) == "trivial" or not any(r.results["test_dataset"].eq(dataset).any() for r in method.results):
            continue
        for part in (r for r in method.first_run(dataset) if r.folder == store.results_folder(r.experiment)):
            wide = _wide(part.asked(), [dataset])
            poor = wide[(wide["dsc"] < _POOR) & wide["prompter"].isin(_PROMPTS)].sort_values("dsc", kind="stable")
            cases = {case.case_id: case for case in part.cases(dataset)}
            for row in poor.groupby("prompter", sort=False).head(_CANDIDATES).itertuples():
                case = cases[row.case_id]
                if not prediction_path(part.folder, dataset, row.prompter, row.case_id).is_file():
                    continue
                if row.case_id not in studies:
                    studies[row.case_id] = registry.plugin("datasets", dataset).load(case)
                study: Study = studies[row.case_id]
                predicted = part.prediction(dataset, row.prompter, row.case_id, study).array
                found = classify(study.reference.array, predicted, case.attributes.get("atelectasis") == "1")
                yield found, _example(found, study, predicted, dataset, row, method.name, names[method.name, row.prompter])


def _example(found: _Poor, study: Study, predicted: np.ndarray, dataset: str, row: Any, experiment: str, title: str) -> Example:
    image, reference, prediction = (
        unstack_axial(array[:, :, found.index : found.index + 1])[0] for array in (study.image.array, study.reference.array, predicted)
    )
    columns_mm, rows_mm = study.image.spacing_mm[:2]
    return Example(
        found.kind, dataset, row.case_id, experiment, row.prompter, title, row.dsc, image, reference, prediction, (rows_mm, columns_mm),
        registry.card("datasets", dataset).redistributable,
    )  # fmt: skip
