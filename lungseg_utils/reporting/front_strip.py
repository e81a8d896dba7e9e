"""Front page: one case as a strip of pictures: the prompt, what methods make of it, and what people outlined.

The case is the one of median Dice of the first method whose predictions are there: nobody chose it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import geometry, registry
from ..core.masks import dsc
from ..evaluation import tables
from ..experiments import store
from ..experiments.results import RunResult
from ..prompts import boxes
from . import style, wording
from .prompts import AUTOMATIC, BOX_CHANNEL, TRIVIAL, ZERO_SHOT, shown_methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..types import Case, Mask, Study

_BOXED = "box_every_slice"
_SETTINGS: Mapping[str, str] = {TRIVIAL: _BOXED, AUTOMATIC: "none", BOX_CHANNEL: _BOXED, ZERO_SHOT: _BOXED}  # role -> prompt
_CHOOSERS = (ZERO_SHOT, BOX_CHANNEL, AUTOMATIC)  # the first one that is there chooses the case
_SHORT = {TRIVIAL: "ellipse", AUTOMATIC: "U-Net alone", BOX_CHANNEL: "U-Net + box"}
_PUBLISHED = "litemedsam"
_SIDE_MM = 50.0
_INCHES = (3.0, 2.72)  # a third of the first page
_DPI = 190
_POINTS = 9.2
_READER = "reader"  # begins the names of readers' outlines


class Panel(NamedTuple):
    """One picture: its caption, and the outline on it; without one the prompt is drawn."""

    caption: str
    mask: Mask | None = None
    color: str = style.OKABE_ITO[1]


def strip(finished: Sequence[RunResult], profile: str, public: bool = False) -> tuple[Figure, str]:
    """The pictures, and a sentence that says what they show; the sentence alone where pictures may not, or cannot, be shown."""
    runs = _runs_here(finished, profile)
    chooser = next((runs[role] for role in _CHOOSERS if role in runs), None)
    if chooser is None:
        return _words("The predictions of this edition are not on the machine that built it: no picture.")
    dataset = dataset_shown(chooser, wording.internal(profile), public)
    if not dataset:
        return _words("The licenses of these images do not let them be shown here: no picture.")
    case = _median_case(chooser, dataset)
    study = registry.plugin("datasets", dataset).load(case)
    chosen = f"the case of median Dice of {_name(chooser)}"
    said = f"One of the {wording.named(dataset)}, {chosen} ({case.case_id}); numbers are 3-D Dice with the reference (thin blue line)."
    return _drawn(study, _panels(runs, study, case)), said


def _runs_here(finished: Sequence[RunResult], profile: str) -> dict[str, RunResult]:
    """Role -> the first run of one of its methods, of roles of `_SETTINGS` whose predictions are on this machine.

    The first rule without a network is the ellipse; of LiteMedSAM the last row is the window that its authors' script has for lungs.
    """
    place = {ZERO_SHOT: -1}
    shown = shown_methods(finished, profile).items()
    runs = {role: methods[place.get(role, 0)].results[0] for role, methods in shown if role in _SETTINGS and methods}
    return {role: run for role, run in runs.items() if run.folder == store.results_folder(run.experiment)}


def dataset_shown(run: RunResult, internal: str, public: bool) -> str:
    """The internal data set; in a public edition the first tested one whose images may be passed on, or ""."""
    tested = dict.fromkeys([internal, *run.results["test_dataset"]])
    return next((name for name in tested if not public or registry.card("datasets", name).redistributable), "")


def _name(run: RunResult) -> str:
    return registry.card("models", run.experiment.model).title


def _median_case(run: RunResult, dataset: str) -> Case:
    setting = _BOXED if _BOXED in set(run.results["prompter"]) else "none"
    values = tables.case_values(run.asked(setting), "dsc")
    scores = values[values["test_dataset"] == dataset].groupby("case_id")["value"].first().dropna().sort_values(kind="stable")
    name = scores.index[(len(scores) - 1) // 2]
    return next(case for case in run.cases(dataset) if case.case_id == name)


def _panels(runs: Mapping[str, RunResult], study: Study, case: Case) -> list[Panel]:
    panels = [Panel("prompt:\na box")]
    for role, setting in _SETTINGS.items():
        if role in runs:
            mask = runs[role].prediction(case.dataset, setting, case.case_id, study)
            name = _SHORT.get(role) or (_name(runs[role]) if runs[role].experiment.model == _PUBLISHED else "stand-in")
            panels.append(Panel(f"{name}\n{_dice(mask, study)}", mask))
    readers = [mask for name, mask in study.references.items() if name.startswith(_READER) and mask.array.any()]
    if readers and registry.card("datasets", case.dataset).several_readers:
        panels.append(Panel(f"one reader\n{_dice(readers[0], study)}", readers[0], style.OKABE_ITO[3]))
    return panels


def _dice(mask: Mask, study: Study) -> str:
    return f"{dsc(study.reference.array, mask.array):.2f}"


def _drawn(study: Study, panels: Sequence[Panel]) -> Figure:
    style.plot_style()
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=_INCHES, dpi=_DPI)
    figure.subplots_adjust(left=0, right=1, top=0.87, bottom=0, wspace=0.04, hspace=0.36)
    for place in axes.ravel():
        place.axis("off")
    for panel, place in zip(panels, axes.ravel(), strict=False):
        _draw(place, study, panel)
    plt.close(figure)
    return figure


def _draw(axes: Axes, study: Study, panel: Panel) -> None:
    reference, k = study.reference.array, boxes.largest_slice(study.reference.array)
    box = geometry.plane_box(reference[:, :, k], k)
    window = geometry.window_around(box, _SIDE_MM, study.image.spacing_mm)
    low, high = style.WINDOWS_HU["lung"]
    extent = (0, window.columns, window.rows, 0)
    axes.imshow(geometry.cut_window(study.image.array, window, k, low), cmap="gray", vmin=low, vmax=high, extent=extent)
    axes.set_title(panel.caption, fontsize=_POINTS, pad=2)
    if panel.mask is None:
        left, top, right, bottom = geometry.box_to_pixels(box, window, window.columns)
        axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=style.OKABE_ITO[4], linewidth=1.4)
        return
    for mask, color, width in ((reference, style.OKABE_ITO[0], 0.8), (panel.mask.array, panel.color, 1.4)):
        inside = geometry.cut_window(mask, window, k, False)
        if inside.any():
            rows, columns = (np.arange(n) + 0.5 for n in inside.shape)
            axes.contour(columns, rows, inside.astype(float), levels=[0.5], colors=color, linewidths=width)


def _words(text: str) -> tuple[Figure, str]:
    style.plot_style()
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(_INCHES[0], 0.2), dpi=_DPI)
    plt.close(figure)
    return figure, text
