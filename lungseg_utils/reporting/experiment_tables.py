"""Tables and figures of one experiment: values by test set and prompt setting, cases, training, provenance."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..evaluation import intervals, metrics, tables
from ..types import Row
from .labels import difference_text, in_reading_order, interval_text, label_of, method_titles, number_text
from .style import looks_of, plot_style
from .values import dsc_of_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LABEL_WIDTH = 10  # characters of a line below a figure


def learning_curve(history: pd.DataFrame) -> Figure:
    """Training loss (running mean over 25 steps) and validation DSC over optimizer steps."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    loss = history[history["quantity"] == "training loss"]
    left.plot(loss["step"], loss["value"], color="0.8", linewidth=0.6, label="each step")
    left.plot(loss["step"], loss["value"].rolling(25, min_periods=1).mean(), color=sns.color_palette()[0], label="mean of 25")
    left.set(xlabel="optimizer step", ylabel="training loss")
    left.legend()
    dsc = history[history["quantity"] == "validation DSC"]
    right.plot(dsc["step"], dsc["value"], marker="o", color=sns.color_palette()[1])
    right.set(xlabel="optimizer step", ylabel="mean 3-D DSC, validation", ylim=(0, 1))
    if dsc.empty:
        right.text(0.5, 0.5, "no validation patients", ha="center", va="center", transform=right.transAxes)
    plt.close(figure)
    return figure


def values_by_dataset(results: pd.DataFrame, metric: str = "dsc", hue: str | None = None) -> Figure:
    """Each patient a point, by test data set; boxes show quartiles. n stands under each name."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    whole = tables.case_values(tables.require_plain(results), metric)
    if whole["prompter"].nunique() > 1:
        raise ValueError("one prompt setting at a time")
    keys = ["test_dataset", "patient_id", *([hue] if hue else [])]
    frame = whole.groupby(keys, sort=False)["value"].mean().reset_index()
    counts = frame.groupby("test_dataset")["patient_id"].nunique()
    frame = in_reading_order(frame, "test_dataset")
    frame["set"] = [f"{label_of(d)}\nn = {counts[d]}" for d in frame["test_dataset"]]
    figure, axes = plt.subplots(figsize=(1.9 * len(counts) + 2.5, 3.8), layout="constrained")
    common = {"data": frame, "x": "set", "y": "value", "hue": hue, "ax": axes}
    sns.boxplot(**common, fliersize=0, color=None if hue else "0.9", legend=False, boxprops={"alpha": 0.35}, width=0.6)
    sns.stripplot(**common, dodge=bool(hue), size=4.5, alpha=0.8, jitter=0.15)
    axes.set(xlabel="", ylabel=label_of(metric))
    if metric in ("dsc", "iou") or metric.startswith("nsd"):
        axes.set_ylim(-0.02, 1.02)
    if hue:
        sns.move_legend(axes, "upper left", bbox_to_anchor=(1, 1), title="")
    plt.close(figure)
    return figure


def values_by_setting(results: pd.DataFrame, models: Mapping[str, str], metric: str = "dsc") -> Figure:
    """Each patient a point, by prompt setting and model, one panel per test data set; bars are medians."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    whole = tables.case_values(tables.require_plain(results), metric)
    frame = whole.groupby(["experiment", "test_dataset", "prompter", "patient_id"], sort=False)["value"].mean().reset_index()
    names = method_titles(whole, models)
    frame["model"] = [names[key] for key in zip(frame["experiment"], frame["prompter"], strict=True)]
    frame["setting"] = frame["prompter"].map(lambda name: textwrap.fill(label_of(name), _LABEL_WIDTH))
    datasets = list(dict.fromkeys(in_reading_order(frame, "test_dataset")["test_dataset"]))
    size = (max(4.6, frame["setting"].nunique()) * len(datasets) + 1, 3.9)
    colors = {name: looks["color"] for name, looks in looks_of(frame["model"]).items()}
    figure, panels = plt.subplots(1, len(datasets), figsize=size, layout="constrained", sharey=True, squeeze=False)
    for axes, dataset in zip(panels[0], datasets, strict=True):
        part = frame[frame["test_dataset"] == dataset]
        common = {"data": part, "x": "setting", "y": "value", "hue": "model", "ax": axes, "hue_order": list(colors), "palette": colors}
        sns.boxplot(**common, showbox=False, showcaps=False, whiskerprops={"visible": False}, fliersize=0, legend=False)
        sns.stripplot(**common, dodge=True, size=3.5, alpha=0.65, jitter=0.18, legend=dataset == datasets[0])
        axes.set(title=f"{label_of(dataset)}, n = {part['patient_id'].nunique()}", xlabel="", ylabel=label_of(metric), ylim=(-0.02, 1.02))
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    panels[0][0].get_legend().remove()
    plt.close(figure)
    return figure


def setting_values(key: str, results: pd.DataFrame, baseline: pd.DataFrame | None, roles: Mapping[str, str]) -> dict[str, object]:
    """Values for the text of a page, by glue key: means with intervals per data set and prompt setting, and the difference to a baseline.

    Keys: KEY_ROLE_n, KEY_ROLE_SETTING (mean DSC), ..._baseline (of `baseline` with the same prompt), ..._gain (paired difference). `roles`:
    data set -> ROLE, as `wording.roles` gives it; others have no keys. Without a baseline there are only means.
    """
    values: dict[str, Any] = {}
    own, other = dsc_of_rows(results), {} if baseline is None else dsc_of_rows(baseline)
    for (dataset, setting), series in own.items():
        if dataset not in roles or (
            baseline is not None and (dataset, setting) not in other
        ):  # zero-shot: no boxes of a detector on its own test set
            continue
        mean = intervals.summarize_mean(series.to_numpy())
        values[f"{key}_{roles[dataset]}_n"] = mean.n
        summaries = {"": mean}
        if baseline is not None:
            summaries["_baseline"] = intervals.summarize_mean(other[dataset, setting].to_numpy())
            summaries["_gain"] = intervals.summarize_paired_difference(series, other[dataset, setting])
        for name, summary in summaries.items():
            text = difference_text if name == "_gain" else interval_text
            values[f"{key}_{roles[dataset]}_{setting}{name}"] = text(summary.mean, summary.low, summary.high)
    return values


def volume_agreement(results: pd.DataFrame) -> Figure:
    """Predicted against reference volume on logarithmic axes; empty predictions stand on the lower edge."""
    plot_style()
    import matplotlib.pyplot as plt

    whole = results[results["lesion_id"] == ""]
    wide = whole[whole["metric"].isin(["reference_volume", "prediction_volume"])].pivot_table(
        index=["test_dataset", "case_id", "reader"], columns="metric", values="value"
    )
    wide = in_reading_order(wide[wide["reference_volume"] > 0].reset_index(), "test_dataset")
    floor = 0.05
    figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    for (dataset, part), marker in zip(wide.groupby("test_dataset", sort=False), "osD^vP", strict=False):
        axes.scatter(
            part["reference_volume"], part["prediction_volume"].clip(lower=floor), marker=marker, alpha=0.75, label=label_of(dataset)
        )
    limits = (floor, max(wide["reference_volume"].max(), wide["prediction_volume"].max()) * 1.5)
    axes.plot(limits, limits, color="0.4", linewidth=1, zorder=0)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, xlabel="reference volume (ml)", ylabel="predicted volume (ml)")
    axes.legend(fontsize="small")
    plt.close(figure)
    return figure


def printable_cohort_table(results: pd.DataFrame, models: Mapping[str, str]) -> pd.DataFrame:
    """`intervals.cohort_table` for people; `models` maps experiment names to titles. Intervals are 95 %."""
    table = in_reading_order(intervals.cohort_table(results), "test_dataset")

    def column(name: str, digits: int) -> list[str]:
        return [interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"], digits) for _, row in table.iterrows()]

    names = method_titles(results, models)
    alarms = zip(table["false_positive_volume_tumor_free"], table["n_tumor_free"], strict=True)
    return pd.DataFrame(
        {
            "model": [names[key] for key in zip(table["experiment"], table["prompter"], strict=True)],
            "test set": [label_of(d) for d in table["test_dataset"]],
            "prompt": [label_of(p) for p in table["prompter"]],
            "n": table["n"].to_numpy(),
            "DSC, mean": column("dsc", 2),
            "NSD 3 mm, mean": column("nsd_3mm", 2),
            "HD95, median (mm)": column("hd95_median", 1),
            "lesions hit, mean": column("lesion_sensitivity", 2),
            "false positives in tumor-free scans (ml)": [f"{number_text(ml, 2)} (n = {n})" for ml, n in alarms],
            "failed": table["failed"].to_numpy(),
        }
    )


def printable_case_table(
    results: pd.DataFrame, datasets: Sequence[str], records: Sequence[Row] = (), all_readers: bool = False
) -> pd.DataFrame:
    """One row per case: values only, no mean (for real cases, of which there are too few).

    Scored against the data set's own reference; with `all_readers` against each single reader too. By `records`
    (provenance["cases"]) cases whose lesion is cut by an end of the volume are marked with a dagger.
    """
    cut = {(r["test_dataset"], r["case_id"]) for r in records if r["cut_by_volume_end"]}
    whole = results[(results["lesion_id"] == "") & results["test_dataset"].isin(datasets)]
    known = set(whole["metric"])  # stored tables hold fewer metrics
    shown = {metric.name: metric.digits for metric in metrics.shown_in(metrics.CASE) if metric.name in known or whole.empty}
    rows = []
    for (dataset, case, prompter, reader), part in whole.groupby(["test_dataset", "case_id", "prompter", "reader"], sort=False):
        if not all_readers and reader.startswith("reader-"):
            continue
        values = part.set_index("metric")["value"]
        marked = f"{case} †" if (dataset, case) in cut else case
        row = {"test set": label_of(dataset), "case": marked, "prompt": label_of(prompter), "reference": reader}
        rows.append(row | {label_of(name): number_text(values[name], digits) for name, digits in shown.items()})
    columns = ["test set", "case", "prompt", "reference", *(label_of(name) for name in shown)]
    return pd.DataFrame(rows, columns=columns)


def printable_strata(results: pd.DataFrame, records: Sequence[Row], dataset: str) -> pd.DataFrame:
    """DSC of one cohort by what its largest lesion is like; descriptive. `records`: provenance["cases"]."""
    facts = {r["case_id"]: r["attributes"] for r in records if r["test_dataset"] == dataset}
    dsc = results[(results["test_dataset"] == dataset) & (results["metric"] == "dsc") & (results["lesion_id"] == "")]
    values = dsc[dsc["status"] != "undefined"].set_index("case_id")["value"]
    rows = []
    for name in ("solidity", "contact", "atelectasis"):
        groups = values.groupby([str(facts[case].get(name, "")).split(";")[0] for case in values.index])
        for level, part in groups:
            text = {"0": "no", "1": "yes", "": "not given"}.get(level, level.replace("_", "-"))
            rows.append({"what": name, "of the largest lesion": text, "n": len(part), "mean DSC": number_text(part.mean(), 2)})
            rows[-1] |= {"median DSC": number_text(part.median(), 2), "lowest": number_text(part.min(), 2)}
    return pd.DataFrame(rows)


def mean_ceiling(records: Sequence[Row], dataset: str) -> float:
    """Mean resolution ceiling (DSC) over the cases of a data set that have a tumor; NaN for a model that works on the CT's own grid."""
    ceilings = [r["resolution_ceiling"] for r in records if r["test_dataset"] == dataset and r["resolution_ceiling"] is not None]
    return float(np.mean(ceilings)) if ceilings else float("nan")


def provenance_table(provenance: Row) -> pd.DataFrame:
    """What a reader needs to make the same numbers again: one row per fact."""
    patients = {name: f"{len(ids)} ({ids[0]} … {ids[-1]})" for name, ids in provenance["patients"].items() if ids}
    rows = {
        "experiment": provenance["name"],
        "commit": provenance["commit"],
        **{f"patients, {name}": text for name, text in patients.items()},
        "device": provenance["device"],
        "parameters": f"{provenance['parameters']:,}",
        **{f"sha256 of {name}": value[:16] for name, value in provenance["sha256"].items() if isinstance(value, str)},
        **{f"sha256 of data, {name}": value[:16] for name, value in provenance["sha256"]["data"].items()},
        **{f"option {name}": str(value) for name, value in provenance["options"].items()},
        **provenance["environment"],
    }
    return pd.DataFrame({"what": rows.keys(), "value": rows.values()})
