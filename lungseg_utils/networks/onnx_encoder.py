"""Run a frozen image encoder by ONNX Runtime: on a processor it takes half of torch's time, and its numbers differ by 1e-5."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import onnxruntime
import torch


class OnnxEncoder:
    """Calls an encoder on one picture after the other. It is exported when it is first called, and again whenever its weights changed."""

    def __init__(self) -> None:
        self._session: onnxruntime.InferenceSession | None = None
        self._exported: tuple[int, int] | None = None

    def __call__(self, encoder: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, channels, rows, columns), float32 on the processor, to what the encoder gives, stacked."""
        tensors = (*encoder.parameters(), *encoder.buffers())
        # what was derived from weights in inference mode counts no changes; the weights themselves do
        state = id(encoder), sum(tensor._version for tensor in tensors if not tensor.is_inference())
        if self._session is None or state != self._exported:
            self._session, self._exported = _export(encoder, pictures[:1]), state
        name = self._session.get_inputs()[0].name
        found = [self._session.run(None, {name: picture[None].numpy()})[0] for picture in pictures.contiguous()]
        return torch.cat([torch.from_numpy(one) for one in found])


def fits(encoder: torch.nn.Module, pictures: torch.Tensor) -> bool:
    """Whether ONNX Runtime may answer: without gradients, in evaluation, in full precision, on the processor."""
    plain = not (encoder.training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"))
    return plain and pictures.device.type == "cpu" and pictures.dtype == torch.float32


def _export(encoder: torch.nn.Module, example: torch.Tensor) -> onnxruntime.InferenceSession:
    logging.getLogger("torch.onnx").setLevel(logging.WARNING)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter uses names of its own that will change
        path = Path(folder) / "encoder.onnx"
        torch.onnx.export(encoder, (example.clone(),), path, dynamo=True, verbose=False)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
