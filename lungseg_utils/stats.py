"""Uncertainty of what the tables say. The unit is the patient; below ten patients there are points only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

MIN_PATIENTS_FOR_INTERVAL = 10
# simulated coverage of BCa for Dice-like data is 0.84 at n = 20 and 0.935 at n = 50: below 50 an interval only describes
MIN_PATIENTS_FOR_INFERENCE = 50
RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """A mean over patients with its 95 % interval (NaN below ten patients), and how it was made."""

    mean: float
    low: float
    high: float
    n: int
    method: str


def patient_means(frame: pd.DataFrame) -> pd.Series:
    """Mean of the column `value` within each patient, indexed by patient_id."""
    return frame.groupby("patient_id")["value"].mean()


def summarize_mean(values: np.ndarray, seed: int = 0) -> Summary:
    """Mean of one value per patient; the interval is the bias-corrected accelerated bootstrap over patients."""
    values = np.asarray(values, dtype=float)
    if np.isnan(values).any():
        raise ValueError("undefined values must be left out before a mean, by status")
    n = len(values)
    mean = float(values.mean()) if n else np.nan
    if n < MIN_PATIENTS_FOR_INTERVAL:
        return Summary(mean, np.nan, np.nan, n, "points only, n < 10")
    if np.ptp(values) < 1e-12:  # differences that are equal but for rounding have no distribution to resample
        return Summary(mean, mean, mean, n, "all values equal")
    rng = np.random.default_rng(seed)
    interval = scipy_stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=rng).confidence_interval
    kind = "descriptive" if n < MIN_PATIENTS_FOR_INFERENCE else "inference"
    return Summary(mean, float(interval.low), float(interval.high), n, f"BCa bootstrap over patients, {kind}")


def summarize_paired_difference(a: pd.Series, b: pd.Series, seed: int = 0) -> Summary:
    """Mean of a minus b over patients that must be the same in both (series indexed by patient_id)."""
    if sorted(a.index) != sorted(b.index):
        raise ValueError(f"the patients differ: {sorted(set(a.index) ^ set(b.index))[:5]}")
    return summarize_mean((a - b.reindex(a.index)).to_numpy(), seed)


def summarize_median(values: np.ndarray) -> Summary:
    """Median of one value per patient (infinite ones allowed) with the order-statistic interval of at least 95 %."""
    values = np.sort(np.asarray(values, dtype=float))
    n = len(values)
    middle = (values[(n - 1) // 2], values[n // 2]) if n else (np.nan, np.nan)
    median = float(middle[0]) if middle[0] == middle[1] else float(np.mean(middle))
    if n < MIN_PATIENTS_FOR_INTERVAL:
        return Summary(median, np.nan, np.nan, n, "points only, n < 10")
    rank = int(scipy_stats.binom.ppf(0.025, n, 0.5))  # P(X < rank) <= 0.025, so ranks rank .. n - rank + 1 cover at least 95 %
    return Summary(median, float(values[rank - 1]), float(values[n - rank]), n, "order statistics")


def cohort_table(results: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row per experiment, test data set and prompter over patients with a tumor, and the tumor-free ones apart.

    Means with intervals for DSC, NSD and lesion sensitivity, medians for HD95 (infinite where nothing was predicted), false
    positives per tumor-free scan, failures. Several readers or cases of one patient are averaged first.
    """
    whole = results[results["lesion_id"] == ""]
    rows = []
    for key, part in whole.groupby(["experiment", "test_dataset", "prompter"], sort=False):
        defined = part[~part["status"].isin(["undefined", "not_applicable"])]
        values = {m: patient_means(defined[defined["metric"] == m]) for m in ("dsc", "nsd_2mm", "nsd_3mm", "lesion_sensitivity", "hd95")}
        free = defined[defined["patient_id"].isin(set(defined["patient_id"]) - set(values["dsc"].index))]
        false_alarms = patient_means(free[free["metric"] == "false_positive_volume"])
        row = dict(zip(("experiment", "test_dataset", "prompter"), key, strict=True))
        for name in ("dsc", "nsd_2mm", "nsd_3mm", "lesion_sensitivity"):
            row |= _columns(name, summarize_mean(values[name].to_numpy(), seed))
        row |= _columns("hd95_median", summarize_median(values["hd95"].to_numpy()))
        row |= {"n": len(values["dsc"]), "n_tumor_free": len(false_alarms), "false_positive_ml_tumor_free": false_alarms.mean()}
        row["failed"] = int(part[part["status"] == "failed"]["case_id"].nunique())
        rows.append(row)
    return pd.DataFrame(rows)


def _columns(name: str, summary: Summary) -> dict[str, float]:
    return {name: summary.mean, f"{name}_low": summary.low, f"{name}_high": summary.high}


def summarize_difference(a: np.ndarray, b: np.ndarray, seed: int = 0) -> Summary:
    """Mean of a minus mean of b for two independent groups of patients; BCa bootstrap within each group."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    difference, n = float(a.mean() - b.mean()), min(len(a), len(b))
    if n < MIN_PATIENTS_FOR_INTERVAL:
        return Summary(difference, np.nan, np.nan, n, "points only, n < 10")
    rng = np.random.default_rng(seed)

    def statistic(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return x.mean(axis=axis) - y.mean(axis=axis)

    interval = scipy_stats.bootstrap((a, b), statistic, n_resamples=RESAMPLES, method="BCa", rng=rng).confidence_interval
    return Summary(difference, float(interval.low), float(interval.high), n, "BCa bootstrap within two groups")
