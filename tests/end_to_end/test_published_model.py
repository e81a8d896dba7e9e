"""A published model is added as the page says, in a copy of the project: one file, one line, and rows of contamination."""

import json
import shutil
import subprocess
from functools import partial

import pytest

from tests.support.worked_examples import ROOT, append, assert_in_style, block, copy_project, follow

_block = partial(block, "extend.md")
SCRIPT = """
import json
import pandas as pd
from lungseg_utils import registry
from lungseg_utils.book import chapters, inputs, workflow
from lungseg_utils.data import collections
from lungseg_utils.experiments import config, planning
from lungseg_utils.experiments.costs import subjects
from lungseg_utils.experiments.costs.table import read
from lungseg_utils.reporting import contamination, costs, model_pages, settings_labels

grid, measured = config.load(), read(config.project.project_root() / "data" / "results" / "efficiency_cpu.csv")
(experiment,) = planning.planned_runs("sam_large_zero_shot", "paper")
card = registry.card("models", "sam_large")
(row,) = model_pages.at_a_glance({"sam_large": []}, measured).to_dict("records")
print(json.dumps({
    "profiles": [name for name in grid.profiles if "sam_large_zero_shot" in grid.notebooks(name)],
    "title": planning.experiment_title(experiment),
    "page": workflow.experiment_title("sam_large_zero_shot", "paper"),
    "notebook": inputs.notebook("sam_large_zero_shot").name,
    "fetched": "sam_vit_l_0b3195.pth" in collections.weights(),
    "subject": [subject.title for subject in subjects.subjects() if subject.model == "sam_large"],
    "found": subjects.subject_of("sam_large", card.options).name,
    "costs": costs.printable_family(measured, "sam_large").shape[0],
    "section": chapters.pages(chapters.FOLDER)["sam_family"],
    "listed": model_pages.names(),
    "row": row,
    "level": contamination.level("sam_vit_l_0b3195", "msd_lung"),
    "pairs": len(contamination.read()),
    "labels": settings_labels.count(experiment, "rider_lung_ct", "box_one_slice"),
}))
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("project"))
    shutil.copytree(ROOT / "book" / "models", folder / "book" / "models")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    (folder / "lungseg_utils" / "models" / "sam_large.py").write_text(_block("published-file"))
    append(folder / "experiments.yml", _block("published-line"))
    return folder


def _ask(copied):
    asked = follow(copied, "-c", SCRIPT)
    assert asked.returncode == 0, asked.stderr[-3000:]
    return json.loads(asked.stdout.splitlines()[-1])


def test_without_its_rows_of_contamination_the_table_is_refused(copied):
    asked = follow(copied, "-c", "from lungseg_utils.reporting import contamination; contamination.read()")
    assert "sam_vit_l_0b3195 on" in asked.stderr
    assert "is missing" in asked.stderr


def test_one_file_one_line_and_its_rows_make_a_published_model_known_everywhere(copied):
    subprocess.run(["bash", "-ec", _block("published-rows")], cwd=copied, check=True)
    known = _ask(copied)
    assert known["profiles"] == ["paper"]  # others would have to fetch its weights
    assert known["title"] == "SAM (ViT-L), W400 L40, zero-shot"
    assert "SAM (ViT-L)" in known["page"]
    assert known["notebook"].endswith("_zero_shot.ipynb")
    assert known["fetched"]
    assert known["subject"] == ["SAM (ViT-L)"]
    assert known["found"] == "sam_large"
    assert known["costs"] == 0  # until they are measured
    section = known["section"].partition(":::{dropdown} SAM (ViT-L)")[2].partition("\n:::\n")[0]
    assert "1024 × 1024 pixels" in section
    assert "License: Apache-2.0" in section
    assert "costs.ipynb::sam_large_costs" in section
    assert "results/sam_large_zero_shot.ipynb" in section
    assert known["listed"][-1] == "sam_large"
    assert known["row"]["Model"] == "SAM (ViT-L)"
    assert known["row"]["Prompt"] == "boxes, clicks"
    assert known["row"]["In this edition"] == "not run"
    assert known["level"] == "none"
    assert known["labels"] == 0


def test_the_file_of_the_page_is_in_the_style_of_the_project(tmp_path):
    assert_in_style(_block("published-file"), tmp_path)
