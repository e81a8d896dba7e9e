"""Page "How sure are we?": planned contrasts and rankings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from ..evaluation import comparisons, intervals, plan
from ..experiments import analysis_plan, config, planning, results
from . import labels
from .controls import EXTERNAL, TARGET, training
from .labels import difference_text, label_of
from .methods import Method, at_hand, group_runs, pair_methods, titles
from .style import method_looks, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_BY_READERS = ", prompted by one reader, judged by the others"


def contrasts(profile: str, dataset: str) -> pd.DataFrame:
    """The six planned contrasts on one data set, with Holm's correction within the family.

    The sides are trained on that data set if the profile trains on it, else on the profile's first one.

    Args:
        profile: name of a profile.
        dataset: the tested data set.

    Returns:
        One row per contrast. A contrast that the profile cannot fill has n = 0 and the reason in `method`. Columns: name, a, b (titles with
        prompt settings), n, difference, low, high, p, p_holm (all for these trained models), detectable (minimum detectable difference),
        p_wilcoxon (for the appendix); secondary_metric, secondary, secondary_low, secondary_high, secondary_n (of the secondary metric of
        the data set); runs (the fewer of the two sides), over_runs_low, over_runs_high, over_runs_how (interval for the methods, NaN with
        one run); method.
    """
    filled = {c.name: _contrast(c, profile, dataset) for c in analysis_plan.load().contrasts}
    made = [found.contrast for found in filled.values() if isinstance(found, _Filled)]
    empty = [comparisons.Contrast(name, *[np.nan] * 4, np.nan, 0, why) for name, why in filled.items() if isinstance(why, str)]
    adjusted = {c.name: c for c in comparisons.adjust_family([*made, *empty])}
    rows = []
    for name, found in filled.items():
        contrast = adjusted[name]
        row = {"name": name, "n": contrast.n, "difference": contrast.difference, "low": contrast.low, "high": contrast.high}
        row |= {"p": contrast.p, "p_holm": contrast.p_holm, "method": contrast.method, "a": "", "b": ""}
        rows.append(row | (found.columns() if isinstance(found, _Filled) else {}))
    table = pd.DataFrame(rows)
    return table.reindex(
        columns=[*table.columns, *(name for name in (*_Filled.NUMBERS, "over_runs_how", "secondary_metric") if name not in table)]
    )


@dataclass(frozen=True)
class _Filled:
    """A contrast of the family with its sides by name and further columns."""

    contrast: comparisons.Contrast
    a: str
    b: str
    detectable: float
    p_wilcoxon: float
    secondary_metric: str
    secondary: intervals.Summary
    runs: int
    over_runs: intervals.Summary

    NUMBERS: ClassVar = (
        *("detectable", "p_wilcoxon", "secondary", "secondary_low", "secondary_high", "secondary_n"),
        *("runs", "over_runs_low", "over_runs_high"),
    )

    def columns(self) -> dict[str, object]:
        numbers = (self.detectable, self.p_wilcoxon, self.secondary.mean, self.secondary.low, self.secondary.high, self.secondary.n)
        numbers += (self.runs, self.over_runs.low, self.over_runs.high)
        words = {"a": self.a, "b": self.b, "over_runs_how": self.over_runs.method, "secondary_metric": self.secondary_metric}
        return words | dict(zip(self.NUMBERS, numbers, strict=True))


def _contrast(planned: plan.PlannedContrast, profile: str, dataset: str) -> _Filled | str:
    """The contrast with its further columns; or the reason why this profile has none."""
    known, sides = [line.notebook for line in config.load().lines(profile)], []
    for notebook, setting in (planned.a, planned.b):
        if notebook not in known:
            return f"not part of this edition: {notebook.replace('_', ' ')}"
        title = planning.experiment_title(planning.make_experiment(notebook, profile))
        if setting not in config.load().profile(profile).prompters:
            return f"not asked in this edition: {title} with {labels.label_of(setting)}"
        finished = at_hand(notebook, profile, dataset)
        if not finished:
            return f"not run yet: {title}"
        sides += group_runs(finished)
        if not sides[-1].asked(dataset, setting):
            return f"not applicable: {title} with {labels.label_of(setting)} on this data set"
    settings = (planned.a[1], planned.b[1])
    if (sides[0].name, settings[0]) == (sides[1].name, settings[1]):
        return "both are the same stand-in here: only the published weights tell them apart"
    a, b = sides
    both_asked = all(side.asked(dataset, setting, source=planned.source) for side, setting in zip(sides, settings, strict=True))
    source = planned.source if both_asked else ""
    pair = pair_methods(a, settings[0], b, settings[1], dataset, source=source)
    contrast = comparisons.compare_paired(planned.name, pair.a, pair.b, analysis_plan.load().seed)
    left, right = pair.a.mean(axis=1), pair.b.mean(axis=1)
    spread = float((left - right.reindex(left.index)).std(ddof=1))
    detectable = comparisons.minimum_detectable_difference(spread, len(left)) if len(left) > 2 else np.nan
    secondary_metric = analysis_plan.load().secondary_metric(dataset)
    other = pair_methods(a, settings[0], b, settings[1], dataset, secondary_metric, source)
    defined = pd.concat([other.a.mean(axis=1), other.b.mean(axis=1)], axis=1).dropna()  # undefined where no surface is judged
    secondary = intervals.summarize_paired_difference(*(defined[side] for side in defined))
    runs = min(pair.a.shape[1], pair.b.shape[1])
    names = [_side(side, setting) + (_BY_READERS if source else "") for side, setting in zip(sides, settings, strict=True)]
    return _Filled(contrast, *names, detectable, comparisons.wilcoxon_test(left, right), secondary_metric, secondary, runs, pair.method())


def _side(method: Method, setting: str) -> str:
    return f"{titles(method.results)[method.name, setting]}, {labels.label_of(setting)}"


def ranks(finished: Sequence[results.RunResult], dataset: str, setting: str) -> pd.DataFrame:
    """Rank of each method in one prompt setting with the bootstrap's rank range; see `comparisons.rank_sets`. Index: titles.

    If methods were trained on the data set, those trained on another one are left out. So is a method that was tested on only some of the
    patients, as few-shot training is out of fold.
    """
    asked, names = [method for method in group_runs(finished) if method.asked(dataset, setting)], titles(finished)
    kinds = {method.name: training(method.experiment, dataset) for method in asked}
    left_out = EXTERNAL if TARGET in kinds.values() else None
    columns = {method.name: method.mean(dataset, setting) for method in asked if kinds[method.name] != left_out}
    most = max(map(len, columns.values()))
    table = pd.DataFrame({name: values for name, values in columns.items() if len(values) == most})
    return comparisons.rank_sets(table, higher_is_better=True, seed=analysis_plan.load().seed).rename(index=lambda e: names[e, setting])


_LABEL_WIDTH = 46  # characters of a line in a figure


def contrast_figure(table: pd.DataFrame) -> Figure:
    """Difference with 95 % interval of each filled contrast, labeled with its two sides. `table`: from `contrasts`."""
    sns = plot_style()
    import matplotlib.pyplot as plt

    filled = table[table["n"] > 0].iloc[::-1]
    figure, axes = plt.subplots(figsize=(8.5, 0.95 * len(filled) + 0.9), layout="constrained")
    alpha = plan.read().inference.alpha
    for place, (_, row) in enumerate(filled.iterrows()):
        color = sns.color_palette()[0] if row["p_holm"] < alpha else "0.45"
        axes.plot([row["low"], row["high"]], [place, place], color=color, linewidth=3)
        axes.plot(row["difference"], place, "o", color=color, markersize=8)
        text = difference_text(row["difference"], signed=True)
        axes.annotate(text, (row["difference"], place), (0, 9), textcoords="offset points", ha="center", fontsize="small", color=color)
    axes.axvline(0, color="0.3", linewidth=1.2)
    axes.margins(x=0.12)
    names = [textwrap.fill(f"{_short(r['a'])} minus {_short(r['b'])}", _LABEL_WIDTH) for _, r in filled.iterrows()]
    axes.set_yticks(range(len(filled)), names, fontsize="small")
    axes.set(ylim=(-0.6, len(filled) - 0.3), xlabel=f"mean difference of the Dice, n = {filled['n'].max()}")
    axes.grid(visible=False, axis="y")
    plt.close(figure)
    return figure


def _short(side: str) -> str:
    return side.removesuffix(_BY_READERS)


def answer(table: pd.DataFrame, tested_on: str, spread: str) -> str:
    """The finding of the page: what the planned contrasts of one data set say. `spread`: a sentence on further trainings."""
    values = contrast_values(table)
    if not values["contrasts_tested"]:
        return f"None of the {len(table)} planned comparisons can be tested in this edition: it has too few patients or runs. {spread}"
    largest = table.loc[table["difference"].where(table["p"].notna()).abs().idxmax()]
    return (
        f"Of {len(table)} comparisons that were planned before any result, this edition can test {values['contrasts_tested']} on "
        f"{tested_on} (n = {values['contrasts_n']}); {values['contrasts_significant']} show a difference in Dice after correction for all "
        f"{len(table)}. The largest is {difference_text(largest['difference'], largest['low'], largest['high'], signed=True)}: "
        f"{_short(largest['a'])} against {_short(largest['b'])}. A true difference of {values['contrasts_detectable_most']} would have "
        f"been detected in each. {spread}"
    )


def short_table(table: pd.DataFrame) -> pd.DataFrame:
    """`printable_contrasts` without its two sides, which the figure names; an empty contrast says why."""
    printed = printable_contrasts(table)
    tested = table["p"].notna()
    said = [
        row["what is compared"] if row["n"] == 0 else row["what is said"] if test else "not tested: too few patients"
        for test, (_, row) in zip(tested, printed.iterrows(), strict=True)
    ]
    return pd.DataFrame(
        {
            "contrast": printed["contrast"],
            "n": printed["n"],
            "difference in Dice": printed["difference, DSC"],
            "p (Holm)": printed["p, Holm"],
            "result": said,
            "detectable": printed["detectable"],
        }
    )


def figure_text(table: pd.DataFrame) -> str:
    """Alternative text of `contrast_figure`."""
    rows = [f"{r['name']} {difference_text(r['difference'], r['low'], r['high'])}" for _, r in table[table["n"] > 0].iterrows()]
    return f"Differences of the mean Dice with 95 % intervals, one row per planned comparison: {'; '.join(rows)}."


def folded_family(table: pd.DataFrame, dataset: str, title: str, prefix: str = "") -> str:
    """Markdown of a folded family whose tables were glued as PREFIXcontrasts_DATASET and PREFIXappendix_DATASET."""
    shown = f"```{{glued}} certainty.ipynb::{prefix}contrasts_{dataset}\n```\n{contrast_note(table)}"
    if (table["n"] > 0).any():
        shown += (
            "\n\nNSD is the key secondary metric: intervals, no claim. Wilcoxon's signed-rank test asks whether the differences lie "
            "symmetrically about zero, not about their mean; both *p* are unadjusted.\n"
            f"```{{glued}} certainty.ipynb::{prefix}appendix_{dataset}\n```"
        )
    return f":::{{dropdown}} {title}: sides, another metric, another test\n{shown}\n:::"


def ranked_settings(finished: Sequence[results.RunResult]) -> list[str]:
    """The plan's primary prompt settings that were asked."""
    asked = {setting for result in finished for setting in result.results["prompter"].unique()}
    return [name for name in analysis_plan.load().primary_settings if name in asked]


def folded_ranks(settings: Sequence[str], tested: str) -> str:
    """Markdown of the folded `rank_figure` of some prompt settings, glued as ranks_SETTING_figure."""
    figures = [
        f"**{label_of(name)}**\n```{{glued}} certainty.ipynb::ranks_{name}_figure\n:alt: Rank of each method by mean Dice, "
        f"{label_of(name)}, with the range of ranks over resamples of the patients.\n```"
        for name in settings
    ]
    text = (
        f"Rank by mean Dice on {tested}, and the range of ranks that holds 95 % of bootstrap resamples of the patients. It shows how "
        "stable the order is, not how far the methods are apart."
    )
    return "\n\n".join([f":::{{dropdown}} How stable is the order of the methods?\n{text}", *figures, ":::"])


def printable_contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """`contrasts` as a table for a page; an empty contrast shows its reason in place of the two sides."""
    empty = table["p"].isna() & (table["n"] == 0)
    sides = [row["method"] if gap else f"{row['a']} minus {row['b']}" for gap, (_, row) in zip(empty, table.iterrows(), strict=True)]
    return pd.DataFrame(
        {
            "contrast": table["name"],
            "what is compared": sides,
            "n": table["n"],
            "difference, DSC": [difference_text(r["difference"], r["low"], r["high"]) for _, r in table.iterrows()],
            "p, Holm": ["–" if np.isnan(p) else _p(holm) for p, holm in zip(table["p"], table["p_holm"], strict=True)],
            "what is said": [_said(r) for _, r in table.iterrows()],
            "detectable": [difference_text(v) for v in table["detectable"]],
            **(_over_both_runs(table) if (table["runs"] > 1).any() else {}),
        }
    )


def _said(row: pd.Series) -> str:
    """The test decides; where the interval says something else, the words add it."""
    said = comparisons.verdict(row["difference"], row["p_holm"], int(row["n"])) or "–"
    return said + ("; its interval says otherwise" if comparisons.disagrees(row["low"], row["high"], row["p"]) else "")


def _over_both_runs(table: pd.DataFrame) -> dict[str, object]:
    rows = zip(table["difference"], table["over_runs_low"], table["over_runs_high"], table["runs"], strict=True)
    texts = ["–" if np.isnan(r) else difference_text(d, low, high) if r > 1 else "no claim: one run" for d, low, high, r in rows]
    return {"runs": ["–" if np.isnan(r) else f"{r:.0f}" for r in table["runs"]], "difference, the methods": texts}


def printable_appendix(table: pd.DataFrame) -> pd.DataFrame:
    """The filled contrasts by the key secondary metric, and by another test of the primary one."""
    filled = table[table["n"] > 0]
    secondary = filled["secondary_metric"].iloc[0] if len(filled) else analysis_plan.load().raw["secondary_metric"]
    return pd.DataFrame(
        {
            "contrast": filled["name"],
            f"difference, {label_of(secondary)}": [
                difference_text(r["secondary"], r["secondary_low"], r["secondary_high"]) + f", n = {r['secondary_n']:.0f}"
                for _, r in filled.iterrows()
            ],
            "DSC: p, sign flips": [_unadjusted(p) for p in filled["p"]],
            "DSC: p, Wilcoxon": [_unadjusted(p) for p in filled["p_wilcoxon"]],
        }
    )


def _unadjusted(p: float) -> str:
    return "–" if np.isnan(p) else _p(p)


def contrast_note(table: pd.DataFrame) -> str:
    """One line of Markdown: how the contrasts of a family were computed."""
    methods = list(dict.fromkeys(table.loc[table["n"] > 0, "method"]))
    over_runs = list(dict.fromkeys(table.loc[table["runs"] > 1, "over_runs_how"]))
    return f"How: {'; or '.join(methods + over_runs)}." if methods else "No place of the family could be filled."


def _p(value: float) -> str:
    return "under 0.001" if value < 0.001 else f"{value:.3f}"


def rank_figure(table: pd.DataFrame) -> Figure:
    """Rank of each method with the range that holds 95 % of the resamples. `table`: from `ranks`, of one prompt setting."""
    plot_style()
    import matplotlib.pyplot as plt

    table = table.sort_values("rank", ascending=False)
    figure, axes = plt.subplots(figsize=(7.5, 0.32 * len(table) + 1), layout="constrained")
    for place, (name, row) in enumerate(table.iterrows()):
        color = method_looks(name, 0)["color"]
        axes.plot([row["rank_low"], row["rank_high"]], [place, place], color=color, linewidth=2)
        axes.plot(row["rank"], place, "o", color=color)
    axes.set(yticks=range(len(table)), yticklabels=list(table.index), xlabel=f"rank by mean DSC (1 is best), n = {table['n'].iloc[0]}")
    plt.close(figure)
    return figure


def rank_values(table: pd.DataFrame, setting: str) -> dict[str, int]:
    """Values by glue key: how many methods a prompt setting has, and how many may be first. `table`: from `ranks`."""
    return {f"ranks_{setting}_methods": len(table), f"ranks_{setting}_may_be_first": int((table["rank_low"] <= 1).sum())}


def contrast_values(table: pd.DataFrame) -> dict[str, object]:
    """Values for the text of a page by glue key, from `contrasts` of one data set."""
    tested = table[table["p"].notna()]
    found = tested[tested["p_holm"] < plan.read().inference.alpha]
    named = [f"{r['name']} ({difference_text(r['difference'], r['low'], r['high'])})" for _, r in found.iterrows()]
    detectable = tested["detectable"].dropna()
    return {
        "contrasts_detectable_least": difference_text(detectable.min()) if len(detectable) else "–",
        "contrasts_detectable_most": difference_text(detectable.max()) if len(detectable) else "–",
        "contrasts_tested": len(tested),
        "contrasts_n": int(table["n"].max()),
        "contrasts_significant": len(found),
        "contrasts_named": "; ".join(named) or "none",
    }
