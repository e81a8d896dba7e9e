"""Controls of the playground around its picture: ipywidgets and the table of scores. `widget` says what they do."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import ipywidgets
import numpy as np

from ...reporting.style import OKABE_ITO
from .session import MOST_DRAWS, OfferedModel, ScoredPrediction, Spread

_LARGEST_LINK_BYTES = 2_000_000
_DASH = "–"
_COLORS = OKABE_ITO[1:]  # the first one is that of the reference
_FULL = {"width": "auto", "margin": "0 0 2px 0"}
_WRAP = {"flex_flow": "row wrap"}
_STYLE = {"description_width": "initial"}


class Controls:
    """The widgets by what they are for, and `head` and `panel`, which hold them. `cases`: names; `models`: the first one is chosen."""

    def __init__(self, cases: Sequence[str], models: Sequence[OfferedModel]):
        self.case_choice = ipywidgets.Dropdown(
            options=[(name, n) for n, name in enumerate(cases)],
            description="Case",
            layout={"width": "auto", "max_width": "34rem"},
            style=_STYLE,
        )
        self.models = {
            offer.experiment: _checkbox(offer.title + (f" ({offer.wait})" if offer.wait else ""), n == 0) for n, offer in enumerate(models)
        }
        self.head = ipywidgets.HBox([self.case_choice] if len(cases) > 1 else [])
        parts = [
            self._prompt(),
            self._answers(),
            _part("Models", *self.models.values()),
            self._errors(),
            self._files(),
        ]
        self.panel = ipywidgets.VBox(parts, layout={"flex": "1 1 18rem", "min_width": "16rem", "max_width": "30rem"})
        self.panel.add_class("lungseg-panel")

    def _prompt(self) -> ipywidgets.VBox:
        self.undo, self.redo, self.clear = _button("Undo", "undo"), _button("Redo", "repeat"), _button("Clear", "eraser")
        self.cancel = _button("Cancel", "stop")
        self.follow = _checkbox("follow the lesion through the slices")
        self.progress = ipywidgets.IntProgress(0, 0, 1, layout={"width": "auto", "height": "0.6rem"})
        self.hide_progress()
        return _part("Prompt", _row_of(self.undo, self.redo, self.clear, self.cancel), self.follow, self.progress)

    def _answers(self) -> ipywidgets.VBox:
        self.scores = ipywidgets.HTML()
        self.show_scores = _checkbox("show Dice scores", True)
        return _part("Predictions", self.scores, self.show_scores)

    def _errors(self) -> ipywidgets.VBox:
        shared = {"continuous_update": False, "layout": _FULL, "style": _STYLE}
        self.jitter = ipywidgets.FloatSlider(0, min=0, max=0.4, step=0.05, description="wrong by up to", readout_format=".0%", **shared)
        self.draws = ipywidgets.IntSlider(10, min=2, max=MOST_DRAWS, description="draws", **shared)
        return _part("If the prompt were drawn wrongly", self.jitter, self.draws)

    def _files(self) -> ipywidgets.VBox:
        self.save = _button("Save session", "save")
        self.replay = ipywidgets.FileUpload(accept=".json", description="Replay a session", layout={"width": "auto"})
        self.to_nifti, self.to_seg = _button("NIfTI mask", "download"), _button("DICOM SEG", "download")
        self.saved = ipywidgets.HTML()
        return _part("Keep", _row_of(self.save, self.replay), _row_of(self.to_nifti, self.to_seg), self.saved)

    def show_progress(self, done: int, most: int) -> None:
        """How far a long answer has come, and a way to stop it."""
        self.progress.max, self.progress.value = most, done
        self.progress.layout.visibility = self.cancel.layout.visibility = "visible"

    def hide_progress(self) -> None:
        """Both keep their place, so that nothing moves."""
        self.progress.layout.visibility = self.cancel.layout.visibility = "hidden"


def colors_for(names: Sequence[str], before: Mapping[str, str]) -> dict[str, str]:
    """A color for each name: the one that it had before, else one that none of the others has, as long as there are some."""
    kept = {name: before[name] for name in names if name in before}
    free = [color for color in _COLORS if color not in kept.values()]
    return {name: kept.get(name) or (free.pop(0) if free else _COLORS[n % len(_COLORS)]) for n, name in enumerate(names)}


def _button(text: str, icon: str) -> ipywidgets.Button:
    return ipywidgets.Button(description=text, icon=icon, layout={"width": "auto"})


def _checkbox(text: str, value: bool = False) -> ipywidgets.Checkbox:
    return ipywidgets.Checkbox(value, description=text, indent=False, layout=_FULL)


def _row_of(*widgets: ipywidgets.Widget) -> ipywidgets.HBox:
    return ipywidgets.HBox(widgets, layout=_WRAP)


def _part(title: str, *widgets: ipywidgets.Widget) -> ipywidgets.VBox:
    return ipywidgets.VBox([ipywidgets.HTML(f"<b>{title}</b>"), *widgets], layout={"margin": "0 0 0.6rem 0"})


def score_table(
    models: Sequence[Mapping[str, str]],
    predictions: Mapping[str, ScoredPrediction],
    spreads: Mapping[str, Spread],
    failed: Mapping[str, str],
    index: int,
    reference_ml: float | None,
) -> str:
    """HTML table with one row per model: Dice on slice `index` and in 3-D, ml, ms; below it the range over wrong draws.

    `models` have name (of the experiment, by which all else is found), title and color.
    With `reference_ml` None there are no Dice scores. A model that failed has its reason
    in the place of numbers; one that was not asked yet has none.
    """
    scored = reference_ml is not None
    rows = [_row("th", "", *(["Dice, slice", "Dice, 3-D"] if scored else []), "ml", "ms")]
    for model in models:
        name = model["name"]
        reason = f": {html.escape(failed[name])}" if name in failed else ""
        rows.append(f'<tr><td colspan="5"><i style="background: {model["color"]}"></i>{html.escape(model["title"])}{reason}</td></tr>')
        if name in predictions:
            found = predictions[name]
            scores = [_number(found.slice_dsc(index)), _number(found.dsc)] if scored else []
            rows.append(_row("td", "as drawn", *scores, f"{found.volume_ml:.1f}", f"{found.seconds * 1000:.0f}"))
        if name in spreads:
            spread = spreads[name]
            scores = ["", _range(spread.dsc, 2)] if scored else []
            rows.append(_row("td", f"{len(spread.volume_ml)} draws", *scores, _range(spread.volume_ml, 1), ""))
    if scored:
        rows.append(_row("td", "reference", "", "", f"{reference_ml:.1f}", ""))
    return f'<table class="pg-scores">{"".join(rows)}</table>'


def _row(tag: str, *cells: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _number(value: float) -> str:
    return _DASH if np.isnan(value) else f"{value:.3f}"


def _range(values: Sequence[float], digits: int) -> str:
    return _DASH if np.isnan(values).all() else f"{np.nanmin(values):.{digits}f}–{np.nanmax(values):.{digits}f}"


def file_link(path: Path) -> str:
    """HTML that takes a small file from the page, which need not run on the kernel's machine; of a large one its name."""
    content = path.read_bytes()
    if len(content) > _LARGEST_LINK_BYTES:
        return html.escape(path.name)
    data = base64.b64encode(content).decode("ascii")
    return f'<a download="{html.escape(path.name)}" href="data:application/octet-stream;base64,{data}">{html.escape(path.name)}</a>'
