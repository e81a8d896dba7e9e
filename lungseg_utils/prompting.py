"""Prompting by people: what a playground can offer of a profile, and recorded sessions beside the benchmark's own prompters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from . import cohorts, config, fetch, registry, run, tables, trained
from .prompts import recorded
from .types import Case, Experiment, InputError
from .viewers.playground.session import LoadedModel, OfferedModel


def cases(profile: str, most: int = 4) -> list[Case]:
    """Test cases of a profile: the first `most` of each phantom cohort (drawn if they are not there), and the real ones that are here."""
    size, found = config.load().profile(profile), []
    tested = dict.fromkeys(name for line in config.load().lines(profile) for name in line.test_datasets)
    for dataset in (name for name in tested if registry.card("datasets", name).phantom):
        patients = cohorts.patients_to_test(dataset, size)[:most]
        root = cohorts.ensure_phantoms(dataset, size, patients)
        found += [case for case in registry.plugin("datasets", dataset).cases(root) if case.patient_id in patients]
    for dataset in cohorts.available_real_datasets(size, fetch.is_here):
        found += cohorts.cases_to_test(dataset, size)
    return found


def models(profile: str) -> list[OfferedModel]:
    """What a profile asks with prompts, each once under the title that stands beside its numbers; what answers at once comes first.

    A stand-in that needs no training on the target is pretrained when it is first chosen, if it is not there yet (about a minute).
    """
    planned = dict.fromkeys(e for line in config.load().lines(profile) for e in run.planned(line.notebook, profile) if _is_prompted(e))
    return [OfferedModel(run.title(e), e.name, partial(_load, e)) for e in sorted(planned, key=_comes_later)]


def _is_prompted(experiment: Experiment) -> bool:
    """Not an automatic network: what it says of a scan does not depend on the prompt, and takes long."""
    card = registry.card("models", experiment.model)
    return "none" not in card.prompters or not card.learns


def _comes_later(experiment: Experiment) -> tuple[int, bool, bool]:
    """What answers at once before what is pretrained first, and that before what has to be trained by its notebook."""
    finished = (config.results_folder(experiment) / "experiment.json").is_file()
    paradigm = registry.card("paradigms", experiment.paradigm)
    if not registry.card("models", experiment.model).learns:
        rank = 1
    elif finished:
        rank = 0
    else:
        rank = 3 if paradigm.uses_target_labels else 2
    return rank, paradigm.few_shot, not paradigm.uses_target_labels


def _load(experiment: Experiment) -> LoadedModel:
    files = [path for path in trained.weights_files(experiment) if path]
    return LoadedModel(trained.segmenter_of(experiment), tables.sha256_of_file(files[-1]) if files else "none")


def with_sessions(result: run.RunResult, sessions: Sequence[recorded.Session]) -> run.RunResult:
    """A finished experiment with one more rung, "recorded": what it answers to what people had said at the end of their sessions.

    Each session is asked of the case that it was recorded on, scored as every other rung is. Within `recorded.on_the_ladder(sessions)`
    the tables and figures of the ladder show it. InputError for a session on another case or grid than the data set's own.
    """
    segmenter, size = trained.segmenter_of(result.experiment), config.load().profile(result.experiment.profile)
    results, costs = [], []
    with recorded.on_the_ladder(sessions):
        for session in sessions:
            case = _case_of(session, size)
            study = run.load_study(case)
            recorded.require_case(session, case.dataset, case.case_id, study.image)
            reference = next(iter(study.references.values()))
            prediction, actions = run.converse(segmenter, study, reference, recorded.RUNG, np.random.default_rng())
            keys = {"experiment": result.experiment.name, "test_dataset": case.dataset, "prompter": recorded.RUNG, "jitter": 0.0}
            keys |= {"case_id": case.case_id}
            results += run.score(keys | {"patient_id": case.patient_id}, study, prediction.mask)
            for quantity, value, unit in (
                ("actions", actions, "1"),
                ("drawing", session.seconds, "s"),
                ("prediction", prediction.seconds, "s"),
            ):
                costs.append({**keys, "quantity": quantity, "value": float(value), "unit": unit})
    return replace(
        result,
        results=pd.concat([result.results, tables.results_frame(results)], ignore_index=True),
        costs=pd.concat([result.costs, tables.costs_frame(costs)], ignore_index=True),
    )


def _case_of(session: recorded.Session, size: config.Profile) -> Case:
    root = cohorts.dataset_root(session.dataset, size)
    found = [case for case in registry.plugin("datasets", session.dataset).cases(root) if case.case_id == session.case_id]
    if not found:
        raise InputError(
            "recorded session", f"{session.dataset}/{session.case_id} is not among the cases in {root}", "Fetch the data first."
        )
    return found[0]
