"""Measure the development phantoms once, and store the table in data/results/calibration/.

The generator is frozen, so its patients are measured once. The table is rejected if the generator has changed.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .. import registry
from ..core import files, project
from ..phantoms import cohort
from ..phantoms.calibration import gates
from ..phantoms.store import generator_hash
from ..types import InputError
from . import cohorts, config

PROFILE = "phantoms"  # whose grid, and whose training and validation patients of fold 0, are measured
SETTINGS = {"phantom_nsclc": cohort.NSCLC, "phantom_msd": cohort.MSD}


def measure(dataset: str, commit: str) -> pd.DataFrame:
    """Draw missing development phantoms, measure each, and store the table; one row per patient, see `calibration.measure`.

    `commit`: that of the code before any table was written.
    """
    profile = config.load().profile(PROFILE)
    patients = sorted(p for part in cohorts.training_patients(dataset, profile, 0) for p in part)
    root = cohorts.ensure_phantoms(dataset, profile, patients)
    table = gates.measure_phantoms(registry.dataset(dataset), root, SETTINGS[dataset], patients)
    files.write(table.rename_axis("patient_id").reset_index(), _table(dataset))
    record = {
        "generator_sha256": generator_hash(),
        "profile": PROFILE,
        "patients": len(table),
        "commit": commit,
    }
    files.write_json(record, _record(dataset))
    return table


def read(dataset: str) -> pd.DataFrame:
    """The stored table (index patient_id); InputError if it was measured with another generator."""
    if files.read_json(_record(dataset)).get("generator_sha256") != generator_hash():
        raise InputError(_record(dataset), "measured on phantoms of another generator", "Measure again: python -m lungseg_utils calibrate.")
    return files.read_csv(_table(dataset), "Restore it from the repository.", index_col="patient_id")


def _table(dataset: str) -> Path:
    return project.project_root() / "data" / "results" / "calibration" / f"{dataset}.csv"


def _record(dataset: str) -> Path:
    return _table(dataset).with_suffix(".json")
