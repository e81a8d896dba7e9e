"""Time a row in a separate process: alternating pairs of runs, and the machine's speed in a large matrix product and a large copy."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lungseg_utils.networks import products
from lungseg_utils.reporting import speed
from lungseg_utils.types import InputError

from . import row as rows

_SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices; large enough that the product is all
_COPIED_BYTES = 512 * 1024 * 1024
_TRIES = 5
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def apart(name: str, setting: rows.Setting, threads: int, pairs: int | None) -> dict[str, Any]:
    """The figures of one row (columns of `speed.COLUMNS` without the machine's), measured in a fresh process; InputError if that failed.

    What its packages print (progress, warnings) is shown if it failed.
    """
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        request = {"name": name, "device": setting.device, "full": setting.full, "threads": threads, "pairs": pairs, "out": str(out)}
        command = [sys.executable, "-m", __name__]
        done = subprocess.run(command, input=json.dumps(request), text=True, env=os.environ | limits, check=False, capture_output=True)
        if done.returncode != 0:
            print(done.stdout + done.stderr, file=sys.stderr, flush=True)
            raise InputError(f"row {name}", f"failed with exit status {done.returncode}", f"Run: python -m benchmarks --only {name}")
        return json.loads(out.read_text())


def here(name: str, setting: rows.Setting, pairs: int | None = None) -> dict[str, Any]:
    """The same in this process. InputError if the two paths do not agree: then there is nothing to be compared."""
    card = rows.load(name)
    work = card.prepare(setting)
    device = torch.device(setting.device)
    if card.warm:
        work.fast(), work.plain()
    timed = [_pair(work, n, device) for n in range(pairs or card.pairs)]
    agreement = _worst([agreement for *_, agreement in timed])
    if not speed.agrees(agreement.kind, agreement.value, agreement.limit):
        found = f"the two answers do not agree: {agreement.kind} {agreement.value:.4g}, limit {agreement.limit:g}"
        raise InputError(f"row {name}", found, "A fast path has to answer as the plain one does.")
    fast, plain = [f for f, _, _ in timed], [p / work.plain_share for _, p, _ in timed]
    values = [compare(card.compared, f, p) for f, p in zip(fast, plain, strict=True)]
    return {
        "row": name,
        "work": card.work,
        "against": card.against,
        "compared": card.compared,
        "goal": card.goal,
        "pairs": len(timed),
        "value_min": min(values),
        "value_median": statistics.median(values),
        "value_max": max(values),
        "fast_seconds": statistics.median(fast),
        "plain_seconds": statistics.median(plain),
        "plain_share": work.plain_share,
        "agreement": agreement.kind,
        "agreement_value": agreement.value,
        "agreement_limit": agreement.limit,
        "operations": work.operations,
        "bytes": work.bytes,
        "operations_per_second": product_per_second(device, work.precision),
        "bytes_per_second": copy_per_second(device),
        "precision": work.precision,
    }


def compare(compared: str, fast: float, plain: float) -> float:
    """One pair of seconds as a gain (plain over fast) or as extra seconds (fast minus plain)."""
    return plain / fast if compared == speed.GAIN else fast - plain


def _pair(work: rows.Work, number: int, device: torch.device) -> tuple[float, float, rows.Agreement]:
    """Seconds of the fast and of the plain path, and how far they agree; which of them comes first changes from pair to pair.

    Their answers are let go before the next pair: of all pairs at once they would keep memory that is taken again otherwise.
    """
    if number % 2:
        plain, expected = seconds(work.plain, device)
        fast, found = seconds(work.fast, device)
    else:
        fast, found = seconds(work.fast, device)
        plain, expected = seconds(work.plain, device)
    return fast, plain, work.check(found, expected)


def _worst(agreements: Sequence[rows.Agreement]) -> rows.Agreement:
    """The first that breaks its limit, else the one that is nearest to it."""
    broken = [a for a in agreements if not speed.agrees(a.kind, a.value, a.limit)]
    return broken[0] if broken else min(agreements, key=lambda a: abs(a.value - a.limit))


def seconds(action: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Wall seconds of a run, and what it returned."""
    _wait(device)
    start = time.perf_counter()
    answer = action()
    _wait(device)
    return time.perf_counter() - start, answer


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def product_per_second(device: torch.device, precision: str) -> float:
    """Operations a second in the best of a few products of large matrices, by the library that multiplies faster here."""
    side = _SIDE[device.type]
    left, right = (torch.randn(1, side, side, device=device, dtype=_DTYPES[precision]) for _ in range(2))
    with torch.inference_mode():
        return 2 * side**3 / _least_seconds(lambda: products.by_transposed(left, right), device)


def copy_per_second(device: torch.device) -> float:
    """Bytes a second, read and written, in the best of a few large copies."""
    source = torch.zeros(_COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return 2 * _COPIED_BYTES / _least_seconds(lambda: target.copy_(source), device)


def _least_seconds(action: Callable[[], Any], device: torch.device) -> float:
    action()
    return min(seconds(action, device)[0] for _ in range(_TRIES))


def _worker(request: Mapping[str, Any]) -> None:
    torch.set_num_threads(request["threads"])
    figures = here(request["name"], rows.Setting(request["device"], request["full"]), request["pairs"])
    Path(request["out"]).write_text(json.dumps(figures))


if __name__ == "__main__":
    _worker(json.loads(sys.stdin.read()))
