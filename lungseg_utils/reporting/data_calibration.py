"""Page "How real are the phantoms?": measured phantoms next to the real CTs that are here."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import registry
from ..experiments import cohorts, config, phantom_calibration
from ..phantoms.calibration import realism
from ..phantoms.calibration.gates import GATES, gate_table, studies_with_tumor
from ..types import Study

_PATIENTS = 10  # training phantoms of each cohort that are drawn for this page
_STUDIES = 8  # of them, with a tumor, that are measured here
_PICTURES = 3  # of them, that are shown


@dataclass(frozen=True)
class CalibrationPage:
    """What the page shows. `measured`: cohort -> the stored table; `patients`, `shown`: of its phantoms; `real`: study by case."""

    measured: Mapping[str, pd.DataFrame]
    patients: Mapping[str, list[str]]
    shown: Mapping[str, Mapping[str, Study]]
    real: Mapping[str, Study]

    def pictures(self) -> dict[str, Study]:
        """The first phantoms of each cohort, then the real CTs."""
        return {name: study for studies in self.shown.values() for name, study in list(studies.items())[:_PICTURES]} | dict(self.real)

    def gates(self) -> pd.DataFrame:
        """Every gate of every cohort: its median, its range and whether it is met."""
        return pd.concat({name: gate_table(frame) for name, frame in self.measured.items()}, names=["cohort"]).reset_index()

    def auc(self) -> float:
        """How well a classifier tells the real CTs from the phantoms; NaN if there are too few."""
        return realism.classifier_auc(self.real, {name: study for studies in self.shown.values() for name, study in studies.items()})


def open_page(profile: str, public: bool) -> CalibrationPage:
    """Read the stored tables, draw the training phantoms that are shown, and read the real CTs; with `public` those that may be shown."""
    chosen = config.load().profile(profile)
    measured = {name: phantom_calibration.read(name) for name in phantom_calibration.SETTINGS}
    patients = {name: sorted(itertools.chain(*cohorts.training_patients(name, chosen, 0)))[:_PATIENTS] for name in measured}
    roots = {name: cohorts.ensure_phantoms(name, chosen, patients[name]) for name in measured}
    shown = {name: studies_with_tumor(registry.plugin("datasets", name), roots[name], patients[name], _STUDIES) for name in measured}
    real = realism.real_studies({name: cohorts.dataset_root(name, chosen) for name in chosen.real_datasets}, public)
    return CalibrationPage(measured, patients, shown, real)


def printable_gates(gates: pd.DataFrame) -> pd.DataFrame:
    """`CalibrationPage.gates` for people."""
    return gates.drop(columns="gate", errors="ignore")


def printable_real(real: Mapping[str, Study]) -> pd.DataFrame:
    """The measurements of the gates on each real CT (columns); empty if there is none."""
    return realism.measure_real(real).reindex(columns=list(GATES)).T


def page_values(measured: Mapping[str, pd.DataFrame], gates: pd.DataFrame, n_real: int, auc: float) -> dict[str, object]:
    """Values by glue key: gates_nsclc and gates_msd (met), gates_all (of a cohort), gates_passed, gates_total, measured_nsclc, measured_msd
    (phantoms), real_cases and auc.
    """
    met = gates.groupby("cohort")["met"].sum()
    return {
        "auc": "not measured (too few real CTs here)" if np.isnan(auc) else f"{auc:.2f}",
        "gates_nsclc": int(met["phantom_nsclc"]),
        "gates_msd": int(met["phantom_msd"]),
        "gates_all": len(GATES),
        "gates_passed": int(met.sum()),
        "gates_total": len(met) * len(GATES),
        "real_cases": n_real,
        "measured_nsclc": len(measured["phantom_nsclc"]),
        "measured_msd": len(measured["phantom_msd"]),
    }
