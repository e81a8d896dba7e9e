"""LIDC nodules whose scans have thick slices (from 2 mm on): one of two real cohorts; one trains, both are tested."""

from __future__ import annotations

from pathlib import Path

from ..data import lidc_cubes
from ..types import Case, Study

CARD = lidc_cubes.card(
    title="LIDC nodules, thick slices",
    summary="The cubes of LIDC nodules whose scans have slices from 2 mm on.",
    labeled_patients=181,
    part_of="lidc_nodules",
)


def cases(root: Path) -> list[Case]:
    """The cubes below `root` from scans with thick slices, sorted, one a patient; `lidc_cubes.cases` lists their attributes."""
    return lidc_cubes.cases(root, "lidc_nodules_thick", lidc_cubes.THICK)


def load(case: Case) -> Study:
    """Read a case: references "consensus" (at least two readers), then "reader-1" and so on."""
    return lidc_cubes.load(case)
