"""Page "Few-shot": Dice against the number of labeled patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import registry
from ..evaluation import intervals
from ..experiments import planning, results
from ..types import Experiment
from . import methods
from .controls import EXTERNAL, control_experiment, training
from .labels import TRIVIAL_MODEL, counted, difference_text, difference_texts
from .methods import Method
from .seeds import interval_columns, method_intervals, spread_row
from .style import method_looks, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    control, rows = planning.model_title(control_experiment(finished[0].experiment, dataset)), []
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


def few_shot_figure(table: pd.DataFrame) -> Figure:
    """Mean DSC of each draw over the number of labeled patients. `table`: from `few_shot`, of one prompt setting."""
    plot_style()
    import matplotlib.pyplot as plt

    order = sorted({k for k in table["k"] if k != "all"}) + (["all"] if "all" in set(table["k"]) else [])
    places = {k: place for place, k in enumerate(order)}
    figure, axes = plt.subplots(figsize=(7.0, 4.2), layout="constrained")
    for number, (name, part) in enumerate(table.groupby("model", sort=False)):
        looks = method_looks(name, number)
        axes.plot(part["k"].map(places) + 0.05 * number, part["dsc"], **looks, linestyle="", alpha=0.5)
        means = part.groupby(part["k"].map(places))["dsc"].mean()
        axes.plot(means.index + 0.05 * number, means, color=looks["color"], label=name)
    axes.set_xticks(range(len(order)), [str(k) for k in order])
    axes.set(xlabel="labeled patients of the target used (k; each point a draw)", ylim=(-0.02, 1.02))
    axes.set_ylabel(f"mean 3-D DSC, {counted(table['n']) if len(table) else 'n = 0'}")
    axes.legend(fontsize="small", loc="lower right")
    plt.close(figure)
    return figure


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


def few_shot_values(table: pd.DataFrame, setting: str) -> dict[str, str]:
    """Two sentences on one prompt setting, by glue key: mean DSC over the draws by model and k, and what falls below zero-shot.

    `table`: from `few_shot_runs`.
    """
    parts = []
    for model, part in table.groupby("model", sort=False):
        parts.append(f"{model} {', '.join(_step(row) for _, row in part.iterrows())}")
    n = counted(table["n"]) if len(table) else "n = 0"
    said = f"{'; '.join(parts) or 'nothing was trained'} (mean 3-D DSC, {n})."
    return {f"few_shot_{setting}": said, f"few_shot_{setting}_below": below_zero_shot(table)}


def below_zero_shot(table: pd.DataFrame) -> str:
    """Which trainings have a lower mean DSC than the same model had without a label of the target, with their differences."""
    below = table[table["over_zero_shot"] < 0] if len(table) else table
    if below.empty:
        return "No training falls below zero-shot." if len(table) and table["over_zero_shot"].notna().any() else ""
    parts = [
        f"{model}, with " + "; with ".join(f"{_labels(r['k'])} {difference_text(*_of_zero_shot(r))}" for _, r in part.iterrows())
        for model, part in below.groupby("model", sort=False)
    ]
    return f"Below zero-shot, by the difference of its mean DSC, falls {'; '.join(parts)}."


def _labels(k: int | str) -> str:
    return "all patients" if k == "all" else f"{k} patient{'s' if k > 1 else ''}"


def _of_zero_shot(row: pd.Series) -> tuple[float, float, float]:
    return row["over_zero_shot"], row["over_zero_shot_low"], row["over_zero_shot_high"]


def _step(row: pd.Series) -> str:
    name, runs = ("all", "runs") if row["k"] == "all" else (f"k = {row['k']}", "draws")
    return f"{name}: {row['dsc']:.2f}" + (f" ({row['runs']} {runs})" if row["runs"] > 1 else "")
