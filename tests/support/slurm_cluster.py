"""A real SLURM on this machine alone, for tests: munge, a controller and one node, without systemd and without accounting. Needs root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SETTINGS = Path("/etc/slurm/slurm.conf")  # jobs look for it here, whatever SLURM_CONF says
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
ReturnToService=2
MinJobAge=7200
SchedulerParameters=sched_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """What a cluster cannot be started without here, or ""."""
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")]
    return f"{', '.join(lacking)} missing: apt-get install slurm-wlm munge" if lacking else "" if os.geteuid() == 0 else "not root"


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Within it jobs can be submitted; its state and logs lie in `folder`."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    SETTINGS.parent.mkdir(exist_ok=True)
    if SETTINGS.exists():
        raise RuntimeError(f"{SETTINGS} is there already: this machine has a SLURM of its own")
    configuration = folder / "slurm.conf"
    configuration.write_text(_CONFIGURATION.format(host=socket.gethostname().split(".")[0], folder=folder))
    SETTINGS.symlink_to(configuration)
    Path("/run/munge").mkdir(exist_ok=True)
    daemons = []
    try:
        for command in (["munged", "--foreground", "--force"], ["slurmctld", "-D"], ["slurmd", "-D"]):
            log = (folder / f"{command[0]}.out").open("w")
            daemons.append(subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin"}))
            time.sleep(1)
        _wait_for_node(folder)
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
        SETTINGS.unlink()


def _wait_for_node(folder: Path) -> None:
    for _ in range(60):
        state = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, check=False).stdout.strip()
        if state == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(
        f"== {path.name}\n{path.read_text()[-1500:]}" for path in sorted(folder.glob("*.*")) if path.suffix in (".log", ".out")
    )
    raise RuntimeError(f"the node does not come up ({state!r})\n{logs}")
