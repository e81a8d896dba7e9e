"""The metrics, one record each; tables and pages follow from the records. All are 3-D, on all voxels of a case's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import MappingProxyType
from typing import Generic, TypeVar

import numpy as np

from ..core.masks import dsc
from ..types import InputError, Mask
from . import shapes
from .lesions import LesionMatch, match_shapes
from .surfaces import SurfaceDistances, distances_between

NSD_TOLERANCES_MM = (1.0, 2.0, 3.0, 5.0)
# what is averaged over: patients with a tumor, scans without one, or the lesions that were found
TUMOR, TUMOR_FREE, DETECTED = "patients with a tumor", "tumor-free scans", "detected lesions"
# tables that show only some metrics: means over a test set, values of one case, cases of a report on own masks, and tables that are
# stored for long runs
COHORT, CASE, REPORT, STORED = "cohort", "case", "report", "stored"
# What an empty mask does to a metric, where its own formula does not say: keys are which mask is empty.
# NaN is "undefined": such a value never enters a mean. A failed model counts as an empty prediction.
_UNDEFINED = {"both": np.nan, "reference": np.nan}
_OVERLAP = {**_UNDEFINED, "prediction": 0.0}
_DISTANCE = {**_UNDEFINED, "prediction": np.inf}


class Comparison:
    """A reference and a prediction of one case, with what several metrics need, computed once.

    A voxel of the ignore region that is no target is never a false positive: it is taken out of the prediction first.
    `open_ends`: which end of the volume (first, last slice) cuts the lesion. InputError if the grids differ.
    """

    def __init__(self, reference: Mask, prediction: Mask, ignore: Mask | None = None, open_ends: tuple[bool, bool] = (False, False)):
        for other in (prediction, ignore):
            if other is not None and other.shape != reference.shape:
                raise InputError("prediction", f"its grid {other.shape} is not the reference's {reference.shape}", "Put it back first.")
        self.spacing_mm, self.voxel_ml, self.open_ends = reference.spacing_mm, reference.voxel_ml, open_ends
        self.hidden = None if ignore is None else ignore.array & ~reference.array
        self._reference, self._prediction = shapes.of(reference), self._seen(prediction)
        box = shapes.common_box(self._reference, self._prediction)
        self.reference, self.prediction = self._reference.array[box], self._prediction.array[box]  # of the smallest box that holds both
        self.reference_ml = int(self.reference.sum()) * self.voxel_ml
        self.prediction_ml = int(self.prediction.sum()) * self.voxel_ml

    def _seen(self, prediction: Mask) -> shapes.Shape:
        whole = shapes.of(prediction)
        if self.hidden is None or not (whole.array[whole.box] & self.hidden[whole.box]).any():
            return whole
        return shapes.Shape(whole.array & ~self.hidden, self.spacing_mm)

    @property
    def empty(self) -> str:
        """Which mask is empty: "both", "reference", "prediction", or "" for neither."""
        names = [name for name, volume in (("reference", self.reference_ml), ("prediction", self.prediction_ml)) if not volume]
        return "both" if len(names) == 2 else "".join(names)

    @cached_property
    def surfaces(self) -> SurfaceDistances:
        """Distances between the two surfaces; neither mask may be empty."""
        return distances_between(self._reference.surface, self._prediction.surface, self.hidden, self.open_ends)

    @cached_property
    def lesions(self) -> LesionMatch:
        """Reference lesions and predicted components, matched."""
        return match_shapes(self._reference, self._prediction, self.voxel_ml, self.hidden)


_Judged = TypeVar("_Judged")  # a comparison of a case, or a lesion


@dataclass(frozen=True)
class Metric(Generic[_Judged]):
    """One metric."""

    name: str  # in tables and files
    title: str  # for readers
    unit: str  # "1" for none
    meaning: str  # one sentence, for the glossary
    value: Callable[[_Judged], float]
    empty: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))  # which mask is empty -> value
    summary: str = ""  # over patients: "mean", "median", or "" for a fact that nobody averages
    over: str = TUMOR  # what the summary is over
    tables: tuple[str, ...] = ()  # the tables that show only some metrics, of COHORT, CASE, REPORT and STORED
    digits: int = 2

    @property
    def label(self) -> str:
        """The title with its unit, for axes and headings."""
        return self.title if self.unit == "1" else f"{self.title} ({self.unit})"


def iou(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Intersection over union of two bool arrays of one shape; NaN if both are empty."""
    union = int((reference | prediction).sum())
    return int((reference & prediction).sum()) / union if union else np.nan


def _nsd(tolerance_mm: float) -> Metric[Comparison]:
    return Metric(
        f"nsd_{tolerance_mm:g}mm",
        f"NSD at {tolerance_mm:g} mm",
        "1",
        f"normalized surface distance: share of both surfaces within {tolerance_mm:g} mm of the other one",
        partial(_nsd_value, tolerance_mm),
        _OVERLAP,
        "mean",
        tables={2.0: (COHORT, CASE, REPORT), 3.0: (COHORT, CASE, REPORT, STORED)}.get(tolerance_mm, ()),
    )


def _nsd_value(tolerance_mm: float, c: Comparison) -> float:
    return c.surfaces.nsd(tolerance_mm)


def _relative_error(c: Comparison) -> float:
    return 100.0 * (c.prediction_ml - c.reference_ml) / c.reference_ml if c.reference_ml else np.nan


def _false_positive_ml(c: Comparison) -> float:
    return int((c.prediction & ~c.reference).sum()) * c.voxel_ml


METRICS: tuple[Metric[Comparison], ...] = (
    Metric(
        "dsc",
        "DSC",
        "1",
        "Dice similarity coefficient: twice the common volume over the sum of both volumes",
        lambda c: dsc(c.reference, c.prediction),
        _OVERLAP,
        "mean",
        tables=(COHORT, CASE, REPORT, STORED),
    ),
    Metric("iou", "IoU", "1", "common volume over the volume of the union", lambda c: iou(c.reference, c.prediction), _OVERLAP, "mean"),
    *map(_nsd, NSD_TOLERANCES_MM),
    Metric(
        "hd95",
        "HD95",
        "mm",
        "95th percentile of the distances between the surfaces, the larger of both directions; infinite for an empty prediction",
        lambda c: c.surfaces.hd95(),
        _DISTANCE,
        "median",
        tables=(COHORT, CASE, REPORT, STORED),
        digits=1,
    ),
    Metric(
        "assd",
        "ASSD",
        "mm",
        "average symmetric surface distance; infinite for an empty prediction",
        lambda c: c.surfaces.assd(),
        _DISTANCE,
        "median",
        tables=(REPORT,),
        digits=1,
    ),
    Metric("reference_volume", "reference", "ml", "volume of the reference", lambda c: c.reference_ml, tables=(CASE, REPORT, STORED)),
    Metric("prediction_volume", "prediction", "ml", "volume of the prediction", lambda c: c.prediction_ml, tables=(CASE, REPORT, STORED)),
    Metric("volume_error", "volume error", "ml", "predicted less reference volume", lambda c: c.prediction_ml - c.reference_ml),
    Metric(
        "volume_error_relative",
        "volume error",
        "%",
        "predicted less reference volume, in percent of the reference",
        _relative_error,
        _UNDEFINED,
        "median",
        digits=1,
    ),
    Metric(
        "false_positive_volume",
        "false-positive volume",
        "ml",
        "predicted volume outside of the reference",
        _false_positive_ml,
        summary="mean",
        over=TUMOR_FREE,
        tables=(COHORT, REPORT, STORED),
    ),
    Metric(
        "lesions_reference",
        "reference lesions",
        "1",
        "number of lesions in the reference",
        lambda c: c.lesions.n_reference,
        tables=(REPORT,),
        digits=0,
    ),
    Metric(
        "lesions_predicted",
        "predicted lesions",
        "1",
        "number of predicted components",
        lambda c: c.lesions.n_predicted,
        tables=(REPORT,),
        digits=0,
    ),
    Metric(
        "lesions_hit",
        "lesions found",
        "1",
        "number of reference lesions that were found",
        lambda c: len(c.lesions.pairs),
        tables=(REPORT,),
        digits=0,
    ),
    Metric("lesions_split", "lesions split", "1", "lesions that several components touch", lambda c: c.lesions.n_split, digits=0),
    Metric("lesions_merged", "lesions merged", "1", "components that touch several lesions", lambda c: c.lesions.n_merged, digits=0),
    Metric(
        "lesion_sensitivity",
        "lesions found (sensitivity)",
        "1",
        "share of reference lesions that were found",
        lambda c: c.lesions.sensitivity,
        _UNDEFINED,
        "mean",
        tables=(COHORT, STORED),
    ),
    Metric(
        "lesion_precision",
        "predicted parts that are lesions (precision)",
        "1",
        "share of predicted components that found a lesion",
        lambda c: c.lesions.precision,
        {**_UNDEFINED, "prediction": np.nan},
        "mean",
    ),
    Metric("lesion_f1", "lesion-wise F1", "1", "harmonic mean of these two", lambda c: c.lesions.f1, _UNDEFINED, "mean"),
)


@dataclass(frozen=True)
class Lesion:
    """One reference lesion and the predicted component that found it, bool arrays of one shape; an empty one if it was missed."""

    reference: np.ndarray
    prediction: np.ndarray
    voxel_ml: float


LESION_METRICS: tuple[Metric[Lesion], ...] = (
    Metric("lesion_hit", "lesion found", "1", "1 if the lesion was found, else 0", lambda lesion: float(lesion.prediction.any())),
    Metric("lesion_volume", "lesion", "ml", "volume of the lesion", lambda lesion: int(lesion.reference.sum()) * lesion.voxel_ml),
    Metric(
        "lesion_dsc",
        "lesion-wise DSC",
        "1",
        "DSC of a lesion with the component that found it; 0 if it was missed",
        lambda lesion: dsc(lesion.reference, lesion.prediction),
        summary="mean",
        over=DETECTED,
        tables=(STORED,),
    ),
)
AnyMetric = Metric[Comparison] | Metric[Lesion]
BEST_OF_DRAWS = "dsc_best_of_draws"  # a further value of a case that was asked with several draws of inexact prompts
UNITS: Mapping[str, str] = {metric.name: metric.unit for metric in METRICS}
LESION_UNITS: Mapping[str, str] = {metric.name: metric.unit for metric in LESION_METRICS}


def shown_in(table: str) -> tuple[AnyMetric, ...]:
    """The metrics of a table that shows only some: COHORT, CASE, REPORT or STORED."""
    known: tuple[AnyMetric, ...] = (*METRICS, *LESION_METRICS)
    return tuple(metric for metric in known if table in metric.tables)


def score_case(
    reference: Mask, prediction: Mask, ignore: Mask | None = None, open_ends: tuple[bool, bool] = (False, False)
) -> dict[str, float]:
    """All metrics of one case: name -> value, in the units of `UNITS`. Arguments as those of `Comparison`."""
    return case_values(Comparison(reference, prediction, ignore, open_ends))


def case_values(comparison: Comparison) -> dict[str, float]:
    """All metrics of one comparison: name -> value, in the units of `UNITS`."""
    empty = comparison.empty
    return {m.name: float(m.empty[empty] if empty in m.empty else m.value(comparison)) for m in METRICS}


def lesion_values(comparison: Comparison) -> dict[int, dict[str, float]]:
    """The metrics of each reference lesion, by its number in scan order."""
    match, rows = comparison.lesions, {}
    for number in range(1, match.n_reference + 1):
        component, _ = match.pairs.get(number, (0, 0.0))
        found = (match.prediction_labels == component) if component else np.zeros_like(match.prediction_labels, bool)
        lesion = Lesion(match.reference_labels == number, found, comparison.voxel_ml)
        rows[number] = {metric.name: float(metric.value(lesion)) for metric in LESION_METRICS}
    return rows
