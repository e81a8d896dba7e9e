"""The prompt ladder: what every method reaches in every prompt setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..evaluation.intervals import summarize_method, summarize_trained_models
from ..experiments import analysis_plan, detector, planning, results
from ..prompts.ladder import PROMPT_SETTINGS
from . import settings_labels
from .controls import control_experiment, role_of, target_labels_used, training
from .labels import CONTROL, counted, difference_text, interval_text, label_of, trivial_rules
from .methods import Method, group_key, group_runs, pair_methods, titles
from .style import method_looks, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ladder_table(finished: Sequence[results.RunResult], dataset: str, source: str = "") -> pd.DataFrame:
    """Results of every method in every prompt setting on one data set, from most help to none.

    Args:
        finished: results of all experiments.
        dataset: the tested data set.
        source: of the prompts, if it is not the setting's own; who draws them does not judge.

    Returns:
        One row per method and prompt setting. Columns: experiment (the method's first), title, setting, role ("model",
        "control", "trivial"), training (see `training`), runs, n; dsc, dsc_low, dsc_high (for these trained models), method_low,
        method_high (for the method, NaN with one run), nsd_3mm, hit (lesion sensitivity), dsc_detected (mean DSC of hit lesions) with
        n_detected (over all runs), actions (per patient), labels (patients of the target used),
        settings_labels (see `settings_labels.count`), failed (predictions, over all runs), hd95_median, false_positive_ml (mean volume
        in tumor-free scans);
        over_control and over_trivial with _low and _high: paired differences of these trained models to the control, and to the best
        trivial baseline with the same prompt.
    """
    found, names, rows = group_runs(finished), titles(finished), []
    for setting in [name for name in PROMPT_SETTINGS if any(m.asked(dataset, name, source=source) for m in found)]:
        here = [method for method in found if method.asked(dataset, setting, source=source)]
        trivial = [method for method in here if role_of(method.experiment) == "trivial"]
        best = max(trivial, key=lambda method: method.mean(dataset, setting, source=source).mean()) if trivial else None
        for method in here:
            row = {"experiment": method.name, "title": names[method.name, setting], "setting": setting}
            row |= _ladder_row(method, dataset, setting, source)
            row |= {"model": planning.model_title(method.experiment), "regime": planning.regime_title(method.experiment)}
            role = role_of(method.experiment)
            row["role"] = "control" if role == "automatic" and setting != "none" else "trivial" if role == "trivial" else "model"
            row |= _difference("control", method, setting, _control(method, here, dataset, setting), dataset, source)
            rows.append(row | _difference("trivial", method, setting, (best, setting), dataset, source))
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


def _ladder_row(method: Method, dataset: str, setting: str, source: str) -> dict[str, object]:
    table, rows = method.table(dataset, setting, source=source), method.rows(dataset, setting, source=source)
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
        "nsd_3mm": method.mean(dataset, setting, "nsd_3mm", source=source).mean(),
        "hit": method.mean(dataset, setting, "lesion_sensitivity", source=source).mean(),
        "dsc_detected": hit["value"].mean() if len(hit) else np.nan,
        "n_detected": len(hit),
        "actions": actions.mean() if len(actions) else 0.0,
        "settings_labels": settings_labels.count(method.experiment, dataset, setting),
        "labels": max(target_labels_used(result, dataset, setting) for result in method.results),
        "hd95_median": method.mean(dataset, setting, "hd95", source=source).median(),
        "false_positive_ml": _false_positive_ml(method, dataset, setting, source, table.index),
        "failed": len(failed[["experiment", "case_id"]].drop_duplicates()),
    }


def _false_positive_ml(method: Method, dataset: str, setting: str, source: str, with_tumor: pd.Index) -> float:
    volumes = method.mean(dataset, setting, "false_positive_volume", source=source)
    return float(volumes[~volumes.index.isin(with_tumor)].mean())


def _actions(method: Method, dataset: str, setting: str, cases: pd.Index) -> pd.Series:
    costs = pd.concat([result.costs[(result.costs["quantity"] == "actions") & (result.costs["jitter"] == 0)] for result in method.results])
    return costs[(costs["test_dataset"] == dataset) & (costs["prompter"] == setting) & costs["case_id"].isin(cases)]["value"]


def _difference(name: str, method: Method, setting: str, other: tuple[Method | None, str], dataset: str, source: str) -> dict[str, float]:
    if other[0] is None or (other[0].name, other[1]) == (method.name, setting):
        return {f"over_{name}": np.nan, f"over_{name}_low": np.nan, f"over_{name}_high": np.nan}
    gain = pair_methods(method, setting, *other, dataset, source=source).trained_models()
    return {f"over_{name}": gain.mean, f"over_{name}_low": gain.low, f"over_{name}_high": gain.high}


def ladder_figure(table: pd.DataFrame, experiments: Sequence[str]) -> Figure:
    """Mean DSC by prompt setting, from most help to none: a line for each of the experiments, gray for the best trivial baseline.

    `table`: from `ladder_table`. A line breaks where a method takes no such prompt.
    """
    plot_style()
    import matplotlib.pyplot as plt

    places = {setting: place for place, setting in enumerate(name for name in PROMPT_SETTINGS if name in set(table["setting"]))}
    figure, axes = plt.subplots(figsize=(8.2, 1.9 + 0.36 * len(places)), layout="constrained")
    prompted = table[table["setting"] != "none"]
    best = prompted[prompted["role"] == "trivial"].groupby("setting", sort=False)["dsc"].max().reindex(list(places))
    axes.barh(list(places.values()), best, height=0.7, color="0.85", zorder=1, label="best without a network")
    for number, name in enumerate(experiments):
        part = table[table["experiment"] == name].set_index("setting").reindex(list(places))
        where = np.arange(len(places)) + (number - (len(experiments) - 1) / 2) * 0.12
        looks, label = method_looks(name, number), part["title"].dropna().iloc[0].removesuffix(CONTROL)
        axes.plot(part["dsc"], where, **looks, linewidth=1, markersize=6, label=label, zorder=3)
        axes.hlines(where, part["dsc_low"], part["dsc_high"], color=looks["color"], linewidth=1.5, zorder=2)
    axes.set(xlim=(0, 1), xlabel=f"mean 3-D Dice, 95 % interval, {counted(table['n'])}", ylim=(len(places) - 0.4, -0.6))
    axes.set_yticks(range(len(places)), [label_of(setting) for setting in places])
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    plt.close(figure)
    return figure


def printable_settings(table: pd.DataFrame) -> pd.DataFrame:
    """Information and cost of each prompt setting: leaks, actions per patient, seconds if sourced, best model, control, trivial."""
    rows = []
    for setting in [name for name in PROMPT_SETTINGS if name in set(table["setting"])]:
        part, card = table[table["setting"] == setting], PROMPT_SETTINGS[setting]
        prompted = part[part["role"] == "model"]
        row = {"prompt": card.title, "gives away": card.leaks}
        actions = part["actions"].max()
        row["actions per patient"] = f"{actions:.1f} ({card.action})" if actions else "none"
        row["seconds of a person"] = _seconds(card.action, actions)
        row["best promptable model"] = _best(prompted)
        row["automatic, cut to it"] = _best(part[part["role"] == "control"])
        rows.append(row | {"best without a network": _best(part[part["role"] == "trivial"])})
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
