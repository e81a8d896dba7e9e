"""Plan the experiments of a profile, and the prompt settings that each is evaluated with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import registry
from ..core import own_models
from ..data import splits
from ..prompts import sources
from ..prompts.ladder import prompt_setting
from ..types import Experiment, InputError, Options, ParadigmCard
from . import cohorts, config, detector

_LARGEST_SEED = 2**32 - 1  # that all generators of random numbers take
# smallest and largest value of what tells runs of one notebook apart
_CHOICES = {"seed": (0, _LARGEST_SEED), "fold": (0, splits.FOLDS - 1), "k": (0, _LARGEST_SEED), "draw": (0, _LARGEST_SEED)}


def make_experiment(
    notebook: str,
    profile: str,
    seed: int = 0,
    fold: int = 0,
    k: int | None = None,
    draw: int = 0,
    options: Options | None = None,
    train_dataset: str | None = None,
) -> Experiment:
    """Make the experiment of a line of experiments.yml under a profile, with the profile's stand-in for a published model.

    Args:
        notebook: line of the grid.
        profile: name of a profile.
        seed: of training.
        fold: that validates.
        k: number of labeled patients, few-shot only; 0 or None: the profile's first.
        draw: of the k patients, few-shot only.
        options: of the model, in addition to those of the profile.
        train_dataset: None: the profile's first, else that of the line.

    Raises:
        InputError: names a number out of range, and the allowed ones.
    """
    train_dataset = train_dataset or config.load().train_datasets(notebook, profile)[0]
    line, size = config.load().experiment(notebook), config.load().profile(profile)
    few_shot = registry.card("paradigms", line.paradigm).few_shot
    _check_choices(notebook, few_shot, seed=seed, fold=fold, k=k or 0, draw=draw)
    stand_in = size.stand_ins.get(line.model)
    model = stand_in.model if stand_in else line.model
    options = {**(stand_in.options if stand_in else line.options), **size.notebook_options.get(notebook, {}), **(options or {})}
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
        cohorts.labeled_patients(experiment.train_dataset, profile, experiment.fold, experiment.k, experiment.draw)


def planned_runs(notebook: str, profile: str) -> list[Experiment]:
    """All experiments of a notebook under a profile: its own first, then training sets, seeds, folds, k, draws and variants.

    The runs of few-shot training are draws of k patients. They are not crossed with folds, which only select validation patients.
    """
    size, line = config.load().profile(profile), config.load().experiment(notebook)
    paradigm = registry.card("paradigms", line.paradigm)
    folds = _folds(paradigm, size)
    runs = [(s, f) for s in size.seeds for f in folds] if paradigm.uses_target_labels else [(size.seeds[0], size.folds[0])]
    shots = [(k, draw) for draw in size.draws for k in size.k] if paradigm.few_shot else [(None, 0)]
    return [
        make_experiment(notebook, profile, seed, fold, k, draw, options, train_dataset)
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
    """All experiments of a profile, each once, because two models may share a stand-in."""
    return list(dict.fromkeys(e for line in config.load().lines(profile) for e in planned_runs(line.notebook, profile)))


def model_title(experiment: Experiment) -> str:
    """Name of what runs: a stand-in is named as such."""
    size = config.load().profile(experiment.profile)
    return registry.model_title(experiment.model, config.resolve_options(experiment, size))


def regime_title(experiment: Experiment) -> str:
    """How it was trained: the paradigm, and on what where that needs saying; "" for a model that does not learn.

    It does where the profile has several training sets, and of a model that was trained elsewhere.
    """
    if not registry.card("models", experiment.model).learns:
        return ""
    paradigm = registry.card("paradigms", experiment.paradigm).title
    size = config.load().profile(experiment.profile)
    if len(size.train_datasets or ()) > 1 and experiment.train_dataset != config.NO_DATASET:
        paradigm += f" on {registry.card('datasets', experiment.train_dataset).title}"
    elsewhere = own_models.trained_on(config.resolve_options(experiment, size))
    return f"{paradigm} on {elsewhere}" if elsewhere else paradigm


def method_title(experiment: Experiment) -> str:
    """Model and regime: what all runs of a method share, whatever their number of patients."""
    return ", ".join(filter(None, (model_title(experiment), regime_title(experiment))))


def experiment_title(experiment: Experiment) -> str:
    """Name next to the experiment's numbers."""
    shots = f", k = {experiment.k}" if experiment.k is not None and regime_title(experiment) else ""
    return method_title(experiment) + shots


@dataclass(frozen=True)
class Question:
    """A prompt setting, its source, the error with which its prompts are drawn (a share of a lesion's size), and the number of draws."""

    prompter: str
    jitter: float = 0.0
    draws: int = 1
    source: str = sources.REFERENCE

    @property
    def name(self) -> str:
        """Name of its folder."""
        if self.source == sources.ANOTHER_READER:
            return f"{self.prompter}__{self.source}"
        return f"{self.prompter}__jitter{self.jitter:g}" if self.jitter else self.prompter

    @property
    def is_plain(self) -> bool:
        """Drawn without errors, from the setting's own source: its prediction is kept."""
        return not self.jitter and self.source != sources.ANOTHER_READER


def questions_of(
    experiment: Experiment, dataset: str, prompters: Sequence[str], prompt_sources: Sequence[str] | None = None
) -> list[Question]:
    """Prompt settings in which an experiment is evaluated on a data set: those that apply there, then those with errors in drawing.

    Last, where several readers outlined the cases and `prompt_sources` (by default the profile's) want it: those that one reader draws
    and the others judge.
    """
    size = config.load().profile(experiment.profile)
    jitter = size.jitter
    asked = [name for name in prompters if not prompt_setting(name).from_detector or detector.applies(experiment, dataset)]
    wrongly = [
        Question(name, share, jitter.draws, sources.own_source(name))
        for name in asked
        if name in jitter.prompters
        for share in jitter.shares
    ]
    wanted = size.prompt_sources if prompt_sources is None else prompt_sources
    by_readers = sources.ANOTHER_READER in wanted and registry.card("datasets", dataset).several_readers
    drawn = [name for name in asked if not prompt_setting(name).from_detector] if by_readers else []
    own = [Question(name, source=sources.own_source(name)) for name in asked]
    return [*own, *wrongly, *(Question(name, source=sources.ANOTHER_READER) for name in drawn)]


def detectors_of(experiment: Experiment, test_datasets: Sequence[str], prompters: Sequence[str]) -> dict[str, Experiment]:
    """Test data set -> detector whose boxes an experiment uses there; empty if no prompt setting uses boxes of a detector."""
    if not any(prompt_setting(name).from_detector for name in prompters):
        return {}
    return {name: detector.detector_of(experiment, name) for name in test_datasets if detector.applies(experiment, name)}
