"""Real cases that cannot be used: found by reading every one of them, kept with their reasons, and left out only if they are listed.

`data/exclusions/DATASET.csv` is committed like a split. A labelled case that cannot be read and is not listed there stops an experiment, so
that the number of patients never changes unseen; cases without any reference are counted under Patient flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from . import config, registry, tables
from .types import InputError

COLUMNS = ["dataset", "case_id", "reason"]


def path(dataset: str) -> Path:
    """Where the table of a data set lies."""
    return config.project_root() / "data" / "exclusions" / f"{dataset}.csv"


def find(dataset: str, root: Path) -> pd.DataFrame:
    """Every case below `root` that cannot be used, with the reason; reads all of the data."""
    module = registry.plugin("datasets", dataset)
    pairs = module.exclusions(root) if hasattr(module, "exclusions") else _refused(module, root)
    return pd.DataFrame([(dataset, case_id, reason) for case_id, reason in pairs], columns=COLUMNS)


def _refused(module: object, root: Path) -> Iterator[tuple[str, str]]:
    for case in module.cases(root):
        try:
            module.load(case)
        except InputError as error:
            yield case.case_id, error.problem


def write(dataset: str, root: Path) -> pd.DataFrame:
    """Find, and keep with the project, also if there is none; returns the table."""
    found = find(dataset, root)
    tables.write(found, path(dataset))
    return found


def read(datasets: Iterable[str]) -> pd.DataFrame:
    """What is listed for these data sets, one row a case; nothing for a data set without a table."""
    frames = [_read(path(name)) for name in datasets if path(name).is_file()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS, dtype=str)


def _read(table: Path) -> pd.DataFrame:
    frame = tables.read_csv(table, f"Make it again: python -m lungseg_utils exclusions {table.stem}.", dtype=str, keep_default_na=False)
    if list(frame.columns) != COLUMNS or (frame == "").any(axis=None) or frame["case_id"].duplicated().any():
        remedy = f"Make it again: python -m lungseg_utils exclusions {table.stem}."
        raise InputError(table, f"not a table of {', '.join(COLUMNS)} with one row a case and a reason in each", remedy)
    return frame
