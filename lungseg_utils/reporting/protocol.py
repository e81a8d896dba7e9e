"""Page "How a protocol moves a score": the same predictions, scored as published comparisons score them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..evaluation import comparisons, protocols
from ..experiments import planning
from ..experiments.results import PROTOCOL_COUNTS, RunResult
from ..types import Row
from . import controls, methods
from .labels import difference_text, label_of, number_text, trivial_rules
from .style import looks_of, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_ROWS = 10  # of the table of the page
_LABEL_WIDTH = 42  # characters of a line in a figure


def counted(finished: Sequence[RunResult], dataset: str) -> list[RunResult]:
    """What can be scored again: not trained on another data set, and with counts of its predictions, which stored tables do not have."""
    known = [result for result in finished if (result.folder / PROTOCOL_COUNTS).is_file()]
    return [result for result in known if controls.training(result.experiment, dataset) != controls.EXTERNAL]


def protocol_trap(finished: Sequence[RunResult], dataset: str, settings: Sequence[str]) -> pd.DataFrame:
    """Score the stored predictions of every method and prompt setting by every published protocol; this project's own comes first.

    Returns:
        One row per method, prompt setting and protocol. Columns: experiment, title, setting, protocol, formula, value (mean
        over runs), n (of one run), unit, share (of all slices that were scored), shift (from the own protocol), rank (among the methods in
        the prompt setting, 1 is best).
    """
    names, rows = methods.titles(finished) if finished else {}, []
    for method in methods.group_runs(finished):
        for setting in [name for name in settings if method.asked(dataset, name)]:
            asked = method.runs(dataset).values()
            runs = [[case for result in results for case in result.protocol_counts(dataset, setting)] for results in asked]
            named = {"experiment": method.name, "title": names[method.name, setting], "model": planning.model_title(method.experiment)}
            rows += _trap_rows(named | {"setting": setting}, runs)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    table["rank"] = table.groupby(["setting", "protocol"])["value"].rank(ascending=False, method="min")
    return table


_COLUMNS = ("experiment", "title", "model", "setting", "protocol", "formula", "value", "n", "unit", "share", "shift")


def _trap_rows(shared: Row, runs: Sequence[Sequence[protocols.CaseCounts]]) -> list[dict[str, object]]:
    scored, rows = [protocols.all_protocols(cases) for cases in runs], []
    own = float(np.mean([values[0].value for values in scored]))
    for found in zip(*scored, strict=True):
        first, value = found[0], float(np.mean([part.value for part in found]))
        row = {"protocol": first.name, "formula": first.formula, "value": value, "n": first.n, "unit": first.unit_of_n}
        rows.append({**shared, **row, "share": float(np.mean([part.slices_scored_share for part in found])), "shift": value - own})
    return rows


def rank_agreement(trap: pd.DataFrame) -> pd.DataFrame:
    """Kendall's tau between the ranks of methods by the own protocol and by each other one, per prompt setting (rows: protocols).

    NaN if a protocol has no value for some method, such as "only detected cases" for one that detected none.
    """
    own, result = next(iter(trap["protocol"]), ""), {}
    for setting, part in trap.groupby("setting", sort=False):
        ranks_by = part.pivot(index="experiment", columns="protocol", values="rank")
        if len(ranks_by) > 2:
            defined = {name: ranks_by[name].notna().all() for name in part["protocol"].unique()}
            result[setting] = {n: comparisons.kendall_tau(ranks_by[own], ranks_by[n]) if ok else np.nan for n, ok in defined.items()}
    return pd.DataFrame(result).rename_axis("protocol").reset_index()


def trap_figure(trap: pd.DataFrame, setting: str) -> Figure:
    """The same predictions under every protocol: mean DSC on the left, rank of each method on the right.

    `trap`: from `protocol_trap`.
    """
    plot_style()
    import matplotlib.pyplot as plt

    part = trap[(trap["setting"] == setting) & _is_shown(trap)]
    part = part.assign(rank=part.groupby("protocol")["value"].rank(ascending=False, method="min"))  # among those that are shown
    names = list(dict.fromkeys(part["protocol"]))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.42 * len(names) + 2.2), sharey=True, layout="constrained")
    looks = looks_of(part["title"])
    for _, method in part.groupby("experiment", sort=False):
        places, name = [names.index(protocol) for protocol in method["protocol"]], method["title"].iloc[0]
        left.plot(method["value"], places, **looks[name], linewidth=1, label=name)
        right.plot(method["rank"], places, **looks[name], linewidth=1)
    left.set_yticks(range(len(names)), names, fontsize="small")
    left.invert_yaxis()
    left.set(xlabel="Dice by this protocol", xlim=(-0.02, 1.02))
    right.set(xlabel="rank (1 is best)")
    left.axhspan(-0.4, 0.4, color="0.5", alpha=0.12)
    right.axhspan(-0.4, 0.4, color="0.5", alpha=0.12)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    plt.close(figure)
    return figure


def shifts_figure(trap: pd.DataFrame, experiment: str, setting: str) -> Figure:
    """Dice of one method under every protocol, as bars from its score by the own protocol."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    part = trap[(trap["experiment"] == experiment) & (trap["setting"] == setting)]
    values, own, places = part["value"].to_numpy(), part["value"].iloc[0], np.arange(len(part))
    least, most = min(0, (values - own).min()), max(0, (values - own).max())
    room = 0.4 * max(most - least, 0.02)  # for the labels
    figure, axes = plt.subplots(figsize=(8.5, 0.4 * len(part) + 0.9), layout="constrained")
    axes.barh(places, values - own, left=own, height=0.6, color=sns.color_palette()[0])
    axes.axvline(own, color="0.3", linewidth=1.5)
    for place, value in zip(places, values, strict=True):
        right = value >= own
        text = number_text(value, 2) if place == 0 else f"{number_text(value, 2)} ({difference_text(value - own, signed=True)})"
        axes.annotate(
            text,
            (value, place),
            (5 if right else -5, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize="small",
        )
    axes.set_yticks(places, [textwrap.fill(name, _LABEL_WIDTH) for name in part["protocol"]], fontsize="small")
    axes.set(ylim=(len(part) - 0.4, -0.6), xlim=(own + least - room, own + most + room), xlabel="Dice by this protocol")
    axes.axhspan(-0.5, 0.5, color="0.5", alpha=0.12)
    axes.grid(visible=False, axis="y")
    plt.close(figure)
    return figure


def short_table(trap: pd.DataFrame, experiment: str, setting: str) -> pd.DataFrame:
    """`printable_trap` without formulas: the own protocol, and those that move the score of one method most."""
    part = trap[(trap["experiment"] == experiment) & (trap["setting"] == setting)]
    moved = part.iloc[1:].sort_values("shift", key=abs, ascending=False, kind="stable").index[: _ROWS - 1]
    return printable_trap(part.loc[[*part.index[:1], *sorted(moved)]], experiment, setting).drop(columns=["formula", "rank"])


FOLDED = """:::{dropdown} All protocols with their formulas, and whether the methods keep their order
```{glued} protocol.ipynb::trap_table
```
Kendall's tau between the ranks by our protocol and by each other one: 1 is the same order, 0 no order in common.
```{glued} protocol.ipynb::trap_agreement
```
:::"""


def folded_figure(setting: str) -> str:
    """Markdown of a folded `trap_figure` that was glued as trap_SETTING_figure."""
    return (
        f":::{{dropdown}} All methods, {label_of(setting)}: score and rank by every protocol\n"
        f"```{{glued}} protocol.ipynb::trap_{setting}_figure\n"
        ":alt: Left: the Dice that every method would report by each protocol. Right: its rank. Lines that cross change their order.\n```\n"
        "The shaded row is the protocol of this book.\n:::"
    )


def ranked_settings(trap: pd.DataFrame) -> list[str]:
    """Those of no prompt and a box on one slice in which several methods have a rank, trivial baselines without a prompt left out."""
    shown = trap[_is_shown(trap)]
    return [name for name in ("none", "box_one_slice") if shown.loc[shown["setting"] == name, "experiment"].nunique() > 1]


def _is_shown(trap: pd.DataFrame) -> pd.Series:
    """Without a prompt a trivial baseline predicts nothing."""
    return (trap["setting"] != "none") | ~trap["title"].isin(list(trivial_rules()))


def printable_trap(trap: pd.DataFrame, experiment: str, setting: str) -> pd.DataFrame:
    """One method under every protocol: formula, value, shift from the own protocol, n, share of scored slices, rank."""
    part = trap[(trap["experiment"] == experiment) & (trap["setting"] == setting)]
    return pd.DataFrame(
        {
            "protocol": part["protocol"],
            "formula": part["formula"],
            "Dice": [f"{v:.2f}" for v in part["value"]],
            "shift": [difference_text(v, signed=True) for v in part["shift"]],
            "n": [f"{n}" if unit == "patients" else f"{n} {unit}" for n, unit in zip(part["n"], part["unit"], strict=True)],
            "slices looked at": [f"{100 * v:.0f} %" for v in part["share"]],
            "rank": [f"{v:.0f}" for v in part["rank"]],
        }
    )


def trap_values(trap: pd.DataFrame, experiment: str, setting: str) -> dict[str, str]:
    """Values for the text of pages by glue key: of one method trap_PROTOCOL (DSC), trap_PROTOCOL_shift and trap_PROTOCOL_slices (share)."""
    keys, values = {protocol([]).name: protocol.__name__ for protocol in protocols.PROTOCOLS}, {}
    for _, row in trap[(trap["experiment"] == experiment) & (trap["setting"] == setting)].iterrows():
        key = f"trap_{keys[row['protocol']]}"
        values |= {
            key: f"{row['value']:.2f}",
            f"{key}_shift": difference_text(row["shift"], signed=True),
            f"{key}_slices": f"{100 * row['share']:.0f} %",
        }
    return values


def own_values(trap: pd.DataFrame, experiment: str, setting: str) -> dict[str, object]:
    """Values by glue key: one method by the own protocol (trap_own, trap_n), by the most flattering one (trap_most, trap_most_name) and
    by the least (trap_least); trap_own_dsc and trap_most_dsc are numbers.
    """
    part = trap[(trap["experiment"] == experiment) & (trap["setting"] == setting)]
    if part.empty:
        return dict.fromkeys(("trap_own", "trap_most", "trap_least", "trap_most_name"), "–") | _NO_NUMBERS
    own, most = part.iloc[0], part.loc[part["shift"].idxmax()]
    values = {"trap_own": own["value"], "trap_most": most["value"], "trap_least": part["value"].min()}
    texts = {key: f"{value:.2f}" for key, value in values.items()}
    return texts | {
        "trap_most_name": most["protocol"],
        "trap_own_dsc": float(own["value"]),
        "trap_most_dsc": float(most["value"]),
        "trap_n": int(own["n"]),
    }


_NO_NUMBERS = {"trap_own_dsc": np.nan, "trap_most_dsc": np.nan, "trap_n": 0}


def answer(trap: pd.DataFrame, experiment: str, agreement: pd.DataFrame, tested: str) -> str:
    """The finding of the page, of one method without a prompt, and of the order of methods with a box on one slice. `tested`: whom."""
    values, order = own_values(trap, experiment, "none"), order_values(trap, agreement, "box_one_slice")
    if not values["trap_n"]:
        return "The predictions of this edition are not on the machine that built it, so no other protocol could score them again."
    text = (
        f"The same U-Net, on the same {values['trap_n']} {tested}, scores a Dice of {values['trap_own']} by the protocol of this book, and "
        f"{values['trap_least']} to {values['trap_most']} by other published protocols. The most flattering one is "
        f"*{values['trap_most_name']}*."
    )
    if order["trap_box_one_slice_methods"] > 1:
        text += (
            f" With a box on one slice, {order['trap_box_one_slice_another_first'] or 'none'} of {order['trap_box_one_slice_others']} "
            f"other protocols rank another one of the {order['trap_box_one_slice_methods']} methods first."
        )
    return text


def order_values(trap: pd.DataFrame, agreement: pd.DataFrame, setting: str) -> dict[str, object]:
    """Values by glue key: how many other protocols rank another method first in a prompt setting, and the lowest agreement of ranks."""
    part = trap[trap["setting"] == setting]
    if part.empty:
        return {f"trap_{setting}_{key}": 0 for key in ("methods", "others", "another_first")} | {f"trap_{setting}_least_tau": "–"}
    best = part[part["rank"] == 1].groupby("protocol", sort=False)["experiment"].agg(set)
    others = best.drop(part["protocol"].iloc[0])
    taus = (
        agreement.set_index("protocol")[setting].drop(part["protocol"].iloc[0]).dropna() if setting in agreement else pd.Series(dtype=float)
    )
    return {
        f"trap_{setting}_methods": part["experiment"].nunique(),
        f"trap_{setting}_others": len(others),
        f"trap_{setting}_another_first": int((others != best.iloc[0]).sum()),
        f"trap_{setting}_least_tau": number_text(taus.min(), 2) if len(taus) else "–",
    }
