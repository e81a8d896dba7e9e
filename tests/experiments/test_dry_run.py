"""The dry run: hours against hand-derived ones, every experiment once, and what is missing until it is there."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils.core import project
from lungseg_utils.data import exclusions, splits
from lungseg_utils.experiments import config, dry_run, planning
from lungseg_utils.experiments.costs.table import read

A100_SPEED = 1600 * 1_119_340_953_600 / 51.17  # 2 x (3 x 250 + 50) passes of nnU-Net's patch in one published epoch


@pytest.fixture(scope="module")
def paper():
    """The steps of `paper` as long as no GPU was measured."""
    cpu = dry_run._costs("cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dry_run, "_costs", {"cpu": cpu, "cuda": cpu[:0]}.get)
        yield dry_run.look_ahead("paper").steps


def _row(steps, name, kind="training", dataset=None):
    rows = steps[(steps["experiment"] == name) & (steps["kind"] == kind)]
    return (rows if dataset is None else rows[rows["dataset"] == dataset]).iloc[0]


def _flops(model, stage):
    costs = read(project.project_root() / "data" / "results" / "efficiency_cpu.csv")
    return costs.query("model == @model and stage == @stage and quantity == 'flops'")["value"].iloc[0]


def test_every_planned_experiment_is_there_once_with_each_of_its_test_data_sets(paper):
    planned = planning.all_planned("paper")
    assert list(dict.fromkeys(paper["experiment"])) == list(dict.fromkeys(e.name for e in planned))
    evaluations = paper[paper["kind"] == "evaluation"].groupby("experiment")["dataset"].apply(set)
    assert all(found == {"nsclc_radiomics", "msd_lung", "rider_lung_ct"} for found in evaluations)
    trained = {e.name for e in planned if e.train_dataset != config.NO_DATASET}
    assert sorted(paper.loc[paper["kind"] == "training", "experiment"]) == sorted(trained)


def test_nnunet_takes_its_published_thousand_epochs(paper):
    row = _row(paper, "paper__nnunet__few_shot__msd_lung__k5__draw0__fold0__seed0")
    assert (row["patients"], row["amount"]) == (5, 250_000)
    assert row["gpu_hours"] == pytest.approx(1000 * 51.17 / 3600 * 1500 / 1600)  # without validation batches
    full = _row(paper, "paper__nnunet__full__msd_lung__fold0__seed0")
    answers = 13 * _flops("nnunet_3d", "volume_none_mirrored") / A100_SPEED
    assert full["gpu_hours"] == pytest.approx((1000 * 51.17 + answers) / 3600)


def test_a_step_of_a_promptable_network_is_three_passes_and_a_frozen_encoder_one(paper):
    medsam = 20_000 * 2 * 3 * (_flops("medsam", "encode") + _flops("medsam", "prompt"))
    row = _row(paper, "paper__medsam__few_shot__msd_lung__k1__draw0__fold0__seed0")
    assert row["gpu_hours"] == pytest.approx(medsam / A100_SPEED / 3600)
    frozen = 5000 * 2 * (_flops("medical_sam2", "encode") + 3 * _flops("medical_sam2", "track"))
    row = _row(paper, "paper__medical_sam2__few_shot__msd_lung__k1__draw0__fold0__seed0")
    assert row["gpu_hours"] == pytest.approx(frozen / A100_SPEED / 3600)


def test_an_automatic_network_answers_a_patient_once_and_a_promptable_one_encodes_a_slice_once(paper):
    unet = _row(paper, "paper__unet__full__msd_lung__fold0__seed0", "evaluation", "rider_lung_ct")
    assert (unet["patients"], unet["amount"]) == (31, 13)
    assert unet["gpu_hours"] == pytest.approx(31 * _flops("unet_wide", "volume_none") / A100_SPEED / 3600)
    encode, prompt = _flops("medsam", "encode"), _flops("medsam", "prompt")
    medsam = _row(paper, "paper__medsam__zero_shot__none__fold0__seed0", "evaluation", "rider_lung_ct")
    # 14 slices are seen; boxes on every (second) slice, in 3-D and of a detector look at 12 of them, a box or line on one slice at all
    assert medsam["amount"] == 6
    assert medsam["gpu_hours"] == pytest.approx(31 * (14 * encode + (4 * 12 + 2 * 14) * prompt) / A100_SPEED / 3600)
    # SAM takes clicks, too: a line as points and a click anywhere are asked alone, five dialogues share five answers
    sam = _row(paper, "paper__sam__zero_shot__none__fold0__seed0", "evaluation", "rider_lung_ct")
    assert sam["amount"] == 13
    assert sam["gpu_hours"] == pytest.approx(31 * (14 * encode + (4 * 12 + (4 + 5) * 14) * prompt) / A100_SPEED / 3600)


def test_memory_is_that_of_validation_patients_and_of_the_working_grid(paper):
    volume = 512 * 512 * 120
    medsam = _row(paper, "paper__medsam__fine_tuned__nsclc_radiomics__fold0__seed0")
    assert medsam["memory_gb"] == pytest.approx(63 * 5 * volume / 1e9)
    unet = _row(paper, "paper__unet__full__nsclc_radiomics__fold0__seed0")  # voxels of 1.5 x 1.5 x 3 mm
    assert unet["memory_gb"] == pytest.approx((63 * 5 + 315 * 4 * (0.8 * 0.8 * 2.5) / (1.5 * 1.5 * 3)) * volume / 1e9)
    assert unet["disk_gb"] == pytest.approx(19_221_712 * 20 / 1e9)


def test_patients_follow_from_splits_and_exclusions(tmp_path, monkeypatch):
    table = pd.DataFrame([("nsclc_radiomics", p, "damaged") for p in ("LUNG1-003", "LUNG1-128")], columns=exclusions.COLUMNS)
    table.to_csv(tmp_path / "nsclc_radiomics.csv", index=False)
    monkeypatch.setattr(exclusions, "path", lambda dataset: tmp_path / f"{dataset}.csv")
    steps = dry_run.look_ahead("paper").steps
    split = splits.read_splits("nsclc_radiomics").set_index("patient_id")["split"]
    gone = int((split[["LUNG1-003", "LUNG1-128"]] == "test").sum())
    row = _row(steps, "paper__sam__zero_shot__none__fold0__seed0", "evaluation", "nsclc_radiomics")
    assert row["patients"] == 105 - gone
    assert _row(steps, "paper__unet__full__nsclc_radiomics__fold0__seed0")["patients"] == 315 - (2 - gone)
    assert _row(steps, "paper__unet__full__msd_lung__fold3__seed0", "evaluation", "msd_lung")["patients"] == 12  # out of fold
    assert _row(steps, "paper__sam__zero_shot__none__fold0__seed0", "evaluation", "msd_lung")["patients"] == 63


def test_a_measured_gpu_takes_the_place_of_the_published_speed_and_is_named(monkeypatch):
    cpu = dry_run._costs("cpu")
    cuda = cpu[cpu["model"] == "medsam"].assign(device="NVIDIA H100", precision="bf16")
    cuda.loc[(cuda["stage"] == "encode") & (cuda["quantity"] == "seconds"), "value"] = 0.01
    monkeypatch.setattr(dry_run, "_costs", {"cpu": cpu, "cuda": cuda}.get)
    steps = dry_run.look_ahead("paper").steps
    row = _row(steps, "paper__medsam__few_shot__msd_lung__k1__draw0__fold0__seed0")
    encode, prompt = _flops("medsam", "encode"), _flops("medsam", "prompt")
    assert row["gpu_hours"] == pytest.approx(20_000 * 2 * 3 * (encode + prompt) / (encode / 0.01) / 3600)
    assert row["speed"] == "the network itself, measured on NVIDIA H100"
    other = _row(steps, "paper__sam__zero_shot__none__fold0__seed0", "evaluation", "msd_lung")
    assert other["speed"] == dry_run.PUBLISHED_SPEED


def test_what_was_not_measured_has_no_estimate_and_is_counted_apart():
    outlook = dry_run.look_ahead("smoke")
    stand_ins = outlook.steps[outlook.steps["experiment"].str.contains("stand_in")]
    assert stand_ins["gpu_hours"].isna().all()
    assert outlook.steps.loc[outlook.steps["experiment"].str.contains("trivial"), "gpu_hours"].eq(0).all()
    assert "experiments have no estimate" in dry_run.in_words(outlook)
    assert "not measured" in dry_run.in_words(outlook)


def test_what_is_missing_is_named_with_its_command_until_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(exclusions, "path", lambda dataset: tmp_path / f"{dataset}.csv")
    commands = {m.what: m.command for m in dry_run.look_ahead("paper").missing}
    assert commands["data set nsclc_radiomics"].endswith("fetch nsclc_radiomics --all")
    assert commands["data set rider_lung_ct"].endswith("fetch rider_lung_ct")
    assert commands["which cases of msd_lung cannot be used"].endswith("exclusions msd_lung")
    assert commands["weights MedSAM2_CTLesion.pt"].endswith("fetch MedSAM2_CTLesion.pt")
    (tmp_path / "weights").mkdir()
    for name in ("nsclc_radiomics", "msd_lung", "rider_lung_ct"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "whole.json").touch()
        for patient in splits.read_splits(name)["patient_id"] if splits.has_split(name) else ():
            (tmp_path / name / patient).mkdir()
        (tmp_path / f"{name}.csv").write_text("dataset,case_id,reason\n")
    for what in commands:
        if what.startswith("weights"):
            (tmp_path / "weights" / what.removeprefix("weights ")).touch()
    assert {m.what for m in dry_run.look_ahead("paper").missing} == {  # those whose size is known, and not 0 bytes; and folders
        "weights nnInteractive_v1.0",
        "weights TotalSegmentator_lung_nodules",
        "weights sam_vit_b_01ec64.pth",
        "weights sam2.1_hiera_tiny.pt",
        "weights MedSAM2_pretrain.pth",
    }


def test_patients_of_the_split_who_are_not_there_are_counted_unless_they_are_excluded(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(exclusions, "path", lambda dataset: tmp_path / f"{dataset}.csv")
    images = tmp_path / "msd_lung" / "Task06_Lung" / "imagesTr"
    images.mkdir(parents=True)
    (tmp_path / "msd_lung.csv").write_text("dataset,case_id,reason\nmsd_lung,lung_003,damaged\n")
    for patient in splits.read_splits("msd_lung")["patient_id"]:
        if patient not in ("lung_001", "lung_003", "lung_004"):
            (images / f"{patient}.nii.gz").touch()
    (missing,) = [m for m in dry_run.look_ahead("paper").missing if m.what.startswith("2 patients")]
    assert missing.what == "2 patients of msd_lung who stand in its split, lung_001 first"
    assert missing.command.endswith("data check " + str(tmp_path / "msd_lung") + " --dataset msd_lung")


def test_samples_are_not_taken_for_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path)
    (tmp_path / "nsclc_radiomics" / "LUNG1-001").mkdir(parents=True)
    (missing,) = [m for m in dry_run.look_ahead("paper").missing if m.what.startswith("data set nsclc_radiomics")]
    assert "move them away first" in missing.what


def test_the_command_prints_each_experiment_with_the_command_that_runs_it_and_keeps_a_table(tmp_path, capsys):
    assert command_line.main(["dry-run", "--profile", "paper", "--csv", str(tmp_path / "steps.csv")]) == 0
    shown = capsys.readouterr().out
    for experiment in planning.all_planned("paper"):
        assert f"python -m lungseg_utils run {experiment.name} --profile paper\n" in shown
    steps = pd.read_csv(tmp_path / "steps.csv")
    assert list(steps.columns) == dry_run.COLUMNS
    assert f"{len(steps[steps['kind'] == 'evaluation'])} evaluations" in shown
    unmeasured = steps["experiment"].str.contains("__(?:unet_prompted|nninteractive|cln_segmenter|total_lung_nodules)__")
    assert np.isfinite(steps.loc[~unmeasured, "gpu_hours"]).all()  # what was not measured has no estimate


def test_every_profile_can_be_looked_at_and_torch_is_not_imported():
    code = "import sys\nfrom lungseg_utils.experiments import config, dry_run\n"
    code += "[dry_run.in_words(dry_run.look_ahead(name)) for name in config.load().profiles]\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=project.project_root()).returncode == 0
