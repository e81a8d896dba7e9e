"""The page of prompts on a static server, and hands that work in it."""

from __future__ import annotations

import functools
import http.server
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lungseg_utils.book import build

ROOT = Path(__file__).resolve().parents[2]
PAGE = "document.querySelector('.lungseg-prompting')"
DATA = Path("_static") / "data" / "prompting"  # of a site
NO_GPU = "No available adapters."  # what Chromium says where a page asks for a graphics processor, and there is none


def write_site(folder: Path) -> Path:
    """A page around the data in `folder / DATA`."""
    (folder / "_static").mkdir(exist_ok=True)
    (folder / "_static" / "viewers").symlink_to(ROOT / "lungseg_utils" / "viewers")
    vendor = build.vendor(ROOT)
    (folder / "_static" / "vendor").symlink_to(vendor)
    text = (ROOT / "book" / "prompt_it_yourself.md").read_text()
    body = text.split("```{raw} html\n")[1].split("```")[0]
    (folder / "book").mkdir()
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Prompt</title><link rel="icon" href="data:,"></head>'
    (folder / "book" / "page.html").write_text(f'{head}<body style="max-width: 54rem; margin: auto">{body}</body></html>')
    (folder / "index.html").write_text("<!doctype html><title>root</title>")
    return folder


def served(folder: Path) -> http.server.ThreadingHTTPServer:
    """A plain static server, as readers have it: this one follows the links that the site is made of."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))


@contextmanager
def opened_page(site: Path, chromium, **context_options):
    """The open page, ready; an error in its console fails the test."""
    with served(site) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        options = {"viewport": {"width": 1100, "height": 1000}, "has_touch": False} | context_options
        context = chromium.new_context(**options)
        opened, problems = context.new_page(), []
        opened.on("console", lambda said: said.type in ("error", "warning") and said.text != NO_GPU and problems.append(said.text))
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("request", lambda request: request.url.startswith(("http://127.0.0.1", "data:", "blob:")) or problems.append(request.url))
        opened.goto(f"http://127.0.0.1:{running.server_port}/book/page.html")
        opened.wait_for_function(f"{PAGE}.dataset.answers")
        yield opened
        context.close()
        running.shutdown()
        assert problems == []


def after(page, act) -> None:
    """Do something, and wait for the answer to it."""
    before = int(page.evaluate(f"+{PAGE}.dataset.answers"))
    act()
    page.wait_for_function(f"+{PAGE}.dataset.answers > {before}")


def mask_of(page, name: str, shape) -> np.ndarray:
    """A mask of the page as an (x, y, z) array of the whole image."""
    code = f"""(() => {{ const v = {PAGE}.promptPage.view.case, m = v.masks.find((item) => item.name === {name!r});
      return [v.voxel, [v.slices, v.rows, v.columns], Array.from(m.array)]; }})()"""
    voxel, stored, values = page.evaluate(code)
    slices, rows, columns = np.indices(stored)
    result = np.zeros(shape, dtype=bool)
    places = [voxel[axis][0] + voxel[axis][1] * index for axis, index in enumerate((columns, rows, slices))]
    result[tuple(np.asarray(p).astype(int) for p in places)] = np.array(values, dtype=bool).reshape(stored)
    return result


def choose_setting(page, setting: str) -> None:
    after(page, lambda: page.select_option("select[aria-label='Prompt setting']", setting))


def shown_case(page) -> str:
    return page.evaluate(f"{PAGE}.promptPage.view.case.title").split(": ")[1]


def voxel_on_screen(page, i: float, j: float) -> tuple[float, float]:
    """Where the middle of a voxel lies, in pixels of the window, once no picture is waiting for its frame."""
    page.wait_for_function(f"!{PAGE}.promptPage.view.asked")
    code = """([i, j]) => { const v = document.querySelector('.lungseg-prompting').promptPage.view, c = v.case, f = v.frame;
      const x = (i - c.voxel[0][0]) / c.voxel[0][1], y = (j - c.voxel[1][0]) / c.voxel[1][1], b = v.canvas.getBoundingClientRect();
      const r = b.width / v.canvas.width;
      return [b.left + r * (f.left + (x + 0.5) / c.columns * f.width), b.top + r * (f.top + (y + 0.5) / c.rows * f.height)]; }"""
    return tuple(page.evaluate(code, [float(i), float(j)]))


def drag(page, start, end) -> None:
    page.mouse.move(*voxel_on_screen(page, *start))
    page.mouse.down()
    page.mouse.move(*voxel_on_screen(page, *end), steps=4)
    page.mouse.up()


def click(page, place) -> None:
    page.mouse.click(*voxel_on_screen(page, *place))


def tool(page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).check(force=True)
