"""The workflow: an unchanged one does no work, a second one at once is refused, a failed one leaves no book."""

import os
import subprocess
import sys
import time

import pytest

from lungseg_utils import config, locks, workflow
from lungseg_utils.types import InputError

ROOT = config.project_root()
COMMAND = [sys.executable, "-m", "lungseg_utils", "workflow", "--profile", "smoke"]
needs_smoke_book = pytest.mark.skipif(
    not os.environ.get("LUNGSEG_BOOK_HTML"), reason="the smoke book was not built (make test does that first)"
)


@needs_smoke_book
def test_an_unchanged_workflow_does_no_work_and_ends_in_seconds():
    index = ROOT / "build" / "smoke" / "html" / "index.html"
    before, start = index.stat().st_mtime_ns, time.monotonic()
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing had changed" in done.stdout
    assert str(index) in done.stdout
    assert index.stat().st_mtime_ns == before
    assert time.monotonic() - start < 30


def test_a_second_workflow_at_once_is_refused_and_a_dead_one_blocks_nobody(hold_lock):
    lock = ROOT / "build" / ".workflow.lock"
    with hold_lock(lock):
        done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "another workflow is running" in done.stderr
    with locks.exclusive(lock, "still held"):
        pass


def test_an_unknown_profile_is_refused_before_anything_starts():
    with pytest.raises(InputError, match="Choose one of"):
        workflow.run_workflow("gigantic", cores=1)


def test_only_real_data_that_is_here_is_tested_on(monkeypatch):
    monkeypatch.setattr(workflow.fetch, "available", lambda name, root: name == "lidc_idri")
    assert workflow.datasets_to_test("unet_full", "mini") == ["phantom_nsclc", "phantom_msd", "lidc_idri"]
    assert workflow.datasets_to_test("unet_full", "dev") == ["phantom_nsclc", "phantom_msd"]


def test_build_info_says_what_is_missing(tmp_path, monkeypatch):
    import json

    monkeypatch.setattr(workflow.fetch, "available", lambda name, root: name == "lidc_idri")
    workflow.write_build_info("mini", True, tmp_path / "build_info.json")
    info = json.loads((tmp_path / "build_info.json").read_text())
    assert info["real_data"] == ["lidc_idri"]
    assert info["real_data_missing"] == ["nsclc_radiomics"]
    assert info["public"] is True


def test_a_stand_in_that_two_models_share_is_asked_what_either_is_asked(monkeypatch):
    """medsam2 takes boxes only, medical_sam2 takes clicks too; in smoke both are the same network."""
    from lungseg_utils import run

    asked = workflow.rungs(run.plan("medsam2_zero_shot", "smoke"))
    assert asked == workflow.rungs(run.plan("medical_sam2_zero_shot", "smoke"))
    assert "click" in asked
    assert "click" not in workflow.rungs(run.plan("medsam_zero_shot", "smoke"))
    assert workflow.rungs(run.plan("unet_full", "mini")) == ["box_every_slice", "box_one_slice", "none"]


def test_an_export_holds_case_level_values_and_what_produced_them(tmp_path, monkeypatch):
    import json

    import pandas as pd

    from lungseg_utils import metrics, run, tables

    experiment = run.plan("unet_full", "losses")
    shared = {"experiment": experiment.name, "test_dataset": "phantom_nsclc", "prompter": "none", "jitter": 0.0}
    shared |= {"patient_id": "P", "case_id": "P"}
    lesion = {1: dict.fromkeys(metrics.LESION_UNITS, 1.0)}
    rows = tables.results_frame(tables.result_rows(shared, "reference", dict.fromkeys(metrics.UNITS, 0.5), lesion, False))
    history = pd.DataFrame([(6, "seconds", 12.5)], columns=["step", "quantity", "value"])
    provenance = {"commit": "abc", "options": {"loss": "tversky"}, "cases": [{"case_id": "P"}]}
    result = run.RunResult(experiment, None, rows, None, history, provenance)
    monkeypatch.setattr(run, "planned_results", lambda profile: [result])
    monkeypatch.setattr(config, "project_root", lambda: tmp_path)
    folder = workflow.export("losses")
    written = tables.read_results(folder / "results.csv")
    assert set(written["metric"]) == set(workflow.EXPORTED_METRICS)
    assert set(written["lesion_id"]) == {""}
    record = json.loads((folder / "experiments.json").read_text())[experiment.name]
    assert record == {"commit": "abc", "options": {"loss": "tversky"}, "training_seconds": [12.5]}


def test_a_profile_without_pages_runs_what_it_plans_and_nothing_else(monkeypatch):
    asked = []
    monkeypatch.setattr(workflow, "_run", lambda notebook, experiment: asked.append((notebook, dict(experiment.options).get("loss"))))
    workflow.run_all("losses")
    assert {notebook for notebook, _ in asked} == {"unet_few_shot", "medsam_fine_tuned"}
    assert [loss for notebook, loss in asked if notebook == "unet_few_shot"] == [None, "tversky", "focal_tversky", "hausdorff", "adaptive"]


def test_a_data_set_that_cannot_be_fetched_is_here_if_its_place_is(tmp_path):
    assert not workflow._is_here("of_my_own", tmp_path)
    (tmp_path / "of_my_own").mkdir()
    assert workflow._is_here("of_my_own", tmp_path)
    assert not workflow._is_here("lidc_idri", tmp_path)
