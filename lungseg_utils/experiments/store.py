"""The result tables that are stored with the project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..core import files, project
from ..evaluation import metrics
from ..types import Experiment


def results_folder(experiment: Experiment) -> Path:
    """Where everything that an experiment leaves behind here is written."""
    return project.project_root() / "results" / experiment.profile / experiment.name


METRICS = (*(metric.name for metric in metrics.shown_in(metrics.STORED)), metrics.BEST_OF_DRAWS)
COSTS = ("actions",)
HISTORY = ("seconds",)  # of training; losses and validations along the way are for the page of the run itself
DIGITS = 6  # of a value; a table of full precision is five times as large


def folder(profile: str, experiment: str = "") -> Path:
    """Where the tables of a profile, or of one of its experiments, are kept."""
    return project.project_root() / "data" / "results" / profile / experiment


def holds(profile: str, experiment: str) -> bool:
    """Whether an experiment is stored."""
    return (folder(profile, experiment) / "experiment.json").is_file()


def write(
    profile: str, experiment: str, results: pd.DataFrame, costs: pd.DataFrame, history: pd.DataFrame, provenance: Mapping[str, Any]
) -> None:
    """Keep the values of `METRICS`, the costs of `COSTS`, the seconds of training, and what produced them; of its cases the failed ones."""
    place = folder(profile, experiment)
    files.write(results[results["metric"].isin(METRICS)], place / "results.csv.gz", DIGITS)
    files.write(costs[costs["quantity"].isin(COSTS)], place / "costs.csv.gz", DIGITS)
    files.write(history[history["quantity"].isin(HISTORY)], place / "history.csv", DIGITS)
    failed = [case for case in provenance["cases"] if case["failure"]]
    files.write_json({**provenance, "cases": failed}, place / "experiment.json")
