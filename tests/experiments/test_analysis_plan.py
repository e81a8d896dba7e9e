"""The analysis plan: what it names exists, and the code's constants are those of the plan."""

import json
import shutil
import subprocess

import pytest
import yaml

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
    for contrast in analysis_plan.load().contrasts:
        prompted = "none" not in (contrast.a[1], contrast.b[1])
        assert contrast.source == ("another_reader" if prompted else "")


def _then(commit: str, name: str) -> dict:
    """A file of the project as it was at a commit."""
    text = subprocess.run(["git", "show", f"{commit}:{name}"], cwd=project.project_root(), capture_output=True, text=True, check=True)
    return yaml.safe_load(text.stdout)


def _has_history() -> bool:
    command = ["git", "rev-parse", "--is-shallow-repository"]
    told = subprocess.run(command, cwd=project.project_root(), capture_output=True, text=True, check=False)
    return told.stdout.strip() == "false"


def _stored_on_patients() -> list[tuple[str, str]]:
    """(profile, commit) of all stored experiments on the test patients of LIDC nodules."""
    found = set()
    for path in (project.project_root() / "data" / "results").glob("*/experiments.json"):
        if any(name.startswith("lidc_nodules") for name in config.load().trained_on(path.parent.name)):
            found |= {(path.parent.name, record["commit"]) for record in json.loads(path.read_text()).values()}
    return sorted(found)


@pytest.mark.parametrize(("profile", "commit"), _stored_on_patients())
def test_plan_and_settings_were_committed_before_the_test_patients_were_predicted(profile, commit):
    """Predictions name the commit that made them; what is planned and set now stood in that commit."""
    assert not commit.endswith("+")  # nothing was changed beside it
    if not _has_history():  # an archive, or a clone of the last commits; where the history is, the commit must be in it
        pytest.skip("the history of the project is not here")
    then, now = _then(commit, analysis_plan.FILE), analysis_plan.load().raw
    for part in ("edition", "contrasts", "prompt_sources", "windows_hu", "primary_metric", "inference", "matching", "jitter"):
        assert then[part] == now[part]
    settings_then = _then(commit, "experiments.yml")["profiles"][profile]
    settings_now = yaml.safe_load((project.project_root() / "experiments.yml").read_text())["profiles"][profile]
    for part in ("model_options", "notebook_options", "variants", "seeds", "folds", "k", "draws", "prompters", "prompt_sources"):
        assert settings_then[part] == settings_now[part]
