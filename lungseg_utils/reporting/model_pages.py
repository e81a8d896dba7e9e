"""The page of all models, and the tables of each one's section: its runs, settings, results with controls, and failures.

A family is a model of the grid by its name in `models/`; a stand-in that ran in its place is named as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from .. import registry
from ..evaluation import tables
from ..experiments import analysis_plan, config, planning
from ..experiments.costs import subjects
from ..experiments.results import RunResult
from ..types import ModelCard, Options
from . import methods, model_texts
from .failures import failure_table
from .labels import CONTROL, TRIVIAL_MODEL, difference_text, interval_text, label_of
from .strata import SMALL_MM
from .values import training_seconds

# options that a reader asks for, in the words of the field; the rest stands at the foot of each experiment's page
_LABELS: Mapping[str, str] = {
    "spacing_mm": "working grid (mm)",
    "windows_hu": "CT windows, one channel each (HU)",
    "window_hu": "CT window (HU)",
    "canvas": "picture (pixels)",
    "field_mm": "side of what is seen around a box, at least (mm)",
    "eight_bit": "rounded to 256 gray levels",
    "min_max": "each slice stretched to [0, 1]",
    "patch": "training patch (voxels: slices, rows, columns)",
    "backbone": "backbone",
    "config": "configuration",
    "configuration": "configuration",
    "pretraining": "pretraining",
    "pretraining_steps": "steps of pretraining",
    "epochs": "epochs",
    "iterations_per_epoch": "steps in an epoch",
    "steps": "steps of training",
    "batch_size": "samples in a step",
    "clip_slices": "slices in a training clip",
    "learning_rate": "learning rate",
    "loss": "loss",
    "trainable": "parts that are trained",
    "box_jitter": "boxes moved in training by up to (share of a side)",
}
_TRAINING = (
    "epochs",
    "iterations_per_epoch",
    "steps",
    "batch_size",
    "clip_slices",
    "learning_rate",
    "loss",
    "trainable",
    "box_jitter",
    "patch",
)
_WORDS = {"dice_ce": "Dice + cross-entropy", "dice_bce_per_image": "Dice + cross-entropy, per image", "ct_like": "CT-like"}
_NOT_SAID, _NO_PROMPT = "–", "none"


def names() -> list[str]:
    """All models of the grid, without the trivial baselines."""
    return [name for name in dict.fromkeys(line.model for line in config.load().experiments.values()) if name != TRIVIAL_MODEL]


def members(model: str, profile: str, finished: Sequence[RunResult]) -> list[RunResult]:
    """The finished runs of a model's notebooks, for the first k if there are several, and their variants."""
    known = {result.experiment.name: result for result in finished}
    found: dict[str, RunResult] = {}
    for line in (line for line in config.load().lines(profile) if line.model == model):
        first = planning.make_experiment(line.notebook, profile)
        alike = [e for e in planning.planned_runs(line.notebook, profile) if e.k == first.k]
        found |= {experiment.name: known[experiment.name] for experiment in alike if experiment.name in known}
    return list(found.values())


def numbers(ladders: Mapping[str, pd.DataFrame], results: Sequence[RunResult]) -> pd.DataFrame:
    """Mean DSC of a family in the primary prompt settings, and what it is more or less than its opponents with the same prompt.

    Of an automatic model its own prediction alone: cut to a prompt it is a control, which the page of prompts shows. One row per prompt
    setting and method. `ladders`: data set -> `ladder.ladder_table`; differences are paired, on the first data set.
    """
    internal = next(iter(ladders.values()))
    own = internal[internal["experiment"].isin([method.name for method in methods.group_runs(results)])]
    own = own[~own["title"].str.endswith(CONTROL)]
    order = [name for name in analysis_plan.load().primary_settings if name in set(own["setting"])]
    return pd.DataFrame([_numbers_row(row, ladders) for name in order for _, row in own[own["setting"] == name].iterrows()])


def _numbers_row(row: pd.Series, ladders: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    shown = {"method": row["title"], "prompt": label_of(row["setting"])}
    for dataset, table in ladders.items():
        here = table[(table["experiment"] == row["experiment"]) & (table["setting"] == row["setting"])]
        values = here.iloc[0] if len(here) else None
        text = _NOT_SAID if values is None else interval_text(values["dsc"], values["dsc_low"], values["dsc_high"])
        if values is not None and values["n"] < table["n"].max():
            text += f", n = {values['n']}"
        text = _unbroken(text)
        shown[f"DSC, {registry.card('datasets', dataset).short_title or label_of(dataset)}, n = {table['n'].max()}"] = text
    for name, heading in (("trivial", "minus best baseline"), ("control", "minus control")):
        difference = difference_text(*(row[f"over_{name}{end}"] for end in ("", "_low", "_high")))
        shown[heading] = _NOT_SAID if row["setting"] == _NO_PROMPT else _unbroken(difference)  # no rule predicts without a prompt
    return shown


def _unbroken(text: str) -> str:
    """The text on one line of a table's cell."""
    return text.replace(" ", "\u00a0")


def setup(model: str, profile: str, results: Sequence[RunResult]) -> pd.DataFrame:
    """Settings of a family: one row per option, one column per notebook, and the published model's settings if a stand-in ran."""
    lines = [line for line in config.load().lines(profile) if line.model == model]
    known = {methods.group_key(method.experiment): method.results[0] for method in methods.group_runs(results)}
    shown = {_column(line): known.get(methods.group_key(planning.make_experiment(line.notebook, profile))) for line in lines}
    columns = {name: _setup_of(result, profile) for name, result in shown.items() if result is not None}
    if any(result.experiment.model != model for result in results):
        columns["with the published weights"] = _options(registry.card("models", model).options)
    order = [
        "what runs",
        "prompts",
        "parameters",
        "labeled patients, training + validation",
        *_LABELS.values(),
        "seconds of training, here",
    ]
    table = pd.DataFrame(columns).reindex(order).dropna(how="all").fillna(_NOT_SAID)
    return table.rename_axis("setting").reset_index()


def _column(line: config.GridEntry) -> str:
    return registry.card("paradigms", line.paradigm).title


def _setup_of(result: RunResult, profile: str) -> dict[str, str]:
    experiment = result.experiment
    options = config.resolve_options(experiment, config.load().profile(profile))
    learns = registry.card("paradigms", experiment.paradigm).uses_target_labels
    patients = result.provenance["patients"]
    shown = {
        "what runs": planning.experiment_title(experiment),
        "prompts": ", ".join(label_of(p) for p in result.asked()["prompter"].unique()),
    }
    shown |= {"parameters": f"{result.provenance['parameters']:,}"}
    if learns:
        shown["labeled patients, training + validation"] = f"{len(patients['train'])} + {len(patients['validation'])}"
        if (result.history["quantity"] == "seconds").any():
            shown["seconds of training, here"] = str(training_seconds(result.history))
    return shown | _options({k: v for k, v in options.items() if learns or k not in _TRAINING})


def _options(options: Options) -> dict[str, str]:
    # of promptable networks `patch` is a size of the image encoder
    named = {k: v for k, v in options.items() if k in _LABELS and not (k == "patch" and isinstance(v, int))}
    shown = {_LABELS[name]: _text(name, value) for name, value in named.items()}
    if "canvas" in options and not options.get("field_mm"):
        shown[_LABELS["field_mm"]] = "the whole slice"
    return shown


def _text(name: str, value: object) -> str:
    if name == "windows_hu":
        return "; ".join(_text("window_hu", window) for window in value)
    if name == "window_hu":
        return " to ".join(f"{bound:g}".replace("-", "−") for bound in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " × ".join(f"{part:g}" for part in value)
    if name == "canvas":
        return f"{value} × {value}"
    return f"{value:g}" if isinstance(value, float) else _WORDS.get(value, str(value).replace("_", " "))


def failures(results: Sequence[RunResult], facts: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Failures of a family on one data set, by method and primary prompt setting: failed and empty predictions, lowest DSC, small tumors.

    `facts`: from `strata.facts_of_cases`. Small: at most 30 mm in the axial plane.
    """
    small, names_of = facts[facts["diameter_mm"] <= SMALL_MM].index, methods.titles(results)
    bad, rows = failure_table(results, [dataset]), []
    for method in methods.group_runs(results):
        for setting in [name for name in analysis_plan.load().primary_settings if method.asked(dataset, name)]:
            name, table = names_of[method.name, setting], method.table(dataset, setting)
            values = table.mean(axis=1)
            kinds = bad[(bad["method"] == name) & (bad["setting"] == setting)]["kind"].value_counts()
            row = {"method": name, "prompt": label_of(setting), "predictions": int(table.notna().to_numpy().sum())}
            row |= {kind: int(kinds.get(kind, 0)) for kind in ("failed", "empty")} | {"lowest DSC": f"{table.min().min():.2f}"}
            tested_small = values.index.intersection(small, sort=False)
            sizes = ((f"DSC, tumors up to {SMALL_MM} mm", values[tested_small]), ("larger ones", values.drop(tested_small)))
            for heading, part in sizes:
                row[f"{heading}, n = {len(part)}"] = _NOT_SAID if part.empty else f"{part.mean():.2f}"
            rows.append(row)
    return pd.DataFrame(rows)


def page_values(model: str, results: Sequence[RunResult], datasets: Sequence[str]) -> dict[str, object]:
    """Values for the text of the model's section, by glue key: what ran ("" for nothing), also in short, with how many parameters, and
    how many predictions (over all runs) failed or were empty.
    """
    ran = dict.fromkeys(planning.experiment_title(r.experiment) for r in results)
    names_of = {f"{model}_ran": "; ".join(ran), f"{model}_here": here(model, results), f"{model}_parameters": _parameters(results)}
    if not results:
        return names_of
    found = failure_table(results, datasets)
    asked = pd.concat([tables.case_values(result.asked(), "dsc") for result in results])
    return names_of | {
        f"{model}_predictions": int(asked["test_dataset"].isin(datasets).sum()),
        f"{model}_failed": int((found["kind"] == "failed").sum()),
        f"{model}_empty": int((found["kind"] == "empty").sum()),
        f"{model}_empty_prompted": int(((found["kind"] == "empty") & (found["setting"] != "none")).sum()),
    }


def _parameters(results: Sequence[RunResult]) -> str:
    found = dict.fromkeys(f"{r.provenance['parameters'] / 1e6:.2g} M" for r in results)
    return "; ".join(found) or _NOT_SAID


def here(model: str, results: Sequence[RunResult]) -> str:
    """What an edition ran of a model, in a few words: whose weights, and in which paradigms."""
    if not results:
        return "not run"
    own = "published weights" if registry.checkpoints(model) else "trained here"
    kind = own if all(r.experiment.model == model for r in results) else "stand-in"
    return f"{kind}: {', '.join(dict.fromkeys(registry.card('paradigms', r.experiment.paradigm).title for r in results))}"


def answer(ran: Mapping[str, Sequence[RunResult]]) -> str:
    """Markdown: which of the models an edition ran, under their own names and as stand-ins. `ran`: model -> its runs."""
    kinds: dict[str, list[str]] = {}
    for model, results in ran.items():
        kinds.setdefault(here(model, results).partition(":")[0], []).append(registry.card("models", model).title.partition(" (")[0])
    texts = {
        "trained here": "trained {} from random weights",
        "published weights": "ran {} with the published weights",
        "stand-in": "replaced {} by stand-ins",
        "not run": "did not run {}",
    }
    said = [text.format(_listed(kinds[kind])) for kind, text in texts.items() if kind in kinds]
    text = f"The book describes {len(ran)} models. This edition {_listed(said)}."
    warning = " A stand-in is a small network of the same classes; **its numbers are no results of the published model**."
    return text + (warning if "stand-in" in kinds else "")


def at_a_glance(ran: Mapping[str, Sequence[RunResult]], costs: pd.DataFrame) -> pd.DataFrame:
    """One row per model, to be shown as text: what its card says, its parameters at full size and here, and what ran of it.

    `costs`: the measured full sizes (`costs.table`), of which the published one is shown: in 3-D where a model has both.
    """
    rows = []
    for model, results in ran.items():
        card, full = registry.card("models", model), _full_size(model, costs)
        row = {"Model": model_texts.read(model, card.options).name, "Reads a CT as": card.reads, "Pretraining": card.pretraining}
        row |= {"Labels it needs": _labels_needed(card), "Prompt": _prompts_taken(card)}
        rows.append(row | {"Parameters: full size": full, "here": _parameters(results), "In this edition": here(model, results)})
    return pd.DataFrame(rows)


def _full_size(model: str, costs: pd.DataFrame) -> str:
    sizes = [s.name for s in subjects.subjects() if s.model == model and s.by_default and "2d" not in s.options.values()]
    found = costs[costs["model"].isin(sizes) & (costs["quantity"] == "parameters")]["value"]
    return _NOT_SAID if found.empty else f"{found.max() / 1e6:.2g} M"


def _labels_needed(card: ModelCard) -> str:
    shots = [registry.card("paradigms", name) for name in card.paradigms]
    few, every = (any(p.uses_target_labels and p.few_shot == few for p in shots) for few in (True, False))
    kinds = ["none"] * any(not p.uses_target_labels for p in shots) + ["few"] * few + ["all"] * every
    return _listed(kinds, "or")


def _prompts_taken(card: ModelCard) -> str:
    words = {"box": "boxes", "points": "clicks"}
    return _NO_PROMPT if card.is_automatic else ", ".join(words[kind] for kind in card.prompts if kind in words)


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def tables_of(
    model: str, profile: str, results: Sequence[RunResult], ladders: Mapping[str, pd.DataFrame], facts: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The tables of a model's section by glue key; none if nothing ran."""
    if not results:
        return {}
    return {
        f"{model}_numbers": numbers(ladders, results),
        f"{model}_failures": failures(results, facts, next(iter(ladders))),
        f"{model}_setup": setup(model, profile, results),
    }
