"""Page "Who drew the box?": how much of a prompted score is agreement with whoever drew the prompt; readers' outlines alone, no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.masks import dsc
from ..data import lidc_database, lidc_outlines
from ..data.lidc_outlines import Nodule
from ..evaluation import intervals, judges, surfaces
from ..models.trivial import TrivialSegmenter
from ..prompts.ladder import PROMPT_SETTINGS, prompt_setting
from ..types import Image, Mask, Record
from . import settings_labels
from .labels import difference_text, interval_text
from .style import plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READER = "reader"  # whose outline itself is the answer
FILLED = "box_every_slice, filled"
ELLIPSES = "box_every_slice"
NSD_MM = 1.0
DRAWN = (ELLIPSES, "box_3d", "box_one_slice", "recist_line", "click")  # the lines of the figure
_ONE_CLICK = ("click", "click_random")  # which take a ball of the median diameter of all these nodules
TABLE = "Mean Dice of shapes that fill reader A's prompt, with 95 % intervals"
THIN_SLICES_MM = 1.5
SIZES_MM = (0.0, 8.0, 15.0, np.inf)
_ROOM = 0.75  # of the nodule's extent: what a ball on its longest line needs on each side
_SEED = 20261101  # of click_random
_EVERY_OF_QUICK = 10


def answers() -> dict[str, str]:
    """What is held against the readers, by name: the title for people. All prompt settings that one look at an outline draws."""
    drawn = {name: s for name, s in PROMPT_SETTINGS.items() if s.kind != "none" and s.looks == 1 and not s.from_detector}
    shapes = {name: f"{_shape(name)}: {setting.title}" for name, setting in drawn.items()}
    return {READER: "the reader's own outline", ELLIPSES: shapes.pop(ELLIPSES), FILLED: "whole box: box on every slice", **shapes}


def _shape(name: str) -> str:
    if PROMPT_SETTINGS[name].kind == "points":
        return "ball"
    return "ellipse" if name in (ELLIPSES, "box_alternate_slices") else "ellipsoid"


def predictions(readers: Sequence[Mask], name: str, ball_mm: float) -> list[np.ndarray]:
    """What the rule without a network makes of each reader's prompt: bool (x, y, z). `ball_mm`: diameter round a single click."""
    if name == READER:
        return [mask.array for mask in readers]
    segmenter = TrivialSegmenter("filled" if name == FILLED else "ellipse", ball_mm)
    segmenter.set_image(Image(np.broadcast_to(np.float32(0), readers[0].shape), readers[0].affine))
    setting = prompt_setting(ELLIPSES if name == FILLED else name)
    drawn = [next(setting.make(mask, np.random.default_rng(_SEED))) for mask in readers]
    return [segmenter.predict(prompts).mask.array for prompts in drawn]


def agreement(nodule: Nodule, names: Sequence[str], ball_mm: float, outline_inside: bool = False, nsd: bool = False) -> list[Record]:
    """Rows (patient_id, nodule, readers, diameter_mm, slice_mm, answer, metric, estimand, value) of one nodule."""
    readers = nodule.masks(_ROOM * nodule.extent_mm + ball_mm / 2, outline_inside)
    metrics: dict[str, Callable[[Mask, np.ndarray], float]] = {"dsc": lambda reference, found: dsc(reference.array, found)}
    if nsd:
        metrics["nsd"] = _nsd
    shared = {
        "patient_id": nodule.scan.patient_id,
        "nodule": min(annotation.id for annotation in nodule.annotations),
        "readers": len(readers),
        "diameter_mm": nodule.diameter_mm,
        "slice_mm": nodule.scan.slice_thickness_mm,
    }
    rows = []
    for name in names:
        found = predictions(readers, name, ball_mm)
        for metric, compare in metrics.items():
            if metric == "dsc" or name in (READER, ELLIPSES):
                values = judges.estimates(readers, found, compare)
                rows += [{**shared, "answer": name, "metric": metric, "estimand": e, "value": v} for e, v in values.items()]
    return rows


def _nsd(reference: Mask, found: np.ndarray) -> float:
    return surfaces.surface_distances(reference.array, found, reference.spacing_mm).nsd(NSD_MM)


def measured(nodules: Iterable[Nodule], names: Sequence[str], ball_mm: float, workers: int = 2, **choices: bool) -> pd.DataFrame:
    """`agreement` of all nodules in one frame, by several processes."""
    work = partial(agreement, names=tuple(names), ball_mm=ball_mm, **choices)
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        return pd.DataFrame([row for rows in pool.map(work, nodules, chunksize=32) for row in rows])


def median_diameter_mm(nodules: Iterable[Nodule]) -> float:
    """Diameter of the ball round a click: the median of these nodules. It uses all labels, which favors the click."""
    return float(np.median([nodule.diameter_mm for nodule in nodules]))


def by_patient(frame: pd.DataFrame, answer: str, estimand: str, metric: str = "dsc") -> pd.Series:
    """Mean over the nodules of each patient (index patient_id)."""
    rows = frame[(frame["answer"] == answer) & (frame["estimand"] == estimand) & (frame["metric"] == metric)]
    return rows.groupby("patient_id")["value"].mean()


def summary_text(values: pd.Series, digits: int = 3) -> str:
    """Mean over patients with its interval."""
    summary = intervals.summarize_mean(values.to_numpy())
    return interval_text(summary.mean, summary.low, summary.high, digits)


def difference_summary(values: pd.Series) -> str:
    """`summary_text` of paired differences."""
    summary = intervals.summarize_mean(values.to_numpy())
    return difference_text(summary.mean, summary.low, summary.high)


def printable_estimands(frame: pd.DataFrame) -> pd.DataFrame:
    """One row an answer, one column an estimand: mean DSC over patients with its interval."""
    columns = {estimand: f"judged by {words}" for estimand, words in judges.ESTIMANDS.items()}
    rows = [
        {"shape and prompt": title}
        | {columns[e]: summary_text(by_patient(frame, name, e)) for e in columns}
        | {settings_labels.COLUMN: frame["patient_id"].nunique() if name in _ONE_CLICK else 0}
        for name, title in answers().items()
        if name in set(frame["answer"])
    ]
    return pd.DataFrame(rows)


def card(frame: pd.DataFrame) -> str:
    """The finding in one sentence, for the first page."""
    own, other = (by_patient(frame, ELLIPSES, estimand).mean() for estimand in (judges.SELF, judges.ANOTHER))
    return (
        f"An ellipse in a box on every slice scores {own:.2f} if the reader who drew the boxes judges, "
        f"and {other:.2f} if another reader judges ({frame['patient_id'].nunique()} patients)."
    )


def contrasts(frame: pd.DataFrame, metric: str = "dsc") -> dict[str, pd.Series]:
    """Paired differences by patient, by what they say."""
    ellipse_self, ellipse_other, reader_other = (
        by_patient(frame, *key, metric) for key in ((ELLIPSES, judges.SELF), (ELLIPSES, judges.ANOTHER), (READER, judges.ANOTHER))
    )
    return {
        "same ellipses: judged by whoever drew the boxes, minus by another reader": ellipse_self - ellipse_other,
        "ellipses judged by whoever drew the boxes, minus a reader judged by another": ellipse_self - reader_other,
        "reader minus ellipses in A's boxes, both judged by another reader": reader_other - ellipse_other,
    }


def printable_contrasts(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a contrast: mean difference with its interval, by DSC and by NSD where it was measured."""
    titles = {metric: f"difference in {words}" for metric, words in {"dsc": "DSC", "nsd": f"NSD at {NSD_MM:g} mm"}.items()}
    found = {metric: contrasts(frame, metric) for metric in titles if metric in set(frame["metric"])}
    return pd.DataFrame([{"contrast": name} | {titles[m]: difference_summary(found[m][name]) for m in found} for name in found["dsc"]])


def printable_strata(strata: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a group of nodules: number of nodules and patients, readers among themselves, ellipses by both judges."""
    rows = []
    for name, part in strata.items():
        values = {
            "reader, judged by another reader": by_patient(part, READER, judges.ANOTHER),
            "ellipses, judged by whoever drew the boxes": by_patient(part, ELLIPSES, judges.SELF),
            "ellipses, judged by another reader": by_patient(part, ELLIPSES, judges.ANOTHER),
        }
        counts = {"nodules": part["nodule"].nunique(), "patients": part["patient_id"].nunique()}
        rows.append({"nodules with": name} | counts | {title: summary_text(series) for title, series in values.items()})
    return pd.DataFrame(rows)


def sizes(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The parts of a frame by diameter."""
    names = ["under 8 mm", "8 to 15 mm", "15 mm and more"]
    edges = zip(names, SIZES_MM[:-1], SIZES_MM[1:], strict=True)
    return {name: frame[(frame["diameter_mm"] >= low) & (frame["diameter_mm"] < high)] for name, low, high in edges}


def estimand_figure(frame: pd.DataFrame) -> Figure:
    """One line for each of `DRAWN`, from the reader who drew the prompt to another reader as judge; two readers as a band."""
    import matplotlib.pyplot as plt

    sns = plot_style()
    figure, ax = plt.subplots(figsize=(8.2, 3.4), layout="constrained")
    band = intervals.summarize_mean(by_patient(frame, READER, judges.ANOTHER).to_numpy())
    ax.axvspan(band.low, band.high, color="0.85", zorder=0)
    ax.axvline(band.mean, color="0.4", zorder=1)
    ax.text(band.mean, len(DRAWN) - 0.45, "two readers", ha="center", va="bottom", color="0.3")
    for row, name in enumerate(DRAWN):
        own, other = (by_patient(frame, name, e).mean() for e in (judges.SELF, judges.ANOTHER))
        ax.plot([own, other], [row, row], color="0.6", zorder=2)
        for value, color, side in ((own, sns.color_palette()[1], 1), (other, sns.color_palette()[0], -1)):
            ax.scatter([value], [row], color=color, s=50, zorder=3)
            place = {"ha": "left" if side > 0 else "right", "va": "center", "color": color}
            ax.annotate(f"{value:.2f}", (value, row), xytext=(8 * side, 0), textcoords="offset points", **place)
    own, other = (by_patient(frame, DRAWN[0], e).mean() for e in (judges.SELF, judges.ANOTHER))
    ax.text(own, -0.75, "judged by its drawer", ha="left", va="bottom", color=sns.color_palette()[1])
    ax.text(other, -0.75, "judged by another reader", ha="right", va="bottom", color=sns.color_palette()[0])
    ax.set(yticks=range(len(DRAWN)), yticklabels=[answers()[name] for name in DRAWN], ylim=(len(DRAWN) - 0.4, -1.3))
    lowest = min(by_patient(frame, name, judges.ANOTHER).mean() for name in DRAWN)
    ax.set(xlabel=f"mean Dice, no network, n = {frame['patient_id'].nunique()} patients", xlim=(lowest - 0.06, 1.0))
    plt.close(figure)  # a notebook shows what a cell returns, and would show an open figure once more
    return figure


def figure_alt(frame: pd.DataFrame) -> str:
    """What `estimand_figure` shows, for those who cannot see it."""
    ends = {name: [by_patient(frame, name, e).mean() for e in (judges.SELF, judges.ANOTHER)] for name in DRAWN}
    said = "; ".join(f"{answers()[name]} {own:.2f} and {other:.2f}" for name, (own, other) in ends.items())
    reader = by_patient(frame, READER, judges.ANOTHER).mean()
    return f"Mean Dice of shapes in one reader's prompt, judged by that reader and by another one: {said}. Two readers: {reader:.2f}."


def with_readers(nodules: Iterable[Nodule], count: int) -> list[Nodule]:
    """Those that exactly `count` readers outlined."""
    return [nodule for nodule in nodules if len(nodule.annotations) == count]


def nodules_shown(profile: str) -> list[Nodule]:
    """All nodules of the collection; under the profiles of `make quick` and of the tests every tenth."""
    return lidc_outlines.nodules()[:: _EVERY_OF_QUICK if profile in ("quick", "smoke") else 1]


def answer(frame: pd.DataFrame) -> str:
    """What was found, with its numbers."""
    own, other, reader = (
        by_patient(frame, *key) for key in ((ELLIPSES, judges.SELF), (ELLIPSES, judges.ANOTHER), (READER, judges.ANOTHER))
    )
    return (
        f"A reader draws a box on every slice of a nodule, and an ellipse fills each box; no network is used. Judged by the same "
        f"reader, the ellipses reach a mean Dice of **{summary_text(own)}**. Judged by another reader, the same ellipses reach "
        f"**{summary_text(other)}**. The difference, **{difference_summary(own - other)}**, only measures agreement with whoever drew "
        f"the box. Two readers agree with each other at **{summary_text(reader)}** (n = {len(own)} patients, "
        f"{frame['nodule'].nunique()} nodules)."
    )


def evidence(nodules: Sequence[Nodule]) -> str:
    """What the numbers come from, and how much of it."""
    patients = len({nodule.scan.patient_id for nodule in nodules})
    outlined = sum(len(nodule.annotations) for nodule in nodules)
    part = "" if outlined == len(lidc_database.read()) else f" This edition shows every {_EVERY_OF_QUICK}th nodule only."
    return (
        f"**These are results on patients**: {outlined:,} outlines of {len(nodules):,} nodules in {patients} patients of LIDC-IDRI, "
        f"without their CTs.{part}"
    )


def source(ball_mm: float) -> str:
    """Where the outlines come from, their license, and what a click was given."""
    return (
        f"{lidc_outlines.CITATION}. License: {lidc_outlines.LICENSE}. Database: {lidc_database.PACKAGE}, "
        f"sha256 {lidc_database.SHA256[:12]}. The ball around a click has {ball_mm:.1f} mm, the median diameter of these nodules."
    )
