"""The page of checklists: complete, and every place that it names exists."""

import re

import pytest

from lungseg_utils.book import workflow
from lungseg_utils.core import project

ROOT = project.project_root()
PAGE = ROOT / "book" / "checklists.md"
TEXT = PAGE.read_text()
CLAIM_ITEMS = 44


def _section(title):
    return re.search(rf"^## {re.escape(title)}.*?(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL).group()


def _rows(section):
    """Cells of the body rows of all tables of a section."""
    rows = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not set("".join(row).strip()) <= set("-: ")]


def _links():
    return sorted({target for target in re.findall(r"\]\(([^)\s]+)\)", TEXT) if not re.match(r"[a-z]+:", target)})


@pytest.mark.parametrize("target", _links())
def test_every_link_leads_to_a_page_or_a_notebook(target):
    assert "#" not in target  # headings have no anchors in this book
    if target.startswith("results/"):
        assert target.endswith(".ipynb")
        notebook = target.removeprefix("results/")
        assert notebook.removesuffix(".ipynb") in workflow.LARGER_PAGES or (ROOT / "notebooks" / notebook).is_file(), target
    else:
        assert (PAGE.parent / target).is_file(), target


def test_every_file_that_is_named_exists():
    named = {name for name in re.findall(r"`([\w./-]+)`", TEXT) if re.search(r"\.\w+$", name)}
    assert len(named) > 8
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


def test_every_item_of_claim_is_there_once_and_in_order():
    numbers = [row[0] for row in _rows(_section("CLAIM")) if row[0].isdigit()]
    assert numbers == [str(n) for n in range(1, CLAIM_ITEMS + 1)]


@pytest.mark.parametrize("section", ["CLAIM", "BIAS", "REFORMS"])
def test_every_item_has_a_verdict_and_leads_somewhere_or_says_why_not(section):
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


def test_every_citation_has_an_entry():
    keys = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(), flags=re.MULTILINE))
    cited = {key for group in re.findall(r"\{cite:[pt]\}`([^`]+)`", TEXT) for key in group.split(",")}
    assert cited
    assert cited <= keys
