"""Page "What it costs", part on the code's speed: the table of `python -m benchmarks`, which compares this project with common scripts.

A row is one piece of work, done in turn by the fast path (this project) and the plain one, in one run on one machine. Machines are noisy,
so pairs are compared instead of times: `gain` is plain over fast seconds (at least `goal`), `extra` fast minus plain seconds (at most).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core import files
from ..types import InputError
from .costs import duration
from .labels import with_minus
from .style import plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


COLUMNS: Mapping[str, type] = {
    "row": str,
    "work": str,
    "against": str,
    "compared": str,
    "goal": float,
    "pairs": int,
    "value_min": float,
    "value_median": float,
    "value_max": float,
    "fast_seconds": float,  # medians
    "plain_seconds": float,
    "plain_share": float,  # of the work that the plain path ran; its seconds are scaled to the whole
    "agreement": str,  # what holds the two answers together
    "agreement_value": float,
    "agreement_limit": float,
    "operations": float,  # that the work needs at least; a multiply-add is two
    "bytes": float,  # that it must read and write at least
    "operations_per_second": float,  # of this machine in a large matrix product, in the row's precision
    "bytes_per_second": float,  # of this machine in a large copy
    "device": str,
    "threads": int,
    "precision": str,
    "versions": str,
    "commit": str,
}
KEY = ("row", "device", "threads")
GAIN, EXTRA = "gain", "extra"
# how two answers are compared, and whether the limit is the least or the most
AGREEMENTS: Mapping[str, str] = {"dice": "least", "difference": "most", "memory ratio": "most"}
_REMEDY = "Delete the table and run: make bench"


def read(path: Path) -> pd.DataFrame:
    """Read and validate a table of speeds; InputError names the file and its first fault."""
    return validate(files.read_csv(path, "Run: make bench", dtype=dict(COLUMNS), keep_default_na=False, na_values={"goal": ["nan"]}), path)


def validate(frame: pd.DataFrame, where: object = "speeds") -> pd.DataFrame:
    """Return `frame` if it obeys the schema: columns, kinds of comparison, answers that agree, one row per work and setting."""
    if list(frame.columns) != list(COLUMNS):
        raise InputError(where, f"its columns are {list(frame.columns)}", f"Expected {list(COLUMNS)}.")
    for column, known in (("compared", {GAIN, EXTRA}), ("agreement", set(AGREEMENTS))):
        if unknown := sorted(set(frame[column]) - known):
            raise InputError(where, f"unknown {column} {unknown[0]!r}", _REMEDY)
    for _, row in frame.iterrows():
        if not agrees(row["agreement"], row["agreement_value"], row["agreement_limit"]):
            raise InputError(where, f"the two answers of {row['row']} do not agree", _REMEDY)
    if frame.duplicated(list(KEY)).any():
        raise InputError(where, "a doubled row", _REMEDY)
    return frame


def agrees(agreement: str, value: float, limit: float) -> bool:
    """Whether an agreement keeps its limit (never if it is NaN)."""
    return bool(value >= limit if AGREEMENTS[agreement] == "least" else value <= limit)


def merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """`old` with rows of the same work and setting replaced by `new`, sorted by work."""
    return files.replace_rows(old, new, KEY).sort_values(list(KEY), ignore_index=True)


def is_met(frame: pd.DataFrame) -> pd.Series:
    """Whether the median reaches the goal of its row; rows that only state a figure have none, and count as met."""
    reached = np.where(frame["compared"] == GAIN, frame["value_median"] >= frame["goal"], frame["value_median"] <= frame["goal"])
    return pd.Series(reached | frame["goal"].isna(), index=frame.index)


def floor_seconds(frame: pd.DataFrame) -> pd.Series:
    """Least seconds of each row's work on its machine: operations or bytes, whichever takes longer."""
    return np.maximum(frame["operations"] / frame["operations_per_second"], frame["bytes"] / frame["bytes_per_second"])


def printable(frame: pd.DataFrame) -> pd.DataFrame:
    """The table for a page."""
    return pd.DataFrame(
        {
            "row": labels(frame),
            "here": [duration(s) for s in frame["fast_seconds"]],
            "plain": [duration(s) for s in frame["plain_seconds"]],
            "compared (min to max), pairs": [with_minus(_compared(row)) for _, row in frame.iterrows()],
            "goal": [_goal(row) for _, row in frame.iterrows()],
            "answers": [with_minus(_answers(row)) for _, row in frame.iterrows()],
            "share of the floor (floor)": [_floor(s, t) for s, t in zip(floor_seconds(frame), frame["fast_seconds"], strict=True)],
        }
    )


def works(frame: pd.DataFrame) -> pd.DataFrame:
    """Work and comparison of each row, once for all machines that did the same."""
    columns = {
        "row": frame["row"],
        "work": frame["work"],
        "against": [_against(row) for _, row in frame.iterrows()],
        "precision": frame["precision"],
    }
    return pd.DataFrame(columns).drop_duplicates(ignore_index=True)


def labels(frame: pd.DataFrame) -> pd.Series:
    """Names of the rows; with the machine where the table has several."""
    machine = frame["device"].str.partition(", ")[0].str.replace("(R)", "", regex=False)
    return frame["row"] + " · " + machine if frame["device"].nunique() > 1 else frame["row"]


def _floor(floor: float, seconds: float) -> str:
    return f"{floor / seconds:.2g} ({duration(floor)})" if floor else "–"


def gains(frame: pd.DataFrame) -> Figure:
    """Gain of each row on a logarithmic axis: median, least and most of its pairs, and the goal as a tick."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    table = frame[frame["compared"] == GAIN]
    of_row = table.groupby("row")["value_median"].transform("median")  # machines side by side
    table = table.assign(of_row=of_row).sort_values(["of_row", "row", "device"], ignore_index=True)
    figure, axes = plt.subplots(figsize=(8.5, 0.38 * len(table) + 1.0), layout="constrained")
    places, (missed, met) = np.arange(len(table)), (sns.color_palette()[1], sns.color_palette()[0])
    for place, (_, row), reached in zip(places, table.iterrows(), is_met(table), strict=True):
        axes.plot([row["value_min"], row["value_max"]], [place, place], color="0.5", linewidth=1.5, zorder=1)
        axes.plot(row["value_median"], place, "o" if reached else "X", color=met if reached else missed, zorder=2)
        axes.plot(row["goal"], place, "|", color="0.2", markersize=14)
    axes.axvline(1, color="0.5", linestyle="--", linewidth=1)
    axes.set(
        xscale="log",
        ylim=(-0.6, len(table) - 0.4),
        yticks=places,
        yticklabels=labels(table),
        xlabel="seconds of the plain path / seconds of this project (1)",
    )
    axes.grid(visible=False, axis="y")
    plt.close(figure)
    return figure


def page_values(frame: pd.DataFrame) -> dict[str, str]:
    """Values for the text of the page: how many rows reach their goal, which do not, and the setting."""
    with_goal = frame[frame["goal"].notna()]
    met = is_met(with_goal)
    shared = {name: "; ".join(dict.fromkeys(frame[name].astype(str))) for name in ("device", "threads", "versions", "commit")}
    missed = ", ".join(labels(with_goal)[~met]) or "none"
    return {"rows": str(len(with_goal)), "met": str(int(met.sum())), "missed": missed, **shared}


def provenance(frame: pd.DataFrame) -> pd.DataFrame:
    """Provenance of the rows: a line for each machine, setting and commit."""
    return frame.groupby(["device", "threads", "versions", "commit"], sort=False)["row"].agg(", ".join).rename("rows").reset_index()


def _against(row: pd.Series) -> str:
    scaled = f", {row['plain_share']:.2g} of it run and scaled" if row["plain_share"] != 1 else ""
    return f"{row['against']}{scaled}"


def _compared(row: pd.Series) -> str:
    unit = "x" if row["compared"] == GAIN else " s more"
    value, low, high = (f"{row[f'value_{name}']:.3g}" for name in ("median", "min", "max"))
    return f"{value}{unit} ({low} to {high}), {row['pairs']}"


def _goal(row: pd.Series) -> str:
    if np.isnan(row["goal"]):
        return "none"
    text = f"≥ {row['goal']:g}x" if row["compared"] == GAIN else f"≤ {row['goal']:g} s more"
    return f"{text}, {'met' if is_met(row.to_frame().T).item() else 'missed'}"


def _answers(row: pd.Series) -> str:
    sign = "≥" if AGREEMENTS[row["agreement"]] == "least" else "≤"
    return f"{row['agreement']} {row['agreement_value']:.3g} ({sign} {row['agreement_limit']:g})"
