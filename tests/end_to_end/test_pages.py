"""Every page of the built book, as its readers get it: short, answer first, nothing broken, nothing too wide or too small.

Judged is the book that LUNGSEG_BOOK_HTML names.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from lungseg_utils.book import build
from lungseg_utils.core import project
from tests.support.sample_book import needs_smoke_book, served

ROOT = project.project_root()
CONTENTS = ["book/intro", *build.pages_of_toc(ROOT / "_toc.yml")]
RESULTS = [page for page in CONTENTS if page.startswith("book/results/") and page not in ("book/results/models", "book/results/data")]
INTERACTIVE = ("book/explore", "book/prompt_it_yourself")
MOST_PAGES, MOST_WORDS, MOST_SCREENS, SCREEN_PX = 25, 20_000, 5, 900
LEAST_TEXT_PT = 9.0
FRONT_MAX_GZIPPED = 1_000_000
NOT_PROSE = "table, pre, script, style, svg, .lungseg-viewer, .lungseg-prompting, .lungseg-board, .citation-list"
WORDS = f"""() => {{ const page = document.querySelector('article.bd-article').cloneNode(true);
  page.querySelectorAll('{NOT_PROSE}').forEach((part) => part.remove());
  return page.textContent.split(/\\s+/).filter(Boolean).length; }}"""
TOO_WIDE = """() => { const right = document.querySelector('article.bd-article').getBoundingClientRect().right + 2;
  const isOut = (part) => part.checkVisibility() && part.getBoundingClientRect().right > right;
  const parts = [...document.querySelectorAll('article.bd-article :is(table, img, figure, svg)')];
  return parts.filter(isOut).map((part) => part.outerHTML.slice(0, 200)); }"""
BROKEN = {
    "a template without its value": r"\{\{|\}\}|\{glue|%\(|\bNaN\b|\bnan\b|(?:[:=(]|\bis) ?None\b",
    "a count of nothing": r"\b(?:on|of) the 0 \w+|\b0 of 0\b",
    "a hyphen for a minus": r"(?<![\w.,–−/-])-\d+\.\d",
    "minus zero": r"[−-]0\.0+(?!\d)",
}
# words with an underscore that are code or data: in `code` they may stand, in sentences not
VARIABLE = re.compile(r"\b(?:box_one_slice|box_every_slice|zero_shot|fine_tuned|few_shot|phantom_nsclc|phantom_msd|lidc_nodules|hd95_mm)\b")

pytestmark = [needs_smoke_book, pytest.mark.browser]


@pytest.fixture(scope="module")
def book_html() -> Path:
    return Path(os.environ["LUNGSEG_BOOK_HTML"])


@pytest.fixture(scope="module")
def address(book_html) -> Iterator[str]:
    with served(book_html) as address:
        yield address


@pytest.fixture
def opened(address, chromium):
    """`opened(page, width, height)`: a page of the book when nothing loads any more."""
    context = chromium.new_context(viewport={"width": 1280, "height": SCREEN_PX})
    tab = context.new_page()

    def open_page(page: str, width: int = 1280, height: int = SCREEN_PX):
        tab.set_viewport_size({"width": width, "height": height})
        tab.goto(f"{address}{page}.html", wait_until="networkidle")
        return tab

    yield open_page
    context.close()


def _sentences(tab) -> str:
    """The text of a page without code and viewers."""
    return tab.evaluate(
        "() => { const page = document.querySelector('article.bd-article').cloneNode(true);"
        "page.querySelectorAll('pre, code, script, style, svg, .lungseg-viewer, .lungseg-prompting').forEach((part) => part.remove());"
        "return page.textContent; }"
    )


def test_the_book_has_at_most_25_pages_and_20000_words(opened):
    assert len(CONTENTS) <= MOST_PAGES
    words = {page: opened(page).evaluate(WORDS) for page in CONTENTS}
    assert sum(words.values()) <= MOST_WORDS, words


@pytest.mark.parametrize("page", CONTENTS)
def test_a_page_is_short_and_nothing_on_it_is_broken_too_wide_or_nameless(opened, page):
    tab = opened(page)
    height = tab.locator("article.bd-article").bounding_box()["height"]
    assert height <= MOST_SCREENS * SCREEN_PX
    text = _sentences(tab)
    for fault, pattern in BROKEN.items():
        found = re.search(pattern, text)
        assert not found, (fault, text[max(0, found.start() - 60) : found.end() + 60])
    found = VARIABLE.search(text)
    assert not found, text[max(0, found.start() - 60) : found.end() + 60]
    assert tab.evaluate(TOO_WIDE) == []
    images = tab.locator("article.bd-article img").evaluate_all("(found) => found.map((image) => [image.alt, image.src.slice(-60)])")
    assert [(alt, source) for alt, source in images if len(alt) < 15 or re.search(r"\.(?:png|svg)$", alt)] == []
    assert tab.get_by_text("Show code cell").count() == 0


@pytest.mark.parametrize("page", RESULTS)
def test_the_first_screen_of_a_page_of_results_holds_the_answer(opened, page):
    answer = opened(page).locator(".cell.tag_answer").first
    assert answer.bounding_box()["y"] < SCREEN_PX / 2
    text = answer.inner_text()
    assert 60 < len(text) < 1200
    assert answer.bounding_box()["y"] + answer.bounding_box()["height"] <= SCREEN_PX


def test_the_front_page_is_one_screen_and_two_on_a_phone(opened):
    tab = opened("book/intro")
    assert tab.locator("article.bd-article").bounding_box()["height"] <= SCREEN_PX
    tab = opened("book/intro", 390, 844)
    assert tab.locator("article.bd-article").bounding_box()["height"] <= 2 * 844
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_front_page_is_light(address, chromium):
    context = chromium.new_context()
    tab, sizes = context.new_page(), []
    tab.on("response", lambda response: sizes.append(int(response.headers.get("content-length", 0))))
    tab.goto(f"{address}book/intro.html", wait_until="networkidle")
    context.close()
    assert sum(sizes) <= FRONT_MAX_GZIPPED


@pytest.mark.parametrize("page", CONTENTS)
def test_a_page_fits_a_phone_and_its_charts_keep_their_size(opened, page):
    tab = opened(page, 390, 844)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    shown = tab.locator(".cell_output > img:visible, figure.glued img:visible:not(.narrow, .front-page *)")
    assert all(width >= 600 for width in shown.evaluate_all("all => all.map(e => e.clientWidth)"))


def test_no_text_of_a_figure_is_smaller_than_nine_points_where_it_is_shown():
    seen = []
    for path in sorted((ROOT / "build" / "smoke" / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            sizes = [
                output.metadata["smallest_text_pt"]
                for output in cell.get("outputs", [])
                if "smallest_text_pt" in output.get("metadata", {})
            ]
            seen += [(size, path.name) for size in sizes]
    assert len(seen) > len(RESULTS) / 2
    assert [(size, name) for size, name in seen if size < LEAST_TEXT_PT] == []


@pytest.mark.parametrize("page", [page for page in CONTENTS if page not in INTERACTIVE])
def test_every_link_inside_of_the_book_leads_somewhere(book_html, opened, page):
    tab = opened(page)
    links = tab.locator("article.bd-article a[href]").evaluate_all("(found) => found.map((link) => link.href)")
    base = tab.url.split("/book/")[0] + "/"
    inside = {link.removeprefix(base).split("#")[0].split("?")[0] for link in links if link.startswith(base)}
    assert [link for link in inside if link and not (book_html / link).is_file()] == []


def test_every_address_of_an_earlier_edition_leads_to_a_page(opened, address):
    import yaml

    moved = yaml.safe_load((ROOT / "book" / "moved.yml").read_text())
    for old, new in moved.items():
        assert f"book/{new}" in CONTENTS, old
    tab = opened("book/results/ladder")
    tab.wait_for_url(f"{address}book/results/prompts.html")
    assert tab.title() != "This page has moved"
