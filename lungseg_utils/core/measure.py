"""Measure costs: parameters, seconds, memory."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass
class Cost:
    """Wall seconds, and peak memory in MB (of the GPU if CUDA is in use, else of the process); filled when the block ends."""

    seconds: float = 0.0
    peak_memory_mb: float = 0.0


def _torch_cuda() -> ModuleType | None:
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


@contextmanager
def measure() -> Iterator[Cost]:
    """Measure a block. On a CPU the peak is the process's largest resident size so far, so one process per comparison."""
    cuda = _torch_cuda()
    if cuda:
        cuda.synchronize()
        cuda.reset_peak_memory_stats()
    cost, start = Cost(), time.perf_counter()
    try:
        yield cost
    finally:
        if cuda:
            cuda.synchronize()
        cost.seconds = time.perf_counter() - start
        cost.peak_memory_mb = cuda.max_memory_allocated() / 1e6 if cuda else _peak_resident_mb()


def _peak_resident_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3  # macOS counts bytes, Linux kilobytes


def count_parameters(network: torch.nn.Module) -> dict[str, int]:
    """Number of parameters of a torch module: all, and those that are trained."""
    counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return {"parameters": sum(n for n, _ in counts), "parameters_trained": sum(n for n, trained in counts if trained)}


def device_name(device: str) -> str:
    """Name of the hardware: the graphics card, or the processor's model and the number of cores that this process may use."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    found = re.search(r"^model name\s*:\s*(.+)$", text_of("/proc/cpuinfo"), re.MULTILINE)
    return f"{found[1].strip() if found else platform.processor() or platform.machine()}, {cores()} cores"


def cores() -> int:
    """Number of cores of the processor that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def text_of(path: str) -> str:
    """Content of a file of the operating system; empty on a system without it."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
