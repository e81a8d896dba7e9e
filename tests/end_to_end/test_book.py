"""The built book in a browser: quiet, self-contained, light, and its viewers work.

Judged is the book that LUNGSEG_BOOK_HTML names; without it a small one is built from notebooks made here.
"""

import http.client
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from lungseg_utils.book import build, serve
from lungseg_utils.types import InputError
from tests.support.sample_book import needs_smoke_book, served, write_notebooks

ROOT = Path(__file__).resolve().parents[2]
VIEWER_PAGE = "book/results/unet_full.html"
NEED_DATA = ("book/explore.html", "book/prompt_it_yourself.html")
FRONT_MAX_BYTES, OTHER_MAX_BYTES = 1.5e6, 3e6


@pytest.fixture(scope="session")
def book_html(tmp_path_factory) -> Path:
    """Folder of a built book."""
    given = os.environ.get("LUNGSEG_BOOK_HTML")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("book")
    write_notebooks(folder / "notebooks")
    return build.build(ROOT, folder / "html", executed=folder / "notebooks")


@pytest.fixture(scope="session")
def address(book_html) -> Iterator[str]:
    with served(book_html) as address:
        yield address


@dataclass
class Visit:
    """One page and everything that happened while it loaded."""

    page: object
    problems: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    weight: int = 0

    def watch(self) -> None:
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("requestfailed", lambda request: self.problems.append(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.urls.append(request.url))
        self.page.on("response", self._response)

    def _response(self, response) -> None:
        self.statuses[response.url] = response.status
        self.weight += int(response.headers.get("content-length", 0))


@pytest.fixture
def visit(chromium):
    """`visit(url, **context)` opens a page in a fresh browser profile and waits, by default until nothing is loading."""
    contexts = []

    def open_page(url: str, until: str = "networkidle", **options) -> Visit:
        contexts.append(chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | options)))
        visited = Visit(contexts[-1].new_page())
        visited.watch()
        visited.page.goto(url, wait_until=until)
        return visited

    yield open_page
    for context in contexts:
        context.close()


def pages_of(folder: Path) -> list[str]:
    """All pages, without those at earlier addresses that lead on at once."""
    moved = {f"book/{name}.html" for name in yaml.safe_load((ROOT / "book" / "moved.yml").read_text())}
    return sorted({p.relative_to(folder).as_posix() for p in folder.rglob("*.html") if "_static" not in p.parts} - moved)


@pytest.mark.browser
def test_every_page_is_quiet_whole_and_light(book_html, address, visit):
    pages = pages_of(book_html)
    assert {"index.html", "search.html", "book/intro.html", VIEWER_PAGE} <= set(pages)
    if not (book_html / "_static" / "data").is_dir():  # of the small book that is made here; the workflow's has all
        pages = [name for name in pages if name not in NEED_DATA]
    for name in pages:
        seen = visit(address + name)
        assert seen.problems == [], name
        assert [url for url in seen.urls if not url.startswith((address, "data:", "blob:"))] == [], name
        assert {url: status for url, status in seen.statuses.items() if status != 200} == {}, name
        assert len(seen.page.title()) > 3, name
        front = name in ("index.html", "book/intro.html")
        assert seen.weight <= (FRONT_MAX_BYTES if front else OTHER_MAX_BYTES), name
        seen.page.context.close()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(book_html, address, visit, scheme):
    """In the dark, where only colors differ, on one page of each kind."""
    names = [name for name in pages_of(book_html) if name != "index.html"]  # it leads on at once
    if scheme == "dark":
        names = ["book/intro.html", "book/methods.html", VIEWER_PAGE, "book/results/certainty.html", *NEED_DATA]
    for name in names:
        seen = visit(address + name, color_scheme=scheme)
        found = Axe().run(seen.page).response["violations"]
        assert [(f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in ("serious", "critical")] == [], name
        seen.page.context.close()


def test_the_entrance_leads_on_and_asks_for_no_icon(book_html):
    """It is left at once: a request for an icon would be broken off, and without a named one the browser asks for /favicon.ico."""
    text = (book_html / "index.html").read_text(encoding="utf-8")
    assert "url=book/intro.html" in text
    assert 'rel="icon" href="data:,"' in text
    assert (book_html / "_static" / "favicon.svg").is_file()  # of all other pages


@pytest.mark.browser
def test_works_from_a_file_and_below_a_path(book_html, visit, tmp_path):
    seen = visit((book_html / VIEWER_PAGE).resolve().as_uri())
    ready(seen.page)
    assert seen.problems == []
    (tmp_path / "index.html").write_text("<!doctype html><title>root</title>")
    shutil.copytree(book_html, tmp_path / "below" / "path")
    with serve.server(tmp_path, 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        seen = visit(f"http://127.0.0.1:{running.server_port}/below/path/")
        assert seen.problems == []
        assert "/below/path/book/intro.html" in seen.page.url
        running.shutdown()


@pytest.mark.browser
def test_search_finds_and_leads_there(address, visit):
    seen = visit(address + "search.html?q=Hausdorff")
    links = seen.page.locator("#search-results li a")
    links.first.wait_for()
    assert seen.problems == []
    links.first.click()
    # also where it stands in a folded part
    seen.page.wait_for_function("document.querySelector('main')?.innerText.toLowerCase().includes('hausdorff')")


@pytest.mark.browser
def test_formulas_are_set(address, visit):
    seen = visit(address + "book/methods.html")
    seen.page.locator("mjx-container").first.wait_for()
    assert seen.page.locator("mjx-container").count() > 5
    assert seen.page.locator("mjx-merror").count() == 0


@pytest.mark.browser
def test_dark_mode(address, visit):
    backgrounds = []
    for scheme in ("light", "dark"):
        seen = visit(address + VIEWER_PAGE, color_scheme=scheme)
        ready(seen.page)
        assert seen.page.locator("html").get_attribute("data-theme") == scheme
        backgrounds.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        # text of the viewer on what is behind it: a light one on dark and the other way round
        text = seen.page.evaluate("getComputedStyle(document.querySelector('.lungseg-viewer .lv-status')).color")
        assert abs(brightness(text) - brightness(backgrounds[-1])) > 120
        behind = (
            "[...document.querySelectorAll('.cell_output .text_html:has(.lungseg-viewer)')].map(e => getComputedStyle(e).backgroundColor)"
        )
        assert set(seen.page.evaluate(behind)) == {"rgba(0, 0, 0, 0)"}
    assert brightness(backgrounds[0]) > 200 > 60 > brightness(backgrounds[1])


@pytest.mark.browser
def test_charts_turn_dark_and_pictures_of_cts_stay_as_they_are(address, visit):
    filters = {True: set(), False: set()}
    for page in ("intro", "results/data"):
        seen = visit(f"{address}book/{page}.html", color_scheme="dark")
        images = "[...document.querySelectorAll('.cell_output > img, figure.glued img')].map(e => [e.alt, getComputedStyle(e).filter])"
        for alt, applied in seen.page.evaluate(images):
            filters["CT slice" in alt].add(applied)
    assert filters[True] == {"none"}
    assert filters[False] == {"invert(0.9) hue-rotate(180deg)"}


def brightness(color: str) -> float:
    return sum(float(v) for v in re.findall(r"[\d.]+", color)[:3]) / 3


@pytest.mark.browser
def test_nothing_is_wider_than_a_phone(book_html, address, visit):
    for name in (n for n in pages_of(book_html) if n != "index.html"):  # that one only leads on
        seen = visit(address + name, until="load", viewport={"width": 390, "height": 844})
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390, name
        seen.page.context.close()
    page = visit(address + VIEWER_PAGE, viewport={"width": 390, "height": 844}, has_touch=True).page
    ready(page)
    for box in [e.bounding_box() for e in page.locator(".lungseg-viewer :is(canvas, label, select, input, p)").all() if e.is_visible()]:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


@pytest.mark.browser
@pytest.mark.parametrize(("width", "shape"), [(390, "narrow"), (1280, "wide")])
def test_the_figure_of_the_front_page_fits_the_screen(address, visit, width, shape):
    page = visit(address + "book/intro.html", viewport={"width": width, "height": 844}).page
    (shown,) = [image for image in page.locator("figure.glued:has(img.wide) img").all() if image.is_visible()]
    assert shape in shown.get_attribute("class")
    box = shown.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


PICTURE = "document.querySelector('.lv-stage > canvas').toDataURL()"


def ready(page) -> None:
    """Wait for the first viewer's first picture."""
    page.wait_for_selector(".lungseg-viewer[data-slice]")


def settle(page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def viewer(address, visit):
    """The page of a viewer, scrolled to it."""
    page = visit(address + VIEWER_PAGE).page
    ready(page)
    page.locator(".lv-stage > canvas").first.scroll_into_view_if_needed()
    settle(page)
    return page


def changes(page, act) -> bool:
    """Does the picture change when `act` is done?"""
    before = page.evaluate(PICTURE)
    act()
    settle(page)
    return page.evaluate(PICTURE) != before


def slice_of(page) -> int:
    return int(page.locator(".lungseg-viewer").first.get_attribute("data-slice"))


@pytest.mark.browser
def test_picture_is_a_picture(viewer):
    colors = viewer.evaluate(
        "(() => { const c = document.querySelector('.lv-stage > canvas');"
        "const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer); return new Set(d).size })()"
    )
    assert colors > 50
    assert viewer.evaluate("document.querySelector('.lungseg-viewer').sliceViewer.view.milliseconds") > 0  # for whoever measures
    assert viewer.locator(".lv-fallback").count() == 0


@pytest.mark.browser
def test_slider_keys_and_wheel_turn_slices(viewer):
    canvas, slider = viewer.locator(".lv-stage > canvas").first, viewer.locator(".lv-slices input").first
    start = slice_of(viewer)
    assert changes(viewer, lambda: slider.fill(str(start - 1)))
    assert slice_of(viewer) == start - 1
    canvas.focus()
    for key, moved in (("ArrowUp", 1), ("ArrowDown", -1), ("ArrowRight", 1), ("PageDown", -5), ("PageUp", 5)):
        before, last = slice_of(viewer), int(slider.get_attribute("max"))
        expected = max(0, min(last, before + moved))
        assert changes(viewer, lambda key=key: viewer.keyboard.press(key)) == (expected != before)
        assert slice_of(viewer) == expected
    viewer.keyboard.press("End")
    settle(viewer)
    assert slice_of(viewer) == int(slider.get_attribute("max"))
    viewer.keyboard.press("Home")
    settle(viewer)
    assert slice_of(viewer) == 0
    slider.focus()
    assert changes(viewer, lambda: viewer.keyboard.press("ArrowRight"))
    assert slice_of(viewer) == 1
    canvas.hover()
    assert changes(viewer, lambda: viewer.mouse.wheel(0, -120))
    assert slice_of(viewer) == 2


@pytest.mark.browser
def test_wheel_turns_slices_and_at_the_end_scrolls_the_page(viewer):
    viewer.evaluate("document.querySelector('.lungseg-viewer').sliceViewer.view.go(1)")
    viewer.evaluate("document.body.style.paddingBottom = '2000px'")
    viewer.locator(".lv-stage > canvas").first.hover()
    top = viewer.evaluate("scrollY")
    viewer.mouse.wheel(0, 120)
    settle(viewer)
    assert (slice_of(viewer), viewer.evaluate("scrollY")) == (0, top)
    viewer.mouse.wheel(0, 120)
    viewer.wait_for_function(f"scrollY > {top}")
    assert slice_of(viewer) == 0


@pytest.mark.browser
def test_windows_overlays_opacity_and_style(viewer):
    for name in ("mediastinum", "bone", "lung"):
        label = viewer.locator(".lv-choice label", has_text=name).first
        assert changes(viewer, label.click), name
    overlay = viewer.locator(".lv-overlay").first
    assert changes(viewer, lambda: overlay.locator("select").select_option("fill"))
    assert changes(viewer, lambda: overlay.locator("input[type=range]").fill("40"))
    assert changes(viewer, overlay.locator("input[type=checkbox]").uncheck)
    assert not changes(viewer, lambda: overlay.locator("select").select_option("outline"))
    assert changes(viewer, overlay.locator("input[type=checkbox]").check)


@pytest.mark.browser
def test_another_case_shows_another_picture_and_other_facts(viewer):
    cases = viewer.locator(".lungseg-viewer").first.locator(".lv-choice").first.locator("label")
    assert cases.count() > 1
    facts, first = viewer.locator(".lv-facts").first.inner_text(), viewer.evaluate(PICTURE)
    cases.nth(cases.count() - 1).click()
    viewer.wait_for_function("(before) => document.querySelector('.lv-facts').innerText !== before", arg=facts)
    viewer.wait_for_function(f"(before) => {PICTURE} !== before", arg=first)  # which may come after the facts
    other = viewer.evaluate(PICTURE)
    cases.first.click()
    viewer.wait_for_function(f"(before) => {PICTURE} !== before", arg=other)


@pytest.mark.browser
def test_values_under_the_pointer(viewer):
    box = viewer.locator(".lv-stage > canvas").first.bounding_box()
    viewer.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    settle(viewer)
    assert re.fullmatch(r"−?\d+ HU", viewer.locator(".lv-value").first.inner_text())
    assert re.match(r"Slice \d+ of \d+ · z −?\d+\.\d mm", viewer.locator(".lv-where").first.inner_text())
    viewer.mouse.move(2, 2)
    settle(viewer)
    assert viewer.locator(".lv-value").first.inner_text() == ""


@pytest.mark.browser
def test_pointer_hook_gets_voxels_and_may_take_the_gesture(viewer):
    viewer.evaluate(
        "(() => { const v = document.querySelector('.lungseg-viewer').sliceViewer.view; window.seen = [];"
        "v.onpointer = ({ phase, ijk }) => { seen.push([phase, ijk]); return true; }; })()"
    )
    viewer.locator(".lv-stage > canvas").first.click()
    phases = {phase: ijk for phase, ijk in viewer.evaluate("window.seen")}
    assert {"move", "down", "up"} <= set(phases)
    voxel = viewer.evaluate("document.querySelector('.lungseg-viewer').sliceViewer.view.case.voxel")
    assert phases["down"][2] == voxel[2][0] + slice_of(viewer)


@pytest.mark.browser
def test_a_sideways_swipe_turns_slices(address, visit):
    page = visit(address + VIEWER_PAGE, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).page
    ready(page)
    page.locator(".lv-stage > canvas").first.scroll_into_view_if_needed()
    before = slice_of(page)
    swipe = """(([x, y]) => { const c = document.querySelector('.lv-stage > canvas');
        const send = (type, dx) => c.dispatchEvent(new PointerEvent(type,
          { pointerType: 'touch', clientX: x + dx, clientY: y, bubbles: true }));
        send('pointerdown', 0); send('pointermove', -60); send('pointerup', -60); })"""
    box = page.locator(".lv-stage > canvas").first.bounding_box()
    page.evaluate(swipe, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    settle(page)
    assert slice_of(page) < before
    assert page.evaluate("getComputedStyle(document.querySelector('.lv-stage > canvas')).touchAction") == "pan-y pinch-zoom"


@pytest.mark.browser
def test_every_control_has_a_name_and_can_be_reached_by_key(viewer):
    unnamed = viewer.evaluate(
        "[...document.querySelectorAll('.lungseg-viewer :is(input, select, canvas[role])')]"
        ".filter((e) => !(e.getAttribute('aria-label') || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert unnamed == []
    viewer.locator(".lv-choice input").first.focus()
    kinds = set()
    for _ in range(12):
        kinds.add(viewer.evaluate("document.activeElement.type || document.activeElement.tagName"))
        viewer.keyboard.press("Tab")
    assert {"radio", "CANVAS", "range", "checkbox", "select-one"} <= kinds


@pytest.mark.browser
def test_print_shows_the_picture(viewer):
    viewer.emulate_media(media="print")
    settle(viewer)
    assert viewer.locator(".lv-stage > canvas").first.is_visible()
    assert not viewer.locator(".lv-slices").first.is_visible()


@pytest.mark.browser
def test_without_scripts_there_is_a_still_picture(address, visit):
    page = visit(address + VIEWER_PAGE, java_script_enabled=False).page
    image = page.locator(".lv-fallback img").first
    assert image.is_visible()
    assert image.evaluate("(e) => e.naturalWidth") > 10


@pytest.mark.browser
def test_a_leaderboard_sorts_filters_and_is_downloaded(visit, tmp_path):
    import pandas as pd

    from lungseg_utils.viewers.leaderboard import leaderboard

    table = pd.DataFrame(
        {
            "method": ["a 3, one", "b 2", "c 1"],
            "prompt": ["none", "click", "click"],
            "DSC": ["0.50 [0.4, 0.6]", "–", "0.90 [0.8, 1.0]"],
        }
    )
    (tmp_path / "board.html").write_text(f"<!doctype html><meta charset=utf-8>{leaderboard(table, ('prompt',), 'b.csv', 'caption').data}")
    seen = visit((tmp_path / "board.html").as_uri())
    page = seen.page
    shown = "() => [...document.querySelectorAll('tbody tr')].filter((r) => !r.hidden).map((r) => r.cells[0].textContent)"
    assert page.evaluate(shown) == ["a 3, one", "b 2", "c 1"]
    page.get_by_role("button", name="DSC").click()
    assert page.evaluate(shown) == ["c 1", "a 3, one", "b 2"]  # numbers by value, what has none last
    page.get_by_role("button", name="DSC").press("Enter")
    assert page.evaluate(shown)[-1] == "c 1"
    page.get_by_role("button", name="method").click()
    assert page.evaluate(shown) == ["c 1", "b 2", "a 3, one"]  # a name with a number in it is a name
    page.get_by_role("button", name="method").click()
    heads = "() => [...document.querySelectorAll('th')].filter((h) => h.checkVisibility()).map((h) => h.textContent)"
    assert page.evaluate(heads) == ["method", "prompt", "DSC"]
    page.get_by_label("prompt").select_option("click")
    assert page.evaluate(shown) == ["b 2", "c 1"]
    assert page.evaluate(heads) == ["method", "DSC"]  # one value in all rows needs no column
    assert page.get_by_role("status").inner_text() == "2 of 3 rows"
    page.get_by_label("prompt").select_option("")
    assert page.evaluate(heads) == ["method", "prompt", "DSC"]
    page.get_by_label("find").fill("one")
    assert page.evaluate(shown) == ["a 3, one"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    assert download.value.suggested_filename == "b.csv"
    assert Path(download.value.path()).read_text().splitlines() == ["method,prompt,DSC", '"a 3, one",none,"0.50 [0.4, 0.6]"']
    assert seen.problems == []


@needs_smoke_book
def test_headings_of_a_scrolled_leaderboard_hide_the_rows_below(address, visit):
    page = visit(f"{address}/book/results/results.html").page
    heads = page.locator(".lungseg-board th")
    assert heads.evaluate_all("(found) => found.every((head) => /^rgb\\(/.test(getComputedStyle(head).backgroundColor))")
    assert heads.count() > 5


@needs_smoke_book
@pytest.mark.browser
@pytest.mark.parametrize("page", ["prompts", "box_accuracy", "whole_chests", "certainty", "results"])
def test_tables_of_many_columns_are_in_sight_on_a_desktop(page, address, visit):
    tables = visit(f"{address}/book/results/{page}.html").page.locator(".cell_output .text_html:has(table)")
    assert tables.count() > 0
    assert tables.evaluate_all("(found) => found.filter((table) => table.scrollWidth > table.clientWidth + 1).length") == 0


@needs_smoke_book
@pytest.mark.browser
def test_a_shadow_says_that_columns_are_out_of_sight(address, visit):
    page = visit(f"{address}/book/results/patient_flow.html", color_scheme="light", viewport={"width": 400, "height": 900}).page
    table = page.locator(".cell_output .text_html:has(table)").last
    assert table.evaluate("(found) => found.scrollWidth > found.clientWidth + 1")

    def brightness_of_the_right_edge() -> float:
        return np.median(np.asarray(Image.open(BytesIO(table.screenshot())).convert("L"))[:, -1])

    assert brightness_of_the_right_edge() < 240
    table.evaluate("(found) => { found.scrollLeft = found.scrollWidth }")
    assert brightness_of_the_right_edge() > 250


def test_foot_names_the_edition(book_html):
    text = (book_html / "book" / "methods.html").read_text()
    assert re.search(r'class="edition">Profile [\w-]+, commit [\w-]+, ', text)
    assert (book_html / ".nojekyll").is_file()
    assert (book_html / "index.html").is_file()


def test_no_machine_path_in_any_page(book_html):
    needles = [str(ROOT).encode(), str(Path.home()).encode() + b"/"]
    for path in book_html.rglob("*"):
        if path.is_file():
            assert not any(needle in path.read_bytes() for needle in needles), path


def test_no_page_tells_a_negative_zero(book_html):
    for path in book_html.rglob("*.html"):
        assert not re.search(r">[^<]*(?<![\w.])[-−]0(\.0+)?(?![\w.])[^<]*<", path.read_text()), path


def sources(tmp_path: Path) -> Path:
    """A copy of what a build reads, to be broken."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("results", "_build*", "__pycache__"))
    shutil.copytree(ROOT / "lungseg_utils" / "viewers", root / "lungseg_utils" / "viewers")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for name in ("_config.yml", "_toc.yml", "package.json", "package-lock.json"):
        shutil.copy2(ROOT / name, root / name)
    write_notebooks(root / "book" / "results")
    return root


@pytest.mark.slow
def test_a_warning_fails_the_build_and_keeps_the_earlier_book(tmp_path):
    root = sources(tmp_path)
    page = root / "book" / "limitations.md"
    page.write_text(page.read_text() + "\n{estimate}`results/results.ipynb::no_such_number`\n")
    out = tmp_path / "out" / "html"
    out.mkdir(parents=True)
    (out / "index.html").write_text("earlier")
    with pytest.raises(build.BookFailed, match="no_such_number"):
        build.build(root, out)
    assert (out / "index.html").read_text() == "earlier"
    assert [p.name for p in out.parent.iterdir()] == ["html"]


@pytest.mark.slow
def test_experiments_that_an_edition_does_not_run_have_no_page_and_no_link(tmp_path):
    root = sources(tmp_path)
    for name in ("sam_zero_shot", "unet_few_shot"):
        (root / "book" / "results" / f"{name}.ipynb").unlink()
    left = root / "book" / "results" / "front_figure.ipynb"  # of an older version, whose page leads on now
    left.write_text((left.parent / "medsam_zero_shot.ipynb").read_text())
    html = build.build(root, tmp_path / "html")
    assert "This page has" in (html / "book" / "results" / "front_figure.html").read_text()
    linked = set(re.findall(r'href="\.\./results/(\w+)\.html"', (html / "book" / "models" / "sam_family.html").read_text()))
    assert {"medsam_zero_shot", "litemedsam_zero_shot"} <= linked
    assert "sam_zero_shot" not in linked
    assert not (html / "book" / "results" / "sam_zero_shot.html").exists()


def test_a_missing_notebook_is_named(tmp_path):
    write_notebooks(tmp_path)
    (tmp_path / "results.ipynb").unlink()
    with pytest.raises(InputError, match="results"):
        build.build(ROOT, tmp_path / "html", executed=tmp_path)


def test_edition_sentences(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import book_edition

    none = book_edition.real_data_sentence({"real_data": [], "real_data_missing": ["NSCLC-Radiomics", "LIDC-IDRI"]})
    assert "without any real CT (NSCLC-Radiomics and LIDC-IDRI)" in none
    some = book_edition.real_data_sentence({"real_data": ["LIDC-IDRI"], "real_data_missing": ["NSCLC-Radiomics"]})
    assert "LIDC-IDRI, case by case" in some
    assert "NSCLC-Radiomics were not there" in some
    assert book_edition.read_build_info(Path("nowhere"))["commit"] == "unknown"


def test_no_line_ends_between_a_number_and_its_unit(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import book_edition
    from docutils.core import publish_doctree

    lines = ["A power of 80 % in 5 scans of 2.5 mm (n = 3), *p* = 0.1, [-0.1, 0.2].", "``n = 3 mm``", "::", "  k = 3 s"]
    table = "<script>[1, 2]; 3 s</script><td class='a 3 s'>≈ 3 s, 0.1 (0.1 … 0.2)</td>"
    page = publish_doctree("\n\n".join([*lines, ".. raw:: html", f"  {table}"]))
    book_edition.hold_numbers(None, page, "page")
    held = ["A power of 80~% in 5 scans of 2.5~mm (n~=~3), p =~0.1, [-0.1,~0.2].", "n = 3 mm", "k = 3 s"]
    held += ["<script>[1, 2]; 3 s</script><td class='a 3 s'>≈~3~s, 0.1 (0.1~…~0.2)</td>"]
    assert page.astext().replace("\u00a0", "~") == "\n\n".join(held)


def test_an_estimate_never_stands_alone(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import book_edition

    values = {"a_dsc": "0.71234", "a_dsc_low": "0.6", "a_dsc_high": "0.8", "a_n": "30"}
    assert book_edition.estimate_text(values, "a_dsc") == "0.712 (95 % interval 0.600 to 0.800; 30 patients)"
    few = values | {"a_dsc_low": "nan", "a_n": "6"}
    assert book_edition.estimate_text(few, "a_dsc") == "0.712 (6 patients, too few for an interval)"
    with pytest.raises(KeyError):
        book_edition.estimate_text({"a_dsc": "0.7"}, "a_dsc")


def answer(address: str, path: str, **headers) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"))
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.content = response.read()
    return response


def test_server_gzips_and_stays_inside(address, book_html):
    plain = answer(address, "/book/intro.html")
    zipped = answer(address, "/book/intro.html", **{"Accept-Encoding": "gzip, br"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert plain.headers["Content-Encoding"] is None
    assert len(zipped.content) < len(plain.content) / 2
    assert answer(address, "/book").headers["Location"] == "/book/"
    for path in ("/../README.md", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/book/../../x", "/book/"):
        assert answer(address, path).status == 404, path


def test_server_does_not_follow_links_out(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "site" / "index.html").write_text("page")
    (tmp_path / "site" / "link.txt").symlink_to(tmp_path / "secret.txt")
    with serve.server(tmp_path / "site", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        assert answer(f"http://127.0.0.1:{running.server_port}/", "/link.txt").status == 404
        running.shutdown()


def test_there_is_nothing_to_serve(tmp_path):
    with pytest.raises(InputError, match="no built book"):
        serve.server(tmp_path)


def test_lock_file_has_hashes_and_no_addresses():
    import json

    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    for name, package in packages.items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")


def test_vendored_files_are_ignored_by_git():
    run = subprocess.run(["git", "check-ignore", "-q", "book/_static/vendor/stamp"], cwd=ROOT, check=False)
    assert run.returncode in (0, 128)  # 128: not a checkout
