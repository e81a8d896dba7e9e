"""The analysis plan: what it names exists, and the code's constants are those of the plan."""

import shutil

import pytest

from lungseg_utils.core import project
from lungseg_utils.experiments import analysis_plan, config
from lungseg_utils.prompts.ladder import PROMPT_SETTINGS
from lungseg_utils.types import InputError


def test_what_is_asked_is_what_was_planned():
    assert set(analysis_plan.load().all_settings) <= set(PROMPT_SETTINGS)
    assert set(analysis_plan.load().primary_settings) == set(config.load().profile("phantoms").prompters)


def test_errors_in_drawing_are_asked_as_planned():
    planned, jitter = analysis_plan.load().raw["jitter"], config.load().profile("robustness").jitter
    assert (list(jitter.shares), jitter.draws, list(jitter.prompters)) == (planned["shares"], planned["draws"], planned["prompt_settings"])
    assert config.load().profile("ladder").prompters == tuple(PROMPT_SETTINGS)


def test_there_are_six_contrasts_between_planned_questions():
    contrasts = analysis_plan.load().contrasts
    assert len(contrasts) == 6
    lines = config.load().experiments
    assert all(side[1] in lines[side[0]].prompters for contrast in contrasts for side in (contrast.a, contrast.b))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("litemedsam_fine_tuned, box_one_slice", "litemedsam_fine_tuned, click", "not run with the prompt setting click"),
        ("unet_few_shot, none", "vnet_few_shot, none", "vnet_few_shot is not run"),
        ("five patients against all", "every-slice box against ellipse", "share a name"),
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


def test_prompts_of_another_reader_are_planned_where_a_model_is_prompted():
    assert analysis_plan.load().raw["edition"] == 2
    for contrast in analysis_plan.load().contrasts:
        prompted = "none" not in (contrast.a[1], contrast.b[1])
        assert contrast.source == ("another_reader" if prompted else "")
