"""Cases and models that a playground offers."""

from __future__ import annotations

import math
from functools import partial

from ... import registry
from ...core import provenance
from ...data import samples
from ...experiments import cohorts, config, load, planning, store
from ...reporting.values import training_seconds
from ...types import Case, Experiment
from .session import LoadedModel, OfferedModel

_PRETRAINED_FIRST, _TRAINED_FIRST = 2, 3  # ranks of what has to be made before it can be asked


def cases(profile: str, most: int = 4) -> list[Case]:
    """Test cases of a profile: the first `most` of each phantom cohort (drawn if they are not there), and the real ones that are here."""
    size, found = config.load().profile(profile), []
    tested = dict.fromkeys(name for line in config.load().lines(profile) for name in line.test_datasets)
    for dataset in (name for name in tested if registry.card("datasets", name).phantom):
        patients = cohorts.patients_to_test(dataset, size)[:most]
        root = cohorts.ensure_phantoms(dataset, size, patients)
        found += [case for case in registry.plugin("datasets", dataset).cases(root) if case.patient_id in patients]
    for dataset in cohorts.available_real_datasets(size, samples.is_here):
        found += cohorts.cases_to_test(dataset, size)
    return found


def models(profile: str) -> list[OfferedModel]:
    """What a profile asks with prompts, each once under the title that stands beside its numbers; what answers at once comes first.

    A stand-in that needs no training on the target is pretrained when it is first chosen, if it is not there yet (about a minute).
    """
    planned = dict.fromkeys(
        e for line in config.load().lines(profile) for e in planning.planned_runs(line.notebook, profile) if _is_prompted(e)
    )
    return [OfferedModel(planning.experiment_title(e), e.name, partial(_load, e), _wait(e)) for e in sorted(planned, key=_comes_later)]


def _wait(experiment: Experiment) -> str:
    """What a model takes before its first prediction, where it is not ready."""
    rank = _comes_later(experiment)[0]
    if rank == _PRETRAINED_FIRST:
        return "pretrained at the first prompt, minutes"
    if rank == _TRAINED_FIRST:
        minutes = _stored_minutes(experiment)
        return "not trained yet: run its notebook" + (f", about {minutes} min of training" if minutes else "")
    return ""


def _stored_minutes(experiment: Experiment) -> int:
    """Minutes that the training took where the stored result was made; 0 if that is not known."""
    if not store.holds(experiment.profile, experiment.name):
        return 0
    return math.ceil(training_seconds(store.read(experiment.profile, experiment.name).history) / 60)


def _is_prompted(experiment: Experiment) -> bool:
    """Not an automatic network: what it says of a scan does not depend on the prompt, and takes long."""
    card = registry.card("models", experiment.model)
    return not card.is_automatic


def _comes_later(experiment: Experiment) -> tuple[int, bool, bool]:
    """What answers at once before what is pretrained first, and that before what has to be trained by its notebook."""
    finished = (store.results_folder(experiment) / "experiment.json").is_file()
    paradigm = registry.card("paradigms", experiment.paradigm)
    if not registry.card("models", experiment.model).learns:
        rank = 1
    elif finished:
        rank = 0
    else:
        rank = _TRAINED_FIRST if paradigm.uses_target_labels else _PRETRAINED_FIRST
    return rank, paradigm.few_shot, not paradigm.uses_target_labels


def _load(experiment: Experiment) -> LoadedModel:
    files = [path for path in load.weights_files(experiment) if path]
    return LoadedModel(load.segmenter_of(experiment), provenance.sha256_of_file(files[-1]) if files else "none")
