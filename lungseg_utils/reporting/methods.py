"""Group experiments into methods, and arrange their predictions as tables patients x runs.

The experiments of a method differ only in what makes runs differ (seed, fold, draw). If every run is tested on the same patients, each run
is a column. If a fold is tested by the training that left it out, the folds of one seed and draw give one prediction per patient: a
cross-validation is one run. The profile's plan says which runs and patients must exist, so a missing or doubled patient is an error and
never another n.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from .. import registry
from ..evaluation import intervals, tables
from ..experiments import cohorts, config, planning
from ..experiments.results import RunResult, as_drawn, finished_only, open_result
from ..prompts.sources import ANOTHER_READER
from ..types import Case, Experiment, InputError, Mask, Study
from . import labels


def group_key(experiment: Experiment) -> Experiment:
    """The experiment without seed, fold and draw: equal for all runs of one method."""
    return replace(experiment, seed=0, fold=0, draw=0)


def group_runs(finished: Iterable[RunResult]) -> list[Method]:
    """The methods of some experiments, in the order of their first ones."""
    found: dict[Experiment, list[RunResult]] = {}
    for result in finished:
        found.setdefault(group_key(result.experiment), []).append(result)
    return [Method(tuple(results)) for results in found.values()]


@dataclass(frozen=True, eq=False)
class Method:
    """One method: the experiments that are its runs, in the order of the plan; name and title are those of the first."""

    results: tuple[RunResult, ...]

    @property
    def experiment(self) -> Experiment:
        """Its first experiment."""
        return self.results[0].experiment

    @property
    def name(self) -> str:
        """Full name of its first experiment."""
        return self.experiment.name

    @property
    def is_trained(self) -> bool:
        """Whether its runs can differ: it is trained on labeled patients of the target."""
        return registry.card("paradigms", self.experiment.paradigm).uses_target_labels

    @cached_property
    def _asked(self) -> dict[str, dict[tuple[str, str, float, str], pd.DataFrame]]:
        """Name of an experiment -> (test data set, prompt setting, jitter, source) -> its rows; a setting's own source is "".

        Cached: the tables are long and often read.
        """
        return {result.experiment.name: _by_question(result.results) for result in self.results}

    def asked(self, dataset: str, setting: str, jitter: float = 0.0, source: str = "") -> bool:
        """Whether it was evaluated in a prompt setting on a test data set.

        `jitter`: the error in drawing, as a share. `source`: of the prompts, if it is not the setting's own.
        """
        return any((dataset, setting, jitter, source) in parts for parts in self._asked.values())

    def rows(self, dataset: str, setting: str, jitter: float = 0.0, source: str = "") -> pd.DataFrame:
        """The rows of all its experiments in one prompt setting on one data set, on which it must have been evaluated."""
        key = (dataset, setting, jitter, source)
        found = [parts[key] for parts in self._asked.values() if key in parts]
        return pd.concat(found) if len(found) > 1 else found[0]

    def runs(self, dataset: str) -> dict[str, tuple[RunResult, ...]]:
        """Label -> the experiments that together predict each test patient once: one of them, or the folds of a cross-validation.

        InputError names a patient whom a cross-validation predicts not at all, or twice.
        """
        if dataset not in self._runs:
            self._runs[dataset] = _runs(self.results, dataset)
        return self._runs[dataset]

    def first_run(self, dataset: str) -> tuple[RunResult, ...]:
        """The experiments of the first of its `runs`, which viewers show."""
        return next(iter(self.runs(dataset).values()))

    @cached_property
    def _runs(self) -> dict[str, dict[str, tuple[RunResult, ...]]]:
        return {}

    def table(self, dataset: str, setting: str, metric: str = "dsc", jitter: float = 0.0, source: str = "") -> pd.DataFrame:
        """Values of one metric as patients x runs (index patient_id, columns labels of runs), where it is defined.

        The reference judges. What one reader prompts is judged by the voxels in which at least two of the others agree.
        """
        key = (dataset, setting, metric, jitter, source)
        if key not in self._tables:
            self._tables[key] = self._table(*key)
        return self._tables[key].copy()

    @cached_property
    def _tables(self) -> dict[tuple[str, str, str, float, str], pd.DataFrame]:
        return {}

    def _table(self, dataset: str, setting: str, metric: str, jitter: float, source: str) -> pd.DataFrame:
        columns = {}
        for label, results in self.runs(dataset).items():
            parts = [self._asked[result.experiment.name].get((dataset, setting, jitter, source)) for result in results]
            if asked := [part for part in parts if part is not None]:
                columns[label] = intervals.patient_means(tables.case_values(pd.concat(asked), metric))
        return pd.DataFrame(columns)

    def mean(self, dataset: str, setting: str, metric: str = "dsc", jitter: float = 0.0, source: str = "") -> pd.Series:
        """One value per patient, averaged over its runs: the values of "these trained models"."""
        return self.table(dataset, setting, metric, jitter, source).mean(axis=1)

    def averaged(self) -> pd.DataFrame:
        """A results table of the method, as of one experiment: runs are averaged case by case (`tables.mean_rows`)."""
        if len(self.results) == 1:
            return self.results[0].asked()
        return tables.mean_runs([result.asked() for result in self.results], self.name)

    def shares_runs(self, other: Method) -> bool:
        """Whether run r of both uses the same draw of patients, or leaves out the same fold; equal seeds alone share nothing."""
        return len({result.experiment.seed for result in (*self.results, *other.results)}) == 1


def _by_question(results: pd.DataFrame) -> dict[tuple[str, str, float, str], pd.DataFrame]:
    judged = tables.of_judges(results)
    source = judged["source"].where(judged["source"] == ANOTHER_READER, "")
    return dict(list(judged.groupby([judged["test_dataset"], judged["prompter"], judged["jitter"], source], sort=False)))


class FirstRun:
    """The first run of a method as one result, with the interface of `results.RunResult`; of a cross-validation all folds.

    Rows of several experiments have the name of the method.
    """

    def __init__(self, method: Method):
        self.experiment = method.experiment
        tested = method.results[0].results["test_dataset"].unique()
        self._parts = {dataset: method.first_run(dataset) for dataset in tested}
        rows = [part.results[part.results["test_dataset"] == dataset] for dataset, parts in self._parts.items() for part in parts]
        self.results = pd.concat(rows).assign(experiment=method.name)

    def asked(self, *prompters: str) -> pd.DataFrame:
        """As `results.RunResult.asked`."""
        return as_drawn(self.results, prompters)

    def cases(self, dataset: str) -> tuple[Case, ...]:
        """As `results.RunResult.cases`, of all folds that test a part of it."""
        return tuple(case for case, _ in self._tested[dataset].values())

    def prediction(self, dataset: str, prompter: str, case_id: str, like: Study) -> Mask:
        """As `results.RunResult.prediction`, of the experiment that was tested on the case."""
        _, part = self._tested[dataset][case_id]
        return part.prediction(dataset, prompter, case_id, like)

    @cached_property
    def _tested(self) -> dict[str, dict[str, tuple[Case, RunResult]]]:
        """Test data set -> id of a case -> the case, and the experiment that was tested on it."""
        return {name: {case.case_id: (case, part) for part in parts for case in part.cases(name)} for name, parts in self._parts.items()}

    @property
    def provenance(self) -> dict[str, list[dict[str, object]]]:
        """The records of its cases (`cases`)."""
        parts = [(dataset, part) for dataset, parts in self._parts.items() for part in parts]
        return {"cases": [record for dataset, part in parts for record in part.provenance["cases"] if record["test_dataset"] == dataset]}


def _runs(results: Sequence[RunResult], dataset: str) -> dict[str, tuple[RunResult, ...]]:
    found: dict[str, list[RunResult]] = {}
    joined = [cohorts.is_tested_out_of_fold(dataset, result.experiment) for result in results]
    for result, is_joined in zip(results, joined, strict=True):
        e = result.experiment
        found.setdefault(f"seed {e.seed}, {'all folds' if is_joined else f'fold {e.fold}'}, draw {e.draw}", []).append(result)
    for label, parts in found.items() if any(joined) else ():
        _require_each_once(dataset, label, parts)
    return {label: tuple(parts) for label, parts in found.items()}


def was_asked(result: RunResult, dataset: str, setting: str) -> bool:
    """Whether one experiment was evaluated in a prompt setting on a data set, without errors in drawing."""
    return not tables.asked_rows(result.results, dataset, setting).empty


def _require_each_once(dataset: str, label: str, parts: Sequence[RunResult]) -> None:
    count = Counter(patient for part in parts for patient in set(part.provenance["patients"][dataset]))
    planned = cohorts.planned_test_patients(dataset, parts[0].experiment, planning.folds_of(parts[0].experiment))
    where = f"{planning.experiment_title(parts[0].experiment)}, {label}, on {dataset}"
    if twice := sorted(patient for patient, times in count.items() if times > 1):
        raise InputError(where, f"{len(twice)} patients are tested by several folds, {twice[0]} first", "Run it with one split.")
    if missing := sorted(planned - set(count)):
        raise InputError(where, f"{len(missing)} patients are tested by no fold, {missing[0]} first", "Run the folds that are missing.")


@dataclass(frozen=True)
class Pair:
    """Two methods on their common patients: `a` and `b` as patients x runs, and whether run r of both belong together."""

    a: pd.DataFrame
    b: pd.DataFrame
    matched: bool

    def trained_models(self) -> intervals.Summary:
        """Mean of a minus b for these trained models."""
        return intervals.summarize_trained_models_difference(self.a, self.b)

    def method(self) -> intervals.Summary:
        """Mean of a minus b for the methods: over other patients and other runs."""
        return intervals.summarize_method_difference(self.a, self.b, matched_runs=self.matched)


def pair_methods(a: Method, a_setting: str, b: Method, b_setting: str, dataset: str, metric: str = "dsc", source: str = "") -> Pair:
    """Pair two methods on one data set.

    Few-shot training leaves out one fold, a cross-validation all of them: of two such methods the patients of the smaller test are
    compared. An untrained method is compared with every run of the other side.
    """
    left, right = a.table(dataset, a_setting, metric, source=source), b.table(dataset, b_setting, metric, source=source)
    if set(left.index) < set(right.index):
        right = right.loc[left.index]
    elif set(right.index) < set(left.index):
        left = left.loc[right.index]
    if not b.is_trained:
        right = _repeated(right, left)
    elif not a.is_trained:
        left = _repeated(left, right)
    together = set(left.columns) == set(right.columns) and left.shape[1] > 1
    return Pair(left, right, together and (a.shares_runs(b) or not (a.is_trained and b.is_trained)))


def _repeated(one: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({label: one.iloc[:, 0] for label in runs.columns})


def titles(finished: Iterable[RunResult]) -> dict[tuple[str, str], str]:
    """(name of a method, prompt setting) -> title, for tables and pages; see `labels.method_titles`."""
    pairs = [(method, result) for method in group_runs(finished) for result in method.results]
    asked = pd.concat([result.asked()[["prompter"]].drop_duplicates().assign(experiment=method.name) for method, result in pairs])
    return labels.method_titles(asked, {method.name: planning.experiment_title(method.experiment) for method, _ in pairs})


def at_hand(notebook: str, profile: str, dataset: str) -> list[RunResult]:
    """The finished runs of a notebook's own method: the one trained on `dataset`, or (if none is) on the profile's first data set."""
    choices = config.load().train_datasets(notebook, profile)
    own = group_key(planning.make_experiment(notebook, profile, train_dataset=dataset if dataset in choices else choices[0]))
    return [open_result(e) for e in finished_only(e for e in planning.planned_runs(notebook, profile) if group_key(e) == own)]


def one_of_several(experiment: Experiment, notebook: str) -> str:
    """A sentence for a page that shows one training: how many trainings the profile plans of its notebook; empty if it is the only one."""
    planned = planning.planned_runs(notebook, experiment.profile)
    alike = [e for e in planned if e.options == experiment.options]
    if len(alike) < 2:
        return ""
    numbers = (("fold", experiment.fold), ("k =", experiment.k), ("draw", experiment.draw if experiment.k is not None else None))
    which = ", ".join(f"{name} {value}" for name, value in numbers if value is not None)
    shown = f"one training ({which}, on {labels.label_of(experiment.train_dataset)})"
    return f" This page shows {shown} of the {len(alike)} that are planned; all of them stand under [Results](results.ipynb)."
