"""Page "Failures": failed and empty predictions and the worst cases."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..experiments.results import RunResult
from . import methods
from .labels import label_of

WORST_SHOWN = 3


def failure_table(finished: Sequence[RunResult], datasets: Sequence[str]) -> pd.DataFrame:
    """Every failed and every empty prediction, and the worst ones of each method and prompt setting over all its runs.

    Returns:
        One row per prediction. Columns: method (title), setting, test_dataset, case, experiment (name of the method),
        first_run (whether it is of the run that the book's viewers show), kind ("failed", "empty" or "worst"), dsc, reference_ml, reason.
    """
    rows, names = [], methods.titles(finished)
    for method in methods.group_runs(finished):
        records = [(r.experiment.name, case) for r in method.results for case in r.provenance["cases"]]
        reasons = {(name, c["test_dataset"], c["prompter"], c["case_id"]): c["failure"] for name, c in records}
        wide = pd.concat([_wide(r.asked(), datasets).assign(experiment=r.experiment.name) for r in method.results], ignore_index=True)
        for (dataset, setting), part in wide.groupby(["test_dataset", "prompter"], sort=False):
            worst = part["dsc"].nsmallest(WORST_SHOWN).index
            first = {r.experiment.name for r in method.first_run(dataset)}
            for index, row in part.iterrows():
                reason = reasons.get((row["experiment"], dataset, setting, row["case_id"]), "")
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
    wide = rows.groupby([*keys, "metric"], sort=False)["value"].first().unstack("metric").reset_index()
    return wide[wide["reference_volume"] > 0]


def printable_failures(table: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """`failure_table` of some kinds, as a table for a page."""
    part = table[table["kind"].isin(kinds)].sort_values(["method", "test_dataset", "dsc"], kind="stable")
    return pd.DataFrame(
        {
            "case": part["case"],
            "what": part["kind"],
            "DSC": [f"{v:.2f}" for v in part["dsc"]],
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
