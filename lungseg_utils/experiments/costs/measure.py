"""Measure the costs of architectures, each in a separate process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from ... import registry
from ...core import files, project, provenance
from ...core.measure import cores, device_name
from ...types import InputError, Record, Row
from .architectures import measure_automatic, measure_nnunet, measure_promptable
from .meter import Meter
from .subjects import Subject
from .table import COLUMNS, merge, read, rows_frame, validate


def measure(
    subjects: Iterable[Subject], out: Path, repeats: int = 3, threads: int = 0, device: str = "auto", again: bool = False
) -> list[str]:
    """Measure each subject in its own process and write `out` after each one; returns the names of those that failed.

    `threads` 0: all cores. What `out` holds already from the same commit, device and threads is kept, unless `again`.
    """
    from ...networks import training

    chosen, threads = training.choose_device(device).type, threads or cores()
    if repeats < 1 or threads < 0:
        raise InputError("efficiency", f"{repeats} repeats, {threads} threads", "Give at least one repeat, and threads from 0 on.")
    commit, failed = provenance.commit(project.project_root(), besides=out), []
    frame = read(out) if out.is_file() else pd.DataFrame(columns=list(COLUMNS)).astype(dict(COLUMNS))
    setting = {"device": device_name(chosen), "threads": threads, "commit": commit}
    for subject in subjects:
        if not again and _is_there(frame, subject.name, setting):
            print(f"{subject.name}: is there already", flush=True)
            continue
        start = time.perf_counter()
        rows = measure_apart(subject, repeats, threads, chosen)
        if rows is None:
            failed.append(subject.name)
            continue
        frame = validate(merge(frame, rows_frame([{**row, **setting} for row in rows])), out)
        files.write(frame, out)
        print(f"{subject.name}: measured, {time.perf_counter() - start:.0f} s", flush=True)
    return failed


def _is_there(frame: pd.DataFrame, name: str, setting: Row) -> bool:
    same = frame["model"] == name
    for column, value in setting.items():
        same &= frame[column] == value
    return bool(same.any())


def measure_apart(subject: Subject, repeats: int, threads: int, device: str) -> list[Record] | None:
    """Rows of one subject (without device, threads and commit), measured in a fresh process; None if that failed, which is printed."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        request = {"subject": asdict(subject), "repeats": repeats, "threads": threads, "device": device, "out": str(out)}
        command = [sys.executable, "-m", __name__]
        done = subprocess.run(command, input=json.dumps(request), text=True, env=os.environ | limits, check=False)
        if done.returncode != 0:
            print(f"{subject.name}: failed, exit status {done.returncode}", file=sys.stderr, flush=True)
            return None
        return json.loads(out.read_text())


def _worker(request: Row) -> None:
    import torch

    torch.set_num_threads(request["threads"])
    subject = Subject(**request["subject"])
    rows = measure_here(subject, request["repeats"], request["device"])
    Path(request["out"]).write_text(json.dumps(rows))


def measure_here(subject: Subject, repeats: int, device: str = "cpu") -> list[Record]:
    """Rows of one subject, measured in this process."""
    meter = Meter(subject, repeats, device)
    if subject.model == "nnunet":
        measure_nnunet(subject, meter)
    elif registry.card("models", subject.model).is_automatic:
        measure_automatic(subject, meter)
    else:
        measure_promptable(subject, meter)
    return meter.rows


if __name__ == "__main__":
    _worker(json.loads(sys.stdin.read()))
