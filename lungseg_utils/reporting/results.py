"""Page "Results": all methods on each test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..evaluation import intervals, tables
from ..experiments import planning
from ..experiments.results import RunResult
from . import methods, settings_labels
from .labels import counted, interval_text, label_of, method_titles, number_text
from .style import method_looks, plot_style
from .values import dsc_of_rows, training_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def experiment_titles(finished: Iterable[RunResult]) -> dict[str, str]:
    """Experiment -> title, for tables and pages."""
    return {r.experiment.name: planning.experiment_title(r.experiment) for r in finished}


def results_of(finished: Iterable[RunResult]) -> pd.DataFrame:
    """All results without errors in drawing, in one table; a method with several runs appears once, with their means."""
    return pd.concat([method.averaged() for method in methods.group_runs(finished)], ignore_index=True)


def methods_by_setting(results: pd.DataFrame, models: Mapping[str, str], dataset: str) -> Figure:
    """Mean DSC with 95 % interval of every method on one data set, one panel per prompt setting, best on top; trivial baselines gray."""
    plot_style()
    import matplotlib.pyplot as plt

    means = {key[1:]: part for key, part in dsc_of_rows(results[results["test_dataset"] == dataset], ["experiment"]).items()}
    settings = [setting for setting in ("none", "box_one_slice", "box_every_slice") if any(key[0] == setting for key in means)]
    summaries, names = {key: intervals.summarize_mean(series.to_numpy()) for key, series in means.items()}, method_titles(results, models)
    rows = [
        sorted((s.mean, names[e, r], names[e, r] != models[e], s) for (r, e), s in summaries.items() if r == setting)
        for setting in settings
    ]
    heights = [len(part) for part in rows]
    figure, panels = plt.subplots(
        len(settings), 1, figsize=(8.5, 0.9 * len(settings) + 0.27 * sum(heights)), sharex=True, layout="constrained", squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for axes, setting, part in zip(panels[:, 0], settings, rows, strict=True):
        for place, (mean, name, is_control, summary) in enumerate(part):
            color = method_looks(name, int(is_control))["color"]
            axes.plot([summary.low, summary.high], [place, place], color=color, linewidth=2)
            axes.plot(mean, place, "o", color=color)
        axes.set(yticks=range(len(part)), yticklabels=[name for _, name, *_ in part], title=label_of(setting), xlim=(-0.02, 1.02))
        axes.set_ylim(-0.6, len(part) - 0.4)
    panels[-1, 0].set_xlabel(f"mean 3-D DSC, {label_of(dataset)}, {counted(s.n for s in summaries.values())}")
    plt.close(figure)
    return figure


def cohort_values(results: pd.DataFrame, experiments: Mapping[str, str], roles: Mapping[str, str]) -> dict[str, object]:
    """Values for the front page, by glue key NOTEBOOK_ROLE_(dsc|dsc_low|dsc_high|n) or, with a prompt, NOTEBOOK_SETTING_ROLE_...

    `experiments`: notebook -> name of its own method; `roles`: data set -> ROLE, as `wording.roles` gives it. The trivial baselines for a
    box on every slice or on one are called box_ellipse and box_ellipsoid.
    """
    means = dsc_of_rows(results, ["experiment"])
    values: dict[str, Any] = {}
    for notebook, name in experiments.items():
        for dataset, setting in [(dataset, setting) for dataset, setting, known in means if known == name and dataset in roles]:
            summary = intervals.summarize_mean(means[dataset, setting, name].to_numpy())
            key = _TRIVIAL_KEYS.get((notebook, setting), notebook + ("" if setting == "none" else f"_{setting}")) + f"_{roles[dataset]}"
            values |= {f"{key}_dsc": summary.mean, f"{key}_n": summary.n, f"{key}_dsc_low": summary.low, f"{key}_dsc_high": summary.high}
    return values


_TRIVIAL_KEYS = {
    ("baselines_zero_shot", "box_every_slice"): "box_ellipse",
    ("baselines_zero_shot", "box_one_slice"): "box_ellipsoid",
}


def printable_setting_table(
    results: pd.DataFrame, models: Mapping[str, str], setting: str, datasets: Sequence[str], finished: Iterable[RunResult] = ()
) -> pd.DataFrame:
    """One row per method in one prompt setting, best mean DSC on the first of `datasets` on top; intervals are 95 %.

    A method that was tested on fewer patients than the head of the column says has its n next to the value. `finished`: with the results
    of the experiments, the table says how many labels their settings took.
    """
    table = intervals.cohort_table(results[(results["prompter"] == setting) & results["test_dataset"].isin(datasets)])
    rows = {(row["experiment"], row["test_dataset"]): row for _, row in table.iterrows()}
    names = method_titles(results, models)
    order = table[table["test_dataset"] == datasets[0]].sort_values("dsc", ascending=False)["experiment"]
    counts = table.groupby("test_dataset")["n"].max()
    labels_of = settings_labels.by_experiment(finished, datasets[0], setting)

    def row_of(experiment: str) -> dict[str, object]:
        shown: dict[str, Any] = {"method": names[experiment, setting]}
        for dataset in [name for name in datasets if name in counts]:
            row, head = rows.get((experiment, dataset)), f"DSC, {label_of(dataset)}, n = {counts[dataset]}"
            shown[head] = "–" if row is None else interval_text(row["dsc"], row["dsc_low"], row["dsc_high"])
            if row is not None and row["n"] < counts[dataset]:
                shown[head] += f", n = {row['n']}"
        first = rows[experiment, datasets[0]]
        shown["HD95, median (mm)"] = number_text(first["hd95_median"], 1)
        shown["lesions hit"] = number_text(first["lesion_sensitivity"], 2)
        shown["false positives, tumor-free (ml)"] = number_text(first["false_positive_volume_tumor_free"], 1)
        shown |= {settings_labels.COLUMN: labels_of[experiment]} if labels_of else {}
        shown["failed"] = sum(int(rows[experiment, d]["failed"]) for d in datasets if (experiment, d) in rows)
        return shown

    return pd.DataFrame([row_of(experiment) for experiment in order])


def printable_case_matrix(results: pd.DataFrame, datasets: Sequence[str], models: Mapping[str, str]) -> pd.DataFrame:
    """DSC of every method (rows, by prompt setting) on every case (columns) of `datasets`, against each data set's own reference."""
    names = method_titles(results, models)
    whole = results[(results["lesion_id"] == "") & results["test_dataset"].isin(datasets) & (results["metric"] == "dsc")]
    whole = tables.require_plain(whole[~whole["reader"].str.startswith("reader-")])
    frame = pd.DataFrame(
        {
            "method": [names[key] for key in zip(whole["experiment"], whole["prompter"], strict=True)],
            "prompt": whole["prompter"].map(label_of),
            "case": whole["case_id"],
            "value": [number_text(value, 2) for value in whole["value"]],
        }
    )
    if frame.empty:
        return frame[["method", "prompt"]]
    return frame.pivot(index=["prompt", "method"], columns="case", values="value").reset_index()


def printable_training(finished: Sequence[RunResult]) -> pd.DataFrame:
    """Steps, seconds, parameters and device of each trained experiment (`results.RunResult`)."""
    trained = [result for result in finished if len(result.history)]
    return pd.DataFrame(
        {
            "method": [result.provenance["title"] for result in trained],
            "steps": [int(result.history["step"].max()) for result in trained],
            "seconds": [training_seconds(result.history) for result in trained],
            "parameters (M)": [number_text(result.provenance["parameters"] / 1e6, 1) for result in trained],
            "device": [result.provenance["device"] for result in trained],
        }
    )
