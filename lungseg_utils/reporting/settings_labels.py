"""Column "labels used for settings": the labeled patients whose outlines decided how a method is set up, beside those it learned from.

Development sets and tuning trials, few-shot steps, the diameter of the ball round a click. Each model declares in
`data/labels_for_settings.csv` which patients that were, as parts of committed splits; nothing is counted by hand. A model whose settings
are fixed by a rule declares that it used none. So does a model with weights of its authors, without a row: it is used as published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from .. import registry
from ..core import files
from ..experiments import detector
from ..experiments.results import RunResult
from ..prompts.ladder import PROMPT_SETTINGS
from ..types import Experiment, InputError, Row

COLUMN = "labels used for settings"
NOT_DECLARED = "not declared"
COLUMNS = ("model", "paradigms", "prompts", "profiles", "not_profiles", "dataset", "splits", "folds", "settings", "source")
_ROOT = Path(__file__).resolve().parents[2]  # these are facts about the models of this checkout
_FILE, _SPLITS = _ROOT / "data" / "labels_for_settings.csv", _ROOT / "data" / "splits"


@cache
def read(path: Path = _FILE) -> tuple[Mapping[str, str], ...]:
    """The records. Empty `paradigms`, `prompts`, `profiles`: all; empty `dataset`: no label; empty `folds`: all. InputError if damaged."""
    frame = files.read_csv(path, "Restore it from the repository.", dtype=str, keep_default_na=False)
    if tuple(frame.columns) != COLUMNS:
        raise InputError(path, f"its columns are {list(frame.columns)}", f"Expected {list(COLUMNS)}.")
    return tuple(frame.to_dict("records"))


@cache
def _patients(dataset: str, splits: str, folds: str) -> frozenset[tuple[str, str]]:
    """(data set, patient) of the named parts of a committed split."""
    if not dataset:
        return frozenset()
    frame = files.read_csv(_SPLITS / f"{dataset}.csv", "Restore it from the repository.", dtype=str, keep_default_na=False)
    rows = frame[frame["split"].isin(splits.split()) & (frame["fold"].isin(folds.split()) if folds else True)]
    return frozenset((dataset, patient) for patient in rows["patient_id"])


def _published() -> Iterator[Row]:
    """The record that a model with weights of its authors has without a row."""
    for name in registry.published():
        yield dict.fromkeys(COLUMNS, "") | {"model": name, "settings": "nothing: published as it is", "source": "its authors' code"}


def _records() -> Iterator[Row]:
    yield from read()
    yield from _published()


def _holds(record: Row, experiment: Experiment, setting: str) -> bool:
    """Whether a record is about what an experiment was asked in a prompt setting."""
    named = {"paradigms": experiment.paradigm, "prompts": setting, "profiles": experiment.profile}
    if record["model"] != experiment.model or experiment.profile in record["not_profiles"].split():
        return False
    return all(not record[key] or value in record[key].split() for key, value in named.items())


def declared(experiment: Experiment, setting: str) -> list[Row]:
    """The records of an experiment in a prompt setting; none for a model that declares nothing."""
    return [record for record in _records() if _holds(record, experiment, setting)]


def count(experiment: Experiment, dataset: str, setting: str) -> int | str:
    """Number of labeled patients behind the settings of a method, and of the detector whose boxes it takes; `NOT_DECLARED` if unknown."""
    found: set[tuple[str, str]] = set()
    for part in _with_detector(experiment, dataset, setting):
        records = declared(part, setting)
        if not records:
            return NOT_DECLARED
        found.update(*(_patients(record["dataset"], record["splits"], record["folds"]) for record in records))
    return len(found)


def _with_detector(experiment: Experiment, dataset: str, setting: str) -> Iterator[Experiment]:
    yield experiment
    if PROMPT_SETTINGS[setting].from_detector:
        yield detector.detector_of(experiment, dataset)


def by_experiment(finished: Iterable[RunResult], dataset: str, setting: str) -> dict[str, int | str]:
    """Name of an experiment -> `count`."""
    return {result.experiment.name: count(result.experiment, dataset, setting) for result in finished}


def _dataset(name: str) -> str:
    return registry.card("datasets", name).label


def _listed(splits: str) -> str:
    """Parts of a split in words: "development, development test"."""
    return ", ".join(name.replace("dev_", "development ") for name in splits.split())


def printable(finished: Iterable[RunResult]) -> pd.DataFrame:
    """What was set by which labels, for the models of some results: one row per record that names labels."""
    models = {(result.experiment.model, result.experiment.profile) for result in finished}
    rows: list[Row] = []
    for record in _records():
        asked = [profile for model, profile in models if model == record["model"]]
        here = [p for p in asked if p not in record["not_profiles"].split() and (not record["profiles"] or p in record["profiles"].split())]
        if here:
            patients = len(_patients(record["dataset"], record["splits"], record["folds"]))
            of = f"{patients} of {_dataset(record['dataset'])} ({_listed(record['splits'])})" if patients else "0"
            trained = ", ".join(registry.card("paradigms", name).title for name in record["paradigms"].split()) or "all"
            row: Row = {"model": registry.card("models", record["model"]).title, "trained by": trained}
            rows.append(row | {"labeled patients": of, "settings": record["settings"], "source": record["source"]})
    return pd.DataFrame(rows, columns=["model", "trained by", "labeled patients", "settings", "source"])
