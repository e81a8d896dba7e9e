"""Tables: what is written is read back exactly, and every fault is named."""

import subprocess

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.core import provenance
from lungseg_utils.core.files import write
from lungseg_utils.evaluation import metrics, tables
from lungseg_utils.types import InputError

SHARED = {
    "experiment": "e",
    "test_dataset": "d",
    "prompter": "none",
    "source": "reference",
    "jitter": 0.0,
    "patient_id": "p",
    "case_id": "c",
}


def _frame(**changes):
    values = dict.fromkeys(metrics.UNITS, 0.1 + 0.2) | {"hd95": np.inf, "lesion_precision": np.nan} | changes
    return tables.results_frame(tables.result_rows(SHARED, "reference", values, {1: dict.fromkeys(metrics.LESION_UNITS, 1.0)}, False))


def test_round_trip_is_exact_with_infinite_and_undefined_values(tmp_path):
    frame = _frame()
    write(frame, tmp_path / "results.csv")
    again = tables.read_results(tmp_path / "results.csv")
    assert again.equals(frame)
    assert again.set_index("metric").loc["hd95", "value"] == np.inf
    assert again.set_index("metric").loc["lesion_precision", "status"] == "undefined"


def test_a_patient_called_nan_or_007_keeps_its_name(tmp_path):
    frame = _frame()
    frame["patient_id"], frame["case_id"] = "007", "NA"
    write(frame, tmp_path / "results.csv")
    again = tables.read_results(tmp_path / "results.csv")
    assert set(again["patient_id"]) == {"007"}
    assert set(again["case_id"]) == {"NA"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.assign(metric="dice"), "unknown metrics"),
        (lambda f: f.assign(unit="m"), "unit does not belong"),
        (lambda f: f.assign(status="fine"), "unknown statuses"),
        (lambda f: f.assign(status="scored"), "without being undefined"),
        (lambda f: f.iloc[[0, 0, *range(1, len(f))]], "doubled row"),
        (lambda f: f.drop(columns="unit"), "columns"),
    ],
)
def test_each_fault_is_named_with_its_file(tmp_path, spoil, message):
    write(spoil(_frame()), tmp_path / "results.csv")
    with pytest.raises(InputError, match=message) as caught:
        tables.read_results(tmp_path / "results.csv")
    assert "results.csv" in str(caught.value)


def test_a_missing_short_or_unplanned_case_is_an_error():
    planned = [{k: SHARED[k] for k in ("experiment", "test_dataset", "prompter", "source", "jitter", "case_id")}]
    frame = _frame()
    assert tables.require_complete(frame, planned) is frame
    with pytest.raises(InputError, match="no rows for 1"):
        tables.require_complete(frame, [*planned, planned[0] | {"case_id": "other"}])
    with pytest.raises(InputError, match="too few metrics"):
        tables.require_complete(frame[frame["metric"] != "dsc"], planned)
    with pytest.raises(InputError, match="unplanned"):
        tables.require_complete(frame, [])


def test_hash_of_files_sees_names_and_contents(tmp_path):
    for name, text in (("a", "1"), ("b", "2")):
        (tmp_path / name).write_text(text)
    files = [tmp_path / "a", tmp_path / "b"]
    before = provenance.sha256_of_files(files, tmp_path)
    assert before == provenance.sha256_of_files(files[::-1], tmp_path)
    (tmp_path / "b").write_text("3")
    assert before != provenance.sha256_of_files(files, tmp_path)


def test_draws_are_averaged_and_what_is_undefined_or_failed_in_one_stays_so():
    def row(value, status="scored", metric="dsc"):
        return {"case_id": "a", "metric": metric, "value": value, "status": status}

    draws = [
        [row(0.5), row(1.0, metric="hd95"), row(np.nan, "undefined", "lesion_precision")],
        [row(0.0, "failed"), row(np.inf, "failed", "hd95"), row(1.0, "scored", "lesion_precision")],
    ]
    dice, distance, precision = tables.mean_rows(draws)
    assert (dice["value"], dice["status"]) == (0.25, "failed")
    assert (distance["value"], distance["status"]) == (np.inf, "failed")
    assert np.isnan(precision["value"])
    assert precision["status"] == "undefined"
    assert tables.mean_rows(draws[:1]) == draws[0]


def test_the_best_draw_is_a_value_of_its_own_for_each_reader_and_only_of_whole_cases():
    def draw(value, other):
        shared = {"case_id": "a", "metric": "dsc", "lesion_id": "", "status": "scored"}
        return [
            {**shared, "reader": "1", "value": value},
            {**shared, "reader": "2", "value": other},
            {**shared, "reader": "1", "value": 0.99, "metric": "iou"},
            {**shared, "reader": "1", "value": 0.99, "lesion_id": "1", "metric": "lesion_dsc"},
        ]

    best = tables.best_rows([draw(0.5, 0.2), draw(0.7, 0.1)])
    assert [(row["reader"], row["metric"], row["value"]) for row in best] == [
        ("1", "dsc_best_of_draws", 0.7),
        ("2", "dsc_best_of_draws", 0.2),
    ]
    assert tables.best_rows([draw(0.5, 0.2)]) == []


def test_a_copy_without_git_is_told_its_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("LUNGSEG_COMMIT", raising=False)
    assert provenance.commit(tmp_path) == "unknown"
    monkeypatch.setenv("LUNGSEG_COMMIT", "0123456789ab")
    assert provenance.commit(tmp_path) == "0123456789ab"


def test_the_table_that_is_being_written_does_not_change_the_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("LUNGSEG_COMMIT", raising=False)
    table, other = tmp_path / "table.csv", tmp_path / "other.csv"
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    table.write_text("a")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    clean = provenance.commit(tmp_path)
    table.write_text("b")
    assert provenance.commit(tmp_path) == f"{clean}+"
    assert provenance.commit(tmp_path, besides=table) == clean
    other.write_text("c")
    assert provenance.commit(tmp_path, besides=table) == f"{clean}+"
    monkeypatch.setenv("LUNGSEG_COMMIT", "0123456789ab")  # also where git would have to be asked about the table
    assert provenance.commit(tmp_path, besides=table) == "0123456789ab"


def test_tables_from_before_prompts_had_sources_get_the_own_source_of_each_setting(tmp_path):
    frame = _frame()
    old = pd.concat([frame, frame.assign(prompter="detector_box")]).drop(columns="source")
    old.to_csv(tmp_path / "results.csv", index=False, na_rep="nan")
    found = tables.read_results(tmp_path / "results.csv")
    assert list(found.columns) == list(tables.RESULT_COLUMNS)
    assert found.groupby("prompter")["source"].unique().map(list).to_dict() == {"detector_box": ["detector"], "none": ["reference"]}


def test_rows_of_another_readers_prompts_are_never_mixed_with_others():
    frame = pd.concat([_frame(), _frame().assign(source="another_reader")], ignore_index=True)
    tables.validate(frame)
    with pytest.raises(InputError, match="another reader's prompts"):
        tables.require_plain(frame)
    assert len(tables.plain_rows(frame)) == len(_frame()) == len(tables.asked_rows(frame, "d", "none"))
    assert set(tables.asked_rows(frame, "d", "none", source="another_reader")["source"]) == {"another_reader"}
