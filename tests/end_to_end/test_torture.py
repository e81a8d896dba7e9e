"""Nothing is lost: a workflow that is killed at random moments, and run again, ends with the tables of one that nobody disturbed.

A few kills here; `make torture` kills LUNGSEG_KILLS times. Moments and victims are drawn from seeds. A power cut ends all processes at
once; a machine that runs out of memory ends one of them, and what it had started goes on as an orphan while the workflow is run again.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import nibabel
import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from lungseg_utils.book import build
from lungseg_utils.book.build import pages_of_toc, vendor
from lungseg_utils.core import files
from lungseg_utils.experiments import planning
from tests.support.sample_book import write_notebooks
from tests.support.worked_examples import ROOT, tracked_project

KILLS = int(os.environ.get("LUNGSEG_KILLS", "3"))
KILLS_OF_A_RUN = 3
MOST_SECONDS = 40  # of a workflow before it is killed: an undisturbed one takes about 70
NOTEBOOKS = ("unet_full", "unet_few_shot", "baselines_zero_shot")  # they train, find lesions for each other, and answer prompts
EXPERIMENTS = [e.name for name in NOTEBOOKS for e in planning.planned_runs(name, "smoke")]
TARGETS = [f"build/smoke/notebooks/{name}.ipynb" for name in NOTEBOOKS]
COMMAND = [sys.executable, "-m", "lungseg_utils", "workflow", "--profile", "smoke", "--cores", "2"]
NO_RESULT = re.compile(r"(^|/)\.[^/]*$|/last\.pt$|/(cases|detections)/")  # hidden files, and what a run resumes from


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
    return {name: (root / "results" / "smoke" / name / "results.csv").read_bytes() for name in EXPERIMENTS}


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
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    """Tables of a run that nobody disturbed: those of profile `smoke`, where that has just been made."""
    if os.environ.get("LUNGSEG_BOOK_HTML"):
        return results_of(ROOT)
    root = tracked_project(tmp_path_factory.mktemp("undisturbed"))
    finish(root)
    return results_of(root)


@pytest.mark.parametrize("seed", range(-(-KILLS // KILLS_OF_A_RUN)))
def test_a_workflow_that_was_killed_ends_as_one_that_was_not(undisturbed, tmp_path, seed):
    root, rng, told = tracked_project(tmp_path), np.random.default_rng(seed), []
    for _ in range(min(KILLS_OF_A_RUN, KILLS - seed * KILLS_OF_A_RUN)):
        running, wait = start(root), rng.uniform(0, MOST_SECONDS)
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
    assert results_of(root) == undisturbed, told
    leftovers = [str(path) for place in ("results/smoke", "build") for path in (root / place).rglob(".*.tmp.*")]
    assert not leftovers, told
    print(*told, sep="\n")


@pytest.mark.parametrize("seed", range(-(-KILLS // 10)))
def test_a_book_whose_build_was_killed_is_the_earlier_one_or_none_and_is_built_again(tmp_path, seed):
    root, out, rng = tracked_project(tmp_path / "root"), tmp_path / "out" / "html", np.random.default_rng(seed)
    write_notebooks(root / "book" / "results")
    vendor(root)
    out.mkdir(parents=True)
    (out / "index.html").write_text("earlier")
    script = "import sys; from pathlib import Path; from lungseg_utils.book import build; build.build(Path(sys.argv[1]), Path(sys.argv[2]))"
    running = subprocess.Popen([sys.executable, "-c", script, root, out], start_new_session=True, stdout=subprocess.DEVNULL)
    wait = rng.uniform(0.5, 12)
    try:
        running.wait(wait)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    pages = [f"{page}.html" for page in pages_of_toc(root / "_toc.yml")]
    if out.exists() and (out / "index.html").read_text() != "earlier":
        assert all((out / page).is_file() for page in pages), wait
    files.remove_leftovers(out.parent)
    assert [path.name for path in out.parent.iterdir()] in (["html"], []), wait
    build.build(root, out)
    assert all((out / page).is_file() for page in pages), wait
