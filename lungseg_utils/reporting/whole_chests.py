"""Page "External validation": internal against external test sets."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..evaluation import intervals
from ..experiments import config, results
from ..prompts.ladder import PROMPT_SETTINGS
from . import methods
from .labels import counted, difference_text, difference_texts, label_of


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
        return dict.fromkeys(("n_methods", "n_lower", "largest_drop", "largest_drop_of"), "(not run yet)")
    worst = part.loc[part["drop"].idxmax()]
    return {
        "n_methods": len(part),
        "n_lower": int((part["drop"] > 0).sum()),
        "largest_drop": difference_text(worst["drop"], worst["drop_low"], worst["drop_high"]),
        "largest_drop_of": worst["title"],
    }
