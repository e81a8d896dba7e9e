"""Page "Loss ablation": results by training loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..evaluation import intervals
from ..types import Row
from .labels import difference_text, interval_text, label_of
from .values import dsc_of_rows


def printable_losses(results: pd.DataFrame, records: Mapping[str, Row], names: Mapping[str, str]) -> pd.DataFrame:
    """Mean DSC with interval by training, prompt setting and data set (rows), for each loss (columns).

    `records`: experiment -> provenance; `names`: experiment -> title.
    """
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for (dataset, setting, name), series in dsc_of_rows(results, ["experiment"]).items():
        summary = intervals.summarize_mean(series.to_numpy())
        row = names[name], label_of(setting), f"{label_of(dataset)}, n = {summary.n}"
        cells.setdefault(row, {})[_loss(records[name])] = interval_text(summary.mean, summary.low, summary.high)
    losses = list(dict.fromkeys(map(_loss, records.values())))
    table = pd.DataFrame.from_dict(cells, orient="index", columns=losses)
    return table.fillna("–").rename_axis(["training", "prompt", "test set"]).reset_index()


def _loss(record: Row) -> str:
    return record["options"]["loss"].replace("_", " ")


def best_losses(results: pd.DataFrame, records: Mapping[str, Row], dataset: str = "phantom_nsclc") -> dict[str, object]:
    """Text by glue key, per model: best and default loss by mean DSC on `dataset` with most help, and their paired difference."""
    values: dict[str, Any] = {}
    settings = {"unet": "none", "sam_stand_in": "box_every_slice"}
    series = {(setting, name): part for (d, setting, name), part in dsc_of_rows(results, ["experiment"]).items() if d == dataset}
    for model, setting in settings.items():
        own = {name: part for (r, name), part in series.items() if r == setting and records[name]["experiment"]["model"] == model}
        default = next(name for name in own if "loss" not in records[name]["experiment"]["options"])
        best = max(own, key=lambda name: own[name].mean())
        gain = intervals.summarize_paired_difference(own[best], own[default])
        for key, name in (("best", best), ("default", default)):
            summary = intervals.summarize_mean(own[name].to_numpy())
            values[f"{model}_{key}"] = _loss(records[name])
            values[f"{model}_{key}_dsc"] = interval_text(summary.mean, summary.low, summary.high)
        values[f"{model}_gain"] = difference_text(gain.mean, gain.low, gain.high)
        values["n"] = gain.n
    return values
