"""Simulate the coverage of the intervals of `intervals` and the level of the test of `comparisons`, on data like ours.

    python -m lungseg_utils.evaluation.coverage data/results/coverage.csv --commit COMMIT

Values are Dice-like: exactly zero with some probability (a missed lesion), else Beta distributed. Values of one patient by two methods, or
by two runs of one method, are correlated by a Gaussian copula, which keeps the distribution of each single value; the truth is known in
closed form. The distributions below were fixed before the first run, except the stress cases. These were added after it, to show what
happens if a good model rarely misses: a rare zero, far from all other values, is then absent from many samples, and no interval can account
for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy import special
from scipy import stats as scipy_stats

from . import comparisons
from .intervals import crossed_bootstrap_means, random_effects_interval, resampling_weights

SIZES = (20, 50, 100)
REPLICATIONS = 4_000
RESAMPLES = 2_000
FEWEST_RUNS_TO_RESAMPLE = 5  # fewer than `intervals.MIN_RUNS_FOR_BOOTSTRAP`, which was chosen from what comes out here
_BLOCK = 100  # replications that share resampling weights; each block draws new ones
_TAILS = (0.025, 0.975)
Intervals = dict[str, tuple[np.ndarray, np.ndarray]]
_Drawn = TypeVar("_Drawn", np.ndarray, list[np.ndarray])  # values of a block of replications, or its tables


@dataclass(frozen=True)
class DiceLike:
    """Distribution of a value per patient: zero with probability `zero_share`, else Beta(a, b)."""

    zero_share: float
    a: float = 5.0
    b: float = 2.0

    @property
    def mean(self) -> float:
        """Expectation of a value."""
        return (1 - self.zero_share) * self.a / (self.a + self.b)

    def from_normal(self, latent: np.ndarray) -> np.ndarray:
        """Values of the shape of `latent` (standard normal), increasing with it; by a table of the Beta distribution function."""
        grid = np.linspace(0.0, 1.0, 4097)
        within = (special.ndtr(latent) - self.zero_share) / (1 - self.zero_share)
        return np.where(within < 0, 0.0, np.interp(within, special.betainc(self.a, self.b, grid), grid))


ONE_METHOD = DiceLike(0.10)
TWO_METHODS = (DiceLike(0.05), DiceLike(0.15))
QUANTITIES = {"mean": (ONE_METHOD,), "paired difference": TWO_METHODS}
STRESS = {
    "mean, rare zeros": (DiceLike(0.05, 20.0, 4.0),),
    "paired difference, rare zeros": (DiceLike(0.02, 20.0, 4.0), DiceLike(0.05, 20.0, 4.0)),
}
# null hypotheses of the test: sides that may be exchanged, and sides with equal means only (0.95 a / (a + b) = 0.85 * 5 / 7)
NULLS = {
    "exchangeable sides": (DiceLike(0.10), DiceLike(0.10)),
    "equal means, unequal zero shares": (DiceLike(0.05, 5.0, 5.0 * (0.95 * 7 / (0.85 * 5) - 1)), DiceLike(0.15)),
}
CORRELATION = 0.7  # of the latent values of one patient by two methods
RESIDUAL_SHARE = 0.10  # of the latent variance: a patient's own change from run to run
RUN_SHARES = (0.006, 0.04)  # of the latent variance: shift of a whole run; its SD in DSC stands in the column run_sd


def simulate_coverage(
    replications: int = REPLICATIONS, resamples: int = RESAMPLES, seed: int = 0, sizes: Sequence[int] = SIZES, commit: str = ""
) -> pd.DataFrame:
    """Simulate the coverage of all intervals and the level of the sign-flip test.

    Returns:
        One row per quantity, estimand, interval, number of patients and of runs. Columns: coverage (share of replications whose
        interval holds the truth), below and above (truth under the lower, over the upper end), mean_width, standard_error (of the
        coverage or level, by the number of replications), level (of the sign-flip test, nominal 0.05), and the provenance.
    """
    rows = [*_trained_model_rows(replications, resamples, seed, sizes)]
    rows += _method_rows(replications, resamples, seed, sizes)
    rows += _level_rows(replications, resamples, seed, sizes)
    origin = {"replications": replications, "resamples": resamples, "seed": seed, "commit": commit}
    return pd.DataFrame(rows).assign(**origin)


def _trained_model_rows(replications: int, resamples: int, seed: int, sizes: Sequence[int]) -> Iterator[dict[str, object]]:
    for n in sizes:
        for number, (quantity, methods) in enumerate((QUANTITIES | STRESS).items()):

            def draw(size: int, rng: np.random.Generator, methods: Sequence[DiceLike] = methods, n: int = n) -> np.ndarray:
                return _difference(draw_tables(methods, size, n, 1, 0.0, rng))[..., 0]

            def intervals(values: np.ndarray, rng: np.random.Generator) -> Intervals:
                return patient_intervals(values, resampling_weights(values.shape[-1], resamples, rng))

            known = {"quantity": quantity, "estimand": "these trained models", "n": n, "runs": 1, "run_sd": np.nan}
            rng = np.random.default_rng([seed, 0, number, n])
            yield from _count(known, _truth(methods), draw, intervals, replications, rng)


def _method_rows(replications: int, resamples: int, seed: int, sizes: Sequence[int]) -> Iterator[dict[str, object]]:
    for n, runs, share in [(n, runs, share) for n in sizes for runs in (3, 5, 10) for share in RUN_SHARES]:
        for number, (quantity, methods) in enumerate(QUANTITIES.items()):

            def draw(
                size: int, rng: np.random.Generator, methods: Sequence[DiceLike] = methods, at: tuple[int, int, float] = (n, runs, share)
            ) -> list[np.ndarray]:
                return draw_tables(methods, size, *at, rng)

            def intervals(tables: list[np.ndarray], rng: np.random.Generator) -> Intervals:
                return method_intervals(tables, resamples, rng)

            known = {"quantity": quantity, "estimand": "the method", "n": n, "runs": runs, "run_sd": run_sd(ONE_METHOD, share)}
            rng = np.random.default_rng([seed, 1, number, n, runs, RUN_SHARES.index(share)])
            yield from _count(known, _truth(methods), draw, intervals, replications, rng)


def _level_rows(replications: int, flips: int, seed: int, sizes: Sequence[int]) -> Iterator[dict[str, object]]:
    for n in sizes:
        for number, (quantity, methods) in enumerate(NULLS.items()):
            rng, rejected = np.random.default_rng([seed, 2, number, n]), 0
            for size in _blocks(replications):
                differences = _difference(draw_tables(methods, size, n, 1, 0.0, rng))[..., 0]
                rejected += int((sign_flip_p(differences, flips, rng) <= 0.05).sum())
            row = {"quantity": f"null: {quantity}", "estimand": "these trained models", "n": n, "runs": 1, "interval": "sign-flip test"}
            level = rejected / replications
            yield row | {"truth": 0.0, "level": level, "standard_error": np.sqrt(level * (1 - level) / replications)}


def draw_tables(
    methods: Sequence[DiceLike], replications: int, patients: int, runs: int, run_share: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """One table (replications, patients, runs) per method: patients are correlated over methods, runs independent."""
    residual_share = RESIDUAL_SHARE if runs > 1 else 0.0
    common, tables = rng.standard_normal((replications, patients, 1)), []
    for method in methods:
        own = rng.standard_normal((replications, patients, 1))
        patient = np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * own
        run, residual = rng.standard_normal((replications, 1, runs)), rng.standard_normal((replications, patients, runs))
        latent = np.sqrt(1 - run_share - residual_share) * patient + np.sqrt(run_share) * run + np.sqrt(residual_share) * residual
        tables.append(method.from_normal(latent))
    return tables


def run_sd(method: DiceLike, run_share: float) -> float:
    """Standard deviation over runs of the expected value, by Gauss-Hermite quadrature over the run and all else."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(81)
    weights = weights / weights.sum()
    rest = scipy_stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    means = method.from_normal(np.sqrt(run_share) * nodes[:, None] + np.sqrt(1 - run_share) * rest).mean(axis=1)
    return float(np.sqrt((weights * (means - weights @ means) ** 2).sum()))


def _difference(tables: list[np.ndarray]) -> np.ndarray:
    return tables[0] if len(tables) == 1 else tables[0] - tables[1]


def _truth(methods: Sequence[DiceLike]) -> float:
    return methods[0].mean - (methods[1].mean if len(methods) == 2 else 0.0)


def _blocks(replications: int) -> list[int]:
    return [min(_BLOCK, replications - start) for start in range(0, replications, _BLOCK)]


def _count(
    known: dict[str, object],
    truth: float,
    draw: Callable[[int, np.random.Generator], _Drawn],
    intervals: Callable[[_Drawn, np.random.Generator], Intervals],
    replications: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, object]]:
    sums: dict[str, np.ndarray] = {}
    for size in _blocks(replications):
        for name, (low, high) in intervals(draw(size, rng), rng).items():
            found = np.array([(truth < low).sum(), (truth > high).sum(), (high - low).sum()], dtype=float)
            sums[name] = sums.get(name, 0.0) + found
    for name, (below, above, width) in sums.items():
        coverage = 1 - (below + above) / replications
        shares = {"below": below / replications, "above": above / replications, "mean_width": width / replications}
        error = np.sqrt(coverage * (1 - coverage) / replications)
        yield known | {"interval": name, "truth": truth, "coverage": coverage, "standard_error": error} | shares


def patient_intervals(values: np.ndarray, weights: np.ndarray) -> Intervals:
    """95 % intervals of the mean of `values` (..., patients) from resampling weights (resamples, patients); each end of shape (...).

    BCa (what `intervals.summarize_mean` gives), percentile, studentised bootstrap (bootstrap-t; DiCiccio & Efron 1996,
    doi:10.1214/ss/1032280214) and Student's t.
    """
    n = values.shape[-1]
    mean, error = values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(n)
    means = values @ weights.T
    spread = np.sqrt(np.maximum((values**2) @ weights.T - means**2, 0.0) / (n - 1))
    pivots = (means - mean[..., None]) / np.maximum(spread, 1e-9)
    low_pivot, high_pivot = np.quantile(pivots, _TAILS, axis=-1)
    half = scipy_stats.t.ppf(_TAILS[1], n - 1) * error
    return {
        "BCa": bca_interval(values, means),
        "percentile": tuple(np.quantile(means, _TAILS, axis=-1)),
        "studentised bootstrap": (mean - high_pivot * error, mean - low_pivot * error),
        "t": (mean - half, mean + half),
    }


def bca_interval(values: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % BCa interval of the mean of `values` (..., patients) from its bootstrap `means` (..., resamples); each end of shape (...).

    As scipy.stats.bootstrap does it (Efron 1987, doi:10.1080/01621459.1987.10478410), for many samples at once: scipy takes one
    quantile level for all, here each sample has its own. The jackknife of a mean has a closed form.
    """
    mean = values.mean(axis=-1, keepdims=True)
    bias = special.ndtri(((means < mean).mean(axis=-1) + (means <= mean).mean(axis=-1)) / 2)
    centred = values - mean
    acceleration = (centred**3).sum(axis=-1) / (6 * (centred**2).sum(axis=-1) ** 1.5)
    ordered = np.sort(means, axis=-1)
    ends = []
    for tail in _TAILS:
        shifted = bias + special.ndtri(tail)
        ends.append(_ordered_quantile(ordered, special.ndtr(bias + shifted / (1 - acceleration * shifted))))
    return ends[0], ends[1]


def _ordered_quantile(ordered: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantile of each row of `ordered` (..., resamples) at its own level (...), with numpy's linear interpolation."""
    place = levels * (ordered.shape[-1] - 1)
    lower = np.clip(np.floor(place).astype(int), 0, ordered.shape[-1] - 2)
    left = np.take_along_axis(ordered, lower[..., None], axis=-1)[..., 0]
    right = np.take_along_axis(ordered, lower[..., None] + 1, axis=-1)[..., 0]
    return left + (place - lower) * (right - left)


def method_intervals(tables: list[np.ndarray], resamples: int, rng: np.random.Generator) -> Intervals:
    """95 % intervals for the method, from one or two tables (replications, patients, runs); and one that forgets that runs differ."""
    averaged = _difference([table.mean(axis=-1) for table in tables])
    weights = resampling_weights(averaged.shape[-1], resamples, rng)
    found = {
        "random-effects t": random_effects_interval(*tables),
        "BCa of patients only (ignores runs)": bca_interval(averaged, averaged @ weights.T),
    }
    if tables[0].shape[-1] >= FEWEST_RUNS_TO_RESAMPLE:
        means = crossed_bootstrap_means(tables, resamples, rng)
        found["crossed bootstrap"] = tuple(np.quantile(means, _TAILS, axis=-1))
    return found


def sign_flip_p(differences: np.ndarray, flips: int, rng: np.random.Generator) -> np.ndarray:
    """p of `comparisons.sign_flip_test` for each row of `differences` (replications, patients): exact to 20 patients, else by `flips`."""
    if differences.shape[-1] <= comparisons.MAX_PATIENTS_FOR_EXACT_TEST:
        return np.array([comparisons.sign_flip_test(row) for row in differences])
    threshold = np.abs(differences.sum(axis=-1)) - 1e-12 * np.abs(differences).sum(axis=-1)
    hits = (np.abs(comparisons.flipped_sums(differences, flips, rng)) >= threshold[:, None]).sum(axis=-1)
    return (1 + hits) / (1 + flips)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and write the table as CSV."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commit", default="", help="of the code, written into every row")
    given = parser.parse_args(arguments)
    table = simulate_coverage(given.replications, given.resamples, given.seed, commit=given.commit)
    table.round(5).to_csv(given.output, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
