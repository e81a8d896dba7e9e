"""LIDC nodules whose scans have thin slices (up to 1.5 mm): one of two real cohorts; one trains, both are tested."""

from __future__ import annotations

from pathlib import Path

from ..data import lidc_cubes
from ..types import Case, Study

CARD = lidc_cubes.card(
    title="LIDC nodules, thin slices",
    summary="The cubes of LIDC nodules whose scans have slices up to 1.5 mm.",
    labeled_patients=144,
    part_of="lidc_nodules",
)


def cases(root: Path) -> list[Case]:
    """The cubes below `root` from scans with thin slices, sorted, one a patient; `lidc_cubes.cases` lists their attributes."""
    return lidc_cubes.cases(root, "lidc_nodules_thin", lidc_cubes.THIN)


def load(case: Case) -> Study:
    """Read a case: references "consensus" (at least two readers), then "reader-1" and so on."""
    return lidc_cubes.load(case)
