"""Read and write the committed splits: development, test, or set aside, by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ..core import files, project
from ..types import Case, InputError

SPLIT_COLUMNS = ["patient_id", "split", "fold", "tumor_free"]
FOLDS = 5  # of every committed split


def read_splits(dataset: str) -> pd.DataFrame:
    """The committed split of a data set; refuses unknown columns and a patient on two lines."""
    path = _split_path(dataset)
    kinds = {"patient_id": str, "split": str, "fold": "Int64", "tumor_free": int}
    frame = files.read_csv(path, "Commit a split, by patient, before any result.", dtype=kinds)
    if list(frame.columns) != SPLIT_COLUMNS:
        raise InputError(path, f"its columns are {list(frame.columns)}", f"Expected {SPLIT_COLUMNS}.")
    if frame["patient_id"].duplicated().any():
        raise InputError(path, f"{frame['patient_id'][frame['patient_id'].duplicated()].iloc[0]} stands twice", "One line a patient.")
    return frame


def write_splits(dataset: str, patient_ids: Iterable[str], test_share: float, set_aside: Iterable[str] = ()) -> pd.DataFrame:
    """A new split by patient, committed before any result; returns the table.

    The patients are ordered by the sha256 of "DATASET/PATIENT": the first `test_share` of them are tested, the others are dealt out to
    five folds in turn. Those `set_aside` are neither trained on nor tested. Raises `InputError` if there is a split already.
    """
    path, aside = _split_path(dataset), set(set_aside)
    if path.exists():
        raise InputError(path, "there is a split already", "Keep it: results depend on it.")
    ordered = sorted(set(patient_ids) - aside, key=lambda p: hashlib.sha256(f"{dataset}/{p}".encode()).hexdigest())
    tested = round(test_share * len(ordered))
    rows = [(p, "test", "", 0) for p in ordered[:tested]] + [(p, "set_aside", "", 0) for p in aside]
    rows += [(p, "development", str(index % FOLDS), 0) for index, p in enumerate(ordered[tested:])]
    files.write(pd.DataFrame(sorted(rows), columns=SPLIT_COLUMNS), path)
    return read_splits(dataset)


def has_split(dataset: str) -> bool:
    """Whether a split is committed."""
    return _split_path(dataset).is_file()


def _split_path(dataset: str) -> Path:
    return project.project_root() / "data" / "splits" / f"{dataset}.csv"


def has_test_part(splits: pd.DataFrame) -> bool:
    return bool((splits["split"] == "test").any())


def held_out_patients(dataset: str, trained_fold: int | None) -> set[str]:
    """Patients of a split that may be tested: its test part; without one the fold of a training on it, or all folds for any other."""
    splits = read_splits(dataset)
    rows = splits[splits["split"] == ("test" if has_test_part(splits) else "development")]
    if not has_test_part(splits) and trained_fold is not None:
        rows = rows[rows["fold"] == trained_fold]
    return set(rows["patient_id"])


def require_known(cases: Iterable[Case], splits: pd.DataFrame, dataset: str) -> None:
    known = set(splits["patient_id"])
    if strangers := sorted({case.patient_id for case in cases} - known):
        remedy = "Add them before any result, or list them with their reason in data/exclusions."
        raise InputError(_split_path(dataset), f"{len(strangers)} patients on disk are not in it, {strangers[0]} first", remedy)


def require_apart(train: Iterable[Case], test: Iterable[Case]) -> None:
    """Refuse a patient on both sides of a split."""
    both = {c.patient_id for c in train} & {c.patient_id for c in test}
    if both:
        raise InputError(sorted(both)[0], "this patient is both trained on and tested on", "Repair the split.")
