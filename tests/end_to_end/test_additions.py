"""The page on additions is followed to the letter, in copies of the project."""

import re
from functools import partial

import pandas as pd
import pytest

from lungseg_utils.evaluation import tables
from lungseg_utils.experiments import config
from tests.support.worked_examples import append, assert_in_style, block, copy_project, edit, follow

_block = partial(block, "extend.md")


@pytest.mark.slow
def test_one_file_and_one_line_add_a_model_that_trains_and_is_scored(tmp_path):
    copied = copy_project(tmp_path)
    (copied / "lungseg_utils" / "models" / "segresnet.py").write_text(_block("model-file"))
    append(copied / "experiments.yml", _block("model-line"))
    edit(copied / "experiments.yml", "    model_options:\n", "    model_options:\n" + _block("model-smoke-options"))
    listed = follow(copied, "-m", "lungseg_utils", "list")
    assert "segresnet" in listed.stdout, listed.stderr
    done = follow(copied, "-m", "lungseg_utils", "run", "segresnet_full", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert "SegResNet, full training" in done.stdout
    results = tables.read_results(next((copied / "results" / "smoke").glob("*segresnet*/results.csv")))
    assert set(results["status"]) <= {"scored", "undefined"}
    assert results[results["test_dataset"] == "phantom_nsclc"]["case_id"].nunique() == 4


@pytest.mark.slow
def test_one_file_adds_a_data_set_that_is_tested_on_and_with_a_split_trained_on(tmp_path):
    copied = copy_project(tmp_path, shared_cache=False)
    (copied / "lungseg_utils" / "datasets" / "nifti_pairs.py").write_text(_block("dataset-file"))
    (copied / "write_data.py").write_text(_block("dataset-data"))
    written = follow(copied, "write_data.py")
    assert written.returncode == 0, written.stderr
    assert "nifti_pairs" in follow(copied, "-m", "lungseg_utils", "list").stdout

    edit(copied / "experiments.yml", "    real_datasets: [lidc_idri]\n", _block("dataset-real"))
    done = follow(copied, "-m", "lungseg_utils", "run", "unet_full", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    results = tables.read_results(next((copied / "results" / "smoke").glob("*unet__full__phantom*/results.csv")))
    assert results[results["test_dataset"] == "nifti_pairs"]["case_id"].nunique() == 10

    (copied / "data" / "splits" / "nifti_pairs.csv").write_text(_block("dataset-split"))
    append(copied / "experiments.yml", _block("dataset-line"))
    done = follow(copied, "-m", "lungseg_utils", "run", "unet_pairs", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    results = tables.read_results(next((copied / "results" / "smoke").glob("*unet__full__nifti_pairs*/results.csv")))
    assert set(results[results["test_dataset"] == "nifti_pairs"]["case_id"]) == {"patient08", "patient09"}
    assert set(results["status"]) <= {"scored", "undefined"}


def test_a_patient_of_the_split_without_a_case_is_named(tmp_path):
    copied = copy_project(tmp_path, shared_cache=False)
    (copied / "lungseg_utils" / "datasets" / "nifti_pairs.py").write_text(_block("dataset-file"))
    (copied / "write_data.py").write_text(_block("dataset-data"))
    follow(copied, "write_data.py")
    (copied / "data" / "splits" / "nifti_pairs.csv").write_text(_block("dataset-split").replace("patient03", "nobody"))
    append(copied / "experiments.yml", _block("dataset-line"))
    done = follow(copied, "-m", "lungseg_utils", "run", "unet_pairs", "--profile", "smoke")
    assert done.returncode == 2
    assert "nobody" in done.stderr


def _replace_line(path, line, beginning):
    """Put `line` in the place of the one line that begins like this."""
    text, count = re.subn(rf"^{re.escape(beginning)}.*\n", lambda _: line, path.read_text(), flags=re.MULTILINE)
    assert count == 1, beginning
    path.write_text(text)


@pytest.mark.slow
def test_one_file_and_three_lines_add_a_paradigm_that_trains_and_is_scored(tmp_path):
    copied = copy_project(tmp_path)
    (copied / "lungseg_utils" / "paradigms" / "decoder_only.py").write_text(_block("paradigm-file"))
    _replace_line(copied / "lungseg_utils" / "models" / "sam_stand_in.py", _block("paradigm-card"), "    paradigms=(")
    _replace_line(copied / "experiments.yml", _block("paradigm-detectors"), "detectors:")
    append(copied / "experiments.yml", _block("paradigm-line"))
    done = follow(copied, "-m", "lungseg_utils", "run", "sam_stand_in_decoder_only", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert "decoder only" in done.stdout
    folder = next((copied / "results" / "smoke").glob("*decoder_only*"))
    history, steps = pd.read_csv(folder / "history.csv"), config.load().profile("smoke").model_options["sam_stand_in"]["steps"]
    assert history["step"].max() == steps // 3
    assert set(tables.read_results(folder / "results.csv")["status"]) <= {"scored", "undefined"}
    assert _moved(copied, folder) == {"mask_decoder"}


def _moved(copied, folder):
    """Parts of the network whose weights are no longer those of the pretraining."""
    import torch

    from lungseg_utils.networks import training

    pretrained = next((copied / "results" / "stand_ins").glob("sam_stand_in__ct_like*/weights.pt"))
    before, after = (training.load_weights_file(path)["weights"] for path in (pretrained, folder / "weights.pt"))
    return {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("name", ["model-file", "dataset-file", "dataset-data", "paradigm-file"])
def test_the_code_of_the_page_is_in_the_style_of_the_project(name, tmp_path):
    assert_in_style(_block(name), tmp_path)
