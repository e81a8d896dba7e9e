"""Result tables that are stored with the project: a few files a profile, from which each experiment opens as it was exported."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from lungseg_utils.core import files, project
from lungseg_utils.evaluation import metrics, tables
from lungseg_utils.experiments import store
from lungseg_utils.types import InputError

NAMES = {"results.csv.gz", "costs.csv.gz", "history.csv", "experiments.json"}
STORED = sorted(path.parent for path in (project.project_root() / "data" / "results").glob("*/experiments.json"))
MOST_BYTES = 2_000_000  # of one file: git keeps every version of it


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "project_root", lambda: tmp_path)
    return tmp_path


def _finished(name: str, dsc: float = 1 / 3, seconds: float = 12.5, **facts) -> store.Stored:
    """What a run of one case leaves."""
    shared = {"experiment": name, "test_dataset": "phantom_nsclc", "prompter": "none", "jitter": 0.0, "patient_id": "007", "case_id": "NA"}
    values = dict.fromkeys(metrics.UNITS, 0.5) | {"dsc": dsc, "hd95": float("inf")}
    lesion = {1: dict.fromkeys(metrics.LESION_UNITS, float("nan"))}
    results = tables.results_frame(tables.result_rows(shared, "reference", values, lesion, False))
    asked = {key: value for key, value in shared.items() if key != "patient_id"}
    costs = tables.costs_frame([{**asked, "quantity": q, "value": 2.0, "unit": u} for q, u in (("actions", "1"), ("prediction", "s"))])
    history = pd.DataFrame([(5, "training loss", 0.4), (6, "seconds", seconds)], columns=["step", "quantity", "value"])
    return store.Stored(results, costs, history, {"name": name, "commit": "abc", "cases": [], **facts})


def _untrained(name: str) -> store.Stored:
    nothing = pd.DataFrame(columns=["step", "quantity", "value"])
    made = _finished(name)
    return made._replace(costs=made.costs.iloc[:0], history=nothing)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _assert_equal(one: store.Stored, other: store.Stored) -> None:
    for a, b in zip(one[:3], other[:3], strict=True):
        pd.testing.assert_frame_equal(a, b)
    assert one.provenance == other.provenance


def test_a_stored_experiment_is_read_back_with_the_values_that_pages_need():
    cases = [{"case_id": "P", "failure": ""}, {"case_id": "Q", "failure": "MemoryError: no room"}]
    folder = store.write("long", {"a": _finished("a", cases=cases, options={"lr": 0.003})})
    assert {path.name for path in folder.iterdir()} == NAMES
    read = store.read("long", "a")
    assert set(read.results["metric"]) == set(store.METRICS) - {metrics.BEST_OF_DRAWS}
    assert read.results.set_index("metric")["value"]["dsc"] == 0.333333
    assert read.results.set_index("metric")["value"]["hd95"] == float("inf")
    assert (set(read.results["patient_id"]), set(read.results["case_id"])) == ({"007"}, {"NA"})
    assert list(read.costs["quantity"]) == ["actions"]
    assert read.history.to_dict("list") == {"step": [6], "quantity": ["seconds"], "value": [12.5]}
    assert read.provenance == {"name": "a", "commit": "abc", "cases": cases[1:], "options": {"lr": 0.003}}


def test_what_was_read_is_stored_again_as_it_was():
    folder = store.write("long", {name: _finished(name, dsc) for name, dsc in (("a", 1 / 3), ("b", 2e-7))})
    before, read = _bytes(folder), {name: store.read("long", name) for name in "ab"}
    store.write("long", read)
    assert _bytes(folder) == before
    for name in "ab":
        _assert_equal(store.read("long", name), read[name])


def test_a_profile_grows_one_by_one_and_keeps_what_is_stored():
    store.write("long", {"b": _finished("b", 0.25, 10.0)})
    before = store.read("long", "b")
    store.write("long", {"c": _finished("c", 0.75, 30.0)})
    store.write("long", {"a": _untrained("a")})
    _assert_equal(store.read("long", "b"), before)
    assert [store.read("long", name).results["value"].iloc[0] for name in "abc"] == [0.333333, 0.25, 0.75]
    assert [len(store.read("long", name).history) for name in "abc"] == [0, 1, 1]
    assert list(store.read("long", "a").costs.columns) == list(tables.COST_COLUMNS)


def test_an_experiment_that_is_run_again_takes_its_own_place_only():
    store.write("long", {name: _finished(name) for name in "ab"})
    before = store.read("long", "a")
    store.write("long", {"b": _finished("b", 0.9, commit="def")})
    _assert_equal(store.read("long", "a"), before)
    assert store.read("long", "b").provenance["commit"] == "def"
    assert store.read("long", "b").results["value"].iloc[0] == 0.9


def test_the_same_experiments_are_the_same_bytes_in_whatever_order_they_came():
    one = store.write("one", {name: _finished(name) for name in "abc"})
    for name in "cab":
        other = store.write("other", {name: _finished(name)})
    assert _bytes(one) == _bytes(other)
    rows = gzip.decompress((one / "results.csv.gz").read_bytes()).decode().splitlines()
    named = [row.partition(",")[0] for row in rows[1:]]
    assert named == sorted(named)


def test_facts_of_an_experiment_are_a_line_each():
    folder = store.write("long", {name: _finished(name, patients={"test": ["P", "Q"]}) for name in "ab"})
    text = (folder / "experiments.json").read_text()
    assert '\n  "patients": {"test": ["P", "Q"]}\n' in text
    assert list(json.loads(text)) == ["a", "b"]


@pytest.mark.parametrize("last", sorted(NAMES))
def test_an_export_that_fails_leaves_the_old_files(last, monkeypatch):
    folder = store.write("long", {"a": _finished("a")})
    before, whole = _bytes(folder), files.atomic_path

    def breaks_off(path):
        if path.name == last:
            raise KeyboardInterrupt
        return whole(path)

    monkeypatch.setattr(files, "atomic_path", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        store.write("long", {"a": _finished("a", 0.9), "b": _finished("b")})
    assert _bytes(folder) == before
    assert not store.holds("long", "b")


def test_what_a_killed_export_left_is_removed_by_the_next():
    folder = store.write("long", {"a": _finished("a")})
    left = folder / ".12.tmp.files" / "results.csv.gz"
    left.parent.mkdir()
    left.write_bytes(b"half")
    store.write("long", {"b": _finished("b")})
    assert {path.name for path in folder.iterdir()} == NAMES


def test_a_second_export_at_once_is_refused(root, hold_lock):
    with (
        hold_lock(root / "results" / "long" / ".export.lock"),
        pytest.raises(InputError, match="another export of this profile is running"),
    ):
        store.write("long", {"a": _finished("a")})
    store.write("long", {"a": _finished("a")})


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _with_another_header(path: Path) -> None:
    path.write_text(path.read_text().replace("step,", "steps,"))


def _of_another_experiment(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"\na,", b"\nz,")))


@pytest.mark.parametrize(
    ("name", "spoil", "problem"),
    [
        ("results.csv.gz", Path.unlink, "does not exist"),
        ("costs.csv.gz", Path.unlink, "does not exist"),
        ("history.csv", Path.unlink, "does not exist"),
        ("results.csv.gz", _cut, "not a valid table"),
        ("results.csv.gz", _of_another_experiment, "holds no rows of a,"),
        ("history.csv", _with_another_header, "its columns are"),
        ("history.csv", lambda path: path.write_text(path.read_text().replace(",6,", ",,")), "not a valid table"),
        ("experiments.json", _cut, "not a valid list of experiments"),
        ("experiments.json", lambda path: path.write_text("[]"), "not a valid list of experiments"),
        ("experiments.json", lambda path: path.write_text('{"a": 1}'), "not a valid list of experiments"),
        ("experiments.json", lambda path: path.write_bytes(b"\xff"), "not a valid list of experiments"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(name, spoil, problem):
    folder = store.write("long", {"a": _finished("a")})
    store.read("long", "a")  # what was read before the damage does not hide it
    spoil(folder / name)
    with pytest.raises(InputError, match=problem) as caught:
        store.read("long", "a")
    assert caught.value.where == str(folder / name)
    assert caught.value.remedy == f"Restore the files of this profile: git checkout -- {folder}"


def test_results_that_do_not_fit_into_one_small_file_go_on_in_further_ones(monkeypatch):
    finished = {name: _finished(name, dsc=number / 7) for number, name in enumerate("abcde")}
    size = (store.write("one", {"a": finished["a"]}) / "results.csv.gz").stat().st_size
    monkeypatch.setattr(store, "MOST_BYTES", size + 20)  # two experiments are a few bytes larger than one
    folder = store.write("long", finished)
    parts = list(folder.glob("results*"))
    assert len(parts) > 1
    assert all(path.stat().st_size <= size + 20 for path in parts)
    values = [store.read("long", name).results.set_index("metric")["value"]["dsc"] for name in "abcde"]
    assert values == [round(number / 7, 6) for number in range(5)]
    monkeypatch.undo()


def test_files_that_are_no_longer_needed_go_with_the_next_export(monkeypatch):
    with monkeypatch.context() as small:
        small.setattr(store, "MOST_BYTES", 1)
        folder = store.write("long", {name: _finished(name) for name in "abc"})
    assert len(list(folder.glob("results*"))) == 3
    store.write("long", {"d": _finished("d")})
    assert {path.name for path in folder.iterdir()} == NAMES
    assert all(len(store.read("long", name).results) for name in "abcd")


def test_single_readers_are_not_stored_and_the_judges_of_methods_are():
    finished = _finished("a")
    rows = finished.results
    kinds = [("reference", "consensus"), ("reference", "reader-1")]
    kinds += [("another_reader", "other readers"), ("another_reader", "another reader")]
    several = pd.concat([rows.assign(source=source, reader=reader) for source, reader in kinds], ignore_index=True)
    store.write("long", {"a": finished._replace(results=several)})
    assert set(store.read("long", "a").results["reader"]) == {"consensus", "other readers"}


def test_an_unknown_experiment_is_not_held_and_is_named():
    assert not store.holds("long", "a")
    store.write("long", {"a": _finished("a")})
    assert store.holds("long", "a")
    assert not store.holds("long", "b")
    with pytest.raises(InputError, match=r"experiments\.json: holds no experiment b\. .*export --profile long"):
        store.read("long", "b")


def test_a_file_is_read_once_until_it_changes(monkeypatch):
    read, whole = [], tables.read_results
    monkeypatch.setattr(tables, "read_results", lambda path: read.append(path) or whole(path))
    store.write("long", {name: _finished(name) for name in "abc"})
    for name in "abcabc":
        store.read("long", name)
    assert len(read) == 1
    store.write("long", {"a": _finished("a", 0.9)})
    assert store.read("long", "a").results["value"].iloc[0] == 0.9
    assert len(read) == 2


def test_who_changes_an_opened_experiment_changes_no_other_opening():
    store.write("long", {"a": _finished("a", patients={"train": ["P"]})})
    first = store.read("long", "a")
    first.results["value"] = 0.0
    first.history.loc[0, "value"] = 0.0
    first.provenance["patients"]["train"].clear()
    second = store.read("long", "a")
    assert second.results["value"].iloc[0] == 0.333333
    assert second.history["value"].item() == 12.5
    assert second.provenance["patients"] == {"train": ["P"]}


@pytest.mark.parametrize("folder", STORED, ids=lambda folder: folder.name)
def test_the_files_of_the_project_are_few_small_and_whole(folder, monkeypatch):
    monkeypatch.undo()
    assert {path.name for path in folder.iterdir() if not path.name.startswith("results-")} == NAMES
    assert max(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES
    names = list(json.loads((folder / "experiments.json").read_text()))
    assert names == sorted(names)
    for name in names:
        read = store.read(folder.name, name)
        assert set(read.results["experiment"]) == {name}
        assert read.provenance["name"] == name
