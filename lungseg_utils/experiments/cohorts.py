"""Select the cases that a profile trains on and tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from .. import registry
from ..core import project
from ..data import exclusions
from ..data.splits import has_test_part, held_out_patients, in_order, read_splits, require_known
from ..phantoms.store import generator_hash
from ..types import Case, Experiment, InputError
from . import config
from .config import Profile

_DRAWS_OF_K = 20250501  # a stream of random numbers of its own, apart from those of the phantoms and of training
FROZEN_FILE = Path("data") / "frozen.json"


@dataclass(frozen=True)
class TrainingCohort:
    """Labeled patients of one fold."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]


def dataset_root(dataset: str, profile: Profile) -> Path:
    """Folder of a data set, or of the one that it is a part of; phantoms have one per grid, because profiles share them."""
    if registry.card("datasets", dataset).phantom:
        return project.cache_root() / "phantoms" / profile.phantoms.grid / dataset
    return project.cache_root() / registry.whole(dataset)


def training_patients(dataset: str, profile: Profile, fold: int) -> tuple[list[str], list[str]]:
    """Patient ids of (training, validation): fold `fold` validates, the others train.

    Phantoms: the first ones, as many as the profile says. Real data sets: all patients that are not excluded. A data set without a test
    part is tested out of fold: fold `fold` is tested, the next one validates.
    """
    splits = read_splits(dataset)
    development = splits[splits["split"] == "development"]
    if registry.card("datasets", dataset).phantom:
        counts = profile.phantoms
        return (
            _first(development[development["fold"] != fold], counts.train, f"training patients of {dataset}"),
            _first(development[development["fold"] == fold], counts.validation, f"validation patients of {dataset}"),
        )
    usable = development[~development["patient_id"].isin(exclusions.read([dataset])["case_id"])]
    validating = (fold + 1) % development["fold"].nunique() if _is_out_of_fold(dataset, profile) else fold
    train = usable["patient_id"][~usable["fold"].isin([fold, validating])]
    validation = usable["patient_id"][usable["fold"] == validating]
    return _at_most(dataset, train, profile.patients.train), _at_most(dataset, validation, profile.patients.validation)


def _is_out_of_fold(dataset: str, profile: Profile) -> bool:
    """Whether a real data set is tested on the fold that a training left out: it has no test part, or settings are still chosen."""
    return profile.patients.test_split == "development" or not has_test_part(read_splits(dataset))


def _at_most(dataset: str, patient_ids: Iterable[str], count: int | None) -> list[str]:
    return sorted(in_order(dataset, patient_ids)[:count])


def few_shot_patients(dataset: str, profile: Profile, fold: int, k: int, draw: int) -> list[str]:
    """k of a fold's training patients with a tumor, in the order of a draw; a larger k of the same draw contains the smaller one."""
    train, _ = training_patients(dataset, profile, fold)
    tumor_free = set(read_splits(dataset).query("tumor_free == 1")["patient_id"])
    eligible = [p for p in train if p not in tumor_free]
    if k > len(eligible):
        there = f"{dataset} has {len(eligible)} training patients with a tumor under profile {profile.name}"
        raise InputError(f"k = {k}", there, f"Choose k from 1 to {len(eligible)}.")
    order = np.random.default_rng([_DRAWS_OF_K, draw]).permutation(len(eligible))
    return [eligible[i] for i in order[:k]]


def labeled_patients(dataset: str, profile: Profile, fold: int, k: int | None = None, draw: int = 0) -> tuple[list[str], list[str]]:
    """Patient ids of (training, validation) of an experiment: those of a fold, or with `k` those of one draw without validation patients.

    Reads only the split: InputError if it has too few patients, before anything is drawn or loaded.
    """
    return training_patients(dataset, profile, fold) if k is None else (few_shot_patients(dataset, profile, fold, k, draw), [])


def patients_to_test(dataset: str, profile: Profile) -> list[str]:
    """Ids of the test patients: those with a tumor first, then the tumor-free ones."""
    splits = read_splits(dataset)
    rows = splits[splits["split"] == profile.phantoms.test_split]
    with_tumor, without = rows[rows["tumor_free"] == 0], rows[rows["tumor_free"] == 1]
    return _first(with_tumor, profile.phantoms.test, f"test patients of {dataset}") + _first(
        without, profile.phantoms.tumor_free, f"tumor-free test patients of {dataset}"
    )


def _first(rows: pd.DataFrame, count: int, what: str) -> list[str]:
    if count > len(rows):
        raise InputError(what, f"{count} asked for, {len(rows)} in the split", "Ask for fewer in experiments.yml.")
    return list(rows["patient_id"][:count])


def ensure_phantoms(dataset: str, profile: Profile, patient_ids: Iterable[str], workers: int = 1, progress: bool = True) -> Path:
    """Generate the missing phantoms and return their root; test patients only by the frozen generator."""
    root, module = dataset_root(dataset, profile), registry.phantoms(dataset)
    patient_ids = list(patient_ids)
    test = set(read_splits(dataset).query("split == 'test'")["patient_id"])
    if test & set(patient_ids):
        _require_frozen(generator_hash())
    if profile.phantoms.grid not in module.GRIDS:
        raise InputError(f"grid {profile.phantoms.grid}", f"not known to {dataset}", f"Choose one of {', '.join(module.GRIDS)}.")
    bar = partial(tqdm, desc=f"drawing {dataset}", unit="patient") if progress else None
    module.generate(root, patient_ids, module.GRIDS[profile.phantoms.grid], workers=workers, progress=bar)
    return root


def _require_frozen(generator_sha256: str) -> None:
    path = project.project_root() / FROZEN_FILE
    frozen = json.loads(path.read_text()) if path.is_file() else {}
    if frozen.get("phantom_generator_sha256") != generator_sha256:
        raise InputError(
            path,
            "test phantoms are drawn only by the frozen generator, and the generator differs from it",
            "Undo the change to lungseg_utils/phantoms, or use a profile whose test_split is dev_test.",
        )


def training_cohort(
    dataset: str, profile: Profile, fold: int, workers: int = 1, progress: bool = True, k: int | None = None, draw: int = 0
) -> TrainingCohort:
    """The labeled cases of one fold, or with `k` the k patients of one draw; phantoms are generated first."""
    train, validation = labeled_patients(dataset, profile, fold, k, draw)
    found = _cases_of(dataset, profile, [*train, *validation], workers, progress)
    return TrainingCohort(_select(found, train), _select(found, validation))


def cases_to_test(
    dataset: str, profile: Profile, workers: int = 1, progress: bool = True, experiment: Experiment | None = None
) -> tuple[Case, ...]:
    """The test cases: a profile's number of phantoms, or the usable cases of a real data set (see `exclusions`).

    If the profile trains on the real data set: the cases of its test part. Without a test part: the cases of the fold that `experiment`
    left out, or of all folds if the experiment was trained on another data set.
    """
    if registry.card("datasets", dataset).phantom:
        patients = patients_to_test(dataset, profile)
        return _select(_cases_of(dataset, profile, patients, workers, progress), patients)
    cases = exclusions.usable(dataset, dataset_root(dataset, profile))
    if dataset not in config.load().trained_on(profile.name):
        return tuple(cases)
    require_known(cases, read_splits(dataset), dataset)
    fold = experiment.fold if experiment is not None and experiment.train_dataset == dataset else None
    tested = set(tested_patients(dataset, profile, fold))
    return tuple(case for case in cases if case.patient_id in tested)


def tested_patients(dataset: str, profile: Profile, trained_fold: int | None) -> list[str]:
    """Patients of a real data set that a profile tests, if it trains on it; `trained_fold`: of an experiment that was trained on it."""
    out_of_fold = _is_out_of_fold(dataset, profile)
    chosen = profile.folds if trained_fold is None and profile.patients.test_split == "development" else [trained_fold]
    held_out = set().union(*(held_out_patients(dataset, fold, out_of_fold) for fold in chosen))
    return _at_most(dataset, held_out - set(exclusions.read([dataset])["case_id"]), profile.patients.test)


def is_tested_out_of_fold(dataset: str, experiment: Experiment) -> bool:
    """Whether an experiment is tested on the fold that it left out of `dataset`: it was trained on it, and the split has no test part."""
    if dataset == config.NO_DATASET or dataset != experiment.train_dataset or registry.card("datasets", dataset).phantom:
        return False
    return _is_out_of_fold(dataset, config.load().profile(experiment.profile))


def planned_test_patients(dataset: str, experiment: Experiment, folds: Iterable[int]) -> set[str]:
    """Patients that an experiment and those of the other `folds` test together; of real data those of the split that are not excluded."""
    asked = folds if is_tested_out_of_fold(dataset, experiment) else [None]
    profile = config.load().profile(experiment.profile)
    return set().union(*(tested_patients(dataset, profile, fold) for fold in asked))


def _cases_of(dataset: str, profile: Profile, patients: Sequence[str], workers: int, progress: bool) -> list[Case]:
    if registry.card("datasets", dataset).phantom:
        ensure_phantoms(dataset, profile, patients, workers, progress)
        return registry.dataset(dataset).cases(dataset_root(dataset, profile))
    return exclusions.usable(dataset, dataset_root(dataset, profile))


def cases_on_disk(dataset: str, profile: Profile, patients: Sequence[str]) -> tuple[Case, ...]:
    """All cases of these patients, in their order; nothing is drawn. InputError names the first missing one."""
    return _select(registry.dataset(dataset).cases(dataset_root(dataset, profile)), patients)


def _select(cases: Sequence[Case], patient_ids: Sequence[str]) -> tuple[Case, ...]:
    by_patient: dict[str, list[Case]] = {}
    for case in cases:
        by_patient.setdefault(case.patient_id, []).append(case)
    if lacking := [p for p in patient_ids if p not in by_patient]:
        raise InputError(lacking[0], "the split names this patient, but the data set has no case", "Repair the split, or add the case.")
    return tuple(case for patient_id in patient_ids for case in by_patient[patient_id])


def available_real_datasets(profile: Profile, is_available: Callable[[str, Path], bool]) -> tuple[str, ...]:
    """The real data sets of a profile whose files are on this machine."""
    return tuple(name for name in profile.real_datasets if is_available(registry.whole(name), project.cache_root()))
