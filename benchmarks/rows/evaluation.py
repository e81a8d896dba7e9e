"""Metrics of a case, intervals and ranks of many models, and the growth of both with the number of cases."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats as scipy_stats

from lungseg_utils.datasets.phantom_nsclc import MINI
from lungseg_utils.evaluation import comparisons, intervals, metrics, scoring, tables
from lungseg_utils.experiments.costs import meter
from lungseg_utils.experiments.costs.subjects import SHAPE, SPACING_MM
from lungseg_utils.types import Image, Mask, Study

from ..row import Agreement, Setting, Work, row

RADIUS_MM, OFF_MM = 15.0, 3.0
AGAINST = "MONAI, metric by metric"
MODELS, PATIENTS = 20, 100
DIFFERENT = 5  # lesions, which come again: drawing whole phantoms takes longer than all that is measured here
WITHIN = 0.9  # "linear within a tenth"


@row(work="all metrics of one case of 512 x 512 x 120, prediction near", against=AGAINST, goal=20.0)
def metrics_near(setting: Setting) -> Work:
    """A ball and the same one 3 mm away."""
    return compare_metrics(SHAPE, far=False)


def compare_metrics(shape: tuple[int, int, int], far: bool) -> Work:
    """Scores of a ball; `far`: there is a false positive in the corner as well."""
    reference, prediction = (_ball(shape, offset) for offset in (0.0, OFF_MM))
    if far:
        prediction[2:6, 2:6, 2:4] = True
    affine = np.diag([*SPACING_MM, 1.0])
    return Work(
        lambda: metrics.score_case(Mask(reference, affine), Mask(prediction, affine)),  # of masks that were seen before, much is known
        lambda: monai_scores(reference, prediction),
        _equal_overlaps,
        operations=0.0,
        bytes=float(reference.nbytes + prediction.nbytes),
    )


def _ball(shape: tuple[int, int, int], offset_mm: float) -> np.ndarray:
    axes = [(np.arange(n) - n / 2) * s for n, s in zip(shape, SPACING_MM, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return (x - offset_mm) ** 2 + y**2 + z**2 < RADIUS_MM**2


def monai_scores(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """The same metrics by MONAI, each by a call of its own as its tutorials have it."""
    from monai import metrics as monai

    one, other = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference))
    how = {"include_background": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = {"dsc": monai.DiceMetric(**how)(one, other), "iou": monai.MeanIoU(**how)(one, other)}
        for tolerance in metrics.NSD_TOLERANCES_MM:
            surface = monai.SurfaceDiceMetric([tolerance], **how)
            scores[f"nsd_{tolerance:g}mm"] = surface(one, other, spacing=SPACING_MM)
        scores["hd95"] = monai.HausdorffDistanceMetric(percentile=95, **how)(one, other, spacing=SPACING_MM)
        scores["assd"] = monai.SurfaceDistanceMetric(symmetric=True, **how)(one, other, spacing=SPACING_MM)
    return {name: float(value) for name, value in scores.items()}


def _equal_overlaps(fast: dict[str, float], plain: dict[str, float]) -> Agreement:
    """Surface metrics are defined by area here and by voxel there, so that only overlaps are equal."""
    return Agreement("difference", max(abs(fast[name] - plain[name]) for name in ("dsc", "iou")), 1e-6)


@row(work="all metrics of one case of 512 x 512 x 120, far false positive", against=AGAINST, goal=5.0)
def metrics_far(setting: Setting) -> Work:
    """The same ball, and a few voxels in a corner."""
    return compare_metrics(SHAPE, far=True)


@row(
    work=f"intervals and ranks of {MODELS} models, {PATIENTS} patients, {intervals.RESAMPLES:,} resamples",
    against="a loop over resamples and models in numpy",
    goal=50.0,
    warm=False,
)
def statistics(setting: Setting) -> Work:
    """Values that look like DSC."""
    return compare_statistics(MODELS, PATIENTS, intervals.RESAMPLES)


def compare_statistics(models: int, patients: int, resamples: int) -> Work:
    """The comparison at any size (intervals always take `intervals.RESAMPLES`)."""
    values = np.random.default_rng(0).beta(4, 2, (patients, models))
    table = pd.DataFrame(values, columns=[f"model {n}" for n in range(models)])

    def fast() -> tuple[Any, ...]:
        ranks = comparisons.rank_sets(table, higher_is_better=True, resamples=resamples)
        return [intervals.summarize_mean(values[:, n]) for n in range(models)], ranks["p_best"].to_numpy()

    return Work(fast, lambda: _loop(values, resamples), _equal_ends, 2.0 * resamples * values.size * 2, 8.0 * 2 * resamples * patients)


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


def _equal_ends(fast: tuple[Any, ...], plain: tuple[Any, ...]) -> Agreement:
    ends = [max(abs(a.low - b[0]), abs(a.high - b[1])) for a, b in zip(fast[0], plain[0], strict=True)]
    return Agreement("difference", float(max(*ends, np.abs(fast[1] - plain[1]).max())), 1e-9)


@row(work="100 cases through scoring, result table and cohort table", against="ten times 10 cases", goal=WITHIN)
def scale_100(setting: Setting) -> Work:
    """Cases on the grid of the default profile."""
    return compare_sizes(10, 100)


def compare_sizes(few: int, many: int) -> Work:
    """`many` cases, beside `few` as their share; the answers are the peaks of memory."""
    bytes_needed = 2.0 * many * np.prod(MINI.shape)
    return Work(lambda: _peak_mb(many), lambda: _peak_mb(few), _flat, 0.0, bytes_needed, plain_share=few / many)


def _peak_mb(count: int) -> float:
    meter.reset_peak_resident()
    evaluate(count)
    return meter.peak_resident_mb()


def _flat(many: float, few: float) -> Agreement:
    return Agreement("memory ratio", many / few, 1.1)


def evaluate(count: int) -> pd.DataFrame:
    """The result table of that many cases, after its summary was made."""
    rows = []
    for n in range(count):
        study, answer = _cases()[n % DIFFERENT]
        keys = {"experiment": "x", "test_dataset": "y", "prompter": "none", "jitter": 0.0, "patient_id": f"p{n}", "case_id": f"p{n}"}
        rows += scoring.score(keys, study.references, answer, study.ignore)
    frame = tables.results_frame(rows)
    intervals.cohort_table(frame)
    return frame


@cache
def _cases() -> list[tuple[Study, Mask]]:
    """Studies with one lesion, and answers that are a little off and have a false positive."""
    return [_case(radius) for radius in np.linspace(3, 12, DIFFERENT)]


def _case(radius: float) -> tuple[Study, Mask]:
    affine, grid = np.diag([*MINI.spacing_mm, 1.0]), np.indices(MINI.shape)
    centre = np.reshape(MINI.shape, (3, 1, 1, 1)) / 2
    masks = [((grid - centre - shift) ** 2).sum(axis=0) < radius**2 for shift in (0, 1)]
    masks[1][5:9, 5:9, 5:9] = True
    reference, answer = (Mask(mask, affine) for mask in masks)
    return Study(Image(np.zeros(MINI.shape, np.float32), affine), {"reference": reference}, None), answer


@row(
    work="1000 cases through scoring, result table and cohort table",
    against="ten times 100 cases",
    goal=WITHIN,
    warm=False,
    overnight=True,
)
def scale_1000(setting: Setting) -> Work:
    """Cases on the grid of the default profile."""
    return compare_sizes(100, 1000)
