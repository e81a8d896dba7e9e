"""The playground with a real kernel, in JupyterLab and in voila: what a person draws there is what plain Python is asked."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
import pytest

from lungseg_utils.core import project
from lungseg_utils.core.masks import dsc
from lungseg_utils.data import nifti
from lungseg_utils.prompts import sessions
from lungseg_utils.prompts.jitter import perturb
from lungseg_utils.prompts.ladder import prompt_rng
from lungseg_utils.types import Box, Points, Prompt, SlicePrompt
from tests.support.sample_playground import (
    NETWORK,
    SHAPE,
    SLOW,
    TITLE,
    TRIVIAL,
    TRIVIAL_TITLE,
    corners,
    fill,
    largest_slice,
    loaded,
    sample_study,
)

pytestmark = pytest.mark.browser
NOTEBOOK = "notebooks/play.ipynb"
PLAY = "document.querySelector('.lungseg-playground')"
STUDY = sample_study()
REFERENCE = STUDY.references["reference"]
K, SPACING = largest_slice(REFERENCE), STUDY.image.spacing_mm
FIRST, LAST = corners(REFERENCE, K)
BOX = SlicePrompt(K, box=Box((*FIRST, K), (LAST[0] + 1, LAST[1] + 1, K + 1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a notebook that opens a small playground."""
    path = tmp_path_factory.mktemp("servers")
    fill(path)
    root = str(Path(__file__).resolve().parents[2])
    lines = ["import sys", f"sys.path.insert(0, {root!r})", "from tests.support.sample_playground import open_playground"]
    cell = nbformat.v4.new_code_cell("\n".join([*lines, f"playground = open_playground({str(path)!r})", "playground"]))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), path / NOTEBOOK)
    return path


@contextmanager
def serving(folder: Path, *command: str):
    """A server of notebooks on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {f"JUPYTER_{kind}_DIR": str(folder / "jupyter" / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    places |= {"JUPYTER_PATH": str(project.project_root() / "notebooks")}  # as `make app` sets it
    environment = os.environ | places | {"IPYTHONDIR": str(folder / "jupyter" / "ipython")}
    options = ["--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.allow_root=True"]
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", *command, *options], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api" if command[0] == "jupyterlab" else address, timeout=60).read()
                break
            except OSError:
                assert process.poll() is None, (folder / f"{command[0]}.log").read_text()
                time.sleep(0.25)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def ready(page) -> None:
    page.wait_for_function(f"{PLAY}?.playground?.panes[0]?.view.drawn", timeout=90_000)


@pytest.fixture(scope="module")
def lab(folder, chromium):
    """JupyterLab with the notebook open and run; an error that a script throws fails the test."""
    hook = "--ContentsManager.pre_save_hook=lungseg_utils.book.notebooks.save_as_tracked"  # as `make lab` has it
    with serving(folder, "jupyterlab", hook) as address:
        context = chromium.new_context(viewport={"width": 1360, "height": 1000})
        page, problems = context.new_page(), []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{address}/lab/tree/{NOTEBOOK}")
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        ready(page)
        page.address = address
        yield page
        context.close()
        assert problems == []


def answers(page) -> int:
    return int(page.evaluate(f"+({PLAY}.dataset.answers ?? 0)"))


def after(page, act) -> None:
    """Do something, and wait for the answer to it."""
    before = answers(page)
    act()
    page.wait_for_function(f"+({PLAY}.dataset.answers ?? 0) > {before}")


def place(page, i: float, j: float) -> tuple[float, float]:
    """Where on the screen a voxel of the slice is; worked out from the canvas's size and the spacing alone."""
    box = page.locator(".lungseg-playground canvas.lp-canvas").first.bounding_box()
    (nx, ny), (x_mm, y_mm) = SHAPE[:2], STUDY.image.spacing_mm[:2]
    scale = min(box["width"] / (nx * x_mm), box["height"] / (ny * y_mm))
    left, top = box["x"] + (box["width"] - nx * x_mm * scale) / 2, box["y"] + (box["height"] - ny * y_mm * scale) / 2
    return left + (nx - 0.5 - i) * x_mm * scale, top + (ny - 0.5 - j) * y_mm * scale


def drag(page, start, end) -> None:
    page.mouse.move(*place(page, *start))
    page.mouse.down()
    page.mouse.move(*place(page, *end), steps=4)
    page.mouse.up()


def tool(page, name: str) -> None:
    page.locator(".lungseg-playground").get_by_role("radio", name=name, exact=True).check(force=True)


def volume_of(page, array: str) -> np.ndarray:
    """An array of the page (slices, rows, columns) as (x, y, z)."""
    planes = np.array(page.evaluate(f"Array.from({PLAY}.playground.{array})")).reshape(SHAPE[2], SHAPE[1], SHAPE[0])
    return planes[:, ::-1, ::-1].transpose(2, 1, 0)


def mask_of(page, name: str) -> np.ndarray:
    """A mask that the page shows."""
    return volume_of(page, f"shown.masks.find((m) => m.name === {name!r}).array").astype(bool)


def counts_of(page, name: str) -> np.ndarray:
    """In how many draws each voxel is inside, as the page shows it."""
    return volume_of(page, f"looks.get({name!r}).spread.counts")


@pytest.fixture(scope="module")
def plain(folder):
    """What plain Python says to prompts."""
    segmenter = loaded(folder / "weights.pt").segmenter
    segmenter.set_image(STUDY.image)
    return lambda *slice_prompts, find_ends=False: segmenter.predict([Prompt(1, slice_prompts, find_ends=find_ends)]).mask.array


def model(page, title: str):
    """The box that chooses a model."""
    return page.locator(".widget-checkbox").get_by_label(title, exact=True)


def table(page) -> str:
    return page.locator(".widget-html table").inner_text()


def test_a_session_in_jupyterlab(lab, plain, folder):
    page = lab
    assert page.evaluate(f"+{PLAY}.dataset.slice") == K  # opens where the reference is largest
    assert page.evaluate(f"{PLAY}.playground.reference.shown") is False

    after(page, lambda: drag(page, LAST, FIRST))
    boxed = plain(BOX)
    assert np.array_equal(mask_of(page, NETWORK), boxed)
    page.get_by_text(f"{dsc(REFERENCE.array, boxed):.3f}").first.wait_for()
    assert f"{dsc(REFERENCE.array[:, :, K], boxed[:, :, K]):.3f}" in table(page)

    tool(page, "click outside")
    after(page, lambda: page.mouse.click(*place(page, *FIRST)))
    clicked = SlicePrompt(K, box=BOX.box, points=Points(((*FIRST, K),), (0,)))
    assert np.array_equal(mask_of(page, NETWORK), plain(clicked))
    after(page, lambda: page.get_by_role("button", name="Undo").click())
    assert np.array_equal(mask_of(page, NETWORK), boxed)
    after(page, lambda: page.get_by_role("button", name="Redo").click())
    page.locator("canvas.lp-canvas").focus()
    after(page, lambda: page.keyboard.press("Backspace"))
    assert np.array_equal(mask_of(page, NETWORK), boxed)

    before = table(page)
    page.mouse.move(*place(page, *FIRST))
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"+{PLAY}.dataset.slice === {K + 1}")
    page.wait_for_function(f"document.querySelector('.widget-html table').innerText !== {json.dumps(before)}")
    page.locator("canvas.lp-canvas").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"+{PLAY}.dataset.slice === {K}")

    after(page, lambda: page.get_by_label("follow the lesion through the slices").check())
    followed = plain(BOX, find_ends=True)
    assert np.array_equal(mask_of(page, NETWORK), followed)

    after(page, lambda: model(page, TRIVIAL_TITLE).check())
    names = f"{PLAY}.playground.shown.masks.map((m) => m.name)"
    page.wait_for_function(f"{names}.length === 3")  # predictions are shown as they come
    assert set(page.evaluate(names)) == {"reference", NETWORK, TRIVIAL}
    page.locator(".lungseg-playground").get_by_role("radio", name="side by side").check(force=True)
    assert page.locator("canvas.lp-canvas").count() == 2
    page.locator(".lungseg-playground").get_by_role("radio", name="overlaid").check(force=True)

    page.locator(".noUi-handle").first.focus()
    after(page, lambda: page.keyboard.press("ArrowRight"))  # wrong by up to 5 %
    wrongly = [
        perturb([Prompt(1, (BOX,), find_ends=True)], 0.05, prompt_rng("folder", "chest-LPS", "recorded__jitter0.05", n), SHAPE, SPACING)
        for n in range(10)
    ]
    counts = sum(plain(*prompts[0].slices, find_ends=True).astype(int) for prompts in wrongly)
    assert np.array_equal(counts_of(page, NETWORK), counts)
    after(page, lambda: page.keyboard.press("ArrowLeft"))
    assert page.evaluate(f"[...{PLAY}.playground.looks.values()].filter((look) => look.spread).length") == 0

    page.get_by_role("button", name="Save session").click()
    page.get_by_text("Saved in").wait_for()
    (path,) = (folder / "sessions").rglob("*.json")
    session = sessions.read(path)
    assert [look.action for look in session.looks] == ["box", "click", "undo", "redo", "undo", "follow", "models"]
    assert session.prompts == (Prompt(1, (BOX,), find_ends=True, actions=1),)
    told = session.looks[5].answers[0]
    assert (told.experiment, session.models[0].title) == (NETWORK, TITLE)
    assert told.dsc == pytest.approx(dsc(REFERENCE.array, followed), abs=1e-6)

    page.get_by_role("button", name="NIfTI mask").click()
    page.wait_for_function("document.querySelectorAll('.widget-html a[download]').length === 2")
    exported = next((folder / "sessions").rglob(f"*__{NETWORK}.nii.gz"))
    assert np.array_equal(nifti.read_mask(exported, like=STUDY.image).array, followed)

    after(page, lambda: page.get_by_role("button", name="Clear").click())
    assert not any(name in page.evaluate(f"{PLAY}.playground.shown.masks.map((m) => m.name)") for name in (NETWORK, TRIVIAL))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Replay").click()
    chooser.value.set_files(path)
    page.get_by_text("All masks are those that were recorded").wait_for()
    assert np.array_equal(mask_of(page, NETWORK), followed)


def test_saving_the_notebook_stores_it_without_outputs(lab, folder):
    path, page = folder / NOTEBOOK, lab
    written = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 30
    # the server empties the file before it writes it
    while (path.stat().st_mtime_ns == written or not path.read_text().endswith("}\n")) and time.monotonic() < deadline:
        time.sleep(0.1)
    cells = nbformat.read(path, as_version=4).cells  # Shift and Enter added an empty one
    assert "open_playground" in cells[0].source
    assert [(cell.outputs, cell.execution_count, dict(cell.metadata)) for cell in cells] == [([], None, {})] * len(cells)
    assert page.locator("canvas.lp-canvas").count() >= 1  # what is shown stays


def test_following_is_canceled_in_jupyterlab_and_bad_input_is_explained(lab, plain):
    page = lab
    if page.get_by_role("button", name="Clear").is_enabled():
        after(page, lambda: page.get_by_role("button", name="Clear").click())
    for title in (TITLE, TRIVIAL_TITLE):
        model(page, title).uncheck()
    model(page, "the same, slowed down").check()
    tool(page, "box")
    follow = page.get_by_label("follow the lesion through the slices")
    if follow.is_checked():
        follow.uncheck()
    drag(page, FIRST, FIRST)
    page.get_by_text("smaller than two voxels").wait_for()
    after(page, lambda: drag(page, LAST, FIRST))
    assert np.array_equal(mask_of(page, SLOW), plain(BOX))
    follow.check()
    page.get_by_role("button", name="Cancel").click()  # waits until it is there
    page.get_by_text("Stopped at").wait_for()
    assert np.array_equal(mask_of(page, SLOW), plain(BOX))
    model(page, "a model without weights").check()
    page.get_by_text("no such file").wait_for(timeout=60_000)


def test_a_restart_of_the_kernel_while_drawing_is_said_and_the_picture_stays(lab):
    page = lab
    kernels = json.loads(urllib.request.urlopen(f"{page.address}/api/kernels").read())
    page.evaluate(f"{PLAY}.playground.patience = 1500")
    shown = page.evaluate(f"{PLAY}.playground.shown.masks.length")
    page.mouse.move(*place(page, *LAST))
    page.mouse.down()
    page.evaluate(
        """async (id) => { const xsrf = document.cookie.match(/_xsrf=([^;]+)/)?.[1];
        await fetch(`/api/kernels/${id}/restart`, { method: 'POST', headers: { 'X-XSRFToken': xsrf } }); }""",
        kernels[0]["id"],
    )
    page.mouse.move(*place(page, *FIRST), steps=4)
    page.mouse.up()
    page.get_by_text("The kernel does not answer").wait_for()
    assert page.evaluate(f"{PLAY}.playground.shown.masks.length") == shown


def test_a_box_in_voila(folder, chromium, plain):
    with serving(folder, "voila", NOTEBOOK, "--template=offline") as address:
        context = chromium.new_context(viewport={"width": 420, "height": 900})
        page, problems = context.new_page(), []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith((address, "data:", "blob:")) or problems.append(request.url))
        page.goto(address)
        ready(page)
        after(page, lambda: drag(page, LAST, FIRST))
        assert np.array_equal(mask_of(page, NETWORK), plain(BOX))
        page.get_by_text(f"{dsc(REFERENCE.array, plain(BOX)):.3f}").first.wait_for()
        after(page, lambda: page.get_by_label("follow the lesion through the slices").check())
        assert np.array_equal(mask_of(page, NETWORK), plain(BOX, find_ends=True))
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
        context.close()
        assert problems == []
