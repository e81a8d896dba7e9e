"""The three tables (experiments, results, costs): schema, atomic writing, strict reading, completeness, provenance.

`results` is in long form: one row, one value. Every planned case has its rows, also when the model failed, so that a
missing row is an error and never a smaller n. `costs` stands apart, since seconds differ from run to run and results must not.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import io, metrics
from .types import InputError

RESULT_COLUMNS: Mapping[str, type] = {
    "experiment": str,
    "test_dataset": str,
    "prompter": str,
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
    "jitter": float,
    "case_id": str,
    "quantity": str,
    "value": float,
    "unit": str,
}
RESULT_KEY = ("experiment", "test_dataset", "prompter", "jitter", "case_id", "lesion_id", "reader", "metric")
# scored: from a prediction; failed: the model gave none, values are those of an empty prediction; undefined: no value
# exists (protocol: empty reference); not_applicable: taken out of every denominator by the plan, before any result
STATUSES = ("scored", "failed", "undefined", "not_applicable")
_DEPENDENCIES = ("torch", "monai", "numpy", "scipy", "nibabel", "pydicom", "pandas")


def write(frame: pd.DataFrame, path: Path, digits: int = 17) -> None:
    """Write a table as CSV, by default with full precision; zipped if its name ends so. The file appears whole or not at all."""
    text = frame.to_csv(index=False, float_format=f"%.{digits}g", na_rep="nan").encode()
    with io.atomic_path(path) as temporary:  # zipped without a date or a name, so that equal tables are equal files
        temporary.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def read_results(path: Path) -> pd.DataFrame:
    """Read and validate a results table; InputError names the file and its first fault."""
    return validate(_read(path, RESULT_COLUMNS), path)


def read_costs(path: Path) -> pd.DataFrame:
    """Read a costs table."""
    return _read(path, COST_COLUMNS)


def read_csv(path: Path, remedy: str, **options: Any) -> pd.DataFrame:
    """Read a CSV file with pandas; InputError names a file that is not there, or no table, and says `remedy`."""
    if not Path(path).is_file():
        raise InputError(path, "the table does not exist", remedy)
    try:
        return pd.read_csv(path, **options)
    except (ValueError, TypeError, OverflowError, EOFError, OSError, zlib.error) as error:  # pandas' own errors are ValueErrors
        raise InputError(path, f"not a valid table ({error})", remedy) from error


def _read(path: Path, columns: Mapping[str, type]) -> pd.DataFrame:
    options = {"dtype": dict(columns), "keep_default_na": False, "na_values": {"value": ["nan"]}}
    frame = read_csv(path, "Run its experiment; if it is there, delete it first.", **options)
    if list(frame.columns) != list(columns):
        raise InputError(path, f"its columns are {list(frame.columns)}", f"Expected {list(columns)}.")
    return frame


def validate(frame: pd.DataFrame, where: object = "results") -> pd.DataFrame:
    """Return `frame` if it obeys the schema: known metrics with their units, known statuses, one row per key."""
    units = metrics.UNITS | metrics.LESION_UNITS | {metrics.BEST_OF_DRAWS: metrics.UNITS["dsc"]}
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


def require_complete(frame: pd.DataFrame, planned: Iterable[Mapping[str, Any]], where: object = "results") -> pd.DataFrame:
    """Return `frame` if every planned case (experiment, test_dataset, prompter, jitter, case_id) has all case-level metrics."""
    key = ["experiment", "test_dataset", "prompter", "jitter", "case_id"]
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
    shared: Mapping[str, Any], reader: str, case_values: Mapping[str, float], lesion_values: Mapping[int, Mapping[str, float]], failed: bool
) -> list[dict[str, Any]]:
    """Rows of one scored case: its own metrics, then those of each reference lesion."""
    rows = [_row(shared, "", reader, name, value, metrics.UNITS[name], failed) for name, value in case_values.items()]
    for lesion, values in lesion_values.items():
        rows += [_row(shared, str(lesion), reader, name, value, metrics.LESION_UNITS[name], failed) for name, value in values.items()]
    return rows


def mean_rows(draws: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of one case, averaged over draws that differ in their values only.

    A value that is undefined in any draw is undefined; infinite in any, infinite; one failed draw makes the row failed.
    """
    if len(draws) == 1:
        return [dict(row) for row in draws[0]]
    grouped: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in (row for draw in draws for row in draw):
        grouped.setdefault(tuple((k, v) for k, v in row.items() if k not in ("value", "status")), []).append(row)
    return [_mean_row(rows) for rows in grouped.values()]


def mean_runs(runs: Sequence[pd.DataFrame], experiment: str) -> pd.DataFrame:
    """One results table under the name `experiment` from those of several runs: values of one case are averaged as by `mean_rows`.

    A case that some runs were not asked about is averaged over the others.
    """
    frame = pd.concat(runs, ignore_index=True).assign(experiment=experiment)
    keys = [name for name in RESULT_COLUMNS if name not in ("value", "status")]
    groups = frame.assign(failed=frame["status"] == "failed", defined=frame["value"].notna()).groupby(keys, sort=False)
    kept = {"value": "mean", "status": "first", "failed": "any", "defined": "all"}
    mean = groups.agg(kept).reset_index()
    mean["value"] = mean["value"].where(mean["defined"])
    mean["status"] = mean["status"].where(~mean["failed"], "failed").where(mean["defined"], "undefined")
    return mean[list(RESULT_COLUMNS)]


def best_rows(draws: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The best DSC that any of several draws of one case reached, which nobody who draws once gets: for the protocol trap."""
    best: dict[str, dict[str, Any]] = {}
    for row in (row for draw in draws if len(draws) > 1 for row in draw if row["metric"] == "dsc" and row["lesion_id"] == ""):
        if row["reader"] not in best or row["value"] > best[row["reader"]]["value"]:
            best[row["reader"]] = {**row, "metric": metrics.BEST_OF_DRAWS}
    return list(best.values())


def _mean_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mean = dict(rows[0]) | {"value": float(np.mean([row["value"] for row in rows]))}
    if "status" in mean:
        failed = any(row["status"] == "failed" for row in rows)
        mean["status"] = "undefined" if np.isnan(mean["value"]) else "failed" if failed else "scored"
    return mean


def _row(shared: Mapping[str, Any], lesion: str, reader: str, metric: str, value: float, unit: str, failed: bool) -> dict[str, Any]:
    status = "undefined" if np.isnan(value) else "failed" if failed else "scored"
    return {**shared, "lesion_id": lesion, "reader": reader, "metric": metric, "value": float(value), "unit": unit, "status": status}


def results_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows to a validated table in canonical column and row order."""
    frame = pd.DataFrame(list(rows), columns=list(RESULT_COLUMNS)).astype(dict(RESULT_COLUMNS))
    return validate(frame.sort_values(list(RESULT_KEY), kind="stable", ignore_index=True))


def costs_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows to a costs table."""
    return pd.DataFrame(list(rows), columns=list(COST_COLUMNS)).astype(dict(COST_COLUMNS))


def require_plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` if it holds no jittered prompts: a mean over ways of asking would be a mean over nothing that anybody asked."""
    if (frame["jitter"] != 0).any():
        raise InputError("results", "rows of jittered prompts stand among the others", "Take RunResult.asked(), or one jitter at a time.")
    return frame


def case_values(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Defined case-level values of one metric, one row per case, reader and evaluation."""
    rows = frame[(frame["metric"] == metric) & (frame["lesion_id"] == "") & ~frame["status"].isin(["undefined", "not_applicable"])]
    return rows.reset_index(drop=True)


def sha256_of_files(paths: Iterable[Path], root: Path) -> str:
    """One hash over names (relative to `root`) and contents of files, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def sha256_of_weights(path: Path) -> str:
    """One hash over name and contents of the weights that a training ends with, "none" if there was none."""
    return sha256_of_files([path], path.parent) if path.is_file() else "none"


def sha256_of_file(path: Path) -> str:
    """Hash of one file's contents, read piece by piece."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """Hash of a JSON-like value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def commit(root: Path, besides: Path | None = None) -> str:
    """The checked-out commit with "+" if files differ from it; LUNGSEG_COMMIT for a copy without git's own files; else "unknown".

    A change of the file `besides` does not count: a table that is being written would make its own later rows those of a changed commit.
    """
    if named := os.environ.get("LUNGSEG_COMMIT"):
        return named
    besides = [f":(exclude){besides.resolve().relative_to(root.resolve())}"] if besides and _is_inside(besides, root) else []
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        status = ["git", "status", "--porcelain", "--", ".", *besides]
        status = subprocess.run(status, cwd=root, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def replace_rows(old: pd.DataFrame, new: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """`new` after those rows of `old` whose values of `key` it does not have."""
    key = list(key)
    replaced = pd.MultiIndex.from_frame(old[key]).isin(pd.MultiIndex.from_frame(new[key]))
    return pd.concat([old[~replaced], new], ignore_index=True)


def environment() -> dict[str, str]:
    """Interpreter, operating system and versions of the packages that can change a number."""
    versions = {name: metadata.version(name) for name in _DEPENDENCIES}
    return {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}", **versions}


def write_json(value: Any, path: Path) -> None:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.atomic_path(path) as temporary:
        Path(temporary).write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; empty if there is no such file."""
    return json.loads(path.read_text()) if path.is_file() else {}
