"""Read experiments.yml into checked records: profiles, grid entries, and the resolved options of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .. import registry
from ..core import project, schema
from ..prompts.ladder import PROMPT_SETTINGS, prompt_setting, settings_for
from ..prompts.sources import REFERENCE
from ..types import Experiment, InputError, ModelCard, Options, Record, Row

NO_DATASET = "none"
_SCHEMA = Path(__file__).with_name("experiments.schema.json")


@dataclass(frozen=True)
class PhantomCounts:
    """Number of phantoms of each cohort, their grid and their split."""

    grid: str
    train: int
    validation: int
    test: int
    tumor_free: int
    test_split: str


@dataclass(frozen=True)
class PatientCounts:
    """Most patients of a real data set that is trained on, in the order of its split; None is all.

    `test_split`: "test", or "development" while anything is still chosen: then the patients of the fold that was left out are tested.
    """

    train: int | None = None
    validation: int | None = None
    test: int | None = None
    test_split: str = "test"


@dataclass(frozen=True)
class StandIn:
    """Another model with these options, which replaces a published one in runs and names."""

    model: str
    options: Options


@dataclass(frozen=True)
class Jitter:
    """Errors in drawing: shares of a lesion's size, the prompt settings that get them, and the number of draws."""

    prompters: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    draws: int = 0


@dataclass(frozen=True)
class Profile:
    """One size of the benchmark."""

    name: str
    summary: str
    phantoms: PhantomCounts
    real_datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    k: tuple[int, ...]
    draws: tuple[int, ...]
    prompters: tuple[str, ...]  # the prompt settings that are asked, of those that a line names
    jitter: Jitter
    model_options: Mapping[str, Options]
    stand_ins: Mapping[str, StandIn]  # what takes the place of a published model whose weights are not used
    notebook_options: Mapping[str, Options]  # per notebook, options on top of those of its model
    variants: Mapping[str, tuple[Row, ...]]  # per notebook, options of further experiments
    experiments: tuple[str, ...] | None  # the notebooks that are run; None is all
    test_datasets: tuple[str, ...] | None = None  # in the place of those that a line names; None is the line's own
    train_datasets: tuple[str, ...] | None = None  # likewise what lines that learn are trained on, one experiment for each
    prompt_sources: tuple[str, ...] = (REFERENCE,)  # whose outlines prompts are drawn from
    patients: PatientCounts = PatientCounts()
    kept_embeddings_gb: float = 0.0  # on disk while a workflow runs: what experiments with the same frozen encoder share


@dataclass(frozen=True)
class GridEntry:
    """One line of the grid: a notebook, what it trains and how it is prompted."""

    notebook: str
    model: str
    paradigm: str
    train_dataset: str
    test_datasets: tuple[str, ...]
    prompters: tuple[str, ...]
    options: Options  # of the model, under every profile that runs no stand-in for it


@dataclass(frozen=True)
class Grid:
    """All of experiments.yml."""

    profiles: Mapping[str, Profile]
    experiments: Mapping[str, GridEntry]
    detectors: Mapping[str, str]  # by paradigm: the notebook of the automatic experiment that gives `detector_box` its boxes

    @classmethod
    def read(cls, path: Path | None = None) -> Grid:
        """The grid in a file, by default the project's experiments.yml; InputError names the place of a fault."""
        return load(path)

    def profile(self, name: str) -> Profile:
        """A profile; an unknown name is an error that lists the known ones."""
        if name not in self.profiles:
            raise InputError(f"profile {name}", "not in experiments.yml", f"Choose one of {', '.join(self.profiles)}.")
        return self.profiles[name]

    def lines(self, profile: str) -> list[GridEntry]:
        """The lines of the grid that a profile runs: those that it names, else all.

        Without names, a profile with stand-ins asks for no weights that have to be fetched: it leaves out what has no stand-in.
        """
        size = self.profile(profile)
        if size.experiments is not None:
            return [line for line in self.experiments.values() if line.notebook in size.experiments]
        return [
            line for line in self.experiments.values() if not size.stand_ins or line.model in size.stand_ins or not _fetched(line.model)
        ]

    def notebooks(self, profile: str) -> list[str]:
        """The notebooks of these lines."""
        return [line.notebook for line in self.lines(profile)]

    def train_datasets(self, notebook: str, profile: str) -> tuple[str, ...]:
        """Data sets that a line's model is trained on under a profile, each in a separate experiment."""
        own, asked = self.experiment(notebook).train_dataset, self.profile(profile).train_datasets
        return (own,) if own == NO_DATASET or asked is None else asked

    def trained_on(self, profile: str) -> set[str]:
        """All data sets that a profile trains on."""
        return {name for line in self.lines(profile) for name in self.train_datasets(line.notebook, profile)} - {NO_DATASET}

    def datasets(self) -> list[str]:
        """All data sets that any profile trains or tests on: those of the grid first, then real ones."""
        lines = self.experiments.values()
        named = [[d for line in lines for d in (line.train_dataset, *line.test_datasets)]]
        named += [[*(p.train_datasets or ()), *(p.test_datasets or ()), *p.real_datasets] for p in self.profiles.values()]
        return [name for name in dict.fromkeys(name for names in named for name in names) if name != NO_DATASET]

    def test_datasets(self, notebook: str, profile: str) -> tuple[str, ...]:
        """Test data sets of a line under a profile, without the profile's real data sets."""
        asked = self.profile(profile).test_datasets
        return self.experiment(notebook).test_datasets if asked is None else asked

    def experiment(self, notebook: str) -> GridEntry:
        """The line of the grid with this notebook."""
        if notebook not in self.experiments:
            raise InputError(notebook, "not among the experiments of experiments.yml", f"Known: {', '.join(self.experiments)}.")
        return self.experiments[notebook]


def _fetched(model: str) -> bool:
    """Whether a model starts from weights that no installed package brings."""
    return any(not checkpoint.package for checkpoint in registry.checkpoints(model))


def load(path: Path | None = None) -> Grid:
    """Read and check the grid; InputError names the place in the file."""
    return _load(Path(path) if path else project.project_root() / "experiments.yml")


@cache
def _load(path: Path) -> Grid:
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InputError(path, f"cannot be read ({error})", "Repair the file.") from error
    if wrong := schema.fault(raw, _SCHEMA):
        raise InputError(path, wrong, f"See lungseg_utils/experiments/{_SCHEMA.name}.")
    profiles = {name: _profile(name, value) for name, value in raw["profiles"].items()}
    try:
        planned = [_grid_entry(line) for line in raw["experiments"]]
        _check_names(planned)
        _check_detectors(planned, raw["detectors"])
        _check_profiles(planned, profiles)
    except InputError as fault:
        raise InputError(path, f"{fault.where}: {fault.problem}", fault.remedy) from fault
    return Grid(profiles, {p.notebook: p for p in planned}, raw["detectors"])


def _grid_entry(line: Row) -> GridEntry:
    """A line of the grid; without `prompters` it has all prompt settings of its model."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in line.items()}
    defaults = {"prompters": settings_for(registry.card("models", line["model"])), "options": {}}
    return GridEntry(**defaults | values | {"options": _hashable(line.get("options", {}))})


def _profile(name: str, value: Row) -> Profile:
    lists: dict[str, Any] = {key: tuple(value[key]) for key in ("real_datasets", "seeds", "folds", "k", "draws")}
    prompters = tuple(PROMPT_SETTINGS) if value["prompters"] == "all" else tuple(value["prompters"])
    lists |= {key: tuple(value[key]) if key in value else None for key in ("experiments", "test_datasets", "train_datasets")}
    jitter: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.get("jitter", {}).items()}
    return Profile(
        name,
        value["summary"],
        PhantomCounts(**value["phantoms"]),
        prompters=prompters,
        jitter=Jitter(**jitter),
        model_options=value["model_options"],
        stand_ins={model: StandIn(s["model"], s.get("options", {})) for model, s in value.get("stand_ins", {}).items()},
        notebook_options={notebook: _hashable(options) for notebook, options in value.get("notebook_options", {}).items()},
        variants={notebook: tuple(map(_hashable, changes)) for notebook, changes in value.get("variants", {}).items()},
        prompt_sources=tuple(value.get("prompt_sources", [REFERENCE])),
        patients=PatientCounts(**value.get("patients", {})),
        kept_embeddings_gb=value.get("kept_embeddings_gb", 0.0),
        **lists,
    )


def _hashable(options: Row) -> Row:
    """Options with tuples for lists: they become part of an experiment, which is a key."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _check_detectors(planned: list[GridEntry], detectors: Mapping[str, str]) -> None:
    lines = {line.notebook: line for line in planned}
    for paradigm in registry.names("paradigms"):
        line = lines.get(detectors.get(paradigm, ""))
        if line is None or "none" not in line.prompters:
            raise InputError("detectors", f"{paradigm} has no automatic notebook", "Name one that is asked without a prompt.")


def _check_names(planned: list[GridEntry]) -> None:
    if len({p.notebook for p in planned}) < len(planned):
        raise InputError("experiments", "a notebook is listed twice", "Merge its two entries.")
    for line in planned:
        card = registry.card("models", line.model)
        registry.paradigm(line.paradigm)
        for dataset in (*line.test_datasets, *([line.train_dataset] if line.train_dataset != NO_DATASET else [])):
            registry.dataset(dataset)
        for name in line.prompters:
            prompt_setting(name)
        _check_options(line.model, line.options, line.notebook)
        if line.paradigm not in card.paradigms or not set(line.prompters) <= set(settings_for(card)):
            raise InputError(line.notebook, f"{line.model} does not take this paradigm or prompter", f"Its card: {card}.")


def _check_profiles(planned: list[GridEntry], profiles: Mapping[str, Profile]) -> None:
    lines = {line.notebook: line for line in planned}
    for profile in profiles.values():
        where = f"profile {profile.name}"
        for dataset in (*(profile.train_datasets or ()), *(profile.test_datasets or ())):
            registry.dataset(dataset)
        for name in (*profile.prompters, *profile.jitter.prompters):
            prompt_setting(name)
        for model, options in profile.model_options.items():
            _check_options(model, options, where)
        for model, stand_in in profile.stand_ins.items():
            _check_stand_in(registry.card("models", model), stand_in, where)
        for notebook in (*profile.variants, *profile.notebook_options, *(profile.experiments or ())):
            if notebook not in lines:
                raise InputError(where, f"{notebook} is not among the experiments", f"Known: {', '.join(lines)}.")
        changes = [(n, options) for n, variants in profile.variants.items() for options in variants]
        for notebook, options in [*changes, *profile.notebook_options.items()]:
            model = lines[notebook].model
            _check_options(profile.stand_ins[model].model if model in profile.stand_ins else model, options, where)


def _check_stand_in(replaced: ModelCard, stand_in: StandIn, where: str) -> None:
    card = registry.card("models", stand_in.model)
    _check_options(stand_in.model, stand_in.options, where)
    if not (set(replaced.paradigms) <= set(card.paradigms) and set(replaced.prompts) <= set(card.prompts)):
        raise InputError(
            where, f"{stand_in.model} cannot stand in for {replaced.title}", "It must take its paradigms and kinds of prompts."
        )


def _check_options(model: str, options: Options, where: str) -> None:
    known = registry.card("models", model).options
    for name, value in options.items():
        if name not in known:
            raise InputError(where, f"{model} has no option {name}", f"Known: {', '.join(known)}.")
        if type(value) is not type(known[name]) and not _compatible(value, known[name]):
            raise InputError(where, f"option {name} of {model} is {value!r}", f"Give a value like {known[name]!r}.")


def _compatible(value: object, default: object) -> bool:
    both_lists = isinstance(value, list | tuple) and isinstance(default, list | tuple)
    numbers = isinstance(value, int) and not isinstance(value, bool) and isinstance(default, float)
    return both_lists or numbers


def resolve_options(experiment: Experiment, profile: Profile) -> Record:
    """Options of the model's CARD, changed first by the profile, then by the experiment."""
    changes = {**profile.model_options.get(experiment.model, {}), **dict(experiment.options)}
    _check_options(experiment.model, changes, experiment.name)
    return {**registry.card("models", experiment.model).options, **changes}


def model_options(model: str, changes: Options) -> dict[str, Any]:
    """Options of a model's card with changes; InputError names one that does not exist or has another type."""
    _check_options(model, changes, f"model {model}")
    return {**registry.card("models", model).options, **changes}
