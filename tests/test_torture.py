"""Nothing is lost: a workflow that is killed at random moments, and run again, ends with the tables of one that nobody disturbed.

A few kills here; `make torture` kills LUNGSEG_KILLS times. Moments and victims are drawn from seeds. A power cut ends all processes at
once; a machine that runs out of memory ends one of them, and what it had started goes on as an orphan while the workflow is run again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import nibabel
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from worked_examples import ROOT

KILLS = int(os.environ.get("LUNGSEG_KILLS", "3"))
KILLS_OF_A_RUN = 3
NOTEBOOKS = ("unet_full", "unet_few_shot", "baselines_zero_shot")  # they train, find lesions for each other, and answer prompts
TARGETS = [f"build/smoke/notebooks/{name}.ipynb" for name in NOTEBOOKS]
COMMAND = [sys.executable, "-m", "lungseg_utils", "workflow", "--profile", "smoke", "--cores", "2"]
NO_RESULT = re.compile(r"(^|/)\.[^/]*$|/last\.pt$|/(cases|detections)/")  # hidden files, and what a run resumes from


def project(folder: Path) -> Path:
    """The tracked files of this project as a project of its own; phantoms and data are shared, since they are only read."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (ROOT / "data" / "cache").mkdir(exist_ok=True)
    (folder / "data" / "cache").symlink_to(ROOT / "data" / "cache")
    return folder


def start(root: Path) -> subprocess.Popen:
    environment = os.environ | {"LUNGSEG_ROOT": str(root), "PYTHONPATH": str(root)}
    log = (root / "workflow.log").open("a")
    return subprocess.Popen([*COMMAND, *TARGETS], cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)


def finish(root: Path) -> None:
    assert start(root).wait() == 0, (root / "workflow.log").read_text()[-5000:]


def processes_of(root: Path) -> list[psutil.Process]:
    """Everything that works in the project, orphans included."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LUNGSEG_ROOT") == str(root):
                found.append(process)
        except psutil.Error:  # it has just ended
            continue
    return found


def kill(root: Path, rng: np.random.Generator) -> str:
    """End all processes of the project, or one of them; says which."""
    found = processes_of(root)
    victims = found if rng.random() < 0.5 or not found else [found[rng.integers(len(found))]]
    told = "all" if len(victims) == len(found) else " ".join(victims[0].cmdline()[1:5])
    for process in victims:
        if process.is_running():
            process.kill()
    return told


def results_of(root: Path) -> dict[str, bytes]:
    """What has to be equal: tables of results by experiment. Costs and times differ from run to run."""
    return {path.parent.name: path.read_bytes() for path in sorted((root / "results" / "smoke").glob("*/results.csv"))}


def assert_no_torn_file(root: Path) -> None:
    """Whatever stands under its final name can be read to its end."""
    for path in sorted(path for place in ("results", "build") for path in (root / place).rglob("*") if path.is_file()):
        name = str(path.relative_to(root))
        if NO_RESULT.search(name):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            assert len(pd.read_csv(path)), name
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif name.endswith(".nii.gz"):
            nibabel.load(path).get_fdata()
        elif path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            assert all(cell.execution_count for cell in cells if cell.cell_type == "code" and cell.source.strip()), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Tables of a run that nobody disturbed, and how many seconds it took."""
    root = project(tmp_path_factory.mktemp("undisturbed"))
    begin = time.monotonic()
    finish(root)
    return results_of(root), time.monotonic() - begin


@pytest.mark.parametrize("seed", range(-(-KILLS // KILLS_OF_A_RUN)))
def test_a_workflow_that_was_killed_ends_as_one_that_was_not(undisturbed, tmp_path, seed):
    wanted, seconds = undisturbed
    root, rng, told = project(tmp_path), np.random.default_rng(seed), []
    for _ in range(min(KILLS_OF_A_RUN, KILLS - seed * KILLS_OF_A_RUN)):
        running, wait = start(root), rng.uniform(0, seconds * 0.8)
        try:
            running.wait(wait)
        except subprocess.TimeoutExpired:
            told.append(f"after {wait:.0f} s: {kill(root, rng)}")
            running.wait()
        else:
            told.append(f"ended before {wait:.0f} s")
        assert_no_torn_file(root)
    finish(root)
    assert_no_torn_file(root)
    assert results_of(root) == wanted, told
    leftovers = [str(path) for place in ("results/smoke", "build") for path in (root / place).rglob(".*.tmp.*")]
    assert not leftovers, told
    print(*told, sep="\n")
