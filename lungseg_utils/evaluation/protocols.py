"""Published ways to compute one Dice coefficient (DSC) from the same masks, and this project's own.

Every protocol is a function over cases: `CaseMasks` (voxels), or `CaseCounts` (the counts that `measure` takes from them, a few hundred
bytes to a few kilobytes). Any iterable works: it is read once and case by case, so a generator over a cohort never holds two scans. The
first line of a protocol's docstring is its formula and becomes part of its `ProtocolValue`. R and P are the voxels of reference and
prediction, an index s or p means within one slice or one patient, and DSC = 2|R∩P| / (|R|+|P|).

Only scans with a tumor enter, so every difference comes from the formula and not from the cohort. DSC does not depend on the voxel size,
so no spacing is needed. Several references of one scan (readers) are several cases of one patient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..types import InputError
from .protocol_counts import CaseCounts, CaseMasks, Counts, measure


@dataclass(frozen=True)
class ProtocolValue:
    """One number as a paper would report it: what it averages, over how many, and which share of all slices it covers."""

    name: str
    formula: str
    value: float
    n: int
    unit_of_n: str
    slices_scored_share: float


@dataclass(frozen=True, eq=False)
class _Scored:
    """DSC values that one case contributes to a mean, and how many of its slices they rest on."""

    case: CaseCounts
    values: np.ndarray
    slices: int


Cases = Iterable[CaseMasks | CaseCounts]


_OfCases = Callable[[list[CaseCounts]], tuple[float, int, str, int]]


def _with_tumor(cases: Cases) -> list[CaseCounts]:
    measured = (case if isinstance(case, CaseCounts) else measure(case) for case in cases)
    return [case for case in measured if case.has_tumor]


def _protocol(name: str) -> Callable[[_OfCases], Callable[[Cases], ProtocolValue]]:
    """Make a protocol of a function from scans with a tumor to (value, n, unit of n, slices scored)."""

    def decorate(function: _OfCases) -> Callable[[Cases], ProtocolValue]:
        formula = (function.__doc__ or "").partition("\n")[0].removesuffix(".")

        @functools.wraps(function)
        def protocol(cases: Cases) -> ProtocolValue:
            chosen = _with_tumor(cases)
            value, n, unit, slices = function(chosen)
            total = sum(case.slices for case in chosen)
            return ProtocolValue(name, formula, float(value), n, unit, slices / total if total else np.nan)

        return protocol

    return decorate


def _over_patients(scored: Sequence[_Scored]) -> tuple[float, int, str, int]:
    """Mean over patients of the mean over all values of the patient."""
    groups: dict[str, list[np.ndarray]] = {}
    for part in scored:
        if len(part.values):
            groups.setdefault(part.case.patient_id, []).append(part.values)
    means = [np.concatenate(values).mean() for values in groups.values()]
    return np.mean(means) if means else np.nan, len(means), "patients", sum(part.slices for part in scored)


def _over_slices(scored: Sequence[_Scored]) -> tuple[float, int, str, int]:
    """Mean over all slices, whoever's they are: a patient with a long tumor counts more than one with a short one."""
    values = np.concatenate([part.values for part in scored]) if scored else np.zeros(0)
    return values.mean() if len(values) else np.nan, len(values), "slices", sum(part.slices for part in scored)


def _whole(case: CaseCounts, dsc: float) -> _Scored:
    return _Scored(case, np.array([dsc]), case.slices)


@_protocol("3-D, all slices, mean over patients (this project)")
def volume(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of DSC = 2|R∩P| / (|R|+|P|) over all voxels but the ignore region's; an empty prediction counts 0.

    Several cases of a patient are averaged first, here and in every protocol over patients.
    """
    return _over_patients([_whole(case, case.judged.dsc) for case in cases])


@_protocol("3-D, nothing is ignored")
def nothing_ignored(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of DSC over all voxels of the scan; what was predicted in the ignore region is false."""
    return _over_patients([_whole(case, case.candidates[0]) for case in cases])


def _tumor_slices(cases: list[CaseCounts]) -> list[_Scored]:
    values = [case.slice_dsc[case.reference > 0] for case in cases]
    return [_Scored(case, dsc, len(dsc)) for case, dsc in zip(cases, values, strict=True)]


@_protocol("2-D, tumor slices only, all patients' slices pooled")
def tumor_slices(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over all slices s of all patients with Rₛ ≠ ∅ of DSCₛ = 2|Rₛ∩Pₛ| / (|Rₛ|+|Pₛ|).

    Voxels predicted above and below the tumor cost nothing.
    """
    return _over_slices(_tumor_slices(cases))


@_protocol("2-D, tumor slices only, mean per patient first")
def tumor_slices_by_patient(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of the mean of DSCₛ over the patient's slices with Rₛ ≠ ∅."""
    return _over_patients(_tumor_slices(cases))


def _all_slices(cases: list[CaseCounts]) -> list[_Scored]:
    return [
        _Scored(case, np.concatenate([np.nan_to_num(case.slice_dsc, nan=1.0), np.ones(case.slices - len(case.reference))]), case.slices)
        for case in cases
    ]


@_protocol("2-D, all slices, empty on both sides counts 1, pooled")
def all_slices(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over all slices of all patients of DSCₛ, with DSCₛ = 1 where Rₛ = Pₛ = ∅.

    Most slices hold no tumor, and to predict nothing on them is easy.
    """
    return _over_slices(_all_slices(cases))


@_protocol("2-D, all slices, empty on both sides counts 1, mean per patient first")
def all_slices_by_patient(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of the mean of DSCₛ over all their slices, with DSCₛ = 1 where Rₛ = Pₛ = ∅."""
    return _over_patients(_all_slices(cases))


@_protocol("voxels of all patients pooled")
def pooled_voxels(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """2 Σₚ|Rₚ∩Pₚ| / (Σₚ|Rₚ| + Σₚ|Pₚ|): one DSC of all patients together.

    A tumor of 300 ml counts a hundred times as much as one of 3 ml.
    """
    sums = (sum(int(getattr(case, name).sum()) for case in cases) for name in ("reference", "prediction", "overlap"))
    return Counts(*sums).dsc, len({case.patient_id for case in cases}), "patients", sum(case.slices for case in cases)


@_protocol("3-D, detected cases only")
def detected_only(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of DSC, over cases with DSC > 0 alone."""
    return _over_patients([_whole(case, case.candidates[0]) for case in cases if case.candidates[0] > 0])


@_protocol("3-D, only cases with an answer")
def answered_only(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of DSC, over cases with P ≠ ∅ alone."""
    return _over_patients([_whole(case, case.candidates[0]) for case in cases if case.prediction.any()])


@_protocol("2-D, without areas below 100 pixels, pooled")
def large_areas(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over all slices with an area (8-connected) of at least 100 pixels in Rₛ of DSCₛ without the smaller areas.

    What was predicted for areas that are left out, and for no other, is left out too: a prompted model is not asked for them.
    """
    return _over_slices([_Scored(case, case.large_areas, len(case.large_areas)) for case in cases])


@_protocol("3-D, without lesions below 1000 voxels")
def large_lesions(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of DSC without lesions (26-connected) of fewer than 1000 voxels; cases that keep none are left out.

    What was predicted for lesions that are left out, and for no other, is left out too.
    """
    return _over_patients([_whole(case, case.large_lesions.dsc) for case in cases if case.large_lesions.reference])


@_protocol("3-D, on slices resized to 256 × 256")
def resized_grid(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of DSC with both masks brought to 256 × 256 pixels per slice by nearest neighbor.

    A case whose reference vanishes on that grid is left out; one that had more pixels loses detail, one that had fewer loses none.
    """
    return _over_patients([_whole(case, case.resized.dsc) for case in cases if case.resized.reference])


@_protocol("3-D, cropped to the slices of the reference")
def cropped_to_reference(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of DSC over the voxels of the slices with Rₛ ≠ ∅.

    Voxels predicted on other slices cost nothing. Nothing is cut within a slice.
    """
    scored = []
    for case in cases:
        inside = case.reference > 0
        sums = [int(voxels[inside].sum()) for voxels in (case.reference, case.prediction, case.overlap)]
        scored.append(_Scored(case, np.array([Counts(*sums).dsc]), int(inside.sum())))
    return _over_patients(scored)


@_protocol("3-D, best of several predictions, chosen by the reference")
def best_of_several(cases: list[CaseCounts]) -> tuple[float, int, str, int]:
    """Mean over patients of maxᵢ 2|R∩Pᵢ| / (|R|+|Pᵢ|) over the predictions Pᵢ of a case.

    The same for three masks of one prompt and for N jittered prompts. Each case must have as many.
    """
    if len({len(case.candidates) for case in cases}) > 1:
        raise InputError("predictions", "some cases have more of them than others", "Give as many predictions for each case.")
    return _over_patients([_whole(case, max(case.candidates)) for case in cases])


PROTOCOLS: tuple[Callable[[Cases], ProtocolValue], ...] = (
    volume,
    nothing_ignored,
    tumor_slices,
    tumor_slices_by_patient,
    all_slices,
    all_slices_by_patient,
    pooled_voxels,
    detected_only,
    answered_only,
    large_areas,
    large_lesions,
    resized_grid,
    cropped_to_reference,
    best_of_several,
)


def all_protocols(cases: Cases) -> list[ProtocolValue]:
    """Every protocol on the same cases, this project's own first.

    Two only where they can differ: the best of several if a case has several predictions, nothing ignored if one has an ignore region.
    """
    counts = _with_tumor(cases)
    left_out = set() if any(len(case.candidates) > 1 for case in counts) else {best_of_several}
    left_out |= set() if any(case.has_ignore for case in counts) else {nothing_ignored}
    return [protocol(counts) for protocol in PROTOCOLS if protocol not in left_out]
