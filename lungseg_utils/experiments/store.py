"""Store result tables with the project: four files per profile, each with the rows of all its stored experiments."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..core import files, locks, project
from ..evaluation import metrics, plan, tables
from ..types import Experiment, InputError, Row


class Stored(NamedTuple):
    """The stored tables of an experiment."""

    results: pd.DataFrame
    costs: pd.DataFrame
    history: pd.DataFrame  # step, quantity, value
    provenance: Row


METRICS = (*(metric.name for metric in metrics.shown_in(metrics.STORED)), metrics.BEST_OF_DRAWS)
COSTS = ("actions",)
HISTORY = ("seconds",)  # of training; losses and validations along the way are for the page of the run itself
DIGITS = 6  # of a value; a table of full precision is five times as large

MOST_BYTES = 1_900_000  # of a file of results: beyond it, the experiments go on in results-2.csv.gz and so on

_RESULTS, _COSTS, _HISTORY = "results.csv.gz", "costs.csv.gz", "history.csv"
_EXPERIMENTS = "experiments.json"  # name -> provenance
_HISTORY_COLUMNS: Mapping[str, type] = {"experiment": str, "step": int, "quantity": str, "value": float}
_NONE = ""  # name of no experiment


def results_folder(experiment: Experiment) -> Path:
    """Folder of everything that an experiment writes on this machine."""
    return project.project_root() / "results" / experiment.profile / experiment.name


def folder(profile: str) -> Path:
    """Folder of a profile's stored tables."""
    return project.project_root() / "data" / "results" / profile


def is_stored(profile: str) -> bool:
    """Whether any experiment of a profile is stored."""
    return (folder(profile) / _EXPERIMENTS).is_file()


def holds(profile: str, experiment: str) -> bool:
    """Whether an experiment is stored."""
    return experiment in _records(profile)


def read(profile: str, experiment: str) -> Stored:
    """A stored experiment. InputError if it is not stored, or if a file is damaged.

    A process reads each file once, until the file changes.
    """
    if not holds(profile, experiment):
        remedy = f"Run it, then store it: export --profile {profile}"
        raise InputError(folder(profile) / _EXPERIMENTS, f"holds no experiment {experiment}", remedy)
    parts = (_rows(path, experiment) for path in _result_files(folder(profile)))
    results = next((rows for rows in parts if not rows.empty), None)
    if results is None:
        results = _rows(folder(profile) / _RESULTS, experiment)  # which says what is wrong with it
    costs, history = (_rows(folder(profile) / name, experiment) for name in (_COSTS, _HISTORY))
    if results.empty:
        raise _damaged(folder(profile) / _RESULTS, f"it holds no rows of {experiment}, which {_EXPERIMENTS} names")
    return Stored(results, costs, history.drop(columns="experiment"), copy.deepcopy(_records(profile)[experiment]))


def write(profile: str, finished: Mapping[str, Stored]) -> Path:
    """Store experiments, by name, in addition to those of the profile that are stored already; returns the profile's folder.

    Stored are the values of `METRICS` by the judges of methods (no single readers), the costs of `COSTS`, the seconds of training, and
    the provenance; of the cases, only those that failed. If this fails, the old files stay. InputError if another process stores the same
    profile.
    """
    place = folder(profile)
    lock = project.project_root() / "results" / profile / ".export.lock"
    with locks.exclusive(lock, "another export of this profile is running"):
        files.remove_leftovers(place)
        everything = {name: read(profile, name) for name in _records(profile)} | dict(finished)
        _replace({name: _small(everything[name]) for name in sorted(everything)}, place)
    return place


def _is_secondary(results: pd.DataFrame) -> pd.Series:
    """Rows of the surface metric of their data set, where it is another one than in most."""
    return results["metric"] == results["test_dataset"].map(plan.read().secondary_metric)


def _small(whole: Stored) -> Stored:
    judged = tables.of_judges(whole.results)
    return Stored(
        judged[judged["metric"].isin(METRICS) | _is_secondary(judged)],
        whole.costs[whole.costs["quantity"].isin(COSTS)],
        whole.history[whole.history["quantity"].isin(HISTORY)],
        {**whole.provenance, "cases": [case for case in whole.provenance["cases"] if case["failure"]]},
    )


def _replace(experiments: Mapping[str, Stored], place: Path) -> None:
    """Write all files, then move them in place. The list of experiments comes last, so it never names one without tables."""
    staged = place / ".0.tmp.files"  # a name that `remove_leftovers` knows
    history = pd.concat([stored.history.assign(experiment=name) for name, stored in experiments.items()])
    try:
        parts = _write_results([stored.results for stored in experiments.values()], staged, 1)
        files.write(pd.concat([stored.costs for stored in experiments.values()]), staged / _COSTS, DIGITS)
        files.write(history[list(_HISTORY_COLUMNS)].astype(dict(_HISTORY_COLUMNS)), staged / _HISTORY, DIGITS)
        files.write_text(_json({name: stored.provenance for name, stored in experiments.items()}), staged / _EXPERIMENTS)
        for name in (*parts, _COSTS, _HISTORY, _EXPERIMENTS):
            (staged / name).replace(place / name)
        for path in _result_files(place):
            if path.name not in parts:
                path.unlink()
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _write_results(frames: Sequence[pd.DataFrame], staged: Path, first: int) -> list[str]:
    """Write the rows of some experiments to as few files as are small enough, numbered from `first`; returns their names."""
    name = _RESULTS if first == 1 else f"results-{first}.csv.gz"
    files.write(pd.concat(frames), staged / name, DIGITS)
    if (staged / name).stat().st_size <= MOST_BYTES or len(frames) == 1:
        return [name]
    half = len(frames) // 2
    names = _write_results(frames[:half], staged, first)
    return names + _write_results(frames[half:], staged, first + len(names))


def _result_files(place: Path) -> list[Path]:
    """The files of results of a profile's folder, by their numbers."""
    further = sorted(place.glob("results-*.csv.gz"), key=lambda path: int(path.name.split("-")[1].split(".")[0]))
    return [path for path in (place / _RESULTS, *further) if path.is_file()]


def _json(records: Mapping[str, Row]) -> str:
    """JSON with one line per fact; `indent` would use one line per patient."""
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {{\n{_lines(record)}\n }}" for name, record in records.items()) + "\n}\n"


def _lines(record: Row) -> str:
    return ",\n".join(f"  {json.dumps(fact)}: {json.dumps(record[fact], sort_keys=True, default=str)}" for fact in sorted(record))


def _records(profile: str) -> Mapping[str, Row]:
    path = folder(profile) / _EXPERIMENTS
    return _parsed(path, _version(path)) if path.is_file() else {}


def _rows(path: Path, experiment: str) -> pd.DataFrame:
    rows = _by_experiment(path, _version(path))
    return rows.get(experiment, rows[_NONE]).copy()


def _version(path: Path) -> tuple[int, ...]:
    """A key that changes with the file."""
    if not path.is_file():
        return ()
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


@lru_cache(maxsize=8)
def _parsed(path: Path, _stamp: tuple[int, ...]) -> Mapping[str, Row]:
    problem = "not a valid list of experiments"
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise _damaged(path, f"{problem} ({error})") from error
    if not isinstance(found, dict) or not all(isinstance(record, dict) for record in found.values()):
        raise _damaged(path, problem)
    return found


@lru_cache(maxsize=24)  # two profiles, of several files each: a page compares no more
def _by_experiment(path: Path, _stamp: tuple[int, ...]) -> Mapping[str, pd.DataFrame]:
    """Name of an experiment -> its rows; under `_NONE` an empty table with the same columns."""
    readers = {_COSTS: tables.read_costs, _HISTORY: _read_history}
    try:
        frame = readers.get(path.name, tables.read_results)(path)
    except InputError as error:
        raise _damaged(path, error.problem) from error
    groups = frame.groupby("experiment", sort=False)
    return {_NONE: frame.iloc[:0]} | {name: rows.reset_index(drop=True) for name, rows in groups}


def _read_history(path: Path) -> pd.DataFrame:
    frame = files.read_csv(path, "", dtype=dict(_HISTORY_COLUMNS))
    if list(frame.columns) != list(_HISTORY_COLUMNS):
        raise InputError(path, f"its columns are {list(frame.columns)}", "")
    return frame


def _damaged(path: Path, problem: str) -> InputError:
    return InputError(path, problem, f"Restore the files of this profile: git checkout -- {path.parent}")
