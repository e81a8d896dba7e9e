"""How far prompts drawn with errors really moved, in mm: labels of the page "How exact must a box be?".

An error is asked for as a share of a lesion's size, but moves by whole voxels and by at least one, so several shares may move a small
lesion's box alike. The prompts are drawn again from their seeds, as every method was given them; no prediction is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ..data.cases import load_study
from ..experiments import config
from ..experiments.planning import Question
from ..experiments.results import RunResult
from ..prompts.jitter import perturb
from ..prompts.ladder import prompt_rng, prompt_setting
from ..types import Box, Case, Mask, Prompt, SlicePrompt
from .values import cases_here

COLUMNS = ["setting", "jitter", "shift_mm", "n"]


def shifts(finished: Sequence[RunResult], dataset: str) -> pd.DataFrame:
    """Mean shift by prompt setting and error, over draws, then over patients with a tumor, from the references that are on disk.

    Returns:
        Columns `COLUMNS`; empty if nothing was asked with errors, or if the patients are not on this machine (see `note`).
    """
    rows = pd.concat([r.results[(r.results["test_dataset"] == dataset) & (r.results["jitter"] > 0)] for r in finished])
    asked = [(str(s), float(j)) for s, j in rows[["prompter", "jitter"]].drop_duplicates().itertuples(index=False)]
    profile = config.load().profile(finished[0].experiment.profile)
    questions = [Question(setting, share, profile.jitter.draws) for setting, share in asked]
    cases = cases_here(dataset, profile, list(dict.fromkeys(rows["patient_id"]))) if asked else ()
    return mean_shifts(((case, load_study(case).reference) for case in cases), questions)


def note(table: pd.DataFrame) -> str:
    """A sentence that says whether millimeters are known. `table`: from `shifts`."""
    if table.empty:
        return "How many millimeters that is, this edition does not know: the references of these patients are not on this machine."
    return "Millimeters are the mean distance by which the sides of a box, or a click, really moved within the slice."


def mean_shifts(cases: Iterable[tuple[Case, Mask]], questions: Sequence[Question]) -> pd.DataFrame:
    """`shifts` of cases with their references, for questions with errors."""
    rows = [
        {"setting": q.prompter, "jitter": q.jitter, "patient_id": case.patient_id, "shift_mm": case_shift_mm(case, reference, q)}
        for case, reference in cases
        if reference.array.any()
        for q in questions
    ]
    by_patient = pd.DataFrame(rows, columns=["setting", "jitter", "patient_id", "shift_mm"])
    by_patient = by_patient.groupby(["setting", "jitter", "patient_id"], sort=False)["shift_mm"].mean()
    return by_patient.groupby(["setting", "jitter"], sort=False).agg(shift_mm="mean", n="count").reset_index()[COLUMNS]


def case_shift_mm(case: Case, reference: Mask, question: Question) -> float:
    """Mean over the draws and lesions of a question of how far its prompts moved from the exact ones."""
    found = []
    for draw in range(question.draws):
        rng = prompt_rng(case.dataset, case.case_id, question.name, draw)
        exact = next(prompt_setting(question.prompter).make(reference, rng))
        drawn = perturb(exact, question.jitter, rng, reference.shape, reference.spacing_mm)
        found += [prompt_shift_mm(a, b, reference.spacing_mm) for a, b in zip(exact, drawn, strict=True)]
    known = [distance for distance in found if not np.isnan(distance)]
    return float(np.mean(known)) if known else np.nan


def prompt_shift_mm(exact: Prompt, drawn: Prompt, spacing_mm: Sequence[float]) -> float:
    """Mean distance in the slice by which the sides of the boxes moved, or the clicks; of slices that both prompts hold.

    A box in 3-D counts all six sides. Where a single slice was chosen wrongly, its box is compared all the same.
    """
    if exact.box_3d is not None and drawn.box_3d is not None:
        return float(np.mean(np.abs(_sides(exact.box_3d, spacing_mm, 3) - _sides(drawn.box_3d, spacing_mm, 3))))
    if len(exact.slices) == len(drawn.slices) == 1:
        pairs = [(exact.slices[0], drawn.slices[0])]
    else:
        before, after = _by_place(exact.slices), _by_place(drawn.slices)
        pairs = [(before[place], after[place]) for place in before if place in after]
    moved = [distance for a, b in pairs for distance in _moved_mm(a, b, spacing_mm)]
    return float(np.mean(moved)) if moved else np.nan


def _by_place(slices: Iterable[SlicePrompt]) -> dict[tuple[int, int], SlicePrompt]:
    """(slice, number of the prompt on it) -> prompt."""
    found: dict[tuple[int, int], SlicePrompt] = {}
    for part in slices:
        found[part.index, sum(index == part.index for index, _ in found)] = part
    return found


def _moved_mm(a: SlicePrompt, b: SlicePrompt, spacing_mm: Sequence[float]) -> list[float]:
    moved: list[float] = []
    if a.box is not None and b.box is not None:
        moved += np.abs(_sides(a.box, spacing_mm, 2) - _sides(b.box, spacing_mm, 2)).tolist()
    if a.points is not None and b.points is not None:
        steps = (np.array(a.points.ijk)[:, :2] - np.array(b.points.ijk)[:, :2]) * np.asarray(spacing_mm[:2])
        moved += np.linalg.norm(steps, axis=1).tolist()
    return moved


def _sides(box: Box, spacing_mm: Sequence[float], axes: int) -> np.ndarray:
    """Positions of a box's low and high sides along the first axes, in mm from voxel 0."""
    return np.concatenate([np.array(corner[:axes]) * np.asarray(spacing_mm[:axes]) for corner in (box.ijk_min, box.ijk_max)])


def label(table: pd.DataFrame, setting: str, share: float) -> str:
    """What an error is called: "1.9 mm (5 %)", "0 mm", or the share alone where no shift is known. `table`: from `shifts`."""
    if not share:
        return "0 mm"
    mm = shift_mm(table, setting, share)
    return f"{100 * share:g} %" if np.isnan(mm) else f"{mm:.1f} mm ({100 * share:g} %)"


def shift_mm(table: pd.DataFrame, setting: str, share: float) -> float:
    """The mean shift; NaN if it is not known."""
    rows = table[(table["setting"] == setting) & (table["jitter"] == share)]
    return 0.0 if not share else float(rows["shift_mm"].iloc[0]) if len(rows) else np.nan
