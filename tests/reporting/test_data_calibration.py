"""The page on the phantoms' realism: its counts and the order of its pictures."""

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.experiments import phantom_calibration
from lungseg_utils.phantoms.calibration.gates import GATES
from lungseg_utils.phantoms.calibration.properties import PUBLISHED_QUANTILES
from lungseg_utils.reporting import data_calibration


@pytest.fixture
def page():
    """Two cohorts of two and one phantoms in the middle of every gate, but for the second cohort's first gate."""
    middle = {name: (gate.low + gate.high) / 2 for name, gate in GATES.items()}
    first = next(iter(GATES))
    middle |= {name: quantiles[2] for name, quantiles in PUBLISHED_QUANTILES.items()}
    nsclc, msd = pd.DataFrame([middle, middle]).assign(sphericity=[0.7, 0.74]), pd.DataFrame([middle | {first: GATES[first].high + 1000}])
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
        "gates_answer": f"{2 * n - 1} of {2 * n} gates are met; sphericity, which has none, fails (0.72 against 0.59)",
        "gates_all": n,
        "gates_passed": 2 * n - 1,
        "gates_total": 2 * n,
        "real_cases": 1,
        "measured_nsclc": 2,
        "measured_msd": 1,
    }
    assert data_calibration.page_values(page.measured, gates, 4, 0.876)["auc"] == "0.88"


def test_what_no_gate_holds_to_account_is_held_against_the_middle_half_of_the_patients(page):
    found = data_calibration.ungated(page.measured).set_index("property")
    assert set(found.index) == {data_calibration.AXIS_TITLES[name] for name in PUBLISHED_QUANTILES}
    assert not found.loc["sphericity", "met"]
    assert found["met"].sum() == len(PUBLISHED_QUANTILES) - 1
    assert (found.loc["sphericity", "low"], found.loc["sphericity", "high"]) == (0.53, 0.65)
    edge = {"phantom_nsclc": page.measured["phantom_nsclc"].assign(sphericity=0.65)}
    assert data_calibration.ungated(edge)["met"].all()


def test_the_stored_phantoms_meet_their_gates_and_are_too_smooth():
    measured = {name: phantom_calibration.read(name) for name in phantom_calibration.SETTINGS}
    gates = data_calibration.CalibrationPage(measured, {}, {}, {}).gates()
    assert gates["met"].all()
    failed = data_calibration.ungated(measured).query("not met")
    assert failed["property"].tolist() == ["sphericity"]
    assert failed["median"].iloc[0] == pytest.approx(0.72, abs=0.005)


def test_three_phantoms_of_each_cohort_stand_before_the_real_cts(page):
    assert list(page.pictures()) == ["a", "b", "c", "e", "f", "R"]


def test_without_a_real_ct_the_table_of_its_measurements_is_empty():
    assert data_calibration.printable_real({}).empty
    assert data_calibration.real_or_none({}).shape == (1, 1)


def test_a_gate_that_is_not_met_is_said_in_the_table(page):
    table = data_calibration.printable_gates(page.gates())
    assert "gate" not in table
    assert table.groupby("cohort")["met"].apply(lambda met: (met == "no").sum()).to_dict() == {"MSD-like": 1, "NSCLC-like": 0}
    assert data_calibration.printable_ungated(page.measured).set_index("property").loc["sphericity", "met"] == "no"


def test_the_table_of_data_sets_says_what_a_profile_uses_each_for(monkeypatch):
    monkeypatch.setattr(data_calibration.grid, "real_datasets", lambda profile: ["lung_4d"])
    table = data_calibration.data_sets("patients").set_index("data set")
    assert table.index[0] == "LIDC nodules"
    used = table["in this edition"]
    assert used["LIDC nodules"] == "trained on, tested"
    assert used["4D-Lung"] == "case by case"
    assert used["NSCLC-Radiomics"] == "case by case, files missing"
    assert used["MSD Task06 Lung"] == "–"
    assert table.loc["NSCLC-Radiomics", ["license", "in public editions"]].tolist() == ["CC BY-NC 3.0", "no"]
    assert not table.index.str.contains("thin|thick").any()  # parts of a data set


def test_the_answer_counts_patients_by_part_and_names_the_whole_cts_that_are_here(page, monkeypatch):
    monkeypatch.setattr(data_calibration.grid, "real_datasets", lambda profile: [])
    said = data_calibration.answer("patients", page)
    assert "patients of LIDC nodules (163 for training, 41 for validation, 60 for testing)" in said
    assert "not part of it" in said
    monkeypatch.setattr(data_calibration.grid, "real_datasets", lambda profile: ["lidc_idri"])
    said = data_calibration.answer("phantoms", page)
    assert "NSCLC-like phantoms (40 for training, 10 for validation, 30 for testing)" in said  # 6 of them without a tumor
    assert "MSD-like phantoms (30 for testing)" in said
    assert "LIDC-IDRI, one by one" in said


def test_a_public_edition_shows_no_voxel_that_may_not_be_redistributed():
    assert data_calibration.trained_on("patients", public=True) == {}


def test_the_first_figure_has_one_row(page, monkeypatch):
    monkeypatch.setattr(data_calibration, "trained_on", lambda profile, public: {"a\n1": None, "b\n2": None})
    titles = list(data_calibration.first_pictures(page, "patients", False))
    assert titles == ["a\n1", "b\n2", "R", "NSCLC-like\nphantom 1", "MSD-like\nphantom 1"]


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
