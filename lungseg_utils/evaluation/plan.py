"""Read analysis_plan.yml: the planned comparisons, and the constants of metrics and statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from ..types import InputError, Row

FILE = "analysis_plan.yml"
# Constants belong to the code that uses them, so they come from its own checkout, whatever project a run works on.
_OF_THIS_CODE = Path(__file__).resolve().parents[2] / FILE


@dataclass(frozen=True)
class PlannedContrast:
    """One comparison of the family: a minus b, each a notebook of the grid and its prompt setting.

    `source`: whose outlines the prompts of both sides are drawn from where there are several readers; "" is the setting's own.
    """

    name: str
    a: tuple[str, str]
    b: tuple[str, str]
    source: str = ""


@dataclass(frozen=True)
class Matching:
    """How predicted components are matched with reference lesions."""

    least_ml: float  # smaller predicted components are dropped first, unless they touch a lesion
    hit_iou: float  # the least overlap of a hit


@dataclass(frozen=True)
class Inference:
    """Constants of intervals and tests."""

    least_patients_for_an_interval: int
    least_patients_for_a_claim: int
    least_runs_for_the_crossed_bootstrap: int
    resamples: int
    flips: int
    alpha: float
    power: float
    margin_human_variability: float
    seed: int


@dataclass(frozen=True)
class AnalysisPlan:
    """The analysis plan. Code reads the typed fields; `raw` is the whole file, for pages."""

    contrasts: tuple[PlannedContrast, ...]
    automatic_control: str
    primary_settings: tuple[str, ...]
    all_settings: tuple[str, ...]
    seconds_per_action: Mapping[str, tuple[float, float]]
    diameter_mm: tuple[float, ...]
    matching: Matching
    inference: Inference
    raw: Row

    def secondary_metric(self, dataset: str) -> str:
        """The surface metric of a tested data set; its tolerance follows from the size of the voxels."""
        return str(self.raw.get("secondary_metric_of", {}).get(dataset, self.raw["secondary_metric"]))

    @property
    def seed(self) -> int:
        """Seed of every resampling."""
        return self.inference.seed


@cache
def read(path: Path = _OF_THIS_CODE) -> AnalysisPlan:
    """Read the plan from a file, by default that of this checkout. InputError names a file that is not a readable plan."""
    try:
        raw = yaml.safe_load(path.read_text())
        matching = Matching(raw["matching"]["least_ml"], raw["matching"]["hit_iou"])
        return AnalysisPlan(
            tuple(PlannedContrast(c["name"], tuple(c["a"]), tuple(c["b"]), c.get("source", "")) for c in raw["contrasts"]),
            raw["automatic_control"],
            tuple(raw["prompt_settings"]["primary"]),
            tuple(raw["prompt_settings"]["all"]),
            {action: tuple(band) for action, band in raw["seconds_per_action"].items()},
            tuple(raw["strata"]["diameter_mm"]),
            matching,
            Inference(**raw["inference"]),
            raw,
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(path, f"not a readable plan ({type(error).__name__}: {error})", "Restore it from the repository.") from error
