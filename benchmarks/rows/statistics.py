"""Intervals and ranks of a full grid of models, by vectorized resampling and by a plain loop over resamples and models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from lungseg_utils.evaluation import comparisons, intervals

from ..row import Agreement, Row, Setting, Work

MODELS, PATIENTS = 20, 100
ROW = Row(
    work=f"intervals and ranks of {MODELS} models, {PATIENTS} patients, {intervals.RESAMPLES:,} resamples",
    against="a loop over resamples and models in numpy",
    goal=50.0,
    warm=False,
)


def prepare(setting: Setting) -> Work:
    """Values that look like DSC."""
    return compare_statistics(MODELS, PATIENTS, intervals.RESAMPLES)


def compare_statistics(models: int, patients: int, resamples: int) -> Work:
    """The comparison at any size (intervals always take `intervals.RESAMPLES`)."""
    values = np.random.default_rng(0).beta(4, 2, (patients, models))
    table = pd.DataFrame(values, columns=[f"model {n}" for n in range(models)])

    def fast() -> tuple[Any, ...]:
        ranks = comparisons.rank_sets(table, higher_is_better=True, resamples=resamples)
        return [intervals.summarize_mean(values[:, n]) for n in range(models)], ranks["p_best"].to_numpy()

    return Work(fast, lambda: _loop(values, resamples), _check, 2.0 * resamples * values.size * 2, 8.0 * 2 * resamples * patients)


def _loop(values: np.ndarray, resamples: int) -> tuple[Any, ...]:
    return [_interval(column) for column in values.T], _best(values, resamples)


def _interval(values: np.ndarray) -> tuple[float, float]:
    """The bias-corrected accelerated interval, step by step as in Efron 1987."""
    rng, n = np.random.default_rng(0), len(values)
    means = np.sort([values[rng.integers(0, n, n)].mean() for _ in range(intervals.RESAMPLES)])
    below = (np.sum(means < values.mean()) + np.sum(means <= values.mean())) / (2 * len(means))
    left_out = np.array([np.delete(values, k).mean() for k in range(n)])
    pull = left_out.mean() - left_out
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    bias, ends = scipy_stats.norm.ppf(below), []
    for tail in (0.025, 0.975):
        z = bias + scipy_stats.norm.ppf(tail)
        ends.append(np.quantile(means, scipy_stats.norm.cdf(bias + z / (1 - acceleration * z))))
    return float(ends[0]), float(ends[1])


def _best(values: np.ndarray, resamples: int) -> np.ndarray:
    """How often each model is the best."""
    rng, (patients, models) = np.random.default_rng(0), values.shape
    wins = np.zeros(models)
    for _ in range(resamples):
        counts = np.bincount(rng.integers(0, patients, patients), minlength=patients)
        means = [np.average(values[:, n], weights=counts) for n in range(models)]
        wins[scipy_stats.rankdata(-np.array(means), method="min").argmin()] += 1
    return wins / resamples


def _check(fast: tuple[Any, ...], plain: tuple[Any, ...]) -> Agreement:
    ends = [max(abs(a.low - b[0]), abs(a.high - b[1])) for a, b in zip(fast[0], plain[0], strict=True)]
    return Agreement("difference", float(max(*ends, np.abs(fast[1] - plain[1]).max())), 1e-9)
