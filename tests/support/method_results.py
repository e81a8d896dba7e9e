"""Results of experiments with given Dice values, for tests of tables and figures."""

import numpy as np

from lungseg_utils.evaluation import metrics, tables
from lungseg_utils.experiments.results import RunResult

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
    return RunResult(experiment, None, tables.results_frame(rows), tables.costs_frame(costs), None, provenance)


def values_around(mean, seed=0):
    """One value for each of `PATIENTS`, with exactly this mean."""
    noise = np.random.default_rng(seed).uniform(-0.05, 0.05, len(PATIENTS))
    return mean + noise - noise.mean()
