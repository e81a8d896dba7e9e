"""Tests, ranks and claims, based on the intervals of `intervals`. The unit is the patient; comparisons are paired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from ..types import InputError
from . import intervals, plan

MAX_PATIENTS_FOR_EXACT_TEST = 20
_PLANNED = plan.read().inference
FLIPS = _PLANNED.flips
MARGIN_HUMAN_VARIABILITY = _PLANNED.margin_human_variability  # of DSC or NSD
_BLOCK_ELEMENTS = 4_000_000  # numbers held at once while resampling (32 MB)


def sign_flip_test(differences: np.ndarray, seed: int = 0, flips: int = FLIPS) -> float:
    """Two-sided p of the mean of paired differences (one per patient) by flipping their signs.

    Under the null hypothesis that the two sides may be exchanged within each patient, every sign is equally likely. Exact over all 2^n
    patterns up to 20 patients; else random flips with p = (1 + hits) / (1 + flips), never zero (Phipson & Smyth 2010,
    arXiv:1603.05766). Conditional on the trained models: it does not cover other training runs.
    """
    differences = _finite_differences(differences)
    # sums of equal terms in another order differ by rounding, and must count as equal to the observed sum
    threshold = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    if len(differences) <= MAX_PATIENTS_FOR_EXACT_TEST:
        return float((np.abs(_all_flipped_sums(differences)) >= threshold).mean())
    rng, hits = np.random.default_rng(seed), 0
    block = max(1, _BLOCK_ELEMENTS // len(differences))
    for start in range(0, flips, block):
        hits += int((np.abs(flipped_sums(differences, min(block, flips - start), rng)) >= threshold).sum())
    return (1 + hits) / (1 + flips)


def flipped_sums(differences: np.ndarray, flips: int, rng: np.random.Generator) -> np.ndarray:
    """(..., flips): sums of `differences` (..., patients) under random signs, the same signs for all leading axes."""
    signs = 2.0 * rng.integers(0, 2, size=(flips, differences.shape[-1]), dtype=np.int8) - 1.0
    return differences @ signs.T


def _all_flipped_sums(differences: np.ndarray) -> np.ndarray:
    """Sums under all sign patterns whose first sign is +; the others are their negatives, equal in absolute value."""
    sums = differences[:1]
    for value in differences[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _finite_differences(differences: np.ndarray) -> np.ndarray:
    differences = np.asarray(differences, dtype=float)
    if differences.ndim != 1 or len(differences) == 0:
        raise InputError("differences", f"one value per patient is needed, the shape is {differences.shape}", "Average runs first.")
    if not np.isfinite(differences).all():
        raise InputError("differences", "there are undefined or infinite values", "Leave out undefined patients; use ranks if infinite.")
    return differences


def wilcoxon_test(a: pd.Series, b: pd.Series) -> float:
    """Two-sided p of the Wilcoxon signed-rank test of `a` and `b` (by patient), for the appendix; both may be infinite (HD95).

    Two equal values are a difference of zero, also if both are infinite; zeros are ranked and then dropped (Pratt 1959,
    doi:10.1080/01621459.1959.10501526). It tests symmetry about zero of the differences, not their mean.
    """
    a, b = intervals.align_patients(a, b)
    first, second = a.to_numpy(dtype=float), b.to_numpy(dtype=float)
    if np.isnan(first).any() or np.isnan(second).any() or len(first) == 0:
        raise InputError("paired values", "there are undefined values, or none at all", "Leave out undefined patients on both sides.")
    equal = first == second
    if equal.all():
        return 1.0
    differences = np.subtract(first, second, out=np.zeros(len(first)), where=~equal)
    return float(scipy_stats.wilcoxon(differences, zero_method="pratt").pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p of each named contrast of one family (Holm 1979, https://www.jstor.org/stable/4615733).

    A planned contrast that could not be tested (NaN) stays NaN and counts as p = 1: the family does not shrink with what is missing.
    """
    p = np.array(list(p_values.values()), dtype=float)
    if len(p) == 0:
        return {}
    if (p < 0).any() or (p > 1).any():
        raise InputError("p-values", f"outside 0 to 1: {dict(p_values)}", "Give two-sided p-values.")
    adjusted = multipletests(np.where(np.isnan(p), 1.0, p), method="holm")[1]
    return dict(zip(p_values, np.where(np.isnan(p), np.nan, adjusted).tolist(), strict=True))


@dataclass(frozen=True)
class Contrast:
    """A named paired comparison: mean difference with its 95 % interval, p alone and p adjusted within its family, and how."""

    name: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    n: int
    method: str


def compare_paired(name: str, a: pd.Series | pd.DataFrame, b: pd.Series | pd.DataFrame, seed: int = 0) -> Contrast:
    """Mean of a minus b (series by patient, or complete tables patients x runs) for these trained models; p by sign flips.

    Below ten patients there is no p. `p_holm` is NaN until `adjust_family`.
    """
    a, b = intervals.align_patients(intervals.complete_table(a), intervals.complete_table(b))
    summary = intervals.summarize_trained_models_difference(a, b, seed)
    if summary.n < intervals.MIN_PATIENTS_FOR_INTERVAL:
        return Contrast(name, summary.mean, np.nan, np.nan, np.nan, np.nan, summary.n, summary.method)
    p = sign_flip_test((a.mean(axis=1) - b.mean(axis=1)).to_numpy(), seed)
    flips = "exact" if summary.n <= MAX_PATIENTS_FOR_EXACT_TEST else f"{FLIPS:,} random flips"
    method = f"{summary.method}; sign-flip permutation test ({flips})"
    return Contrast(name, summary.mean, summary.low, summary.high, p, np.nan, summary.n, method)


HIGHER, LOWER, NOT_SHOWN = "the first is higher", "the second is higher", "no difference is shown"


def verdict(difference: float, p_holm: float, n: int) -> str:
    """What is said of a contrast, by its test alone: `HIGHER`, `LOWER` or `NOT_SHOWN`; "" if it was not tested.

    Under the number of patients that a claim takes, the words say so.
    """
    if np.isnan(p_holm):
        return ""
    said = NOT_SHOWN if p_holm >= _PLANNED.alpha else HIGHER if difference > 0 else LOWER
    return said if n >= intervals.MIN_PATIENTS_FOR_INFERENCE else f"{said} (no claim: {n} patients)"


def disagrees(low: float, high: float, p: float) -> bool:
    """Whether the interval and the unadjusted test say different things of zero, as they may where differences are skewed.

    An end at zero holds it. False if either is not there.
    """
    if np.isnan(low) or np.isnan(p):
        return False
    return (low > 0 or high < 0) != (p < _PLANNED.alpha)


def adjust_family(contrasts: Iterable[Contrast]) -> list[Contrast]:
    """The contrasts of one family with `p_holm` filled in. Names must differ."""
    contrasts = list(contrasts)
    names = [c.name for c in contrasts]
    if len(set(names)) < len(names):
        raise InputError("family of contrasts", f"a name stands there twice: {names}", "Give each contrast a name of its own.")
    adjusted = holm({c.name: c.p for c in contrasts})
    text = f"; Holm within {len(contrasts)} contrasts"
    return [replace(c, p_holm=adjusted[c.name], method=c.method if np.isnan(c.p) else c.method + text) for c in contrasts]


def rank_sets(
    table: pd.DataFrame, higher_is_better: bool, statistic: str = "mean", seed: int = 0, resamples: int = intervals.RESAMPLES
) -> pd.DataFrame:
    """Rank methods (1 = best) by mean or median over patients, with their rank ranges over bootstrap resamples of the patients.

    Ranks of resamples show the stability of a ranking (Wiesenfarth et al. 2021, doi:10.1038/s41598-021-82017-6). Where methods are
    truly equal they are no 95 % confidence sets of the true rank (for these see Chetverikov et al. 2024, arXiv:2401.15205).

    Args:
        table: patients x methods, complete; infinite values only with statistic "median".

    Returns:
        One row per method: value, rank (ties share the lowest), rank_low and rank_high (the shortest range of ranks that holds 95 % of
        the resamples), p_best (share of resamples in which it is the best; ties share one), n, method.
    """
    if statistic not in ("mean", "median"):
        raise InputError("statistic", f"{statistic!r} is unknown", 'Give "mean" or "median".')
    table = intervals.complete_table(table, "method", finite=statistic == "mean")
    values, n, sign = table.to_numpy(), len(table), -1 if higher_is_better else 1
    location = np.mean if statistic == "mean" else np.median
    rows = pd.DataFrame({"value": location(values, axis=0)}, index=table.columns)
    rows["rank"] = scipy_stats.rankdata(sign * rows["value"], method="min").astype(int)
    rows[["rank_low", "rank_high", "p_best"]] = np.nan
    rows["n"] = n
    if n < intervals.MIN_PATIENTS_FOR_INTERVAL:
        return rows.assign(method=f"rank by {statistic}: points only, n < 10")
    resampled = intervals.resampled_means if statistic == "mean" else _resampled_medians
    frequencies = rank_frequencies(sign * resampled(values, seed, resamples))
    rows[["rank_low", "rank_high"]] = [shortest_rank_range(row) for row in frequencies]
    rows["p_best"] = frequencies[:, 0]
    how = f"rank by {statistic}: bootstrap over patients, {intervals.kind_of_interval(n)}, stability and no confidence set"
    return rows.assign(method=how)


def _resampled_medians(values: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_ELEMENTS // values.size)
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    return np.concatenate([np.median(values[rng.integers(0, len(values), (size, len(values)))], axis=1) for size in sizes])


def rank_frequencies(statistics: np.ndarray) -> np.ndarray:
    """(methods, ranks): how often each method takes each rank, from values (resamples, methods), the lowest best; ties share ranks evenly.

    Values that differ by rounding only (1e-12 of the largest) are ties.
    """
    finite = np.abs(statistics[np.isfinite(statistics)])
    unit = 1e-12 * finite.max(initial=0.0) or 1.0
    rounded = np.round(statistics / unit)
    resamples, methods = statistics.shape
    first = scipy_stats.rankdata(rounded, method="min", axis=1).astype(int)
    last, tied = first.copy(), first.sum(axis=1) < methods * (methods + 1) // 2  # few resamples have ties: only these are ranked twice
    last[tied] = scipy_stats.rankdata(rounded[tied], method="max", axis=1)
    share, method = 1 / (last - first + 1), np.broadcast_to(np.arange(methods), first.shape)
    steps = np.zeros((methods, methods + 1))  # a share is held from the first of its ranks until after the last
    np.add.at(steps, (method, first - 1), share)
    np.subtract.at(steps, (method, last), share)
    return steps.cumsum(axis=1)[:, :-1] / resamples


def shortest_rank_range(frequencies: np.ndarray, coverage: float = 0.95) -> tuple[int, int]:
    """First and last rank of the shortest range with at least `coverage` of `frequencies`; of several the fullest, then the best ranks."""
    total = np.concatenate([[0.0], np.cumsum(frequencies)])
    for length in range(1, len(frequencies) + 1):
        held = total[length:] - total[:-length]
        start = int(np.argmax(held > held.max() - 1e-9))
        if held[start] >= coverage - 1e-9:
            return start + 1, start + length
    return 1, len(frequencies)


def kendall_tau(ranks_a: pd.Series, ranks_b: pd.Series) -> float:
    """Kendall's tau-b (1938, doi:10.1093/biomet/30.1-2.81) between the ranks of the same methods by two metrics; NaN if all tie."""
    if ranks_a.index.has_duplicates or set(ranks_a.index) != set(ranks_b.index):
        raise InputError("rankings", "the methods differ, or one stands there twice", "Rank the same methods by both metrics.")
    b = ranks_b.reindex(ranks_a.index)
    if ranks_a.isna().any() or b.isna().any():
        raise InputError("rankings", "there are undefined ranks", "Rank every method by both metrics.")
    return float(scipy_stats.kendalltau(ranks_a, b).statistic)


def minimum_detectable_difference(sd: float, n: int, power: float = _PLANNED.power, alpha: float = _PLANNED.alpha) -> float:
    """Mean paired difference that a two-sided paired t test of `n` patients finds with `power`, in the unit of `sd`.

    `sd`: standard deviation of the differences over patients. The permutation test has nearly the power of the t test. NaN for
    fewer than ten patients.
    """
    if not (np.isfinite(sd) and sd >= 0):
        raise InputError("sd", f"{sd} is no standard deviation", "Give that of the paired differences.")
    if n < intervals.MIN_PATIENTS_FOR_INTERVAL:
        return np.nan
    return float(sd * TTestPower().solve_power(nobs=n, alpha=alpha, power=power, alternative="two-sided"))


@dataclass(frozen=True)
class ReaderComparison:
    """(Model against readers) minus (readers among themselves): mean, its one-sided 97.5 % lower bound, and whether it holds.

    `within`: the bound exceeds minus the margin, and there are patients enough for inference. False never means different.
    """

    difference: float
    bound: float
    within: bool
    n: int
    method: str


def compare_with_readers(
    model_against_readers: pd.Series, readers_among_themselves: pd.Series, margin: float = MARGIN_HUMAN_VARIABILITY, seed: int = 0
) -> ReaderComparison:
    """One metric, one value per patient on each side: mean over readers of (model, reader), mean over pairs of readers.

    The bound is the lower end of the two-sided 95 % BCa interval over patients, for these trained models and these readers. Under
    50 patients it is shown, but carries no claim.
    """
    summary = intervals.summarize_paired_difference(model_against_readers, readers_among_themselves, seed)
    within = summary.n >= intervals.MIN_PATIENTS_FOR_INFERENCE and summary.low > -margin
    method = f"one-sided 97.5 % bound against a margin of {-margin:g}: {summary.method}"
    return ReaderComparison(summary.mean, summary.low, bool(within), summary.n, method)


def within_human_variability(readers: Mapping[str, ReaderComparison], without_network: Mapping[str, intervals.Summary]) -> bool:
    """Whether a model may be called within human variability: by each metric its bound holds against the readers and against no network.

    Args:
        readers: metric -> comparison with the readers; its bound exceeds minus the margin.
        without_network: metric -> the model minus the best answer without a network to the same prompt, on the same patients; its
            bound exceeds 0. Where a drawn shape agrees with the readers as well, agreement says nothing about the model.

    Raises:
        InputError: if the patients differ in number.
    """
    if len(counts := {c.n for c in readers.values()} | {summary.n for summary in without_network.values()}) > 1:
        raise InputError("reader comparison", f"of {sorted(counts)} patients", "Compare by all metrics on the same patients.")
    return all(c.within for c in readers.values()) and all(name in without_network and without_network[name].low > 0 for name in readers)
