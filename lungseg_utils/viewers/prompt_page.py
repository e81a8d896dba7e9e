"""Data of the page "Prompt it yourself": networks as ONNX files, and cases. `js/prompt_page.js` reads it.

A small network sees a window of a slice that depends on the prompt, so nothing of a slice can be computed beforehand: image encoder,
prompt encoder and mask decoder all run in the page. LiteMedSAM sees whole slices: those of a lesion are encoded here, and its decoder
runs in the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import registry
from ..core import files
from ..evaluation import tables
from ..prompts import json_form
from ..prompts.ladder import PROMPT_SETTINGS, first_prompts
from ..reporting import contamination
from ..reporting.style import OKABE_ITO, WINDOWS_HU
from ..types import Case, DatasetCard, Mask, Study
from .results import worst_median_best
from .slice_viewer import ViewerCase, embed

if TYPE_CHECKING:
    from ..experiments.results import RunResult
    from ..networks.litemedsam import LiteMedSamSegmenter
    from ..networks.sam import SamSegmenter
    from ..networks.view import View


MARGIN_MM = 60.0  # kept around a lesion, so that windows of prompts near it lie inside what is stored
WINDOW, WHOLE_SLICE = "window", "whole slice"  # what a network of the page sees
BEYOND = 3  # slices beyond each end of a lesion that have an embedding: a lesion is followed to its end, and no further
MOST_ENCODED = 4  # cases with embeddings: each has a megabyte for every slice and CT window
# Settings that say all they have to say before a prediction is seen; the page can ask them again exactly.
SETTINGS = tuple(name for name, s in PROMPT_SETTINGS.items() if s.kind != "none" and s.looks == 1 and not s.from_detector)


def write(
    results: Sequence[RunResult],
    titles: Mapping[str, str],
    segmenters: Sequence[SamSegmenter],
    folder: Path,
    public: bool,
    whole_chests: Sequence[str] = (),
) -> None:
    """Write networks, cases and `index.json` into `folder`.

    Args:
        results: One `results.RunResult` per network; cases are chosen by the first one of each kind.
        titles: By name of the experiment.
        segmenters: Those of `results`.
        folder: Where to write.
        public: Leave out voxels and embeddings of data sets that may not be redistributed.
        whole_chests: Data sets whose cases are whole chests: networks of whole slices are asked about them first.
    """
    networks, left_out = [], []
    pairs: dict[str, list[tuple[RunResult, SamSegmenter]]] = {WINDOW: [], WHOLE_SLICE: []}
    for n, (result, segmenter) in enumerate(zip(results, segmenters, strict=True)):
        title, kind = titles[result.experiment.name], _kind(segmenter.view)
        if not kind:
            left_out.append(title)
            continue
        make = _write_network if kind == WINDOW else _write_box_network
        networks.append(make(result, segmenter, title, folder, f"network_{n}"))
        pairs[kind].append((result, segmenter))
    encoded = _encoded_cases(pairs[WHOLE_SLICE][0][0], whole_chests) if pairs[WHOLE_SLICE] else []
    known = {(case.dataset, case.case_id) for case, _ in encoded}
    others = _cases(pairs[WINDOW][0][0]) if pairs[WINDOW] else []
    shown = [result for result, _ in (*pairs[WINDOW], *pairs[WHOLE_SLICE])]
    cases = [_write_case(case, title, shown, pairs[WHOLE_SLICE], folder, public) for case, title in encoded]
    cases += [_write_case(case, title, shown, [], folder, public) for case, title in others if (case.dataset, case.case_id) not in known]
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


def _kind(view: View) -> str:
    """How the page makes what a network of this view sees: `WINDOW`, `WHOLE_SLICE`, or "" if it cannot."""
    from ..networks.litemedsam import PaddedView

    if isinstance(view, PaddedView):
        return WHOLE_SLICE
    return WINDOW if view.field_mm and not (view.cubic or view.eight_bit or view.min_max) else ""


def _write_network(result: RunResult, segmenter: SamSegmenter, title: str, folder: Path, name: str) -> dict[str, object]:
    from ..networks import onnx_files

    parts = {part: f"{name}/{part}.onnx" for part in ("encoder", "decoder")}
    onnx_files.write(segmenter.network, *(folder / path for path in parts.values()))
    kept = ("canvas", "window_hu", "field_mm", "field_margin", "point_field_mm")
    view = {name: getattr(segmenter.view, name) for name in kept}
    return {"kind": WINDOW} | parts | _described(result, segmenter, title, view, folder, parts.values())


def _write_box_network(result: RunResult, segmenter: LiteMedSamSegmenter, title: str, folder: Path, _: str) -> dict[str, object]:
    """Two CT windows are two rows of one network: its files are written once."""
    from ..networks import onnx_litemedsam

    encoder, decoder = (f"litemedsam_{part}.onnx" for part in ("encoder", "decoder"))
    if not (folder / decoder).is_file():
        onnx_litemedsam.write_decoder(segmenter.network, folder / decoder)
        onnx_litemedsam.write_encoder(segmenter.network, folder / encoder)
    view = {name: getattr(segmenter.view, name) for name in ("canvas", "window_hu")}
    about = {"seen": _seen(result), "decoder": decoder, "encoder": encoder, "encoder_megabytes": _megabytes([folder / encoder])}
    return {"kind": WHOLE_SLICE} | about | _described(result, segmenter, title, view, folder, [decoder])


def _described(
    result: RunResult, segmenter: SamSegmenter, title: str, view: Mapping[str, object], folder: Path, written: Iterable[str]
) -> dict[str, object]:
    return {
        "title": title,
        "experiment": result.experiment.name,
        "weights": result.provenance["sha256"]["weights" if view.get("field_mm") else "initial weights"],
        "view": {**view, "threshold": segmenter.settings.threshold},
        "megabytes": _megabytes([folder / path for path in written]),
    }


def _megabytes(paths: Sequence[Path]) -> float:
    return round(sum(path.stat().st_size for path in paths) / 1e6, 1)


def _seen(result: RunResult) -> dict[str, str]:
    """What the published weights had been trained on, by the title of a data set: a level of `contamination.LEVELS` in words."""
    words = {}
    for name in contamination.datasets():
        level = contamination.level_of(result.experiment, name)
        bound = ", so a score here is an upper bound" if contamination.is_burnt(result.experiment, name) else ""
        words[registry.card("datasets", name).title] = contamination.LEVELS[level] + bound
    return words


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


def _encoded_cases(result: RunResult, whole_chests: Sequence[str]) -> list[tuple[Case, str]]:
    """The cases with embeddings, with their titles, at most `MOST_ENCODED`; those that may be passed on come first.

    The first case with a tumor of each data set of whole chests, then the worst, median and best case of other real data sets.
    """
    values = tables.case_values(result.asked("box_one_slice"), "dsc")
    tested = [name for name in dict.fromkeys(values["test_dataset"]) if not registry.card("datasets", name).phantom]
    chosen = []
    for dataset in sorted(tested, key=lambda name: (not registry.card("datasets", name).redistributable, name not in whole_chests)):
        scores = values[values["test_dataset"] == dataset].groupby("case_id")["value"].first()  # sorted by their names
        labels = {scores.index[0]: scores.index[0]} if dataset in whole_chests else worst_median_best(scores)
        known = {case.case_id: case for case in result.cases(dataset)}
        chosen += [(known[name], label) for name, label in labels.items()]
    return chosen[:MOST_ENCODED]


def _write_case(
    case: Case,
    title: str,
    results: Sequence[RunResult],
    encoding: Sequence[tuple[RunResult, LiteMedSamSegmenter]],
    folder: Path,
    public: bool,
) -> dict[str, object]:
    study: Study = registry.plugin("datasets", case.dataset).load(case)
    reference = study.reference
    card = registry.card("datasets", case.dataset)
    masks = {"reference": reference} | _another_reader(study, card)
    shown = ViewerCase(title, study.image, masks, redistributable=card.redistributable)
    stored = embed(shown, public, MARGIN_MM, 1)
    entry = {"title": title, "dataset": card.title, "phantom": card.phantom}
    if "withheld" in stored:
        return entry | {"withheld": stored["withheld"]}
    stored.pop("still")
    stored["prompts"] = {name: [json_form.to_json(prompt) for prompt in first_prompts(case, reference, name)] for name in SETTINGS}
    stored["scores"] = {result.experiment.name: _scores(result, case) for result in results}
    name = f"{case.dataset}__{case.case_id}"
    stored["embeddings"] = {
        result.experiment.name: _write_embeddings(segmenter, study, folder, f"embeddings_{n}/{name}")
        for n, (result, segmenter) in enumerate(encoding)
    }
    files.write_json(stored, folder / f"{name}.json")
    return entry | {"file": f"{name}.json"}


def _another_reader(study: Study, card: DatasetCard) -> dict[str, Mask]:
    """The outline of the first reader, where several readers made the reference together."""
    others = [mask for name, mask in study.references.items() if name.startswith("reader") and mask.array.any()]
    return {"another reader": others[0]} if card.several_readers and others else {}


def _write_embeddings(segmenter: LiteMedSamSegmenter, study: Study, folder: Path, name: str) -> dict[str, object]:
    """One file for each slice of the lesions and a few beyond."""
    from ..networks import onnx_litemedsam

    indices = _slices_with_embedding(study.reference)
    (folder / name).mkdir(parents=True, exist_ok=True)
    for index, embedding in zip(indices, onnx_litemedsam.embed_slices(segmenter, study.image, indices), strict=True):
        (folder / name / f"{index}.bin").write_bytes(onnx_litemedsam.to_bytes(embedding))
    return {"folder": name, "slices": indices}


def _slices_with_embedding(reference: Mask) -> list[int]:
    lesions = np.flatnonzero(reference.array.any(axis=(0, 1)))
    near = np.add.outer(lesions, np.arange(-BEYOND, BEYOND + 1))
    return sorted({int(index) for index in near.ravel() if 0 <= index < reference.shape[2]})


def _scores(result: RunResult, case: Case) -> dict[str, float]:
    """The benchmark's own 3-D DSC of this case by prompt setting, where the profile asked it."""
    values = tables.case_values(result.asked(*SETTINGS), "dsc")
    values = values[(values["test_dataset"] == case.dataset) & (values["case_id"] == case.case_id)]
    return {setting: float(rows["value"].iloc[0]) for setting, rows in values.groupby("prompter") if rows["value"].notna().iloc[0]}
