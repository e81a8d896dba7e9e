"""Confidence intervals over patients. The unit is the patient; below ten patients there are no intervals.

Two estimands are kept apart, and `Summary.method` says which one an interval covers. "These trained models": would other patients give the
same value? Patients are resampled, the networks stay as they are. "The method": would other patients and another training run (or another
draw of k patients) give it? Runs are crossed with patients, because each run meets the same patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from ..types import InputError
from . import metrics, plan
from .tables import of_reference, require_plain

_PLANNED = plan.read().inference
MIN_PATIENTS_FOR_INTERVAL = _PLANNED.least_patients_for_an_interval
# `coverage` simulates that of BCa: 0.92 (mean) and 0.91 (difference) at n = 20, 0.94 and 0.93 at 50; below 50 an interval only describes
MIN_PATIENTS_FOR_INFERENCE = _PLANNED.least_patients_for_a_claim
# the crossed bootstrap of 5 runs covers 0.92 where runs differ much (`coverage`: run SD 0.05, n = 100); the t interval 0.94
MIN_RUNS_FOR_BOOTSTRAP = _PLANNED.least_runs_for_the_crossed_bootstrap
RESAMPLES = _PLANNED.resamples
_MOST_REALS = 2**21  # that are kept of one number of patients: 16 MB
_TAILS = (0.025, 0.975)  # of every two-sided 95 % interval


@dataclass(frozen=True)
class Summary:
    """A mean (or median) over patients with its 95 % interval (NaN where there is none), and how it was made."""

    mean: float
    low: float
    high: float
    n: int
    method: str


def kind_of_interval(n: int) -> str:
    """What an interval of `n` patients is good for: "points only" below 10 patients, "descriptive" below 50, else "inference"."""
    if n < MIN_PATIENTS_FOR_INTERVAL:
        return "points only"
    return "descriptive" if n < MIN_PATIENTS_FOR_INFERENCE else "inference"


def patient_means(frame: pd.DataFrame) -> pd.Series:
    """Mean of the column `value` within each patient, indexed by patient_id."""
    return frame.groupby("patient_id")["value"].mean()


def complete_table(table: pd.DataFrame | np.ndarray, column: str = "run", finite: bool = True) -> pd.DataFrame:
    """The same numbers as a float DataFrame patients x `column`, after a check that each patient has one value in each column.

    Patients are sorted by name: a resample then means the same patients, whatever their order was.
    """
    values = pd.DataFrame(table).astype(float)
    values = values.sort_index(key=None if pd.api.types.is_numeric_dtype(values.index) else lambda index: index.astype(str))
    where = f"table of patients x {column}s"
    if 0 in values.shape:
        raise InputError(where, "it is empty", "Give at least one patient and one column.")
    for axis, noun in ((values.index, "patient"), (values.columns, column)):
        if axis.has_duplicates:
            raise InputError(where, f"{noun} {axis[axis.duplicated()][0]} stands there twice", "Average within the patient first.")
    gaps = [(values.index[i], values.columns[j]) for i, j in np.argwhere(values.isna().to_numpy())]
    if gaps:
        more = f" (and {len(gaps) - 1} more gaps)" if len(gaps) > 1 else ""
        problem = f"no value for patient {gaps[0][0]}, {column} {gaps[0][1]}{more}"
        raise InputError(where, problem, "Score every patient, a failure as a failure; leave undefined patients out everywhere.")
    if finite and not np.isfinite(values.to_numpy()).all():
        raise InputError(where, "it holds infinite values, which have no mean", "Use medians and ranks for this metric.")
    return values


def align_patients(a: pd.Series | pd.DataFrame, b: pd.Series | pd.DataFrame) -> tuple[pd.Series | pd.DataFrame, pd.Series | pd.DataFrame]:
    """`a`, and `b` in the patient order of `a`. Other patients in one of the two, or a patient twice, are errors."""
    for name, table in (("first", a), ("second", b)):
        if table.index.has_duplicates:
            twice = table.index[table.index.duplicated()][0]
            raise InputError(f"{name} side of a pair", f"patient {twice} stands there twice", "Average within the patient first.")
    different = sorted(set(a.index) ^ set(b.index), key=str)
    if different:
        raise InputError("paired values", f"the patients differ: {different[:5]}", "Compare two methods on the same patients.")
    return a, b.reindex(a.index)


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
        return Summary(mean, mean, mean, n, f"all values equal, {kind_of_interval(n)}")
    # scipy's interval, of means that were resampled before
    drawn = SimpleNamespace(bootstrap_distribution=resampled_means(values, seed, RESAMPLES))
    result = scipy_stats.bootstrap((values,), np.mean, n_resamples=0, method="BCa", bootstrap_result=drawn, batch=_block(n))
    interval = result.confidence_interval
    return Summary(mean, float(interval.low), float(interval.high), n, f"BCa bootstrap over patients, {kind_of_interval(n)}")


def resampled_means(values: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """(resamples, ...): means over the patients of each bootstrap resample of values (patients, ...); the same draws for all of them."""
    times = times_drawn(len(values), resamples, seed)
    return np.concatenate([times[rows].astype(float, copy=False) @ values for rows in _blocks(*times.shape)]) / len(values)


@lru_cache(maxsize=4)  # every table of a page resamples the same few numbers of patients
def times_drawn(size: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples, size): how often each of `size` units is in each bootstrap resample, drawn as `scipy.stats.bootstrap` draws.

    Of many units in the smallest type that holds them: a thousand as reals, which products want, would take 80 MB.
    """
    kind = float if resamples * size <= _MOST_REALS else np.min_scalar_type(size)
    rng, times = np.random.default_rng(seed), np.empty((resamples, size), kind)
    for rows in _blocks(resamples, size):
        drawn = times[rows]
        units = rng.integers(0, size, drawn.shape) + size * np.arange(len(drawn))[:, None]
        drawn[:] = np.bincount(units.ravel(), minlength=drawn.size).reshape(drawn.shape)
    times.flags.writeable = False
    return times


def _blocks(rows: int, columns: int) -> list[slice]:
    step = _block(columns)
    return [slice(first, first + step) for first in range(0, rows, step)]


def _block(columns: int) -> int:
    """How many rows of reals make up 2 MB, which stay in the cache of a processor."""
    return max(1, 2**18 // columns)


def summarize_paired_difference(a: pd.Series, b: pd.Series, seed: int = 0) -> Summary:
    """Mean of a minus b over patients that must be the same in both (series indexed by patient_id)."""
    a, b = align_patients(a, b)
    return summarize_mean((a - b).to_numpy(), seed)


def summarize_trained_models(table: pd.DataFrame | np.ndarray, seed: int = 0) -> Summary:
    """Estimand "these trained models": mean of a complete table patients x runs; runs are averaged within the patient, patients resampled.

    The interval is the bias-corrected accelerated bootstrap (Efron 1987, doi:10.1080/01621459.1987.10478410). It does not cover other
    training runs.
    """
    table = complete_table(table)
    summary = summarize_mean(table.mean(axis=1).to_numpy(), seed)
    return replace(summary, method=f"these trained models (runs: {table.shape[1]}): {summary.method}")


def summarize_trained_models_difference(a: pd.DataFrame, b: pd.DataFrame, seed: int = 0) -> Summary:
    """Estimand "these trained models": mean of a minus b, two complete tables patients x runs of the same patients (runs may differ)."""
    a, b = align_patients(complete_table(a), complete_table(b))
    summary = summarize_mean((a.mean(axis=1) - b.mean(axis=1)).to_numpy(), seed)
    return replace(summary, method=f"these trained models (runs: {a.shape[1]} and {b.shape[1]}), paired: {summary.method}")


def summarize_method(table: pd.DataFrame | np.ndarray, seed: int = 0) -> Summary:
    """Estimand "the method": mean of a complete table patients x runs, over other patients and other training runs.

    From 10 runs on: percentile interval of the two-way crossed bootstrap. Under 10: a random-effects t interval. With one run there is
    no interval, because the variance between runs is unknown.
    """
    return _summarize_crossed([complete_table(table).to_numpy()], "the method", seed)


def summarize_method_difference(a: pd.DataFrame, b: pd.DataFrame, matched_runs: bool = False, seed: int = 0) -> Summary:
    """Estimand "the method": mean of a minus b, two complete tables patients x runs of the same patients.

    `matched_runs`: column r of `a` and of `b` share what makes runs differ (the same draw of k patients, the same fold). Differences are
    then taken run by run, and the columns must be the same. Else the runs of the two are independent.
    """
    a, b = align_patients(complete_table(a), complete_table(b))
    if not matched_runs:
        return _summarize_crossed([a.to_numpy(), b.to_numpy()], "the method, paired, independent runs", seed)
    if set(a.columns) != set(b.columns):
        different = sorted(set(a.columns) ^ set(b.columns), key=str)
        raise InputError("matched runs", f"the runs differ: {different[:5]}", "Give the same runs on both sides, or matched_runs=False.")
    return _summarize_crossed([(a - b[a.columns]).to_numpy()], "the method, paired, matched runs", seed)


def _summarize_crossed(tables: list[np.ndarray], estimand: str, seed: int) -> Summary:
    """Mean of the first table (patients x runs), minus that of a second one if there is one."""
    mean = float(tables[0].mean() - (tables[1].mean() if len(tables) == 2 else 0.0))
    n, runs = len(tables[0]), min(table.shape[1] for table in tables)
    if runs == 1:
        return Summary(mean, np.nan, np.nan, n, f"{estimand}: no claim, one run only")
    if n < MIN_PATIENTS_FOR_INTERVAL:
        return Summary(mean, np.nan, np.nan, n, f"{estimand}: points only, n < 10")
    if runs < MIN_RUNS_FOR_BOOTSTRAP:
        low, high = random_effects_interval(*tables)
        how = "two-way random-effects t interval"
    else:
        low, high = np.quantile(crossed_bootstrap_means(tables, RESAMPLES, np.random.default_rng(seed)), _TAILS)
        how = "crossed bootstrap of patients x runs, percentile"
    shown = " and ".join(str(table.shape[1]) for table in tables)
    return Summary(mean, float(low), float(high), n, f"{estimand} (runs: {shown}): {how}, {kind_of_interval(n)}")


def resampling_weights(size: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(resamples, size): share of each of `size` units in each bootstrap resample; each row sums to one."""
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples) / size


def crossed_bootstrap_means(tables: list[np.ndarray], resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(..., resamples): means of resampled tables (..., patients, runs), or differences of means of two tables.

    Rows and columns are drawn apart and crossed (Owen 2007, "The pigeonhole bootstrap", doi:10.1214/07-AOAS122, who shows that it
    is conservative for the residual). Two tables share the drawn patients; the runs of each are drawn on their own.
    """
    patients, total = resampling_weights(tables[0].shape[-2], resamples, rng), np.zeros(resamples)
    for sign, table in zip((1, -1), tables, strict=False):
        runs = resampling_weights(table.shape[-1], resamples, rng)
        total = total + sign * ((patients @ table) * runs).sum(axis=-1)
    return total


def random_effects_variance(*tables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance of the mean of a table (..., patients, runs), or of the difference of two, and its degrees of freedom; both of shape (...).

    Two-way random effects without replication: the variance of the patients' means over the number of patients, plus the variance
    of the runs' means over the number of runs (of each table). Both contain the residual, which is so counted twice: the sum stays
    above the variance for fixed runs and has no negative component. Degrees of freedom by Satterthwaite (1946, doi:10.2307/3002019).
    """
    patients = tables[0].mean(axis=-1) - (tables[1].mean(axis=-1) if len(tables) == 2 else 0.0)
    means = [patients, *(table.mean(axis=-2) for table in tables)]
    parts = np.stack([m.var(axis=-1, ddof=1) / m.shape[-1] for m in means], axis=-1)
    freedom = np.array([m.shape[-1] - 1 for m in means])
    variance = parts.sum(axis=-1)
    squares = (parts**2 / freedom).sum(axis=-1)
    return variance, np.divide(variance**2, squares, out=np.full_like(variance, freedom[0], dtype=float), where=squares > 0)


def random_effects_interval(*tables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % t interval of the mean of a table (..., patients, runs), or of the difference of two, by `random_effects_variance`."""
    variance, freedom = random_effects_variance(*tables)
    mean = tables[0].mean(axis=(-2, -1)) - (tables[1].mean(axis=(-2, -1)) if len(tables) == 2 else 0.0)
    half = scipy_stats.t.ppf(_TAILS[1], freedom) * np.sqrt(variance)
    return mean - half, mean + half


def summarize_median(values: np.ndarray) -> Summary:
    """Median of one value per patient (infinite ones allowed) with the order-statistic interval of at least 95 %."""
    values = np.sort(np.asarray(values, dtype=float))
    n = len(values)
    middle = (values[(n - 1) // 2], values[n // 2]) if n else (np.nan, np.nan)
    median = float(middle[0]) if middle[0] == middle[1] else float(np.mean(middle))
    if n < MIN_PATIENTS_FOR_INTERVAL:
        return Summary(median, np.nan, np.nan, n, "points only, n < 10")
    rank = int(scipy_stats.binom.ppf(0.025, n, 0.5))  # P(X < rank) <= 0.025, so ranks rank .. n - rank + 1 cover at least 95 %
    return Summary(median, float(values[rank - 1]), float(values[n - rank]), n, f"order statistics, {kind_of_interval(n)}")


def cohort_table(results: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Summarize each experiment, test data set and prompt setting over patients with a tumor, and tumor-free scans separately.

    The data set's own reference judges, not its single readers. Several cases of one patient are averaged first.

    Returns:
        One row per experiment, test data set and prompt setting. Columns of each metric of the table `metrics.COHORT`: NAME, NAME_low
        and NAME_high of a mean, NAME_median likewise of a median (infinite where nothing was predicted), NAME_tumor_free of metrics on
        tumor-free scans. Then n, n_tumor_free and failed (numbers of cases).
    """
    results = of_reference(require_plain(results))
    whole = results[results["lesion_id"] == ""]
    rows = []
    for key, part in whole.groupby(["experiment", "test_dataset", "prompter"], sort=False):
        defined = part[~part["status"].isin(["undefined", "not_applicable"])]
        with_tumor = set(defined["patient_id"][defined["metric"] == metrics.METRICS[0].name])
        row = dict(zip(("experiment", "test_dataset", "prompter"), key, strict=True))
        row |= {"n": len(with_tumor), "n_tumor_free": defined["patient_id"].nunique() - len(with_tumor)}
        for metric in metrics.shown_in(metrics.COHORT):
            row |= _summary(metric, patient_means(defined[defined["metric"] == metric.name]), with_tumor, seed)
        row["failed"] = int(part[part["status"] == "failed"]["case_id"].nunique())
        rows.append(row)
    return pd.DataFrame(rows)


def _summary(metric: metrics.AnyMetric, values: pd.Series, with_tumor: set[str], seed: int) -> dict[str, float]:
    """Columns of one metric, of values per patient."""
    if metric.over == metrics.TUMOR_FREE:
        return {f"{metric.name}_tumor_free": values[~values.index.isin(with_tumor)].mean()}
    if metric.summary == "median":
        return _columns(f"{metric.name}_median", summarize_median(values.to_numpy()))
    return _columns(metric.name, summarize_mean(values.to_numpy(), seed))


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
    return Summary(difference, float(interval.low), float(interval.high), n, f"BCa bootstrap within two groups, {kind_of_interval(n)}")
