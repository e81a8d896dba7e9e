"""Run one experiment: train once, predict and score every case, write tables and provenance.

All files of an experiment are in results/<profile>/<experiment name>/. A finished part is never computed again unless what it depends on
(data, options, code) changed. Each case is a separate file, so an interrupted run continues.
"""

from __future__ import annotations

import logging
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from .. import registry
from ..core import distributed, files, locks, project
from ..core.masks import longest_axial_diameter_mm
from ..core.measure import device_name, measure
from ..core.provenance import commit, environment, sha256_of_files, sha256_of_json, sha256_of_weights
from ..data import nifti, splits
from ..data.cases import Studies, load_study, sha256_of_cases
from ..evaluation import plan, protocols, tables
from ..evaluation.scoring import cut_ends
from ..prompts import sources
from ..prompts.ladder import prompt_rng
from ..types import (
    Case,
    Experiment,
    InputError,
    Mask,
    Options,
    Prediction,
    Record,
    Row,
    Segmenter,
    Study,
    TrainingDiverged,
    TrainingRun,
    trainable,
)
from . import code_identity, cohorts, config, detector, draws, initial_weights, store
from .interaction import MemoizedSegmenter, run_interaction
from .planning import Question, check_patients, detectors_of, experiment_title, questions_of
from .results import PROTOCOL_COUNTS, RunResult, prediction_path

_IN_TABLES = ("rows", "costs", "protocol_counts", "identity")  # parts of a case's record that provenance does not repeat
PATIENCE_SECONDS = 1800.0  # notebooks that run side by side may need the same experiment: the second waits for the first
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """All inputs of one run."""

    experiment: Experiment
    options: Options
    folder: Path
    cohort: cohorts.TrainingCohort
    tests: Mapping[str, Sequence[Case]]
    questions: Mapping[str, Sequence[Question]]  # by test data set
    detectors: Mapping[str, detector.Detector]  # by test data set, where boxes of one are asked for
    initial: Path | None
    identities: Row
    progress: bool


@dataclass(frozen=True)
class _Trained:
    """A trained segmenter; or the reason why there is none, and then every case is scored as failed."""

    segmenter: Segmenter
    history: pd.DataFrame
    failure: str = ""


def run(
    experiment: Experiment,
    test_datasets: Sequence[str],
    prompters: Sequence[str],
    progress: bool = True,
    workers: int = 1,
    prompt_sources: Sequence[str] | None = None,
) -> RunResult:
    """Train the experiment if it is not trained yet, evaluate it, and return its results.

    Args:
        experiment: what to train.
        test_datasets: names of the data sets that are tested.
        prompters: names of the prompt settings.
        progress: show bars.
        workers: processes that draw phantoms.
        prompt_sources: whose outlines prompts are drawn from; None: as the profile says.

    Raises:
        InputError: for data or settings that cannot be used, before any work starts.
    """
    check_patients(experiment)
    profile = config.load().profile(experiment.profile)
    options = config.resolve_options(experiment, profile)
    questions = {name: questions_of(experiment, name, prompters, prompt_sources) for name in test_datasets}
    folder = store.results_folder(experiment)
    finders = detectors_of(experiment, test_datasets, prompters)
    detectors = {other: detector.Detector(other) for other in {*finders.values()} - {experiment}}  # a missing one ends it before any work
    with locks.exclusive(folder / ".lock", "another process is running this experiment", PATIENCE_SECONDS):
        files.remove_leftovers(folder)
        # a wrong file ends it before any work
        initial = initial_weights.initial_weights(experiment.model, options, progress, experiment.seed)
        cohort = _training_cohort(experiment, profile, workers, progress)
        tests = {name: cohorts.cases_to_test(name, profile, workers, progress, experiment) for name in test_datasets}
        for cases in tests.values():
            splits.require_apart((*cohort.train, *cohort.validation), cases)
        identities = _identities(experiment, options, cohort, tests, initial)
        job = _Job(experiment, options, folder, cohort, tests, questions, {}, initial, identities, progress)
        trained = _prepare(job)
        if experiment in finders.values():
            detectors[experiment] = detector.Detector(experiment)
        job = replace(job, detectors={name: detectors[other] for name, other in finders.items()})
        return _finish(job, trained, _evaluate(job, trained))


def _training_cohort(experiment: Experiment, profile: config.Profile, workers: int, progress: bool) -> cohorts.TrainingCohort:
    if experiment.train_dataset == config.NO_DATASET:
        return cohorts.TrainingCohort((), ())
    return cohorts.training_cohort(
        experiment.train_dataset, profile, experiment.fold, workers, progress, k=experiment.k, draw=experiment.draw
    )


def _identities(
    experiment: Experiment,
    options: Options,
    cohort: cohorts.TrainingCohort,
    tests: Mapping[str, Sequence[Case]],
    initial: Path | None,
) -> Record:
    """Hashes of everything that the weights, and each prediction, depend on."""
    data = {"train": sha256_of_cases((*cohort.train, *cohort.validation))}
    data |= {name: sha256_of_cases(cases) for name, cases in tests.items()}
    first = initial_weights.sha256(experiment.model, options, initial)
    trained_on = [name for name in [experiment.train_dataset] if name != config.NO_DATASET]
    code = code_identity.of_training(experiment.model, experiment.paradigm, trained_on)
    training = sha256_of_json({"options": options, "seed": experiment.seed, "data": data["train"], "code": code, "initial": first})
    code = code_identity.of_evaluation(experiment.model, experiment.paradigm, (*trained_on, *tests))
    evaluation = sha256_of_json({"training": training, "data": data, "code": code, "matching": asdict(plan.read().matching)})
    return {"data": data, "initial": first, "code": code, "training": training, "evaluation": evaluation}


def _prepare(job: _Job) -> _Trained:
    """The trained segmenter; existing weights of the same identity are used, also those of another profile."""
    segmenter = _untrained(job)
    weights, history_path, identity = job.folder / "weights.pt", job.folder / "history.csv", job.identities["training"]
    trained = job.folder / "trained.json"  # written last, read first: outdated weights are never loaded, not even to look at them
    if files.read_json(trained).get("identity") != identity:
        trained.unlink(missing_ok=True)
        _take_over(job.folder, identity)
    record = files.read_json(trained)
    distributed.broadcast(identity if not record and segmenter.shares_batches else "")
    if record:
        if not record["failure"]:
            trainable(segmenter).load(weights)
        return _Trained(segmenter, pd.read_csv(history_path), record["failure"])
    result = _train(job, segmenter)
    if len(result.history):
        files.write(result.history, history_path)
        if not result.failure:
            trainable(segmenter).save(weights, {"identity": identity, "experiment": job.experiment.name})
        files.write_json({"identity": identity, "failure": result.failure}, trained)
    return result


def _untrained(job: _Job) -> Segmenter:
    return initial_weights.build_from(job.initial, job.experiment.model, job.options, job.experiment.seed)


def help_to_train(experiment: Experiment) -> None:
    """Work of a further process of torchrun: wait until the first one trains, and train with it. It writes nothing."""
    identity = distributed.broadcast()
    if not identity:
        return
    profile = config.load().profile(experiment.profile)
    options, folder = config.resolve_options(experiment, profile), store.results_folder(experiment)
    cohort = _training_cohort(experiment, profile, workers=1, progress=False)
    initial = initial_weights.initial_weights(experiment.model, options, False, experiment.seed)
    job = _Job(experiment, options, folder, cohort, {}, {}, {}, initial, {"training": identity}, progress=False)
    _train(job, _untrained(job))


def _take_over(folder: Path, identity: str) -> None:
    """Copy the same training from another profile, if it exists: profiles more often differ in evaluation than in training."""
    for found in sorted(folder.parents[1].glob("*/*/trained.json")):
        if files.read_json(found).get("identity") == identity:
            for name in ("weights.pt", "history.csv", "trained.json"):
                if (found.parent / name).is_file():
                    with files.atomic_path(folder / name) as temporary:
                        shutil.copyfile(found.parent / name, temporary)
            return


def _train(job: _Job, segmenter: Segmenter) -> _Trained:
    """Train by the paradigm. A training that diverges is a result too: its cases are scored as failed, and its reason is kept."""
    # training patients are looked through once, those of validation again and again
    train, validation = Studies(job.cohort.train), [load_study(case) for case in job.cohort.validation]
    paradigm = registry.paradigm(job.experiment.paradigm)
    run = TrainingRun(job.experiment.seed, job.folder, job.identities["training"], job.progress)
    with measure() as cost:
        try:
            segmenter, history = paradigm.prepare(segmenter, train, validation, run)
            failure = ""
        except TrainingDiverged as error:
            log.exception("%s diverged", job.experiment.name)
            history, failure = error.history, f"TrainingDiverged: {error}"
    distributed.close()
    if len(history):
        history = pd.concat([history, pd.DataFrame([{"step": history["step"].max(), "quantity": "seconds", "value": cost.seconds}])])
    return _Trained(segmenter, history, failure)


def _evaluate(job: _Job, trained: _Trained) -> list[Record]:
    """One record per test case and prompt setting; existing records of the same identity are read."""
    work = [(name, case) for name, cases in job.tests.items() for case in cases]
    return [
        record
        for dataset, case in tqdm(work, desc="test cases", unit="case", disable=not job.progress)
        for record in _case_records(job, trained, dataset, case)
    ]


def _case_records(job: _Job, trained: _Trained, dataset: str, case: Case) -> Iterator[Record]:
    study, segmenter = None, MemoizedSegmenter(trained.segmenter)
    facts: Record = {}
    for question in job.questions[dataset]:
        path = job.folder / "cases" / dataset / question.name / f"{case.case_id}.json"
        identity = f"{job.identities['evaluation']} {question.draws}"
        if question.source == sources.DETECTOR:
            identity += f" {job.detectors[dataset].identity}"
        record = files.read_json(path)
        if record.get("identity") != identity:
            study = study or load_study(case)
            facts = facts or _facts(case, study, trained.segmenter)
            record = _ask(job, replace(trained, segmenter=segmenter), dataset, case, study, question) | facts | {"identity": identity}
            files.write_json(record, path)
        yield record


def _facts(case: Case, study: Study, segmenter: Segmenter) -> Record:
    """Facts about a case that do not depend on the prompt setting."""
    if not study.references:
        raise InputError(case.case_id, "the case has no reference", "Leave it out of the test set.")
    ceiling = float(segmenter.resolution_ceiling(study.reference))
    return {
        "cut_by_volume_end": any(any(cut_ends(judged)) for judged in study.references.values()),
        "attributes": dict(case.attributes),
        "resolution_ceiling": ceiling if np.isfinite(ceiling) else None,
        "diameter_mm": longest_axial_diameter_mm(study.reference) if study.reference.array.any() else None,
    }


def _ask(job: _Job, trained: _Trained, dataset: str, case: Case, study: Study, question: Question) -> Record:
    """Prompt, predict, score: all rows of one case in one prompt setting, averaged over its draws, or over the readers who prompt."""
    keys: Record = {"experiment": job.experiment.name, "test_dataset": dataset, "case_id": case.case_id}
    keys |= {"prompter": question.prompter, "source": question.source, "jitter": question.jitter}
    rows, costs, failures, counts = [], [], [], None
    drawn = draws.draws_of(question, case, study, lambda: job.detectors[dataset].find(case, study))
    for draw, (pointed_at, score_it) in enumerate(drawn):
        with measure() as total:
            given = _predict(job, trained, dataset, case, study, pointed_at, question, draw)
        failures.append(given.failure)
        rows.append(score_it(keys | {"patient_id": case.patient_id}, given.prediction.mask, bool(given.failure)))
        costs.append(_cost_rows(keys, given, total.seconds + given.prediction.spared_seconds))
    if question.is_plain and study.reference.array.any():
        ignore = None if study.ignore is None else study.ignore.array
        masks = protocols.CaseMasks(case.patient_id, study.reference.array, (given.prediction.mask.array,), ignore)
        counts = protocols.measure(masks).as_plain()
    return {
        "case_id": case.case_id,
        "test_dataset": dataset,
        "prompter": question.prompter,
        "source": question.source,
        "jitter": question.jitter,
        "failure": "; ".join(dict.fromkeys(filter(None, failures))),
        "rows": tables.mean_rows(rows) + (tables.best_rows(rows) if question.jitter else []),
        "costs": tables.mean_rows(costs),
        "protocol_counts": counts,
    }


@dataclass(frozen=True)
class _Given:
    """The last prediction of a segmenter, the number of a person's actions that its prompts cost, and the reason if it failed."""

    prediction: Prediction
    actions: int = 0
    failure: str = ""


def _predict(
    job: _Job, trained: _Trained, dataset: str, case: Case, study: Study, pointed_at: Mask, question: Question, draw: int
) -> _Given:
    """The prediction for one case in one prompt setting; written to its file unless prompts are drawn with errors or by another reader."""
    path = prediction_path(job.folder, dataset, question.prompter, case.case_id)
    if question.is_plain:
        path.unlink(missing_ok=True)
    rng = prompt_rng(dataset, case.case_id, question.name, draw)
    nothing = Prediction(Mask(np.zeros(study.image.shape, dtype=bool), study.image.affine), None, np.nan, np.nan)
    if trained.failure:
        return _Given(nothing, failure=trained.failure)
    try:
        prediction, actions = run_interaction(trained.segmenter, study, pointed_at, question.prompter, rng, question.jitter)
    except Exception as error:  # a model that fails is a result: scored as an empty prediction, its reason kept and shown
        log.exception("%s failed on %s", job.experiment.name, case.case_id)
        place = traceback.extract_tb(error.__traceback__)[-1].name
        return _Given(nothing, failure=f"{type(error).__name__}: {error} (in {place})")
    if question.is_plain:
        nifti.write_mask(prediction.mask, path, like_path=case.image_path)
    return _Given(prediction, actions)


def _cost_rows(shared: Row, given: _Given, seconds: float) -> list[Record]:
    quantities = (
        ("prediction", given.prediction.seconds + given.prediction.spared_seconds, "s"),
        ("prompting, prediction and writing", seconds, "s"),
        ("peak memory", given.prediction.peak_memory_mb, "MB"),
        ("actions", given.actions, "1"),
        ("fallback", given.prediction.fallback_share, "1"),
    )
    return [{**shared, "quantity": name, "value": float(value), "unit": unit} for name, value, unit in quantities if np.isfinite(value)]


def _finish(job: _Job, trained: _Trained, records: Sequence[Row]) -> RunResult:
    """Write complete tables and provenance, and return them."""
    results = tables.results_frame([row for record in records for row in record["rows"]])
    costs = tables.costs_frame([row for record in records for row in record["costs"]])
    tables.require_complete(results, _planned_rows(job), job.folder)
    provenance = _provenance(job, trained, records)
    files.write(results, job.folder / "results.csv")
    files.write(costs, job.folder / "costs.csv")
    files.write_json(_protocol_counts(records), job.folder / PROTOCOL_COUNTS)
    files.write_json(provenance, job.folder / "experiment.json")
    return RunResult(job.experiment, job.folder, results, costs, trained.history, provenance)


def _protocol_counts(records: Sequence[Row]) -> dict[str, dict[str, list[Record]]]:
    """Test data set -> prompt setting -> counts for the published protocols, one record per case with a tumor."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for record in records:
        if record["protocol_counts"]:
            found.setdefault(record["test_dataset"], {}).setdefault(record["prompter"], []).append(record["protocol_counts"])
    return found


def _planned_rows(job: _Job) -> list[Record]:
    return [
        {
            "experiment": job.experiment.name,
            "test_dataset": name,
            "prompter": q.prompter,
            "source": q.source,
            "jitter": q.jitter,
            "case_id": case.case_id,
        }
        for name, cases in job.tests.items()
        for case in cases
        for q in job.questions[name]
    ]


def _provenance(job: _Job, trained: _Trained, records: Sequence[Row]) -> Record:
    device = str(trained.segmenter.device)
    named = {"train": job.cohort.train, "validation": job.cohort.validation, **job.tests}
    return {
        "experiment": job.experiment.as_dict(),
        "name": job.experiment.name,
        "title": experiment_title(job.experiment),
        "training_failure": trained.failure,
        "detectors": {finder.experiment.name: finder.provenance() for finder in job.detectors.values()},
        "options": dict(job.options),
        "patients": {name: [c.patient_id for c in cases] for name, cases in named.items()},
        "sha256": {
            "data": job.identities["data"],
            "initial weights": job.identities["initial"],
            "weights": sha256_of_weights(job.folder / "weights.pt"),
            "code": job.identities["code"],
            "frozen": sha256_of_files([project.project_root() / cohorts.FROZEN_FILE], project.project_root()),
        },
        "commit": commit(project.project_root()),
        "environment": environment(),
        "device": device,
        "machine": device_name(device.partition(":")[0]),
        **trained.segmenter.parameters(),
        "cases": [{key: value for key, value in record.items() if key not in _IN_TABLES} for record in records],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
