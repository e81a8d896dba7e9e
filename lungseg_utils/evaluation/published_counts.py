"""Voxel counts that others published for single scans: our Dice is checked against a stranger's, and methods are compared scan by scan.

nnU-Net writes them for every validation scan (`summary.json`, also published as `validation_summary.json`): voxels that are true positive,
false positive and false negative, on the grid of the file. `data/published_counts.csv` holds those that were copied.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from ..core import files, project
from ..types import InputError, Row
from . import comparisons, intervals, tables
from .protocol_counts import Counts

FILE = Path("data") / "published_counts.csv"
COUNTS = ("tp", "fp", "fn")
COLUMNS = ("weights", "dataset", "case_id", *COUNTS, "dsc", "source", "note")
ROUNDING = 5e-5  # published numbers have four digits
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


def read(path: Path | None = None) -> pd.DataFrame:
    """The copied counts (columns `COLUMNS`); InputError for other columns, or a Dice that its own counts do not give."""
    path = Path(path) if path else project.project_root() / FILE
    frame = files.read_csv(path, "Restore it from the repository.", keep_default_na=False)
    if tuple(frame.columns) != COLUMNS:
        raise InputError(path, f"its columns are {list(frame.columns)}", f"Expected {list(COLUMNS)}.")
    return _checked(frame, path)


def read_summary(path: Path, label: str = "1") -> pd.DataFrame:
    """Counts of each scan in a summary of nnU-Net's evaluation.

    Args:
        path: summary.json, as nnunetv2 writes it beside validation masks.
        label: of the tumor, as a key of the file.

    Returns:
        One row per scan, in the order of the file: case_id, tp, fp, fn, dsc (as the file says; NaN if both masks are empty).

    Raises:
        InputError: The file is no such summary, lacks the label, or holds a Dice that its own counts do not give.
    """
    path = Path(path)
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["metric_per_case"]
        frame = pd.DataFrame([_of_case(entry, label) for entry in listed], columns=["case_id", *COUNTS, "dsc"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"no summary of nnU-Net with the label {label} ({type(error).__name__}: {error})"
        raise InputError(path, problem, "Give the summary.json of a validation by nnunetv2.") from error
    if frame.empty:
        raise InputError(path, "it holds no case", "Give the summary.json of a validation by nnunetv2.")
    return _checked(frame, path)


def _of_case(entry: Row, label: str) -> Row:
    found, name = entry["metrics"][label], Path(entry["prediction_file"].replace("\\", "/")).name
    name = next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)
    return {"case_id": name, "tp": int(found["TP"]), "fp": int(found["FP"]), "fn": int(found["FN"]), "dsc": float(found["Dice"])}


def _checked(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    if frame["case_id"].duplicated().any() and "weights" not in frame:
        twice = frame["case_id"][frame["case_id"].duplicated()].iloc[0]
        raise InputError(path, f"{twice} stands there twice", "Give the summary of one validation.")
    for row, own in zip(frame.itertuples(), dsc_of(frame), strict=True):
        if min(row.tp, row.fp, row.fn) < 0 or abs(own - row.dsc) > ROUNDING:
            problem = f"{row.case_id}: {row.tp} true, {row.fp} false positive and {row.fn} false negative voxels are no Dice of {row.dsc}"
            raise InputError(path, problem, "Copy the row again.")
    return frame


def dsc_of(counts: pd.DataFrame) -> list[float]:
    """This project's Dice of each row of counts; NaN where both masks are empty."""
    return [Counts(tp + fn, tp + fp, tp).dsc for tp, fp, fn in counts[list(COUNTS)].itertuples(index=False)]


def pooled_dsc(counts: pd.DataFrame) -> float:
    """The Dice of all voxels together, in which large tumors count most; of whole scans, not of patches as in nnU-Net's training."""
    tp, fp, fn = (int(counts[name].sum()) for name in COUNTS)
    return Counts(tp + fn, tp + fp, tp).dsc


def compare_with_published(
    results: Path | str, counts: pd.DataFrame, dataset: str, prompt: str = "none", seed: int = 0
) -> comparisons.Contrast:
    """Paired comparison of a result table with published counts: mean Dice of ours minus theirs over the scans that both have.

    Args:
        results: A result table (results.csv) of an experiment, or several joined.
        counts: From `read_summary`, or rows of `read` of one file of weights.
        dataset: Name of the test data set, in which a case is a patient.
        prompt: Prompt setting of ours.
        seed: Of the resampling.

    Returns:
        The difference with its 95 % interval, p, n and the method; below ten scans without interval and p.

    Raises:
        InputError: No scan is in both.
    """
    rows = tables.asked_rows(tables.case_values(tables.read_results(Path(results)), "dsc"), dataset, prompt)
    ours = intervals.patient_means(rows) if len(rows) else pd.Series(dtype=float)
    theirs = pd.Series(dsc_of(counts), index=counts["case_id"].to_list())
    both = [name for name in ours.index if name in theirs.index]
    if not both:
        listed = ", ".join(theirs.index[:5])
        raise InputError(
            results, f"holds no scan of {dataset} that was counted there ({listed} ...)", "Give the fold that tests these scans."
        )
    return comparisons.compare_paired(f"{results} - published", ours[both], theirs[both], seed)
