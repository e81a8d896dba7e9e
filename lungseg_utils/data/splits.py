"""Read and write the committed splits: development, test, or set aside, by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from ..core import files, project, text_tables
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


def write_splits(
    dataset: str,
    strata: Mapping[str, str],
    test: float,
    set_aside: Collection[str] = (),
    never_tested: Collection[str] = (),
) -> pd.DataFrame:
    """A new split by patient, committed before any result; returns the table.

    The patients of each stratum are ordered by the sha256 of "DATASET/PATIENT": the first of them are tested, the others are dealt out to
    five folds in turn.

    Args:
        dataset: Its name, and that of the file.
        strata: The stratum of each patient.
        test: Below 1 the share of each stratum that is tested, else the number of test patients, the same of each stratum.
        set_aside: Patients that are neither trained on nor tested.
        never_tested: Patients that somebody has looked at: they may be trained on.

    Raises:
        InputError: There is a split already, or a stratum has too few patients that may be tested.
    """
    path = _split_path(dataset)
    if path.exists():
        raise InputError(path, "there is a split already", "Keep it: results depend on it.")
    rows = [(patient, "set_aside", "", 0) for patient in set_aside]
    names = sorted(set(strata.values()))
    for name in names:
        ordered = sorted((p for p in strata if strata[p] == name and p not in set_aside), key=lambda p: _order(dataset, p))
        count = round(test * len(ordered)) if test < 1 else round(test / len(names))
        tested = [patient for patient in ordered if patient not in never_tested][:count]
        if len(tested) < count:
            raise InputError(path, f"{count} test patients asked for, {len(tested)} may be tested ({name})", "Ask for fewer.")
        rows += [(patient, "test", "", 0) for patient in tested]
        rest = [patient for patient in ordered if patient not in tested]
        rows += [(patient, "development", str(index % FOLDS), 0) for index, patient in enumerate(rest)]
    files.write(pd.DataFrame(sorted(rows), columns=SPLIT_COLUMNS), path)
    return read_splits(dataset)


def _order(dataset: str, patient_id: str) -> str:
    return hashlib.sha256(f"{dataset}/{patient_id}".encode()).hexdigest()


def read_patients(path: Path) -> list[str]:
    """The patients that a text file lists, one a line, without blanks at the ends."""
    return [name for line in text_tables.read_text(path).split("\n") if (name := line.strip())]


def has_split(dataset: str) -> bool:
    """Whether a split is committed."""
    return _split_path(dataset).is_file()


def _split_path(dataset: str) -> Path:
    return project.project_root() / "data" / "splits" / f"{dataset}.csv"


def has_test_part(splits: pd.DataFrame) -> bool:
    return bool((splits["split"] == "test").any())


def in_order(dataset: str, patient_ids: Iterable[str]) -> list[str]:
    """Patients in the order of the split, which is that of a hash of their names: the first of them are a random part."""
    return sorted(patient_ids, key=lambda patient: _order(dataset, patient))


def held_out_patients(dataset: str, trained_fold: int | None, out_of_fold: bool = False) -> set[str]:
    """Patients of a split that may be tested: its test part.

    Without one, or with `out_of_fold`: the fold of a training on it, or all folds for any other.
    """
    splits = read_splits(dataset)
    if has_test_part(splits) and not out_of_fold:
        return set(splits["patient_id"][splits["split"] == "test"])
    rows = splits[splits["split"] == "development"]
    return set(rows["patient_id"] if trained_fold is None else rows["patient_id"][rows["fold"] == trained_fold])


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
