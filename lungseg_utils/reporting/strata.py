"""Page "What goes wrong", part "For which tumors": results by size, contact and texture of the lesion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ..evaluation import tables
from ..experiments import analysis_plan, results
from . import controls, methods
from .labels import as_text, label_of

_ROWS = 10  # of the short table
SMALL_MM = 30  # longest axial diameter, up to which a tumor is called small


def facts_of_cases(finished: Sequence[results.RunResult], dataset: str) -> pd.DataFrame:
    """Properties of each case with a tumor (index case_id): diameter class in mm and the attributes of the plan's strata."""
    edges = [0.0, *analysis_plan.load().diameter_mm, np.inf]
    labels = [f"≤ {edges[1]:g} mm", *(f"{a:g}–{b:g} mm" for a, b in zip(edges[1:-2], edges[2:-1], strict=True)), f"> {edges[-2]:g} mm"]
    rows: dict[str, dict[str, object]] = {}
    for record in (record for result in finished for record in result.provenance["cases"] if record["test_dataset"] == dataset):
        diameter, attributes = record["diameter_mm"], record["attributes"]
        if diameter is not None:
            facts = {name: str(attributes.get(name, "")).split(";")[0] for name in analysis_plan.load().raw["strata"]["attributes"]}
            rows[record["case_id"]] = {"diameter": labels[int(np.searchsorted(edges[1:], diameter))], "diameter_mm": diameter} | facts
    return pd.DataFrame.from_dict(rows, orient="index") if rows else pd.DataFrame(columns=["diameter", "diameter_mm"])


def known(facts: pd.DataFrame) -> list[str]:
    """The strata of which a data set says something: those with a level other than "not given"."""
    return [what for what in facts.columns if what != "diameter_mm" and facts[what].replace("", np.nan).notna().any()]


def short_table(finished: Sequence[results.RunResult], dataset: str, facts: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice of `controls.representatives` (columns) by level of each stratum (rows, at most ten)."""
    names, rows = methods.titles(finished), []
    values = {
        f"{names[m.name, setting]}, {label_of(setting)}": tables.case_values(m.rows(dataset, setting), "dsc")
        .groupby("case_id")["value"]
        .mean()
        for m, setting in controls.representatives(finished, [dataset])
    }
    for what in known(facts):
        for level, part in _levels(facts, what):
            means = {name: dsc.reindex(part.index).mean(skipna=False) for name, dsc in values.items()}
            rows.append({"largest tumor": f"{what} {level}" if what == "diameter" else f"{what}: {level}", "n": len(part)} | means)
    return as_text(pd.DataFrame(rows, columns=["largest tumor", "n", *values])[:_ROWS], 2)


def full_tables(finished: Sequence[results.RunResult], dataset: str, setting: str, facts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Stratum -> mean Dice by method (rows) and level (columns), in one prompt setting."""
    table, found = strata(finished, dataset, setting, facts), {}
    for what in known(facts):
        levels = {name: name.removeprefix(f"{what}: ") for name in table.columns if name.startswith(f"{what}: ")}
        found[what] = as_text(table[["method", *levels]].rename(columns=levels), 2)
    return found


def _levels(facts: pd.DataFrame, what: str) -> Iterator[tuple[str, pd.DataFrame]]:
    for level, part in facts.sort_values("diameter_mm" if what == "diameter" else what).groupby(what, sort=False):
        yield str(level).replace("_", "-") or "not given", part


def size_values(dsc: pd.Series, facts: pd.DataFrame) -> dict[str, object]:
    """Values by glue key: mean DSC of cases with a small and with a larger tumor, and how many there are. `dsc`: by case."""
    small = facts[facts["diameter_mm"] <= SMALL_MM].index
    parts = {"strata_small": dsc.reindex(small), "strata_large": dsc.drop(small)}
    means = {key: f"{part.mean():.2f}" if len(part) else "–" for key, part in parts.items()}
    return means | {f"{key}_n": len(part) for key, part in parts.items()}


def strata(finished: Sequence[results.RunResult], dataset: str, setting: str, facts: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC by method (rows) and level of each stratum (columns "what: level (n)"); descriptive.

    Cases are averaged over runs first. A method that was tested on only some cases of a level has no value there.
    """
    names, rows = methods.titles(finished), {}
    for method in (m for m in methods.group_runs(finished) if m.asked(dataset, setting)):
        values = tables.case_values(method.rows(dataset, setting), "dsc").groupby("case_id")["value"].mean()
        row = rows.setdefault(names[method.name, setting], {})
        for what in [c for c in facts.columns if c != "diameter_mm"]:
            for level, part in _levels(facts, what):
                row[f"{what}: {level} (n = {len(part)})"] = values.reindex(part.index).mean(skipna=False)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method").reset_index()


def folded(setting: str, known_strata: Sequence[str]) -> str:
    """Markdown of the folded `full_tables` of a prompt setting, glued as strata_SETTING_STRATUM."""
    shown = "\n\n".join(f"By {what}:\n```{{glued}} failures.ipynb::strata_{setting}_{what}\n```" for what in known_strata)
    return f":::{{dropdown}} For which tumors? Mean Dice of all methods, {label_of(setting)}\n{shown}\n:::" if shown else ""
