"""A trained nnU-Net from nnunetv2's own folder of results, predicted by nnunetv2's own predictor.

nnU-Net reads voxels in the order of the file and asks no header where the patient's left is. Our arrays are RAS+, so the order of the
training files has to be known: plans of a reader that reorients say it, else the option `axes` does. With mirroring in training, as by
default, directions matter little; a wrong order of axes does matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..core import files
from ..core.measure import count_parameters, measure
from ..data import nnunet_results
from ..geometry import zyx
from ..types import InputError, Mask, Options, Prediction
from . import training
from .nnunet import backend_kept
from .trained_elsewhere import StoredAxes, TrainedElsewhere

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

_REORIENTING = {"NibabelIOWithReorient": "RAS", "SimpleITKIOWithReorient": "RAS"}


class OwnNnUNet(TrainedElsewhere):
    """Answers by nnU-Net's sliding window, folds and mirroring, on the image's own grid. `probability` is that of the tumor's label."""

    def __init__(self, options: Options):
        self.device = training.choose_device(options["device"])
        self._options = options
        self._predictor: nnUNetPredictor | None = None

    def load_pretrained(self, path: Path) -> None:
        """Take the nnU-Net of a folder of results; InputError for one that needs more than a CT, or whose tumor label is not clear."""
        options = self._options
        found = nnunet_results.find(path, options["checkpoint"], options["folds"])
        plans, dataset = (files.read_json(found.folder / name) for name in (nnunet_results.PLANS, nnunet_results.DATASET))
        channels = dataset.get("channel_names", {"0": "CT"})
        if len(channels) != 1:
            raise InputError(found.folder, f"it takes {len(channels)} channels ({', '.join(channels.values())})", "A CT is one channel.")
        self._values = _values_of(dataset.get("labels", {}), options["label"], found.folder)
        self._axes = StoredAxes(_REORIENTING.get(plans.get("image_reader_writer", ""), options["axes"]))
        self._predictor = _load(found, options["mirroring"], self.device)
        if "previous_stage" in self._predictor.configuration_manager.configuration:
            raise InputError(found.folder, "it is the second stage of a cascade", "Give another configuration, e.g. 3d_fullres.")
        self._image = self._unprompted = None

    def _segment(self) -> Prediction:
        predictor, axes = self._require_loaded("predict"), self._axes
        properties = {"spacing": axes.spacing(self._image.spacing_mm)[::-1]}
        with measure() as cost, redirect_stdout(StringIO()):
            stored = np.ascontiguousarray(zyx(axes.of_ras(self._image.array)), dtype=np.float32)
            labels, channels = predictor.predict_single_npy_array(stored[None], properties, None, None, True)
            inside = axes.to_ras(zyx(np.isin(labels, self._values)))
            probability = axes.to_ras(zyx(self._probability(channels)))
        return Prediction(Mask(inside, self._image.affine), np.ascontiguousarray(probability), cost.seconds, cost.peak_memory_mb)

    def _probability(self, channels: np.ndarray) -> np.ndarray:
        """Of the tumor, from one channel per label, or per region of several labels."""
        manager = self._predictor.label_manager
        if not manager.has_regions:
            return channels[list(self._values)].sum(axis=0).clip(0, 1).astype(np.float32)
        regions = [tuple(np.atleast_1d(region).tolist()) for region in manager.foreground_regions]
        return channels[regions.index(self._values)].astype(np.float32)

    def parameters(self) -> dict[str, int]:
        """Number of parameters of one fold's network; 0 before there is one."""
        if self._predictor is None:
            return {"parameters": 0, "parameters_trained": 0}
        return count_parameters(self._predictor.network)

    def _require_loaded(self, where: str) -> nnUNetPredictor:
        if self._predictor is None:
            raise InputError(where, "no trained nnU-Net was loaded", "Call load_pretrained first.")
        return self._predictor


def _values_of(labels: Mapping[str, int | Sequence[int]], wanted: str, folder: Path) -> tuple[int, ...]:
    """The values of the tumor's label, or of its region."""
    known = {name: value for name, value in labels.items() if name not in ("background", "ignore")}
    chosen = wanted or (next(iter(known)) if len(known) == 1 else "")
    if chosen not in known:
        problem = f"no label {wanted!r} among its labels" if wanted else "it has several labels"
        raise InputError(folder, f"{problem}: {', '.join(known)}", "Choose the tumor's by the option label.")
    return tuple(np.atleast_1d(known[chosen]).tolist())


def _load(found: nnunet_results.TrainedNnUNet, mirroring: bool, device: torch.device) -> nnUNetPredictor:
    """nnunetv2's predictor, made by its own function; pickles are read without running code from them."""
    with backend_kept():
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    with redirect_stdout(StringIO()), training.only_weights():
        predictor = nnUNetPredictor(use_mirroring=mirroring, device=device, allow_tqdm=False)
        try:
            predictor.initialize_from_trained_model_folder(str(found.folder), found.folds, found.checkpoint)
        except Exception as error:  # of many types, from torch and the package: a pickle with code, another network, an unknown trainer
            problem = f"nnunetv2 cannot load it ({type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''})"
            raise InputError(found.folder, problem, "Check it with nnUNetv2_predict; its trainer must be one of nnunetv2's own.") from error
    predictor.network.to(device)
    return predictor
