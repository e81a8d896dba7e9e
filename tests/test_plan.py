"""The analysis plan: what it names exists, and the code's constants are those of the plan."""

import shutil

import pytest

from lungseg_utils.core import project
from lungseg_utils.evaluation import comparisons, intervals, metrics
from lungseg_utils.experiments import analysis_plan, config
from lungseg_utils.experiments.costs import subjects
from lungseg_utils.prompts import rungs
from lungseg_utils.types import InputError


def test_constants_of_the_code_are_those_of_the_plan():
    raw = analysis_plan.load().raw
    assert raw["matching"]["least_ml"] == metrics.MIN_PREDICTED_LESION_ML
    assert raw["matching"]["hit_iou"] == metrics.HIT_IOU
    numbers = raw["inference"]
    assert numbers["least_patients_for_an_interval"] == intervals.MIN_PATIENTS_FOR_INTERVAL
    assert numbers["least_patients_for_a_claim"] == intervals.MIN_PATIENTS_FOR_INFERENCE
    assert numbers["least_runs_for_the_crossed_bootstrap"] == intervals.MIN_RUNS_FOR_BOOTSTRAP
    assert numbers["resamples"] == intervals.RESAMPLES
    assert numbers["flips"] == comparisons.FLIPS
    assert numbers["margin_human_variability"] == comparisons.MARGIN_HUMAN_VARIABILITY
    assert analysis_plan.load().seconds_per_action["box"] == subjects.HUMAN_SECONDS_PER_BOX
    assert analysis_plan.load().all_rungs == rungs.ALL
    assert set(analysis_plan.load().primary_rungs) == set(config.load().profile("mini").prompters)


def test_errors_in_drawing_are_asked_as_planned():
    planned, jitter = analysis_plan.load().raw["jitter"], config.load().profile("robustness").jitter
    assert (list(jitter.shares), jitter.draws, list(jitter.prompters)) == (planned["shares"], planned["draws"], planned["rungs"])
    assert config.load().profile("ladder").prompters == rungs.ALL


def test_there_are_six_contrasts_between_planned_questions():
    contrasts = analysis_plan.load().contrasts
    assert len(contrasts) == 6
    lines = config.load().experiments
    assert all(side[1] in lines[side[0]].prompters for contrast in contrasts for side in (contrast.a, contrast.b))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("medsam_fine_tuned, box_every_slice", "medsam_fine_tuned, click", "not asked on the rung click"),
        ("unet_few_shot, none", "vnet_few_shot, none", "vnet_few_shot is not asked"),
        ("five patients against all", "detector box against automatic", "share a name"),
        ("contrasts:", "comparisons:", "not a readable plan"),
    ],
)
def test_a_plan_that_names_what_does_not_exist_is_refused(tmp_path, monkeypatch, old, new, message):
    root = project.project_root()
    text = (root / analysis_plan.FILE).read_text()
    assert old in text
    shutil.copy(root / "experiments.yml", tmp_path)
    (tmp_path / analysis_plan.FILE).write_text(text.replace(old, new))
    monkeypatch.setenv("LUNGSEG_ROOT", str(tmp_path))
    with pytest.raises(InputError, match=message) as caught:
        analysis_plan.load()
    assert analysis_plan.FILE in str(caught.value)
    assert len(analysis_plan.sha256()) == 64
