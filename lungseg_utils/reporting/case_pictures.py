"""Pictures of one case side by side: the prompt, what methods make of it, and what people outlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import geometry, registry
from ..core.masks import dsc
from ..evaluation import tables
from ..experiments import store
from ..experiments.results import RunResult
from ..prompts import boxes
from . import style, wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..types import Case, Mask, Study

BOXED = "box_every_slice"
PROMPT = "prompt:\na box"  # caption of the panel without an outline
STAND_IN = "stand-in"
_NO_PREDICTION = "The predictions of this edition are not on the machine that built it: no picture."
_MAY_NOT_BE_SHOWN = "The licenses of these images do not let them be shown here: no picture."
_SIDE_MM = 50.0
_DPI = 190
_POINTS = 9.2
_READER = "reader"  # begins the names of readers' outlines


class Panel(NamedTuple):
    """One picture: its caption, and the outline on it; without one the prompt is drawn."""

    caption: str
    mask: Mask | None = None
    color: str = style.OKABE_ITO[1]


def is_here(run: RunResult) -> bool:
    """Whether the predictions of a run are on this machine."""
    return run.folder == store.results_folder(run.experiment)


def choose(run: RunResult | None, profile: str, public: bool) -> tuple[Study, Case] | str:
    """The case of median Dice of a run that is here, read; a sentence where pictures may not, or (without a run) cannot, be shown."""
    if run is None:
        return _NO_PREDICTION
    dataset = dataset_shown(run, wording.internal(profile), public)
    if not dataset:
        return _MAY_NOT_BE_SHOWN
    case = median_case(run, dataset)
    return registry.plugin("datasets", dataset).load(case), case


def dataset_shown(run: RunResult, internal: str, public: bool) -> str:
    """The internal data set; in a public edition the first tested one whose images may be passed on, or ""."""
    tested = dict.fromkeys([internal, *run.results["test_dataset"]])
    return next((name for name in tested if not public or registry.card("datasets", name).redistributable), "")


def median_case(run: RunResult, dataset: str) -> Case:
    """The case of median Dice in the main prompt setting: nobody chose it."""
    values = tables.case_values(run.asked(main_setting(run)), "dsc")
    scores = values[values["test_dataset"] == dataset].groupby("case_id")["value"].first().dropna().sort_values(kind="stable")
    name = scores.index[(len(scores) - 1) // 2]
    return next(case for case in run.cases(dataset) if case.case_id == name)


def main_setting(run: RunResult) -> str:
    """No prompt for a model that needs none, else a box on every slice."""
    return "none" if "none" in set(run.results["prompter"]) else BOXED


def predicted(name: str, run: RunResult, study: Study, case: Case, setting: str) -> Panel:
    """The prediction of a run, with its name and its Dice."""
    mask = run.prediction(case.dataset, setting, case.case_id, study)
    return Panel(f"{name}\n{_dice(mask, study)}", mask)


def of_a_reader(study: Study, case: Case) -> list[Panel]:
    """The outline of one reader, where several people outlined the patients."""
    readers = [mask for name, mask in study.references.items() if name.startswith(_READER) and mask.array.any()]
    if not (readers and registry.card("datasets", case.dataset).several_readers):
        return []
    return [Panel(f"one reader\n{_dice(readers[0], study)}", readers[0], style.OKABE_ITO[3])]


def _dice(mask: Mask, study: Study) -> str:
    return f"{dsc(study.reference.array, mask.array):.2f}"


def draw(study: Study, panels: Sequence[Panel], rows: int, columns: int, inches: tuple[float, float]) -> Figure:
    """The slice of largest area, once for each panel, with the reference as a thin blue line."""
    style.plot_style()
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=inches, dpi=_DPI)
    caption = 0.35 / inches[1]  # two lines above each picture
    figure.subplots_adjust(left=0, right=1, top=1 - caption, bottom=0, wspace=0.04, hspace=rows * caption * 1.4)
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


def nothing() -> Figure:
    """An empty figure, where a sentence says why."""
    style.plot_style()
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(3.0, 0.2), dpi=_DPI)
    plt.close(figure)
    return figure
