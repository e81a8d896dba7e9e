"""Page "Whole chests and other scanners": internal against external test sets, and real whole CTs one by one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..evaluation import intervals, tables
from ..experiments import config, results
from ..prompts.ladder import PROMPT_SETTINGS
from . import controls, methods, wording
from .labels import counted, difference_text, difference_texts, label_of, number_text
from .style import plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS = ("none", "box_one_slice")  # of the figure and the table of the page
_METHODS_DRAWN, _ROWS, _LABEL_WIDTH = 6, 10, 34
_NOT_RUN = "(not run yet)"


def external_results(finished: Sequence[results.RunResult], internal: str, external: str) -> pd.DataFrame:
    """Mean DSC by method and prompt setting on the internal and an external test set, and the drop between the two.

    For experiments trained on the external set the two roles are swapped; for untrained ones `internal` counts as such. The two groups are
    independent, because their patients differ.

    Args:
        finished: results of all experiments.
        internal: the internal data set.
        external: the external data set.

    Returns:
        One row per method and prompt setting. Columns: title, setting, trained (whether it was trained at all), internal and
        external (mean DSC, internal and external), drop, drop_low, drop_high, n_internal, n_external.
    """
    rows, names, found = [], methods.titles(finished), methods.group_runs(finished)
    for setting in PROMPT_SETTINGS:
        for method in (m for m in found if m.asked(internal, setting) and m.asked(external, setting)):
            swapped = method.experiment.train_dataset == external
            here, there = (method.mean(name, setting) for name in ((external, internal) if swapped else (internal, external)))
            drop = intervals.summarize_difference(here.to_numpy(), there.to_numpy())
            row = {"title": names[method.name, setting], "setting": setting, "internal": here.mean(), "external": there.mean()}
            row |= {"trained": method.experiment.train_dataset != config.NO_DATASET}
            row |= {"drop": drop.mean, "drop_low": drop.low, "drop_high": drop.high}
            rows.append(row | {"n_internal": len(here), "n_external": len(there)})
    return pd.DataFrame(rows)


def external_table(table: pd.DataFrame) -> pd.DataFrame:
    """`external_results` as a table for a page."""
    n = counted(table["n_internal"]), counted(table["n_external"])
    return pd.DataFrame(
        {
            "prompt": table["setting"].map(label_of),
            "method": table["title"],
            f"internal, {n[0]}": [f"{v:.2f}" for v in table["internal"]],
            f"external, {n[1]}": [f"{v:.2f}" for v in table["external"]],
            "drop": difference_texts(table, "drop"),
        }
    )


def drop_values(method: methods.Method, internal: str, external: str, setting: str = "none") -> dict[str, object]:
    """Values for the text of a page: how much lower one method's mean DSC is on `external` (drop), and the patients of both (n_...)."""
    own, other = (method.mean(name, setting).to_numpy() for name in (internal, external))
    drop = intervals.summarize_difference(own, other)
    return {"drop": difference_text(drop.mean, drop.low, drop.high), "n_internal": len(own), "n_external": len(other)}


def external_values(table: pd.DataFrame, setting: str) -> dict[str, object]:
    """Values for the text of a page, of `external_results` in one prompt setting: numbers of trained methods and drops, largest drop."""
    part = table[(table["setting"] == setting) & table["trained"]]
    if part.empty:
        return dict.fromkeys(("n_methods", "n_lower", "largest_drop", "largest_drop_of"), _NOT_RUN)
    worst = part.loc[part["drop"].idxmax()]
    return {
        "n_methods": len(part),
        "n_lower": int((part["drop"] > 0).sum()),
        "largest_drop": difference_text(worst["drop"], worst["drop_low"], worst["drop_high"]),
        "largest_drop_of": worst["title"],
    }


def drops_figure(table: pd.DataFrame) -> Figure:
    """Mean Dice of trained methods on the internal (filled) and an external test set (open), joined. `table`: `external_results`."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    parts = {name: _drawn(table, name) for name in _SETTINGS}
    parts = {name: part for name, part in parts.items() if len(part)}
    heights = [len(part) + 0.8 for part in parts.values()]
    figure, panels = plt.subplots(
        len(parts), 1, figsize=(8.5, 0.7 * len(parts) + 0.42 * sum(heights)), sharex=True, layout="constrained", squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    blue, orange = sns.color_palette()[:2]
    for axes, (setting, part) in zip(panels[:, 0], parts.items(), strict=True):
        for place, (_, row) in enumerate(part.iterrows()):
            axes.plot([row["internal"], row["external"]], [place, place], color="0.6", linewidth=2, zorder=1)
            axes.plot(row["internal"], place, "o", color=blue, markersize=9, label="internal test set")
            axes.plot(row["external"], place, "s", color=orange, markersize=8, label="external test set")
        axes.set(
            title=label_of(setting),
            yticks=range(len(part)),
            yticklabels=[textwrap.fill(name, _LABEL_WIDTH) for name in part["title"]],
            ylim=(-0.6, len(part) - 0.4),
        )
        axes.grid(visible=False, axis="y")
    panels[-1, 0].set(xlabel="mean Dice", xlim=(-0.02, 1.02))
    figure.legend(handles=[line for line in panels[0, 0].get_lines() if line.get_marker() in "os"][:2], loc="outside lower center", ncols=2)
    plt.close(figure)
    return figure


def _drawn(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    """The trained methods in one prompt setting that are best on the internal test set, best last."""
    part = table[(table["setting"] == setting) & table["trained"]]
    return part.sort_values("internal", kind="stable").iloc[-_METHODS_DRAWN:]


def chests_table(finished: Sequence[results.RunResult], internal: str, external: str) -> pd.DataFrame:
    """Trained methods without a prompt on both test sets: Dice, lesions found, and false positives in tumor-free scans."""
    table, rows = external_results(finished, internal, external), []
    drawn = table[(table["setting"] == "none") & table["trained"]].sort_values("internal", ascending=False, kind="stable")[:_ROWS]
    names = methods.titles(finished)
    found = {names[m.name, "none"]: m for m in methods.group_runs(finished) if m.asked(internal, "none")}
    for _, row in drawn.iterrows():
        method = found[row["title"]]
        summary = intervals.cohort_table(method.averaged().query("prompter == 'none'")).set_index("test_dataset")
        here, there = (external, internal) if method.experiment.train_dataset == external else (internal, external)
        shown = {"method, no prompt": row["title"], "Dice, internal": f"{row['internal']:.2f}", "Dice, external": f"{row['external']:.2f}"}
        shown["drop"] = difference_text(row["drop"], row["drop_low"], row["drop_high"])
        for name, dataset in (("internal", here), ("external", there)):
            shown[f"lesions found, {name}"] = number_text(summary.loc[dataset, "lesion_sensitivity"], 2)
        for name, dataset in (("internal", here), ("external", there)):
            shown[f"false positives, {name} (ml)"] = number_text(summary.loc[dataset, "false_positive_volume_tumor_free"], 1)
        rows.append(shown)
    return pd.DataFrame(rows)


def real_cases(finished: Iterable[results.RunResult], datasets: Sequence[str]) -> list[str]:
    """Those of some real data sets of which there are results."""
    tested = {name for result in finished for name in result.results["test_dataset"].unique()}
    return [name for name in datasets if name in tested]


def case_matrix(finished: Sequence[results.RunResult], datasets: Sequence[str]) -> pd.DataFrame:
    """Dice of every method (rows, by prompt) on every case (columns), against each data set's own reference; of several runs the mean.

    Cases of different data sets have different targets, so there is no mean, interval or rank.
    """
    names, values = methods.titles(finished), _whole(finished, datasets, "dsc")
    frame = pd.DataFrame(
        {
            "prompt": values["prompter"].map(label_of),
            "method": [names[key] for key in zip(values["experiment"], values["prompter"], strict=True)],
            "case": values["case_id"],
            "value": [number_text(value, 2) for value in values["value"]],
        }
    )
    if frame.empty:
        return frame[["prompt", "method"]]
    return frame.pivot(index=["prompt", "method"], columns="case", values="value").reset_index().rename_axis(columns=None)


def case_table(finished: Sequence[results.RunResult], datasets: Sequence[str]) -> pd.DataFrame:
    """One row per real case: reference, and of a few methods the Dice; of the automatic network without a prompt also what it found.

    The methods: `controls.representatives`.
    """
    names, cut = methods.titles(finished), _cut(finished)
    wide = {
        metric: _whole(finished, datasets, metric).set_index(["experiment", "prompter", "test_dataset", "case_id"])["value"]
        for metric in _OF_A_CASE
    }
    cases = wide["dsc"].index.droplevel(["experiment", "prompter"]).unique()
    chosen, rows = controls.representatives(finished, datasets), []
    for dataset, case in cases:
        row: dict[str, Any] = {"case": f"{label_of(dataset)}: {case}" + (" †" if (dataset, case) in cut else "")}
        row["reference (ml)"] = number_text(wide["reference_volume"].xs((dataset, case), level=("test_dataset", "case_id")).iloc[0], 1)
        for method, setting in chosen:
            key, title = (method.name, setting, dataset, case), f"{names[method.name, setting]}, {label_of(setting)}"
            row[f"{title}: Dice"] = number_text(wide["dsc"].get(key, np.nan), 2)
            if setting == "none":
                row["lesions found"] = number_text(wide["lesion_sensitivity"].get(key, np.nan), 2)
                row["false positives (ml)"] = number_text(wide["false_positive_volume"].get(key, np.nan), 1)
        rows.append(row)
    return pd.DataFrame(rows)


_OF_A_CASE = ("dsc", "reference_volume", "lesion_sensitivity", "false_positive_volume")


def _whole(finished: Sequence[results.RunResult], datasets: Sequence[str], metric: str) -> pd.DataFrame:
    """Values of whole cases by each data set's own reference, runs averaged, in the order of `datasets`."""
    rows = pd.concat([method.averaged() for method in methods.group_runs(finished)], ignore_index=True)
    rows = tables.require_plain(rows[(rows["lesion_id"] == "") & (rows["metric"] == metric) & rows["test_dataset"].isin(datasets)])
    rows = rows[~rows["reader"].str.startswith("reader-")]
    return rows.sort_values("test_dataset", key=lambda names: [list(datasets).index(name) for name in names], kind="stable")


def _cut(finished: Iterable[results.RunResult]) -> set[tuple[str, str]]:
    """Cases whose lesion is cut by an end of the volume."""
    return {(r["test_dataset"], r["case_id"]) for result in finished for r in result.provenance["cases"] if r["cut_by_volume_end"]}


def answer(table: pd.DataFrame, internal: tuple[str, str], external: tuple[str, str], control: methods.Method) -> str:
    """The finding of the page. `internal`, `external`: data set and its patients in words; `control`: the automatic network."""
    if table.empty:
        return "No test set of another source was tested in this edition, so nothing can be said of other scanners."
    values, every = drop_values(control, internal[0], external[0]), external_values(table, "none")
    here, there = (control.mean(name, "none").mean() for name in (internal[0], external[0]))
    text = (
        f"The U-Net was trained on {internal[1]}. Without a prompt its mean Dice is {here:.2f} on them (n = {values['n_internal']}) and "
        f"{there:.2f} on {external[1]} (n = {values['n_external']}), a drop of {values['drop']}. "
    )
    if every["n_methods"] != _NOT_RUN and every["n_methods"] > 1:
        text += f"Of {every['n_methods']} trained networks {every['n_lower']} score lower on the external test set. "
    free = intervals.cohort_table(control.averaged().query("prompter == 'none'")).set_index("test_dataset")
    marked = free.loc[external[0], "false_positive_volume_tumor_free"]
    if np.isfinite(marked):
        text += (
            f"In {free.loc[external[0], 'n_tumor_free']} external scans without a tumor it marks {number_text(marked, 1)} ml on average."
        )
    return text.strip()


def cases_answer(finished: Sequence[results.RunResult], datasets: Sequence[str]) -> str:
    """A sentence on the real cases: lowest and highest Dice of the automatic network without a prompt, never a mean."""
    if not datasets:
        return "No real whole CT was tested in this edition: the files have to be fetched (`make data`)."
    control = next(iter(m for m, setting in controls.representatives(finished, datasets) if setting == "none"), None)
    if control is None:
        return ""
    values = _whole([r for r in finished if r in control.results], datasets, "dsc").query("prompter == 'none'")["value"].dropna()
    return (
        f"On {len(values)} real whole CTs, the U-Net that was trained on {wording.named(control.experiment.train_dataset)} reaches a Dice "
        f"between {values.min():.2f} and {values.max():.2f}. They are few, so each is shown and none is averaged."
    )


def control_result(finished: Sequence[results.RunResult]) -> results.RunResult:
    """The first run of the automatic network among some results."""
    control = controls.control_experiment(finished[0].experiment, finished[0].experiment.train_dataset)
    return next((r for r in finished if methods.group_key(r.experiment) == methods.group_key(control)), finished[0])


def folded_directions(table: pd.DataFrame, results_are: str, machines: str) -> str:
    """Markdown of the folded trainings on either data set, with the table that was glued as both_directions."""
    values = external_values(table, "none")
    return (
        ":::{dropdown} Trained on either data set, on a graphics card\n"
        f"These are {results_are}, on finer phantoms and with larger networks. What was trained on one data set is tested on both; methods "
        "that were not trained count the first as internal. On few patients intervals describe and carry no claim. "
        f"Without a prompt, of {values['n_methods']} trained networks {values['n_lower']} score lower on the external test set; the "
        f"largest drop is {values['largest_drop']} ({values['largest_drop_of']}). {machines} [What it costs](costs.ipynb) shows the "
        "times of training.\n```{glued} whole_chests.ipynb::both_directions\n```\n:::"
    )
