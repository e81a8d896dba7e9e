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


def representatives(finished: Sequence[results.RunResult], datasets: Sequence[str]) -> list[tuple[methods.Method, str]]:
    """A few methods with a prompt setting that speak for the others in a short table.

    The automatic control without and with a box on one slice, and with that box the first trivial baseline and the first promptable model
    that was fine-tuned, or of which none was the first promptable one; those that were tested on any of the data sets.
    """
    found = methods.group_runs(finished)
    trained = next((m.experiment for m in found if m.experiment.train_dataset != config.NO_DATASET), found[0].experiment)
    wanted = methods.group_key(control_experiment(trained, trained.train_dataset))
    control = [m for m in found if methods.group_key(m.experiment) == wanted]
    trivial = [m for m in found if role_of(m.experiment) == "trivial"][:1]
    promptable = sorted((m for m in found if role_of(m.experiment) == "promptable"), key=lambda m: m.experiment.paradigm != "fine_tuned")[
        :1
    ]
    pairs = [*((m, setting) for m in control for setting in ("none", "box_one_slice"))]
    pairs += [(m, "box_one_slice") for m in (*trivial, *promptable)]
    return [(m, setting) for m, setting in pairs if any(m.asked(name, setting) for name in datasets)]
