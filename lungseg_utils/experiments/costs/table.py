"""The table of costs at full size: columns, units, validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ...core import files
from ...types import InputError, Row
from .subjects import subjects

COLUMNS: Mapping[str, type] = {
    "model": str,  # name of a subject
    "configuration": str,
    "input": str,  # what the network takes in one pass
    "stage": str,
    "quantity": str,
    "value": float,
    "unit": str,
    "kind": str,
    "repeats": int,  # timed runs behind a measured or extrapolated value; 0 where nothing was timed
    "device": str,
    "threads": int,
    "precision": str,
    "torch": str,
    "commit": str,
}
KEY = ("model", "stage", "quantity", "device", "threads", "precision")
SETTING = ("device", "threads", "precision")
KINDS = ("measured", "counted", "extrapolated")
# network: the network itself; input: one pass of an automatic one; encode, prompt (on an encoded slice), cold (both) and track (a slice
# found through SAM 2's full memory): one slice each; volume_PROMPTER: the whole reference volume
STAGES = ("network", "input", "encode", "prompt", "cold", "track")
VOLUME = "volume_"
MIRRORED = "none_mirrored"  # nnU-Net's own prediction: the mean over all mirror images
UNITS: Mapping[str, str] = {
    "parameters": "1",
    "parameters_trained": "1",
    "flops": "FLOP",
    "seconds": "s",  # median of the repeats
    "seconds_min": "s",
    "seconds_max": "s",
    "peak_memory": "MB",
    "slices": "1",  # that the network looks at
    "prompts": "1",  # that a person gives
}


def read(path: Path) -> pd.DataFrame:
    """Read and validate a table of costs; InputError names the file and its first fault."""
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "the table does not exist", "Run: python -m lungseg_utils efficiency")
    try:
        frame = pd.read_csv(path, dtype=dict(COLUMNS), keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(path, f"not a valid table ({error})", "Delete it and measure again.") from error
    return validate(frame, path)


def validate(frame: pd.DataFrame, where: object = "costs") -> pd.DataFrame:
    """Return `frame` if it obeys the schema: columns, stages, quantities with their units, kinds, one row per key."""
    if list(frame.columns) != list(COLUMNS):
        raise InputError(where, f"its columns are {list(frame.columns)}", f"Expected {list(COLUMNS)}.")
    remedy = "Delete the table and measure again."
    for column, known in (("quantity", set(UNITS)), ("kind", set(KINDS))):
        if unknown := sorted(set(frame[column]) - known):
            raise InputError(where, f"unknown {column} {unknown[0]!r}", remedy)
    if unknown := sorted(s for s in set(frame["stage"]) - set(STAGES) if not s.startswith(VOLUME)):
        raise InputError(where, f"unknown stage {unknown[0]!r}", remedy)
    if (frame["unit"] != frame["quantity"].map(UNITS)).any():
        raise InputError(where, "a unit does not belong to its quantity", remedy)
    if not (np.isfinite(frame["value"]) & (frame["value"] >= 0)).all():
        raise InputError(where, "a value is negative or not finite", remedy)
    if frame.duplicated(list(KEY)).any():
        raise InputError(where, "a doubled row", remedy)
    return frame


def one_setting(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one device, number of threads and precision, if there are several: that with the most models (then the latest)."""
    groups = [part for _, part in frame.groupby(list(SETTING), sort=False)]
    return max(reversed(groups), key=lambda part: part["model"].nunique()).reset_index(drop=True)


def merge(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """`old` with the rows of the same models and setting replaced by `new`, in the order of `subjects`."""
    order = {subject.name: n for n, subject in enumerate(subjects())}
    merged = files.replace_rows(old, new, ["model", *SETTING])
    return merged.sort_values("model", key=lambda names: names.map(lambda n: order.get(n, len(order))), kind="stable", ignore_index=True)


def rows_frame(rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(dict(COLUMNS))
