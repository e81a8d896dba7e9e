"""Compare the masks of several models on the same cases: paired differences, tests of one family, ranks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ...core import files
from ...evaluation import metrics, tables
from ...types import InputError
from . import page
from .scoring import Scores
from .summary import EVERYONE, summarize

LOWER_IS_BETTER = "hd95"
TABLES = {"models": "Models", "differences": "Paired differences", "ranks": "Ranks"}
_TITLES = {metric.name: metric.title for metric in metrics.METRICS}


def compare(models: Sequence[Scores]) -> dict[str, pd.DataFrame]:
    """The tables of a comparison, by the names of `TABLES`.

    Args:
        models: scores of the same cases, with different names.

    Returns:
        models: mean or median of each metric that is compared, per model, with its interval and n.
        differences: per metric and pair of models the mean difference, first minus second, with its interval, p, p adjusted by Holm over
            the pairs of the metric, what the test says, and n.
        ranks: per metric and model its rank, the range of ranks over resampled patients, and the share in which it is the best.

    Raises:
        InputError: if names are equal, or cases differ.
    """
    names = [scores.name for scores in models]
    if len(set(names)) < len(names):
        raise InputError("--predictions", f"two models have one name: {', '.join(names)}", "Give them names: --predictions NAME=FOLDER.")
    cases = {frozenset(zip(s.results["case_id"], s.results["patient_id"], s.results["reader"], strict=True)) for s in models}
    if len(cases) > 1:
        raise InputError("--predictions", "the models were not scored on the same cases", "Give the same references to all of them.")
    surface = models[0].nsd_metric
    return {
        "models": _models(models, ("dsc", surface, LOWER_IS_BETTER)),
        "differences": pd.concat([_differences(models, metric) for metric in ("dsc", surface)], ignore_index=True),
        "ranks": pd.concat([_ranks(models, metric) for metric in ("dsc", surface, LOWER_IS_BETTER)], ignore_index=True),
    }


def _models(models: Sequence[Scores], shown: Sequence[str]) -> pd.DataFrame:
    columns = ["quantity", "statistic", "value", "low", "high", "unit", "n", "method"]
    found = []
    for scores in models:
        summary = summarize(scores.results)
        rows = summary[summary["quantity"].isin(shown) & (summary["of"] == EVERYONE)]
        found.append(rows[columns].assign(model=scores.name))
    table = pd.concat(found, ignore_index=True)[["model", *columns]]
    return table.sort_values("quantity", key=lambda names: names.map(list(shown).index), kind="stable", ignore_index=True)


def _by_patient(models: Sequence[Scores], metric: str) -> pd.DataFrame:
    """Patients x models."""
    from ...evaluation import intervals

    return pd.DataFrame({s.name: intervals.patient_means(tables.case_values(s.results, metric)) for s in models})


def _differences(models: Sequence[Scores], metric: str) -> pd.DataFrame:
    from ...evaluation import comparisons

    values = _by_patient(models, metric)
    pairs = list(itertools.combinations(values.columns, 2))
    if values.empty:
        return pd.DataFrame()
    contrasts = comparisons.adjust_family(comparisons.compare_paired(f"{a} - {b}", values[a], values[b]) for a, b in pairs)
    rows = [
        {
            "quantity": metric,
            "first": a,
            "second": b,
            "difference": c.difference,
            "low": c.low,
            "high": c.high,
            "p": c.p,
            "p_holm": c.p_holm,
        }
        | {"said": comparisons.verdict(c.difference, c.p_holm, c.n), "n": c.n, "method": c.method}
        for (a, b), c in zip(pairs, contrasts, strict=True)
    ]
    return pd.DataFrame(rows)


def _ranks(models: Sequence[Scores], metric: str) -> pd.DataFrame:
    from ...evaluation import comparisons

    values = _by_patient(models, metric)
    if values.empty:
        return pd.DataFrame()
    lower = metric == LOWER_IS_BETTER
    ranked = comparisons.rank_sets(values, higher_is_better=not lower, statistic="median" if lower else "mean")
    ranked = ranked.rename_axis("model").reset_index().sort_values("rank", kind="stable", ignore_index=True)
    return ranked.assign(quantity=metric)[["quantity", *ranked.columns]]


def printable(compared: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same tables with numbers as text, for people."""
    from .. import labels

    models, differences, ranks = (compared[name] for name in TABLES)
    shown = {
        "models": pd.DataFrame(
            {
                "metric": [f"{statistic} {_title(q)}" for q, statistic in zip(models["quantity"], models["statistic"], strict=True)],
                "model": models["model"],
                "value [95 %]": [labels.interval_text(*row) for row in models[["value", "low", "high"]].itertuples(index=False)],
                "n": models["n"],
            }
        )
    }
    if differences.empty:  # no patient has a tumor
        return shown
    shown["differences"] = pd.DataFrame(
        {
            "metric": differences["quantity"].map(_title),
            "first": differences["first"],
            "second": differences["second"],
            "first minus second [95 %]": [
                labels.difference_text(*row) for row in differences[["difference", "low", "high"]].itertuples(index=False)
            ],
            "p (Holm)": [labels.number_text(p, 4) for p in differences["p_holm"]],
            "the test says": differences["said"].replace("", "not tested"),
            "n": differences["n"],
        }
    )
    shown["ranks"] = pd.DataFrame(
        {
            "metric": ranks["quantity"].map(_title),
            "model": ranks["model"],
            "rank": ranks["rank"],
            "range of ranks": [
                "–" if pd.isna(low) else f"{low:.0f} to {high:.0f}" for low, high in zip(ranks["rank_low"], ranks["rank_high"], strict=True)
            ],
            "best in": ["–" if pd.isna(p) else f"{p:.0%} of resamples" for p in ranks["p_best"]],
        }
    )
    return shown


def _title(metric: str) -> str:
    return _TITLES[metric]


def write(models: Sequence[Scores], compared: dict[str, pd.DataFrame], out: Path) -> Path:
    """Write comparison.html, each table as CSV and LaTeX, and the report of every model in a folder; returns the page."""
    shown = printable(compared)
    text = page.template("comparison.html").render(
        dataset=models[0].provenance["folders"]["references"],
        provenance=models[0].provenance,
        names=[scores.name for scores in models],
        folders=[folder_of(scores) for scores in models],
        mark=_mark(models[0]),
        mark_text=page.MARKS[_mark(models[0])],
        tables=[(TABLES[name], list(frame.columns), frame.astype(str).to_numpy().tolist()) for name, frame in shown.items()],
    )
    for scores in models:
        page.write(scores, out / folder_of(scores))
    for name, frame in compared.items():
        files.write(frame, out / f"{name}.csv")
    for name, frame in shown.items():
        files.write_text(latex(frame, TABLES[name]), out / f"{name}.tex")
    files.write_text(text, out / "comparison.html")
    return out / "comparison.html"


def folder_of(scores: Scores) -> str:
    """The folder of a model's own report, below that of the comparison."""
    from ...core.names import safe_name

    return safe_name(scores.name)


def _mark(scores: Scores) -> str:
    from ...evaluation import intervals

    return intervals.kind_of_interval(int(summarize(scores.results)["n"].iloc[0]))


def latex(frame: pd.DataFrame, caption: str) -> str:
    """A table for LaTeX with the package booktabs."""
    text = frame.to_latex(index=False, escape=True, caption=caption, position="tb")
    for sign, command in (("\u2212", "$-$"), ("\u2013", "--"), ("\u221e", r"$\infty$")):
        text = text.replace(sign, command)
    return text
