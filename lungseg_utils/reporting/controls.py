"""Roles of methods: model, automatic control, trivial baseline; and the labels that each has used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import registry
from ..experiments import analysis_plan, config, detector, planning, results
from ..prompts.ladder import PROMPT_SETTINGS
from ..types import Experiment
from . import methods

TRIVIAL_MODEL = "trivial"


def target_labels_used(result: results.RunResult, dataset: str, rung: str) -> int:
    """Labelled patients of the tested data set that an answer rests on, training and validation, those of a detector included."""
    used = labels_of(result.experiment, result.provenance["patients"], dataset)
    if PROMPT_SETTINGS[rung].from_detector:
        finder = results.open_result(detector.detector_of(result.experiment, dataset))
        used |= labels_of(finder.experiment, finder.provenance["patients"], dataset)
    return len(used)


def labels_of(experiment: Experiment, patients: Mapping[str, Sequence[str]], dataset: str) -> set[str]:
    return {*patients["train"], *patients["validation"]} if experiment.train_dataset == dataset else set()


NOT_TRAINED, TARGET, EXTERNAL = "", "target", "external"


def training(experiment: Experiment, dataset: str) -> str:
    """What an answer on a data set was trained on: `TARGET` that data set, `EXTERNAL` another one, `NOT_TRAINED` no labelled patients."""
    if experiment.train_dataset == config.NO_DATASET:
        return NOT_TRAINED
    return TARGET if experiment.train_dataset == dataset else EXTERNAL


def control_experiment(experiment: Experiment, dataset: str) -> Experiment:
    """The planned automatic control by its `methods.group_key`: trained on what the other was, else on the tested data set if it can be."""
    notebook, profile = analysis_plan.load().automatic_control, experiment.profile
    choices = config.load().train_datasets(notebook, profile)
    train_dataset = next((name for name in (experiment.train_dataset, dataset) if name in choices), choices[0])
    return methods.group_key(planning.make_experiment(notebook, profile, train_dataset=train_dataset))


def role_of(experiment: Experiment) -> str:
    if experiment.model == TRIVIAL_MODEL:
        return "trivial"
    return "automatic" if registry.card("models", experiment.model).is_automatic else "promptable"
