"""The simulation of coverage: its data, its fast intervals against scipy's, and what it finds in a small run."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from lungseg_utils.core import project
from lungseg_utils.evaluation import comparisons, coverage, intervals


@pytest.mark.parametrize("method", [coverage.ONE_METHOD, *coverage.TWO_METHODS, *coverage.NULLS["equal means, unequal zero shares"]])
def test_dice_like_values_have_the_distribution_that_the_truth_is_derived_from(method):
    levels = (np.arange(100_000) + 0.5) / 100_000
    values = method.from_normal(scipy_stats.norm.ppf(levels))
    assert values.mean() == pytest.approx(method.mean, abs=1e-5)
    assert (values == 0).mean() == pytest.approx(method.zero_share, abs=1e-5)
    expected = scipy_stats.beta.ppf((levels - method.zero_share) / (1 - method.zero_share), method.a, method.b)
    np.testing.assert_allclose(values[values > 0], expected[values > 0], atol=3e-4)


def test_truths_by_hand():
    assert coverage.ONE_METHOD.mean == pytest.approx(0.9 * 5 / 7)
    assert coverage._truth(coverage.TWO_METHODS) == pytest.approx(0.1 * 5 / 7)
    for methods in coverage.NULLS.values():
        assert coverage._truth(methods) == pytest.approx(0, abs=1e-12)


def test_runs_shift_the_expectation_by_the_stated_spread_and_keep_the_distribution():
    share = 0.04
    (table,) = coverage.draw_tables([coverage.ONE_METHOD], 1, 5000, 400, share, np.random.default_rng(0))
    assert table.mean() == pytest.approx(coverage.ONE_METHOD.mean, abs=0.015)
    assert (table == 0).mean() == pytest.approx(0.10, abs=0.02)
    assert table[0].mean(axis=0).std() == pytest.approx(coverage.run_sd(coverage.ONE_METHOD, share), rel=0.15)


def test_patients_of_two_methods_are_correlated_and_runs_are_not():
    a, b = coverage.draw_tables(coverage.TWO_METHODS, 1, 20_000, 1, 0.0, np.random.default_rng(0))
    assert scipy_stats.spearmanr(a.ravel(), b.ravel()).statistic == pytest.approx(6 / np.pi * np.arcsin(0.35), abs=0.03)
    a, b = coverage.draw_tables(coverage.TWO_METHODS, 2000, 20, 1, 0.5, np.random.default_rng(0))
    assert np.corrcoef(a.mean(axis=1).ravel(), b.mean(axis=1).ravel())[0, 1] < 0.2


def test_fast_bca_is_scipys_on_the_same_resamples():
    values = coverage.draw_tables([coverage.ONE_METHOD], 6, 30, 1, 0.0, np.random.default_rng(0))[0][..., 0]
    oracle = [scipy_stats.bootstrap((v,), np.mean, n_resamples=999, rng=np.random.default_rng(i)) for i, v in enumerate(values)]
    low, high = coverage.bca_interval(values, np.stack([o.bootstrap_distribution for o in oracle]))
    np.testing.assert_allclose(low, [o.confidence_interval.low for o in oracle], rtol=1e-10)
    np.testing.assert_allclose(high, [o.confidence_interval.high for o in oracle], rtol=1e-10)


def test_patient_intervals_are_those_of_one_sample_at_a_time():
    values = np.random.default_rng(0).beta(5, 2, (3, 40))
    weights = intervals.resampling_weights(40, 4000, np.random.default_rng(1))
    found = coverage.patient_intervals(values, weights)
    for row, sample in enumerate(values):
        summary = intervals.summarize_mean(sample)
        assert [end[row] for end in found["BCa"]] == pytest.approx([summary.low, summary.high], abs=0.004)
        student = scipy_stats.t.interval(0.95, 39, sample.mean(), scipy_stats.sem(sample))
        assert [end[row] for end in found["t"]] == pytest.approx(student)
        means = (weights * sample).sum(axis=1)
        assert [end[row] for end in found["percentile"]] == pytest.approx(np.quantile(means, (0.025, 0.975)))


def test_studentised_interval_by_resampled_indices():
    sample, rng = np.random.default_rng(2).beta(5, 2, 25), np.random.default_rng(3)
    index = rng.integers(0, 25, (3000, 25))
    weights = np.stack([np.bincount(row, minlength=25) / 25 for row in index])
    drawn = sample[index]
    pivots = (drawn.mean(axis=1) - sample.mean()) / scipy_stats.sem(drawn, axis=1)
    expected = sample.mean() - np.quantile(pivots, (0.975, 0.025)) * scipy_stats.sem(sample)
    assert list(coverage.patient_intervals(sample, weights)["studentised bootstrap"]) == pytest.approx(expected)


def test_sign_flip_p_of_many_samples_is_the_test_of_each():
    differences = np.random.default_rng(0).normal(0.2, 1, (4, 12))
    exact = coverage.sign_flip_p(differences, 10, np.random.default_rng(0))
    assert exact.tolist() == [comparisons.sign_flip_test(row) for row in differences]
    differences = np.random.default_rng(0).normal(0.2, 1, (4, 30))
    random = coverage.sign_flip_p(differences, 20_000, np.random.default_rng(0))
    assert random == pytest.approx([comparisons.sign_flip_test(row) for row in differences], abs=0.015)


def test_a_small_simulation_finds_what_theory_says():
    table = coverage.simulate_coverage(replications=400, resamples=500, seed=3, sizes=(50,), commit="abc")
    assert (table["commit"] == "abc").all()
    assert set(table["replications"]) == {400}
    tested = table["interval"] == "sign-flip test"
    assert table.loc[tested, "level"].max() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
    assert table.loc[~tested, "level"].isna().all()
    assert set(table["quantity"]) == {*coverage.QUANTITIES, *coverage.STRESS, *(f"null: {name}" for name in coverage.NULLS)}
    covers = table[table["quantity"].isin(coverage.QUANTITIES)].groupby("interval")["coverage"].min()
    assert covers["random-effects t"] > 0.90
    assert covers["BCa"] > 0.89
    assert covers["BCa of patients only (ignores runs)"] < 0.85
    sums = table.loc[~tested, ["coverage", "below", "above"]].sum(axis=1)
    assert np.allclose(sums, 1)


def test_simulation_repeats_itself_by_its_seed_and_writes_a_table(tmp_path):
    path = tmp_path / "coverage.csv"
    first = coverage.simulate_coverage(replications=20, resamples=100, seed=1, sizes=(20,))
    pd.testing.assert_frame_equal(first, coverage.simulate_coverage(replications=20, resamples=100, seed=1, sizes=(20,)))
    coverage.main([str(path), "--replications", "10", "--resamples", "50", "--seed", "4", "--commit", "abc"])
    written = pd.read_csv(path)
    assert set(written["n"]) == {20, 50, 100}
    assert written[["replications", "resamples", "seed", "commit"]].drop_duplicates().to_numpy().tolist() == [[10, 50, 4, "abc"]]


def test_the_crossed_bootstrap_is_simulated_with_fewer_runs_than_pages_ask_it_for():
    fewest = coverage.FEWEST_RUNS_TO_RESAMPLE
    assert fewest < intervals.MIN_RUNS_FOR_BOOTSTRAP  # else nothing would show why pages do not ask it there
    tables = coverage.draw_tables([coverage.ONE_METHOD], 2, 20, fewest, 0.04, np.random.default_rng(0))
    assert "crossed bootstrap" in coverage.method_intervals(tables, 50, np.random.default_rng(0))
    without = coverage.method_intervals([table[..., :-1] for table in tables], 50, np.random.default_rng(0))
    assert "crossed bootstrap" not in without


STORED = project.project_root() / "data" / "results" / "coverage.csv"


def test_the_stored_table_is_the_whole_one_of_one_commit():
    stored = pd.read_csv(STORED, dtype={"commit": str})
    (commit,) = stored["commit"].unique()
    assert re.fullmatch("[0-9a-f]{12}", commit)
    keys = ["quantity", "estimand", "n", "runs", "run_sd", "interval"]
    expected = coverage.simulate_coverage(replications=2, resamples=20)[keys].round(5)
    pd.testing.assert_frame_equal(stored[keys], expected)


def test_the_intervals_of_the_pages_cover_as_planned_from_50_patients_on():
    stored = pd.read_csv(STORED)
    stored = stored[stored["quantity"].isin(coverage.QUANTITIES) & (stored["n"] >= intervals.MIN_PATIENTS_FOR_INFERENCE)]
    many = stored["runs"] >= intervals.MIN_RUNS_FOR_BOOTSTRAP
    asked = {"BCa": stored["runs"] == 1, "random-effects t": ~many & (stored["runs"] > 1), "crossed bootstrap": many}
    rows = pd.concat([stored[of & (stored["interval"] == interval)] for interval, of in asked.items()])
    assert len(rows) == 4 + 16 + 8
    assert rows["coverage"].between(0.93, 0.97).all()


def test_the_methods_page_says_what_the_stored_table_says():
    stored = pd.read_csv(STORED)
    bca = stored[stored["interval"] == "BCa"].set_index(["quantity", "n"])["coverage"] * 100
    mean, paired = ([f"{bca[quantity, n]:.0f}" for n in coverage.SIZES] for quantity in coverage.QUANTITIES)
    page = " ".join((project.project_root() / "book" / "methods.md").read_text().split())
    assert f"of a mean covers the true value in {mean[0]} % at 20 patients, {mean[1]} % at 50 and {mean[2]} % at 100" in page
    assert f"of a paired difference in {paired[0]}, {paired[1]} and {paired[2]} %" in page
    rare = [bca[quantity, n] for quantity in coverage.STRESS for n in coverage.SIZES[:2]]
    assert f"{min(rare):.0f} to {max(rare):.0f} % at 20 and 50" in page
