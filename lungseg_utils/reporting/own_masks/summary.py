"""Summarize scores of folders: flow of cases, means with intervals, other protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from ...evaluation import metrics, tables
from ...evaluation.protocols import ProtocolValue
from .scoring import Scores

EVERYONE = metrics.TUMOR


@dataclass(frozen=True)
class Flow:
    """Numbers of scored patients, cases, lesions. A case is tumor-free if no reader saw a tumor; `patients` have a tumor in some case."""

    patients: int
    cases: int
    patients_tumor_free: int
    cases_tumor_free: int
    lesions: int
    cases_by_reader: Mapping[str, int]
    failed: int
    empty_predictions: int


def _tumor_free(results: pd.DataFrame) -> set[str]:
    volumes = results[results["metric"] == "reference_volume"].groupby("case_id")["value"].max()
    return set(volumes.index[volumes == 0])


def count_flow(results: pd.DataFrame) -> Flow:
    """Counts of patients, cases and lesions of a results table, tumor-free ones apart. Lesions of several readers are counted for each."""
    whole = results[results["metric"] == "prediction_volume"]
    free = whole["case_id"].isin(_tumor_free(results))
    given = whole[~free & (whole["status"] != "failed")]
    return Flow(
        patients=whole.loc[~free, "patient_id"].nunique(),
        cases=whole.loc[~free, "case_id"].nunique(),
        patients_tumor_free=whole.loc[free, "patient_id"].nunique(),
        cases_tumor_free=whole.loc[free, "case_id"].nunique(),
        lesions=int(results.loc[results["metric"] == "lesions_reference", "value"].sum()),
        cases_by_reader=whole.groupby("reader")["case_id"].nunique().to_dict(),
        failed=whole.loc[whole["status"] == "failed", "case_id"].nunique(),
        empty_predictions=given.loc[given["value"] == 0, "case_id"].nunique(),
    )


def summarize(results: pd.DataFrame) -> pd.DataFrame:
    """Summarize all metrics over patients, with 95 % intervals.

    Cases and readers are averaged within the patient first. Undefined values are not in n, so n is stated in each row.

    Returns:
        One row per quantity. Columns: quantity, of, statistic, value, low, high, n, unit_of_n, unit, method.
    """
    from ...evaluation import intervals

    results = tables.require_plain(results)
    rows = []

    def add(quantity: str, of: str, statistic: str, frame: pd.DataFrame, unit: str) -> None:
        values = intervals.patient_means(frame).to_numpy()
        summary = (intervals.summarize_mean if statistic == "mean" else intervals.summarize_median)(values)
        row = {"quantity": quantity, "of": of, "statistic": statistic, "value": summary.mean, "low": summary.low, "high": summary.high}
        rows.append(row | {"n": summary.n, "unit_of_n": "patients", "unit": unit, "method": summary.method})

    of_free_scans = results["case_id"].isin(_tumor_free(results))
    for over, statistic in product((metrics.TUMOR, metrics.DETECTED, metrics.TUMOR_FREE), ("mean", "median")):
        for metric in (m for m in (*metrics.METRICS, *metrics.LESION_METRICS) if (m.over, m.summary) == (over, statistic)):
            if over == metrics.DETECTED:
                frame = _detected_lesions(results, metric.name)
            else:
                frame = tables.case_values(results[of_free_scans] if over == metrics.TUMOR_FREE else results, metric.name)
            add(metric.name, over, statistic, frame, metric.unit)
            if np.inf in metric.empty.values():
                add(metric.name, "those with an answer", statistic, frame[np.isfinite(frame["value"])], metric.unit)
    return pd.DataFrame(rows)


def _detected_lesions(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows with one metric of each lesion that was found."""
    keys = ["case_id", "reader", "lesion_id"]
    hits = results[(results["metric"] == "lesion_hit") & (results["value"] == 1)]
    return results[results["metric"] == metric].merge(hits[keys], on=keys)


def protocol_table(values: Sequence[ProtocolValue]) -> pd.DataFrame:
    """Protocols as a table, with the shift of each from the first one, this project's own."""
    frame = pd.DataFrame([vars(value) for value in values])
    return frame.assign(shift=frame["value"] - frame["value"].iloc[0])


def case_table(scores: Scores) -> pd.DataFrame:
    """One row per case and reader with every metric, the worst first: lowest DSC, then most false positives on tumor-free scans.

    Columns: case_id, patient_id, reader, answer ("given", "empty", "no file"), tumor_free, cut, and those of `metrics.UNITS`.
    """
    whole = scores.results[scores.results["lesion_id"] == ""]
    wide = whole.pivot(index=["case_id", "patient_id", "reader"], columns="metric", values="value")[list(metrics.UNITS)].reset_index()
    failed = wide["case_id"].isin(whole.loc[whole["status"] == "failed", "case_id"])
    wide.insert(3, "answer", np.where(failed, "no file", np.where(wide["prediction_volume"] == 0, "empty", "given")))
    wide.insert(4, "tumor_free", wide["case_id"].isin(_tumor_free(scores.results)))
    wide.insert(5, "cut", wide["case_id"].isin(scores.cut_cases))
    order = ["tumor_free", "dsc", "false_positive_volume", "case_id"]
    return wide.sort_values(order, ascending=[True, True, False, True], kind="stable", ignore_index=True).rename_axis(columns=None)
