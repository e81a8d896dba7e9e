"""The page of one experiment: its sentences, tables and figures.

The notebooks of one paradigm differ in the experiment's name alone, so what differs between models is decided here, from their cards.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import registry
from ..core import project
from ..core.stand_ins import RANDOM
from ..evaluation import intervals, metrics, tables
from ..experiments import config, grid, planning
from ..experiments.results import RunResult
from ..types import Row
from . import contamination, methods, model_texts, wording
from .labels import in_reading_order, interval_text, label_of, method_titles, number_text
from .style import looks_of, plot_style
from .values import dsc_of_rows, training_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


BASELINES = "baselines_zero_shot"  # the notebook whose first run is the ellipse in the box
_LABEL_WIDTH = 10  # characters of a line below a figure
_NAMED_SETTINGS = ("box_every_slice", "box_one_slice")  # those that the answer of a promptable model states
_VIEWED_SETTINGS = ("box_one_slice", "box_every_slice")  # the first of them that was run is shown in the viewer


@dataclass(frozen=True)
class ExperimentPage:
    """The results that the page of one notebook shows.

    `runs`: the experiment's own first, then its controls, such as random weights. `baseline`: a prediction from the same prompts by a rule
    that learned nothing; None for a model without prompts.
    """

    notebook: str
    runs: tuple[RunResult, ...]
    baseline: RunResult | None

    @property
    def result(self) -> RunResult:
        """The experiment's own run."""
        return self.runs[0]

    @property
    def takes_prompts(self) -> bool:
        """Whether the model predicts from a prompt; an automatic one is only cut to a prompt, as a control."""
        return not registry.card("models", self.result.experiment.model).is_automatic

    @property
    def tested(self) -> list[str]:
        """Test sets that are summed up by means, internal first."""
        return wording.datasets(self.result.experiment.profile)

    @property
    def titles(self) -> dict[str, str]:
        """Experiment -> what it is called beside its numbers, in the order of the table."""
        return {run.experiment.name: planning.experiment_title(run.experiment) for run in self._compared()}

    def own(self) -> pd.DataFrame:
        """The experiment's own predictions: an automatic model's without a prompt, a promptable one's at every prompt setting."""
        return self.result.asked() if self.takes_prompts else self.result.asked("none")

    def own_tested(self) -> pd.DataFrame:
        """Those of `own` on the test sets that are summed up by means."""
        rows = self.own()
        return rows[rows["test_dataset"].isin(self.tested)]

    def shown(self) -> pd.DataFrame:
        """The rows of the table of means: all runs and the baseline, at the prompt settings of the experiment."""
        rows = pd.concat([run.asked() for run in self._compared()], ignore_index=True)
        return rows[rows["test_dataset"].isin(self.tested) & rows["prompter"].isin(self.result.asked()["prompter"].unique())]

    def _compared(self) -> list[RunResult]:
        runs = [*self.runs, *([self.baseline] if self.baseline else [])]
        return list({run.experiment.name: run for run in runs}.values())


def open_page(notebook: str, runs: Sequence[RunResult]) -> ExperimentPage:
    """The page of a notebook's `runs`, with the baseline that its prompts need. The page of the baselines compares its first two rules."""
    own, card = runs[0].experiment, registry.card("models", runs[0].experiment.model)
    if card.is_automatic:
        baseline = None
    elif card.learns:
        baseline = grid.run_experiment(BASELINES, own.profile)
    else:
        baseline = runs[1] if len(runs) > 1 else None
    return ExperimentPage(notebook, tuple(runs), baseline)


def page_title(notebook: str, profile: str) -> str:
    """The title of an experiment's page: "MedSAM (stand-in), few-shot" where the profile runs a stand-in, else "MedSAM, few-shot"."""
    line, experiment = config.load().experiment(notebook), planning.make_experiment(notebook, profile)
    card = registry.card("models", line.model)
    name = _text_of(line.model, profile, notebook).name
    if not card.learns:
        return name
    return f"{name}{'' if experiment.model == line.model else ' (stand-in)'}, {registry.card('paradigms', line.paradigm).title}"


def _text_of(model: str, profile: str, notebook: str) -> model_texts.ModelText:
    experiment = planning.make_experiment(notebook, profile)
    same = model == experiment.model
    options = config.resolve_options(experiment, config.load().profile(profile)) if same else registry.card("models", model).options
    return model_texts.read(model, options)


def opening(page: ExperimentPage) -> str:
    """Markdown for the head of the page: what runs here, and, without training on the tested data, what the weights have seen."""
    experiment = page.result.experiment
    text = wording.what_runs_here(experiment, page.notebook)
    if registry.card("paradigms", experiment.paradigm).uses_target_labels or not registry.card("models", experiment.model).learns:
        return text
    seen = contamination.sentence(experiment.model, page.result.provenance["options"], page.own()["test_dataset"].unique())
    return f"{text}\n\n{seen}"


def answer(page: ExperimentPage) -> str:
    """Markdown: the experiment's mean DSC on each test set, what it is compared with, and the ceiling of its grid."""
    values = page_values(page)
    parts = _prompted_paragraphs(page, values) if page.takes_prompts else [_automatic_paragraph(page, values)]
    least = f"under {intervals.MIN_PATIENTS_FOR_INTERVAL} patients"
    if any("[" in part for part in parts):
        last = f"Brackets hold the 95 % interval over patients; {least} there is none."
    else:
        last = f"There is no interval {least}."
    if f"{page.notebook}_ceiling" in values:
        grid_name = "in the picture that it sees of a slice" if page.takes_prompts else "on its working grid"
        last = f"A perfect prediction {grid_name} would reach {values[f'{page.notebook}_ceiling']}. {last}"
    return "\n\n".join([*parts, last])


def _automatic_paragraph(page: ExperimentPage, values: Row) -> str:
    key, experiment, parts = page.notebook, page.result.experiment, []
    for dataset, role in wording.roles(experiment.profile).items():
        if f"{key}_{role}_n" in values:
            start = "On" if parts else "Without a prompt, the model reaches a mean 3-D DSC of {dsc} on"
            kind = ", the kind it was trained on" if dataset == experiment.train_dataset else ""
            end = ", it reaches {dsc}." if parts else f"{kind}."
            text = f"{start} {values[f'{key}_{role}_n']} {wording.named(dataset)}{end}"
            parts.append(text.format(dsc=values[f"{key}_{role}_dsc"]))
    parts.append(f"The network has {values[f'{key}_parameters']} parameters.")
    if f"{key}_seconds" in values:
        parts.append(f"Its training of {values[f'{key}_steps']} steps took {values[f'{key}_seconds']} s.")
    return " ".join(parts)


def _prompted_paragraphs(page: ExperimentPage, values: Row) -> list[str]:
    key, parts = page.notebook, []
    subject = "model" if registry.card("models", page.result.experiment.model).learns else "rule"
    other = planning.experiment_title(page.baseline.experiment) if page.baseline else ""
    for dataset, role in wording.roles(page.result.experiment.profile).items():
        settings = [name for name in _NAMED_SETTINGS if f"{key}_{role}_{name}" in values]
        sentences = []
        for setting in settings:
            value = f"{key}_{role}_{setting}"
            where = f"it reaches {values[value]}"
            if not sentences:
                where = f"the {subject} reaches a mean 3-D DSC of {values[value]} on {values[f'{key}_{role}_n']} {wording.named(dataset)}"
            sentences.append(f"With a {label_of(setting)}, {where}.")
            if f"{value}_gain" in values:
                base, gain = values[f"{value}_baseline"], values[f"{value}_gain"]
                sentences.append(f"From the same prompts, “{other}” reaches {base} (paired difference {gain}).")
        parts += [" ".join(sentences)] if sentences else []
    return parts


def page_values(page: ExperimentPage) -> dict[str, object]:
    """Values of the page by glue key; each key begins with the notebook's name.

    NOTEBOOK_title, _parameters, _ceiling, after a training _steps and _seconds; of a promptable model those of `rung_answers`; of an
    automatic one NOTEBOOK_ROLE_dsc and _n without a prompt.
    """
    key, result, roles = page.notebook, page.result, wording.roles(page.result.experiment.profile)
    values: dict[str, Any] = {f"{key}_title": planning.experiment_title(result.experiment)}
    values[f"{key}_parameters"] = f"{result.provenance['parameters']:,}"
    ceiling = mean_ceiling(result.provenance["cases"], page.tested[0])
    if not np.isnan(ceiling):
        values[f"{key}_ceiling"] = f"{ceiling:.2f}"
    if "seconds" in set(result.history["quantity"]):
        values[f"{key}_steps"] = int(result.history["step"].max())
        values[f"{key}_seconds"] = training_seconds(result.history)
    if page.takes_prompts:
        return values | rung_answers(key, result.asked(), page.baseline.asked() if page.baseline else None, roles)
    for row in intervals.cohort_table(page.own()).to_dict("records"):
        if role := roles.get(row["test_dataset"]):
            values[f"{key}_{role}_dsc"] = interval_text(row["dsc"], row["dsc_low"], row["dsc_high"])
            values[f"{key}_{role}_n"] = int(row["n"])
    return values


def how_to_read(page: ExperimentPage) -> str:
    """Markdown for the table of means: what the numbers rest on, and what the rows beside the experiment's own are."""
    experiment = page.result.experiment
    text = wording.statement(experiment.profile) + methods.one_of_several(experiment, page.notebook)
    text += "\n\nMeans over patients with 95 % intervals (BCa bootstrap over patients). Under "
    text += f"{intervals.MIN_PATIENTS_FOR_INFERENCE} patients they are descriptive only."
    if registry.card("models", experiment.model).learns:
        text += " They describe *these weights*, not the method."
    if not page.takes_prompts and set(page.shown()["prompter"]) - {"none"}:
        text += (
            "\n\nThe rows with a prompt are the **control** for that prompt: those parts of the network's own prediction that touch the "
            "prompt, cut to the prompt's box grown by 5 mm. This is what a prompt gives to a model that cannot read it. The rest of this "
            "page uses no prompt."
        )
    elif page.baseline and registry.card("models", experiment.model).learns:
        text += (
            "\n\nEach prompt setting has a row of the trivial baseline with the same prompts: the ellipse in each box, or the ellipsoid on "
            "the one box. What a box gives away is part of every number."
        )
    if any(dict(run.experiment.options).get("pretraining") == RANDOM for run in page.runs[1:]):
        text += " The same network with random weights is a control. It has learned nothing: its score comes from prompt and architecture."
    return text


def cohort_table(page: ExperimentPage) -> pd.DataFrame:
    """Means of the page's runs and of the baseline, a row for each prompt setting and test set."""
    return printable_cohort_table(page.shown(), page.titles)


def values_figure(page: ExperimentPage) -> Figure:
    """Each patient a point: by prompt setting and model, or by test set for an automatic model."""
    if page.takes_prompts:
        return values_by_rung(page.shown(), page.titles)
    return values_by_dataset(page.own_tested())


def real_cases(page: ExperimentPage) -> pd.DataFrame:
    """The real cases that are shown one by one, outside the test sets that are summed up."""
    real = [name for name in page.own()["test_dataset"].unique() if name not in page.tested]
    return printable_case_table(page.own(), real, page.result.provenance["cases"])


def viewed_setting(page: ExperimentPage) -> str:
    """The prompt setting whose predictions the viewer of the page shows."""
    asked = set(page.own()["prompter"])
    return next((name for name in _VIEWED_SETTINGS if name in asked), page.own()["prompter"].iloc[0])


def how_it_works(page: ExperimentPage) -> str:
    """Markdown on the model and on the stand-in that ran in its place."""
    return "\n\n".join(text.about for text in _texts(page))


def how_it_was_trained(page: ExperimentPage) -> str:
    """Markdown on what is special in the training of the model; empty for a model whose file says nothing of it."""
    parts = [*(text.training for text in _texts(page)), tuning_sentence(page.result.experiment.model)]
    return "\n\n".join(filter(None, parts))


def _texts(page: ExperimentPage) -> list[model_texts.ModelText]:
    experiment, line = page.result.experiment, config.load().experiment(page.notebook)
    return [_text_of(name, experiment.profile, page.notebook) for name in dict.fromkeys((line.model, experiment.model))]


def tuning_sentence(model: str) -> str:
    """One sentence on how an automatic model's settings were chosen; empty if no such table is stored."""
    path = project.project_root() / "data" / "results" / f"tuning_{model}.csv"
    trials = pd.read_csv(path) if path.is_file() else pd.DataFrame()
    if "dev_test_dsc_mean" not in trials:
        return ""
    best = trials.loc[trials["dev_test_dsc_mean"].idxmax()]
    return (
        f"The best of {len(trials)} settings that were tried reached a mean DSC of {best['dev_test_dsc_mean']:.2f} on development phantoms "
        f"(median {best['dev_test_dsc_median']:.2f}); `data/results/{path.name}` lists every trial."
    )


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
        raise ValueError("one rung of the prompt ladder at a time")
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


def values_by_rung(results: pd.DataFrame, models: Mapping[str, str], metric: str = "dsc") -> Figure:
    """Each patient a point, by rung of the prompt ladder and model, one panel per test data set; bars are medians."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    whole = tables.case_values(tables.require_plain(results), metric)
    frame = whole.groupby(["experiment", "test_dataset", "prompter", "patient_id"], sort=False)["value"].mean().reset_index()
    names = method_titles(whole, models)
    frame["model"] = [names[key] for key in zip(frame["experiment"], frame["prompter"], strict=True)]
    frame["rung"] = frame["prompter"].map(lambda name: textwrap.fill(label_of(name), _LABEL_WIDTH))
    datasets = list(dict.fromkeys(in_reading_order(frame, "test_dataset")["test_dataset"]))
    size = (max(4.6, frame["rung"].nunique()) * len(datasets) + 1, 3.9)
    colors = {name: looks["color"] for name, looks in looks_of(frame["model"]).items()}
    figure, panels = plt.subplots(1, len(datasets), figsize=size, layout="constrained", sharey=True, squeeze=False)
    for axes, dataset in zip(panels[0], datasets, strict=True):
        part = frame[frame["test_dataset"] == dataset]
        common = {"data": part, "x": "rung", "y": "value", "hue": "model", "ax": axes, "hue_order": list(colors), "palette": colors}
        sns.boxplot(**common, showbox=False, showcaps=False, whiskerprops={"visible": False}, fliersize=0, legend=False)
        sns.stripplot(**common, dodge=True, size=3.5, alpha=0.65, jitter=0.18, legend=dataset == datasets[0])
        axes.set(title=f"{label_of(dataset)}, n = {part['patient_id'].nunique()}", xlabel="", ylabel=label_of(metric), ylim=(-0.02, 1.02))
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    panels[0][0].get_legend().remove()
    plt.close(figure)
    return figure


def rung_answers(key: str, results: pd.DataFrame, baseline: pd.DataFrame | None, roles: Mapping[str, str]) -> dict[str, object]:
    """Values for the text of a page, by glue key: means with intervals per data set and rung, and the difference to a baseline.

    Keys: KEY_ROLE_n, KEY_ROLE_RUNG (mean DSC), ..._baseline (of `baseline` with the same prompt), ..._gain (paired difference). `roles`:
    data set -> ROLE, as `wording.roles` gives it; others have no keys. Without a baseline there are only means.
    """
    values: dict[str, Any] = {}
    own, other = dsc_of_rows(results), {} if baseline is None else dsc_of_rows(baseline)
    for (dataset, rung), series in own.items():
        if dataset not in roles or (baseline is not None and (dataset, rung) not in other):  # zero-shot: no boxes of a detector at home
            continue
        mean = intervals.summarize_mean(series.to_numpy())
        values[f"{key}_{roles[dataset]}_n"] = mean.n
        summaries = {"": mean}
        if baseline is not None:
            summaries["_baseline"] = intervals.summarize_mean(other[dataset, rung].to_numpy())
            summaries["_gain"] = intervals.summarize_paired_difference(series, other[dataset, rung])
        for name, summary in summaries.items():
            values[f"{key}_{roles[dataset]}_{rung}{name}"] = interval_text(summary.mean, summary.low, summary.high)
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
    shown = {metric.name: metric.digits for metric in metrics.shown_in(metrics.CASE)}
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
