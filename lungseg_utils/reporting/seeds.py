"""Page "How sure are we?", part "Repeated training": spread between trainings from different seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..evaluation import intervals
from ..experiments import results
from ..prompts.ladder import PROMPT_SETTINGS
from . import methods
from .controls import control_experiment
from .labels import difference_text, interval_text, label_of
from .style import plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def seed_spread(finished: Sequence[results.RunResult], dataset: str) -> pd.DataFrame:
    """Spread of the runs, and both estimands, of each method and prompt setting with more than one training; see `spread_row`.

    Columns: title, setting, and those of `spread_row`.
    """
    names, found, rows = methods.titles(finished), methods.group_runs(finished), []
    for setting in PROMPT_SETTINGS:
        for method in (m for m in found if m.asked(dataset, setting)):
            table = method.table(dataset, setting)
            if table.shape[1] > 1:
                rows.append({"title": names[method.name, setting], "setting": setting} | spread_row(table))
    return pd.DataFrame(rows, columns=["title", "setting", *_SPREAD_COLUMNS])


def method_differences(finished: Sequence[results.RunResult], dataset: str) -> pd.DataFrame:
    """Promptable methods minus the automatic one with the same prompt, over other patients and other trainings of both.

    Columns: a, b, setting, runs, n, difference, low, high, how; only where both were trained more than once.
    """
    names, found, rows = methods.titles(finished), methods.group_runs(finished), []
    for setting in [name for name in PROMPT_SETTINGS if name != "none"]:
        several = {
            methods.group_key(m.experiment): m for m in found if m.asked(dataset, setting) and m.table(dataset, setting).shape[1] > 1
        }
        for own, method in several.items():
            control = several.get(control_experiment(method.experiment, dataset))
            if control is None or methods.group_key(control.experiment) == own:
                continue
            pair = methods.pair_methods(method, setting, control, setting, dataset)
            summary, runs = pair.method(), min(pair.a.shape[1], pair.b.shape[1])
            row = {"a": names[method.name, setting], "b": names[control.name, setting], "setting": setting, "runs": runs, "n": summary.n}
            rows.append(row | {"difference": summary.mean, "low": summary.low, "high": summary.high, "how": summary.method})
    return pd.DataFrame(rows, columns=["a", "b", "setting", "runs", "n", "difference", "low", "high", "how"])


_SPREAD_COLUMNS = (
    *("runs", "n", "dsc", "lowest", "highest", "sd", "trained_low", "trained_high", "trained_how"),
    *("method_low", "method_high", "method_how"),
)


def spread_row(table: pd.DataFrame) -> dict[str, object]:
    """Mean DSC, lowest and highest mean and SD of the runs, and the intervals of both estimands, from a table patients x runs."""
    means, trained, method = table.mean(), intervals.summarize_trained_models(table), intervals.summarize_method(table)
    return {
        "runs": table.shape[1], "n": trained.n, "dsc": trained.mean, "lowest": means.min(), "highest": means.max(),
        "sd": means.std(ddof=1), "trained_low": trained.low, "trained_high": trained.high, "trained_how": trained.method,
        "method_low": method.low, "method_high": method.high, "method_how": method.method,
    }  # fmt: skip


def interval_columns(table: pd.DataFrame, value: str, kind: str) -> list[str]:
    return [interval_text(r[value], r[f"{kind}_low"], r[f"{kind}_high"]) for _, r in table.iterrows()]


def method_intervals(table: pd.DataFrame) -> list[str]:
    texts = interval_columns(table, "dsc", "method")
    return [text if runs > 1 else "no claim: one run" for text, runs in zip(texts, table["runs"], strict=True)]


def seeds_figure(spread: pd.DataFrame) -> Figure:
    """Mean DSC by method and prompt setting, intervals of both estimands, and the range of the runs. `spread`: from `seed_spread`."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    names = [f"{r['title']}\n{label_of(r['setting'])}" for _, r in spread.iterrows()]
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
    axes.set_xlabel(f"mean Dice, n = {spread['n'].max()} patients, {spread['runs'].max()} runs each")
    figure.legend(fontsize="small", loc="outside lower center", ncols=3)
    plt.close(figure)
    return figure


def printable_spread(spread: pd.DataFrame) -> pd.DataFrame:
    """`seed_spread` as a table for a page."""
    return pd.DataFrame(
        {
            "method": spread["title"],
            "prompt": spread["setting"].map(label_of),
            "runs": spread["runs"],
            "n": spread["n"],
            "lowest to highest run": [f"{r['lowest']:.3f} to {r['highest']:.3f}" for _, r in spread.iterrows()],
            "SD of runs": [f"{v:.3f}" for v in spread["sd"]],
            "these trained models": interval_columns(spread, "dsc", "trained"),
            "the method": interval_columns(spread, "dsc", "method"),
        }
    )


def printable_differences(table: pd.DataFrame) -> pd.DataFrame:
    """`method_differences` as a table for a page."""
    return pd.DataFrame(
        {
            "method": table["a"],
            "minus": table["b"],
            "prompt": table["setting"].map(label_of),
            "runs": table["runs"],
            "n": table["n"],
            "difference, the methods": [difference_text(r["difference"], r["low"], r["high"]) for _, r in table.iterrows()],
        }
    )


def how(column: pd.Series) -> str:
    """How the intervals of a table were computed: each way once."""
    return f"95 % intervals: {'; '.join(dict.fromkeys(column))}."


def folded(dataset: str, title: str, spread: pd.DataFrame, differences: pd.DataFrame) -> str:
    """Markdown of the folded repeated trainings on one data set, glued as seeds_DATASET, ..._figure and ..._differences."""
    text = (
        f":::{{dropdown}} Repeated training: {title}\n"
        "The same training again, with other seeds: other first weights where they are random, and another order of the same patients; "
        "with other folds: other patients who train and validate; with other draws of *k*: other labeled patients. *These trained models* "
        "are the same networks on other patients. *The method* is other patients and other trainings; runs are crossed with patients. "
        "One run gives no interval of the second kind. An automatic method *+ prompt* is the control.\n"
        f"```{{glued}} certainty.ipynb::seeds_{dataset}_figure\n:alt: Mean Dice of each method with intervals for these trained models and "
        f"for the method, and the range from the lowest to the highest run.\n```\n```{{glued}} certainty.ipynb::seeds_{dataset}\n```\n"
        f"{how(spread['method_how'])}"
    )
    if len(differences):
        text += (
            "\n\nPromptable methods minus the automatic one with the same prompt, paired within the patient; the interval holds for other "
            f"patients and other trainings of both.\n```{{glued}} certainty.ipynb::seeds_{dataset}_differences\n```\n"
            f"{how(differences['how'])}"
        )
    return f"{text}\n:::"


def answer(spread: pd.DataFrame, tested_on: str) -> str:
    """`seed_values` in one short sentence, without names of methods."""
    if spread.empty:
        return "Nothing was trained more than once, so nothing is known of how far one training is from the next."
    least, most = (difference_text(value) for value in (spread["sd"].min(), spread["sd"].max()))
    runs = spread["runs"].max()
    return (
        f"The mean Dice of up to {runs} trainings of the same method varies with a standard deviation of {least} to {most} ({tested_on})."
    )


def seed_values(spread: pd.DataFrame) -> dict[str, str]:
    """The finding as one sentence, by glue key: the smallest and the largest SD of runs, and their methods."""
    if spread.empty:
        return {"seeds_answer": "Nothing was trained more than once, so nothing is known of how far one training is from the next."}
    least, most = spread.loc[spread["sd"].idxmin()], spread.loc[spread["sd"].idxmax()]
    named = [f"{r['sd']:.3f} ({r['title']}, {label_of(r['setting'])})" for r in (least, most)]
    widths = (spread["method_high"] - spread["method_low"]) / (spread["trained_high"] - spread["trained_low"])
    widths = widths[np.isfinite(widths)]  # under ten patients there are none
    text = f"Repeated trainings of one method differ in mean Dice with a standard deviation of {' to '.join(dict.fromkeys(named))}. "
    if len(widths):
        text += f"An interval for the method is up to {widths.max():.1f} times as wide as one for these trained models."
    return {"seeds_answer": text.strip()}
