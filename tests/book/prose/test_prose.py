"""The prose of the book: its contents, the notebooks that its numbers come from, and the links of the pages of models."""

import re

import pytest

from lungseg_utils.book import build, workflow
from lungseg_utils.core import project
from lungseg_utils.experiments import config
from tests.support.sample_book import asked_for

ROOT = project.project_root()
PAGES = sorted((ROOT / "book").rglob("*.md"))
MODELS = sorted((ROOT / "book" / "models").glob("*.md"))
SCORES = re.compile(r"\{estimate\}|ipynb::\w*(?:_dsc|_numbers|trap_|ladder_|front_figure)")


def test_the_contents_name_every_page_once():
    pages = build.pages_of_toc(ROOT / "_toc.yml")
    assert len(set(pages)) == len(pages)
    prose = {f"book/{path.relative_to(ROOT / 'book').with_suffix('').as_posix()}" for path in PAGES} - {"book/intro"}
    assert prose == {page for page in pages if not page.startswith("book/results/")}
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} | set(workflow.LARGER_PAGES)
    notebooks -= {"prompt_playground"}  # that one needs a running kernel
    assert notebooks == {page.removeprefix("book/results/") for page in pages if page.startswith("book/results/")}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_with_scores_says_whether_they_are_of_phantoms_or_of_patients(path):
    text = path.read_text(encoding="utf-8")
    if SCORES.search(text):
        assert "{{ evidence }}" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_value_of_another_page_has_a_format(path):
    """Without one MyST-NB looks for the key on the page itself."""
    assert not re.findall(r"\{glue:text\}`[^`]*::\w+`", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_picture_has_a_text_in_its_place(path):
    for block in re.findall(r"```\{glued\} \S+front_figure\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        assert re.search(r"^:alt: .{100,}", block, re.MULTILINE)


def test_values_are_asked_of_notebooks_that_exist():
    assert set(asked_for()) <= {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert len(asked_for()["models"]) > 50


@pytest.mark.parametrize("path", [p for p in MODELS if p.stem != "overview"], ids=lambda path: path.stem)
def test_a_models_page_shows_all_its_experiments_their_numbers_costs_and_failures(path):
    text, name = path.read_text(encoding="utf-8"), path.stem
    for line in (line for line in config.load().experiments.values() if line.model == name):
        assert f"../results/{line.notebook}.ipynb" in text
    for key in (
        f"models.ipynb::{name}_numbers",
        f"models.ipynb::{name}_setup",
        f"models.ipynb::{name}_failures",
        f"efficiency.ipynb::{name}_costs",
    ):
        assert key in text
    if name in config.load().profile("mini").stand_ins:
        assert "](../stand_ins.md)" in text
