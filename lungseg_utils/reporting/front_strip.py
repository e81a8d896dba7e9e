"""Front page: one case as a strip of pictures: the prompt, what methods make of it, and what people outlined.

The case is the one of median Dice of the first method whose predictions are there: nobody chose it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .. import registry
from ..experiments.results import RunResult
from . import case_pictures, wording
from .case_pictures import BOXED, Panel
from .prompts import AUTOMATIC, BOX_CHANNEL, TRIVIAL, ZERO_SHOT, shown_methods

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..types import Case, Study

_SETTINGS: Mapping[str, str] = {TRIVIAL: BOXED, AUTOMATIC: "none", BOX_CHANNEL: BOXED, ZERO_SHOT: BOXED}  # role -> prompt
_CHOOSERS = (ZERO_SHOT, BOX_CHANNEL, AUTOMATIC)  # the first one that is there chooses the case
_SHORT = {TRIVIAL: "ellipse", AUTOMATIC: "U-Net alone", BOX_CHANNEL: "U-Net + box"}
_PUBLISHED = "litemedsam"
_INCHES = (3.0, 2.72)  # a third of the first page


def strip(finished: Sequence[RunResult], profile: str, public: bool = False) -> tuple[Figure, str]:
    """The pictures, and a sentence that says what they show; the sentence alone where pictures may not, or cannot, be shown."""
    runs = _runs_here(finished, profile)
    chooser = next((runs[role] for role in _CHOOSERS if role in runs), None)
    found = case_pictures.choose(chooser, profile, public)
    if isinstance(found, str):
        return case_pictures.nothing(), found
    study, case = found
    chosen = f"the case of median Dice of {_name(chooser)}"
    said = f"One of the {wording.named(case.dataset)}, {chosen} ({case.case_id}); numbers are 3-D Dice with the reference (thin blue line)."
    return case_pictures.draw(study, _panels(runs, study, case), 2, 3, _INCHES), said


def _runs_here(finished: Sequence[RunResult], profile: str) -> dict[str, RunResult]:
    """Role -> the first run of one of its methods, of roles of `_SETTINGS` whose predictions are on this machine.

    The first rule without a network is the ellipse; of LiteMedSAM the last row is the window that its authors' script has for lungs.
    """
    place = {ZERO_SHOT: -1}
    shown = shown_methods(finished, profile).items()
    runs = {role: methods[place.get(role, 0)].results[0] for role, methods in shown if role in _SETTINGS and methods}
    return {role: run for role, run in runs.items() if case_pictures.is_here(run)}


def _name(run: RunResult) -> str:
    return registry.card("models", run.experiment.model).title


def _panels(runs: Mapping[str, RunResult], study: Study, case: Case) -> list[Panel]:
    panels = [Panel(case_pictures.PROMPT)]
    for role, setting in _SETTINGS.items():
        if role in runs:
            name = _SHORT.get(role) or (_name(runs[role]) if runs[role].experiment.model == _PUBLISHED else case_pictures.STAND_IN)
            panels.append(case_pictures.predicted(name, runs[role], study, case, setting))
    return panels + case_pictures.of_a_reader(study, case)
