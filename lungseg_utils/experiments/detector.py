"""Boxes of a detector: an automatic experiment of the grid finds lesions without the reference, and a rule keeps the likely ones.

The threshold of probability, the least volume and the largest number of findings are chosen on the validation patients of the detector, by
mean lesion F1. A few-shot detector has none: its rule was fixed on development phantoms. Found masks are stored with the detector's
weights, because every promptable model asks for the same ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import registry
from ..core import files, locks, masks
from ..core.provenance import sha256_of_weights
from ..data import nifti
from ..evaluation import lesions
from ..types import Case, Experiment, InputError, Mask, Record, Segmenter, Study, trainable
from . import cohorts, config, store

PATIENCE_SECONDS = 1800.0


@dataclass(frozen=True)
class Rule:
    """Keep the `most` largest components of probability over `threshold`, of at least `least_ml`."""

    threshold: float
    least_ml: float
    most: int


FEW_SHOT_RULE = Rule(0.5, 0.3, 1)
CHOICES = tuple(Rule(*values) for values in itertools.product((0.5, 0.3, 0.7, 0.9), (0.03, 0.3, 1.0), (1, 2, 3, 10)))


def detector_of(experiment: Experiment, test_dataset: str) -> Experiment:
    """The automatic experiment whose boxes `experiment` may use: of experiments.yml, with its training set, seed, fold, k and draw.

    A model that is not trained takes the first one that was not trained on `test_dataset`, if the profile has one.
    """
    grid = config.load()
    notebook = grid.detectors[experiment.paradigm]
    line, size = grid.experiment(notebook), grid.profile(experiment.profile)
    options = size.notebook_options.get(notebook, {})
    few_shot = registry.card("paradigms", line.paradigm).few_shot
    train_dataset, choices = experiment.train_dataset, grid.train_datasets(notebook, experiment.profile)
    if train_dataset == config.NO_DATASET:
        train_dataset = next((name for name in choices if name != test_dataset), choices[0])
    return Experiment(
        experiment.profile,
        train_dataset,
        line.model,
        line.paradigm,
        seed=experiment.seed,
        fold=experiment.fold,
        k=experiment.k if few_shot else None,
        draw=experiment.draw if few_shot else 0,
        options=tuple(sorted(options.items())),
    )


def applies(experiment: Experiment, test_dataset: str) -> bool:
    """Whether an experiment may use boxes of a detector on `test_dataset`: zero-shot only if the detector was not trained on it."""
    uses_labels = registry.card("paradigms", experiment.paradigm).uses_target_labels
    return uses_labels or detector_of(experiment, test_dataset).train_dataset != test_dataset


class Detector:
    """A trained experiment that finds lesions. The network is loaded only for cases without stored findings."""

    def __init__(self, experiment: Experiment):
        self.experiment = experiment
        self.folder = store.results_folder(experiment)
        record = files.read_json(self.folder / "trained.json")
        if not record or record["failure"]:
            raise InputError(self.folder, "this detector is not trained", "Run its notebook first; experiments.yml names it.")
        self.identity = record["identity"]
        self._segmenter: Segmenter | None = None

    def find(self, case: Case, study: Study) -> Mask:
        """Findings of the detector in a case, as a mask on its grid; empty if there are none."""
        path = self._kept() / case.dataset / f"{case.case_id}.nii.gz"
        if not path.is_file():
            found = Mask(findings(self._probability(study), self.rule(), study.image.voxel_ml), study.image.affine)
            nifti.write_mask(found, path)
        return nifti.read_mask(path, like=study.image, allow_empty=True)

    def provenance(self) -> Record:
        """Which training made the boxes: two of the same name may differ by the machine that trained them."""
        return {"weights": sha256_of_weights(self.folder / "weights.pt"), "rule": asdict(self.rule())}

    def rule(self) -> Rule:
        """The rule chosen on the validation patients; chosen now if it was not yet."""
        path = self._kept() / "rule.json"
        with locks.exclusive(self._kept() / ".lock", "another process is choosing the detector's rule", PATIENCE_SECONDS):
            if not path.is_file():
                files.write_json(self._choose(), path)
        return Rule(**files.read_json(path)["rule"])

    def _kept(self) -> Path:
        return self.folder / "detections" / self.identity[:12]

    def _choose(self) -> Record:
        if self.experiment.k is not None:
            return {"rule": asdict(FEW_SHOT_RULE), "chosen_on": "development phantoms, for all few-shot detectors"}
        profile = config.load().profile(self.experiment.profile)
        cohort = cohorts.training_cohort(self.experiment.train_dataset, profile, self.experiment.fold, progress=False)
        studies = [registry.dataset(case.dataset).load(case) for case in cohort.validation]
        if not studies:
            raise InputError(self.folder, "the detector has no validation patients to choose its rule on", "Give the profile some.")
        scores = choose_rule((s.reference, self._probability(s)) for s in studies)
        best = max(scores, key=lambda rule: scores[rule])  # the first of equals
        return {"rule": asdict(best), "mean_lesion_f1": scores[best], "chosen_on": [case.patient_id for case in cohort.validation]}

    def _probability(self, study: Study) -> np.ndarray:
        if self._segmenter is None:
            options = config.resolve_options(self.experiment, config.load().profile(self.experiment.profile))
            self._segmenter = registry.model(self.experiment.model).build(options, self.experiment.seed)
            trainable(self._segmenter).load(self.folder / "weights.pt")
        self._segmenter.set_image(study.image)
        probability = self._segmenter.predict().probability
        if probability is None:
            raise InputError(
                self.experiment.model, "it gives no probabilities, so it cannot be a detector", "Name another in experiments.yml."
            )
        return probability


def findings(probability: np.ndarray, rule: Rule, voxel_ml: float) -> np.ndarray:
    """The components (26-connected) that a rule keeps of a probability map (x, y, z), as bool."""
    least = max(1, int(np.ceil(rule.least_ml / voxel_ml - 1e-9)))
    labels = masks.label_lesions(probability > rule.threshold, least)
    sizes = np.bincount(labels.ravel())[1:]
    kept = 1 + np.argsort(-sizes, kind="stable")[: rule.most]
    return np.isin(labels, kept)


def choose_rule(cases: Iterable[tuple[Mask, np.ndarray]]) -> dict[Rule, float]:
    """Mean lesion F1 of every rule over cases, each a reference and a probability map (x, y, z) on its grid."""
    values: dict[Rule, list[float]] = {rule: [] for rule in CHOICES}
    for reference, probability in cases:
        known: dict[bytes, float] = {}  # many rules keep the same
        for rule in CHOICES:
            found = findings(probability, rule, reference.voxel_ml)
            key = np.packbits(found).tobytes()
            if key not in known:
                known[key] = lesions.match_lesions(reference.array, found, reference.voxel_ml).f1
            values[rule].append(known[key])
    return {rule: float(np.nanmean(f1)) if np.isfinite(f1).any() else 0.0 for rule, f1 in values.items()}
