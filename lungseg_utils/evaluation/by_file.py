"""Score masks and compare result tables by their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..data import nifti
from ..types import InputError, Mask
from . import comparisons, intervals, metrics, tables
from .scoring import cut_ends


def score_masks(
    reference: Mask | np.ndarray | Path | str, prediction: Mask | np.ndarray | Path | str, spacing_mm: Sequence[float] | None = None
) -> pd.DataFrame:
    """Score one predicted mask against its reference.

    Args:
        reference, prediction: NIfTI files, masks, or bool arrays (x, y, z) in RAS+ order, on one grid.
        spacing_mm: Size of a voxel along x, y, z; for arrays.

    Returns:
        One row per metric: metric, value, unit.

    Raises:
        InputError: A file is no mask, the grids differ, or arrays come without a spacing.
    """
    known = _as_mask(reference, spacing_mm, None)
    found = _as_mask(prediction, spacing_mm, known)
    values = metrics.score_case(known, found, open_ends=cut_ends(known))
    return pd.DataFrame([{"metric": name, "value": value, "unit": metrics.UNITS[name]} for name, value in values.items()])


def _as_mask(given: Mask | np.ndarray | Path | str, spacing_mm: Sequence[float] | None, like: Mask | None) -> Mask:
    if isinstance(given, Mask):
        return given
    if isinstance(given, np.ndarray):
        if spacing_mm is None:
            raise InputError("score", "an array has no size of a voxel", "Give spacing_mm, e.g. spacing_mm=(0.8, 0.8, 2.5).")
        return Mask(given.astype(bool), np.diag([*spacing_mm, 1.0]))
    return nifti.read_mask(Path(given), like, allow_empty=True)


def compare_tables(a: Path | str, b: Path | str, metric: str, dataset: str, prompt: str, seed: int = 0) -> comparisons.Contrast:
    """Paired comparison of two result tables (results.csv): mean of a minus mean of b over the patients that both have.

    Args:
        a, b: Files of result tables.
        metric: Name of a case-level metric, e.g. "dsc".
        dataset: Name of the test data set.
        prompt: Prompt setting, e.g. "box_one_slice"; prompts with jitter are left out.
        seed: Of the resampling.

    Returns:
        The difference with its 95 % interval, p, n and the method.

    Raises:
        InputError: A file is no result table, or holds no such values.
    """
    left, right = (_by_patient(Path(path), metric, dataset, prompt) for path in (a, b))
    return comparisons.compare_paired(f"{a} - {b}", left, right, seed)


def _by_patient(path: Path, metric: str, dataset: str, prompt: str) -> pd.Series:
    rows = tables.case_values(tables.read_results(path), metric)
    chosen = tables.asked_rows(rows, dataset, prompt)
    if chosen.empty:
        known = rows[["test_dataset", "prompter"]].drop_duplicates().itertuples(index=False)
        remedy = f"It has: {'; '.join(f'{d}, {p}' for d, p in known) or f'no values of {metric}'}."
        raise InputError(path, f"holds no {metric} on {dataset} with the prompt setting {prompt}", remedy)
    return intervals.patient_means(chosen)
