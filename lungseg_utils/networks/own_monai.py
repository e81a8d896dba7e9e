"""A MONAI bundle: its own network, preprocessing, inferer and postprocessing, as its configuration of inference defines them.

The parts are asked one after the other, as the bundle's evaluator does, so that one network answers all scans. A configuration may hold
Python expressions and name any callable, which MONAI runs (its advisory GHSA-873f-pvrv-4x83): a bundle is code, and is refused until
somebody says that it is trusted. Its weights are read without running any.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import geometry
from ..core import files
from ..core.measure import count_parameters, measure
from ..data import grids, monai_bundle, nifti
from ..types import InputError, Mask, Options, Prediction
from . import training
from .checkpoints import load_checkpoint
from .trained_elsewhere import TrainedElsewhere

if TYPE_CHECKING:
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor

_IMAGE, _PREDICTION = "image", "pred"  # the keys that MONAI's specification of bundles gives
_BACKGROUND = "background"


@dataclass(frozen=True)
class _Parts:
    """What the configuration of a bundle's inference defines."""

    folder: Path
    network: torch.nn.Module
    preprocessing: Callable[[dict], dict]
    inferer: Callable[..., torch.Tensor]
    postprocessing: Callable[[dict], dict]
    label: int


class OwnMonaiBundle(TrainedElsewhere):
    """Answers by the bundle's inference, on the image's own grid; there is no `probability`, because a bundle gives labels."""

    def __init__(self, options: Options):
        self.device = training.choose_device(options["device"])
        self._options = options
        self._parts: _Parts | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="lungseg_bundle_")  # what the bundle itself saves; gone with the segmenter

    def load_pretrained(self, path: Path) -> None:
        """Take the bundle in a folder; InputError for one that needs more than a CT, lacks a part, or whose label is not clear."""
        found = monai_bundle.find(path, self._options["weights"])
        if not self._options["trusted"]:
            remedy = "Read it, and if you trust it give --option trusted=true, or trusted: true in experiments.yml."
            raise InputError(found.inference, "the configuration of a bundle is code, which MONAI runs", remedy)
        label = _label_of(files.read_json(found.metadata), self._options["label"], found.metadata)
        parser = self._parser(found)
        network = _part(parser, "network_def", found)
        load_checkpoint(network, found.weights)
        others = [_part(parser, name, found) for name in ("preprocessing", "inferer", "postprocessing")]
        self._parts = _Parts(path, network.to(self.device).eval(), *others, label)
        self._image = self._unprompted = None

    def _parser(self, found: monai_bundle.MonaiBundle) -> ConfigParser:
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        with grids.refusing_damage(found.inference, "MONAI cannot read this configuration", "Check it with `python -m monai.bundle run`."):
            parser.read_meta(str(found.metadata))
            parser.read_config(str(found.inference))
            parser["bundle_root"], parser["output_dir"] = str(found.folder), self._scratch.name
            parser["device"] = f"$torch.device('{self.device}')"
            parser.parse(True)
        return parser

    @torch.inference_mode()
    def _segment(self) -> Prediction:
        from monai.data import decollate_batch, list_data_collate

        parts = self._require_loaded("predict")
        path = Path(self._scratch.name) / "image.nii.gz"
        nifti.write_image(self._image, path)
        with measure() as cost:
            batch = list_data_collate([parts.preprocessing({_IMAGE: str(path)})])
            batch[_PREDICTION] = parts.inferer(inputs=batch[_IMAGE].to(self.device), network=parts.network)
            (answer,) = [parts.postprocessing(item) for item in decollate_batch(batch)]
            mask = self._mask(answer[_PREDICTION], parts)
        return Prediction(mask, None, cost.seconds, cost.peak_memory_mb)

    def _mask(self, answer: MetaTensor, parts: _Parts) -> Mask:
        """The tumor in what the postprocessing gives: (1, x, y, z) of labels or of a probability, or one channel per label."""
        channels = np.asarray(answer.cpu())
        if len(channels) > 1:
            inside = channels[parts.label] > 0.5
        else:
            whole = np.array_equal(channels, np.round(channels))
            inside = channels[0] == (parts.label or 1) if whole else channels[0] > 0.5
        array, affine = geometry.to_ras(inside, np.asarray(answer.affine.cpu(), dtype=float))
        mask = Mask(grids.positive_strides(array), affine, parts.folder)
        if not geometry.same_grid(mask, self._image):
            remedy = "Let the bundle's postprocessing undo its preprocessing (Invertd)."
            raise InputError(parts.folder, f"its answer of {mask.shape} voxels is not on the grid of the CT, {self._image.shape}", remedy)
        return Mask(mask.array, self._image.affine)

    def parameters(self) -> dict[str, int]:
        """Number of parameters; 0 before there is a network."""
        if self._parts is None:
            return {"parameters": 0, "parameters_trained": 0}
        return count_parameters(self._parts.network)

    def _require_loaded(self, where: str) -> _Parts:
        if self._parts is None:
            raise InputError(where, "no bundle was loaded", "Call load_pretrained first.")
        return self._parts


def _part(parser: ConfigParser, name: str, found: monai_bundle.MonaiBundle) -> Callable:
    """A part that the configuration defines; MONAI makes it, and may raise anything."""
    if parser.get(name) is None:
        raise InputError(found.inference, f"it defines no {name!r}", "Name it as MONAI's specification of bundles does.")
    with grids.refusing_damage(found.inference, f"MONAI cannot make its {name!r}", "Check it with `python -m monai.bundle run`."):
        return parser.get_parsed_content(name, instantiate=True)


def _label_of(metadata: Mapping, wanted: str, path: Path) -> int:
    """The value or channel of the tumor, by the names of channels in the metadata."""
    formats = metadata.get("network_data_format", {})
    image = formats.get("inputs", {}).get(_IMAGE, {})
    if image.get("num_channels", 1) != 1:
        raise InputError(path, f"its network takes {image['num_channels']} channels", "A CT is one channel.")
    names = formats.get("outputs", {}).get(_PREDICTION, {}).get("channel_def", {})
    known = {str(name): int(number) for number, name in names.items() if str(name).lower() != _BACKGROUND}
    if wanted.isdigit():
        return int(wanted)
    chosen = wanted or (next(iter(known)) if len(known) == 1 else "")
    if chosen not in known:
        problem = f"no output {wanted!r}" if wanted else "it does not say which output is the tumor"
        raise InputError(path, f"{problem}; its outputs: {', '.join(known) or 'none are named'}", "Choose one by the option label.")
    return known[chosen]
