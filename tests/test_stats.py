"""Intervals and their limits."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from lungseg_utils import stats


def test_fewer_than_ten_patients_give_a_point_only():
    summary = stats.summarize_mean(np.linspace(0.1, 0.9, 9))
    assert summary.mean == pytest.approx(0.5)
    assert np.isnan(summary.low)
    assert "points only" in summary.method


def test_bca_interval_covers_the_mean_and_says_whether_it_only_describes():
    values = np.random.default_rng(0).beta(5, 2, 40)
    summary = stats.summarize_mean(values)
    assert summary.low < values.mean() < summary.high
    assert "descriptive" in summary.method
    assert "inference" in stats.summarize_mean(np.random.default_rng(0).beta(5, 2, 60)).method


def test_bca_is_near_the_t_interval_for_well_behaved_data():
    values = np.random.default_rng(1).normal(0.5, 0.1, 200)
    low, high = scipy_stats.t.interval(0.95, 199, values.mean(), scipy_stats.sem(values))
    summary = stats.summarize_mean(values)
    assert (summary.low, summary.high) == pytest.approx((low, high), abs=0.002)


@pytest.mark.slow
def test_coverage_of_the_mean_at_50_bounded_zero_inflated_values():
    rng, hits, repetitions = np.random.default_rng(2), 0, 400
    truth = 0.9 * 5 / 7
    for number in range(repetitions):
        values = rng.beta(5, 2, 50) * (rng.random(50) < 0.9)
        summary = stats.summarize_mean(values, seed=number)
        hits += summary.low <= truth <= summary.high
    assert 0.90 <= hits / repetitions <= 0.98


def test_undefined_values_are_refused_not_skipped():
    with pytest.raises(ValueError, match="undefined"):
        stats.summarize_mean(np.array([0.5, np.nan] * 10))


def test_paired_differences_need_the_same_patients():
    a = pd.Series(np.linspace(0.5, 0.9, 12), index=[f"p{i}" for i in range(12)])
    shuffled = (a - 0.1).sample(frac=1, random_state=0)
    summary = stats.summarize_paired_difference(a, shuffled)
    assert summary.mean == pytest.approx(0.1)
    with pytest.raises(ValueError, match="patients differ"):
        stats.summarize_paired_difference(a, a[:-1])


def test_median_with_infinite_values_uses_order_statistics():
    values = np.r_[np.arange(1.0, 21.0), [np.inf] * 2]
    summary = stats.summarize_median(values)
    assert summary.mean == pytest.approx(11.5)
    # n = 22: binom.cdf(5, 22, .5) = 0.0085, cdf(6) = 0.026 > 0.025, so ranks 6 and 17
    assert (summary.low, summary.high) == (6.0, 17.0)
    assert stats.summarize_median(np.r_[np.ones(3), [np.inf] * 9]).mean == np.inf


def _rows(values, metric="dsc", status="scored", patients=None):
    patients = patients or [f"p{i:02d}" for i in range(len(values))]
    return pd.DataFrame(
        {
            "experiment": "e",
            "test_dataset": "d",
            "prompter": "none",
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
    row = stats.cohort_table(pd.concat([*frame, *free])).iloc[0]
    assert row["dsc"] == 0.5
    assert row["n"] == 12
    assert row["n_tumor_free"] == 1
    assert row["false_positive_ml_tumor_free"] == 2.5


def test_difference_of_two_groups():
    rng = np.random.default_rng(0)
    summary = stats.summarize_difference(rng.normal(0.8, 0.05, 40), rng.normal(0.6, 0.05, 40))
    assert summary.low < 0.2 < summary.high
    assert summary.high - summary.low < 0.08
