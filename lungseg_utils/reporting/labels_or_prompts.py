"""Page "Labels or prompts?": Dice against the number of labeled patients, with and without a prompt; and the choice of a loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import registry
from ..evaluation import intervals
from ..experiments import config, planning, results
from ..prompts.ladder import PROMPT_SETTINGS
from ..types import Experiment, Row
from . import folded, methods, wording
from .controls import EXTERNAL, control_experiment, training
from .labels import TRIVIAL_MODEL, counted, difference_text, difference_texts, interval_text, label_of
from .methods import Method
from .seeds import interval_columns, method_intervals, spread_row
from .style import method_looks, plot_style
from .values import dsc_of_rows, profile_shown

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.figure import Figure


SETTINGS = ("none", "box_one_slice", "box_every_slice")
_COLUMNS = 5  # of a table on the page


def shown_profiles(profile: str) -> tuple[str, str]:
    """The profile whose numbers of labels a book shows, and a larger one with more of them, folded; twice the same where there is none.

    A profile on real patients shows its own few trainings first: the larger one may hold phantoms.
    """
    larger = profile_shown("number of labels", profile)
    trained = config.load().trained_on(profile)
    on_patients = all(not registry.card("datasets", name).phantom for name in trained)
    few_shot_runs = any(registry.card("paradigms", line.paradigm).few_shot for line in config.load().lines(profile))
    is_larger_on_phantoms = all(registry.card("datasets", name).phantom for name in config.load().trained_on(larger))
    return (profile if on_patients and few_shot_runs and is_larger_on_phantoms else larger), larger


def control_name(finished: Sequence[results.RunResult], dataset: str) -> str:
    """Name of the automatic model of the plan."""
    return planning.model_title(control_experiment(finished[0].experiment, dataset))


def few_shot(finished: Sequence[results.RunResult], dataset: str, setting: str) -> pd.DataFrame:
    """Mean DSC of each run by model and k; "all" is full training or fine-tuning of the same model, if it was run.

    Only methods trained on this data set, or on none, because *k* counts its patients. Columns: model, k, draw, seed, dsc, n.
    """
    rows = []
    for method in _learning(finished, dataset, setting):
        table, first = method.table(dataset, setting), {label: parts[0].experiment for label, parts in method.runs(dataset).items()}
        for label, values in table.items():
            row = {
                "model": planning.model_title(method.experiment),
                "k": _shots(method.experiment),
                "draw": first[label].draw,
                "seed": first[label].seed,
            }
            rows.append(row | {"dsc": values.mean(), "n": int(values.notna().sum())})
    return pd.DataFrame(rows, columns=["model", "k", "draw", "seed", "dsc", "n"])


def few_shot_runs(finished: Sequence[results.RunResult], dataset: str, setting: str) -> pd.DataFrame:
    """Spread of the runs by model and k over all draws, both estimands, and the gain over the automatic control.

    Returns:
        One row per model and k. Columns: model, k, those of `seeds.spread_row`, and over_control, over_control_low, over_control_high,
        over_control_runs: paired difference to the automatic model trained on the same draws of the same k ("the method", matched runs);
        over_zero_shot with _low and _high: paired difference to the same model without any label of the target.
    """
    groups = {(planning.model_title(m.experiment), _shots(m.experiment)): m for m in _learning(finished, dataset, setting)}
    control, rows = control_name(finished, dataset), []
    for (model, k), method in sorted(groups.items(), key=lambda item: (item[0][0], np.inf if item[0][1] == "all" else item[0][1])):
        table, other = method.table(dataset, setting), groups.get((control, k)) if model != control else None
        row = {"model": model, "k": k} | spread_row(table)
        row |= _matched_difference("control", table, other.table(dataset, setting) if other else None)
        rows.append(row | _over_zero_shot(method, groups.get((model, 0)), dataset, setting))
    return pd.DataFrame(rows)


def _matched_difference(name: str, a: pd.DataFrame, b: pd.DataFrame | None) -> dict[str, object]:
    """Difference on the runs that both sides have; NaN with fewer than two common runs."""
    common = [] if b is None else [run_label for run_label in a.columns if run_label in b.columns]
    if len(common) < 2:
        return {f"over_{name}": np.nan, f"over_{name}_low": np.nan, f"over_{name}_high": np.nan, f"over_{name}_runs": len(common)}
    gain = intervals.summarize_method_difference(a[common], b[common], matched_runs=True)
    return {f"over_{name}": gain.mean, f"over_{name}_low": gain.low, f"over_{name}_high": gain.high, f"over_{name}_runs": len(common)}


def _over_zero_shot(method: Method, zero_shot: Method | None, dataset: str, setting: str) -> dict[str, float]:
    """Difference to the untrained model; over draws too, if there are several."""
    if zero_shot is None or zero_shot is method:
        return dict.fromkeys(("over_zero_shot", "over_zero_shot_low", "over_zero_shot_high"), np.nan)
    pair = methods.pair_methods(method, setting, zero_shot, setting, dataset)
    gain = pair.method() if pair.a.shape[1] > 1 else pair.trained_models()
    return {"over_zero_shot": gain.mean, "over_zero_shot_low": gain.low, "over_zero_shot_high": gain.high}


def _learning(finished: Iterable[results.RunResult], dataset: str, setting: str) -> list[Method]:
    """Methods with a network, evaluated on `dataset` and trained on it or on no data set."""
    asked = [
        method for method in methods.group_runs(finished) if method.asked(dataset, setting) and method.experiment.model != TRIVIAL_MODEL
    ]
    return [method for method in asked if training(method.experiment, dataset) != EXTERNAL]


def _shots(experiment: Experiment) -> int | str:
    if experiment.k is None:
        return "all" if registry.card("paradigms", experiment.paradigm).uses_target_labels else 0
    return experiment.k


def best_without_network(finished: Sequence[results.RunResult], dataset: str, setting: str) -> intervals.Summary | None:
    """Of the rules that took no label the best one, by its mean DSC; None without a prompt, or where none was run."""
    found = [m for m in methods.group_runs(finished) if m.experiment.model == TRIVIAL_MODEL and m.asked(dataset, setting)]
    if setting == "none" or not found:
        return None
    best = max((method.mean(dataset, setting) for method in found), key=lambda values: values.mean())
    return intervals.summarize_mean(best.to_numpy())


def figure(curves: Mapping[str, pd.DataFrame], without: Mapping[str, intervals.Summary | None]) -> Figure:
    """Mean DSC over the number of labeled patients, a panel for each prompt setting; each point a draw, lines join their means.

    `curves`: prompt setting -> `few_shot`; `without`: prompt setting -> `best_without_network`, a gray line.
    """
    plot_style()
    import matplotlib.pyplot as plt

    everything = pd.concat(list(curves.values()))
    numbers = sorted({k for k in everything["k"] if k != "all"}) + (["all"] if "all" in set(everything["k"]) else [])
    places = {k: place for place, k in enumerate(numbers)}
    looks = {name: method_looks(name, number) for number, name in enumerate(dict.fromkeys(everything["model"]))}
    figure, panels = plt.subplots(1, len(curves), figsize=(8.6, 3.9), sharey=True, squeeze=False, layout="constrained")
    for axes, (setting, curve) in zip(panels[0], curves.items(), strict=True):
        for number, (name, part) in enumerate(curve.groupby("model", sort=False)):
            where = part["k"].map(places) + 0.06 * number
            axes.plot(where, part["dsc"], **looks[name], linestyle="", alpha=0.35, markersize=4)
            means = part.groupby(where)["dsc"].mean()
            axes.plot(means.index, means, color=looks[name]["color"], linewidth=2, label=name)
        if without[setting] is not None:
            axes.axhline(without[setting].mean, color="0.45", linestyle="--", label="best without a network")
        axes.set(title=label_of(setting), xticks=range(len(places)), xticklabels=[str(k) for k in places], ylim=(-0.02, 1.02))
    panels[0, 0].set_ylabel(f"mean 3-D Dice, {counted(everything['n']) if len(everything) else 'n = 0'}")
    panels[0, len(curves) // 2].set_xlabel("labeled patients of the target (each point a draw)")
    handles = {label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False)
    plt.close(figure)
    return figure


def figure_alt(tables: Mapping[str, pd.DataFrame]) -> str:
    """What `figure` shows, for those who cannot see it. `tables`: prompt setting -> `few_shot_runs`."""
    parts = [
        f"{label_of(setting)}: " + "; ".join(f"{model} {_steps(part)}" for model, part in table.groupby("model", sort=False))
        for setting, table in tables.items()
        if len(table)
    ]
    return f"Mean Dice over the number of labeled patients, by prompt. {'. '.join(parts) or 'Nothing was trained'}."


def _steps(part: pd.DataFrame) -> str:
    return ", ".join(f"{row['dsc']:.2f} with {_labels(row['k'])}" for _, row in part.iterrows())


def printable_by_labels(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each number of labeled patients, a column for the first models in each prompt setting, at most five."""
    parts = [
        (model, setting, part.set_index("k")) for setting, table in tables.items() if len(table) for model, part in table.groupby("model")
    ]
    alone = [part for part in parts if part[1] == "none"]
    prompted = sorted((part for part in parts if part[1] != "none"), key=lambda part: (-len(part[2]), part[0] in {a[0] for a in alone}))
    columns = [*sorted(alone, key=lambda part: -len(part[2]))[:1], *prompted][:_COLUMNS]
    numbers = {k for _, _, part in columns for k in part.index}
    rows = []
    for k in sorted(numbers, key=lambda k: np.inf if k == "all" else k):
        row = {"labeled patients": str(k)}
        for model, setting, part in columns:
            row[f"{model}, {label_of(setting)}"] = interval_text(*_of_trained(part.loc[k])) if k in part.index else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def _of_trained(row: pd.Series) -> tuple[float, float, float]:
    return row["dsc"], row["trained_low"], row["trained_high"]


def folded_runs(finished: Sequence[results.RunResult], profile: str) -> HTML:
    """`printable_few_shot` on each data set that a profile trains on, in each prompt setting."""
    asked = [(name, setting) for name in wording.targets(profile) for setting in SETTINGS]
    tables = {key: few_shot_runs(finished, *key) for key in asked}
    parts = {f"{wording.caption(name, profile)}, {label_of(setting)}": table for (name, setting), table in tables.items()}
    return folded.tables({caption: printable_few_shot(table) for caption, table in parts.items() if len(table)}, _NOTHING)


def printable_few_shot(table: pd.DataFrame) -> pd.DataFrame:
    """`few_shot_runs` as a table for a page."""
    return pd.DataFrame(
        {
            "model": table["model"],
            "k": [str(k) for k in table["k"]],
            "runs": table["runs"],
            "n": table["n"],
            "mean DSC, these trained models": interval_columns(table, "dsc", "trained"),
            "the method": method_intervals(table),
            "lowest to highest run": [f"{r['lowest']:.2f} to {r['highest']:.2f}" for _, r in table.iterrows()],
            "over the automatic model on the same draws": [_gain(r) for _, r in table.iterrows()],
            "over zero-shot": difference_texts(table, "over_zero_shot"),
        }
    )


def _gain(row: pd.Series) -> str:
    if np.isnan(row["over_control"]):
        return ""
    return f"{difference_text(row['over_control'], row['over_control_low'], row['over_control_high'])}, {row['over_control_runs']} draws"


def answer(tables: Mapping[str, pd.DataFrame], without: Mapping[str, intervals.Summary | None], control: str, tested: str) -> str:
    """Markdown: what labels bring without a prompt, and what a prompt brings without labels.

    Args:
        tables: prompt setting -> `few_shot_runs`.
        without: prompt setting -> `best_without_network`.
        control: name of the automatic model.
        tested: the tested patients in words.
    """
    alone = tables["none"][tables["none"]["model"] == control] if len(tables["none"]) else tables["none"]
    parts = [_NOTHING]
    if len(alone):
        parts = [f"Without a prompt, the {control} reaches a mean Dice of {_spoken(alone)} ({tested}, n = {alone['n'].max()})."]
    for setting in [name for name in tables if name != "none"]:
        rule, table = without[setting], tables[setting]
        said = [f"the best prediction without a network, and without any label, reaches **{rule.mean:.2f}**"] if rule else []
        models = [(model, part) for model, part in table.groupby("model", sort=False) if model != control] if len(table) else []
        models = sorted(models, key=lambda item: -len(item[1]))[:1]  # the one with most numbers of patients
        said += [f"{model}, reaches {_spoken(part)}" for model, part in models]
        text = f"With a {label_of(setting)}, {'; '.join(said) or 'nothing was run in this edition'}."
        below = [below_zero_shot(part) for _, part in models]
        parts.append(" ".join([text, *(sentence for sentence in below if sentence.startswith("Below"))]))
    return "\n".join(f"- {part}" for part in parts)


def card(tables: Mapping[str, pd.DataFrame], control: str, tested: str) -> str:
    """What labels bring the automatic model, in one sentence for the first page."""
    alone = tables["none"][tables["none"]["model"] == control] if len(tables["none"]) else tables["none"]
    return f"The {control} without a prompt reaches {_spoken(alone)} ({tested}).".replace("**", "") if len(alone) else _NOTHING


_NOTHING = "Without a prompt, no network was trained in this edition."


def _spoken(part: pd.DataFrame) -> str:
    """ "0.34 with 5 patients and 0.57 with all patients": the least, 5 and the most labels, where they are there."""
    rows = part[part["k"].isin({part["k"].iloc[0], 0, 5, part["k"].iloc[-1]})]
    texts = [f"**{row['dsc']:.2f}** with {_labels(row['k'])}" for _, row in rows.iterrows()]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def below_zero_shot(table: pd.DataFrame) -> str:
    """Which trainings have a lower mean DSC than the same model had without a label of the target, with their differences."""
    below = table[table["over_zero_shot"] < 0] if len(table) else table
    if below.empty:
        return "No training falls below zero-shot." if len(table) and table["over_zero_shot"].notna().any() else ""
    parts = [
        f"{model}, trained on " + "; on ".join(f"{_labels(r['k'])} {difference_text(*_of_zero_shot(r))}" for _, r in part.iterrows())
        for model, part in below.groupby("model", sort=False)
    ]
    return f"Below its own zero-shot result, by mean Dice: {'; '.join(parts)}."


def _labels(k: int | str) -> str:
    if k == "all":
        return "all patients"
    return "no label" if k == 0 else f"{k} patient{'s' if k > 1 else ''}"


def _of_zero_shot(row: pd.Series) -> tuple[float, float, float]:
    return row["over_zero_shot"], row["over_zero_shot_low"], row["over_zero_shot_high"]


def losses_at_hand(profile: str) -> list[results.RunResult]:
    """The runs that compare losses, for the book of a profile; none where they are not here."""
    shown = profile_shown("losses", profile)
    return [] if shown == profile else [r for r in results.results_at_hand(shown) if "loss" in r.provenance["options"]]


def folded_losses(runs: Sequence[results.RunResult]) -> tuple[HTML, str]:
    """`printable_losses` and `loss_sentences` of the runs that compare losses."""
    if not runs:
        return folded.tables({}), "This edition does not hold these runs."
    shown = pd.concat([method.averaged() for method in methods.group_runs(runs)], ignore_index=True)
    records = {result.experiment.name: result.provenance for result in runs}
    names = {result.experiment.name: planning.experiment_title(result.experiment) for result in runs}
    table = folded.tables({"Mean Dice by loss, with 95 % interval": printable_losses(shown, records, names)})
    return table, loss_sentences(shown, records, names, wording.internal(runs[0].experiment.profile))


def printable_losses(results: pd.DataFrame, records: Mapping[str, Row], names: Mapping[str, str]) -> pd.DataFrame:
    """Mean DSC with interval by training, prompt setting and data set (rows), for each loss (columns).

    `records`: experiment -> provenance; `names`: experiment -> title.
    """
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for (dataset, setting, name), series in dsc_of_rows(results, ["experiment"]).items():
        summary = intervals.summarize_mean(series.to_numpy())
        row = names[name], label_of(setting), f"{label_of(dataset)}, n = {summary.n}"
        cells.setdefault(row, {})[_loss(records[name])] = interval_text(summary.mean, summary.low, summary.high)
    losses = list(dict.fromkeys(map(_loss, records.values())))
    table = pd.DataFrame.from_dict(cells, orient="index", columns=losses)
    return table.fillna("–").rename_axis(["training", "prompt", "test set"]).reset_index()


def _loss(record: Row) -> str:
    return record["options"]["loss"].replace("_", " ")


def loss_sentences(results: pd.DataFrame, records: Mapping[str, Row], names: Mapping[str, str], dataset: str) -> str:
    """Of each training the best loss by mean DSC on `dataset` with most help, against the default on the same patients."""
    series = {key: part for key, part in dsc_of_rows(results, ["experiment"]).items() if key[0] == dataset}
    said = []
    for title in dict.fromkeys(names.values()):
        settings = [name for name in PROMPT_SETTINGS if any(names[e] == title and setting == name for _, setting, e in series)]
        own = {e: part for (_, setting, e), part in series.items() if names[e] == title and setting == settings[0]} if settings else {}
        default = next((e for e in own if "loss" not in records[e]["experiment"]["options"]), None)
        if default is None:
            continue
        best = max(own, key=lambda e: own[e].mean())
        text = f"{title}, {label_of(settings[0])}: the default ({_loss(records[default])}) reaches {_mean(own[default])}"
        if best == default:
            said.append(f"{text}, and no other loss is better.")
        else:
            gain = intervals.summarize_paired_difference(own[best], own[default])
            text += f", and {_loss(records[best])} {_mean(own[best])}"
            said.append(f"{text} (paired difference {difference_text(gain.mean, gain.low, gain.high)}, n = {gain.n}).")
    return " ".join(said) or "No loss was compared."


def _mean(values: pd.Series) -> str:
    summary = intervals.summarize_mean(values.to_numpy())
    return interval_text(summary.mean, summary.low, summary.high)
