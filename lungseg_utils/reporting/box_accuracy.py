"""Page "How exact must a box be?": what errors in drawing cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..evaluation import intervals, metrics
from ..experiments import results
from ..prompts.ladder import PROMPT_SETTINGS
from . import controls, drawing_shifts, folded, methods
from .labels import difference_text, difference_texts, interval_text, label_of
from .methods import Method
from .style import GRAY, method_looks, plot_style

if TYPE_CHECKING:
    from IPython.display import HTML
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler


_NUMBERS = [f"{name}{end}" for name in ("dsc", "change") for end in ("", "_low", "_high")]
_COLUMNS = ["experiment", "title", "role", "setting", "jitter", "n", *_NUMBERS]
_TYPICAL = 0.2  # of the size: the error of which the page speaks first
_LINES = 5  # of a figure, besides the best one without a network


def robustness(finished: Sequence[results.RunResult], dataset: str) -> pd.DataFrame:
    """Mean DSC with interval by method, prompt setting and error in drawing (0 first); draws are averaged within the patient.

    Returns:
        Columns: experiment, title, role (see `controls.role_of`), setting, jitter (error as a share of the size), n; dsc, and change
        (paired difference to the exact prompt), each with _low and _high.
    """
    rows, names = [], methods.titles(finished)
    for method in methods.group_runs(finished):
        for setting, shares in _wrongly(method, dataset).items():
            exact = method.table(dataset, setting)
            for share in (0.0, *shares):
                table = method.table(dataset, setting, jitter=share)
                own, change = intervals.summarize_trained_models(table), intervals.summarize_trained_models_difference(table, exact)
                row = {"experiment": method.name, "title": names[method.name, setting], "role": controls.role_of(method.experiment)}
                row |= {"setting": setting, "jitter": share, "n": own.n, "dsc": own.mean, "dsc_low": own.low, "dsc_high": own.high}
                rows.append(row | {"change": change.mean, "change_low": change.low, "change_high": change.high})
    return pd.DataFrame(rows, columns=_COLUMNS)


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


def lines_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Of `robustness` at most six lines: the best rule with exact prompts in each setting, an automatic network, then promptable ones.

    Those that were trained on all patients come before those that were trained on few.
    """
    rules = table[(table["role"] == "trivial") & (table["jitter"] == 0)]
    best = rules.loc[rules.groupby("setting")["dsc"].idxmax(), ["title", "setting"]] if len(rules) else rules[["title", "setting"]]
    kept = table.merge(best, on=["title", "setting"]).assign(title=NO_NETWORK)
    others = table[table["role"] != "trivial"]
    few = others["title"].str.contains("few-shot|random weights")
    order = others.assign(few=few).sort_values("few", kind="stable")["title"].drop_duplicates()[:_LINES]
    return pd.concat([kept, others[others["title"].isin(order)]], ignore_index=True)


NO_NETWORK = "best without a network"


def robustness_figure(table: pd.DataFrame, shifts: pd.DataFrame | None = None) -> Figure:
    """Mean DSC over the error in drawing, one panel per prompt setting. `table`: from `lines_shown`; `shifts`: from `drawing_shifts`."""
    plot_style()
    import matplotlib.pyplot as plt

    settings = list(dict.fromkeys(table["setting"]))
    others = [title for title in dict.fromkeys(table["title"]) if title != NO_NETWORK]
    looks = {NO_NETWORK: {"color": GRAY, "marker": "x"}} | {title: method_looks(title, number) for number, title in enumerate(others)}
    figure, panels = plt.subplots(1, len(settings), figsize=(8.6, 4.3), sharey=True, squeeze=False, layout="constrained")
    for axes, setting in zip(panels[0], settings, strict=True):
        places, name_of_places = _places(table, setting, shifts)
        for name, part in table[table["setting"] == setting].groupby("title", sort=False):
            x = part["jitter"].map(places)
            axes.plot(x, part["dsc"], **looks[name], markersize=5, label=name)
            axes.fill_between(x, part["dsc_low"], part["dsc_high"], color=looks[name]["color"], alpha=0.1)
        axes.set(title=label_of(setting), xlabel=name_of_places, ylim=(-0.02, 1.02))
    panels[0, 0].set_ylabel(f"mean 3-D Dice, n = {table['n'].max()}")
    handles = {label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False)
    plt.close(figure)
    return figure


def figure_alt(table: pd.DataFrame) -> str:
    """What `robustness_figure` shows, for those who cannot see it. `table`: from `lines_shown`."""
    most, parts = table["jitter"].max(), []
    for setting, part in table.groupby("setting", sort=False):
        ends = part.pivot_table(index="title", columns="jitter", values="dsc", sort=False)
        said = "; ".join(f"{title} from {row[0.0]:.2f} to {row[most]:.2f}" for title, row in ends.iterrows())
        parts.append(f"{label_of(str(setting))}: {said}")
    return f"Mean Dice from exact prompts to errors of {100 * most:g} % of the size. {'. '.join(parts)}."


def _places(table: pd.DataFrame, setting: str, shifts: pd.DataFrame | None) -> tuple[dict[float, float], str]:
    """Error -> its place on the axis, and the axis' name: the shift in mm, or the share where no shift is known."""
    shares = table["jitter"][table["setting"] == setting].unique()
    if shifts is not None:
        known = {share: drawing_shifts.shift_mm(shifts, setting, share) for share in shares}
        if not any(map(np.isnan, known.values())):
            return known, "mean shift (mm)"
    return {share: 100 * share for share in shares}, "error (% of the size)"


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


def typical_error(table: pd.DataFrame) -> float:
    """The error of which the page speaks: 20 % of the size, or the nearest one that was drawn."""
    shares = [share for share in table["jitter"].unique() if share]
    return min(shares, key=lambda share: abs(share - _TYPICAL))


def printable_changes(table: pd.DataFrame) -> pd.DataFrame:
    """One row a method, one column a prompt setting: mean DSC with exact prompts, and what the typical error changes.

    `table`: from `lines_shown`.
    """
    share, rows = typical_error(table), {}
    for (title, setting), part in table.groupby(["title", "setting"], sort=False):
        by_share = part.set_index("jitter")
        wrong = by_share.loc[share]
        text = f"{by_share.loc[0.0, 'dsc']:.2f}, {difference_text(wrong['change'], wrong['change_low'], wrong['change_high'], signed=True)}"
        rows.setdefault(title, {})[label_of(setting)] = text
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–").rename_axis("method").reset_index()


def changes_shown(table: pd.DataFrame, tested: str) -> Styler:
    """`printable_changes` with its caption."""
    share = f"{100 * typical_error(table):g} %"
    words = f"Mean Dice with exact prompts, and its paired change with an error of up to {share} of the size; {tested}"
    return printable_changes(table).style.hide(axis="index").set_caption(words)


def in_one_line(said: str) -> str:
    """`answer` without its list and marks, for a sentence elsewhere."""
    return " ".join(said.replace("\n- ", " ").replace("**", "").split())


def answer(table: pd.DataFrame, shifts: pd.DataFrame, tested: str) -> str:
    """Markdown: what the typical error costs in each prompt setting, least and most. `table`: from `lines_shown`."""
    if table.empty:
        return "This edition gives no answer: its prompts were drawn without errors."
    share, exact = typical_error(table), table[table["jitter"] == 0].set_index(["title", "setting"])["dsc"]
    parts = [f"Errors of up to {100 * share:g} % of the lesion's size, {tested}, n = {table['n'].max()}:"]
    for setting, part in table[table["jitter"] == share].groupby("setting", sort=False):
        most, least = part.loc[part["change"].idxmin()], part.loc[part["change"].abs().idxmin()]
        ends = [f"{_name(row)} (**{exact[row['title'], setting]:.2f}** exact, **{_change(row)}**)" for row in (most, least)]
        moved = drawing_shifts.shift_mm(shifts, str(setting), share)
        where = "" if np.isnan(moved) else f", off by {moved:.1f} mm on average"
        parts.append(f"- {label_of(str(setting)).capitalize()}{where}: the mean Dice changes most for {ends[0]}, and least for {ends[1]}.")
    return "\n".join([parts[0], "", *parts[1:]])


def _name(row: pd.Series) -> str:
    return "the best prediction without a network" if row["title"] == NO_NETWORK else str(row["title"])


def _change(row: pd.Series) -> str:
    return difference_text(row["change"], row["change_low"], row["change_high"], signed=True)


def folded_tables(table: pd.DataFrame, shifts: pd.DataFrame) -> HTML:
    """`printable_robustness` of each prompt setting."""
    shown = {label_of(setting): printable_robustness(table, setting, shifts) for setting in table["setting"].unique()}
    return folded.tables(shown, "This edition's prompts were drawn without errors.")
