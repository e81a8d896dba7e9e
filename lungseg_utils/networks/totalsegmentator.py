"""TotalSegmentator's task `lung_nodules` behind the interface of every other segmenter, by the package's own function."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from ..core import files
from ..core.measure import measure
from ..types import InputError, Mask, Options, Prediction
from . import training
from .nnunet import backend_kept
from .trained_elsewhere import TrainedElsewhere

TASK = "lung_nodules"
_NODULE = 2  # its label in the answer; 1 is the lung
_HOME, _WEIGHTS = "TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"
_INSTALL = "Install it: .venv/bin/python -m pip install --no-deps TotalSegmentator==2.18.0"


class TotalSegmentatorSegmenter(TrainedElsewhere):
    """Answers on the image's own grid, without a probability. It finds the lungs by a coarse network, and nodules inside them."""

    def __init__(self, options: Options):
        self.device = training.choose_device(options["device"])
        self._home: Path | None = None
        self._parameters = 0

    def load_pretrained(self, path: Path) -> None:
        """Take a folder that the package's own command filled with weights; InputError if the package or the weights are not here."""
        _function()
        found = sorted(Path(path).glob("nnunet/results/Dataset*/*/fold_*/checkpoint_final.pth"))
        if not found:
            raise InputError(path, "no weights of TotalSegmentator in it", "Fill it by totalseg_download_weights.")
        for checkpoint in found:  # also before the package reads them in a way that could run code
            weights = training.load_weights_file(checkpoint, "Fetch it again.")["network_weights"]
            if TASK in str(checkpoint):
                self._parameters = sum(tensor.numel() for tensor in weights.values())
        self._home, self._image, self._unprompted = Path(path), None, None

    def _segment(self) -> Prediction:
        if self._home is None:
            raise InputError("predict", "TotalSegmentator has no weights yet", "Call load_pretrained first.")
        stored = nib.Nifti1Image(np.ascontiguousarray(self._image.array), self._image.affine)
        device = "gpu" if self.device.type == "cuda" else self.device.type
        with measure() as cost, redirect_stdout(StringIO()), _at_home(self._home), training.only_weights():
            answer = _function()(stored, None, task=TASK, ml=True, device=device, quiet=True, skip_saving=True)
        labels = np.asanyarray(answer.dataobj)
        if labels.shape != self._image.shape:
            raise InputError("TotalSegmentator", f"its answer has the shape {labels.shape}", f"Expected {self._image.shape}.")
        return Prediction(Mask(labels == _NODULE, self._image.affine), None, cost.seconds, cost.peak_memory_mb)

    def parameters(self) -> dict[str, int]:
        """Number of parameters of the network that finds nodules; 0 before there are weights."""
        return {"parameters": self._parameters, "parameters_trained": 0}


def _function() -> Callable[..., nib.Nifti1Image]:
    try:
        with backend_kept():
            from totalsegmentator.python_api import totalsegmentator
    except ImportError as error:
        raise InputError("TotalSegmentator", f"the package is not installed ({error})", _INSTALL) from error
    return totalsegmentator


@contextmanager
def _at_home(folder: Path) -> Iterator[None]:
    """For this block the package finds weights and settings in `folder`, and reports nothing to its makers."""
    config = folder / "config.json"
    files.write_text(
        json.dumps({"totalseg_id": "", "prediction_counter": 0} | files.read_json(config) | {"send_usage_stats": False}), config
    )
    threads, before = torch.get_num_threads(), {name: os.environ.get(name) for name in (_HOME, _WEIGHTS)}
    os.environ[_HOME] = str(folder)
    os.environ.pop(_WEIGHTS, None)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
