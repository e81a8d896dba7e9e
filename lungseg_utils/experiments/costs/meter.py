"""Measure time, memory and operations of one unit of work."""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...core.measure import text_of
from .subjects import Subject
from .table import UNITS, VOLUME

if TYPE_CHECKING:
    import torch

_Said = TypeVar("_Said")  # what a measured call returns


@dataclass(frozen=True)
class Unit:
    """What one stage took: median seconds, and FLOPs."""

    seconds: float
    flops: float


class Meter:
    """Times stages, counts their operations, and collects the rows.

    Memory is the weights plus the highest further allocation during the timed runs of a stage. On a CPU that is the growth of the
    resident size since the network was built, with what earlier stages left to the allocator.
    """

    def __init__(self, subject: Subject, repeats: int, device: str):
        import torch

        self.subject, self.repeats, self.device = subject, repeats, torch.device(device)
        self.input = ""
        self.rows: list[dict[str, Any]] = []
        self._memory_before = 0.0

    def begin(self, network: torch.nn.Module) -> None:
        """The network is built, libraries are loaded: of the memory in use now only its weights count."""
        weights = [*network.parameters(), *network.buffers()]
        self._memory_before = _resident_mb() - sum(w.nbytes for w in weights) / 1e6

    def add(self, stage: str, kind: str, repeats: int | None = None, **values: float) -> None:
        """One row per quantity."""
        import torch

        shared = {"model": self.subject.name, "configuration": self.subject.configuration, "input": self.input, "stage": stage}
        precision = "bf16" if self.device.type == "cuda" else "fp32"  # as training.autocast has it
        for quantity, value in values.items():
            row = {"quantity": quantity, "value": float(value), "unit": UNITS[quantity], "kind": kind}
            row["repeats"] = 0 if kind == "counted" else repeats or self.repeats
            self.rows.append({**shared, **row, "precision": precision, "torch": torch.__version__})

    def stage(
        self, name: str, action: Callable[[], object], flops: float | None = None, prepare: Callable[[], object] | None = None
    ) -> Unit:
        """Measure a stage, `prepare` before each run untimed; without `flops` they are counted in a first run that is not timed."""
        if flops is None:
            if prepare is not None:
                prepare()
            flops = count_flops(self.in_use(action))
        runs = self.timed(action, prepare)
        self.add(name, "counted", flops=flops)
        self.add_seconds(name, runs)
        self.add(name, "measured", peak_memory=self.peak_mb())
        return Unit(statistics.median(runs), flops)

    def timed(self, action: Callable[[], object], prepare: Callable[[], object] | None = None) -> list[float]:
        """Seconds of each of the repeats."""
        self.reset_peak()
        runs = []
        for _ in range(self.repeats):
            if prepare is not None:
                prepare()
            runs.append(self.seconds(action))
        return runs

    def seconds(self, action: Callable[[], object]) -> float:
        """Wall seconds of one run."""
        self._synchronize()
        start = time.perf_counter()
        self.in_use(action)()
        self._synchronize()
        return time.perf_counter() - start

    def add_seconds(self, name: str, runs: Sequence[float]) -> None:
        """Median, least and most of some runs."""
        self.add(name, "measured", len(runs), seconds=statistics.median(runs), seconds_min=min(runs), seconds_max=max(runs))

    def add_volume(self, prompter: str, unit: Unit, count: float, slices: int, prompts: int = 0) -> None:
        """A reference volume that was not run: `count` units."""
        self.add(VOLUME + prompter, "extrapolated", seconds=count * unit.seconds, flops=count * unit.flops)
        self.add(VOLUME + prompter, "counted", slices=slices, prompts=prompts)

    def in_use(self, action: Callable[[], _Said]) -> Callable[[], _Said]:
        """Without gradients, and on a GPU in bf16."""
        import torch

        from ...networks import training

        def run() -> _Said:
            with torch.inference_mode(), training.autocast(self.device):
                return action()

        return run

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize()

    def reset_peak(self) -> None:
        """Forget the highest memory so far."""
        if self.device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            reset_peak_resident()

    def peak_mb(self) -> float:
        if self.device.type == "cuda":
            import torch

            return torch.cuda.max_memory_allocated() / 1e6
        return max(0.0, peak_resident_mb() - self._memory_before)


def count_flops(action: Callable[[], object]) -> int:
    """FLOPs of the products and convolutions in `action` (a multiply-add is two), by torch's own counter.

    Layers compute as their packages have them meanwhile. The counter has no formula for the attention kernel of CPUs, and would leave it
    out: it is given that of the other kernels.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    from ...networks import products

    def attention(query: object, key: object, value: object, *_: object, **__: object) -> int:
        return sdpa_flop_count(query, key, value)

    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with products.as_packaged(), FlopCounterMode(display=False, custom_mapping={kernel: attention}) as counter:
        action()
    return counter.get_total_flops()


def _status_mb(name: str) -> float | None:
    found = re.search(rf"^{name}:\s*(\d+) kB", text_of("/proc/self/status"), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else None


def _resident_mb() -> float:
    return _status_mb("VmRSS") or 0.0


def peak_resident_mb() -> float:
    """Highest resident size since the last reset; where a reset is impossible, since the process began."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status_mb("VmHWM") or (peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6)


def reset_peak_resident() -> None:
    """Start `peak_resident_mb` anew, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts again at VmRSS
    except OSError:
        return
