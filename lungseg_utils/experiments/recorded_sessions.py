"""Evaluate recorded playground sessions like any other prompt setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from .. import registry
from ..data import cases
from ..evaluation import scoring, tables
from ..prompts.sessions import RECORDED, Session, on_the_ladder, require_case
from ..types import Case, InputError
from . import cohorts, config, interaction, load
from .results import RunResult


def with_sessions(result: RunResult, sessions: Sequence[Session]) -> RunResult:
    """Add the prompt setting "recorded" to a finished experiment: its predictions for the final prompts of recorded sessions.

    Each session is evaluated on the case that it was recorded on, and scored like every other prompt setting. Within
    `sessions.on_the_ladder(...)` the tables and figures of the ladder show it. InputError for a session on another case or grid than the
    data set's own.
    """
    segmenter, size = load.segmenter_of(result.experiment), config.load().profile(result.experiment.profile)
    results, costs = [], []
    with on_the_ladder(sessions):
        for session in sessions:
            case = _case_of(session, size)
            study = cases.load_study(case)
            require_case(session, case.dataset, case.case_id, study.image)
            reference = study.reference
            prediction, actions = interaction.run_interaction(segmenter, study, reference, RECORDED, np.random.default_rng())
            keys = {"experiment": result.experiment.name, "test_dataset": case.dataset, "prompter": RECORDED, "jitter": 0.0}
            keys |= {"case_id": case.case_id}
            results += scoring.score(keys | {"patient_id": case.patient_id}, study.references, prediction.mask, study.ignore)
            for quantity, value, unit in (
                ("actions", actions, "1"),
                ("drawing", session.seconds, "s"),
                ("prediction", prediction.seconds, "s"),
            ):
                costs.append({**keys, "quantity": quantity, "value": float(value), "unit": unit})
    return replace(
        result,
        results=pd.concat([result.results, tables.results_frame(results)], ignore_index=True),
        costs=pd.concat([result.costs, tables.costs_frame(costs)], ignore_index=True),
    )


def _case_of(session: Session, size: config.Profile) -> Case:
    root = cohorts.dataset_root(session.dataset, size)
    found = [case for case in registry.dataset(session.dataset).cases(root) if case.case_id == session.case_id]
    if not found:
        raise InputError(
            "recorded session", f"{session.dataset}/{session.case_id} is not among the cases in {root}", "Fetch the data first."
        )
    return found[0]
