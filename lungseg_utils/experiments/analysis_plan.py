"""Check the analysis plan of a project against its grid of experiments."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..core import project, provenance
from ..evaluation import plan
from ..evaluation.plan import FILE, AnalysisPlan
from ..types import InputError
from . import config


def sha256() -> str:
    """Hash of the plan's file, part of the provenance of every analysis."""
    return provenance.sha256_of_files([project.project_root() / FILE], project.project_root())


def load() -> AnalysisPlan:
    """Read and check the plan; InputError names an entry that does not exist in the grid."""
    return _load(project.project_root() / FILE)


@cache
def _load(path: Path) -> AnalysisPlan:
    found = plan.read(path)
    lines = config.load().experiments
    sides = [side for contrast in found.contrasts for side in (contrast.a, contrast.b)]
    for notebook, setting in [*sides, (found.automatic_control, "none")]:
        if notebook not in lines or setting not in lines[notebook].prompters:
            raise InputError(path, f"{notebook} is not run with the prompt setting {setting}", "See experiments.yml.")
    if len({contrast.name for contrast in found.contrasts}) < len(found.contrasts):
        raise InputError(path, "two contrasts share a name", "Give each its own.")
    return found
