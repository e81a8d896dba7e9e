"""Exclude unusable real cases: find them by reading every case, and keep each with its reason in a committed list.

`data/exclusions/DATASET.csv` is committed like a split. A case that cannot be read, or has no reference, and is not listed there stops an
experiment. The number of patients therefore never changes unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from .. import registry
from ..core import files, outputs, project
from ..types import Case, InputError
from .cases import load_study

COLUMNS = ["dataset", "case_id", "reason"]
NO_REFERENCE = "no reference"


def path(dataset: str) -> Path:
    """Where the table of a data set lies; a part of another one shares its table."""
    return project.project_root() / "data" / "exclusions" / f"{registry.whole(dataset)}.csv"


def find(dataset: str, root: Path) -> pd.DataFrame:
    """Every case below `root` that cannot be used, with the reason; reads all of the data."""
    return pd.DataFrame([(dataset, case_id, reason) for case_id, reason in _unusable(dataset, root)], columns=COLUMNS)


def _unusable(dataset: str, root: Path) -> Iterator[tuple[str, str]]:
    for case in registry.dataset(dataset).cases(root):
        try:
            labeled = bool(load_study(case).references)
        except InputError as error:
            yield case.case_id, error.problem
            continue
        if not labeled:
            yield case.case_id, NO_REFERENCE


def usable(dataset: str, root: Path) -> list[Case]:
    """The cases below `root` that are not listed, of which each has a reference; `InputError` for one that has none and is not listed."""
    listed = set(read([dataset])["case_id"])
    cases = [case for case in registry.dataset(dataset).cases(root) if case.case_id not in listed]
    if unlabeled := [case.case_id for case in cases if not case.reference_paths]:
        problem = f"{len(unlabeled)} cases have no reference and are not listed in {path(dataset)}, {unlabeled[0]} first"
        raise InputError(dataset, problem, f"List them with their reasons: python -m lungseg_utils exclusions {dataset}.")
    return cases


def write(dataset: str, root: Path) -> pd.DataFrame:
    """Find, and keep with the project, also if there is none; returns the table. For a part, that of the whole data set is made."""
    dataset = registry.whole(dataset)
    outputs.require_file(path(dataset))  # before all of the data is read
    found = find(dataset, root)
    files.write(found, path(dataset))
    return found


def read(datasets: Iterable[str]) -> pd.DataFrame:
    """What is listed for these data sets, one row a case; nothing for a data set without a table."""
    frames = [_read(path(name)) for name in datasets if path(name).is_file()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS, dtype=str)


def _read(table: Path) -> pd.DataFrame:
    frame = files.read_csv(table, f"Make it again: python -m lungseg_utils exclusions {table.stem}.", dtype=str, keep_default_na=False)
    if list(frame.columns) != COLUMNS or (frame == "").any(axis=None) or frame["case_id"].duplicated().any():
        remedy = f"Make it again: python -m lungseg_utils exclusions {table.stem}."
        raise InputError(table, f"not a table of {', '.join(COLUMNS)} with one row a case and a reason in each", remedy)
    return frame
