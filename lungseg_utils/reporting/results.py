"""Page "All results": one row for each method, prompt, source of the prompt and test set."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import registry
from ..evaluation import intervals, tables
from ..experiments import config, planning
from ..experiments.results import RunResult
from ..prompts.sources import ANOTHER_READER, TITLES, own_source
from ..types import Checkpoint, Experiment, OwnWeights
from . import contamination, controls, ladder, methods, settings_labels, wording
from .labels import CONTROL, TRIVIAL_MODEL, counted, difference_texts, interval_text, label_of, method_titles, number_text
from .style import method_looks, plot_style
from .values import dsc_of_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def experiment_titles(finished: Iterable[RunResult]) -> dict[str, str]:
    """Experiment -> title, for tables and pages."""
    return {r.experiment.name: planning.experiment_title(r.experiment) for r in finished}


def results_of(finished: Iterable[RunResult]) -> pd.DataFrame:
    """All results without errors in drawing, in one table; a method with several runs appears once, with their means."""
    return pd.concat([method.averaged() for method in methods.group_runs(finished)], ignore_index=True)


def methods_by_setting(results: pd.DataFrame, models: Mapping[str, str], dataset: str) -> Figure:
    """Mean DSC with 95 % interval of every method on one data set, one panel per prompt setting, best on top; trivial baselines gray."""
    plot_style()
    import matplotlib.pyplot as plt

    means = {key[1:]: part for key, part in dsc_of_rows(results[results["test_dataset"] == dataset], ["experiment"]).items()}
    settings = [setting for setting in ("none", "box_one_slice", "box_every_slice") if any(key[0] == setting for key in means)]
    summaries, names = {key: intervals.summarize_mean(series.to_numpy()) for key, series in means.items()}, method_titles(results, models)
    rows = [
        sorted((s.mean, names[e, r], names[e, r] != models[e], s) for (r, e), s in summaries.items() if r == setting)
        for setting in settings
    ]
    heights = [len(part) for part in rows]
    figure, panels = plt.subplots(
        len(settings), 1, figsize=(8.5, 0.9 * len(settings) + 0.27 * sum(heights)), sharex=True, layout="constrained", squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for axes, setting, part in zip(panels[:, 0], settings, rows, strict=True):
        for place, (mean, name, is_control, summary) in enumerate(part):
            color = method_looks(name, int(is_control))["color"]
            axes.plot([summary.low, summary.high], [place, place], color=color, linewidth=2)
            axes.plot(mean, place, "o", color=color)
        axes.set(yticks=range(len(part)), yticklabels=[name for _, name, *_ in part], title=label_of(setting), xlim=(-0.02, 1.02))
        axes.set_ylim(-0.6, len(part) - 0.4)
    panels[-1, 0].set_xlabel(f"mean 3-D DSC, {label_of(dataset)}, {counted(s.n for s in summaries.values())}")
    plt.close(figure)
    return figure


def cohort_values(results: pd.DataFrame, experiments: Mapping[str, str], roles: Mapping[str, str]) -> dict[str, object]:
    """Values for the front page, by glue key NOTEBOOK_ROLE_(dsc|dsc_low|dsc_high|n) or, with a prompt, NOTEBOOK_SETTING_ROLE_...

    `experiments`: notebook -> name of its own method; `roles`: data set -> ROLE, as `wording.roles` gives it. The trivial baselines for a
    box on every slice or on one are called box_ellipse and box_ellipsoid.
    """
    means = dsc_of_rows(results, ["experiment"])
    values: dict[str, Any] = {}
    for notebook, name in experiments.items():
        for dataset, setting in [(dataset, setting) for dataset, setting, known in means if known == name and dataset in roles]:
            summary = intervals.summarize_mean(means[dataset, setting, name].to_numpy())
            key = _TRIVIAL_KEYS.get((notebook, setting), notebook + ("" if setting == "none" else f"_{setting}")) + f"_{roles[dataset]}"
            values |= {f"{key}_dsc": summary.mean, f"{key}_n": summary.n, f"{key}_dsc_low": summary.low, f"{key}_dsc_high": summary.high}
    return values


_TRIVIAL_KEYS = {
    ("baselines_zero_shot", "box_every_slice"): "box_ellipse",
    ("baselines_zero_shot", "box_one_slice"): "box_ellipsoid",
}


@dataclass(frozen=True)
class Board:
    """A table for a leaderboard: `shown` columns stand on the page, `more` are in the file only; `links` lead to the page of a row."""

    shown: pd.DataFrame
    more: pd.DataFrame
    links: tuple[str, ...]


def board(profiles: Mapping[str, Sequence[RunResult]], book: str) -> Board:
    """Every method in every prompt setting, of the book's own profile first. `profiles`: profile -> its finished experiments."""
    parts = []
    for profile, finished in profiles.items():
        first, pages = {method.name: method.experiment for method in methods.group_runs(finished)}, _pages(profile)
        for dataset, source in itertools.product(wording.datasets(profile), ("", ANOTHER_READER)):
            table = ladder.ladder_table(finished, dataset, source)
            if len(table):
                table = _best_first(table)
                experiments = [first[name] for name in table["experiment"]]
                where = label_of(dataset) + ("" if profile == book else f", profile {profile}")
                shown = _shown(table, experiments, dataset, source).assign(**{"test set": where})
                links = [pages.get(methods.group_key(e), "") if profile == book else "" for e in experiments]
                parts.append((shown, _more(table).assign(profile=profile), links))
    shown, more = (pd.concat([part[n] for part in parts], ignore_index=True) for n in (0, 1))
    return Board(shown[list(COLUMNS)], more.fillna("–"), tuple(link for part in parts for link in part[2]))


def _best_first(table: pd.DataFrame) -> pd.DataFrame:
    order = {setting: place for place, setting in enumerate(dict.fromkeys(table["setting"]))}
    places = table["setting"].map(order)
    return table.assign(place=places).sort_values(["place", "dsc"], ascending=[True, False]).reset_index(drop=True)


COLUMNS: Mapping[str, str] = {  # in their order, with what the legend says of those that do not speak for themselves
    "architecture": "what runs; “rule” is a shape without a network; “+ prompt”: the network's own prediction, cut to the prompt",
    "pretraining": "first weights; † a source says that they were trained on the tested images",
    "labels": "labeled patients of the test set's kind that training and validation used; “other”: trained on another data set",
    "prompt": "",
    "drawn by": "who drew the prompt; another reader draws, the other readers judge",
    "test set": "",
    "n": "",
    "Dice": "mean 3-D Dice over patients with a tumor, with 95 % interval",
    "minus best without a network": "mean paired difference to the best rule for the same prompt, drawn by the same person",
    "NSD": "mean normalized surface Dice at 3 mm",
    "found": "share of lesions that the prediction touches",
}


def _pages(profile: str) -> dict[Experiment, str]:
    """Method by its `methods.group_key` -> the page of its notebook, of the first one where models share a stand-in."""
    lines = reversed(config.load().lines(profile))
    return {methods.group_key(e): f"{line.notebook}.html" for line in lines for e in planning.planned_runs(line.notebook, profile)}


def _shown(table: pd.DataFrame, experiments: Sequence[Experiment], dataset: str, source: str) -> pd.DataFrame:
    names = [model_names(e) for e in experiments]
    burnt = [BURNT if contamination.is_burnt(e, dataset) else "" for e in experiments]
    trained = [controls.training(e, dataset) == controls.EXTERNAL for e in experiments]
    return pd.DataFrame(
        {
            "architecture": [name + (CONTROL if role == "control" else "") for (name, _), role in zip(names, table["role"], strict=True)],
            "pretraining": [first + mark for (_, first), mark in zip(names, burnt, strict=True)],
            "labels": [f"{n} + other" if other else str(n) for n, other in zip(table["labels"], trained, strict=True)],
            "prompt": table["setting"].map(label_of),
            "drawn by": [_drawn_by(setting, source) for setting in table["setting"]],
            "n": table["n"],
            "Dice": [interval_text(*row) for row in table[["dsc", "dsc_low", "dsc_high"]].itertuples(index=False)],
            "minus best without a network": difference_texts(table, "over_trivial"),
            "NSD": [number_text(value, 2) for value in table["nsd_3mm"]],
            "found": [number_text(value, 2) for value in table["hit"]],
        }
    )


BURNT = " †"


def model_names(experiment: Experiment) -> tuple[str, str]:
    """Architecture and first weights of an experiment, in few words."""
    title = re.sub(r" \((\d+ epochs)[^)]*\)", r" (\1)", planning.model_title(experiment))
    name, _, rest = title.replace(f"{TRIVIAL_MODEL}: ", "rule: ").partition(", ")
    options = config.resolve_options(experiment, config.load().profile(experiment.profile))
    first = registry.initial_weights(experiment.model, options)
    if isinstance(first, Checkpoint):
        return name, f"published, {rest}" if rest else "published"
    if isinstance(first, OwnWeights):
        return name, f"own, {rest}" if rest else "own"
    return name, rest.removesuffix(" pretraining").removesuffix(" weights") or "none"


def _drawn_by(setting: str, source: str) -> str:
    if setting == "none":
        return "nobody; readers judge" if source == ANOTHER_READER else "nobody"
    return TITLES[source or own_source(setting)].removeprefix("the ").removesuffix(" itself")


def _more(table: pd.DataFrame) -> pd.DataFrame:
    several = table["runs"] > 1
    over_runs = [interval_text(*row) for row in table[["dsc", "method_low", "method_high"]].itertuples(index=False)]
    return pd.DataFrame(
        {
            "method": table["title"],
            "trained on": table["training"].replace("", "nothing"),
            "runs": table["runs"],
            "Dice, the method": [text if many else "no claim: one run" for text, many in zip(over_runs, several, strict=True)],
            "minus the automatic network, cut to the prompt": difference_texts(table, "over_control"),
            "Dice of found lesions": [number_text(value, 2) for value in table["dsc_detected"]],
            "number of found lesions": table["n_detected"],
            "actions per patient": [number_text(value, 1) for value in table["actions"]],
            settings_labels.COLUMN: table["settings_labels"],
            "HD95, median (mm)": [number_text(value, 1) for value in table["hd95_median"]],
            "false positives in tumor-free scans (ml)": [number_text(value, 2) for value in table["false_positive_ml"]],
            "failed": table["failed"],
        }
    )


def legend() -> str:
    """Markdown: what each column of the leaderboard holds."""
    return "\n".join(f"- *{name}*: {words}." for name, words in COLUMNS.items() if words)


def answer(shown: pd.DataFrame, values: Mapping[str, object], profile: str) -> str:
    """Markdown: how much is in the leaderboard, and its two ends on the internal data set. `values`: from `cohort_values`."""
    tested = wording.named(wording.internal(profile))
    text = f"The leaderboard has {len(shown)} rows: {shown['architecture'].nunique()} architectures and rules, "
    text += f"{shown['prompt'].nunique()} prompts, {shown['test set'].nunique()} test sets. "
    if "unet_full_internal_dsc" in values:
        text += (
            f"Without a prompt the U-Net reaches a mean Dice of **{_estimate(values, 'unet_full')}** on {tested}, judged by the reference. "
        )
    if "box_ellipse_internal_dsc" in values:
        text += f"An ellipse in a box of the reference on every slice reaches **{_estimate(values, 'box_ellipse')}** without looking at "
        text += f"the CT. {wording.words(profile)['ellipse_note']}"
    return text.strip()


def own_values(finished: Sequence[RunResult], profile: str) -> dict[str, object]:
    """`cohort_values` of a profile's own methods."""
    places = {line.notebook: planning.make_experiment(line.notebook, profile).name for line in config.load().lines(profile)}
    shown = results_of(finished)
    return cohort_values(shown[~shown["test_dataset"].isin(config.load().profile(profile).real_datasets)], places, wording.roles(profile))


def evidence(profile: str, larger: str) -> str:
    """Markdown: what the rows are results of, those of a larger profile included."""
    if larger == profile:
        return wording.statement(profile)
    return f"{wording.statement(profile)} Rows of profile {larger} show all prompts. {wording.statement(larger)}"


def _estimate(values: Mapping[str, Any], key: str) -> str:
    dice = interval_text(*(values[f"{key}_internal_dsc{end}"] for end in ("", "_low", "_high")))
    return f"{dice}, n = {values[f'{key}_internal_n']}"


def printable_case_matrix(results: pd.DataFrame, datasets: Sequence[str], models: Mapping[str, str]) -> pd.DataFrame:
    """DSC of every method (rows, by prompt setting) on every case (columns) of `datasets`, against each data set's own reference."""
    names = method_titles(results, models)
    whole = results[(results["lesion_id"] == "") & results["test_dataset"].isin(datasets) & (results["metric"] == "dsc")]
    whole = tables.require_plain(whole[~whole["reader"].str.startswith("reader-")])
    frame = pd.DataFrame(
        {
            "method": [names[key] for key in zip(whole["experiment"], whole["prompter"], strict=True)],
            "prompt": whole["prompter"].map(label_of),
            "case": whole["case_id"],
            "value": [number_text(value, 2) for value in whole["value"]],
        }
    )
    if frame.empty:
        return frame[["method", "prompt"]]
    return frame.pivot(index=["prompt", "method"], columns="case", values="value").reset_index()
