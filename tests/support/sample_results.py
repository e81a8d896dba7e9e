"""Finished experiments for pages: small ones on drawn chests with files as a run leaves them, and tables with given Dice values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np

from lungseg_utils import registry
from lungseg_utils.data import nifti
from lungseg_utils.evaluation import metrics, tables
from lungseg_utils.experiments import results
from lungseg_utils.types import Case, Experiment, Mask, Study
from tests.support.sample_book import sample_case

SHAPE = (84, 80, 46)  # 40 mm around the tumor leave slices out at either end
SECRET = b"Secret^Name"  # stands in the header of every image, and must not be found in any page
CASES = {  # one kind that is ranked, one that is real, and one that may not be passed on; the last phantom has no tumor
    "phantom_msd": ("PM-1", "PM-2", "PM-3", "PM-4", "PM-5"),
    "msd_lung": ("lung_001", "lung_002"),
    "folder": ("mine",),
}
NO_TUMOR, FAILED = "PM-5", "PM-4"
# by prompt setting, how many voxels the answer to case n is off along x is n plus this
METHODS = {
    Experiment("sample", "phantom_nsclc", "unet", "full"): ("U-Net, full training", {"none": 2, "box_one_slice": 1}),
    Experiment("sample", "none", "trivial", "zero_shot"): ("trivial: ellipse or ball", {"box_every_slice": 0, "box_one_slice": 3}),
    Experiment("sample", "phantom_nsclc", "sam_stand_in", "fine_tuned"): (
        "SAM-type stand-in, fine-tuned",
        {"box_every_slice": 1, "recist_line": 2, "click": 3, "click_random": 4, "clicks_2": 3, "detector_box": 5},
    ),
}
TITLES = {experiment.name: title for experiment, (title, _) in METHODS.items()}


@dataclass(frozen=True)
class SampleResult(results.RunResult):
    """A result whose cases lie where the sample put them."""

    tested: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)

    def cases(self, dataset: str) -> tuple[Case, ...]:
        return self.tested[dataset]


def sample_results(folder: Path) -> list[SampleResult]:
    """Write images, references and predictions into `folder`; returns one result per method.

    The U-Net's answers without a prompt have a part far from the lesion; the stand-in failed on one case.
    """
    tested = {dataset: tuple(_write_case(folder, dataset, n) for n in range(len(names))) for dataset, names in CASES.items()}
    return [_result(folder, experiment, settings, tested) for experiment, (_, settings) in METHODS.items()]


def _write_case(folder: Path, dataset: str, number: int) -> Case:
    name = CASES[dataset][number]
    drawn = sample_case(name, seed=len(dataset) + number, shape=SHAPE)
    reference = drawn.masks["reference"].array & (name != NO_TUMOR)
    image_path, reference_path = folder / dataset / f"{name}_ct.nii.gz", folder / dataset / f"{name}_tumor.nii.gz"
    _save(np.rint(drawn.image.array).astype(np.int16), drawn.image.affine, image_path)
    _save(reference.astype(np.uint8), drawn.image.affine, reference_path)
    facts = {"contact": "isolated", "solidity": "solid", "tumor_free": str(int(name == NO_TUMOR))} if dataset == "phantom_msd" else {}
    return Case(dataset, name, name, image_path, (reference_path,), facts)


def _save(array: np.ndarray, affine: np.ndarray, path: Path) -> None:
    file = nibabel.Nifti1Image(array, affine)
    file.header["descrip"], file.header["db_name"], file.header["intent_name"] = SECRET, SECRET, SECRET
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(file, path)


def _result(folder: Path, experiment: Experiment, settings: Mapping[str, int], tested: Mapping[str, tuple[Case, ...]]) -> SampleResult:
    own, rows, records = folder / experiment.name, [], []
    for dataset, cases in tested.items():
        for number, case in enumerate(cases):
            study = registry.plugin("datasets", dataset).load(case)
            records.append({"test_dataset": dataset, "case_id": case.case_id, "cut_by_volume_end": False})
            for setting, off in settings.items():
                rows += _answer(own, experiment, case, setting, study, number + off)
    return SampleResult(experiment, own, tables.results_frame(rows), None, None, {"cases": records}, tested)


def _answer(own: Path, experiment: Experiment, case: Case, setting: str, study: Study, off: int) -> list[dict]:
    reader, reference = next(iter(study.references.items()))
    failed = case.case_id == FAILED and experiment.model == "sam_stand_in"
    prediction = np.roll(reference.array, off, axis=0) & (not failed)
    if setting == "none":
        prediction[8:12, 20:30, 2:5] = True
    mask = Mask(prediction, reference.affine)
    if not failed:
        nifti.write_mask(mask, own / "predictions" / case.dataset / setting / f"{case.case_id}.nii.gz", like_path=case.image_path)
    values, lesions = metrics.score_case(reference, mask), metrics.lesion_values(metrics.Comparison(reference, mask))
    keys = {"experiment": experiment.name, "test_dataset": case.dataset, "prompter": setting, "jitter": 0.0}
    return tables.result_rows(keys | {"case_id": case.case_id, "patient_id": case.patient_id}, reader, values, lesions, failed)


# --- tables with given Dice values -------------------------------------------------------------------------------------

PATIENTS = [f"P{i:02d}" for i in range(12)]


def result_of(experiment, answers, actions=1.0, train=(), failure="", labels=()):
    """A RunResult from {(setting, jitter): DSC per patient}; every other metric is filled in with what a test does not look at."""
    rows, costs = [], []
    for (setting, jitter), values in answers.items():
        for patient, value in zip(PATIENTS, values, strict=True):
            shared = {"experiment": experiment.name, "test_dataset": "phantom_nsclc", "prompter": setting, "jitter": jitter}
            shared |= {"patient_id": patient, "case_id": patient}
            case = dict.fromkeys(metrics.UNITS, 1.0) | {"dsc": value, "prediction_volume": 2.0 * (value > 0), "reference_volume": 4.0}
            rows += tables.result_rows(
                shared, "reference", case, {1: {"lesion_hit": value > 0, "lesion_volume": 4.0, "lesion_dsc": value}}, False
            )
            cost = {k: v for k, v in shared.items() if k != "patient_id"}
            costs.append({**cost, "quantity": "actions", "value": actions if setting != "none" else 0.0, "unit": "1"})
    named = {"train": list(train), "validation": list(labels), "phantom_nsclc": PATIENTS}
    cases = [{"test_dataset": "phantom_nsclc", "prompter": r, "case_id": PATIENTS[0], "failure": failure} for r, _ in answers]
    provenance = {"patients": named, "cases": cases}
    return results.RunResult(experiment, None, tables.results_frame(rows), tables.costs_frame(costs), None, provenance)


def values_around(mean, seed=0):
    """One value for each of `PATIENTS`, with exactly this mean."""
    noise = np.random.default_rng(seed).uniform(-0.05, 0.05, len(PATIENTS))
    return mean + noise - noise.mean()
