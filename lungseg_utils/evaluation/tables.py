"""The tables of results and costs: schema, atomic writing, strict reading, completeness.

`results` is in long form: one row per value. Every planned case has its rows, also if the model failed, so a missing row is an error and
never a smaller n. `costs` is a separate table, because seconds differ from run to run and results must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.files import read_csv
from ..prompts.sources import ANOTHER_READER, own_source
from ..types import InputError, Record, Row
from . import metrics
from .judges import OTHERS, READER

RESULT_COLUMNS: Mapping[str, type] = {
    "experiment": str,
    "test_dataset": str,
    "prompter": str,
    "source": str,  # whose outlines the prompts were drawn from, see `prompts.sources`
    "jitter": float,
    "patient_id": str,
    "case_id": str,
    "lesion_id": str,  # "" for values of the whole case
    "reader": str,
    "metric": str,
    "value": float,  # NaN only where the status is "undefined"
    "unit": str,
    "status": str,
}
COST_COLUMNS: Mapping[str, type] = {
    "experiment": str,
    "test_dataset": str,
    "prompter": str,
    "source": str,
    "jitter": float,
    "case_id": str,
    "quantity": str,
    "value": float,
    "unit": str,
}
RESULT_KEY = ("experiment", "test_dataset", "prompter", "source", "jitter", "case_id", "lesion_id", "reader", "metric")
# scored: from a prediction; failed: the model gave none, values are those of an empty prediction; undefined: no value
# exists (protocol: empty reference); not_applicable: taken out of every denominator by the plan, before any result
STATUSES = ("scored", "failed", "undefined", "not_applicable")


def read_results(path: Path) -> pd.DataFrame:
    """Read and validate a results table; InputError names the file and its first fault."""
    return validate(_read(path, RESULT_COLUMNS), path)


def read_costs(path: Path) -> pd.DataFrame:
    """Read a costs table."""
    return _read(path, COST_COLUMNS)


def _read(path: Path, columns: Mapping[str, type]) -> pd.DataFrame:
    options = {"dtype": dict(columns), "keep_default_na": False, "na_values": {"value": ["nan"]}}
    frame = _with_source(read_csv(path, "Run its experiment; if it is there, delete it first.", **options), columns)
    if list(frame.columns) != list(columns):
        raise InputError(path, f"its columns are {list(frame.columns)}", f"Expected {list(columns)}.")
    return frame


def _with_source(frame: pd.DataFrame, columns: Mapping[str, type]) -> pd.DataFrame:
    """Tables that were written before prompts had several sources have no column for it: each prompt setting had its own."""
    if "source" in frame or "prompter" not in frame:
        return frame
    own = {name: own_source(name) for name in frame["prompter"].unique()}
    frame = frame.assign(source=frame["prompter"].map(own).astype(str))
    return frame[list(columns)] if set(frame.columns) == set(columns) else frame


def validate(frame: pd.DataFrame, where: object = "results") -> pd.DataFrame:
    """Return `frame` if it obeys the schema: known metrics with their units, known statuses, one row per key."""
    units = {**metrics.UNITS, **metrics.LESION_UNITS, metrics.BEST_OF_DRAWS: metrics.UNITS["dsc"]}
    remedy = "Delete the table and run its experiment again."
    unknown = sorted(set(frame["metric"]) - set(units))
    if unknown:
        raise InputError(where, f"unknown metrics {unknown}", remedy)
    if (frame["unit"] != frame["metric"].map(units)).any():
        raise InputError(where, "a unit does not belong to its metric", remedy)
    if not set(frame["status"]) <= set(STATUSES):
        raise InputError(where, f"unknown statuses {sorted(set(frame['status']) - set(STATUSES))}", remedy)
    if (frame["value"].isna() != frame["status"].isin(["undefined", "not_applicable"])).any():
        raise InputError(where, "a value is missing without being undefined, or undefined with a value", remedy)
    doubled = frame.duplicated(list(RESULT_KEY))
    if doubled.any():
        raise InputError(where, f"a doubled row: {frame.loc[doubled, list(RESULT_KEY)].iloc[0].to_dict()}", remedy)
    return frame


def require_complete(frame: pd.DataFrame, planned: Iterable[Row], where: object = "results") -> pd.DataFrame:
    """Return `frame` if every planned case (experiment, test_dataset, prompter, source, jitter, case_id) has all case-level metrics."""
    key = ["experiment", "test_dataset", "prompter", "source", "jitter", "case_id"]
    whole = frame[(frame["lesion_id"] == "") & frame["metric"].isin(metrics.UNITS)]
    counts = whole.groupby(key)["metric"].nunique().to_dict()
    expected = {tuple(row[name] for name in key) for row in planned}
    missing = sorted(expected - set(counts))
    short = sorted(k for k, n in counts.items() if n < len(metrics.UNITS))
    extra = sorted(set(counts) - expected)
    for problem, keys in (("no rows for", missing), ("too few metrics for", short), ("unplanned rows for", extra)):
        if keys:
            raise InputError(where, f"{problem} {len(keys)} case(s), first {dict(zip(key, keys[0], strict=True))}", "Run it again.")
    return frame


def result_rows(
    shared: Row, reader: str, case_values: Mapping[str, float], lesion_values: Mapping[int, Mapping[str, float]], failed: bool
) -> list[Record]:
    """Rows of one scored case: its own metrics, then those of each reference lesion."""
    rows = [_row(shared, "", reader, name, value, metrics.UNITS[name], failed) for name, value in case_values.items()]
    for lesion, values in lesion_values.items():
        rows += [_row(shared, str(lesion), reader, name, value, metrics.LESION_UNITS[name], failed) for name, value in values.items()]
    return rows


def mean_rows(draws: Sequence[Sequence[Row]]) -> list[Record]:
    """Average the rows of one case over draws that differ only in their values.

    A value that is undefined in any draw is undefined; infinite in any, infinite; one failed draw makes the row failed.
    """
    if len(draws) == 1:
        return [dict(row) for row in draws[0]]
    grouped: dict[tuple[tuple[str, object], ...], list[Mapping[str, Any]]] = {}
    for row in (row for draw in draws for row in draw):
        grouped.setdefault(tuple((k, v) for k, v in row.items() if k not in ("value", "status")), []).append(row)
    return [_mean_row(rows) for rows in grouped.values()]


def mean_runs(runs: Sequence[pd.DataFrame], experiment: str) -> pd.DataFrame:
    """Average the results of several runs case by case (see `mean_rows`), as one results table under the name `experiment`.

    A case that some runs did not predict is averaged over the others.
    """
    frame = pd.concat(runs, ignore_index=True).assign(experiment=experiment)
    keys = [name for name in RESULT_COLUMNS if name not in ("value", "status")]
    groups = frame.assign(failed=frame["status"] == "failed", defined=frame["value"].notna()).groupby(keys, sort=False)
    kept = {"value": "mean", "status": "first", "failed": "any", "defined": "all"}
    mean = groups.agg(kept).reset_index()
    mean["value"] = mean["value"].where(mean["defined"])
    mean["status"] = mean["status"].where(~mean["failed"], "failed").where(mean["defined"], "undefined")
    return mean[list(RESULT_COLUMNS)]


def best_rows(draws: Sequence[Sequence[Row]]) -> list[Record]:
    """The best DSC of several draws of one case, for the page "Protocol trap". Someone who draws once does not get it."""
    best: dict[str, dict[str, Any]] = {}
    for row in (row for draw in draws if len(draws) > 1 for row in draw if row["metric"] == "dsc" and row["lesion_id"] == ""):
        if row["reader"] not in best or row["value"] > best[row["reader"]]["value"]:
            best[row["reader"]] = {**row, "metric": metrics.BEST_OF_DRAWS}
    return list(best.values())


def _mean_row(rows: Sequence[Row]) -> Record:
    mean = dict(rows[0]) | {"value": float(np.mean([row["value"] for row in rows]))}
    if "status" in mean:
        failed = any(row["status"] == "failed" for row in rows)
        mean["status"] = "undefined" if np.isnan(mean["value"]) else "failed" if failed else "scored"
    return mean


def _row(shared: Row, lesion: str, reader: str, metric: str, value: float, unit: str, failed: bool) -> Record:
    status = "undefined" if np.isnan(value) else "failed" if failed else "scored"
    return {**shared, "lesion_id": lesion, "reader": reader, "metric": metric, "value": float(value), "unit": unit, "status": status}


def results_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Turn rows into a validated results table with canonical order of columns and rows."""
    frame = _with_source(pd.DataFrame(list(rows)), RESULT_COLUMNS)
    frame = frame.reindex(columns=list(RESULT_COLUMNS)).astype(dict(RESULT_COLUMNS))
    return validate(frame.sort_values(list(RESULT_KEY), kind="stable", ignore_index=True))


def costs_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Turn rows into a costs table."""
    frame = _with_source(pd.DataFrame(list(rows)), COST_COLUMNS)
    return frame.reindex(columns=list(COST_COLUMNS)).astype(dict(COST_COLUMNS))


def require_plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` if no prompt was jittered and none drawn by another reader: averaging over those and others is meaningless."""
    if (frame["jitter"] != 0).any():
        raise InputError("results", "rows of jittered prompts stand among the others", "Take RunResult.asked(), or one jitter at a time.")
    if (frame["source"] == ANOTHER_READER).any():
        raise InputError("results", "rows of another reader's prompts stand among the others", "Take RunResult.asked(), or one source.")
    return frame


def plain_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows without errors in drawing whose prompts come from the own source of their setting."""
    return frame[(frame["jitter"] == 0) & (frame["source"] != ANOTHER_READER)]


def of_reference(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows that the data set's own reference judges, without those of single readers."""
    return frame[~frame["reader"].str.startswith(READER)]


def of_judges(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the judges of methods: the reference, or at least two of the other readers where a reader draws the prompts."""
    by_reader = frame["source"] == ANOTHER_READER
    return frame[(~by_reader & ~frame["reader"].str.startswith(READER)) | (by_reader & (frame["reader"] == OTHERS))]


def asked_rows(frame: pd.DataFrame, dataset: str, prompter: str, jitter: float = 0.0, source: str | None = None) -> pd.DataFrame:
    """Rows of one test data set and prompt setting; by default without errors in drawing, from the setting's own source of prompts."""
    rows = frame[(frame["test_dataset"] == dataset) & (frame["prompter"] == prompter) & (frame["jitter"] == jitter)]
    return rows[rows["source"] == source] if source else rows[rows["source"] != ANOTHER_READER]


def case_values(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Defined case-level values of one metric, one row per case, reader and evaluation."""
    rows = frame[(frame["metric"] == metric) & (frame["lesion_id"] == "") & ~frame["status"].isin(["undefined", "not_applicable"])]
    return rows.reset_index(drop=True)
