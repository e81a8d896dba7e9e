"""Open the results of finished experiments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..core import files
from ..data import nifti
from ..evaluation import protocols, tables
from ..types import Case, Experiment, InputError, Mask, Row, Study
from . import cohorts, config, store
from .planning import all_planned, experiment_title, folds_of

PROTOCOL_COUNTS = "protocol_counts.json"


@dataclass(frozen=True)
class RunResult:
    """Tables, history and provenance of one experiment, and their folder, which also holds the predictions of a run made here."""

    experiment: Experiment
    folder: Path
    results: pd.DataFrame
    costs: pd.DataFrame
    history: pd.DataFrame
    provenance: Row

    def asked(self, *prompters: str) -> pd.DataFrame:
        """Results of these prompt settings (without names: of all) without errors in drawing, and not of another reader's prompts."""
        return as_drawn(self.results, prompters)

    def prediction(self, dataset: str, prompter: str, case_id: str, like: Study) -> Mask:
        """The stored prediction of a case; an empty mask if the model failed on it."""
        path = prediction_path(self.folder, dataset, prompter, case_id)
        if not path.is_file():
            return Mask(np.zeros(like.image.shape, dtype=bool), like.image.affine)
        return nifti.read_mask(path, like=like.image, allow_empty=True)

    def cases(self, dataset: str) -> tuple[Case, ...]:
        """Test cases of a data set on disk, in the order of the tables. For viewers: this reads the data set's folder."""
        profile = config.load().profile(self.experiment.profile)
        return cohorts.cases_on_disk(dataset, profile, list(dict.fromkeys(self.provenance["patients"].get(dataset, ()))))

    def protocol_counts(self, dataset: str, prompter: str) -> list[protocols.CaseCounts]:
        """Counts for the published protocols, one record per case with a tumor. InputError if missing (stored results have none)."""
        path = self.folder / PROTOCOL_COUNTS
        if not path.is_file():
            raise InputError(path, "the counts for other protocols are not there", "Run the experiment again.")
        return [protocols.CaseCounts.of_plain(values) for values in files.read_json(path).get(dataset, {}).get(prompter, ())]


def as_drawn(results: pd.DataFrame, prompters: Sequence[str] = ()) -> pd.DataFrame:
    """`tables.plain_rows` of these prompt settings (without names: of all)."""
    rows = tables.plain_rows(results)
    return rows[rows["prompter"].isin(prompters)] if prompters else rows


def prediction_path(folder: Path, dataset: str, prompter: str, case_id: str) -> Path:
    return folder / "predictions" / dataset / prompter / f"{case_id}.nii.gz"


def open_result(experiment: Experiment) -> RunResult:
    """Open a finished experiment from its files: as it was run here, else as it is stored with the project. InputError if it is neither."""
    folder = store.results_folder(experiment)
    if (folder / "experiment.json").is_file():
        return RunResult(experiment, folder, *_read_run(folder))
    if not store.holds(experiment.profile, experiment.name):
        raise InputError(folder / "experiment.json", "this experiment is not finished", "Run its notebook first.")
    return RunResult(experiment, store.folder(experiment.profile), *store.read(experiment.profile, experiment.name))


def _read_run(folder: Path) -> store.Stored:
    history = folder / "history.csv"
    return store.Stored(
        tables.read_results(folder / "results.csv"),
        tables.read_costs(folder / "costs.csv"),
        pd.read_csv(history) if history.is_file() else pd.DataFrame(columns=["step", "quantity", "value"]),
        files.read_json(folder / "experiment.json"),
    )


def is_finished(experiment: Experiment) -> bool:
    """Whether `open_result` finds it."""
    return (store.results_folder(experiment) / "experiment.json").is_file() or store.holds(experiment.profile, experiment.name)


def planned_results(profile: str) -> list[RunResult]:
    """All experiments that experiments.yml plans for a profile, each once; an unfinished one is an error."""
    return [open_result(experiment) for experiment in all_planned(profile)]


def results_at_hand(profile: str) -> list[RunResult]:
    """The finished ones among a profile's planned experiments (see `finished_only`), for profiles that take nights or weeks."""
    finished = [open_result(experiment) for experiment in finished_only(all_planned(profile))]
    if not finished:
        raise InputError(f"profile {profile}", "none of its experiments is finished or stored", f"Run them: run all --profile {profile}.")
    return finished


def load_results(profile: str = "patients") -> pd.DataFrame:
    """All result tables of a profile's finished experiments as one, with the title of each in the column `title`."""
    return pd.concat([r.results.assign(title=experiment_title(r.experiment)) for r in results_at_hand(profile)], ignore_index=True)


def finished_only(planned: Iterable[Experiment]) -> list[Experiment]:
    """The finished experiments. Folds that are tested out of fold count as one run, and only once all of them are finished."""
    return [e for e in planned if all(is_finished(part) for part in _parts(e))]


def _parts(experiment: Experiment) -> list[Experiment]:
    if not cohorts.is_tested_out_of_fold(experiment.train_dataset, experiment):
        return [experiment]
    return [replace(experiment, fold=fold) for fold in folds_of(experiment)]
