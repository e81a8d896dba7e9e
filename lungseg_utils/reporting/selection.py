"""Page "How a protocol moves a score", part "Hidden labels": the effect of choosing a checkpoint on test labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..evaluation import intervals
from ..experiments import config, planning, results
from ..types import Experiment
from . import methods
from .labels import difference_text
from .values import dsc_by_patient

SELECTION_SPLITS = 500


def selection(finished: Sequence[results.RunResult], dataset: str, setting: str, others: int = 20, seed: int = 0) -> pd.DataFrame:
    """Effect of choosing the number of training steps on patients whose labels are not counted, for one few-shot method.

    The test patients are split at random, `SELECTION_SPLITS` times: `others` of them serve as further labeled patients, the rest are
    tested.

    Args:
        finished: results of one few-shot method with several numbers of steps.
        dataset: the tested data set.
        setting: prompt setting.
        others: number of test patients that serve as labeled ones.
        seed: of the splits.

    Returns:
        Three rows: steps fixed beforehand; chosen by the others ("free validation"); chosen by the tested patients themselves. Columns:
        rule, labels (k and all others used), dsc, shift (from the first row), shift_low and shift_high (lowest and highest draw), draws, n.
    """
    fixed = dict(planning.make_experiment(_notebook(finished[0].experiment), finished[0].experiment.profile).options)["steps"]
    found: dict[int, dict[int, pd.Series]] = {}
    for result in (r for r in finished if methods.was_asked(r, dataset, setting)):
        steps = dict(result.experiment.options)["steps"]
        found.setdefault(result.experiment.draw, {})[steps] = dsc_by_patient(result, dataset, setting)
    draws = {draw: pd.DataFrame(columns) for draw, columns in found.items() if len(columns) > 1 and fixed in columns}
    scores = {draw: _chosen_scores(table, fixed, others, seed) for draw, table in draws.items()}
    table = pd.DataFrame(scores).T.rename_axis("draw")
    n, k = len(next(iter(draws.values()))) - others, finished[0].experiment.k
    labels = {"fixed beforehand": k, "chosen by other labeled patients": k + others, "chosen by the tested patients": k + n}
    rows = []
    for (rule, used), column in zip(labels.items(), table, strict=True):
        shift = table[column] - table[table.columns[0]]
        row = {"rule": rule, "labels": used, "dsc": table[column].mean(), "shift": shift.mean()}
        rows.append(row | {"shift_low": shift.min(), "shift_high": shift.max(), "draws": len(table), "n": n})
    return pd.DataFrame(rows)


def _chosen_scores(table: pd.DataFrame, fixed: int, others: int, seed: int) -> tuple[float, float, float]:
    """Mean over splits of the tested patients' mean: with fixed steps, with the best steps on the others, with the best on themselves."""
    rng, values, scores = np.random.default_rng(seed), intervals.complete_table(table, "steps"), []
    for _ in range(SELECTION_SPLITS):
        order = rng.permutation(len(values))
        known, tested = values.iloc[order[:others]].mean(), values.iloc[order[others:]].mean()
        scores.append((tested[fixed], tested[known.idxmax()], tested.max()))
    return tuple(np.mean(scores, axis=0))


def _notebook(experiment: Experiment) -> str:
    lines = config.load().lines(experiment.profile)
    return next(line.notebook for line in lines if experiment in planning.planned_runs(line.notebook, experiment.profile))


def printable_selection(table: pd.DataFrame) -> pd.DataFrame:
    """`selection` as a table for a page."""
    return pd.DataFrame(
        {
            "number of steps": table["rule"],
            "labeled patients used": table["labels"],
            "mean Dice": [f"{v:.3f}" for v in table["dsc"]],
            "shift": [""] + [difference_text(v, signed=True) for v in table["shift"][1:]],
            "lowest to highest draw": [""] + [_range(r) for _, r in table[1:].iterrows()],
        }
    )


def _range(row: pd.Series) -> str:
    return " to ".join(difference_text(row[f"shift_{end}"], signed=True) for end in ("low", "high"))


def selection_values(table: pd.DataFrame) -> dict[str, object]:
    """Values for the text, by glue key: the shifts, and the numbers of patients and draws."""
    _, free, tested = (row for _, row in table.iterrows())
    values = {
        "free": difference_text(free["shift"], signed=True),
        "tested": difference_text(tested["shift"], signed=True),
        "n": int(free["n"]),
        "draws": int(free["draws"]),
    }
    return {f"selection_{key}": value for key, value in values.items()}


def folded(table: pd.DataFrame, results_are: str, tested: str) -> str:
    """Markdown of the folded finding, with the table that was glued as selection_table. `results_are`: "phantom results" or alike."""
    values = {key.removeprefix("selection_"): value for key, value in selection_values(table).items()}
    return (
        ":::{dropdown} Hidden labels: choosing the checkpoint\n"
        "Few-shot papers count *k* training patients, and then choose the checkpoint by further labeled patients or by the test patients. "
        f"These are {results_are}: the same few-shot U-Net without a prompt, trained with several numbers of steps, tested on {tested}. "
        f"The test is split at random into patients who act as further labeled ones, and the rest ({values['n']}), who are scored. Scores "
        f"are means over {values['draws']} draws of the *k* patients. If the further labeled patients choose the number of steps, the mean "
        f"Dice moves by {values['free']}; if the scored patients choose it, by {values['tested']}. A choice among more settings brings "
        "more: here only the number of steps was chosen.\n```{glued} protocol.ipynb::selection_table\n```\n:::"
    )
