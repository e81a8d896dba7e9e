"""Intervals and their limits, tests, ranks and claims."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from lungseg_utils.evaluation import comparisons, intervals
from lungseg_utils.types import InputError


def test_fewer_than_ten_patients_give_a_point_only():
    summary = intervals.summarize_mean(np.linspace(0.1, 0.9, 9))
    assert summary.mean == pytest.approx(0.5)
    assert np.isnan(summary.low)
    assert "points only" in summary.method


def test_bca_interval_covers_the_mean_and_says_whether_it_only_describes():
    values = np.random.default_rng(0).beta(5, 2, 40)
    summary = intervals.summarize_mean(values)
    assert summary.low < values.mean() < summary.high
    assert "descriptive" in summary.method
    assert "inference" in intervals.summarize_mean(np.random.default_rng(0).beta(5, 2, 60)).method


def test_bca_is_near_the_t_interval_for_well_behaved_data():
    values = np.random.default_rng(1).normal(0.5, 0.1, 200)
    low, high = scipy_stats.t.interval(0.95, 199, values.mean(), scipy_stats.sem(values))
    summary = intervals.summarize_mean(values)
    assert (summary.low, summary.high) == pytest.approx((low, high), abs=0.002)


@pytest.mark.parametrize(
    "values", [np.random.default_rng(3).beta(5, 2, 40), np.random.default_rng(4).integers(0, 2, 60)], ids=["dsc", "hit or not"]
)
def test_the_interval_is_scipys_own_for_the_seed(values):
    oracle = scipy_stats.bootstrap((values,), np.mean, n_resamples=intervals.RESAMPLES, rng=np.random.default_rng(7)).confidence_interval
    summary = intervals.summarize_mean(values, seed=7)
    assert (summary.low, summary.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@pytest.mark.parametrize(("patients", "resamples"), [(12, 50), (300, 2000), (1500, 2000)], ids=["few", "in pieces", "many"])
def test_all_columns_are_resampled_by_the_same_patients(patients, resamples):
    values = np.random.default_rng(5).random((patients, 3))
    drawn = intervals.resampled_means(values, seed=1, resamples=resamples)
    units = np.random.default_rng(1).integers(0, patients, (resamples, patients))
    np.testing.assert_allclose(drawn, values[units].mean(axis=1), atol=1e-14)


def test_resampling_a_thousand_patients_takes_little_memory():
    values = np.random.default_rng(6).beta(5, 2, 1000)
    intervals.times_drawn.cache_clear()
    tracemalloc.start()
    summary = intervals.summarize_mean(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.low < values.mean() < summary.high
    assert peak < 40e6  # 20 MB are the counts themselves; all draws at once, as reals, took 240


@pytest.mark.slow
def test_coverage_of_the_mean_at_50_bounded_zero_inflated_values():
    rng, hits, repetitions = np.random.default_rng(2), 0, 400
    truth = 0.9 * 5 / 7
    for number in range(repetitions):
        values = rng.beta(5, 2, 50) * (rng.random(50) < 0.9)
        summary = intervals.summarize_mean(values, seed=number)
        hits += summary.low <= truth <= summary.high
    assert 0.90 <= hits / repetitions <= 0.98


def test_undefined_values_are_refused_not_skipped():
    with pytest.raises(ValueError, match="undefined"):
        intervals.summarize_mean(np.array([0.5, np.nan] * 10))


def test_paired_differences_need_the_same_patients():
    a = pd.Series(np.linspace(0.5, 0.9, 12), index=[f"p{i}" for i in range(12)])
    shuffled = (a - 0.1).sample(frac=1, random_state=0)
    summary = intervals.summarize_paired_difference(a, shuffled)
    assert summary.mean == pytest.approx(0.1)
    with pytest.raises(ValueError, match="patients differ"):
        intervals.summarize_paired_difference(a, a[:-1])


def test_median_with_infinite_values_uses_order_statistics():
    values = np.r_[np.arange(1.0, 21.0), [np.inf] * 2]
    summary = intervals.summarize_median(values)
    assert summary.mean == pytest.approx(11.5)
    # n = 22: binom.cdf(5, 22, .5) = 0.0085, cdf(6) = 0.026 > 0.025, so ranks 6 and 17
    assert (summary.low, summary.high) == (6.0, 17.0)
    assert intervals.summarize_median(np.r_[np.ones(3), [np.inf] * 9]).mean == np.inf


def _rows(values, metric="dsc", status="scored", patients=None):
    patients = patients or [f"p{i:02d}" for i in range(len(values))]
    return pd.DataFrame(
        {
            "experiment": "e",
            "test_dataset": "d",
            "prompter": "none",
            "source": "reference",
            "jitter": 0.0,
            "patient_id": patients,
            "case_id": patients,
            "lesion_id": "",
            "reader": "reference",
            "metric": metric,
            "value": values,
            "status": status,
        }
    )


def test_cohort_table_averages_within_patients_first_and_keeps_tumor_free_apart():
    values = [0.0, 1.0] + [0.5] * 11  # two cases of one patient, then eleven patients
    patients = ["a", "a", *[f"p{i}" for i in range(11)]]
    frame = [_rows(values, m, patients=patients) for m in ("dsc", "nsd_2mm", "nsd_3mm", "lesion_sensitivity", "hd95")]
    free = [_rows([np.nan], "dsc", "undefined", ["free"]), _rows([2.5], "false_positive_volume", patients=["free"])]
    row = intervals.cohort_table(pd.concat([*frame, *free])).iloc[0]
    assert row["dsc"] == 0.5
    assert row["n"] == 12
    assert row["n_tumor_free"] == 1
    assert row["false_positive_volume_tumor_free"] == 2.5


def test_difference_of_two_groups():
    rng = np.random.default_rng(0)
    summary = intervals.summarize_difference(rng.normal(0.8, 0.05, 40), rng.normal(0.6, 0.05, 40))
    assert summary.low < 0.2 < summary.high
    assert summary.high - summary.low < 0.08


# --- runs crossed with patients ---


def _table(patients=30, runs=5, seed=0, run_sd=0.03):
    rng = np.random.default_rng(seed)
    values = rng.beta(5, 2, (patients, 1)) + rng.normal(0, run_sd, (1, runs)) + rng.normal(0, 0.05, (patients, runs))
    return pd.DataFrame(values, index=[f"p{i:02d}" for i in range(patients)])


def test_these_trained_models_are_averaged_within_the_patient_before_patients_are_resampled():
    table = _table(runs=3)
    summary, plain = intervals.summarize_trained_models(table), intervals.summarize_mean(table.mean(axis=1).to_numpy())
    assert (summary.mean, summary.low, summary.high, summary.n) == (plain.mean, plain.low, plain.high, 30)
    assert summary.method == "these trained models (runs: 3): BCa bootstrap over patients, descriptive"


def test_random_effects_variance_by_hand():
    # patients' means 2, 3, 7: variance 7, over 3 patients 7/3; runs' means 3, 5: variance 2, over 2 runs 1
    # variance 10/3, degrees of freedom (10/3)^2 / ((7/3)^2 / 2 + 1^2 / 1) = 200/67
    variance, freedom = intervals.random_effects_variance(np.array([[1.0, 3.0], [2.0, 4.0], [6.0, 8.0]]))
    assert variance == pytest.approx(10 / 3)
    assert freedom == pytest.approx(200 / 67)
    # a second table: differences of patients' means -1, 1, 6: variance 13; its runs' means 2, 2, 2: variance 0
    second = np.array([[3.0, 3.0, 3.0], [2.0, 2.0, 2.0], [1.0, 1.0, 1.0]])
    variance, freedom = intervals.random_effects_variance(np.array([[1.0, 3.0], [2.0, 4.0], [6.0, 8.0]]), second)
    assert variance == pytest.approx(13 / 3 + 1)
    assert freedom == pytest.approx((16 / 3) ** 2 / ((13 / 3) ** 2 / 2 + 1))


def test_random_effects_parts_are_the_mean_squares_of_an_analysis_of_variance():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    table = _table(8, 4)
    long = table.rename_axis("patient").reset_index().melt("patient", var_name="run", value_name="y")
    squares = anova_lm(ols("y ~ C(patient) + C(run)", long).fit())
    patients, runs = (squares["mean_sq"][f"C({name})"] / table.size for name in ("patient", "run"))
    variance, freedom = intervals.random_effects_variance(table.to_numpy())
    assert variance == pytest.approx(patients + runs)
    assert freedom == pytest.approx((patients + runs) ** 2 / (patients**2 / 7 + runs**2 / 3))


def test_under_five_runs_the_method_has_a_t_interval():
    table = _table(runs=3)
    summary = intervals.summarize_method(table)
    variance, freedom = intervals.random_effects_variance(table.to_numpy())
    expected = scipy_stats.t.interval(0.95, freedom, table.to_numpy().mean(), np.sqrt(variance))
    assert (summary.low, summary.high) == pytest.approx(expected)
    assert summary.method == "the method (runs: 3): two-way random-effects t interval, descriptive"


def test_one_run_carries_no_claim_about_the_method():
    summary = intervals.summarize_method(_table(runs=1))
    assert np.isfinite(summary.mean)
    assert np.isnan([summary.low, summary.high]).all()
    assert "no claim, one run" in summary.method
    assert "no claim" in intervals.summarize_method_difference(_table(runs=5), _table(runs=1)).method


def test_crossed_bootstrap_has_the_variance_that_crossed_resampling_implies():
    table = _table(12, 5).to_numpy()
    rows, columns = table.mean(axis=1) - table.mean(), table.mean(axis=0) - table.mean()
    rest = table - table.mean() - rows[:, None] - columns
    # weights of rows and columns are independent, so each part brings its mean square over its number of units
    expected = (rows**2).mean() / 12 + (columns**2).mean() / 5 + (rest**2).mean() / 60
    means = intervals.crossed_bootstrap_means([table], 40_000, np.random.default_rng(0))
    assert means.mean() == pytest.approx(table.mean(), abs=0.001)
    assert means.var() == pytest.approx(expected, rel=0.03)


def test_crossed_bootstrap_by_weights_is_the_one_by_indices():
    table, rng = _table(15, 12).to_numpy(), np.random.default_rng(1)
    means = [table[np.ix_(rng.integers(0, 15, 15), rng.integers(0, 12, 12))].mean() for _ in range(5000)]
    summary = intervals.summarize_method(table)
    assert (summary.low, summary.high) == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=0.006)
    assert "crossed bootstrap of patients x runs" in summary.method


def test_many_tables_at_once_give_what_each_gives_alone():
    tables = np.stack([_table(seed=s).to_numpy() for s in range(3)])
    together = intervals.crossed_bootstrap_means([tables], 50, np.random.default_rng(0))
    alone = intervals.crossed_bootstrap_means([tables[1]], 50, np.random.default_rng(0))
    np.testing.assert_allclose(together[1], alone)
    np.testing.assert_allclose(intervals.random_effects_variance(tables)[1][2], intervals.random_effects_variance(tables[2])[1])


def test_interval_of_the_method_is_wider_where_runs_differ():
    table = _table(60, 5, run_sd=0.1)
    method, models = intervals.summarize_method(table), intervals.summarize_trained_models(table)
    assert method.high - method.low > 1.3 * (models.high - models.low)
    assert "inference" in method.method


@pytest.mark.parametrize("runs", [3, 6])
@pytest.mark.parametrize("matched", [True, False])
def test_difference_of_methods_changes_its_sign_with_the_sides(runs, matched):
    a, b = _table(runs=runs), _table(runs=runs, seed=1).sample(frac=1, random_state=0)
    there = intervals.summarize_method_difference(a, b, matched_runs=matched)
    back = intervals.summarize_method_difference(b, a, matched_runs=matched)
    assert there.mean == pytest.approx((a - b).to_numpy().mean())
    tolerance = 1e-9 if matched or runs < 5 else 0.01  # the runs of two independent sides are drawn one after the other
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low), abs=tolerance)


def test_shared_shifts_of_matched_runs_cancel_and_those_of_independent_runs_do_not():
    a = _table(40, 6, run_sd=0.1)
    b = a - 0.1
    matched, independent = (intervals.summarize_method_difference(a, b, matched_runs=m) for m in (True, False))
    assert (matched.low, matched.high) == pytest.approx((0.1, 0.1))
    assert independent.high - independent.low > 0.05
    with pytest.raises(InputError, match="the runs differ"):
        intervals.summarize_method_difference(a, b.iloc[:, :5], matched_runs=True)


def test_difference_of_trained_models_is_symmetric_and_blind_to_the_order_of_patients():
    a, b = _table(runs=3), _table(runs=2, seed=1)
    there, back = (intervals.summarize_trained_models_difference(x, y) for x, y in ((a, b), (b, a)))
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low), abs=1e-9)
    assert intervals.summarize_trained_models_difference(a, b[::-1]) == there
    shuffled = a.sample(frac=1, random_state=1)
    assert intervals.summarize_trained_models_difference(shuffled, b) == there
    assert intervals.summarize_method(shuffled) == intervals.summarize_method(a)
    assert comparisons.compare_paired("x", shuffled, b) == comparisons.compare_paired("x", a, b[::-1])


@pytest.mark.parametrize(
    "summary",
    [
        lambda: intervals.summarize_trained_models(_table(9, 3)),
        lambda: intervals.summarize_method(_table(9, 3)),
        lambda: intervals.summarize_method(_table(9, 8)),
        lambda: intervals.summarize_median(np.arange(9.0)),
    ],
)
def test_below_ten_patients_every_summary_is_a_point(summary):
    assert np.isnan([summary().low, summary().high]).all()
    assert "points only" in summary().method


def test_median_says_whether_it_only_describes():
    assert intervals.summarize_median(np.arange(49.0)).method == "order statistics, descriptive"
    assert intervals.summarize_median(np.arange(50.0)).method == "order statistics, inference"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.mask((t.index.values == "p03")[:, None] & (t.columns.values == 2)), "no value for patient p03, run 2"),
        (lambda t: t.mask(t > t.iloc[3, 2]), "more gaps"),
        (lambda t: pd.concat([t, t[:1]]), "patient p00 stands there twice"),
        (lambda t: pd.concat([t, t[[0]]], axis=1), "run 0 stands there twice"),
        (lambda t: t.replace(t.iloc[0, 0], np.inf), "infinite"),
        (lambda t: t[:0], "empty"),
    ],
)
def test_a_table_with_a_gap_or_a_double_is_refused(spoil, message):
    for summarize in (intervals.summarize_trained_models, intervals.summarize_method):
        with pytest.raises(InputError, match=message):
            summarize(spoil(_table(12, 3)))


def test_doubled_patients_in_a_pair_are_refused():
    a = pd.Series(np.linspace(0.5, 0.9, 12), index=[f"p{i}" for i in range(12)])
    doubled = a.rename({"p1": "p0"})
    with pytest.raises(InputError, match="patient p0 stands there twice"):
        intervals.summarize_paired_difference(doubled, doubled)


# --- tests, families, ranks, claims ---


def test_sign_flip_test_by_enumeration():
    # |sums| under + - of 1, 2, 3 with the first sign +: 6, 0, 2, 4; mirrored; so 6 is reached by 2 of 8
    assert comparisons.sign_flip_test(np.array([1.0, 2.0, 3.0])) == 2 / 8
    # observed sum 1 - 2 + 3 = 2: reached by 6, 4 and 2 of either sign, 6 of 8
    assert comparisons.sign_flip_test(np.array([1.0, -2.0, 3.0])) == 6 / 8
    assert comparisons.sign_flip_test(np.zeros(4)) == 1.0
    assert comparisons.sign_flip_test(np.array([0.1, 0.2, 0.3, -0.6])) == 1.0  # a sum of zero but for rounding


def test_exact_sign_flip_test_agrees_with_scipy():
    differences = np.random.default_rng(0).normal(0.3, 1, 12)
    oracle = scipy_stats.permutation_test(
        (differences, np.zeros(12)), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert comparisons.sign_flip_test(differences) == pytest.approx(oracle.pvalue, abs=1e-12)


def test_random_flips_approach_the_exact_p_and_never_reach_zero(monkeypatch):
    differences = np.random.default_rng(3).normal(0.4, 1, 18)
    exact = comparisons.sign_flip_test(differences)
    monkeypatch.setattr(comparisons, "MAX_PATIENTS_FOR_EXACT_TEST", 10)
    random = comparisons.sign_flip_test(differences, seed=1)
    assert random == pytest.approx(exact, abs=4 * np.sqrt(exact / 100_000))
    assert random == comparisons.sign_flip_test(differences, seed=1)
    assert comparisons.sign_flip_test(np.full(60, 0.1), flips=999) == 1 / 1000


def test_sign_flip_test_is_blind_to_side_and_order():
    differences = np.random.default_rng(4).normal(0.1, 0.2, 15)
    p = comparisons.sign_flip_test(differences)
    assert comparisons.sign_flip_test(-differences) == p
    assert comparisons.sign_flip_test(differences[::-1]) == p
    assert comparisons.sign_flip_test(differences * 10) == p


def test_sign_flip_test_keeps_its_level():
    rng = np.random.default_rng(5)
    p = [comparisons.sign_flip_test(d, flips=499) for d in rng.beta(5, 2, (2000, 30)) - rng.beta(5, 2, (2000, 30))]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 2000))


@pytest.mark.parametrize("values", [[0.1, np.nan], [0.1, np.inf], [], [[0.1, 0.2]]])
def test_sign_flip_test_refuses_what_it_cannot_use(values):
    with pytest.raises(InputError, match="differences"):
        comparisons.sign_flip_test(np.array(values))


def test_holm_by_hand():
    # sorted .01 .02 .04 times 3 2 1: .03 .04 .04
    assert comparisons.holm({"b": 0.04, "a": 0.01, "c": 0.02}) == pytest.approx({"b": 0.04, "a": 0.03, "c": 0.04})
    assert comparisons.holm({"a": 0.03, "b": 0.02}) == pytest.approx({"a": 0.04, "b": 0.04})  # never falls with rank
    assert comparisons.holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert comparisons.holm({}) == {}
    with pytest.raises(InputError, match="outside 0 to 1"):
        comparisons.holm({"a": 1.2})


def test_a_planned_contrast_without_a_p_still_counts_in_its_family():
    adjusted = comparisons.holm({"a": 0.01, "not run": np.nan, "c": 0.02})
    assert adjusted["a"] == pytest.approx(0.03)
    assert adjusted["c"] == pytest.approx(0.04)
    assert np.isnan(adjusted["not run"])


def test_contrasts_and_their_family():
    a, b = _table(60, 3)[1], _table(60, 3)[0]
    better = comparisons.compare_paired("better", a + 0.05, b)
    other = comparisons.compare_paired("other", a, b)
    few = comparisons.compare_paired("few", a[:9], b[:9])
    assert better.p == comparisons.sign_flip_test((a + 0.05 - b).to_numpy())
    assert better.difference == pytest.approx((a + 0.05 - b).mean())
    assert better.low < better.difference < better.high
    assert "these trained models" in better.method
    assert "100,000 random flips" in better.method
    assert np.isnan([few.p, few.low, few.high]).all()
    first, second, third = comparisons.adjust_family([better, other, few])
    assert first.p_holm == pytest.approx(3 * better.p)
    assert second.p_holm >= other.p
    assert np.isnan(third.p_holm)
    assert "Holm within 3 contrasts" in first.method
    with pytest.raises(InputError, match="twice"):
        comparisons.adjust_family([better, better])


def test_a_contrast_changes_its_sign_with_the_sides_and_takes_tables():
    a, b = _table(15, 3), _table(15, 2, seed=1)
    there, back = comparisons.compare_paired("x", a, b), comparisons.compare_paired("x", b[::-1], a)
    assert there.p == back.p
    assert there.difference == pytest.approx(-back.difference)
    assert "exact" in there.method
    with pytest.raises(InputError, match="patients differ"):
        comparisons.compare_paired("x", a, b[1:])
    with pytest.raises(InputError, match="no value for patient"):
        comparisons.compare_paired("x", a, b.mask(b > 0.9))


def test_wilcoxon_by_hand_and_with_infinite_values():
    index = [f"p{i}" for i in range(5)]
    # all five differences positive: 2 of 2^5 patterns are as extreme
    assert comparisons.wilcoxon_test(pd.Series([1.0, 2, 3, 4, 5], index), pd.Series(0.0, index)) == pytest.approx(2 / 32)
    a, b = pd.Series([1.0, np.inf, 3.0, np.inf, 9.0], index), pd.Series([np.inf, np.inf, 2.0, 5.0, 1.0], index)
    assert comparisons.wilcoxon_test(a, b) == comparisons.wilcoxon_test(b, a[::-1])
    assert comparisons.wilcoxon_test(a, a) == 1.0
    with pytest.raises(InputError, match="undefined"):
        comparisons.wilcoxon_test(a.replace(1.0, np.nan), b)


def test_shortest_rank_range_by_hand():
    assert comparisons.shortest_rank_range(np.array([0.96, 0.04, 0.0])) == (1, 1)
    assert comparisons.shortest_rank_range(np.array([0.02, 0.50, 0.46, 0.02])) == (2, 3)
    assert comparisons.shortest_rank_range(np.array([0.5, 0.45, 0.05])) == (1, 2)
    assert comparisons.shortest_rank_range(np.array([0.3, 0.3, 0.4])) == (1, 3)


def test_rank_frequencies_by_hand_ties_share_evenly():
    values = np.array([[0.0, 1.0, 2.0], [5.0, 5.0, 1.0]])  # ranks 1 2 3, then (2 or 3) (2 or 3) 1
    assert comparisons.rank_frequencies(values).tolist() == [[0.5, 0.25, 0.25], [0.0, 0.75, 0.25], [0.5, 0.0, 0.5]]
    infinite = np.array([[np.inf, 1.0, np.inf]])
    assert comparisons.rank_frequencies(infinite).tolist() == [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]


@pytest.mark.parametrize("decimals", [0, 1, 9], ids=["many ties", "some ties", "no ties"])
def test_rank_frequencies_are_those_of_each_resample_counted_alone(decimals):
    values = np.random.default_rng(0).normal(size=(200, 7)).round(decimals)
    expected = np.zeros((7, 7))
    for row in values:
        for method, value in enumerate(row):
            better, equal = int((row < value).sum()), int((row == value).sum())
            expected[method, better : better + equal] += 1 / equal / len(values)
    np.testing.assert_allclose(comparisons.rank_frequencies(values), expected, atol=1e-12)


def test_rank_sets_of_clear_equal_and_uncertain_methods():
    # a is 1 in one of ten patients, else 0, against 0.05 everywhere: it is better in a resample that holds that patient
    table = pd.DataFrame({"a": [1.0] + [0.0] * 9, "b": 0.05, "twin": 0.05, "worst": -1.0})
    ranks = comparisons.rank_sets(table, higher_is_better=True, seed=1)
    assert ranks.loc["a", "p_best"] == pytest.approx(1 - 0.9**10, abs=0.02)
    assert ranks.loc["b", "p_best"] == ranks.loc["twin", "p_best"] == pytest.approx(0.9**10 / 2, abs=0.01)
    assert ranks["rank"].tolist() == [1, 2, 2, 4]
    assert ranks.loc["worst", ["rank_low", "rank_high"]].tolist() == [4, 4]
    assert ranks.loc["a", ["rank_low", "rank_high"]].tolist() == [1, 3]
    assert "descriptive" in ranks.loc["a", "method"]
    assert comparisons.rank_sets(-table, higher_is_better=False, seed=1)["p_best"].tolist() == ranks["p_best"].tolist()


def test_rank_sets_by_median_take_infinite_values():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"good": rng.gamma(2, 2, 60), "bad": np.r_[np.full(40, np.inf), rng.gamma(2, 2, 20)]})
    ranks = comparisons.rank_sets(table, higher_is_better=False, statistic="median", resamples=500)
    assert ranks["rank"].tolist() == [1, 2]
    assert ranks.loc["good", ["rank_low", "rank_high", "p_best"]].tolist() == [1, 1, 1]
    assert "inference" in ranks.loc["good", "method"]
    with pytest.raises(InputError, match="infinite"):
        comparisons.rank_sets(table, higher_is_better=False)
    with pytest.raises(InputError, match="no value for patient 3, method bad"):
        comparisons.rank_sets(table.mask(table.index.values[:, None] == [-1, 3]), False, "median")
    few = comparisons.rank_sets(table[:9], False, "median")
    assert few[["rank_low", "p_best"]].isna().all(axis=None)


def test_kendall_tau_by_hand():
    a = pd.Series([1, 2, 3, 4], list("abcd"))
    assert comparisons.kendall_tau(a, a[::-1]) == pytest.approx(1)
    assert comparisons.kendall_tau(a, 5 - a) == pytest.approx(-1)
    assert comparisons.kendall_tau(a, pd.Series([2, 1, 3, 4], list("abcd"))) == pytest.approx((5 - 1) / 6)
    with pytest.raises(InputError, match="methods differ"):
        comparisons.kendall_tau(a, a[1:])


@pytest.mark.parametrize("n", [10, 24, 60, 400])
def test_minimum_detectable_difference_has_the_power_by_the_noncentral_t(n):
    difference = comparisons.minimum_detectable_difference(0.2, n)
    critical, shift = scipy_stats.t.ppf(0.975, n - 1), difference / 0.2 * np.sqrt(n)
    power = scipy_stats.nct.sf(critical, n - 1, shift) + scipy_stats.nct.cdf(-critical, n - 1, shift)
    assert power == pytest.approx(0.8, abs=1e-4)


def test_minimum_detectable_difference_for_many_patients_none_and_no_spread():
    assert comparisons.minimum_detectable_difference(1.0, 100_000) == pytest.approx((1.959964 + 0.841621) / np.sqrt(1e5), rel=1e-3)
    assert np.isnan(comparisons.minimum_detectable_difference(0.2, 9))
    assert comparisons.minimum_detectable_difference(0.0, 60) == 0.0
    with pytest.raises(InputError, match="standard deviation"):
        comparisons.minimum_detectable_difference(np.nan, 60)


@pytest.mark.parametrize(
    ("difference", "p_holm", "n", "said"),
    [
        (0.1, 0.049, 60, comparisons.HIGHER),
        (-0.1, 0.01, 50, comparisons.LOWER),
        (0.1, 0.05, 60, comparisons.NOT_SHOWN),
        (0.1, 0.01, 49, f"{comparisons.HIGHER} (no claim: 49 patients)"),
        (0.1, np.nan, 60, ""),
    ],
)
def test_the_test_alone_decides_what_is_said(difference, p_holm, n, said):
    assert comparisons.verdict(difference, p_holm, n) == said


def test_intervals_that_say_otherwise_are_found_and_an_end_at_zero_holds_it():
    assert comparisons.disagrees(0.001, 0.1, 0.06)
    assert comparisons.disagrees(-0.001, 0.1, 0.04)
    assert not comparisons.disagrees(0.001, 0.1, 0.04)
    assert not comparisons.disagrees(0.0, 0.1, 0.06)
    assert not comparisons.disagrees(-0.1, -0.001, 0.04)
    assert not comparisons.disagrees(np.nan, np.nan, np.nan)
    skewed = np.array([0.0] * 15 + [0.1, 0.2, 0.3, 0.4, 0.5])  # of 2^5 sign patterns two are as extreme: p = 1/16
    contrast = comparisons.compare_paired("skewed", pd.Series(skewed), pd.Series(np.zeros(20)))
    assert contrast.p == pytest.approx(1 / 16)
    assert comparisons.disagrees(contrast.low, contrast.high, contrast.p)
    assert comparisons.verdict(contrast.difference, contrast.p, 60) == comparisons.NOT_SHOWN


def test_within_human_variability_needs_the_bound_the_patients_and_the_other_metric():
    readers = _table(60, 1)[0]
    near = comparisons.compare_with_readers(readers - 0.01 + np.random.default_rng(0).normal(0, 0.05, 60), readers)
    far = comparisons.compare_with_readers(readers - 0.045 + np.random.default_rng(0).normal(0, 0.05, 60), readers)
    few = comparisons.compare_with_readers(readers[:20] + 0.1, readers[:20])
    assert near.within
    assert near.bound > -0.05
    assert far.difference > -0.05  # the estimate is inside the margin, its bound is not
    assert not far.within
    assert not few.within
    assert "descriptive" in few.method
    better, as_good = (intervals.Summary(0.02, low, 0.04, 60, "") for low in (0.001, 0.0))
    both = {"dsc": better, "nsd": better}
    assert comparisons.within_human_variability({"dsc": near, "nsd": near}, both)
    assert not comparisons.within_human_variability({"dsc": near, "nsd": far}, both)
    assert not comparisons.within_human_variability({"dsc": near, "nsd": near}, both | {"nsd": as_good})
    assert not comparisons.within_human_variability({"dsc": near, "nsd": near}, {})  # nothing to be held against
    with pytest.raises(InputError, match="same patients"):
        comparisons.within_human_variability({"dsc": near, "nsd": few}, both)


def test_bound_against_readers_is_the_lower_end_of_the_two_sided_interval():
    model, readers = _table(60, 1)[0], _table(60, 1, seed=1)[0]
    oracle = scipy_stats.bootstrap(
        ((model - readers).to_numpy(),), np.mean, alternative="greater", confidence_level=0.975, rng=np.random.default_rng(0)
    ).confidence_interval
    assert comparisons.compare_with_readers(model, readers).bound == pytest.approx(oracle.low, abs=0.002)
