"""Tables in, figures and printable tables out. Colours are safe for colour-blind readers; every axis has its unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import metrics, stats, tables
from .prompts.ladder import PROMPTERS

TRIVIAL = "trivial: "  # what the names of answers without a network begin with
CONTROL = " + prompt"  # an automatic model given the same prompt as the promptable ones
GREY = "0.55"  # the colour of trivial answers, which no other method has
_MARKERS = "os^Dv<>hp*PX"
TITLES: Mapping[str, str] = {
    "phantom_nsclc": "phantoms, NSCLC-like",
    "phantom_msd": "phantoms, MSD-like",
    "nsclc_radiomics": "NSCLC-Radiomics (real)",
    "lidc_idri": "LIDC-IDRI (real)",
    "ibsi_ct_phantom": "IBSI CT phantom (real)",
    "nsclc_radiomics_interobserver1": "NSCLC-Radiomics-Interobserver1 (real)",
    "msd_lung": "MSD Task06 Lung (real)",
    "rider_lung_ct": "RIDER Lung CT (real)",
    "dsc": "DSC",
    "iou": "IoU",
    "hd95": "HD95 (mm)",
    "assd": "ASSD (mm)",
    "nsd_1mm": "NSD at 1 mm",
    "nsd_2mm": "NSD at 2 mm",
    "nsd_3mm": "NSD at 3 mm",
    "nsd_5mm": "NSD at 5 mm",
    "reference_volume": "reference (ml)",
    "prediction_volume": "prediction (ml)",
    **{name: card.title for name, card in PROMPTERS.items()},
}


def title(name: str) -> str:
    """Reader's name of a data set, metric or prompter; unknown names stay as they are."""
    return PROMPTERS[name].title if name in PROMPTERS else TITLES.get(name, name)


def method_titles(results: pd.DataFrame, models: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """(experiment, rung) -> name: an automatic model is named as such where it was given a prompt. `models`: experiment -> name."""
    pairs = set(zip(results["experiment"], results["prompter"], strict=True))
    automatic = {e for e, rung in pairs if rung == "none" and not models[e].startswith(TRIVIAL)}
    return {(e, rung): models[e] + (CONTROL if rung != "none" and e in automatic else "") for e, rung in pairs}


def plot_style() -> Any:
    """Seaborn with the style of all figures, imported where a figure is drawn."""
    import seaborn as sns

    palette = [color for color in sns.color_palette("colorblind") if max(color) - min(color) > 0.1]  # without its grey
    sns.set_theme(style="whitegrid", context="notebook", palette=palette, rc={"figure.dpi": 110, "savefig.dpi": 110})
    return sns


def method_looks(name: str, number: int) -> dict[str, Any]:
    """Colour and marker of the method with this number in a figure, as arguments of `plot`; a trivial answer is grey."""
    import seaborn as sns

    palette = sns.color_palette()
    color = GREY if name.startswith(TRIVIAL) else palette[number % len(palette)]
    return {"color": color, "marker": _MARKERS[number % len(_MARKERS)]}


def looks_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`method_looks` of all methods of a figure; trivial answers are numbered from the end and take no colour from the others."""
    trivial, others = [], []
    for name in dict.fromkeys(names):
        (trivial if name.startswith(TRIVIAL) else others).append(name)
    numbers = {name: number for number, name in enumerate(others)} | {name: -1 - number for number, name in enumerate(trivial)}
    return {name: method_looks(name, number) for name, number in numbers.items()}


def learning_curve(history: pd.DataFrame) -> Any:
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


def values_by_dataset(results: pd.DataFrame, metric: str = "dsc", hue: str | None = None) -> Any:
    """Each patient a point, by test data set; boxes show quartiles. n stands under each name."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    whole = tables.case_values(tables.require_plain(results), metric)
    if whole["prompter"].nunique() > 1:
        raise ValueError("one rung of the prompt ladder at a time")
    keys = ["test_dataset", "patient_id", *([hue] if hue else [])]
    frame = whole.groupby(keys, sort=False)["value"].mean().reset_index()
    counts = frame.groupby("test_dataset")["patient_id"].nunique()
    frame = _in_reading_order(frame, "test_dataset")
    frame["set"] = [f"{title(d)}\nn = {counts[d]}" for d in frame["test_dataset"]]
    figure, axes = plt.subplots(figsize=(1.9 * len(counts) + 2.5, 3.8), layout="constrained")
    common = {"data": frame, "x": "set", "y": "value", "hue": hue, "ax": axes}
    sns.boxplot(**common, fliersize=0, color=None if hue else "0.9", legend=False, boxprops={"alpha": 0.35}, width=0.6)
    sns.stripplot(**common, dodge=bool(hue), size=4.5, alpha=0.8, jitter=0.15)
    axes.set(xlabel="", ylabel=title(metric))
    if metric in ("dsc", "iou") or metric.startswith("nsd"):
        axes.set_ylim(-0.02, 1.02)
    if hue:
        sns.move_legend(axes, "upper left", bbox_to_anchor=(1, 1), title="")
    plt.close(figure)
    return figure


def values_by_rung(results: pd.DataFrame, models: Mapping[str, str], metric: str = "dsc") -> Any:
    """Each patient a point, by rung of the prompt ladder and model, one panel per test data set; bars are medians."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    whole = tables.case_values(tables.require_plain(results), metric)
    frame = whole.groupby(["experiment", "test_dataset", "prompter", "patient_id"], sort=False)["value"].mean().reset_index()
    names = method_titles(whole, models)
    frame["model"] = [names[key] for key in zip(frame["experiment"], frame["prompter"], strict=True)]
    frame["rung"] = frame["prompter"].map(lambda name: title(name).replace(" ", "\n", 1))
    datasets = list(dict.fromkeys(_in_reading_order(frame, "test_dataset")["test_dataset"]))
    size = (4.6 * len(datasets) + 1, 3.9)
    figure, panels = plt.subplots(1, len(datasets), figsize=size, layout="constrained", sharey=True, squeeze=False)
    for axes, dataset in zip(panels[0], datasets, strict=True):
        part = frame[frame["test_dataset"] == dataset]
        common = {"data": part, "x": "rung", "y": "value", "hue": "model", "ax": axes, "hue_order": list(dict.fromkeys(frame["model"]))}
        sns.boxplot(**common, showbox=False, showcaps=False, whiskerprops={"visible": False}, fliersize=0, legend=False)
        sns.stripplot(**common, dodge=True, size=3.5, alpha=0.65, jitter=0.18, legend=dataset == datasets[0])
        axes.set(title=f"{title(dataset)}, n = {part['patient_id'].nunique()}", xlabel="", ylabel=title(metric), ylim=(-0.02, 1.02))
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    panels[0][0].get_legend().remove()
    plt.close(figure)
    return figure


def methods_by_rung(results: pd.DataFrame, models: Mapping[str, str], dataset: str) -> Any:
    """Mean DSC with 95 % interval of every method on one data set, one panel per rung, the best on top; trivial answers in grey."""
    plot_style()
    import matplotlib.pyplot as plt

    means = {key[1:]: part for key, part in _dsc_by_patient(results[results["test_dataset"] == dataset], ["experiment"]).items()}
    rungs = [rung for rung in ("none", "box_one_slice", "box_every_slice") if any(key[0] == rung for key in means)]
    summaries, names = {key: stats.summarize_mean(series.to_numpy()) for key, series in means.items()}, method_titles(results, models)
    rows = [sorted((s.mean, names[e, r], s) for (r, e), s in summaries.items() if r == rung) for rung in rungs]
    heights = [len(part) for part in rows]
    figure, panels = plt.subplots(
        len(rungs), 1, figsize=(8.5, 0.9 * len(rungs) + 0.27 * sum(heights)), sharex=True, layout="constrained", squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for axes, rung, part in zip(panels[:, 0], rungs, rows, strict=True):
        for place, (mean, name, summary) in enumerate(part):
            color = method_looks(name, 1 if name.endswith(CONTROL) else 0)["color"]
            axes.plot([summary.low, summary.high], [place, place], color=color, linewidth=2)
            axes.plot(mean, place, "o", color=color)
        axes.set(yticks=range(len(part)), yticklabels=[name for _, name, _ in part], title=title(rung), xlim=(-0.02, 1.02))
        axes.set_ylim(-0.6, len(part) - 0.4)
    panels[-1, 0].set_xlabel(f"mean 3-D DSC, {title(dataset)}, {counted(s.n for s in summaries.values())}")
    plt.close(figure)
    return figure


def counted(numbers: Iterable[int]) -> str:
    """ "n = 60", or "n = 13 to 63" where rows differ."""
    least, most = min(found := list(numbers)), max(found)
    return f"n = {most}" if least == most else f"n = {least} to {most}"


def rung_answers(key: str, results: pd.DataFrame, baseline: pd.DataFrame, roles: Mapping[str, str]) -> dict[str, Any]:
    """Values for the text of a page, by glue key: means with intervals per data set and rung, and the difference to a baseline.

    Keys: KEY_ROLE_n, KEY_ROLE_RUNG (mean DSC), ..._baseline (of `baseline` with the same prompt), ..._gain (paired difference). `roles`:
    data set -> ROLE, as `evidence.roles` gives it; others have no keys.
    """
    values: dict[str, Any] = {}
    own, other = (_dsc_by_patient(frame) for frame in (results, baseline))
    for (dataset, rung), series in own.items():
        if (dataset, rung) not in other or dataset not in roles:  # a detector gives zero-shot answers no boxes on its own data set
            continue
        mean, base = stats.summarize_mean(series.to_numpy()), stats.summarize_mean(other[dataset, rung].to_numpy())
        gain = stats.summarize_paired_difference(series, other[dataset, rung])
        values[f"{key}_{roles[dataset]}_n"] = mean.n
        for name, summary in (("", mean), ("_baseline", base), ("_gain", gain)):
            values[f"{key}_{roles[dataset]}_{rung}{name}"] = interval_text(summary.mean, summary.low, summary.high)
    return values


def _dsc_by_patient(results: pd.DataFrame, more_keys: Sequence[str] = ()) -> dict[tuple[str, ...], pd.Series]:
    """(test_dataset, prompter, ...) -> one DSC per patient."""
    rows = tables.case_values(tables.require_plain(results), "dsc")
    return {key: stats.patient_means(part) for key, part in rows.groupby(["test_dataset", "prompter", *more_keys], sort=False)}


def cohort_answers(results: pd.DataFrame, experiments: Mapping[str, str], roles: Mapping[str, str]) -> dict[str, Any]:
    """Values for the front page, by glue key NOTEBOOK_ROLE_(dsc|dsc_low|dsc_high|n) or, with a prompt, NOTEBOOK_RUNG_ROLE_...

    `experiments`: notebook -> name of its own method; `roles`: data set -> ROLE, as `evidence.roles` gives it. The trivial answers to a box
    on every slice or on one are called box_ellipse and box_ellipsoid.
    """
    means = _dsc_by_patient(results, ["experiment"])
    values: dict[str, Any] = {}
    for notebook, name in experiments.items():
        for dataset, rung in [(dataset, rung) for dataset, rung, known in means if known == name and dataset in roles]:
            summary = stats.summarize_mean(means[dataset, rung, name].to_numpy())
            key = _TRIVIAL_KEYS.get((notebook, rung), notebook + ("" if rung == "none" else f"_{rung}")) + f"_{roles[dataset]}"
            values |= {f"{key}_dsc": summary.mean, f"{key}_n": summary.n, f"{key}_dsc_low": summary.low, f"{key}_dsc_high": summary.high}
    return values


_TRIVIAL_KEYS = {
    ("baselines_zero_shot", "box_every_slice"): "box_ellipse",
    ("baselines_zero_shot", "box_one_slice"): "box_ellipsoid",
}


def nsd_curve(results: pd.DataFrame) -> Any:
    """Mean normalized surface distance over its tolerance, per test data set."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    names = [f"nsd_{t:g}mm" for t in metrics.NSD_TOLERANCES_MM]
    rows = results[results["metric"].isin(names) & (results["lesion_id"] == "") & (results["status"] != "undefined")]
    rows = _in_reading_order(rows, "test_dataset")
    figure, axes = plt.subplots(figsize=(5.5, 3.5), layout="constrained")
    for (dataset, part), marker in zip(rows.groupby("test_dataset", sort=False), "osD^vP", strict=False):
        means = part.groupby("metric")["value"].mean()[names]
        axes.plot(metrics.NSD_TOLERANCES_MM, means, marker=marker, label=f"{title(dataset)}, n = {part['patient_id'].nunique()}")
    axes.set(xlabel="tolerance (mm)", ylabel="mean NSD", ylim=(0, 1))
    axes.legend()
    plt.close(figure)
    sns.despine(figure)
    return figure


def volume_agreement(results: pd.DataFrame) -> Any:
    """Predicted against reference volume on logarithmic axes; empty predictions stand on the lower edge."""
    plot_style()
    import matplotlib.pyplot as plt

    whole = results[results["lesion_id"] == ""]
    wide = whole[whole["metric"].isin(["reference_volume", "prediction_volume"])].pivot_table(
        index=["test_dataset", "case_id", "reader"], columns="metric", values="value"
    )
    wide = _in_reading_order(wide[wide["reference_volume"] > 0].reset_index(), "test_dataset")
    floor = 0.05
    figure, axes = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    for (dataset, part), marker in zip(wide.groupby("test_dataset", sort=False), "osD^vP", strict=False):
        axes.scatter(part["reference_volume"], part["prediction_volume"].clip(lower=floor), marker=marker, alpha=0.75, label=title(dataset))
    limits = (floor, max(wide["reference_volume"].max(), wide["prediction_volume"].max()) * 1.5)
    axes.plot(limits, limits, color="0.4", linewidth=1, zorder=0)
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, xlabel="reference volume (ml)", ylabel="predicted volume (ml)")
    axes.legend(fontsize="small")
    plt.close(figure)
    return figure


def interval_text(value: float, low: float, high: float, digits: int = 2) -> str:
    """ "0.71 [0.65, 0.77]", or the value alone where there is no interval."""
    text = _number(value, digits)
    return text if np.isnan(low) else f"{text} [{_number(low, digits)}, {_number(high, digits)}]"


def _number(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else "∞" if np.isinf(value) else f"{value:z.{digits}f}"


def _in_reading_order(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    known = list(TITLES)
    return frame.sort_values(column, key=lambda names: [known.index(n) if n in known else len(known) for n in names], kind="stable")


def printable_cohort_table(results: pd.DataFrame, models: Mapping[str, str]) -> pd.DataFrame:
    """`stats.cohort_table` for people; `models` maps experiment names to titles. Intervals are 95 %."""
    table = _in_reading_order(stats.cohort_table(results), "test_dataset")

    def column(name: str, digits: int) -> list[str]:
        return [interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"], digits) for _, row in table.iterrows()]

    names = method_titles(results, models)
    alarms = zip(table["false_positive_ml_tumor_free"], table["n_tumor_free"], strict=True)
    return pd.DataFrame(
        {
            "model": [names[key] for key in zip(table["experiment"], table["prompter"], strict=True)],
            "test set": [title(d) for d in table["test_dataset"]],
            "prompt": [title(p) for p in table["prompter"]],
            "n": table["n"].to_numpy(),
            "DSC, mean": column("dsc", 2),
            "NSD 3 mm, mean": column("nsd_3mm", 2),
            "HD95, median (mm)": column("hd95_median", 1),
            "lesions hit, mean": column("lesion_sensitivity", 2),
            "false positives in tumor-free scans (ml)": [f"{_number(ml, 2)} (n = {n})" for ml, n in alarms],
            "failed": table["failed"].to_numpy(),
        }
    )


def printable_rung_table(results: pd.DataFrame, models: Mapping[str, str], rung: str, datasets: Sequence[str]) -> pd.DataFrame:
    """One row per method for one rung of the prompt ladder, best mean DSC on the first of `datasets` on top; intervals are 95 %.

    Where a method was tested on fewer patients than the head of the column says, its own n stands beside the value.
    """
    table = stats.cohort_table(results[(results["prompter"] == rung) & results["test_dataset"].isin(datasets)])
    rows = {(row["experiment"], row["test_dataset"]): row for _, row in table.iterrows()}
    names = method_titles(results, models)
    order = table[table["test_dataset"] == datasets[0]].sort_values("dsc", ascending=False)["experiment"]
    counts = table.groupby("test_dataset")["n"].max()

    def row_of(experiment: str) -> dict[str, Any]:
        shown: dict[str, Any] = {"method": names[experiment, rung]}
        for dataset in [name for name in datasets if name in counts]:
            row, head = rows.get((experiment, dataset)), f"DSC, {title(dataset)}, n = {counts[dataset]}"
            shown[head] = "–" if row is None else interval_text(row["dsc"], row["dsc_low"], row["dsc_high"])
            if row is not None and row["n"] < counts[dataset]:
                shown[head] += f", n = {row['n']}"
        first = rows[experiment, datasets[0]]
        shown["HD95, median (mm)"] = _number(first["hd95_median"], 1)
        shown["lesions hit"] = _number(first["lesion_sensitivity"], 2)
        shown["false positives, tumor-free (ml)"] = _number(first["false_positive_ml_tumor_free"], 1)
        shown["failed"] = sum(int(rows[experiment, d]["failed"]) for d in datasets if (experiment, d) in rows)
        return shown

    return pd.DataFrame([row_of(experiment) for experiment in order])


def printable_losses(results: pd.DataFrame, records: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> pd.DataFrame:
    """Mean DSC with interval by training, rung and data set (rows), for each loss (columns).

    `records`: experiment -> provenance; `names`: experiment -> what is shown of it.
    """
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for (dataset, rung, name), series in _dsc_by_patient(results, ["experiment"]).items():
        summary = stats.summarize_mean(series.to_numpy())
        row = names[name], title(rung), f"{title(dataset)}, n = {summary.n}"
        cells.setdefault(row, {})[_loss(records[name])] = interval_text(summary.mean, summary.low, summary.high)
    losses = list(dict.fromkeys(map(_loss, records.values())))
    table = pd.DataFrame.from_dict(cells, orient="index", columns=losses)
    return table.fillna("–").rename_axis(["training", "prompt", "test set"]).reset_index()


def _loss(record: Mapping[str, Any]) -> str:
    return record["options"]["loss"].replace("_", " ")


def best_losses(results: pd.DataFrame, records: Mapping[str, Mapping[str, Any]], dataset: str = "phantom_nsclc") -> dict[str, Any]:
    """Per model: the best loss and the default one by mean DSC on `dataset` (told most), and their paired difference, as text by key."""
    values: dict[str, Any] = {}
    rungs = {"unet": "none", "sam_stand_in": "box_every_slice"}
    series = {(rung, name): part for (d, rung, name), part in _dsc_by_patient(results, ["experiment"]).items() if d == dataset}
    for model, rung in rungs.items():
        own = {name: part for (r, name), part in series.items() if r == rung and records[name]["experiment"]["model"] == model}
        default = next(name for name in own if "loss" not in records[name]["experiment"]["options"])
        best = max(own, key=lambda name: own[name].mean())
        gain = stats.summarize_paired_difference(own[best], own[default])
        for key, name in (("best", best), ("default", default)):
            summary = stats.summarize_mean(own[name].to_numpy())
            values[f"{model}_{key}"] = _loss(records[name])
            values[f"{model}_{key}_dsc"] = interval_text(summary.mean, summary.low, summary.high)
        values[f"{model}_gain"] = interval_text(gain.mean, gain.low, gain.high)
        values["n"] = gain.n
    return values


def printable_case_table(
    results: pd.DataFrame, datasets: Sequence[str], records: Sequence[Mapping[str, Any]] = (), all_readers: bool = False
) -> pd.DataFrame:
    """One row per case: values only, no mean (for real cases, of which there are too few).

    Scored against the data set's own reference; with `all_readers` against each single reader too. By `records`
    (provenance["cases"]) cases whose lesion is cut by an end of the volume are marked with a dagger.
    """
    cut = {(r["test_dataset"], r["case_id"]) for r in records if r["cut_by_volume_end"]}
    whole = results[(results["lesion_id"] == "") & results["test_dataset"].isin(datasets)]
    shown = {"dsc": 2, "nsd_2mm": 2, "nsd_3mm": 2, "hd95": 1, "reference_volume": 2, "prediction_volume": 2}
    rows = []
    for (dataset, case, prompter, reader), part in whole.groupby(["test_dataset", "case_id", "prompter", "reader"], sort=False):
        if not all_readers and reader.startswith("reader-"):
            continue
        values = part.set_index("metric")["value"]
        marked = f"{case} †" if (dataset, case) in cut else case
        row = {"test set": title(dataset), "case": marked, "prompt": title(prompter), "reference": reader}
        rows.append(row | {title(name): _number(values[name], digits) for name, digits in shown.items()})
    columns = ["test set", "case", "prompt", "reference", *(title(name) for name in shown)]
    return pd.DataFrame(rows, columns=columns)


def printable_case_matrix(results: pd.DataFrame, datasets: Sequence[str], models: Mapping[str, str]) -> pd.DataFrame:
    """DSC of every method (rows, by rung) on every case (columns) of `datasets`, against each data set's own reference."""
    names = method_titles(results, models)
    whole = results[(results["lesion_id"] == "") & results["test_dataset"].isin(datasets) & (results["metric"] == "dsc")]
    whole = tables.require_plain(whole[~whole["reader"].str.startswith("reader-")])
    frame = pd.DataFrame(
        {
            "method": [names[key] for key in zip(whole["experiment"], whole["prompter"], strict=True)],
            "prompt": whole["prompter"].map(title),
            "case": whole["case_id"],
            "value": [_number(value, 2) for value in whole["value"]],
        }
    )
    if frame.empty:
        return frame[["method", "prompt"]]
    return frame.pivot(index=["prompt", "method"], columns="case", values="value").reset_index()


def printable_strata(results: pd.DataFrame, records: Sequence[Mapping[str, Any]], dataset: str) -> pd.DataFrame:
    """DSC of one cohort by what its largest lesion is like; descriptive. `records`: provenance["cases"]."""
    facts = {r["case_id"]: r["attributes"] for r in records if r["test_dataset"] == dataset}
    dsc = results[(results["test_dataset"] == dataset) & (results["metric"] == "dsc") & (results["lesion_id"] == "")]
    values = dsc[dsc["status"] != "undefined"].set_index("case_id")["value"]
    rows = []
    for name in ("solidity", "contact", "atelectasis"):
        groups = values.groupby([str(facts[case].get(name, "")).split(";")[0] for case in values.index])
        for level, part in groups:
            text = {"0": "no", "1": "yes", "": "not given"}.get(level, level.replace("_", "-"))
            rows.append({"what": name, "of the largest lesion": text, "n": len(part), "mean DSC": _number(part.mean(), 2)})
            rows[-1] |= {"median DSC": _number(part.median(), 2), "lowest": _number(part.min(), 2)}
    return pd.DataFrame(rows)


def training_seconds(history: pd.DataFrame) -> int:
    """Wall seconds of a training, from its history."""
    return round(float(history.loc[history["quantity"] == "seconds", "value"].iloc[0]))


def printable_training(finished: Sequence[Any]) -> pd.DataFrame:
    """Of each experiment that was trained (`run.RunResult`): steps, seconds, parameters, device."""
    trained = [result for result in finished if len(result.history)]
    return pd.DataFrame(
        {
            "method": [result.provenance["title"] for result in trained],
            "steps": [int(result.history["step"].max()) for result in trained],
            "seconds": [training_seconds(result.history) for result in trained],
            "parameters (M)": [_number(result.provenance["parameters"] / 1e6, 1) for result in trained],
            "device": [result.provenance["device"] for result in trained],
        }
    )


def mean_ceiling(records: Sequence[Mapping[str, Any]], dataset: str) -> float:
    """Mean resolution ceiling (DSC) over the cases of a data set that have a tumor."""
    ceilings = [r["resolution_ceiling"] for r in records if r["test_dataset"] == dataset and r["resolution_ceiling"] is not None]
    return float(np.mean(ceilings))


def provenance_table(provenance: Mapping[str, Any]) -> pd.DataFrame:
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
