"""The page "Adding a data set" is followed to the letter, in a copy of the project."""

from functools import partial

import pytest

from lungseg_utils.evaluation import tables
from tests.support.worked_examples import append, assert_in_style, block, copy_project, edit, follow

_block = partial(block, "add_a_dataset.md")


@pytest.mark.slow
def test_one_file_adds_a_data_set_that_is_tested_on_and_with_a_split_trained_on(tmp_path):
    copied = copy_project(tmp_path, shared_cache=False)
    (copied / "lungseg_utils" / "datasets" / "nifti_pairs.py").write_text(_block("the-file"))
    (copied / "write_data.py").write_text(_block("the-data"))
    written = follow(copied, "write_data.py")
    assert written.returncode == 0, written.stderr
    assert "nifti_pairs" in follow(copied, "-m", "lungseg_utils", "list").stdout

    edit(copied / "experiments.yml", "    real_datasets: [lidc_idri]\n", _block("the-real-datasets"))
    done = follow(copied, "-m", "lungseg_utils", "run", "unet_full", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    results = tables.read_results(next((copied / "results" / "smoke").glob("*unet__full__phantom*/results.csv")))
    assert results[results["test_dataset"] == "nifti_pairs"]["case_id"].nunique() == 10

    (copied / "data" / "splits" / "nifti_pairs.csv").write_text(_block("the-split"))
    append(copied / "experiments.yml", _block("the-line"))
    done = follow(copied, "-m", "lungseg_utils", "run", "unet_pairs", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    results = tables.read_results(next((copied / "results" / "smoke").glob("*unet__full__nifti_pairs*/results.csv")))
    assert set(results[results["test_dataset"] == "nifti_pairs"]["case_id"]) == {"patient08", "patient09"}
    assert set(results["status"]) <= {"scored", "undefined"}


def test_a_patient_of_the_split_without_a_case_is_named(tmp_path):
    copied = copy_project(tmp_path, shared_cache=False)
    (copied / "lungseg_utils" / "datasets" / "nifti_pairs.py").write_text(_block("the-file"))
    (copied / "write_data.py").write_text(_block("the-data"))
    follow(copied, "write_data.py")
    (copied / "data" / "splits" / "nifti_pairs.csv").write_text(_block("the-split").replace("patient03", "nobody"))
    append(copied / "experiments.yml", _block("the-line"))
    done = follow(copied, "-m", "lungseg_utils", "run", "unet_pairs", "--profile", "smoke")
    assert done.returncode == 2
    assert "nobody" in done.stderr


def test_the_code_of_the_page_is_in_the_style_of_the_project(tmp_path):
    assert_in_style(_block("the-file"), tmp_path)
    assert_in_style(_block("the-data"), tmp_path)
