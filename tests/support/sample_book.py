"""A small phantom chest, and executed notebooks made from it, so that the book can be built before any experiment ran."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lungseg_utils.book import chapters, serve, workflow
from lungseg_utils.book.build import pages_of_toc
from lungseg_utils.experiments import config
from lungseg_utils.types import Image, Mask
from lungseg_utils.viewers.slice_viewer import ViewerCase, slice_viewer

ROOT = Path(__file__).resolve().parents[2]
needs_smoke_book = pytest.mark.skipif(
    not os.environ.get("LUNGSEG_BOOK_HTML"), reason="the smoke book was not built (make test does that first)"
)
TOC, BOOK = ROOT / "_toc.yml", ROOT / "book"
SAMPLE_TABLE = "<table><thead><tr><th>method</th><th>DSC</th></tr></thead><tbody><tr><td>sample</td><td>0.50</td></tr></tbody></table>"
SAMPLE_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one pixel
SPACING_MM = (2.25, 1.8, 3.0)  # not square in the plane, so that a wrong aspect shows


@contextmanager
def served(html: Path) -> Iterator[str]:
    """Address of a built book on a server of its own."""
    with serve.server(html, 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def _ellipsoid(shape: tuple[int, ...], centre: tuple[float, ...], radii_mm: tuple[float, ...]) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return sum(((a - c) * s / r) ** 2 for a, c, s, r in zip(axes, centre, SPACING_MM, radii_mm, strict=True)) <= 1


def sample_case(title: str, seed: int = 0, shift: float = 1.0, shape: tuple[int, int, int] = (120, 110, 40), **options: Any) -> ViewerCase:
    """A body with two lungs and a tumor in the patient's right one; the prediction is the reference moved by `shift` voxels."""
    rng = np.random.default_rng(seed)
    nx, ny, nz = shape
    array = np.full(shape, -1000.0)
    array[_ellipsoid(shape, (nx / 2, ny / 2, nz / 2), (nx * 1.05, ny * 0.85, 400))] = 40
    for side in (0.27, 0.73):
        array[_ellipsoid(shape, (nx * side, ny / 2, nz / 2), (nx * 0.4, ny * 0.6, 90))] = -860
    array[_ellipsoid(shape, (nx / 2, ny * 0.18, nz / 2), (16, 13, 400))] = 600
    centre = (nx * 0.72, ny * 0.55, nz * 0.5)
    reference = _ellipsoid(shape, centre, (19, 15, 17))
    array[reference] = 35
    array += rng.normal(0, 18, shape)
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = (-130, -100, -210.5)
    prediction = _ellipsoid(shape, (centre[0] + shift, centre[1] + shift, centre[2]), (19, 16, 14))
    masks = {"reference": Mask(reference, affine), "prediction": Mask(prediction, affine)}
    overlap = 2 * (reference & prediction).sum() / (reference.sum() + prediction.sum())
    facts = {"DSC": f"{overlap:.3f}", "Volume": f"{masks['reference'].volume_ml:.1f} ml"}
    return ViewerCase(title, Image(array, affine), masks, facts, **options)


def sample_cases() -> list[ViewerCase]:
    """Worst, median and best, so that they differ to the eye."""
    shifts = {"Worst: phantom 07": 6.0, "Median: phantom 12": 2.5, "Best: phantom 03": 0.6}
    return [sample_case(title, seed, shift) for seed, (title, shift) in enumerate(shifts.items())]


def _glued(key: str, value: Any) -> Any:
    """As myst_nb.glue(key, value, display=False) writes it."""
    prefix = "application/papermill.record/"
    metadata = {"scrapbook": {"name": key, "mime_prefix": prefix}}
    return new_output("display_data", data={f"{prefix}text/plain": repr(value)}, metadata=metadata)


def _cell(source: str, count: int, outputs: list[Any], **metadata: Any) -> Any:
    return new_code_cell(source, execution_count=count, outputs=outputs, metadata=metadata)


def _viewer_output(cases: list[ViewerCase]) -> Any:
    return new_output("display_data", data={"text/html": slice_viewer(cases).data, "text/plain": "slice viewer"})


def _notebook(title: str, text: str, cells: list[Any]) -> Any:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}, "language_info": {"name": "python"}}
    return new_notebook(cells=[new_markdown_cell(f"# {title}\n\n{text}"), *cells], metadata=metadata)


def prose() -> dict[str, str]:
    """All pages of prose: name below book/ -> Markdown, chapters of models as they are made."""
    written = {path.relative_to(BOOK).with_suffix("").as_posix(): path for path in sorted(BOOK.rglob("*.md")) if path.name[0] != "_"}
    made = {f"models/{name}": text for name, text in chapters.pages(BOOK / "models").items()}
    return {name: path.read_text(encoding="utf-8") for name, path in written.items()} | made


def asked_for() -> dict[str, dict[str, str]]:
    """What the prose asks of each notebook: name -> key -> how it is shown ("estimate", "glued", or the format of a text)."""
    wanted: dict[str, dict[str, str]] = {}
    for text in prose().values():
        for role, name, key, form in re.findall(r"\{(glue:text|estimate)\}`[^`]*?(\w+)\.ipynb::(\w+):?([^`]*)`", text):
            wanted.setdefault(name, {})[key] = "estimate" if role == "estimate" else form
        for name, key, narrow in re.findall(r"\{glued\} \S*?(\w+)\.ipynb::(\w+)(?:\n:narrow: (\w+))?", text):
            wanted.setdefault(name, {}).update(dict.fromkeys(filter(None, (key, narrow)), "glued"))
    return wanted


def _sample(key: str, form: str, n: int) -> list[Any]:
    """Outputs for one key: a number of the right kind, an estimate with interval and n, a table, or a picture."""
    if form == "estimate":
        few, mean = n < 10, 0.7
        ends = (float("nan"), float("nan")) if few else (mean - 0.04, mean + 0.03)
        values = dict(zip((key, f"{key}_low", f"{key}_high"), (mean, *ends), strict=True)) | {f"{key.rsplit('_', 1)[0]}_n": n}
        return [_glued(k, v) for k, v in values.items()]
    if form == "glued":
        shown = {"image/png": SAMPLE_PNG} if re.search(r"figure|picture", key) else {"text/html": SAMPLE_TABLE}
        return [_glued_media(key, shown)]
    return [_glued(key, 7 if form == "d" else 0.5)]


def _glued_media(key: str, shown: dict[str, str]) -> Any:
    prefix = "application/papermill.record/"
    data = {f"{prefix}{kind}": text for kind, text in {**shown, "text/plain": "'shown'"}.items()}
    return new_output("display_data", data=data, metadata={"scrapbook": {"name": key, "mime_prefix": prefix}})


def write_notebooks(folder: Path, n: int = 30) -> None:
    """The notebooks that `_toc.yml` names and those of experiments, with what the prose asks of them, and `build_info.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted, cases = asked_for(), sample_cases()
    hidden = {"tags": ["remove-input"]}
    viewers = {"unet_full": [_viewer_output(cases)], "whole_chests": [_viewer_output(cases[:1])]}
    in_contents = [Path(page).name for page in pages_of_toc(TOC) if page.startswith("book/results/")]
    for name in {*in_contents, *wanted, *config.load().experiments}:
        outputs = [output for key, form in wanted.get(name, {}).items() for output in _sample(key, form, n)]
        cells = [_cell("report()", 1, [*viewers.get(name, []), *outputs], **hidden)]
        nbformat.write(_notebook(name.replace("_", " "), "A stand-in page.", cells), folder / f"{name}.ipynb")
    info = {"profile": "sample", "commit": "0123456789abcdef", "date": "2026-01-31", "public": True, "real_data": []}
    info["words"] = workflow.edition_words("phantoms")
    (folder / "build_info.json").write_text(json.dumps(info), encoding="utf-8")
