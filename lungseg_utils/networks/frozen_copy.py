"""Run a part of a frozen network by OpenVINO: on a processor it takes a quarter of the time of torch, and its numbers differ by 1e-5."""

from __future__ import annotations

import logging
import tempfile
import warnings
from functools import cache
from pathlib import Path

import openvino
import torch


class FrozenCopy:
    """Calls a module on one item after the other. It is copied when it is first called, and again whenever its weights changed."""

    def __init__(self) -> None:
        self._compiled: openvino.CompiledModel | None = None
        self._copied: tuple[int, int, bool] | None = None

    def __call__(self, module: torch.nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (n, ...), float32 on the processor, to what the module gives for each item by itself, float32, stacked.

        Products are in bfloat16 where torch's autocast asks for it, else in full precision.
        """
        tensors = (*module.parameters(), *module.buffers())
        # what was derived from weights in inference mode counts no changes; the weights themselves do
        version = sum(tensor._version for tensor in tensors if not tensor.is_inference())
        state = id(module), version, torch.is_autocast_enabled("cpu")
        if self._compiled is None or state != self._copied:
            self._compiled, self._copied = _compile(module, [tensor[:1] for tensor in inputs]), state
        items = zip(*(tensor.contiguous().numpy() for tensor in inputs), strict=True)
        return torch.cat([torch.from_numpy(self._compiled([part[None] for part in item])[0].copy()) for item in items])


def fits(module: torch.nn.Module, *inputs: torch.Tensor) -> bool:
    """Whether a copy may answer: without gradients, in evaluation, on the processor."""
    in_training = any(part.training for part in module.modules())
    plain = not (in_training or torch.is_grad_enabled())
    return plain and all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in inputs)


def _compile(module: torch.nn.Module, example: list[torch.Tensor]) -> openvino.CompiledModel:
    logging.getLogger("torch.onnx").setLevel(logging.WARNING)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # experiments that run side by side would all sit on the first core
        "INFERENCE_PRECISION_HINT": "bf16" if torch.is_autocast_enabled("cpu") else "f32",
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast("cpu", enabled=False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter uses names of its own that will change
        path = Path(folder) / "module.onnx"
        torch.onnx.export(module, tuple(tensor.clone() for tensor in example), path, dynamo=True, verbose=False)
        return _openvino().compile_model(path, "CPU", settings)


@cache
def _openvino() -> openvino.Core:
    """One for the life of the process: it gives signals a stack of its own, and where the older of two ends first, that stack is gone.

    The next signal that Python hears then ends the process by a segmentation fault.
    """
    return openvino.Core()
