"""Whatever is run in the place of a published model is never shown under its name: every table and every glued value of the built book."""

import html
import re

import nbformat
import pandas as pd
import pytest

from lungseg_utils import registry
from lungseg_utils.core import project
from lungseg_utils.experiments import config, planning
from lungseg_utils.reporting import contamination, wording
from tests.support.sample_book import needs_smoke_book

ROOT = project.project_root()
PUBLISHED = re.compile(r"\b(?:Med)?SAM\b(?!-type| 2-type)|\bSAM ?2\b(?!-type)|\bMedSAM ?2?\b")
# what an architecture costs does not depend on its weights: its name may stand beside seconds, and beside nothing that it said
COSTS_ONLY = {"costs.ipynb"}
# the names of weights that no profile runs: the page on contamination says what these had seen
NOT_RUN = re.compile("|".join(map(re.escape, contamination.ELSEWHERE)))
ACCURACY = re.compile(r"\bDSC\b|\bNSD\b|\bHD95\b|Dice")


def _executed():
    return sorted((ROOT / "build" / "smoke" / "notebooks").glob("*.ipynb"))


def _shown(output):
    """(kind, text) of a table or a glued value."""
    data = output.get("data", {})
    if "scrapbook" in output.get("metadata", {}):
        yield "glued value", " ".join(str(v) for v in data.values())
    elif "<table" in "".join(data.get("text/html", "")):
        yield "table", html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", "".join(data["text/html"]), flags=re.DOTALL))


@pytest.mark.parametrize("text", ["MedSAM", "MedSAM2, few-shot", "SAM (ViT-B)", "SAM 2 (tiny)", "Medical SAM 2"])
def test_the_pattern_finds_published_names(text):
    assert PUBLISHED.search(text)


@pytest.mark.parametrize(
    "text", ["SAM-type stand-in, CT-like pretraining", "SAM 2-type stand-in, shapes pretraining", "same", "sam_stand_in"]
)
def test_the_pattern_leaves_stand_ins_alone(text):
    assert not PUBLISHED.search(text)


@needs_smoke_book
def test_no_table_and_no_glued_value_of_the_book_names_a_published_model():
    seen = []
    for path in _executed():
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                for kind, text in _shown(output):
                    seen.append(kind)
                    forbidden = ACCURACY if path.name in COSTS_ONLY else PUBLISHED
                    told = NOT_RUN.sub("", text) if path.name == "contamination.ipynb" else text
                    assert not forbidden.search(told), (path.name, kind, forbidden.search(told))
    assert seen.count("table") > 40
    assert seen.count("glued value") > 100


@needs_smoke_book
def test_no_row_of_a_result_table_names_a_published_model():
    tables = sorted((ROOT / "results" / "smoke").glob("*/results.csv"))
    assert len(tables) >= len({e.name for line in config.load().lines("smoke") for e in planning.planned_runs(line.notebook, "smoke")})
    published = {name for name in registry.names("models") if name in config.load().profile("smoke").stand_ins}
    for path in tables:
        for name in pd.read_csv(path, usecols=["experiment"])["experiment"].unique():
            assert not published & set(name.split("__")), path


@needs_smoke_book
@pytest.mark.parametrize(
    "line", [line for line in config.load().experiments.values() if line.model in config.load().profile("smoke").stand_ins]
)
def test_every_page_of_a_published_model_says_first_what_ran_in_its_place(line):
    cells = nbformat.read(ROOT / "build" / "smoke" / "notebooks" / f"{line.notebook}.ipynb", as_version=4).cells
    first = next(
        "".join(out["data"]["text/markdown"]) for c in cells for out in c.get("outputs", []) if "text/markdown" in out.get("data", {})
    )
    assert "no number on this page is a result of" in first
    assert "stand-in" in first


def test_phantoms_are_called_phantoms_and_patients_patients():
    assert "**These are phantom results**" in wording.statement("phantoms")
    assert "do not predict their scores on patients" in wording.statement("phantoms")
    assert "no patient of the test part was loaded" in wording.statement("quick")
    assert "development" not in wording.statement("patients")
    assert wording.words("phantoms")["internal_patients"] == "NSCLC-like phantoms"
    assert wording.words("phantoms")["external_patients"] == "MSD-like phantoms"
    assert wording.words("few_shot")["external_patients"].endswith("(not tested in this profile)")
    said = wording.statement("paper")
    assert "phantom" not in said
    assert "patients of NSCLC-Radiomics; patients of MSD Task06 Lung; patients of RIDER Lung CT" in said
    assert "MSD Task06 Lung has no fixed test part" in said
    assert "never pooled" in said
    assert wording.caption("msd_lung", "paper") == "Patients of MSD Task06 Lung (out of fold, by what was trained on them)"
    assert wording.caption("nsclc_radiomics", "paper") == "Patients of NSCLC-Radiomics"
    assert wording.targets("paper") == ["nsclc_radiomics", "msd_lung"]
    assert wording.roles("paper") == {"nsclc_radiomics": "internal", "msd_lung": "external", "rider_lung_ct": "rider_lung_ct"}
