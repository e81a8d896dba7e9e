"""Page "Ladder": how much each prompt setting helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..evaluation.intervals import summarize_method, summarize_trained_models
from ..experiments import analysis_plan, detector, planning, results
from ..prompts.ladder import PROMPT_SETTINGS
from . import settings_labels
from .controls import control_experiment, role_of, target_labels_used, training
from .labels import CONTROL, counted, difference_text, difference_texts, interval_text, label_of, trivial_rules
from .methods import Method, group_key, group_runs, pair_methods, titles
from .style import method_looks, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def ladder_table(finished: Sequence[results.RunResult], dataset: str) -> pd.DataFrame:
    """Results of every method in every prompt setting on one data set, from most help to none.

    Args:
        finished: results of all experiments.
        dataset: the tested data set.

    Returns:
        One row per method and prompt setting. Columns: experiment (the method's first), title, setting, role ("model",
        "control", "trivial"), training (see `training`), runs, n; dsc, dsc_low, dsc_high (for these trained models), method_low,
        method_high (for the method, NaN with one run), nsd_3mm, hit (lesion sensitivity), dsc_detected (mean DSC of hit lesions) with
        n_detected (over all runs), actions (per patient), labels (patients of the target used),
        settings_labels (see `settings_labels.count`), failed (predictions, over all runs);
        over_control and over_trivial with _low and _high: paired differences of these trained models to the control, and to the best
        trivial baseline with the same prompt.
    """
    found, names, rows = group_runs(finished), titles(finished), []
    for setting in [name for name in PROMPT_SETTINGS if any(m.asked(dataset, name) for m in found)]:
        here = [method for method in found if method.asked(dataset, setting)]
        trivial = [method for method in here if role_of(method.experiment) == "trivial"]
        best = max(trivial, key=lambda method: method.mean(dataset, setting).mean()) if trivial else None
        for method in here:
            row = {"experiment": method.name, "title": names[method.name, setting], "setting": setting} | _ladder_row(
                method, dataset, setting
            )
            row |= {"model": planning.model_title(method.experiment), "regime": planning.regime_title(method.experiment)}
            role = role_of(method.experiment)
            row["role"] = "control" if role == "automatic" and setting != "none" else "trivial" if role == "trivial" else "model"
            row |= _difference("control", method, setting, _control(method, here, dataset, setting), dataset)
            rows.append(row | _difference("trivial", method, setting, (best, setting), dataset))
    return pd.DataFrame(rows)


def _control(method: Method, here: Sequence[Method], dataset: str, setting: str) -> tuple[Method | None, str]:
    """Control of a method, with its prompt setting: the automatic model with the same prompt, or the detector's own mask."""
    if PROMPT_SETTINGS[setting].from_detector:
        detectors = dict.fromkeys(detector.detector_of(result.experiment, dataset) for result in method.results)
        return Method(tuple(map(results.open_result, detectors))), "none"
    if setting == "none":
        return None, setting
    own = control_experiment(method.experiment, dataset)
    return next((other for other in here if group_key(other.experiment) == own), None), setting


def _ladder_row(method: Method, dataset: str, setting: str) -> dict[str, object]:
    table, rows = method.table(dataset, setting), method.rows(dataset, setting)
    trained, over_runs = summarize_trained_models(table), summarize_method(table)
    lesions = rows[rows["metric"] == "lesion_dsc"]
    hit = lesions[lesions["value"] > 0]
    actions = _actions(method, dataset, setting, table.index)
    failed = rows[(rows["lesion_id"] == "") & (rows["status"] == "failed")]
    return {
        "training": training(method.experiment, dataset),
        "runs": table.shape[1],
        "n": trained.n,
        "dsc": trained.mean,
        "dsc_low": trained.low,
        "dsc_high": trained.high,
        "method_low": over_runs.low,
        "method_high": over_runs.high,
        "nsd_3mm": method.mean(dataset, setting, "nsd_3mm").mean(),
        "hit": method.mean(dataset, setting, "lesion_sensitivity").mean(),
        "dsc_detected": hit["value"].mean() if len(hit) else np.nan,
        "n_detected": len(hit),
        "actions": actions.mean() if len(actions) else 0.0,
        "settings_labels": settings_labels.count(method.experiment, dataset, setting),
        "labels": max(target_labels_used(result, dataset, setting) for result in method.results),
        "failed": len(failed[["experiment", "case_id"]].drop_duplicates()),
    }


def _actions(method: Method, dataset: str, setting: str, cases: pd.Index) -> pd.Series:
    costs = pd.concat([result.costs[(result.costs["quantity"] == "actions") & (result.costs["jitter"] == 0)] for result in method.results])
    return costs[(costs["test_dataset"] == dataset) & (costs["prompter"] == setting) & costs["case_id"].isin(cases)]["value"]


def _difference(name: str, method: Method, setting: str, other: tuple[Method | None, str], dataset: str) -> dict[str, float]:
    if other[0] is None or (other[0].name, other[1]) == (method.name, setting):
        return {f"over_{name}": np.nan, f"over_{name}_low": np.nan, f"over_{name}_high": np.nan}
    gain = pair_methods(method, setting, *other, dataset).trained_models()
    return {f"over_{name}": gain.mean, f"over_{name}_low": gain.low, f"over_{name}_high": gain.high}


_TRIVIAL_FAMILY, _AUTOMATIC_FAMILY = "trivial", "automatic (with a prompt: the control)"


def ladder_figure(table: pd.DataFrame) -> Figure:
    """Mean DSC over the prompt settings, from most help to none, one panel per family of models; trivial baselines gray in all of them.

    `table`: from `ladder_table`. Automatic networks share one panel: with a prompt they are the controls.
    """
    plot_style()
    import matplotlib.pyplot as plt

    places = {setting: place for place, setting in enumerate(name for name in PROMPT_SETTINGS if name in set(table["setting"]))}
    methods: dict[str, list[pd.DataFrame]] = {}
    for _, part in table.groupby("experiment", sort=False):
        methods.setdefault(_family(part), []).append(part)
    trivial = methods.pop(_TRIVIAL_FAMILY, [])
    # one below the other: a page is as wide as one panel with fourteen prompt settings and its legend
    figure, panels = plt.subplots(
        len(methods), 1, figsize=(10.5, 1.2 + 3.1 * len(methods)), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axes, (family, parts) in zip(panels[:, 0], methods.items(), strict=True):
        for number, part in enumerate(trivial):
            _plot_method(axes, part, places, ":", -1 - number)  # from the end of the markers: alike in all panels, unlike the methods
        for number, part in enumerate(parts):
            _plot_method(axes, part, places, "--" if family == _AUTOMATIC_FAMILY else "-", number)
        axes.set(title=family, ylim=(-0.02, 1.02), ylabel=f"mean 3-D DSC, {counted(table['n'])}")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small")
    panels[-1, 0].set_xticks(range(len(places)), [label_of(setting) for setting in places], rotation=35, ha="right", fontsize="small")
    plt.close(figure)
    return figure


def _family(part: pd.DataFrame) -> str:
    if (part["role"] == "trivial").any():
        return _TRIVIAL_FAMILY
    return _AUTOMATIC_FAMILY if "none" in set(part["setting"]) else part["model"].iloc[0]


def _plot_method(axes: Axes, part: pd.DataFrame, places: Mapping[str, int], style: str, number: int) -> None:
    name = part["title"].iloc[0].removesuffix(CONTROL)
    looks = method_looks(name, number)
    label = part["regime"].iloc[0] if style == "-" else name
    part = part.set_index("setting").reindex(list(places))  # a line breaks where a method has no answer
    where = np.arange(len(places)) + (number % 7 - 3) * 0.04
    axes.plot(where, part["dsc"], style, **looks, markersize=5, label=label)
    axes.vlines(where, part["dsc_low"], part["dsc_high"], color=looks["color"], linewidth=1, alpha=0.6)


def printable_ladder(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """One prompt setting of `ladder_table`, the best on top; differences are paired, intervals 95 %.

    If methods have several runs, their number and the interval for the method are shown with DSC. If some were trained on the data set and
    some on another one, the table says which; the latter come last.
    """
    both = {"target", "external"} <= set(table["training"])
    part = table[table["setting"] == setting].assign(apart=(table["training"] == "external") & both)
    part = part.sort_values(["apart", "dsc"], ascending=[True, False])

    return pd.DataFrame(
        {
            "method": part["title"],
            **({"trained on": part["training"].replace("", "nothing")} if both else {}),
            "n": part["n"],
            "DSC": [interval_text(r["dsc"], r["dsc_low"], r["dsc_high"]) for _, r in part.iterrows()],
            **(_over_runs(part) if (table["runs"] > 1).any() else {}),
            "minus control": difference_texts(part, "over_control"),
            "minus best trivial": difference_texts(part, "over_trivial"),
            "NSD 3 mm": [f"{v:.2f}" for v in part["nsd_3mm"]],
            "lesions hit": [f"{v:.2f}" for v in part["hit"]],
            "DSC of hit lesions": [
                f"{v:.2f} (n = {n})" if n else "–" for v, n in zip(part["dsc_detected"], part["n_detected"], strict=True)
            ],
            "actions": [f"{v:.1f}" for v in part["actions"]],
            "target labels used": part["labels"],
            settings_labels.COLUMN: part["settings_labels"],
            "failed": part["failed"],
        }
    )


def _over_runs(part: pd.DataFrame) -> dict[str, object]:
    intervals = zip(part["dsc"], part["method_low"], part["method_high"], part["runs"], strict=True)
    texts = [interval_text(mean, low, high) if runs > 1 else "no claim: one run" for mean, low, high, runs in intervals]
    return {"runs": part["runs"], "DSC, the method": texts}


def printable_settings(table: pd.DataFrame) -> pd.DataFrame:
    """Information and cost of each prompt setting: leaks, actions per patient, seconds if sourced, best model, control, trivial."""
    rows = []
    for setting in [name for name in PROMPT_SETTINGS if name in set(table["setting"])]:
        part, card = table[table["setting"] == setting], PROMPT_SETTINGS[setting]
        prompted = part[part["role"] == "model"]
        row = {"setting": card.title, "leaks": card.leaks}
        actions = part["actions"].max()
        row["actions per patient"] = f"{actions:.1f} ({card.action})" if actions else "none"
        row["seconds of a person"] = _seconds(card.action, actions)
        row["best model"] = _best(prompted)
        row["control"] = _best(part[part["role"] == "control"])
        rows.append(row | {"best trivial": _best(part[part["role"] == "trivial"])})
    return pd.DataFrame(rows)


def _seconds(action: str, actions: float) -> str:
    band = analysis_plan.load().seconds_per_action.get(action)
    if not actions:
        return "0"
    return f"{actions * band[0]:.0f} to {actions * band[1]:.0f}" if band else "no source"


def _best(part: pd.DataFrame) -> str:
    if part.empty:
        return "–"
    row = part.loc[part["dsc"].idxmax()]
    return f"{interval_text(row['dsc'], row['dsc_low'], row['dsc_high'])}, {trivial_rules().get(row['title'], row['title'])}"


def gain_text(row: pd.Series, other: str) -> str:
    """The paired difference of a row of `ladder_table` to "control" or "trivial", with its interval."""
    return difference_text(*(row[f"over_{other}{end}"] for end in ("", "_low", "_high")))


def ladder_values(table: pd.DataFrame, settings: Sequence[str]) -> dict[str, object]:
    """Values for the text of a page by glue key, from `ladder_table`: the best model in each prompt setting, its gains, and n.

    Keys: ladder_SETTING, ladder_SETTING_title, ladder_SETTING_over_trivial and ladder_SETTING_over_control; "(not run)"
    if no model was evaluated.
    """
    best = table[table["role"] == "model"].sort_values("dsc").groupby("setting").tail(1).set_index("setting")
    values: dict[str, Any] = {"ladder_n": int(best["n"].max()) if len(best) else 0}
    for setting in settings:
        row = best.loc[setting] if setting in best.index else None
        shown = {"": lambda r: f"{r['dsc']:.2f}", "_title": lambda r: r["title"]}
        shown |= {f"_over_{other}": lambda r, other=other: gain_text(r, other) for other in ("trivial", "control")}
        values |= {f"ladder_{setting}{end}": "(not run)" if row is None else text(row) for end, text in shown.items()}
    return values


def board(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All prompt settings of all data sets as one table for a page. `tables`: data set -> `ladder_table`."""
    parts = []
    for name, table in tables.items():
        for setting in table["setting"].unique():
            part = printable_ladder(table, setting)
            part.insert(0, "prompt", label_of(setting))
            part.insert(0, "test set", label_of(name))
            parts.append(part)
    return pd.concat(parts, ignore_index=True).fillna("")  # of a column that only some data sets have
