"""The page "Adding a model" is followed to the letter, in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from lungseg_utils import config, tables

ROOT = config.project_root()
PAGE = (ROOT / "book" / "add_a_model.md").read_text()


def _block(name):
    return re.search(rf"```{{code-block}} \w+\n:name: {name}\n\n(.*?)```", PAGE, re.DOTALL).group(1)


@pytest.fixture
def copied(tmp_path):
    """A project of its own; phantoms are shared, since they are only read."""
    shutil.copytree(ROOT / "lungseg_utils", tmp_path / "lungseg_utils", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data", tmp_path / "data", ignore=shutil.ignore_patterns("cache"))
    (ROOT / "data" / "cache").mkdir(exist_ok=True)
    (tmp_path / "data" / "cache").symlink_to(ROOT / "data" / "cache")
    shutil.copy(ROOT / "experiments.yml", tmp_path)
    return tmp_path


def _run(root, *arguments):
    environment = os.environ | {"LUNGSEG_ROOT": str(root), "PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_one_file_and_one_line_add_a_model_that_trains_and_is_scored(copied):
    (copied / "lungseg_utils" / "models" / "segresnet.py").write_text(_block("the-file"))
    grid = copied / "experiments.yml"
    text = grid.read_text().rstrip() + "\n" + _block("the-line")
    grid.write_text(text.replace("    model_options:\n", "    model_options:\n" + _block("the-smoke-options"), 1))
    listed = _run(copied, "-m", "lungseg_utils", "list")
    assert "segresnet" in listed.stdout, listed.stderr
    done = _run(copied, "-m", "lungseg_utils", "run", "segresnet_full", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert "SegResNet, full training" in done.stdout
    results = tables.read_results(next((copied / "results" / "smoke").glob("*segresnet*/results.csv")))
    assert set(results["status"]) <= {"scored", "undefined"}
    assert results[results["test_dataset"] == "phantom_nsclc"]["case_id"].nunique() == 4


def test_the_file_of_the_page_is_in_the_style_of_the_project(tmp_path):
    (tmp_path / "segresnet.py").write_text(_block("the-file"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "segresnet.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
