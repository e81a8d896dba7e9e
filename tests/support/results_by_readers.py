"""Finished experiments whose mean DSC by judge and by prompt's source is written down by hand."""

import numpy as np
import pandas as pd

from lungseg_utils.evaluation import tables
from lungseg_utils.experiments import cohorts, config, planning, results

PROFILE, DATASET = "patients_dev", "lidc_nodules"
PATIENTS = cohorts.tested_patients(DATASET, config.load().profile(PROFILE), 0)
WOBBLE = np.linspace(-0.01, 0.01, len(PATIENTS))  # its mean is 0


def finished_experiment(notebook, means, settings, variant=0, profile=PROFILE, dataset=DATASET):
    """The results of one experiment on the development patients.

    ``means``: for each source of the prompt, its judge and their mean DSC, such as ``("reference", "consensus", 0.8)``.
    """
    experiment = planning.planned_runs(notebook, profile)[variant]
    rows = []
    for setting in settings:
        for source, reader, mean in means:
            for patient, off in zip(PATIENTS, WOBBLE, strict=True):
                shared = {"experiment": experiment.name, "test_dataset": dataset, "prompter": setting, "source": source, "jitter": 0.0}
                shared |= {"patient_id": patient, "case_id": patient}
                rows += tables.result_rows(shared, reader, {"dsc": mean + off}, {}, False)
    frame = tables.results_frame(rows)
    return results.RunResult(experiment, None, frame, pd.DataFrame(), pd.DataFrame(), {"patients": {dataset: PATIENTS}})
