"""Data of the page "Prompt it yourself": small networks as ONNX files, and cases. `js/prompt_page.js` reads it.

A network of this page sees a window of a slice that depends on the prompt, so nothing of a slice can be computed beforehand:
image encoder, prompt encoder and mask decoder all run in the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import registry
from ..core import files
from ..evaluation import tables
from ..prompts import json_form
from ..prompts.ladder import PROMPT_SETTINGS, first_prompts
from ..reporting.style import OKABE_ITO, WINDOWS_HU
from ..types import Case, Study
from .results import worst_median_best
from .slice_viewer import ViewerCase, embed

if TYPE_CHECKING:
    from ..experiments.results import RunResult
    from ..networks.sam import SamSegmenter
    from ..networks.view import View


MARGIN_MM = 60.0  # kept around a lesion, so that windows of prompts near it lie inside what is stored
# Settings that say all they have to say before a prediction is seen; the page can ask them again exactly.
SETTINGS = tuple(name for name, s in PROMPT_SETTINGS.items() if s.kind != "none" and s.looks == 1 and not s.from_detector)


def write(results: Sequence[RunResult], titles: Mapping[str, str], segmenters: Sequence[SamSegmenter], folder: Path, public: bool) -> None:
    """Write networks, cases and `index.json` into `folder`.

    `results`: one `results.RunResult` per network, the one that cases are chosen by first; `segmenters`: theirs, of type SamSegmenter;
    `titles`: by name of the experiment.
    """
    networks, left_out = [], []
    for n, (result, segmenter) in enumerate(zip(results, segmenters, strict=True)):
        title = titles[result.experiment.name]
        if _fits(segmenter.view):
            networks.append(_write_network(result, segmenter, title, folder / f"network_{n}"))
        else:
            left_out.append(title)
    cases = [_write_case(case, title, results, folder, public) for case, title in (_cases(results[0]) if results else ())]
    settings = {name: PROMPT_SETTINGS[name].title for name in SETTINGS}
    index = {"networks": networks, "left_out": left_out, "cases": cases, "settings": settings} | _constants()
    files.write_json(index, folder / "index.json")


def _constants() -> dict[str, object]:
    """What the page's own rules have in common with those of the package."""
    from ..networks import propagation

    return {
        "propagation": {"grow": propagation.GROW, "least_area": propagation.LEAST_AREA, "reach_mm": propagation.REACH_MM},
        "ball_mm": registry.card("models", "trivial").options["median_diameter_mm"],
        "palette": OKABE_ITO,
        "windows": WINDOWS_HU,
    }


def _fits(view: View) -> bool:
    """Whether `promptable.js` can make the pictures of this view: windows around prompts, and no further treatment."""
    return bool(view.field_mm) and not (view.cubic or view.eight_bit or view.min_max)


def _write_network(result: RunResult, segmenter: SamSegmenter, title: str, folder: Path) -> dict[str, object]:
    from ..networks import onnx_files

    onnx_files.write(segmenter.network, folder / "encoder.onnx", folder / "decoder.onnx")
    kept = ("canvas", "window_hu", "field_mm", "field_margin", "point_field_mm")
    return {
        "title": title,
        "experiment": result.experiment.name,
        "weights": result.provenance["sha256"]["weights"],
        "folder": folder.name,
        "view": {name: getattr(segmenter.view, name) for name in kept} | {"threshold": segmenter.settings.threshold},
        "megabytes": round(sum(p.stat().st_size for p in folder.glob("*.onnx")) / 1e6, 1),
    }


def _cases(result: RunResult) -> list[tuple[Case, str]]:
    """Of each phantom cohort the worst, median and best case with a box on one slice; every real case, in the order of names."""
    values = tables.case_values(result.asked("box_one_slice"), "dsc")
    chosen = []
    for dataset, rows in values.groupby("test_dataset", sort=False):
        scores = rows.groupby("case_id", sort=False)["value"].first()
        labels = worst_median_best(scores) if registry.card("datasets", dataset).phantom else {name: name for name in sorted(scores.index)}
        known = {case.case_id: case for case in result.cases(dataset)}
        chosen += [(known[name], label) for name, label in labels.items()]
    return sorted(chosen, key=lambda pair: not registry.card("datasets", pair[0].dataset).phantom)  # they are lighter than real CTs


def _write_case(case: Case, title: str, results: Sequence[RunResult], folder: Path, public: bool) -> dict[str, object]:
    study: Study = registry.plugin("datasets", case.dataset).load(case)
    reference = study.reference
    card = registry.card("datasets", case.dataset)
    shown = ViewerCase(title, study.image, {"reference": reference}, redistributable=card.redistributable)
    stored = embed(shown, public, MARGIN_MM, 1)
    entry = {"title": title, "dataset": card.title, "phantom": card.phantom}
    if "withheld" in stored:
        return entry | {"withheld": stored["withheld"]}
    stored.pop("still")
    stored["prompts"] = {name: [json_form.to_json(prompt) for prompt in first_prompts(case, reference, name)] for name in SETTINGS}
    stored["scores"] = {result.experiment.name: _scores(result, case) for result in results}
    file = f"{case.dataset}__{case.case_id}.json"
    files.write_json(stored, folder / file)
    return entry | {"file": file}


def _scores(result: RunResult, case: Case) -> dict[str, float]:
    """The benchmark's own 3-D DSC of this case by prompt setting, where the profile asked it."""
    values = tables.case_values(result.asked(*SETTINGS), "dsc")
    values = values[(values["test_dataset"] == case.dataset) & (values["case_id"] == case.case_id)]
    return {setting: float(rows["value"].iloc[0]) for setting, rows in values.groupby("prompter") if rows["value"].notna().iloc[0]}
