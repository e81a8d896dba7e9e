"""The workflow on a real SLURM: jobs of their own, one of them killed and one preempted, and the tables are those of a run without it.

Outside `make test`: `make cluster-test` starts it, and the profile `smoke` has to have been run (`make test` runs it).
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from lungseg_utils.core import project
from lungseg_utils.experiments import planning
from tests.support import slurm_cluster
from tests.support.worked_examples import ROOT, tracked_project

pytestmark = pytest.mark.skipif(not os.environ.get("LUNGSEG_CLUSTER"), reason="make cluster-test runs it")
NOTEBOOKS = ("unet_full", "unet_few_shot")
EXPERIMENTS = [e.name for name in NOTEBOOKS for e in planning.planned_runs(name, "smoke")]


def settings(folder: Path) -> Path:
    """Those of cluster/slurm, on a cluster of one small machine without a GPU, accounts and accounting."""
    own = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    own |= {"jobs": 2, "latency-wait": 5, "slurm-no-account": True, "slurm-status-command": "squeue"}
    own |= {"default-resources": {"mem_mb": 3000, "runtime": 30}, "set-threads": dict.fromkeys(own["set-threads"], 1)}
    own |= {"cores": 2, "resources": {"mem_mb": 6000}}
    own.pop("set-resources")
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(own))
    return folder


def training(root: Path, experiment: str) -> psutil.Process | None:
    """The process that runs the experiment, once it has begun to train; other jobs may run beside it."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[1:5] == ["-m", "lungseg_utils", "run", experiment] and (root / "results" / "smoke" / experiment / "last.pt").is_file():
            return process
    return None


def kill_training(root: Path, experiment: str, workflow: subprocess.Popen) -> None:
    while workflow.poll() is None:
        if found := training(root, experiment):
            found.send_signal(signal.SIGKILL)
            return
        time.sleep(0.1)
    raise AssertionError(f"no job trained {experiment}\n" + (root / "workflow.log").read_text()[-5000:])


def preempt(experiment: str) -> None:
    """SLURM takes a running job its node away and queues it again, as it does for a job of higher priority."""
    jobs = subprocess.run(["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"], capture_output=True, text=True, check=True).stdout
    [number] = [line.split()[0] for line in jobs.splitlines() if line.endswith(f"rule_run_wildcards_{experiment}")]
    subprocess.run(["scontrol", "requeue", number], check=True)


def test_tables_of_a_cluster_are_those_of_one_machine_though_a_job_was_killed_and_one_preempted(tmp_path):
    assert not slurm_cluster.missing(), slurm_cluster.missing()
    wanted = {name: (project.project_root() / "results" / "smoke" / name / "results.csv").read_bytes() for name in EXPERIMENTS}
    root = tracked_project(tmp_path / "project")
    command = [sys.executable, "-m", "lungseg_utils", "workflow", "--profile", "smoke", "--cluster", str(settings(tmp_path / "settings"))]
    environment = os.environ | {"LUNGSEG_ROOT": str(root), "PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"}
    begin = time.monotonic()
    with slurm_cluster.cluster(tmp_path / "slurm"), (root / "workflow.log").open("w") as log:
        targets = [f"build/smoke/notebooks/{name}.ipynb" for name in NOTEBOOKS]
        running = subprocess.Popen([*command, *targets], cwd=root, env=environment, stdout=log, stderr=log)
        kill_training(root, EXPERIMENTS[0], running)
        preempt(EXPERIMENTS[1])
        assert running.wait(1500) == 0, (root / "workflow.log").read_text()[-5000:]
        jobs = subprocess.run(["squeue", "--noheader", "--states=all"], capture_output=True, text=True, check=True).stdout.count("\n")
    found = {name: (root / "results" / "smoke" / name / "results.csv").read_bytes() for name in EXPERIMENTS}
    assert found == wanted
    assert all((root / target).is_file() for target in targets)
    assert jobs == 2 + len(EXPERIMENTS) + 1 + 1  # phantoms of two cohorts, the runs, one of them once more, and all pages together
    print(f"{len(found)} experiments, {jobs} jobs, {time.monotonic() - begin:.0f} s, one training killed, one preempted")
