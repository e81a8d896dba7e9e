"""A small phantom chest, and executed notebooks made from it, so that the book can be built before any experiment ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lungseg_utils.types import Image, Mask
from lungseg_utils.viewers.slice_viewer import ViewerCase, slice_viewer

TOC = Path(__file__).resolve().parents[1] / "_toc.yml"
SPACING_MM = (2.25, 1.8, 3.0)  # not square in the plane, so that a wrong aspect shows


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


def _estimates(n: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    stand_ins = {f"{m}_stand_in_fine_tuned_{r}_phantom_nsclc": 0.8 for m in ("sam", "sam2") for r in ("box_every_slice", "box_one_slice")}
    means = {
        "unet_full_phantom_nsclc": 0.781,
        "unet_full_phantom_msd": 0.703,
        "box_ellipse_phantom_nsclc": 0.866,
        "unet_full_box_one_slice_phantom_nsclc": 0.6,
    }
    for name, mean in (means | {"box_ellipsoid_phantom_nsclc": 0.61} | stand_ins).items():
        few = n < 10
        values |= {f"{name}_dsc": mean, f"{name}_n": n}
        values |= {f"{name}_dsc_low": float("nan") if few else mean - 0.04, f"{name}_dsc_high": float("nan") if few else mean + 0.03}
    return values


def write_notebooks(folder: Path, n: int = 30) -> None:
    """The notebooks that `_toc.yml` names, and `build_info.json`, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    glue = [_glued(key, value) for key, value in _estimates(n).items()]
    gates = [_glued("gates_passed", 7), _glued("gates_total", 8)]
    trap = [_glued("trap_own_dsc", 0.5), _glued("trap_most_dsc", 0.8)]
    cases = sample_cases()
    hidden = {"tags": ["remove-input"]}
    pages = {
        "data_calibration": ("Phantom calibration", "A stand-in page.", [_cell("gates()", 1, gates, **hidden)]),
        "unet_full": ("U-Net, fully trained", "A stand-in page.", [_cell("slice_viewer(cases)", 1, [_viewer_output(cases)], **hidden)]),
        "results": ("Results", "A stand-in page.", [_cell("report()", 1, glue, **hidden)]),
        "protocol_trap": ("The protocol trap", "A stand-in page.", [_cell("trap()", 1, trap, **hidden)]),
        "external_validation": ("External validation", "A stand-in page.", [_cell("report()", 1, [_viewer_output(cases[:1])], **hidden)]),
    }
    chapters = [chapter["file"] for part in yaml.safe_load(TOC.read_text())["parts"] for chapter in part["chapters"]]
    for name in (Path(chapter).name for chapter in chapters if chapter.startswith("book/results/")):
        page = pages.get(name, (name.replace("_", " "), "A stand-in page.", [_cell("report()", 1, [], **hidden)]))
        nbformat.write(_notebook(*page), folder / f"{name}.ipynb")
    info = {"profile": "sample", "commit": "0123456789abcdef", "date": "2026-01-31", "public": True, "real_data": []}
    (folder / "build_info.json").write_text(json.dumps(info), encoding="utf-8")
