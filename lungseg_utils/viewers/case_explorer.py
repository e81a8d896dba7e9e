"""Data of the page "Look at any case": every test case with all predictions, one file per case. `js/case_explorer/` shows them.

`index.json` names data sets, methods, prompt settings and cases, with the DSC of every prediction to rank cases by. `<data
set>/<case>.json` holds one case: the CT around its reference, all masks cut to that, the prompts, and the values of the result tables.
Where a prediction reaches beyond, `<case>.all.json` holds CT and masks around all of them: most of a scan, so it is loaded only on demand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd

from .. import registry
from ..core import files
from ..core.masks import bounding_box, label_lesions
from ..evaluation import metrics
from ..prompts import boxes, json_form, ladder, lines
from ..reporting.style import OKABE_ITO, WINDOWS_HU
from ..types import Case, Experiment, InputError, Mask, Row, Study
from .slice_viewer import WITHHELD, ViewerCase, embed_within

if TYPE_CHECKING:
    from ..experiments.results import RunResult


SHOWN = metrics.shown_in(metrics.CASE)
METRICS = tuple(metric.name for metric in SHOWN)
DIGITS = 6  # of a value in a file: more than any page shows
_MARGIN_MM, _MARGIN_OF_ALL_MM = 40.0, 15.0
_MAX_MB, _MAX_MB_OF_ALL = 1.0, 2.0  # of a file gzipped; a page with its theme, a megabyte more, should stay below 3
_FACTS = ("type", "contact", "solidity")  # attributes of a case that tell what is to be seen
_REFERENCE = "reference"


def write(results: Sequence[RunResult], titles: Mapping[str, str], folder: Path, public: bool) -> None:
    """Write `index.json` and one file per case into `folder`. `results`: `results.RunResult` or alike; `titles`: by name of the experiment.

    With `public`, cases of data sets that may not be redistributed are listed with their values, and without a voxel.
    """
    results = list({result.experiment.name: result for result in results}.values())  # notebooks may share an experiment
    labels = _distinct_titles(results, titles)
    cohorts = [_Cohort(dataset, results, public) for dataset in _datasets(results)]
    settings = [setting for setting in ladder.PROMPT_SETTINGS if any(setting in cohort.settings for cohort in cohorts)]
    index = {
        "methods": [_method(result.experiment, labels[result.experiment.name]) for result in results],
        "settings": [_described(setting) for setting in settings],
        "cohorts": [cohort.write(folder) for cohort in cohorts],
        "metrics": [_shown(metric) for metric in SHOWN],
        "palette": OKABE_ITO,
        "windows": WINDOWS_HU,
    }
    _write_json(index, folder / "index.json")


def address(dataset: str, case_id: str, experiment: str, setting: str) -> str:
    """Of one prediction on the page, seen from the folder that holds it: what the page itself writes into its address (`formatState`)."""
    return "explore.html#" + urlencode({"data": dataset, "case": case_id, "a": _key(experiment, setting)}, safe="/")


def _datasets(results: Sequence[RunResult]) -> list[str]:
    """Test data sets: phantoms before patients, and the kind that was trained on first."""
    trained_on = {result.experiment.train_dataset for result in results}
    names = {name for result in results for name in result.results["test_dataset"]}
    return sorted(names, key=lambda name: (not registry.card("datasets", name).phantom, name not in trained_on, name))


def _distinct_titles(results: Sequence[RunResult], titles: Mapping[str, str]) -> dict[str, str]:
    """Titles by name of the experiment; to those that are alike is added what tells them apart."""
    facts = {result.experiment.name: _facts_of_training(result.experiment) for result in results}
    labels = {}
    for name, own in facts.items():
        alike = [other for key, other in facts.items() if titles[key] == titles[name]]
        differing = [fact for fact in own if any(other.get(fact) != own[fact] for other in alike)]
        labels[name] = ", ".join([titles[name], *(f"{fact} {own[fact]}" for fact in differing)])
    return labels


def _facts_of_training(experiment: Experiment) -> dict[str, object]:
    numbers = {"draw": experiment.draw, "fold": experiment.fold, "seed": experiment.seed}
    return numbers | {"trained on": experiment.train_dataset} | dict(experiment.options)


def _method(experiment: Experiment, title: str) -> dict[str, object]:
    """`automatic`: asked with a prompt, it is the control of that prompt setting."""
    card = registry.card("models", experiment.model)
    return {"key": experiment.name, "title": title, "automatic": card.is_automatic}


def _shown(metric: metrics.Metric) -> dict[str, object]:
    """A share of one case is shown with one digit more than a mean."""
    return {"key": metric.name, "title": metric.title, "unit": metric.unit, "digits": metric.digits + (metric.unit == "1")}


def _described(setting: str) -> dict[str, str]:
    card = ladder.prompt_setting(setting)
    return {"key": setting, "title": card.title, "leaks": card.leaks, "note": card.note}


def _key(experiment: str, setting: str) -> str:
    """Of a prediction: names its mask and its values in the files, and itself in links."""
    return f"{experiment}/{setting}"


@dataclass(frozen=True)
class _ShownPrediction:
    """A method that was asked with one prompt setting, and the ids of the cases that it was asked about."""

    result: RunResult
    setting: str
    case_ids: frozenset[str]

    @property
    def key(self) -> str:
        return _key(self.result.experiment.name, self.setting)


class _Cohort:
    """One test data set and all that was answered on it."""

    def __init__(self, dataset: str, results: Sequence[RunResult], public: bool) -> None:
        self.dataset, self.card = dataset, registry.card("datasets", dataset)
        self.shown = self.card.redistributable or not public
        tables = [(result, _asked_here(result, dataset)) for result in results]
        tables = [(result, table) for result, table in tables if len(table)]
        self.values = pd.concat([table for _, table in tables])
        self.settings = [setting for setting in ladder.PROMPT_SETTINGS if (self.values["prompter"] == setting).any()]
        asked = [(result, table, result.cases(dataset)) for result, table in tables]
        self.predictions = [
            _ShownPrediction(result, setting, frozenset(case.case_id for case in cases))
            for result, table, cases in asked
            for setting in self.settings
            if (table["prompter"] == setting).any()
        ]
        self.cases = tuple({case.case_id: case for _, _, cases in asked for case in cases}.values())
        records_here = [r for result, _, _ in asked for r in result.provenance["cases"] if r["test_dataset"] == dataset]
        self.cut = {record["case_id"] for record in records_here if record["cut_by_volume_end"]}

    def write(self, folder: Path) -> dict[str, object]:
        """Write a file per case; returns the data set's part of the index, with DSC by prediction in the order of the cases."""
        scores: dict[str, list[float | None]] = {prediction.key: [] for prediction in self.predictions}
        for case in self.cases:
            content = self._write_case(case, folder / self.dataset)
            for key, column in scores.items():
                column.append(content["values"][key]["dsc"])
        return {
            "key": self.dataset,
            "title": self.card.title,
            "target": self.card.target,
            "phantom": self.card.phantom,
            "shown": self.shown,
            "cases": [{"id": case.case_id, "patient": case.patient_id} for case in self.cases],
            "dsc": scores,
        }

    def _write_case(self, case: Case, folder: Path) -> dict[str, object]:
        """Write the files of one case; returns what the first one holds."""
        rows = self.values[self.values["case_id"] == case.case_id]
        facts = {name: case.attributes[name] for name in _FACTS if case.attributes.get(name)}
        content: dict[str, Any] = {"title": case.case_id, "facts": facts, "cut": case.case_id in self.cut}
        if self.shown:
            study = registry.plugin("datasets", case.dataset).load(case)
            content |= {"reference": next(iter(study.references))} | self._pictures(case, study, folder)
        else:  # a data set's own reference stands first in its tables
            content |= {"reference": rows["reader"].iloc[0], "withheld": WITHHELD}
        content["values"] = self._values_of(case, rows[rows["reader"] == content["reference"]])
        _write_json(content, folder / f"{case.case_id}.json")
        return content

    def _values_of(self, case: Case, rows: pd.DataFrame) -> dict[str, dict[str, object]]:
        """Values of every prediction; a missing one is an error. Of a method that was not asked about this case they are null."""
        found = {_key(*names): _plain(part) for names, part in rows.groupby(["experiment", "prompter"], sort=False)}
        not_asked = [prediction.key for prediction in self.predictions if case.case_id not in prediction.case_ids]
        volume = next(iter(found.values()), {}).get("reference_volume")  # the same, whoever is asked
        nothing = dict.fromkeys(METRICS) | {"reference_volume": volume, "failed": False, "not_asked": True}
        found |= dict.fromkeys(not_asked, nothing)
        lacking = [prediction.key for prediction in self.predictions if not {*METRICS} <= {*found.get(prediction.key, ())}]
        if lacking:
            raise InputError(f"{self.dataset}, {case.case_id}", f"there are no values of {lacking[0]}", "Run its experiment again.")
        return found

    def _pictures(self, case: Case, study: Study, folder: Path) -> dict[str, object]:
        """CT and masks around the reference, the prompts, and `outside_ml`: how much of each prediction lies elsewhere.

        A second file is written if anything does. Without a reference the one picture is of all predictions.
        """
        reference = study.reference
        masks = _PackedMasks(study.image.shape, study.image.affine)
        masks.add(_REFERENCE, reference)
        nothing = Mask(np.zeros(study.image.shape, dtype=bool), study.image.affine)
        for prediction in self.predictions:
            asked = case.case_id in prediction.case_ids
            masks.add(
                prediction.key, prediction.result.prediction(self.dataset, prediction.setting, case.case_id, study) if asked else nothing
            )
        around = reference if reference.array.any() else None
        close = _picture(ViewerCase(case.case_id, study.image, masks, around=around), _MARGIN_MM, _MAX_MB)
        outside = {prediction.key: _outside_ml(masks[prediction.key], close) for prediction in self.predictions}
        if any(outside.values()):
            everything = ViewerCase(case.case_id, study.image, masks)
            _write_json(_picture(everything, _MARGIN_OF_ALL_MM, _MAX_MB_OF_ALL), folder / f"{case.case_id}.all.json")
        prompts = {setting: _prompts(case, reference, setting) for setting in self.settings}
        return close | {"prompts": prompts, "outside_ml": outside}


def _picture(case: ViewerCase, margin_mm: float, max_mb: float) -> dict[str, object]:
    """CT and masks as stored."""
    content = embed_within(case, False, margin_mm, max_mb)
    return {name: value for name, value in content.items() if name not in ("title", "facts", "still")}


def _outside_ml(mask: Mask, picture: Row) -> float:
    """Volume of what a stored picture leaves out of a mask."""
    (i, di), (j, dj), (k, _) = picture["voxel"]
    slices, rows, columns = picture["shape"]
    # the stored first pixel is the mean of a block that ends at the highest index
    ends = [int(start + (abs(step) + 1) / 2) for start, step in ((i, di), (j, dj))]
    starts = [end - count * abs(step) for end, count, step in zip(ends, (columns, rows), (di, dj), strict=True)]
    inside = mask.array[starts[0] : ends[0], starts[1] : ends[1], k : k + slices]
    return round(int(mask.array.sum() - inside.sum()) * mask.voxel_ml, DIGITS)


class _PackedMasks(Mapping[str, Mask]):
    """Masks of one grid, of each only the box around its voxels, made whole whenever it is asked for: a scan may have hundreds."""

    def __init__(self, shape: tuple[int, int, int], affine: np.ndarray) -> None:
        self._shape, self._affine = shape, affine
        self._parts: dict[str, tuple[tuple[slice, ...], np.ndarray]] = {}

    def add(self, name: str, mask: Mask) -> None:
        box = bounding_box(mask.array) if mask.array.any() else (slice(0, 0),) * 3
        self._parts[name] = box, mask.array[box].copy()

    def __getitem__(self, name: str) -> Mask:
        whole = np.zeros(self._shape, dtype=bool)
        box, part = self._parts[name]
        whole[box] = part
        return Mask(whole, self._affine)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _asked_here(result: RunResult, dataset: str) -> pd.DataFrame:
    """Rows of the metrics that are shown, of whole cases, with prompts as they should be drawn."""
    rows = result.asked()
    return rows[(rows["test_dataset"] == dataset) & (rows["lesion_id"] == "") & rows["metric"].isin(METRICS)]


def _plain(rows: pd.DataFrame) -> dict[str, object]:
    """Values by metric, and whether the model failed. JSON knows no NaN (here null, "undefined") and no infinity (here "infinite")."""
    values = {row.metric: _number(row.value) for row in rows.itertuples()}
    return values | {"failed": bool((rows["status"] == "failed").any())}


def _number(value: float) -> float | str | None:
    if np.isnan(value):
        return None
    return round(float(value), DIGITS) if np.isfinite(value) else "infinite"


def _prompts(case: Case, reference: Mask, setting: str) -> dict[str, object]:
    """What every model was told before its first prediction, as `records` writes prompts, and the lines that a reader would have drawn."""
    if ladder.prompt_setting(setting).from_detector:
        return {"prompts": [], "lines": []}
    prompts = ladder.first_prompts(case, reference, setting)
    return {
        "prompts": [json_form.to_json(prompt) for prompt in prompts],
        "lines": _recist_lines(reference) if ladder.prompt_setting(setting).action == "line" else [],
    }


def _recist_lines(reference: Mask) -> list[dict[str, object]]:
    """One line per lesion: its ends on the lesion's surface, in voxels, and its slice."""
    labels = label_lesions(reference.array)
    found = []
    for lesion in range(1, int(labels.max(initial=0)) + 1):
        index = boxes.largest_slice(labels == lesion)
        first, last = lines.surface_ends(labels[:, :, index] == lesion, reference.spacing_mm).round(2).tolist()
        found.append({"index": index, "from": first, "to": last})
    return found


def _write_json(value: Row, path: Path) -> None:
    """Without spaces, whole or not at all."""
    files.write_text(json.dumps(value, separators=(",", ":"), allow_nan=False), path)
