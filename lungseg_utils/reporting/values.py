"""Values by patient and case that several pages use."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .. import registry
from ..evaluation import intervals, tables
from ..experiments import cohorts, config, evidence, planning
from ..experiments.results import RunResult, is_finished
from ..types import Case


def dsc_by_patient(result: RunResult, dataset: str, setting: str, jitter: float = 0.0) -> pd.Series:
    """One DSC per patient with a tumor (index patient_id) of one experiment; empty if it was not evaluated in this prompt setting."""
    rows = tables.of_reference(tables.asked_rows(result.results, dataset, setting, jitter))
    return intervals.patient_means(tables.case_values(rows, "dsc"))


def dsc_of_rows(results: pd.DataFrame, more_keys: Sequence[str] = ()) -> dict[tuple[str, ...], pd.Series]:
    """(test_dataset, prompter, ...) -> one DSC per patient."""
    rows = tables.case_values(tables.of_reference(tables.require_plain(results)), "dsc")
    return {key: intervals.patient_means(part) for key, part in rows.groupby(["test_dataset", "prompter", *more_keys], sort=False)}


def training_seconds(history: pd.DataFrame) -> int:
    """Wall seconds of a training, from its history."""
    return round(float(history.loc[history["quantity"] == "seconds", "value"].iloc[0]))


def cases_here(dataset: str, profile: config.Profile, patients: Sequence[str]) -> tuple[Case, ...]:
    """All cases of these patients, or none where one of them is not on disk; a page draws and fetches nothing."""
    root = cohorts.dataset_root(dataset, profile)
    if not (root.is_dir() and any(root.iterdir())):
        return ()
    here = {case.patient_id for case in registry.dataset(dataset).cases(root)}
    return cohorts.cases_on_disk(dataset, profile, patients) if here.issuperset(patients) else ()


def profile_shown(question: str, profile: str) -> str:
    """`evidence.profile_for`, or the book's own profile where nothing of that one was run or stored."""
    asked = evidence.profile_for(question, profile)
    return asked if any(map(is_finished, planning.all_planned(asked))) else profile
