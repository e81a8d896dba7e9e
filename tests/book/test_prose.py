"""The prose of the book: contents, the notebooks that numbers come from, links of the pages of models, and the page of checklists."""

import re

import pytest

from lungseg_utils.book import build, chapters, workflow
from lungseg_utils.core import project
from lungseg_utils.experiments import config
from lungseg_utils.experiments.costs import subjects
from tests.support.sample_book import asked_for, prose

ROOT = project.project_root()
PAGES = prose()
MODELS = chapters.pages(ROOT / "book" / "models")
SCORES = re.compile(r"\{estimate\}|ipynb::\w*(?:_dsc|_numbers|trap_|ladder_|front_figure)")


def test_the_contents_name_every_page_once():
    pages = build.pages_of_toc(ROOT / "_toc.yml")
    assert len(set(pages)) == len(pages)
    assert {f"book/{name}" for name in PAGES} - {"book/intro"} == {page for page in pages if not page.startswith("book/results/")}
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} | set(workflow.LARGER_PAGES)
    notebooks -= {"prompt_playground"}  # that one needs a running kernel
    assert notebooks == {page.removeprefix("book/results/") for page in pages if page.startswith("book/results/")}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_with_scores_says_whether_they_are_of_phantoms_or_of_patients(page):
    text = PAGES[page]
    if SCORES.search(text):
        assert "{{ evidence }}" in text


@pytest.mark.parametrize("page", PAGES)
def test_a_value_of_another_page_has_a_format(page):
    """Without one MyST-NB looks for the key on the page itself."""
    assert not re.findall(r"\{glue:text\}`[^`]*::\w+`", PAGES[page])


@pytest.mark.parametrize("page", PAGES)
def test_a_picture_has_a_text_in_its_place(page):
    for block in re.findall(r"```\{glued\} \S+front_figure\n(.*?)```", PAGES[page], re.DOTALL):
        assert re.search(r"^:alt: .{100,}", block, re.MULTILINE)


def test_values_are_asked_of_notebooks_that_exist():
    assert set(asked_for()) <= {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert len(asked_for()["models"]) > 50


@pytest.mark.parametrize("name", MODELS)
def test_a_models_page_shows_all_its_experiments_their_numbers_costs_and_failures(name):
    text = MODELS[name]
    for line in (line for line in config.load().experiments.values() if line.model == name):
        assert f"../results/{line.notebook}.ipynb" in text
    for key in (
        f"models.ipynb::{name}_numbers",
        f"models.ipynb::{name}_setup",
        f"models.ipynb::{name}_failures",
    ):
        assert key in text
    assert (f"efficiency.ipynb::{name}_costs" in text) == any(subject.model == name for subject in subjects.SUBJECTS)
    if name in config.load().profile("phantoms").stand_ins:
        assert "](../stand_ins.md)" in text


# --- the page of checklists ------------------------------------------------------------------------------------------

CHECKLISTS = ROOT / "book" / "checklists.md"
CHECKED = CHECKLISTS.read_text()
CLAIM_ITEMS = 44


def _section(title):
    return re.search(rf"^## {re.escape(title)}.*?(?=^## |\Z)", CHECKED, flags=re.MULTILINE | re.DOTALL).group()


def _rows(section):
    """Cells of the body rows of all tables of a section."""
    rows = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not set("".join(row).strip()) <= set("-: ")]


def _links():
    return sorted({target for target in re.findall(r"\]\(([^)\s]+)\)", CHECKED) if not re.match(r"[a-z]+:", target)})


@pytest.mark.parametrize("target", _links())
def test_every_link_of_the_checklists_leads_to_a_page_or_a_notebook(target):
    assert "#" not in target  # headings have no anchors in this book
    if target.startswith("results/"):
        assert target.endswith(".ipynb")
        notebook = target.removeprefix("results/")
        assert notebook.removesuffix(".ipynb") in workflow.LARGER_PAGES or (ROOT / "notebooks" / notebook).is_file(), target
    else:
        assert (CHECKLISTS.parent / target).is_file(), target


def test_every_file_that_the_checklists_name_exists():
    named = {name for name in re.findall(r"`([\w./-]+)`", CHECKED) if re.search(r"\.\w+$", name)}
    assert len(named) > 8
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


def test_every_item_of_claim_is_there_once_and_in_order():
    numbers = [row[0] for row in _rows(_section("CLAIM")) if row[0].isdigit()]
    assert numbers == [str(n) for n in range(1, CLAIM_ITEMS + 1)]


@pytest.mark.parametrize("section", ["CLAIM", "BIAS", "REFORMS"])
def test_every_item_of_a_checklist_has_a_verdict_and_leads_somewhere_or_says_why_not(section):
    rows = [row for row in _rows(_section(section)) if row[-1] != "Where, or why not"]
    assert len(rows) > 3
    for row in rows:
        verdict = re.match(r"\*(Done|Partly|Not done, because|Not done yet, because|Not applicable, because)\*", row[-1])
        assert verdict, row
        if verdict[1] in ("Done", "Partly"):
            assert re.search(r"\]\(|`|here:|above|[Pp]hantoms are new", row[-1]), row


def test_every_rejected_metric_has_its_reason():
    rejected = _section("Metrics Reloaded").partition("### Rejected")[2]
    assert len(_rows(rejected)) > 8
    assert all(len(row) == 2 and row[1] for row in _rows(rejected))


def test_every_citation_of_the_checklists_has_an_entry():
    keys = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(), flags=re.MULTILINE))
    cited = {key for group in re.findall(r"\{cite:[pt]\}`([^`]+)`", CHECKED) for key in group.split(",")}
    assert cited
    assert cited <= keys
