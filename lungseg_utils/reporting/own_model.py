"""The command `evaluate`: a model that somebody trained elsewhere, on the project's patients, beside those that got the same prompts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from .. import registry
from ..core import files, own_models, project
from ..evaluation import intervals
from ..experiments import config, grid, planning, results, run
from ..prompts.ladder import prompt_setting, settings_for
from ..prompts.sources import ANOTHER_READER, REFERENCE, TITLES, own_source
from ..types import Experiment, InputError, Options
from . import controls, labels
from .experiment_page import BASELINES
from .methods import Method, group_runs, pair_methods

PARADIGM = "trained_elsewhere"
OWN, BEST_TRIVIAL, OTHER = "own", "best answer without a network", ""
TABLE = "evaluation.csv"


def kinds() -> list[str]:
    """Kinds of models that can be brought along."""
    return [name.removeprefix(own_models.PREFIX) for name in registry.names("models") if name.startswith(own_models.PREFIX)]


@dataclass(frozen=True)
class Request:
    """What is evaluated on which data set: prompt settings, and whose outlines the prompts are drawn from."""

    experiment: Experiment
    dataset: str
    prompters: tuple[str, ...]
    prompt_sources: tuple[str, ...]


def request(
    model: str,
    dataset: str,
    trained_on: str,
    prompters: Sequence[str] = (),
    prompt_sources: Sequence[str] = (),
    profile: str = "patients",
    name: str = "",
    options: Sequence[str] = (),
) -> Request:
    """Check what is asked for; nothing is loaded.

    Args:
        model: KIND:PATH, see `kinds`.
        dataset: of the registry.
        trained_on: on which data the model was trained, in words, or "unknown".
        prompters: prompt settings; by default those of the profile that the model takes.
        prompt_sources: "reference", "another_reader"; by default those of the profile.
        profile: which patients are tested.
        name: of the model, beside its numbers.
        options: further ones of the model, each NAME=VALUE.

    Raises:
        InputError: for an unknown kind, data set, prompt setting or option, or a model that is not there.
    """
    kind, _, path = model.partition(":")
    if kind not in kinds() or not path:
        raise InputError(model, "no model of the form KIND:PATH", f"KIND is one of {', '.join(kinds())}.")
    registry.dataset(dataset)
    size, card = config.load().profile(profile), registry.card("models", own_models.PREFIX + kind)
    known = settings_for(card)
    for setting in prompters:
        prompt_setting(setting)
        if setting not in known:
            raise InputError(setting, f"{card.title} does not take this prompt setting", f"Choose of {', '.join(known)}.")
    chosen = {"path": _inside_project(Path(path)), "trained_on": trained_on, **({"name": name} if name else {}), **_parsed(options)}
    resolved = config.model_options(own_models.PREFIX + kind, chosen)
    source = registry.initial_weights(own_models.PREFIX + kind, resolved)
    source.files()
    experiment = Experiment(
        profile,
        config.NO_DATASET,
        own_models.PREFIX + kind,
        PARADIGM,
        seed=size.seeds[0],
        fold=size.folds[0],
        options=tuple(sorted(chosen.items())),
    )
    asked = tuple(prompters) or tuple(setting for setting in known if setting in size.prompters)
    return Request(experiment, dataset, asked, tuple(prompt_sources) or size.prompt_sources)


def _inside_project(path: Path) -> str:
    """The path as the file `experiments.yml` would name it: from the project's folder where it lies there."""
    absolute, root = path.expanduser().resolve(), project.project_root().resolve()
    return str(absolute.relative_to(root) if absolute.is_relative_to(root) else absolute)


def _parsed(options: Iterable[str]) -> Options:
    found = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(text, "no option of the form NAME=VALUE", "For example --option canvas=512.")
        read = yaml.safe_load(value)
        found[name] = tuple(read) if isinstance(read, list) else read
    return found


def evaluate(asked: Request, progress: bool = True, workers: int = 1) -> tuple[results.RunResult, pd.DataFrame]:
    """Run the model as every other experiment, or read what is finished; returns its results and `comparison`."""
    own = run.run(asked.experiment, [asked.dataset], asked.prompters, progress, workers, asked.prompt_sources)
    opponents = [*_baselines(asked, progress, workers), *_finished(asked.experiment.profile)]
    return own, comparison(own, opponents, asked)


def _finished(profile: str) -> list[results.RunResult]:
    """What the profile has finished or stored, without the baselines."""
    planned = [e for e in planning.all_planned(profile) if e.model != labels.TRIVIAL_MODEL]
    return [results.open_result(experiment) for experiment in results.finished_only(planned)]


def _baselines(asked: Request, progress: bool, workers: int) -> list[results.RunResult]:
    """The rules without a network that the profile plans, asked the same; they are run where they were not."""
    found = []
    for experiment in planning.planned_runs(BASELINES, asked.experiment.profile):
        finished = results.open_result(experiment) if results.is_finished(experiment) else None
        if finished is None or not _answers(finished, asked):
            prompters = dict.fromkeys([*grid.prompt_settings(experiment), *asked.prompters])
            prompt_sources = dict.fromkeys([*config.load().profile(experiment.profile).prompt_sources, *asked.prompt_sources])
            finished = run.run(experiment, [asked.dataset], list(prompters), progress, workers, list(prompt_sources))
        found.append(finished)
    return found


def _answers(finished: results.RunResult, asked: Request) -> bool:
    (method,) = group_runs([finished])
    return all(method.asked(asked.dataset, setting, source=source) for setting, source in _questions(asked))


def _questions(asked: Request) -> list[tuple[str, str]]:
    """(prompt setting, source as `Method` names it) of all that is asked."""
    several = registry.card("datasets", asked.dataset).several_readers and ANOTHER_READER in asked.prompt_sources
    own = [(setting, "") for setting in asked.prompters if REFERENCE in asked.prompt_sources or not several]
    return own + [(s, ANOTHER_READER) for s in asked.prompters if several and not prompt_setting(s).from_detector]


def comparison(own: results.RunResult, opponents: Sequence[results.RunResult], asked: Request) -> pd.DataFrame:
    """The model beside all that were asked the same, on the same patients.

    Returns:
        One row per prompt setting, source and method: the model first, then by falling mean. Columns: prompt, drawn_by, method, role
        (`OWN`, `BEST_TRIVIAL`, else empty), n; dsc, dsc_low, dsc_high; difference, difference_low, difference_high (the model minus this
        method, paired, for these trained models); interval (how it was made).
    """
    (mine,) = group_runs([own])
    others = group_runs(opponents)
    rows: list[dict[str, object]] = []
    for setting, source in _questions(asked):
        patients = set(mine.table(asked.dataset, setting, source=source).index)
        here = [m for m in others if m.asked(asked.dataset, setting, source=source)]
        here = [m for m in here if patients & set(m.table(asked.dataset, setting, source=source).index)]
        rows.append(_row(mine, mine, asked.dataset, setting, source) | {"role": OWN})
        found = [(m, _row(mine, m, asked.dataset, setting, source)) for m in here]
        trivial = [row for method, row in found if controls.role_of(method.experiment) == "trivial"]
        if trivial:
            max(trivial, key=lambda row: row["dsc"])["role"] = BEST_TRIVIAL
        rows += sorted((row for _, row in found), key=lambda row: -row["dsc"])
    return pd.DataFrame(rows)


def _row(mine: Method, other: Method, dataset: str, setting: str, source: str) -> dict[str, object]:
    pair = pair_methods(mine, setting, other, setting, dataset, source=source)
    summary = intervals.summarize_trained_models(pair.b)
    difference = pair.trained_models()
    control = labels.CONTROL if setting != "none" and controls.role_of(other.experiment) == "automatic" else ""
    return {
        "prompt": setting,
        "drawn_by": TITLES[source or own_source(setting)] if setting != "none" else "nobody",
        "method": planning.experiment_title(other.experiment) + control,
        "role": OTHER,
        "n": summary.n,
        "dsc": summary.mean,
        "dsc_low": summary.low,
        "dsc_high": summary.high,
        "difference": difference.mean,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "interval": summary.method,
    }


def in_words(table: pd.DataFrame) -> str:
    """The table for a terminal."""
    own = table["role"] == OWN
    shown = pd.DataFrame(
        {
            "prompt": table["prompt"],
            "drawn by": table["drawn_by"],
            "method": table["method"] + table["role"].map({BEST_TRIVIAL: f" ({BEST_TRIVIAL})"}).fillna(""),
            "n": table["n"],
            "mean Dice [95 %]": [labels.interval_text(*row) for row in table[["dsc", "dsc_low", "dsc_high"]].itertuples(index=False)],
            "own minus it [95 %]": labels.difference_texts(table, "difference"),
        }
    )
    shown.loc[own, "own minus it [95 %]"] = ""
    return shown.to_string(index=False, justify="left")


def write(own: results.RunResult, table: pd.DataFrame, out: Path | None) -> Path:
    """Write the table beside the experiment's own, and all of them into the folder `out`; returns the folder."""
    files.write(table, own.folder / TABLE)
    if out is None:
        return own.folder
    for name in (TABLE, "results.csv", "costs.csv", "experiment.json"):
        with files.atomic_path(out / name) as temporary:
            shutil.copyfile(own.folder / name, temporary)
    return out
