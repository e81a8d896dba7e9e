"""An experiment from start to end: train once, ask many times, write tables and provenance. No model names in here.

Everything of one experiment lies in results/<profile>/<experiment name>/. A finished part is never done again unless what
it depends on (data, options, code) changed; each case is a file of its own, so that an interrupted run goes on.
"""

from __future__ import annotations

import logging
import shutil
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from . import code_hash, cohorts, config, detector, initial_weights, io, locks, metrics, processes, registry, stored, tables
from .cohorts import load_study
from .efficiency import device_name, measure
from .prompts.jitter import perturb
from .prompts.ladder import MOST_CLICKS, prompt_rng
from .prompts.ladder import prompter as rung
from .types import Case, Experiment, InputError, Mask, ParadigmCard, Prediction, Study, TrainingDiverged

PATIENCE_SECONDS = 1800.0  # notebooks that run side by side may need the same experiment: the second waits for the first
log = logging.getLogger(__name__)
_LARGEST_SEED = 2**32 - 1  # that all generators of random numbers take
# smallest and largest value of what tells runs of one notebook apart
_CHOICES = {"seed": (0, _LARGEST_SEED), "fold": (0, cohorts.FOLDS - 1), "k": (0, _LARGEST_SEED), "draw": (0, _LARGEST_SEED)}


@dataclass(frozen=True)
class RunResult:
    """What a notebook shows: tables, history, provenance, and where predictions lie."""

    experiment: Experiment
    folder: Path
    results: pd.DataFrame
    costs: pd.DataFrame
    history: pd.DataFrame
    provenance: Mapping[str, Any]

    def asked(self, *prompters: str) -> pd.DataFrame:
        """Results of these rungs (none named: of all) with prompts as they should be drawn, without jitter."""
        return as_drawn(self.results, prompters)

    def prediction(self, dataset: str, prompter: str, case_id: str, like: Study) -> Mask:
        """The stored prediction of a case; an empty mask if the model failed on it."""
        path = _prediction_path(self.folder, dataset, prompter, case_id)
        if not path.is_file():
            return Mask(np.zeros(like.image.shape, dtype=bool), like.image.affine)
        return io.read_mask(path, like=like.image, allow_empty=True)

    def cases(self, dataset: str) -> tuple[Case, ...]:
        """The cases of a test data set, in the order of the split."""
        return cohorts.cases_to_test(dataset, config.load().profile(self.experiment.profile), progress=False, experiment=self.experiment)


def as_drawn(results: pd.DataFrame, prompters: Sequence[str] = ()) -> pd.DataFrame:
    """Rows of these rungs (none named: of all) with prompts as they should be drawn, without jitter."""
    rows = results[results["jitter"] == 0]
    return rows[rows["prompter"].isin(prompters)] if prompters else rows


def plan(
    notebook: str,
    profile: str,
    seed: int = 0,
    fold: int = 0,
    k: int | None = None,
    draw: int = 0,
    options: Mapping[str, Any] | None = None,
    train_dataset: str | None = None,
) -> Experiment:
    """The Experiment that a line of experiments.yml means under a profile, with the profile's stand-in for a published model.

    Few-shot: `k` 0 or None is the profile's first k. `train_dataset` None: the profile's first, else the line's own. InputError names a
    number that cannot be, and those that can.
    """
    train_dataset = train_dataset or config.load().train_datasets(notebook, profile)[0]
    line, size = config.load().experiment(notebook), config.load().profile(profile)
    few_shot = registry.card("paradigms", line.paradigm).few_shot
    _check_choices(notebook, few_shot, seed=seed, fold=fold, k=k or 0, draw=draw)
    stand_in = size.stand_ins.get(line.model)
    model = stand_in.model if stand_in else line.model
    options = {**(stand_in.options if stand_in else {}), **size.notebook_options.get(notebook, {}), **(options or {})}
    shots = {"k": k or size.k[0], "draw": draw} if few_shot else {}
    experiment = Experiment(
        profile, train_dataset, model, line.paradigm, seed=seed, fold=fold, options=tuple(sorted(options.items())), **shots
    )
    config.resolve_options(experiment, size)
    return experiment


def _check_choices(notebook: str, few_shot: bool, **chosen: int) -> None:
    for name, value in chosen.items():
        low, high = _CHOICES[name]
        if type(value) is not int or not low <= value <= high:
            raise InputError(notebook, f"{name} is {value!r}", f"Give a whole number from {low} to {high}.")
    if not few_shot and (chosen["k"] or chosen["draw"]):
        raise InputError(notebook, f"k is {chosen['k']} and draw {chosen['draw']}, but it is not few-shot", "Leave both at 0.")


def check_patients(experiment: Experiment) -> None:
    """InputError if the split has too few patients for the fold and k of an experiment. Nothing is drawn or loaded for it."""
    if experiment.train_dataset != config.NO_DATASET:
        profile = config.load().profile(experiment.profile)
        cohorts.labelled_patients(experiment.train_dataset, profile, experiment.fold, experiment.k, experiment.draw)


def planned(notebook: str, profile: str) -> list[Experiment]:
    """All experiments of a notebook under a profile: its own first, then training sets, seeds, folds, k, draws and variants.

    Draws of k patients are the runs of few-shot training: they are not crossed with folds, which only say who validates.
    """
    size, line = config.load().profile(profile), config.load().experiment(notebook)
    paradigm = registry.card("paradigms", line.paradigm)
    folds = _folds(paradigm, size)
    runs = [(s, f) for s in size.seeds for f in folds] if paradigm.uses_target_labels else [(size.seeds[0], size.folds[0])]
    shots = [(k, draw) for draw in size.draws for k in size.k] if paradigm.few_shot else [(None, 0)]
    return [
        plan(notebook, profile, seed, fold, k, draw, options, train_dataset)
        for options in ({}, *size.variants.get(notebook, ()))
        for train_dataset in config.load().train_datasets(notebook, profile)
        for seed, fold in runs
        for k, draw in shots
    ]


def folds_of(experiment: Experiment) -> tuple[int, ...]:
    """The folds in which the experiment's profile trains it."""
    return _folds(registry.card("paradigms", experiment.paradigm), config.load().profile(experiment.profile))


def _folds(paradigm: ParadigmCard, size: config.Profile) -> tuple[int, ...]:
    return size.folds[:1] if paradigm.few_shot else size.folds


def all_planned(profile: str) -> list[Experiment]:
    """All experiments of a profile, each once: two models may share a stand-in."""
    return list(dict.fromkeys(e for line in config.load().lines(profile) for e in planned(line.notebook, profile)))


def title(experiment: Experiment) -> str:
    """What stands beside the experiment's numbers: a stand-in, or a shortened training, is named as such.

    So is the training set, where the profile has several.
    """
    module, size = registry.plugin("models", experiment.model), config.load().profile(experiment.profile)
    options = config.resolve_options(experiment, size)
    model = module.title(options) if hasattr(module, "title") else module.CARD.title
    if not module.CARD.learns:
        return model
    paradigm = registry.card("paradigms", experiment.paradigm).title
    if len(size.train_datasets or ()) > 1 and experiment.train_dataset != config.NO_DATASET:
        paradigm += f" on {registry.card('datasets', experiment.train_dataset).title}"
    return f"{model}, {paradigm}" + (f", k = {experiment.k}" if experiment.k is not None else "")


def what_runs_here(experiment: Experiment, notebook: str) -> str:
    """One Markdown paragraph for the head of a page: what the numbers below are from, and what they are not."""
    asked, line = title(experiment), config.load().experiment(notebook)
    if experiment.model == line.model:
        return f"**What runs here:** {asked}."
    published = registry.card("models", line.model)
    return (
        f"**What runs here: {asked}**, in the place of {published.title} ({published.reference}). It shares the classes and the "
        f"training of that model, at a smaller size; its weights were never those of {published.title}, so **no number on this page is a "
        f"result of {published.title}**. With the published weights at hand the same notebook shows theirs."
    )


@dataclass(frozen=True)
class Question:
    """One way of asking: a rung, and by what share of a lesion's size its prompts are drawn wrongly, how often."""

    prompter: str
    jitter: float = 0.0
    draws: int = 1

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.prompter}__jitter{self.jitter:g}" if self.jitter else self.prompter


@dataclass(frozen=True)
class _Job:
    """Everything that one run works on."""

    experiment: Experiment
    options: Mapping[str, Any]
    folder: Path
    cohort: cohorts.TrainingCohort
    tests: Mapping[str, Sequence[Case]]
    questions: Mapping[str, Sequence[Question]]  # by test data set
    detectors: Mapping[str, detector.Detector]  # by test data set, where boxes of one are asked for
    initial: Path | None
    identities: Mapping[str, Any]
    progress: bool


@dataclass(frozen=True)
class _Trained:
    """A segmenter as its paradigm left it; or why there is none, then every case is scored as failed."""

    segmenter: Any
    history: pd.DataFrame
    failure: str = ""


def run(
    experiment: Experiment, test_datasets: Sequence[str], prompters: Sequence[str], progress: bool = True, workers: int = 1
) -> RunResult:
    """Train the experiment if it is not trained yet, evaluate it, and return all that there is to show."""
    check_patients(experiment)
    profile = config.load().profile(experiment.profile)
    options = config.resolve_options(experiment, profile)
    questions = {name: questions_of(experiment, name, prompters) for name in test_datasets}
    folder = config.results_folder(experiment)
    finders = detectors_of(experiment, test_datasets, prompters)
    detectors = {other: detector.Detector(other) for other in {*finders.values()} - {experiment}}  # a missing one ends it before any work
    with locks.exclusive(folder / ".lock", "another process is running this experiment", PATIENCE_SECONDS):
        io.remove_leftovers(folder)
        initial = initial_weights.initial_weights(experiment.model, options, progress)  # a wrong file ends it before any work
        cohort = _training_cohort(experiment, profile, workers, progress)
        tests = {name: cohorts.cases_to_test(name, profile, workers, progress, experiment) for name in test_datasets}
        for cases in tests.values():
            cohorts.require_apart((*cohort.train, *cohort.validation), cases)
        identities = _identities(experiment, options, cohort, tests, initial)
        job = _Job(experiment, options, folder, cohort, tests, questions, {}, initial, identities, progress)
        trained = _prepare(job)
        if experiment in finders.values():
            detectors[experiment] = detector.Detector(experiment)
        job = replace(job, detectors={name: detectors[other] for name, other in finders.items()})
        return _finish(job, trained, _evaluate(job, trained))


def questions_of(experiment: Experiment, dataset: str, prompters: Sequence[str]) -> list[Question]:
    """What is asked of an experiment on a data set: the rungs that it can be asked there, and those again with wrong prompts."""
    jitter = config.load().profile(experiment.profile).jitter
    asked = [name for name in prompters if not rung(name).from_detector or detector.applies(experiment, dataset)]
    wrongly = [Question(name, share, jitter.draws) for name in asked if name in jitter.prompters for share in jitter.shares]
    return [*map(Question, asked), *wrongly]


def detectors_of(experiment: Experiment, test_datasets: Sequence[str], prompters: Sequence[str]) -> dict[str, Experiment]:
    """Test data set -> whose boxes an experiment takes there; only where these rungs ask for some, and it may take them."""
    if not any(rung(name).from_detector for name in prompters):
        return {}
    return {name: detector.detector_of(experiment, name) for name in test_datasets if detector.applies(experiment, name)}


def _training_cohort(experiment: Experiment, profile: config.Profile, workers: int, progress: bool) -> cohorts.TrainingCohort:
    if experiment.train_dataset == config.NO_DATASET:
        return cohorts.TrainingCohort((), ())
    return cohorts.training_cohort(
        experiment.train_dataset, profile, experiment.fold, workers, progress, k=experiment.k, draw=experiment.draw
    )


def _identities(
    experiment: Experiment,
    options: Mapping[str, Any],
    cohort: cohorts.TrainingCohort,
    tests: Mapping[str, Sequence[Case]],
    initial: Path | None,
) -> dict[str, Any]:
    """Hashes of what the weights, and each answer, depend on."""
    data = {"train": cohorts.sha256_of_cases((*cohort.train, *cohort.validation))}
    data |= {name: cohorts.sha256_of_cases(cases) for name, cases in tests.items()}
    first = tables.sha256_of_files([initial], initial.parent) if initial else "none"
    trained_on = [name for name in [experiment.train_dataset] if name != config.NO_DATASET]
    code = code_hash.of_training(experiment.model, experiment.paradigm, trained_on)
    training = tables.sha256_of_json({"options": options, "seed": experiment.seed, "data": data["train"], "code": code, "initial": first})
    code = code_hash.of_evaluation(experiment.model, experiment.paradigm, (*trained_on, *tests))
    evaluation = tables.sha256_of_json({"training": training, "data": data, "code": code})
    return {"data": data, "initial": first, "code": code, "training": training, "evaluation": evaluation}


def _prepare(job: _Job) -> _Trained:
    """The segmenter as its paradigm leaves it; weights that are there from the same identity are used, also those of another profile."""
    segmenter = _untrained(job)
    weights, history_path, identity = job.folder / "weights.pt", job.folder / "history.csv", job.identities["training"]
    trained = job.folder / "trained.json"  # written last, read first: outdated weights are never loaded, not even to look at them
    if tables.read_json(trained).get("identity") != identity:
        trained.unlink(missing_ok=True)
        _take_over(job.folder, identity)
    record = tables.read_json(trained)
    processes.call(identity if not record and getattr(segmenter, "shares_batches", False) else "")
    if record:
        if not record["failure"]:
            segmenter.load(weights)
        return _Trained(segmenter, pd.read_csv(history_path), record["failure"])
    result = _train(job, segmenter)
    if len(result.history):
        tables.write(result.history, history_path)
        if not result.failure:
            segmenter.save(weights, {"identity": identity, "experiment": job.experiment.name})
        tables.write_json({"identity": identity, "failure": result.failure}, trained)
    return result


def _untrained(job: _Job) -> Any:
    segmenter = registry.plugin("models", job.experiment.model).build(job.options, job.experiment.seed)
    if job.initial:
        segmenter.load_pretrained(job.initial)
    return segmenter


def help_to_train(experiment: Experiment) -> None:
    """What a process does that torchrun started beside the first: wait until that one trains, and train with it. It writes nothing."""
    identity = processes.call()
    if not identity:
        return
    profile = config.load().profile(experiment.profile)
    options, folder = config.resolve_options(experiment, profile), config.results_folder(experiment)
    cohort = _training_cohort(experiment, profile, workers=1, progress=False)
    initial = initial_weights.initial_weights(experiment.model, options, progress=False)
    job = _Job(experiment, options, folder, cohort, {}, {}, None, initial, {"training": identity}, progress=False)
    _train(job, _untrained(job))


def _take_over(folder: Path, identity: str) -> None:
    """Copy the same training from where it was done, if it was: profiles differ in what they ask more often than in what they train."""
    for found in sorted(folder.parents[1].glob("*/*/trained.json")):
        if tables.read_json(found).get("identity") == identity:
            for name in ("weights.pt", "history.csv", "trained.json"):
                if (found.parent / name).is_file():
                    with io.atomic_path(folder / name) as temporary:
                        shutil.copyfile(found.parent / name, temporary)
            return


def _train(job: _Job, segmenter: Any) -> _Trained:
    """Let the paradigm train. A training that diverges is a result too: its cases are scored as failed, its reason is kept."""
    # training patients are looked through once, those of validation again and again
    train, validation = cohorts.Studies(job.cohort.train), [load_study(case) for case in job.cohort.validation]
    paradigm = registry.plugin("paradigms", job.experiment.paradigm)
    with measure() as cost:
        try:
            segmenter, history = paradigm.prepare(
                segmenter, train, validation, job.experiment.seed, job.folder, job.identities["training"], job.progress
            )
            failure = ""
        except TrainingDiverged as error:
            log.exception("%s diverged", job.experiment.name)
            history, failure = error.history, f"TrainingDiverged: {error}"
    processes.leave()
    if len(history):
        history = pd.concat([history, pd.DataFrame([{"step": history["step"].max(), "quantity": "seconds", "value": cost.seconds}])])
    return _Trained(segmenter, history, failure)


def _evaluate(job: _Job, trained: _Trained) -> list[dict[str, Any]]:
    """One record for each test case and question; those that are there from the same identity are read."""
    work = [(name, case) for name, cases in job.tests.items() for case in cases]
    return [
        record
        for dataset, case in tqdm(work, desc="test cases", unit="case", disable=not job.progress)
        for record in _case_records(job, trained, dataset, case)
    ]


def _case_records(job: _Job, trained: _Trained, dataset: str, case: Case) -> Iterator[dict[str, Any]]:
    study, facts, segmenter = None, {}, Remembering(trained.segmenter)
    for question in job.questions[dataset]:
        path = job.folder / "cases" / dataset / question.name / f"{case.case_id}.json"
        identity = f"{job.identities['evaluation']} {question.draws}"
        if rung(question.prompter).from_detector:
            identity += f" {job.detectors[dataset].identity}"
        record = tables.read_json(path)
        if record.get("identity") != identity:
            study = study or load_study(case)
            facts = facts or _facts(case, study, trained.segmenter)
            record = _ask(job, replace(trained, segmenter=segmenter), dataset, case, study, question) | facts | {"identity": identity}
            tables.write_json(record, path)
        yield record


class Remembering:
    """A segmenter that is asked about one image: what it is asked again it answers as before.

    A dialogue of n corrective clicks begins with all that those of fewer clicks ask, so that the whole ladder takes as many answers as
    its longest dialogue. The wall seconds of a dialogue are then those of what nobody had asked before. Kept without probabilities, which
    nothing here reads and which take four times the memory of the masks.
    """

    def __init__(self, segmenter: Any):
        self.set_image = segmenter.set_image
        self.predict = lru_cache(MOST_CLICKS)(lambda prompts: replace(segmenter.predict(prompts), probability=None))


def _facts(case: Case, study: Study, segmenter: Any) -> dict[str, Any]:
    """What a case's record says whatever is asked of it."""
    if not study.references:
        raise InputError(case.case_id, "the case has no reference", "Leave it out of the test set.")
    return {
        "cut_by_volume_end": any(any(_open_ends(judged)) for judged in study.references.values()),
        "attributes": dict(case.attributes),
        "resolution_ceiling": _resolution_ceiling(segmenter, next(iter(study.references.values()))),
    }


def _ask(job: _Job, trained: _Trained, dataset: str, case: Case, study: Study, question: Question) -> dict[str, Any]:
    """Prompt, predict, score: all rows of one case under one question, averaged over the draws of its jitter."""
    reference = next(iter(study.references.values()))
    pointed_at = job.detectors[dataset].find(case, study) if rung(question.prompter).from_detector else reference
    keys = {"experiment": job.experiment.name, "test_dataset": dataset, "prompter": question.prompter, "jitter": question.jitter}
    keys |= {"case_id": case.case_id}
    rows, costs, failures = [], [], []
    for draw in range(question.draws):
        with measure() as total:
            given = _predict(job, trained, dataset, case, study, pointed_at, question, draw)
        failures.append(given.failure)
        rows.append(score(keys | {"patient_id": case.patient_id}, study, given.prediction.mask, bool(given.failure)))
        costs.append(_cost_rows(keys, given, total.seconds))
    return {
        "case_id": case.case_id,
        "test_dataset": dataset,
        "prompter": question.prompter,
        "jitter": question.jitter,
        "failure": "; ".join(dict.fromkeys(filter(None, failures))),
        "rows": tables.mean_rows(rows) + tables.best_rows(rows),
        "costs": tables.mean_rows(costs),
    }


@dataclass(frozen=True)
class _Given:
    """What a segmenter gave: its last prediction, how many actions of a person its prompts would have cost, why it failed."""

    prediction: Prediction
    actions: int = 0
    failure: str = ""


def _predict(
    job: _Job, trained: _Trained, dataset: str, case: Case, study: Study, pointed_at: Mask, question: Question, draw: int
) -> _Given:
    """The answer to one question; without jitter it is written to its file."""
    path = _prediction_path(job.folder, dataset, question.prompter, case.case_id)
    if not question.jitter:
        path.unlink(missing_ok=True)
    rng = prompt_rng(dataset, case.case_id, question.name, draw)
    nothing = Prediction(Mask(np.zeros(study.image.shape, dtype=bool), study.image.affine), None, np.nan, np.nan)
    if trained.failure:
        return _Given(nothing, failure=trained.failure)
    try:
        prediction, actions = converse(trained.segmenter, study, pointed_at, question.prompter, rng, question.jitter)
    except Exception as error:  # a model that fails is a result: scored as an empty answer, its reason kept and shown
        log.exception("%s failed on %s", job.experiment.name, case.case_id)
        place = traceback.extract_tb(error.__traceback__)[-1].name
        return _Given(nothing, failure=f"{type(error).__name__}: {error} (in {place})")
    if not question.jitter:
        io.write_mask(prediction.mask, path, like_path=case.image_path if case.image_path.is_file() else None)
    return _Given(prediction, actions)


def score(keys: Mapping[str, Any], study: Study, answer: Mask, failed: bool = False) -> list[dict[str, Any]]:
    """The rows of the result table for one answer to one case, against each of its references; `keys` as `tables.result_rows` wants."""
    rows = []
    for reader, judged in study.references.items():
        values = metrics.score_case(judged, answer, study.ignore, _open_ends(judged))
        lesions = metrics.score_lesions(judged, answer, study.ignore)
        rows += tables.result_rows(keys, reader, values, lesions, failed)
    return rows


def _open_ends(reference: Mask) -> tuple[bool, bool]:
    return bool(reference.array[:, :, 0].any()), bool(reference.array[:, :, -1].any())


def _cost_rows(shared: Mapping[str, Any], given: _Given, seconds: float) -> list[dict[str, Any]]:
    quantities = (
        ("prediction", given.prediction.seconds, "s"),
        ("prompting, prediction and writing", seconds, "s"),
        ("peak memory", given.prediction.peak_memory_mb, "MB"),
        ("actions", given.actions, "1"),
    )
    return [{**shared, "quantity": name, "value": float(value), "unit": unit} for name, value, unit in quantities if np.isfinite(value)]


def answer(segmenter: Any, study: Study, reference: Mask | None, prompter: str, rng: np.random.Generator) -> Prediction:
    """What a segmenter says at the end of a dialogue with a prompter."""
    return converse(segmenter, study, reference, prompter, rng)[0]


def converse(
    segmenter: Any, study: Study, pointed_at: Mask | None, prompter: str, rng: np.random.Generator, jitter: float = 0.0
) -> tuple[Prediction, int]:
    """Let a prompter and a segmenter talk until the prompter has no more to say; the last prediction, and the actions it cost.

    `pointed_at` is what the prompter knows: the reference, or what a detector found. Detectors cost nobody an action.
    """
    segmenter.set_image(study.image)
    dialogue = rung(prompter).make(pointed_at, rng)
    hints = next(dialogue)
    while True:
        prediction = segmenter.predict(perturb(hints, jitter, rng, study.image.shape, study.image.spacing_mm))
        if prediction.mask.shape != study.image.shape:
            raise InputError("prediction", f"its grid {prediction.mask.shape} is not the image's {study.image.shape}", "Repair the model.")
        actions = 0 if rung(prompter).from_detector else sum(hint.actions for hint in hints)
        try:
            hints = dialogue.send(prediction)
        except StopIteration:
            return prediction, actions


def _resolution_ceiling(segmenter: Any, reference: Mask) -> float | None:
    ceiling = getattr(segmenter, "resolution_ceiling", None)
    value = ceiling(reference) if ceiling else np.nan
    return float(value) if np.isfinite(value) else None


def _places(experiment: Experiment) -> tuple[Path, Path]:
    return config.results_folder(experiment), stored.folder(experiment.profile, experiment.name)


def _prediction_path(folder: Path, dataset: str, prompter: str, case_id: str) -> Path:
    return folder / "predictions" / dataset / prompter / f"{case_id}.nii.gz"


def _finish(job: _Job, trained: _Trained, records: Sequence[Mapping[str, Any]]) -> RunResult:
    """Complete tables and provenance, written and returned."""
    results = tables.results_frame([row for record in records for row in record["rows"]])
    costs = tables.costs_frame([row for record in records for row in record["costs"]])
    tables.require_complete(results, _planned_rows(job), job.folder)
    provenance = _provenance(job, trained, records)
    tables.write(results, job.folder / "results.csv")
    tables.write(costs, job.folder / "costs.csv")
    tables.write_json(provenance, job.folder / "experiment.json")
    return RunResult(job.experiment, job.folder, results, costs, trained.history, provenance)


def _planned_rows(job: _Job) -> list[dict[str, Any]]:
    return [
        {"experiment": job.experiment.name, "test_dataset": name, "prompter": q.prompter, "jitter": q.jitter, "case_id": case.case_id}
        for name, cases in job.tests.items()
        for case in cases
        for q in job.questions[name]
    ]


def _provenance(job: _Job, trained: _Trained, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    device = str(getattr(trained.segmenter, "device", "cpu"))
    named = {"train": job.cohort.train, "validation": job.cohort.validation, **job.tests}
    return {
        "experiment": job.experiment.as_dict(),
        "name": job.experiment.name,
        "title": title(job.experiment),
        "training_failure": trained.failure,
        "detectors": {finder.experiment.name: finder.provenance() for finder in job.detectors.values()},
        "options": dict(job.options),
        "patients": {name: [c.patient_id for c in cases] for name, cases in named.items()},
        "sha256": {
            "data": job.identities["data"],
            "initial weights": job.identities["initial"],
            "weights": tables.sha256_of_weights(job.folder / "weights.pt"),
            "code": job.identities["code"],
            "frozen": tables.sha256_of_files([config.project_root() / cohorts.FROZEN_FILE], config.project_root()),
        },
        "commit": tables.commit(config.project_root()),
        "environment": tables.environment(),
        "device": device,
        "machine": device_name(device.partition(":")[0]),
        **trained.segmenter.parameters(),
        "cases": [{key: value for key, value in record.items() if key not in ("rows", "costs", "identity")} for record in records],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def open_result(experiment: Experiment) -> RunResult:
    """A finished experiment from its files, for the analysis notebooks: as it was run here, else as it is stored with the project.

    InputError if it is neither.
    """
    if not is_finished(experiment):
        raise InputError(
            config.results_folder(experiment) / "experiment.json", "this experiment is not finished", "Run its notebook first."
        )
    folder = next(f for f in _places(experiment) if (f / "experiment.json").is_file())
    history = folder / "history.csv"
    return RunResult(
        experiment,
        folder,
        tables.read_results(next(folder.glob("results.csv*"))),
        tables.read_costs(next(folder.glob("costs.csv*"))),
        pd.read_csv(history) if history.is_file() else pd.DataFrame(columns=["step", "quantity", "value"]),
        tables.read_json(folder / "experiment.json"),
    )


def is_finished(experiment: Experiment) -> bool:
    """Whether `open_result` finds it."""
    return any((f / "experiment.json").is_file() for f in _places(experiment))


def planned_results(profile: str) -> list[RunResult]:
    """All experiments that experiments.yml plans for a profile, each once; one that is not finished is an error."""
    return [open_result(experiment) for experiment in all_planned(profile)]


def results_at_hand(profile: str) -> list[RunResult]:
    """Those of a profile's planned experiments that are finished (see `whole`): for profiles that take nights, or weeks."""
    finished = [open_result(experiment) for experiment in whole(all_planned(profile))]
    if not finished:
        raise InputError(f"profile {profile}", "none of its experiments is finished or stored", f"Run them: run all --profile {profile}.")
    return finished


def whole(planned: Iterable[Experiment]) -> list[Experiment]:
    """The finished ones. Folds that are tested by the training that left them out are one answer: they wait for the last of them."""
    return [e for e in planned if all(is_finished(part) for part in _parts(e))]


def _parts(experiment: Experiment) -> list[Experiment]:
    if not cohorts.is_tested_out_of_fold(experiment.train_dataset, experiment):
        return [experiment]
    return [replace(experiment, fold=fold) for fold in folds_of(experiment)]


def what_is_shown(profile: str, finished: Sequence[RunResult]) -> str:
    """One paragraph of Markdown for the head of a page: which run its numbers are from, and what of the plan is still missing."""
    wanted = Counter(title(e).partition(", k =")[0] for e in all_planned(profile))
    done = Counter(title(r.experiment).partition(", k =")[0] for r in finished)
    missing = [name + (f" ({done[name]} of {n} runs are here)" if n > 1 else "") for name, n in wanted.items() if done[name] < n]
    own = all(r.folder == config.results_folder(r.experiment) for r in finished)
    where = "run with this book" if own else "run once, its tables are stored with the project (`data/results`)"
    commits = ", ".join(f"`{c}`" for c in dict.fromkeys(r.provenance["commit"] for r in finished))
    text = f"**Shown:** profile `{profile}`, {where}. {config.load().profile(profile).summary} Code: commit {commits}."
    count = f"{(wanted - done).total()} of {wanted.total()} runs"
    rest = f" **Planned and not run yet ({count}):** {'; '.join(missing)}." if missing else f" All {wanted.total()} planned runs are here."
    waiting = sum(map(is_finished, all_planned(profile))) - len(whole(all_planned(profile)))
    return (
        text
        + rest
        + (f" {waiting} of them are finished folds that are shown when all folds of their cross-validation are." if waiting else "")
        + _whose_boxes(finished)
    )


def _whose_boxes(finished: Sequence[RunResult]) -> str:
    """Words where the boxes of a detector may not be those of the training of it that is shown; "" where they all are."""
    shown = {r.experiment.name: r.provenance["sha256"]["weights"] for r in finished}
    asked = [r for r in finished if any(rung(name).from_detector for name in r.results["prompter"].unique())]
    drawn_by = [r.provenance["detectors"] for r in asked if "detectors" in r.provenance]
    unknown = len(asked) - len(drawn_by)
    others = sum(any(d["weights"] != shown.get(name, d["weights"]) for name, d in found.items()) for found in drawn_by)
    parts = [
        (others, "another training of the same detector drew them than the one whose own mask is shown"),
        (unknown, "it was not recorded which training drew them"),
    ]
    facts = [f"in {count} of {len(asked)} runs {fact}" for count, fact in parts if count]
    return f" **Boxes of a detector:** {'; '.join(facts)}." if facts else ""


def machines(finished: Sequence[RunResult]) -> str:
    """One sentence of Markdown: on which machines experiments were run, and how many on each."""
    count = Counter(r.provenance.get("machine", f"not recorded ({r.provenance['device']})") for r in finished)
    return "**Machine:** " + "; ".join(f"{name} ({n} of {count.total()} runs)" for name, n in count.items()) + "."
