"""analysis_plan.yml as checked records: what is compared with what, decided before any result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..core import project, provenance
from ..types import InputError
from . import config

FILE = "analysis_plan.yml"


@dataclass(frozen=True)
class PlannedContrast:
    """One comparison of the family: a minus b, each a notebook of the grid and the rung that it is asked on."""

    name: str
    a: tuple[str, str]
    b: tuple[str, str]


@dataclass(frozen=True)
class AnalysisPlan:
    """The plan, with its parts that code reads; `raw` is all of it, for pages."""

    contrasts: tuple[PlannedContrast, ...]
    automatic_control: str
    primary_rungs: tuple[str, ...]
    all_rungs: tuple[str, ...]
    seconds_per_action: Mapping[str, tuple[float, float]]
    diameter_mm: tuple[float, ...]
    seed: int
    raw: Mapping[str, Any]


def sha256() -> str:
    """Hash of the plan's file; it stands beside every analysis."""
    return provenance.sha256_of_files([project.project_root() / FILE], project.project_root())


@cache
def _load(path: Path) -> AnalysisPlan:
    try:
        raw = yaml.safe_load(path.read_text())
        contrasts = tuple(PlannedContrast(c["name"], tuple(c["a"]), tuple(c["b"])) for c in raw["contrasts"])
        result = AnalysisPlan(
            contrasts,
            raw["automatic_control"],
            tuple(raw["rungs"]["primary"]),
            tuple(raw["rungs"]["all"]),
            {action: tuple(band) for action, band in raw["seconds_per_action"].items()},
            tuple(raw["strata"]["diameter_mm"]),
            raw["inference"]["seed"],
            raw,
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(path, f"not a readable plan ({type(error).__name__}: {error})", "Restore it from the repository.") from error
    _check(result, path)
    return result


def load() -> AnalysisPlan:
    """Read and check the plan; InputError names what in it does not exist."""
    return _load(project.project_root() / FILE)


def _check(plan: AnalysisPlan, path: Path) -> None:
    lines = config.load().experiments
    sides = [side for contrast in plan.contrasts for side in (contrast.a, contrast.b)]
    for notebook, rung in [*sides, (plan.automatic_control, "none")]:
        if notebook not in lines or rung not in lines[notebook].prompters:
            raise InputError(path, f"{notebook} is not asked on the rung {rung}", "See experiments.yml.")
    if len({contrast.name for contrast in plan.contrasts}) < len(plan.contrasts):
        raise InputError(path, "two contrasts share a name", "Give each its own.")
