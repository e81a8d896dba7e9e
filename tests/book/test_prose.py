"""The prose of the book: contents, the notebooks that numbers come from, the pages of the models, and the checklists."""

import re

import pytest

from lungseg_utils import registry
from lungseg_utils.book import build, chapters, drawings
from lungseg_utils.core import project
from lungseg_utils.experiments import config
from lungseg_utils.experiments.costs import subjects
from tests.support.sample_book import asked_for, prose, write_notebooks

ROOT = project.project_root()
PAGES = prose()
FOLDER = ROOT / "book" / "models"
MADE = chapters.pages(FOLDER)
SCORES = re.compile(r"\{estimate\}|ipynb::\w*(?:_dsc|_numbers|trap_|ladder_|front_figure)")


def test_the_contents_name_every_page_once():
    pages = build.pages_of_toc(ROOT / "_toc.yml")
    assert len(set(pages)) == len(pages) < 26
    assert {f"book/{name}" for name in PAGES} - {"book/intro"} == {page for page in pages if not page.startswith("book/results/")}
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {page.removeprefix("book/results/") for page in pages if page.startswith("book/results/")} <= notebooks


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


def _section(page, model):
    """The text of a model on its page."""
    found = re.findall(rf"^## {model}: (.+)$", (FOLDER / "_chapters.md").read_text(), flags=re.MULTILINE)
    (title,) = found or [registry.card("models", model).title]
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return section or page.partition(f"\n:::{{dropdown}} {title}\n")[2].partition("\n:::\n")[0]  # of a card


@pytest.mark.parametrize(("name", "page"), chapters.models(FOLDER).items())
def test_a_models_section_shows_all_its_experiments_their_numbers_costs_and_failures(name, page):
    text = _section(MADE[page], name)
    for line in (line for line in config.load().experiments.values() if line.model == name):
        assert f"../results/{line.notebook}.ipynb" in text
    if name == "trivial":
        return
    for key in ("ran", "numbers", "setup", "failures"):
        assert f"models.ipynb::{name}_{key}" in text
    assert (f"costs.ipynb::{name}_costs" in text) == any(subject.model == name for subject in subjects.subjects())
    assert ("](../results/models.ipynb)" in text) == (name in config.load().profile("phantoms").stand_ins)


def test_a_page_of_models_links_and_shows_only_what_an_edition_ran(tmp_path):
    few = chapters.Edition(frozenset({"litemedsam_zero_shot", "models"}), {"litemedsam": "LiteMedSAM, zero-shot", "sam": ""})
    text = chapters.pages(FOLDER, few)["sam_family"]
    assert set(re.findall(r"results/(\w+_(?:zero_shot|few_shot|fine_tuned))\.ipynb", text)) == {"litemedsam_zero_shot"}
    assert "litemedsam_numbers" in text
    assert "stand-in**" not in text  # the published weights ran
    for model in ("sam", "medsam"):
        assert f"models.ipynb::{model}_" not in text
        assert "This edition does not run it." in _section(text, model)


def test_an_edition_is_what_was_executed(tmp_path):
    write_notebooks(tmp_path)
    for name in ("sam_zero_shot", "unet_few_shot"):
        (tmp_path / f"{name}.ipynb").unlink()
    found = chapters.edition(tmp_path)
    assert "medsam_zero_shot" in found.notebooks
    assert not {"sam_zero_shot", "unet_few_shot"} & found.notebooks
    assert set(found.ran) == set(chapters.models(FOLDER)) - {"trivial"}
    (tmp_path / "target").mkdir()
    chapters.write(FOLDER, tmp_path / "target", tmp_path)
    assert sorted(path.stem for path in (tmp_path / "target").iterdir()) == ["networks", "sam2_family", "sam_family"]


def test_a_drawing_has_a_box_for_each_step_and_says_itself_in_words():
    flow = drawings.read("A slice | Encoder / (small) | Mask <1>\n\nprompt: Box -> Encoder / (small)\nloop: next slice")
    text = drawings.svg(flow)
    assert text.count("<rect") == 4  # three steps and the prompt
    assert "\n" not in text  # in Markdown, an empty line would end it
    assert 'aria-label="A slice → Encoder (small) → Mask &lt;1&gt;; prompt: Box, into Encoder (small); repeated: next slice"' in text
    assert drawings.svg(drawings.read("A | B")).count("<rect") == 2


# --- the checklists ---------------------------------------------------------------------------------------------------

CHECKLISTS = ROOT / "book" / "reference.md"
CHECKED = CHECKLISTS.read_text().partition("## Checklists")[2].partition("## How to cite")[0]
CLAIM_ITEMS = 44


def _checklist(title):
    return re.search(rf"^:::{{dropdown}} {re.escape(title)}.*?^:::$", CHECKED, flags=re.MULTILINE | re.DOTALL).group()


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
        assert (ROOT / "notebooks" / target.removeprefix("results/")).is_file(), target
    else:
        assert target.removesuffix(".md") in PAGES, target


def test_every_file_that_the_checklists_name_exists():
    named = {name for name in re.findall(r"`([\w./-]+)`", CHECKED) if re.search(r"\.\w+$", name)}
    assert len(named) > 8
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


def test_every_item_of_claim_is_there_once_and_in_order():
    numbers = [row[0] for row in _rows(_checklist("CLAIM")) if row[0].isdigit()]
    assert numbers == [str(n) for n in range(1, CLAIM_ITEMS + 1)]


@pytest.mark.parametrize("section", ["CLAIM", "BIAS", "REFORMS"])
def test_every_item_of_a_checklist_has_a_verdict_and_leads_somewhere_or_says_why_not(section):
    rows = [row for row in _rows(_checklist(section)) if row[-1] != "Where, or why not"]
    assert len(rows) > 3
    for row in rows:
        verdict = re.match(r"\*(Done|Partly|Not done, because|Not done yet, because|Not applicable, because)\*", row[-1])
        assert verdict, row
        if verdict[1] in ("Done", "Partly"):
            assert re.search(r"\]\(|`|here:|above|[Pp]hantoms are new", row[-1]), row


def test_every_rejected_metric_has_its_reason():
    rejected = _checklist("Metrics Reloaded").partition("**Rejected**")[2]
    assert len(_rows(rejected)) > 8
    assert all(len(row) == 2 and row[1] for row in _rows(rejected))


def test_every_citation_of_the_checklists_has_an_entry():
    keys = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(), flags=re.MULTILINE))
    cited = {key for group in re.findall(r"\{cite:[pt]\}`([^`]+)`", CHECKED) for key in group.split(",")}
    assert cited
    assert cited <= keys
