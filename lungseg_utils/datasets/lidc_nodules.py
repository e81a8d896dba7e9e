"""LIDC nodules: cubes of 50 mm around the largest nodule of each of 325 patients of LIDC-IDRI, each outlined by three or four readers.

A cube is not a chest. Whoever gives it has said where to look, so a prediction without a prompt means "nothing but the cube".
"""

from __future__ import annotations

from pathlib import Path

from ..data import lidc_cubes
from ..types import Case, Study

CARD = lidc_cubes.card(
    title="LIDC nodules",
    summary="Cubes of 50 mm at 1 mm around the largest nodule (at least 8 mm) of 325 patients, outlined by three or four readers.",
    labeled_patients=325,
)


def cases(root: Path) -> list[Case]:
    """The cubes below `root`, sorted, one a patient; `lidc_cubes.cases` lists their attributes."""
    return lidc_cubes.cases(root, "lidc_nodules")


def load(case: Case) -> Study:
    """Read a case: references "consensus" (at least two readers), then "reader-1" and so on."""
    return lidc_cubes.load(case)
