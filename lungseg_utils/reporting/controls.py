"""Roles of methods: model, automatic control, trivial baseline; and the labels that each has used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import registry
from ..experiments import analysis_plan, config, detector, planning, results
from ..prompts.ladder import PROMPT_SETTINGS
from ..types import Experiment
from . import methods
from .labels import TRIVIAL_MODEL


def target_labels_used(result: results.RunResult, dataset: str, setting: str) -> int:
    """Number of labeled patients of the tested data set that a prediction depends on: training, validation, and those of a detector."""
    used = labels_of(result.experiment, result.provenance["patients"], dataset)
    if PROMPT_SETTINGS[setting].from_detector:
        finder = results.open_result(detector.detector_of(result.experiment, dataset))
        used |= labels_of(finder.experiment, finder.provenance["patients"], dataset)
    return len(used)


def labels_of(experiment: Experiment, patients: Mapping[str, Sequence[str]], dataset: str) -> set[str]:
    return {*patients["train"], *patients["validation"]} if experiment.train_dataset == dataset else set()


NOT_TRAINED, TARGET, EXTERNAL = "", "target", "external"


def training(experiment: Experiment, dataset: str) -> str:
    """Training data of a method on a data set: `TARGET` that data set, `EXTERNAL` another one, `NOT_TRAINED` no labeled patients."""
    if experiment.train_dataset == config.NO_DATASET:
        return NOT_TRAINED
    return TARGET if experiment.train_dataset == dataset else EXTERNAL


def control_experiment(experiment: Experiment, dataset: str) -> Experiment:
    """The planned automatic control by its `methods.group_key`: trained on the same data set, else on the tested one if possible."""
    notebook, profile = analysis_plan.load().automatic_control, experiment.profile
    choices = config.load().train_datasets(notebook, profile)
    train_dataset = next((name for name in (experiment.train_dataset, dataset) if name in choices), choices[0])
    return methods.group_key(planning.make_experiment(notebook, profile, train_dataset=train_dataset))


def role_of(experiment: Experiment) -> str:
    if experiment.model == TRIVIAL_MODEL:
        return "trivial"
    return "automatic" if registry.card("models", experiment.model).is_automatic else "promptable"
