"""Page "Robustness": how exact a prompt must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..evaluation import intervals, metrics
from ..experiments import results
from ..prompts.ladder import PROMPT_SETTINGS
from . import drawing_shifts, methods
from .labels import difference_text, difference_texts, interval_text, label_of
from .methods import Method
from .style import looks_of, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def robustness(finished: Sequence[results.RunResult], dataset: str) -> pd.DataFrame:
    """Mean DSC with interval by method, prompt setting and error in drawing (0 first); draws are averaged within the patient.

    Returns:
        Columns: experiment, title, setting, jitter (error as a share of the size), n, dsc, dsc_low, dsc_high.
    """
    rows, names = [], methods.titles(finished)
    for method in methods.group_runs(finished):
        for setting, shares in _wrongly(method, dataset).items():
            for share in (0.0, *shares):
                summary = intervals.summarize_trained_models(method.table(dataset, setting, jitter=share))
                row = {"experiment": method.name, "title": names[method.name, setting], "setting": setting, "jitter": share}
                rows.append(row | {"n": summary.n, "dsc": summary.mean, "dsc_low": summary.low, "dsc_high": summary.high})
    return pd.DataFrame(rows, columns=["experiment", "title", "setting", "jitter", "n", "dsc", "dsc_low", "dsc_high"])


def _wrongly(method: Method, dataset: str) -> dict[str, list[float]]:
    """Prompt setting -> its errors in drawing (shares), the smallest first."""
    asked = pd.concat([r.results[(r.results["test_dataset"] == dataset) & (r.results["jitter"] > 0)] for r in method.results])
    shares = {setting: sorted(part["jitter"].unique()) for setting, part in asked.groupby("prompter")}
    return {setting: shares[setting] for setting in PROMPT_SETTINGS if setting in shares}


def best_of_draws(finished: Sequence[results.RunResult], dataset: str) -> pd.DataFrame:
    """Gain from keeping, by the reference, the best of several prompts drawn with errors: by method, prompt setting and error.

    Columns: title, setting, jitter, n, dsc (draws averaged within the patient), best (best draw of each case), gain, gain_low, gain_high.
    """
    rows, names = [], methods.titles(finished)
    for method in methods.group_runs(finished):
        for setting, share in [(setting, share) for setting, shares in _wrongly(method, dataset).items() for share in shares]:
            means, bests = (method.mean(dataset, setting, metric, share) for metric in ("dsc", metrics.BEST_OF_DRAWS))
            if len(bests):
                gain = intervals.summarize_paired_difference(bests, means)
                row = {"title": names[method.name, setting], "setting": setting, "jitter": share, "n": gain.n}
                row |= {"dsc": means.mean(), "best": bests.mean()}
                rows.append(row | {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high})
    return pd.DataFrame(rows, columns=["title", "setting", "jitter", "n", "dsc", "best", "gain", "gain_low", "gain_high"])


def robustness_figure(table: pd.DataFrame, shifts: pd.DataFrame | None = None) -> Figure:
    """Mean DSC over the error in drawing, one panel per prompt setting. `table`: from `robustness`; `shifts`: from `drawing_shifts`."""
    plot_style()
    import matplotlib.pyplot as plt

    settings, looks = list(dict.fromkeys(table["setting"])), looks_of(table["title"])
    size = (max(9.5, 4.2 * len(settings) + 1), 3.6 + 0.11 * len(looks))  # the legend, in two columns, takes nothing from the panels
    figure, panels = plt.subplots(1, len(settings), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axes, setting in zip(panels[0], settings, strict=True):
        places, name_of_places = _places(table, setting, shifts)
        for name, part in table[table["setting"] == setting].groupby("title", sort=False):
            x = part["jitter"].map(places)
            axes.plot(x, part["dsc"], **looks[name], label=name)
            axes.fill_between(x, part["dsc_low"], part["dsc_high"], color=looks[name]["color"], alpha=0.12)
        axes.set(title=label_of(setting), xlabel=name_of_places, ylim=(-0.02, 1.02))
    panels[0, 0].set_ylabel(f"mean 3-D DSC, n = {table['n'].max()}")
    handles = {label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize="small")
    plt.close(figure)
    return figure


def _places(table: pd.DataFrame, setting: str, shifts: pd.DataFrame | None) -> tuple[dict[float, float], str]:
    """Error -> its place on the axis, and the axis' name: the shift in mm, or the share where no shift is known."""
    shares = table["jitter"][table["setting"] == setting].unique()
    if shifts is not None:
        known = {share: drawing_shifts.shift_mm(shifts, setting, share) for share in shares}
        if not any(map(np.isnan, known.values())):
            return known, "mean shift of the prompt (mm)"
    return {share: 100 * share for share in shares}, "error in drawing (% of the size)"


def jitter_note(profile: str, draws: int, rows: int) -> str:
    """One sentence of Markdown: how many draws with errors were made, or that this profile has none."""
    if rows:
        drawn = f"{draws} draws of each error for each case, averaged within the patient"
        return f"Profile `{profile}`: {drawn}. Bands are 95 % intervals over patients."
    return f"Profile `{profile}` asks with prompts as they should be drawn only; the profile `robustness` asks with errors too."


def printable_robustness(table: pd.DataFrame, setting: str, shifts: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC in one prompt setting by method (rows) and error in drawing (columns), named by its mean shift in mm (`shifts`)."""
    part = table[table["setting"] == setting]
    shown = part.assign(
        text=[interval_text(r["dsc"], r["dsc_low"], r["dsc_high"]) for _, r in part.iterrows()],
        error=[drawing_shifts.label(shifts, setting, share) for share in part["jitter"]],
    )
    wide = shown.pivot(index="title", columns="error", values="text")[list(dict.fromkeys(shown["error"]))]
    return wide.rename_axis(columns=None).reset_index().rename(columns={"title": "method"})


def printable_best_of_draws(table: pd.DataFrame, shifts: pd.DataFrame) -> pd.DataFrame:
    """`best_of_draws` as a table for a page; errors are named by their mean shift in mm (`shifts`)."""
    return pd.DataFrame(
        {
            "method": table["title"],
            "prompt": table["setting"].map(label_of),
            "error": [drawing_shifts.label(shifts, r["setting"], r["jitter"]) for _, r in table.iterrows()],
            "n": table["n"],
            "mean of the draws": [f"{v:.2f}" for v in table["dsc"]],
            "best draw of each case": [f"{v:.2f}" for v in table["best"]],
            "gained by choosing": difference_texts(table, "gain"),
        }
    )


def robustness_values(table: pd.DataFrame, shifts: pd.DataFrame) -> dict[str, str]:
    """The finding of the page as one sentence, by glue key."""
    if table.empty:
        return {"robustness_answer": "This profile gives no answer: it asks with prompts as they should be drawn only."}
    most = table["jitter"].max()
    ends = {key: part.set_index("jitter")["dsc"] for key, part in table.groupby(["title", "setting"], sort=False)}
    losses = {key: values[0.0] - values[most] for key, values in ends.items() if most in values.index}
    named = [
        f"by {difference_text(losses[key])} {end} ({key[0]}, {label_of(key[1])}, {drawing_shifts.label(shifts, key[1], most)})"
        for end, key in (("at most", max(losses, key=losses.get)), ("at least", min(losses, key=losses.get)))
    ]
    text = f"With the largest errors in drawing the mean DSC falls {' and '.join(named)}; n = {table['n'].max()}."
    return {"robustness_answer": text}
