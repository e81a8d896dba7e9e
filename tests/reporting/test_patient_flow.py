"""The flow of patients, counted by hand on two experiments of three data sets."""

from types import SimpleNamespace

import pandas as pd
import pytest

from lungseg_utils.experiments import planning
from lungseg_utils.reporting import patient_flow

HOME, ABROAD, REAL = "phantom_nsclc", "phantom_msd", "lidc_idri"
SPLIT = pd.DataFrame({"patient_id": ["A", "B", "C", "D", "E", "F"], "tumor_free": [0, 0, 0, 0, 1, 0]})


def _case(dataset, patient, failure=""):
    return {"test_dataset": dataset, "case_id": patient, "failure": failure}


@pytest.fixture
def finished(monkeypatch):
    """The U-Net learns from A, B and is tested on D, E and on X, Y; the ellipse learns from nobody and fails once."""
    monkeypatch.setattr(patient_flow.splits, "has_split", lambda name: name == HOME)
    monkeypatch.setattr(patient_flow.splits, "read_splits", lambda name: SPLIT)
    unet = {
        "patients": {"train": ["A", "B"], "validation": ["C"], HOME: ["D", "E"], ABROAD: ["X", "Y"]},
        "cases": [_case(HOME, "D"), _case(HOME, "E"), _case(ABROAD, "X"), _case(ABROAD, "Y")],
        "training_failure": "",
    }
    ellipse = {
        "patients": {"train": [], "validation": [], HOME: ["D", "E"], REAL: ["L"]},
        "cases": [_case(HOME, "D"), _case(HOME, "E", "MemoryError"), _case(REAL, "L")],
        "training_failure": "diverged",
    }
    experiments = [planning.make_experiment(name, "phantoms") for name in ("unet_full", "baselines_zero_shot")]
    return [SimpleNamespace(experiment=e, provenance=p) for e, p in zip(experiments, (unet, ellipse), strict=True)]


def test_patients_are_counted_once_over_all_experiments(finished):
    flow = patient_flow.count_patients(finished, [HOME, ABROAD])
    assert flow[HOME].to_dict() == {
        "named in the split": 6,
        "not used by this profile": 1,  # F
        "excluded": 0,
        "used": 5,
        "training": 2,
        "validation": 1,
        "test, with tumor": 1,
        "test, tumor-free": 1,
        "trained on and tested by one experiment": 0,
        "predictions": 4,
        "failed": 1,
    }
    assert flow.loc[["named in the split", "used", "test, with tumor"], ABROAD].tolist() == [2, 2, 2]  # without a split: who was tested


def test_an_exclusion_of_the_plan_is_counted_at_its_data_set(finished):
    flow = patient_flow.count_patients(finished, [HOME, ABROAD], [f"{HOME}, F: cannot be read"])
    assert flow.loc[["excluded", "not used by this profile"]].to_numpy().tolist() == [[1, 0], [0, 0]]


def test_a_patient_that_one_experiment_learned_from_and_was_tested_on_is_seen(finished):
    finished[0].provenance["patients"][HOME].append("B")
    assert patient_flow.count_patients(finished, [HOME]).loc["trained on and tested by one experiment", HOME] == 1
    finished[0].provenance["patients"][HOME].remove("B")
    finished[1].provenance["patients"][HOME].append("B")  # another experiment tests B: as in a cross-validation
    assert patient_flow.count_patients(finished, [HOME]).loc["trained on and tested by one experiment", HOME] == 0


def test_the_text_counts_predictions_of_real_cases_too(finished):
    flow = patient_flow.count_patients(finished, [HOME, ABROAD])
    assert patient_flow.flow_values(flow, finished, n_excluded=3) == {
        "flow_drawn": 7,
        "flow_trained": 3,
        "flow_tested": 4,
        "flow_both": 0,
        "flow_excluded": 3,
        "flow_predictions": 7,
        "flow_failed": 1,
        "flow_experiments": 2,
    }


def test_each_experiment_has_a_row_with_its_failures(finished):
    table = patient_flow.printable_experiments(finished)
    assert table["experiment"].tolist() == ["U-Net, full training", "trivial: ellipse or ball"]
    assert table[["trained on", "validated on", "predictions", "failed"]].to_numpy().tolist() == [[2, 1, 4, 0], [0, 0, 3, 1]]
    assert table["training failed"].tolist() == ["no", "yes"]


def test_the_drawing_says_every_number(finished):
    axes = patient_flow.flow_figure(patient_flow.count_patients(finished, [HOME, ABROAD])).axes[0]
    said = [text.get_text() for text in axes.texts]
    assert "phantoms, NSCLC-like\nnamed in the split: 6" in said
    assert "used: 5\n(not used: 1, excluded: 0)" in said
    assert "test\nwith tumor\n1" in said
    assert "predictions: 4, failed: 1" in said
    assert said.count("") == 2 * 7  # arrows: to the used, to four parts, and from two of them


def test_real_cases_have_a_row_for_each_data_set_that_is_here(finished, monkeypatch):
    cases = [SimpleNamespace(reference_paths=("a",)), SimpleNamespace(reference_paths=())]
    monkeypatch.setattr(patient_flow.grid, "real_datasets", lambda profile: [REAL])
    monkeypatch.setattr(patient_flow.cohorts, "dataset_root", lambda name, chosen: None)
    monkeypatch.setattr(patient_flow.registry, "dataset", lambda name: SimpleNamespace(cases=lambda root: cases))
    listed = pd.DataFrame({"dataset": [REAL], "case_id": ["L2"], "reason": ["no reference"]})
    monkeypatch.setattr(patient_flow.exclusions, "read", lambda datasets: listed)
    row = patient_flow.real_cases("phantoms", finished).iloc[0].to_dict()
    assert row == {
        "data set": "LIDC-IDRI (real)",
        "cases found": 2,
        "without a reference": 1,
        "patients tested": 1,
        "excluded by the plan": 0,
        "cannot be used": 1,
        "predictions": 1,
        "failed": 0,
    }


def test_without_real_data_the_table_of_real_cases_is_empty(finished, monkeypatch):
    monkeypatch.setattr(patient_flow.grid, "real_datasets", lambda profile: [])
    assert patient_flow.real_cases("phantoms", finished).empty


def test_the_answer_and_the_text_of_the_figure_hold_the_counts(finished):
    flow = patient_flow.count_patients(finished, [HOME, ABROAD])
    assert patient_flow.answer(flow, finished, 3, "phantoms") == (
        "7 phantoms were used: 3 for training and validation, 4 for testing, and 0 for both in one experiment. 3 cases were excluded. "
        "2 experiments made 7 predictions, whole CTs of patients included; 1 failed."
    )
    assert "training 2, validation 1" in patient_flow.in_words(flow)


def test_an_empty_table_is_a_sentence():
    assert patient_flow.or_none(pd.DataFrame(), "no case").data == "There is no case."
    assert "<td" in patient_flow.or_none(pd.DataFrame({"case": ["a"]}), "no case").to_html()
