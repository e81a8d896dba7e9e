"""The page "Adding a model" is followed to the letter, in a copy of the project."""

from functools import partial

import pytest

from lungseg_utils.evaluation import tables
from tests.support.worked_examples import append, assert_in_style, block, copy_project, edit, follow

_block = partial(block, "add_a_model.md")


@pytest.mark.slow
def test_one_file_and_one_line_add_a_model_that_trains_and_is_scored(tmp_path):
    copied = copy_project(tmp_path)
    (copied / "lungseg_utils" / "models" / "segresnet.py").write_text(_block("the-file"))
    append(copied / "experiments.yml", _block("the-line"))
    edit(copied / "experiments.yml", "    model_options:\n", "    model_options:\n" + _block("the-smoke-options"))
    listed = follow(copied, "-m", "lungseg_utils", "list")
    assert "segresnet" in listed.stdout, listed.stderr
    done = follow(copied, "-m", "lungseg_utils", "run", "segresnet_full", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert "SegResNet, full training" in done.stdout
    results = tables.read_results(next((copied / "results" / "smoke").glob("*segresnet*/results.csv")))
    assert set(results["status"]) <= {"scored", "undefined"}
    assert results[results["test_dataset"] == "phantom_nsclc"]["case_id"].nunique() == 4


def test_the_file_of_the_page_is_in_the_style_of_the_project(tmp_path):
    assert_in_style(_block("the-file"), tmp_path)
