"""Figures and printable tables over several runs of the same: draws of labelled patients, seeds, folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .figures import counted, interval_text, method_looks, plot_style, title


def few_shot_figure(table: pd.DataFrame) -> Any:
    """Mean DSC of each draw over the number of labelled patients. `table`: of `analysis.few_shot`, on one rung."""
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
    axes.set(xlabel="labelled patients of the target used (k; each point a draw)", ylim=(-0.02, 1.02))
    axes.set_ylabel(f"mean 3-D DSC, {counted(table['n']) if len(table) else 'n = 0'}")
    axes.legend(fontsize="small", loc="lower right")
    plt.close(figure)
    return figure


def printable_few_shot(table: pd.DataFrame) -> pd.DataFrame:
    """`analysis.few_shot_runs` for people."""
    return pd.DataFrame(
        {
            "model": table["model"],
            "k": [str(k) for k in table["k"]],
            "runs": table["runs"],
            "n": table["n"],
            "mean DSC, these trained models": _intervals(table, "dsc", "trained"),
            "the method": _method_intervals(table),
            "lowest to highest run": [f"{r['lowest']:.2f} to {r['highest']:.2f}" for _, r in table.iterrows()],
            "over the automatic model on the same draws": [_gain(r) for _, r in table.iterrows()],
        }
    )


def _gain(row: pd.Series) -> str:
    if np.isnan(row["over_control"]):
        return ""
    return f"{interval_text(row['over_control'], row['over_control_low'], row['over_control_high'])}, {row['over_control_runs']} draws"


def _intervals(table: pd.DataFrame, value: str, kind: str) -> list[str]:
    return [interval_text(r[value], r[f"{kind}_low"], r[f"{kind}_high"]) for _, r in table.iterrows()]


def _method_intervals(table: pd.DataFrame) -> list[str]:
    texts = _intervals(table, "dsc", "method")
    return [text if runs > 1 else "no claim: one run" for text, runs in zip(texts, table["runs"], strict=True)]


def few_shot_answers(table: pd.DataFrame, rung: str) -> dict[str, str]:
    """The answer on one rung as one sentence, by glue key: mean DSC over the draws by model and k. `table`: `analysis.few_shot_runs`."""
    parts = []
    for model, part in table.groupby("model", sort=False):
        parts.append(f"{model} {', '.join(_step(row) for _, row in part.iterrows())}")
    n = counted(table["n"]) if len(table) else "n = 0"
    return {f"few_shot_{rung}": f"{'; '.join(parts) or 'nothing was trained'} (mean 3-D DSC, {n})."}


def _step(row: pd.Series) -> str:
    name, runs = ("all", "runs") if row["k"] == "all" else (f"k = {row['k']}", "draws")
    return f"{name}: {row['dsc']:.2f}" + (f" ({row['runs']} {runs})" if row["runs"] > 1 else "")


def seeds_figure(spread: pd.DataFrame) -> Any:
    """Mean DSC by method and rung, intervals of both estimands, and the range of the runs. `spread`: `analysis.seed_spread`."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    names = [f"{r['title']}\n{title(r['rung'])}" for _, r in spread.iterrows()]
    figure, axes = plt.subplots(figsize=(8.0, 0.62 * len(spread) + 1.6), layout="constrained")
    blue, orange, green = sns.color_palette()[:3]
    places = np.arange(len(spread))
    for offset, kind, color, label in ((-0.16, "trained", blue, "these trained models"), (0.16, "method", orange, "the method")):
        axes.hlines(
            places + offset, spread[f"{kind}_low"], spread[f"{kind}_high"], color=color, linewidth=3, label=f"{label}, 95 % interval"
        )
        axes.plot(spread["dsc"], places + offset, "o", color=color)
    axes.hlines(places, spread["lowest"], spread["highest"], color=green, linewidth=7, alpha=0.5, label="lowest to highest run")
    axes.set_yticks(places, names, fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel(f"mean 3-D DSC, n = {spread['n'].max()} patients, {spread['runs'].max()} runs each")
    figure.legend(fontsize="small", loc="outside lower center", ncols=3)
    plt.close(figure)
    return figure


def printable_spread(spread: pd.DataFrame) -> pd.DataFrame:
    """`analysis.seed_spread` for people."""
    return pd.DataFrame(
        {
            "method": spread["title"],
            "prompt": spread["rung"].map(title),
            "runs": spread["runs"],
            "n": spread["n"],
            "lowest to highest run": [f"{r['lowest']:.3f} to {r['highest']:.3f}" for _, r in spread.iterrows()],
            "SD of runs": [f"{v:.3f}" for v in spread["sd"]],
            "these trained models": _intervals(spread, "dsc", "trained"),
            "the method": _intervals(spread, "dsc", "method"),
        }
    )


def printable_differences(table: pd.DataFrame) -> pd.DataFrame:
    """`analysis.method_differences` for people."""
    return pd.DataFrame(
        {
            "method": table["a"],
            "minus": table["b"],
            "prompt": table["rung"].map(title),
            "runs": table["runs"],
            "n": table["n"],
            "difference, the methods": [interval_text(r["difference"], r["low"], r["high"]) for _, r in table.iterrows()],
        }
    )


def how(column: pd.Series) -> str:
    """How a table's intervals were made, for its caption: each way once."""
    return f"95 % intervals: {'; '.join(dict.fromkeys(column))}."


def seed_answers(spread: pd.DataFrame) -> dict[str, str]:
    """The answer as one sentence, by glue key: the smallest and the largest SD of runs, and what they belong to."""
    if spread.empty:
        return {"seeds_answer": "Nothing was trained more than once, so nothing is known of how far one training is from the next."}
    least, most = spread.loc[spread["sd"].idxmin()], spread.loc[spread["sd"].idxmax()]
    named = [f"{r['sd']:.3f} ({r['title']}, {title(r['rung'])})" for r in (least, most)]
    widths = (spread["method_high"] - spread["method_low"]) / (spread["trained_high"] - spread["trained_low"])
    widths = widths[np.isfinite(widths)]  # under ten patients there are none
    text = f"The mean DSC of one training differs from that of the next with a standard deviation of {named[0]} to {named[1]}. "
    if len(widths):
        text += f"An interval for the method is {widths.min():.1f} to {widths.max():.1f} times as wide as one for these trained models."
    return {"seeds_answer": text.strip()}


def printable_selection(table: pd.DataFrame) -> pd.DataFrame:
    """`analysis.selection` for people."""
    return pd.DataFrame(
        {
            "number of steps": table["rule"],
            "labelled patients used": table["labels"],
            "mean DSC": [f"{v:.3f}" for v in table["dsc"]],
            "shift": [""] + [f"{v:+z.3f}" for v in table["shift"][1:]],
            "lowest to highest draw": [""] + [f"{r['shift_low']:+z.3f} to {r['shift_high']:+z.3f}" for _, r in table[1:].iterrows()],
        }
    )


def selection_answers(table: pd.DataFrame) -> dict[str, Any]:
    """Values for the text, by glue key: the shifts, and what was measured on."""
    _, free, tested = (row for _, row in table.iterrows())
    values = {"free": f"{free['shift']:+z.3f}", "tested": f"{tested['shift']:+z.3f}", "n": int(free["n"]), "draws": int(free["draws"])}
    return {f"selection_{key}": value for key, value in values.items()}
