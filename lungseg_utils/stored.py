"""The small tables of larger runs that are part of the project: data/results/<profile>/<experiment>/.

A run of hours is done once, by hand. What its pages need is kept under the names that the experiment's own folder uses, so that a
stored experiment opens like one that was run here; weights and predictions are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from . import config, metrics, tables

METRICS = (
    *("dsc", "nsd_3mm", "hd95", "lesion_sensitivity", "false_positive_volume", "reference_volume", "prediction_volume", "lesion_dsc"),
    metrics.BEST_OF_DRAWS,
)
COSTS = ("actions",)
HISTORY = ("seconds",)  # of training; losses and validations along the way are for the page of the run itself
DIGITS = 6  # of a value; a table of full precision is five times as large


def folder(profile: str, experiment: str = "") -> Path:
    """Where the tables of a profile, or of one of its experiments, are kept."""
    return config.project_root() / "data" / "results" / profile / experiment


def holds(profile: str, experiment: str) -> bool:
    """Whether an experiment is stored."""
    return (folder(profile, experiment) / "experiment.json").is_file()


def write(
    profile: str, experiment: str, results: pd.DataFrame, costs: pd.DataFrame, history: pd.DataFrame, provenance: Mapping[str, Any]
) -> None:
    """Keep the values of `METRICS`, the costs of `COSTS`, the seconds of training, and what produced them; of its cases the failed ones."""
    place = folder(profile, experiment)
    tables.write(results[results["metric"].isin(METRICS)], place / "results.csv.gz", DIGITS)
    tables.write(costs[costs["quantity"].isin(COSTS)], place / "costs.csv.gz", DIGITS)
    tables.write(history[history["quantity"].isin(HISTORY)], place / "history.csv", DIGITS)
    failed = [case for case in provenance["cases"] if case["failure"]]
    tables.write_json({**provenance, "cases": failed}, place / "experiment.json")
