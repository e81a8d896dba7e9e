"""An experiment from start to end: train once, ask many times, write tables and provenance. No model names in here.

Everything of one experiment lies in results/<profile>/<experiment name>/. A finished part is never done again unless what
it depends on (data, options, code) changed; each case is a file of its own, so that an interrupted run goes on.
"""

from __future__ import annotations

import json
import logging
import traceback
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from . import code_hash, cohorts, config, initial_weights, io, locks, metrics, prompts, registry, tables
from .efficiency import measure
from .types import Case, Experiment, InputError, Mask, Prediction, Study, TrainingDiverged

PATIENCE_SECONDS = 1800.0  # notebooks that run side by side may need the same experiment: the second waits for the first
log = logging.getLogger(__name__)
# what only shows results, or only makes phantoms (whose bytes are hashed themselves), cannot change a result
_NOT_HASHED = ("figures", "stats", "fetch", "phantoms")


@dataclass(frozen=True)
class RunResult:
    """What a notebook shows: tables, history, provenance, and where predictions lie."""

    experiment: Experiment
    folder: Path
    results: pd.DataFrame
    costs: pd.DataFrame
    history: pd.DataFrame
    provenance: Mapping[str, Any]

    def prediction(self, dataset: str, prompter: str, case_id: str, like: Study) -> Mask:
        """The stored prediction of a case; an empty mask if the model failed on it."""
        path = _prediction_path(self.folder, dataset, prompter, case_id)
        if not path.is_file():
            return Mask(np.zeros(like.image.shape, dtype=bool), like.image.affine)
        return io.read_mask(path, like=like.image, allow_empty=True)

    def cases(self, dataset: str) -> tuple[Case, ...]:
        """The cases of a test data set, in the order of the split."""
        return cohorts.cases_to_test(dataset, config.load().profile(self.experiment.profile), progress=False)


def plan(
    notebook: str,
    profile: str,
    seed: int = 0,
    fold: int = 0,
    k: int | None = None,
    draw: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Experiment:
    """The Experiment that a line of experiments.yml means under a profile, with the profile's stand-in for a published model.

    Few-shot: `k` 0 or None is the profile's first k.
    """
    line, size = config.load().experiment(notebook), config.load().profile(profile)
    stand_in = size.stand_ins.get(line.model)
    model = stand_in.model if stand_in else line.model
    options = {**(stand_in.options if stand_in else {}), **size.notebook_options.get(notebook, {}), **(options or {})}
    shots = {"k": k or size.k[0], "draw": draw} if registry.card("paradigms", line.paradigm).few_shot else {}
    experiment = Experiment(
        profile, line.train_dataset, model, line.paradigm, seed=seed, fold=fold, options=tuple(sorted(options.items())), **shots
    )
    config.resolve_options(experiment, size)
    return experiment


def planned(notebook: str, profile: str) -> list[Experiment]:
    """All experiments of a notebook under a profile: its own first, then seeds, folds, k, draws and variants."""
    size, line = config.load().profile(profile), config.load().experiment(notebook)
    paradigm = registry.card("paradigms", line.paradigm)
    runs = [(s, f) for s in size.seeds for f in size.folds] if paradigm.uses_target_labels else [(size.seeds[0], size.folds[0])]
    shots = [(k, draw) for k in size.k for draw in size.draws] if paradigm.few_shot else [(None, 0)]
    return [
        plan(notebook, profile, seed, fold, k, draw, options)
        for options in ({}, *size.variants.get(notebook, ()))
        for seed, fold in runs
        for k, draw in shots
    ]


def title(experiment: Experiment) -> str:
    """What stands beside the experiment's numbers: a stand-in, or a shortened training, is named as such."""
    module = registry.plugin("models", experiment.model)
    options = config.resolve_options(experiment, config.load().profile(experiment.profile))
    model = module.title(options) if hasattr(module, "title") else module.CARD.title
    paradigm = registry.card("paradigms", experiment.paradigm).title
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
class _Job:
    """Everything that one run works on."""

    experiment: Experiment
    options: Mapping[str, Any]
    folder: Path
    cohort: cohorts.TrainingCohort
    tests: Mapping[str, Sequence[Case]]
    prompters: Sequence[str]
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
    profile = config.load().profile(experiment.profile)
    options = config.resolve_options(experiment, profile)
    for name in prompters:
        prompts.prompter(name)
    folder = config.project_root() / "results" / experiment.profile / experiment.name
    with locks.exclusive(folder / ".lock", "another process is running this experiment", PATIENCE_SECONDS):
        cohort = _training_cohort(experiment, profile, workers, progress)
        tests = {name: cohorts.cases_to_test(name, profile, workers, progress) for name in test_datasets}
        for cases in tests.values():
            cohorts.require_apart((*cohort.train, *cohort.validation), cases)
        initial = initial_weights.initial_weights(experiment.model, options, experiment.profile, progress)
        identities = _identities(experiment, options, cohort, tests, initial)
        job = _Job(experiment, options, folder, cohort, tests, prompters, initial, identities, progress)
        trained = _prepare(job)
        return _finish(job, trained, _evaluate(job, trained))


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
    plugins = [f"models.{experiment.model}", f"paradigms.{experiment.paradigm}"]
    code = code_hash.sha256([*plugins, "io"])
    training = tables.sha256_of_json({"options": options, "seed": experiment.seed, "data": data["train"], "code": code, "initial": first})
    readers = [f"datasets.{name}" for name in (*tests, experiment.train_dataset) if name != config.NO_DATASET]
    code = code_hash.sha256([*plugins, *readers, "run"], without=_NOT_HASHED)
    evaluation = tables.sha256_of_json({"training": training, "data": data, "code": code})
    return {"data": data, "initial": first, "code": code, "training": training, "evaluation": evaluation}


def load_study(case: Case) -> Study:
    """Read a case through its data set."""
    return registry.plugin("datasets", case.dataset).load(case)


def _prepare(job: _Job) -> _Trained:
    """The segmenter as its paradigm leaves it; weights that are there from the same identity are used."""
    segmenter = registry.plugin("models", job.experiment.model).build(job.options, job.experiment.seed)
    weights, history_path, identity = job.folder / "weights.pt", job.folder / "history.csv", job.identities["training"]
    trained = job.folder / "trained.json"  # written last, read first: outdated weights are never loaded, not even to look at them
    if job.initial:
        segmenter.load_pretrained(job.initial)
    record = tables.read_json(trained)
    if record.get("identity") == identity:
        if not record["failure"]:
            segmenter.load(weights)
        return _Trained(segmenter, pd.read_csv(history_path), record["failure"])
    trained.unlink(missing_ok=True)
    result = _train(job, segmenter)
    if len(result.history):
        tables.write(result.history, history_path)
        if not result.failure:
            segmenter.save(weights, {"identity": identity, "experiment": job.experiment.name})
        tables.write_json({"identity": identity, "failure": result.failure}, trained)
    return result


def _train(job: _Job, segmenter: Any) -> _Trained:
    """Let the paradigm train. A training that diverges is a result too: its cases are scored as failed, its reason is kept."""
    train, validation = ([load_study(c) for c in cases] for cases in (job.cohort.train, job.cohort.validation))
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
    if len(history):
        history = pd.concat([history, pd.DataFrame([{"step": history["step"].max(), "quantity": "seconds", "value": cost.seconds}])])
    return _Trained(segmenter, history, failure)


def _evaluate(job: _Job, trained: _Trained) -> list[dict[str, Any]]:
    """One record for each test case and prompter; those that are there from the same identity are read."""
    work = [(name, case) for name, cases in job.tests.items() for case in cases]
    return [
        record
        for dataset, case in tqdm(work, desc="test cases", unit="case", disable=not job.progress)
        for record in _case_records(job, trained, dataset, case)
    ]


def _case_records(job: _Job, trained: _Trained, dataset: str, case: Case) -> Iterator[dict[str, Any]]:
    study, identity = None, job.identities["evaluation"]
    for prompter in job.prompters:
        path = job.folder / "cases" / dataset / prompter / f"{case.case_id}.json"
        record = tables.read_json(path)
        if record.get("identity") != identity:
            study = study or load_study(case)
            record = _ask(job, trained, dataset, case, study, prompter) | {"identity": identity}
            tables.write_json(record, path)
        yield record


def _ask(job: _Job, trained: _Trained, dataset: str, case: Case, study: Study, prompter: str) -> dict[str, Any]:
    """Prompt, predict, score: all rows of one case under one prompter."""
    if not study.references:
        raise InputError(case.case_id, "the case has no reference", "Leave it out of the test set.")
    reference = next(iter(study.references.values()))
    with measure() as total:
        prediction, failure = _predict(job, trained, dataset, case, study, prompter)
    shared = {"experiment": job.experiment.name, "test_dataset": dataset, "prompter": prompter, "jitter": 0.0}
    rows, cut = [], False
    for reader, judged in study.references.items():
        open_ends = (bool(judged.array[:, :, 0].any()), bool(judged.array[:, :, -1].any()))
        cut = cut or any(open_ends)
        values = metrics.score_case(judged, prediction.mask, study.ignore, open_ends)
        lesions = metrics.score_lesions(judged, prediction.mask, study.ignore)
        keys = shared | {"patient_id": case.patient_id, "case_id": case.case_id}
        rows += tables.result_rows(keys, reader, values, lesions, failed=bool(failure))
    return {
        "case_id": case.case_id,
        "test_dataset": dataset,
        "prompter": prompter,
        "failure": failure,
        "cut_by_volume_end": cut,
        "attributes": dict(case.attributes),
        "resolution_ceiling": _resolution_ceiling(trained.segmenter, reference),
        "rows": rows,
        "costs": _cost_rows(shared | {"case_id": case.case_id}, prediction, total.seconds),
    }


def _predict(job: _Job, trained: _Trained, dataset: str, case: Case, study: Study, prompter: str) -> tuple[Prediction, str]:
    """The prediction, written to its file, and why it failed ("" if it did not)."""
    path = _prediction_path(job.folder, dataset, prompter, case.case_id)
    path.unlink(missing_ok=True)
    rng = np.random.default_rng([job.experiment.seed, zlib.crc32(f"{case.case_id}/{prompter}".encode())])
    empty = Mask(np.zeros(study.image.shape, dtype=bool), study.image.affine)
    if trained.failure:
        return Prediction(empty, None, np.nan, np.nan), trained.failure
    try:
        prediction = answer(trained.segmenter, study, next(iter(study.references.values())), prompter, rng)
    except Exception as error:  # a model that fails is a result: scored as an empty answer, its reason kept and shown
        log.exception("%s failed on %s", job.experiment.name, case.case_id)
        place = traceback.extract_tb(error.__traceback__)[-1].name
        return Prediction(empty, None, np.nan, np.nan), f"{type(error).__name__}: {error} (in {place})"
    io.write_mask(prediction.mask, path, like_path=case.image_path if case.image_path.is_file() else None)
    return prediction, ""


def _cost_rows(shared: Mapping[str, Any], prediction: Prediction, seconds: float) -> list[dict[str, Any]]:
    quantities = (
        ("prediction", prediction.seconds, "s"),
        ("prompting, prediction and writing", seconds, "s"),
        ("peak memory", prediction.peak_memory_mb, "MB"),
    )
    return [{**shared, "quantity": name, "value": float(value), "unit": unit} for name, value, unit in quantities if np.isfinite(value)]


def answer(segmenter: Any, study: Study, reference: Mask | None, prompter: str, rng: np.random.Generator) -> Prediction:
    """Let a prompter and a segmenter talk until the prompter has no more to say; the last prediction counts."""
    segmenter.set_image(study.image)
    dialogue = prompts.prompter(prompter).make(reference, rng)
    hints = next(dialogue)
    while True:
        prediction = segmenter.predict(hints)
        if prediction.mask.shape != study.image.shape:
            raise InputError("prediction", f"its grid {prediction.mask.shape} is not the image's {study.image.shape}", "Repair the model.")
        try:
            hints = dialogue.send(prediction)
        except StopIteration:
            return prediction


def _resolution_ceiling(segmenter: Any, reference: Mask) -> float | None:
    ceiling = getattr(segmenter, "resolution_ceiling", None)
    value = ceiling(reference) if ceiling else np.nan
    return float(value) if np.isfinite(value) else None


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
        {"experiment": job.experiment.name, "test_dataset": name, "prompter": prompter, "jitter": 0.0, "case_id": case.case_id}
        for name, cases in job.tests.items()
        for case in cases
        for prompter in job.prompters
    ]


def _provenance(job: _Job, trained: _Trained, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    weights = job.folder / "weights.pt"
    named = {"train": job.cohort.train, "validation": job.cohort.validation, **job.tests}
    return {
        "experiment": job.experiment.as_dict(),
        "name": job.experiment.name,
        "title": title(job.experiment),
        "training_failure": trained.failure,
        "options": dict(job.options),
        "patients": {name: [c.patient_id for c in cases] for name, cases in named.items()},
        "sha256": {
            "data": job.identities["data"],
            "initial weights": job.identities["initial"],
            "weights": tables.sha256_of_files([weights], job.folder) if weights.is_file() else "none",
            "code": job.identities["code"],
            "frozen": tables.sha256_of_files([config.project_root() / cohorts.FROZEN_FILE], config.project_root()),
        },
        "commit": tables.commit(config.project_root()),
        "environment": tables.environment(),
        "device": str(getattr(trained.segmenter, "device", "cpu")),
        **trained.segmenter.parameters(),
        "cases": [{key: value for key, value in record.items() if key not in ("rows", "costs", "identity")} for record in records],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def open_result(experiment: Experiment) -> RunResult:
    """A finished experiment from its files, for the analysis notebooks; InputError if it is not finished."""
    folder = config.project_root() / "results" / experiment.profile / experiment.name
    path = folder / "experiment.json"
    if not path.is_file():
        raise InputError(path, "this experiment is not finished", "Run its notebook first.")
    history_path = folder / "history.csv"
    history = pd.read_csv(history_path) if history_path.is_file() else pd.DataFrame(columns=["step", "quantity", "value"])
    return RunResult(
        experiment,
        folder,
        tables.read_results(folder / "results.csv"),
        tables.read_costs(folder / "costs.csv"),
        history,
        json.loads(path.read_text()),
    )


def planned_results(profile: str) -> list[RunResult]:
    """All experiments that experiments.yml plans for a profile, each once; one that is not finished is an error."""
    lines = config.load().lines(profile)
    experiments = dict.fromkeys(experiment for line in lines for experiment in planned(line.notebook, profile))
    return [open_result(experiment) for experiment in experiments]
