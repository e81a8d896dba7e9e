"""Pages of the models: one case, and what each model of the page predicts there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .. import registry
from ..experiments.results import RunResult
from . import case_pictures, wording
from .case_pictures import Panel
from .model_texts import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = (7.2, 1.35)
_LEAST_COLUMNS = 5  # pictures keep their size where few models ran


def strip(ran: Mapping[str, Sequence[RunResult]], profile: str, public: bool = False) -> tuple[Figure, str]:
    """The prompt, one prediction of each model (the run with most labels) and one reader, and a sentence that says what they show.

    `ran`: model -> its runs. The first model chooses the case, by its median Dice. The sentence alone where pictures may not, or cannot,
    be shown.
    """
    runs = _one_run_each(ran)
    chooser = next(iter(runs), "")
    found = case_pictures.choose(runs.get(chooser), profile, public)
    if isinstance(found, str):
        return case_pictures.nothing(), found
    study, case = found
    panels = [case_pictures.predicted(name, run, study, case, case_pictures.main_setting(run)) for name, run in runs.items()]
    boxed = any(case_pictures.main_setting(run) == case_pictures.BOXED for run in runs.values())
    shown = [Panel(case_pictures.PROMPT)] * boxed + panels + case_pictures.of_a_reader(study, case)
    figure = case_pictures.draw(study, shown, 1, max(_LEAST_COLUMNS, len(shown)), _INCHES)
    told = "with a box on every slice where one is taken; " * boxed
    whose = f"the {chooser}" if chooser == case_pictures.STAND_IN else chooser
    said = f"One of the {wording.named(case.dataset)}, the case of median Dice of {whose} ({case.case_id}). "
    return figure, f"{said}Models as trained on most patients; {told}3-D Dice with the reference (thin blue line)."


def _one_run_each(ran: Mapping[str, Sequence[RunResult]]) -> dict[str, RunResult]:
    """Short name -> the run with most labeled patients whose predictions are here, the first of equal ones; all stand-ins share a name."""
    named: dict[str, list[RunResult]] = {}
    for model, results in ran.items():
        for run in filter(case_pictures.is_here, results):
            title = read(model, registry.card("models", model).options).name.partition(" (")[0]
            named.setdefault(title if run.experiment.model == model else case_pictures.STAND_IN, []).append(run)
    return {name: max(runs, key=lambda run: len(run.provenance["patients"]["train"])) for name, runs in named.items()}
