"""Run a part of a frozen network by ONNX Runtime: on a processor it takes half of torch's time, and its numbers differ by 1e-5."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import onnxruntime
import torch


class OnnxCopy:
    """Calls a module on one item after the other. It is exported when it is first called, and again whenever its weights changed."""

    def __init__(self) -> None:
        self._session: onnxruntime.InferenceSession | None = None
        self._exported: tuple[int, int] | None = None

    def __call__(self, module: torch.nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (n, ...), float32 on the processor, to what the module gives for each item by itself, stacked."""
        tensors = (*module.parameters(), *module.buffers())
        # what was derived from weights in inference mode counts no changes; the weights themselves do
        state = id(module), sum(tensor._version for tensor in tensors if not tensor.is_inference())
        if self._session is None or state != self._exported:
            self._session, self._exported = _export(module, [tensor[:1] for tensor in inputs]), state
        names = [wanted.name for wanted in self._session.get_inputs()]
        items = zip(*(tensor.contiguous().numpy() for tensor in inputs), strict=True)
        found = [self._session.run(None, {name: one[None] for name, one in zip(names, item, strict=True)})[0] for item in items]
        return torch.cat([torch.from_numpy(one) for one in found])


def fits(module: torch.nn.Module, *inputs: torch.Tensor) -> bool:
    """Whether ONNX Runtime may answer: without gradients, in evaluation, in full precision, on the processor."""
    in_training = any(part.training for part in module.modules())
    plain = not (in_training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
    return plain and all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in inputs)


def _export(module: torch.nn.Module, example: list[torch.Tensor]) -> onnxruntime.InferenceSession:
    logging.getLogger("torch.onnx").setLevel(logging.WARNING)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter uses names of its own that will change
        path = Path(folder) / "module.onnx"
        torch.onnx.export(module, tuple(tensor.clone() for tensor in example), path, dynamo=True, verbose=False)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
