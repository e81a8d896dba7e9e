"""Compare measured phantoms with accepted ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ...types import Study
from ..cohort import CohortSettings, scanner_of
from .properties import (
    MEASURED,
    NPS_GRID,
    PUBLISHED_QUANTILES,
    QUANTILE_LEVELS,
    lung_mask,
    mean_frequency,
    noise_values,
    scanner_noise,
    tumor_hu,
    tumor_shape,
)
from .trivial import trivial_dsc


@dataclass(frozen=True)
class Gate:
    """A cohort median must lie in [low, high]."""

    low: float
    high: float
    unit: str
    meaning: str
    source: str


GATES: Mapping[str, Gate] = {
    "lung_median_hu": Gate(-890, -840, "HU", "median of the lung", MEASURED),
    "core_median_hu": Gate(15, 95, "HU", "tumor more than 4 mm inside its outline", MEASURED),
    "rim_hu": Gate(-400, -200, "HU", "outermost voxels of the reference", MEASURED),
    "noise_hu": Gate(14, 21, "HU", "SD of noise in soft tissue", MEASURED),
    "nps_mean_per_mm": Gate(0.25, 0.40, "1/mm", "mean frequency of the noise power spectrum, on 0.8 mm pixels", MEASURED),
    "slice_correlation": Gate(0.15, 0.45, "1", "correlation of the noise of neighbouring slices", MEASURED),
    "ellipse_per_slice_dsc": Gate(0.82, 0.93, "1", "DSC of the ellipse inscribed in every slice's box", MEASURED),
    "recist_ball_dsc": Gate(0.37, 0.71, "1", "DSC of the ball on the longest chord", MEASURED),
}


def measure(study: Study, seed: int = 0) -> dict[str, float]:
    """All measurements of one study (first reader); tumor values are missing when its reference is empty."""
    reference = study.reference
    lung = lung_mask(study.image)
    values = noise_values(study.image, seed)
    inside = study.image.array[lung & ~reference.array]
    parenchyma = inside[inside < -700]
    values["lung_median_hu"] = float(np.median(inside)) if inside.size else np.nan
    values["lung_sd_hu"] = float(parenchyma.std()) if parenchyma.size else np.nan
    if reference.array.any():
        values |= tumor_hu(study.image, reference, lung) | tumor_shape(reference) | trivial_dsc(reference)
    return values


def measure_phantoms(module, root: Path, settings: CohortSettings, patient_ids: Iterable[str] | None = None, progress=None) -> pd.DataFrame:
    """One row per phantom in `root` (all, or those named), read through its data-set plug-in; indexed by patient."""
    wanted = None if patient_ids is None else set(patient_ids)
    chosen = [c for c in module.cases(root) if wanted is None or c.patient_id in wanted]
    rows = {}
    for case in progress(chosen) if progress else chosen:
        rows[case.patient_id] = measure(module.load(case))
        rows[case.patient_id]["nps_mean_per_mm"] = mean_frequency(scanner_noise(scanner_of(settings, case.patient_id)), NPS_GRID.spacing_mm)
    return pd.DataFrame.from_dict(rows, orient="index")


def studies_with_tumor(module, root: Path, patient_ids: Sequence[str], count: int) -> dict[str, Study]:
    """The first `count` of the named phantoms whose reference is not empty, read through their plug-in."""
    wanted = set(patient_ids)
    chosen = [c for c in module.cases(root) if c.patient_id in wanted and c.attributes["tumor_free"] == "0"]
    return {case.patient_id: module.load(case) for case in chosen[:count]}


def gate_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Per gate: the cohort's median, the range and whether it is met."""
    rows = []
    for name, gate in GATES.items():
        median = float(measured[name].median())
        rows.append({"gate": name, "median": median, "low": gate.low, "high": gate.high, "unit": gate.unit,
                     "met": bool(gate.low <= median <= gate.high), "meaning": gate.meaning})  # fmt: skip
    return pd.DataFrame(rows).set_index("gate")


def quantile_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Quantiles of the cohort beside the published ones; two rows per quantity."""
    rows = {}
    for name, published in PUBLISHED_QUANTILES.items():
        rows[name, "phantoms"] = measured[name].quantile(list(QUANTILE_LEVELS)).to_numpy()
        rows[name, "published"] = np.asarray(published)
    return pd.DataFrame.from_dict(rows, orient="index", columns=[f"{100 * q:.0f} %" for q in QUANTILE_LEVELS])
