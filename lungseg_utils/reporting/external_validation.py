"""Page "External validation": internal against external test sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..evaluation import intervals
from ..experiments import config, results
from ..prompts.ladder import PROMPT_SETTINGS
from . import methods
from .labels import counted, interval_text, label_of


def external_results(finished: Sequence[results.RunResult], home: str, elsewhere: str) -> pd.DataFrame:
    """Mean DSC by method and rung on the data set that was trained on and on another one, and the drop between the two.

    An experiment that was trained on `elsewhere` is at home there; one that was not trained at all, on `home`. The patients differ, so
    that the groups are independent. Columns: title, rung, trained, home, elsewhere, drop with interval, n_home, n_elsewhere.
    """
    rows, names, found = [], methods.titles(finished), methods.group_runs(finished)
    for rung in PROMPT_SETTINGS:
        for method in (m for m in found if m.asked(home, rung) and m.asked(elsewhere, rung)):
            swapped = method.experiment.train_dataset == elsewhere
            here, there = (method.mean(name, rung) for name in ((elsewhere, home) if swapped else (home, elsewhere)))
            drop = intervals.summarize_difference(here.to_numpy(), there.to_numpy())
            row = {"title": names[method.name, rung], "rung": rung, "home": here.mean(), "elsewhere": there.mean()}
            row |= {"trained": method.experiment.train_dataset != config.NO_DATASET}
            row |= {"drop": drop.mean, "drop_low": drop.low, "drop_high": drop.high}
            rows.append(row | {"n_home": len(here), "n_elsewhere": len(there)})
    return pd.DataFrame(rows)


def external_table(table: pd.DataFrame) -> pd.DataFrame:
    """`external_validation.external_results` for people."""
    n = counted(table["n_home"]), counted(table["n_elsewhere"])
    return pd.DataFrame(
        {
            "prompt": table["rung"].map(label_of),
            "method": table["title"],
            f"at home, {n[0]}": [f"{v:.2f}" for v in table["home"]],
            f"abroad, {n[1]}": [f"{v:.2f}" for v in table["elsewhere"]],
            "drop": [interval_text(r["drop"], r["drop_low"], r["drop_high"]) for _, r in table.iterrows()],
        }
    )


def drop_values(method: methods.Method, home: str, elsewhere: str, rung: str = "none") -> dict[str, Any]:
    """Values for the text of a page: how much lower one method's mean DSC is on `elsewhere` (drop), and the patients of both (n_...)."""
    own, other = (method.mean(name, rung).to_numpy() for name in (home, elsewhere))
    drop = intervals.summarize_difference(own, other)
    return {"drop": interval_text(drop.mean, drop.low, drop.high), "n_home": len(own), "n_abroad": len(other)}


def external_values(table: pd.DataFrame, rung: str) -> dict[str, Any]:
    """Values for the text of a page, of `external_results` on one rung: how many trained methods there are, do worse abroad, drop most."""
    part = table[(table["rung"] == rung) & table["trained"]]
    if part.empty:
        return dict.fromkeys(("n_methods", "n_lower", "largest_drop", "largest_drop_of"), "(not run yet)")
    worst = part.loc[part["drop"].idxmax()]
    return {
        "n_methods": len(part),
        "n_lower": int((part["drop"] > 0).sum()),
        "largest_drop": interval_text(worst["drop"], worst["drop_low"], worst["drop_high"]),
        "largest_drop_of": worst["title"],
    }
