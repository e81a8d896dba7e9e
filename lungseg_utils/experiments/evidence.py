"""Choose the profile whose results answer a question: a book's own, or a larger one whose tables are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .. import registry
from ..prompts.ladder import PROMPT_SETTINGS
from ..types import InputError
from . import config, store

QUICK_ON_PATIENTS, QUICK_ON_PHANTOMS = "quick", "smoke"  # profiles of `make quick`, whose numbers mean nothing


@dataclass(frozen=True)
class Question:
    """A question that takes more patients, runs or prompts than fit into `make book`.

    `on_phantoms`: the profile whose stored tables answer it. `on_patients`: the profile that asks it of patients; a book on the same
    patients shows it as soon as its tables are stored. `answered_by`: whether a profile answers it with its own results.
    """

    on_phantoms: str
    on_patients: str = ""
    answered_by: Callable[[config.Profile], bool] = lambda profile: False


def _tests_a_second_data_set(profile: config.Profile) -> bool:
    grid = config.load()
    return any(len(grid.test_datasets(line, profile.name)) > 1 for line in grid.notebooks(profile.name))


QUESTIONS: Mapping[str, Question] = {
    "external test set": Question("ladder", "claims_cohorts", _tests_a_second_data_set),
    "all prompts": Question("ladder", "claims", lambda profile: set(profile.prompters) == set(PROMPT_SETTINGS)),
    "drawing errors": Question("robustness", "claims_jitter", lambda profile: bool(profile.jitter.shares)),
    "number of labels": Question("few_shot", "claims_few_shot", lambda profile: len(profile.draws) > 1),
    "repeated training": Question("seeds", "claims_seeds", lambda profile: len(profile.seeds) * len(profile.folds) > 1),
    "hidden labels": Question("selection"),
    "losses": Question("losses"),
    "on a GPU": Question("standard"),
}


def profile_for(question: str, profile: str) -> str:
    """The profile whose results answer a question of `QUESTIONS` in the book of `profile`."""
    if question not in QUESTIONS:
        raise InputError(f"question {question!r}", "nothing is known of it", f"Choose one of {', '.join(QUESTIONS)}.")
    asked = QUESTIONS[question]
    if asked.answered_by(config.load().profile(profile)):
        return profile
    return asked.on_patients if _asks_the_same_patients(asked.on_patients, profile) else asked.on_phantoms


def _asks_the_same_patients(larger: str, profile: str) -> bool:
    if not larger or not store.is_stored(larger):
        return False
    grid = config.load()
    asked, own = ({registry.whole(name) for name in grid.trained_on(p)} for p in (larger, profile))
    return asked == own
