"""The page on the phantoms' realism: its counts and the order of its pictures."""

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.phantoms.calibration.gates import GATES
from lungseg_utils.reporting import data_calibration


@pytest.fixture
def page():
    """Two cohorts of two and one phantoms in the middle of every gate, but for the second cohort's first gate."""
    middle = {name: (gate.low + gate.high) / 2 for name, gate in GATES.items()}
    first = next(iter(GATES))
    nsclc, msd = pd.DataFrame([middle, middle]), pd.DataFrame([middle | {first: GATES[first].high + 1000}])
    shown = {"phantom_nsclc": dict.fromkeys("abcd"), "phantom_msd": dict.fromkeys("ef")}
    return data_calibration.CalibrationPage({"phantom_nsclc": nsclc, "phantom_msd": msd}, {}, shown, {"R": None})


def test_gates_are_counted_by_cohort(page):
    gates = page.gates()
    assert set(gates["cohort"]) == {"phantom_nsclc", "phantom_msd"}
    n = len(GATES)
    assert data_calibration.page_values(page.measured, gates, 1, float("nan")) == {
        "auc": "not measured (too few real CTs here)",
        "gates_nsclc": n,
        "gates_msd": n - 1,
        "gates_all": n,
        "gates_passed": 2 * n - 1,
        "gates_total": 2 * n,
        "real_cases": 1,
        "measured_nsclc": 2,
        "measured_msd": 1,
    }
    assert data_calibration.page_values(page.measured, gates, 4, 0.876)["auc"] == "0.88"
    assert "gate" not in data_calibration.printable_gates(gates)


def test_three_phantoms_of_each_cohort_stand_before_the_real_cts(page):
    assert list(page.pictures()) == ["a", "b", "c", "e", "f", "R"]


def test_without_a_real_ct_the_table_of_its_measurements_is_empty():
    assert data_calibration.printable_real({}).empty


def test_only_phantoms_that_a_profile_trains_on_are_drawn(monkeypatch):
    names = [f"P{n:02d}" for n in range(14)]
    monkeypatch.setattr(data_calibration.cohorts, "training_patients", lambda *_: (names[7:], names[:7]))
    monkeypatch.setattr(data_calibration.cohorts, "ensure_phantoms", lambda name, chosen, patients: patients)
    monkeypatch.setattr(data_calibration, "studies_with_tumor", lambda module, root, patients, count: dict.fromkeys(root[:count]))
    monkeypatch.setattr(data_calibration.realism, "real_studies", lambda roots, public: {})
    page = data_calibration.open_page("phantoms", public=True)
    assert page.patients["phantom_msd"] == names[:10]
    assert list(page.shown["phantom_nsclc"]) == names[:8]


def test_the_figure_of_trivial_answers_takes_tumor_free_patients_and_two_cohorts():
    cohort = pd.DataFrame({"ellipse_per_slice_dsc": [0.8, np.nan, 0.9], "recist_ball_dsc": [0.5, np.nan, 0.6]}, index=list("abc"))
    axis = data_calibration.trivial_scores({"one": cohort, "two": cohort}).axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["ellipse per slice", "recist ball"]
