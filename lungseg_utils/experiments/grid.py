"""Run and list the experiments of the grid (experiments.yml)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .. import registry
from ..core.stand_ins import RANDOM
from ..data import samples
from ..prompts.ladder import PROMPT_SETTINGS
from ..types import Experiment, InputError, Options
from . import cohorts, config, initial_weights, planning, results, run, store


def real_datasets(profile: str) -> list[str]:
    """Real data sets of the profile whose files are here."""
    return list(cohorts.available_real_datasets(config.load().profile(profile), samples.is_here))


def phantom_datasets(profile: str) -> list[str]:
    """Phantom data sets that the profile's experiments are trained or tested on."""
    grid = config.load()
    used = grid.trained_on(profile) | {name for line in grid.lines(profile) for name in grid.test_datasets(line.notebook, profile)}
    return sorted(name for name in used if registry.card("datasets", name).phantom)


def datasets_to_test(notebook: str, profile: str) -> list[str]:
    """Test data sets of a notebook: those of its line that the profile selects, and the real ones on this machine."""
    return [*config.load().test_datasets(notebook, profile), *real_datasets(profile)]


def run_experiment(notebook: str, profile: str, seed: int = 0, fold: int = 0, k: int = 0, draw: int = 0) -> results.RunResult:
    """Run a line of the grid on all its test data sets, or read its finished results: the one call of a notebook."""
    return _run(notebook, planning.make_experiment(notebook, profile, seed, fold, k, draw))


def run_planned(notebook: str, profile: str) -> list[results.RunResult]:
    """Run all experiments that the profile plans for the notebook: its own first, then controls and other variants."""
    return [_run(notebook, experiment) for experiment in planning.planned_runs(notebook, profile)]


def run_all(profile: str, missing: bool = False) -> Iterator[results.RunResult]:
    """Run every experiment that a profile plans, without notebooks and book; with `missing` only those that are not stored yet.

    First runs come before second ones, so an early end leaves all methods with equally many. Stored experiments have no weights: a detector
    that a missing experiment needs is trained, and so run, with it.
    """
    planned = [(line.notebook, e) for line in config.load().lines(profile) for e in planning.planned_runs(line.notebook, profile)]
    ordered = dict.fromkeys(sorted(planned, key=lambda line: (line[1].seed, line[1].fold, line[1].draw)))
    lacking = [line for line in ordered if not (missing and store.holds(profile, line[1].name))]
    wanted = {e.name for _, e in lacking} | {before for line in lacking for before in _detectors_of(*line)}
    return (_run(notebook, e) for notebook, e in ordered if e.name in wanted)


def run_by_name(name: str, profile: str) -> results.RunResult:
    """Run one planned experiment by its full name, as one job of a cluster."""
    notebook, experiment = planned_run(name, profile)
    return _run(notebook, experiment)


def run_names(notebook: str, profile: str) -> list[str]:
    """Full names of all experiments that a profile plans for a notebook."""
    return [experiment.name for experiment in planning.planned_runs(notebook, profile)]


def runs_before(name: str, profile: str) -> list[str]:
    """Full names of the experiments whose weights another one needs: its detectors, if the profile uses boxes of a detector."""
    return _detectors_of(*planned_run(name, profile))


def _detectors_of(notebook: str, experiment: Experiment) -> list[str]:
    found = planning.detectors_of(experiment, datasets_to_test(notebook, experiment.profile), prompt_settings(experiment))
    return sorted({other.name for other in found.values()} - {experiment.name})


def stand_ins_before(name: str, profile: str) -> list[str]:
    """The stand-in whose pretraining an experiment starts from, if any."""
    _, experiment = planned_run(name, profile)
    return [first] if (first := _stand_in(experiment)) else []


def planned_run(name: str, profile: str) -> tuple[str, Experiment]:
    """Notebook and experiment of a full name; InputError if the profile does not plan it."""
    for line in config.load().lines(profile):
        for experiment in planning.planned_runs(line.notebook, profile) if name.startswith(f"{profile}__{_kind(line, profile)}__") else ():
            if experiment.name == name:
                return line.notebook, experiment
    raise InputError(name, f"not an experiment that profile {profile} plans", f"Notebooks: {', '.join(config.load().experiments)}.")


def _kind(line: config.GridEntry, profile: str) -> str:
    """How the names of a line's experiments begin, after the profile: the model, or its stand-in, and the paradigm."""
    stand_in = config.load().profile(profile).stand_ins.get(line.model)
    return f"{stand_in.model if stand_in else line.model}__{line.paradigm}"


def _run(notebook: str, experiment: Experiment) -> results.RunResult:
    return run.run(experiment, datasets_to_test(notebook, experiment.profile), prompt_settings(experiment))


def prompt_settings(experiment: Experiment) -> list[str]:
    """What the profile asks of an experiment. Two notebooks whose models share a stand-in share its answers, so it is asked for both."""
    profile, kind = experiment.profile, f"{experiment.model}__{experiment.paradigm}"
    planned, everything = config.load().lines(profile), config.load().experiments.values()
    alike = [line for line in planned if _kind(line, profile) == kind]
    alike = alike or [line for line in everything if _kind(line, profile) == kind]  # a run by hand of what the profile does not plan
    lines = [line for line in alike if any(_differ_in_run(e, experiment) for e in planning.planned_runs(line.notebook, profile))]
    wanted = {name for line in lines for name in line.prompters} & set(config.load().profile(profile).prompters)
    return [name for name in PROMPT_SETTINGS if name in wanted]


def _differ_in_run(planned: Experiment, experiment: Experiment) -> bool:
    """Whether two experiments are the same but for seed, fold, k and draw: a run by hand may choose those that no profile plans."""
    return experiment == replace(planned, seed=experiment.seed, fold=experiment.fold, k=experiment.k, draw=experiment.draw)


def detectors(profile: str) -> list[str]:
    """Notebooks whose weights provide the boxes of detectors, in the order of experiments.yml; none if the profile uses none."""
    grid = config.load()
    if not any(PROMPT_SETTINGS[name].from_detector for name in grid.profile(profile).prompters):
        return []
    return [line.notebook for line in grid.lines(profile) if line.notebook in grid.detectors.values()]


def automatic(profile: str) -> list[str]:
    """Notebooks of trained models that need no prompt."""
    cards = {line.notebook: registry.card("models", line.model) for line in config.load().lines(profile)}
    return [name for name, card in cards.items() if card.is_automatic]


def trained(profile: str) -> list[str]:
    """Notebooks whose models are trained on patients, which takes longest."""
    lines = config.load().lines(profile)
    return [line.notebook for line in lines if registry.card("paradigms", line.paradigm).uses_target_labels]


def stand_ins(profile: str) -> dict[str, tuple[str, Options, int]]:
    """Name -> (model, options, seed) of every stand-in that the profile's experiments start from, each once."""
    size = config.load().profile(profile)
    found: dict[str, tuple[str, Options, int]] = {}
    for experiment in planning.all_planned(profile):
        if name := _stand_in(experiment):
            found.setdefault(name, (experiment.model, config.resolve_options(experiment, size), experiment.seed))
    return found


def _stand_in(experiment: Experiment) -> str:
    pretraining = config.resolve_options(experiment, config.load().profile(experiment.profile)).get("pretraining", RANDOM)
    return "" if pretraining == RANDOM else initial_weights.of_seed(f"{experiment.model}__{pretraining}", experiment.seed)


def pretrain(name: str, profile: str) -> None:
    """Compute the first weights of a stand-in, if they do not exist yet."""
    known = stand_ins(profile)
    if name not in known:
        raise InputError(name, f"no stand-in of profile {profile}", f"Choose one of {', '.join(known)}.")
    model, options, seed = known[name]
    initial_weights.initial_weights(model, options, seed=seed)


def export(profile: str) -> Path:
    """Store the experiments of a profile that were run here, small enough to be committed; returns the folder of their tables.

    Stored experiments that were not run here stay as they are: a long profile may grow over several runs.
    """
    own = [result for result in results.results_at_hand(profile) if result.folder == store.results_folder(result.experiment)]
    if not own:
        raise InputError(f"profile {profile}", "none of its experiments was run here", f"Run them first: run all --profile {profile}.")
    return store.write(profile, {r.experiment.name: store.Stored(r.results, r.costs, r.history, r.provenance) for r in own})
