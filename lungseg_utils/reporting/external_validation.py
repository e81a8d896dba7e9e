"""Page "External validation": internal against external test sets."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..evaluation import intervals
from ..experiments import config, results
from ..prompts.ladder import PROMPT_SETTINGS
from . import methods
from .labels import counted, interval_text, label_of


def external_results(finished: Sequence[results.RunResult], home: str, elsewhere: str) -> pd.DataFrame:
    """Mean DSC by method and prompt setting on the internal and an external test set, and the drop between the two.

    For experiments trained on the external set the two roles are swapped; for untrained ones `home` counts as internal. The two groups are
    independent, because their patients differ.

    Args:
        finished: results of all experiments.
        home: the internal data set.
        elsewhere: the external data set.

    Returns:
        One row per method and prompt setting. Columns: title, rung (prompt setting), trained (whether it was trained at all), home and
        elsewhere (mean DSC, internal and external), drop, drop_low, drop_high, n_home, n_elsewhere.
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
    """`external_results` as a table for a page."""
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


def drop_values(method: methods.Method, home: str, elsewhere: str, rung: str = "none") -> dict[str, object]:
    """Values for the text of a page: how much lower one method's mean DSC is on `elsewhere` (drop), and the patients of both (n_...)."""
    own, other = (method.mean(name, rung).to_numpy() for name in (home, elsewhere))
    drop = intervals.summarize_difference(own, other)
    return {"drop": interval_text(drop.mean, drop.low, drop.high), "n_home": len(own), "n_abroad": len(other)}


def external_values(table: pd.DataFrame, rung: str) -> dict[str, object]:
    """Values for the text of a page, of `external_results` in one prompt setting: numbers of trained methods and drops, largest drop."""
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
