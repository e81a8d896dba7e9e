"""Build each architecture at full size and measure its stages."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ... import geometry, registry
from ...core.measure import count_parameters
from ...types import Box, Image, InputError, Prompt, Record, Segmenter, SlicePrompt
from .meter import Meter, Unit, count_flops
from .subjects import ABSENT_SLICES, ENDS_LOOKED_AT, LESION_MM, SHAPE, SPACING_MM, TUMOR_SLICES, Subject, build
from .table import MIRRORED, VOLUME

if TYPE_CHECKING:
    import torch
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    from ...networks.automatic import AutomaticSegmenter
    from ...networks.embedding_cache import Embedding
    from ...networks.promptable import PromptableSegmenter
    from ...networks.sam2 import Sam2Segmenter
    from ...networks.view import View


# What nnU-Net's planner is told of MSD Task06 Lung: median shape (z, y, x) and spacing as its author's package printed them
# (github.com/MIC-DKFZ/nnUNet, issue 113), and the number of training cases (doi:10.1038/s41467-022-30695-9).
LUNG_SHAPE_ZYX = (252, 512, 512)
LUNG_SPACING_ZYX_MM = (1.24497998, 0.78515625, 0.78515625)
LUNG_CASES = 63
_TILE_STEP = 0.5  # nnU-Net's own: tiles overlap by half


def reference_image() -> Image:
    """The reference volume: noise around lung density. No network here does less work for an easy image."""
    hu = np.random.default_rng(0).normal(-700, 200, SHAPE).astype(np.float32)
    return Image(hu, np.diag([*SPACING_MM, 1.0]))


def measure_automatic(subject: Subject, meter: Meter) -> None:
    import torch

    image = reference_image()
    segmenter = build(subject, meter.device.type)
    shape, meter.input = automatic_input(segmenter, image)
    meter.add("network", "counted", **count_parameters(segmenter.network))
    meter.begin(segmenter.network)
    inputs = (2 * torch.rand(shape) - 1).to(meter.device).contiguous(memory_format=torch.channels_last_3d)
    segmenter.network.eval()
    one = meter.stage("input", lambda: segmenter.network(inputs))
    if subject.whole_volume:
        fresh = _Fresh(segmenter, image)
        meter.stage(f"{VOLUME}none", fresh.predict, prepare=fresh.prepare)
        meter.add(f"{VOLUME}none", "counted", slices=SHAPE[2], prompts=0)
    else:
        meter.add_volume("none", one, SHAPE[2] / shape[2], SHAPE[2])


class _Fresh:
    """Predicts on an image that the segmenter has not seen yet: it keeps what it computed of the last one."""

    def __init__(self, segmenter: Segmenter, image: Image, prompts: Sequence[Prompt] = ()):
        self._segmenter, self._image, self._prompts = segmenter, image, prompts

    def prepare(self) -> None:
        """Another image, with the same voxels."""
        self._image = Image(self._image.array, self._image.affine)

    def predict(self) -> None:
        """Take the image, and segment it."""
        self._segmenter.set_image(self._image)
        self._segmenter.predict(self._prompts)


def automatic_input(segmenter: AutomaticSegmenter, image: Image) -> tuple[tuple[int, ...], str]:
    """Input of a network on a working grid in one pass: (1, windows, slices, rows, columns), and in words.

    A network of slices takes one; its neighbors are further channels.
    """
    from ...networks.slicewise import SliceWise

    settings, windows = segmenter.settings, len(segmenter.settings.windows_hu)
    columns, rows, count = geometry.shape_at_spacing(image, settings.spacing_mm)
    if isinstance(segmenter.network, SliceWise):
        return (1, windows, 1, rows, columns), f"{by_text((rows, columns))}, {windows * (2 * segmenter.network.neighbors + 1)} channels"
    seen = min(count, settings.slab + 2 * settings.slab_overlap)
    sizes = tuple(n + -n % settings.size_multiple for n in (seen, rows, columns))
    return (1, windows, *sizes), f"{by_text(sizes)}, {windows} channels"


def by_text(shape: Iterable[int]) -> str:
    return " x ".join(str(int(n)) for n in shape)


@dataclass(frozen=True)
class PlannedNetwork:
    """A network as nnunetv2 plans it, and the patch (voxels, in the order of its axes) and spacing that belong to it."""

    network: torch.nn.Module
    patch: tuple[int, ...]
    spacing_mm: tuple[float, ...]


def plan_nnunet(configuration: str, planner: str = "ExperimentPlanner") -> PlannedNetwork:
    """Let nnunetv2's planner plan for a data set with the median shape and spacing of MSD Task06 Lung, and build its network."""
    from ...networks import nnunet_steps as steps

    plans, description = json.loads(_plans(planner))
    planned = plans["configurations"][configuration]
    plans["configurations"][steps.CHANGED] = {"inherits_from": configuration}
    network = steps.build_network(plans, description)
    return PlannedNetwork(network.eval(), tuple(planned["patch_size"]), tuple(planned["spacing"]))


@cache
def _plans(planner: str) -> str:
    """The plans and the description of the data set, as JSON."""
    from ...networks import nnunet_steps as steps

    with tempfile.TemporaryDirectory() as folder, steps.environment(Path(folder), 1), contextlib.redirect_stdout(StringIO()):
        description = _write_fingerprint(Path(folder), steps.DATASET)
        plans = _planner(planner)(steps.DATASET).plan_experiment()
        return json.dumps([plans, description], default=_plain)


def _planner(name: str) -> type[ExperimentPlanner]:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners

    found = ExperimentPlanner if name == "ExperimentPlanner" else getattr(residual_encoder_unet_planners, name, None)
    if found is None:
        raise InputError(f"planner {name}", "not among nnunetv2's", "Give e.g. nnUNetPlannerResEncL.")
    return found


def _plain(value: np.generic | Iterable[object]) -> object:
    return value.item() if isinstance(value, np.generic) else list(value)


def _write_fingerprint(folder: Path, dataset: str) -> Record:
    """Write what a planner reads, with one image of the median shape for all; returns the description of the data set."""
    raw, preprocessed = (folder / name / dataset for name in ("nnUNet_raw", "nnUNet_preprocessed"))
    description = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumor": 1}, "numTraining": LUNG_CASES}
    description |= {"file_ending": ".nii.gz", "overwrite_image_reader_writer": "NibabelIO"}
    intensities = dict.fromkeys(("mean", "median", "std", "min", "max", "percentile_99_5", "percentile_00_5"), 1.0)
    fingerprint = {"shapes_after_crop": [LUNG_SHAPE_ZYX], "spacings": [LUNG_SPACING_ZYX_MM], "median_relative_size_after_cropping": 1.0}
    fingerprint["foreground_intensity_properties_per_channel"] = {"0": intensities}
    for part in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        part.mkdir(parents=True)
    (raw / "imagesTr" / "case_0000.nii.gz").touch()  # it asks for a name, and does not open the file
    (raw / "labelsTr" / "case.nii.gz").touch()
    (raw / "dataset.json").write_text(json.dumps(description))
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return description


def tiles(planned: PlannedNetwork) -> int:
    """Patches of nnU-Net's sliding window over the reference volume, resampled to the spacing of the plans; in 2-D of all its slices."""
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    dimensions = len(planned.patch)
    shape, spacing = SHAPE[::-1][-dimensions:], SPACING_MM[::-1][-dimensions:]
    resampled = [max(p, round(n * a / b)) for n, a, b, p in zip(shape, spacing, planned.spacing_mm, planned.patch, strict=True)]
    steps = compute_steps_for_sliding_window(tuple(resampled), planned.patch, _TILE_STEP)
    return math.prod(len(s) for s in steps) * (SHAPE[2] if dimensions == 2 else 1)


def measure_nnunet(subject: Subject, meter: Meter) -> None:
    import torch

    options = dict(subject.options)
    planned = plan_nnunet(options["configuration"], options.get("planner", "ExperimentPlanner"))
    network, meter.input = planned.network.to(meter.device), by_text(planned.patch)
    meter.add("network", "counted", **count_parameters(network))
    meter.begin(network)
    patch = torch.randn((1, 1, *planned.patch), device=meter.device)
    one, count = meter.stage("input", lambda: network(patch)), tiles(planned)
    for prompter, looks in (("none", 1), (MIRRORED, 2 ** len(planned.patch))):
        meter.add_volume(prompter, one, count * looks, SHAPE[2])


def reference_slice() -> tuple[Image, Prompt]:
    """One slice of the reference volume, and a box round the lesion in its middle."""
    hu = np.random.default_rng(0).normal(-700, 200, (*SHAPE[:2], 1)).astype(np.float32)
    middle, half = SHAPE[0] // 2, math.ceil(LESION_MM / SPACING_MM[0] / 2)
    box = Box((middle - half, middle - half, 0), (middle + half, middle + half, 1))
    return Image(hu, np.diag([*SPACING_MM, 1.0])), Prompt(1, (SlicePrompt(0, box=box),))


def measure_promptable(subject: Subject, meter: Meter) -> None:
    from ...networks.sam2 import Sam2Segmenter

    segmenter = build(subject, meter.device.type)
    view, network = segmenter.view, segmenter.network.eval()
    meter.input = by_text((view.canvas, view.canvas))
    meter.add("network", "counted", **_trained_parameters(subject, segmenter))
    meter.begin(network)
    image, prompt = reference_slice()
    picture = _picture(view, image, prompt).to(meter.device)
    encode = meter.stage("encode", lambda: network.encode(picture))
    segmenter.set_image(image)
    segmenter.predict((prompt,))  # from here on the slice is encoded
    warm = meter.stage("prompt", lambda: segmenter.predict((prompt,)))
    fresh = _Fresh(segmenter, image, (prompt,))
    cold = meter.stage("cold", fresh.predict, flops=encode.flops + warm.flops, prepare=fresh.prepare)
    meter.add_volume("box_every_slice", cold, TUMOR_SLICES, TUMOR_SLICES, prompts=TUMOR_SLICES)
    if isinstance(segmenter, Sam2Segmenter):
        maps = meter.in_use(lambda: network.encode(picture))()
        _measure_memory(segmenter, meter, maps, prompt, encode)
    else:
        slices = TUMOR_SLICES + 2 * ENDS_LOOKED_AT
        meter.add_volume("box_one_slice", cold, slices, slices, prompts=1)


def _trained_parameters(subject: Subject, segmenter: PromptableSegmenter) -> dict[str, int]:
    """All parameters, and those that the project's fine-tuning moves: none of a model that is only used as published."""
    from ...networks.prompted_training import free_parts

    if "fine_tuned" in registry.card("models", subject.model).paradigms:
        free_parts(segmenter.network, segmenter.trained_parts, segmenter.attention_layers, segmenter.settings.trainable)
    else:
        segmenter.network.requires_grad_(False)
    return count_parameters(segmenter.network)


def _picture(view: View, image: Image, prompt: Prompt) -> torch.Tensor:
    """The slice as the network takes it: (1, 1, canvas, canvas)."""
    import torch

    return torch.from_numpy(view.picture(image.array, geometry.whole_plane(image.shape), prompt.slices[0].index))[None, None]


def _measure_memory(segmenter: Sam2Segmenter, meter: Meter, maps: Embedding, prompt: Prompt, encode: Unit) -> None:
    """One box on the middle slice, the others through SAM 2's memory: what each look takes, with features at hand, and the volume.

    Which slices it looks at is fixed, since random weights would stop anywhere: the lesion's, and those in which it finds nothing.
    Every slice has the features `maps` of one, since cost does not depend on them. The looks are run through once.
    """
    count = TUMOR_SLICES + 2 * ABSENT_SLICES
    flops = [count_flops(meter.in_use(look)) for look in _walk(segmenter, meter.device, maps, prompt, count)]
    meter.reset_peak()
    seconds = [meter.seconds(look) for look in _walk(segmenter, meter.device, maps, prompt, count)]
    full = [n for n, value in enumerate(flops) if value == max(flops)]  # the memory fills up in the first slices
    meter.add("track", "counted", flops=max(flops))
    meter.add_seconds("track", [seconds[n] for n in full])
    meter.add("track", "measured", len(full), peak_memory=meter.peak_mb())
    whole = Unit(count * encode.seconds + sum(seconds), count * encode.flops + sum(flops))
    meter.add_volume("box_one_slice", whole, 1, count, prompts=1)


def _walk(segmenter: Sam2Segmenter, device: torch.device, maps: Embedding, prompt: Prompt, count: int) -> Iterable[Callable[[], object]]:
    """The looks at `count` slices in the order of use: the prompted one in the middle, upwards, then downwards, with one memory."""
    import torch

    from ...networks.promptable import prompt_tokens
    from ...networks.sam2 import new_memory

    canvas, memory = segmenter.view.canvas, new_memory()
    look = cast(Callable[..., object], segmenter.network.look)
    drawn = prompt_tokens(prompt.slices[0], geometry.whole_plane(SHAPE), canvas)
    tokens = tuple(torch.from_numpy(part[None]).to(device) for part in drawn)
    middle = count // 2
    yield lambda: look(maps, middle, count, memory, prompt=tokens)
    for reverse, way in ((False, range(middle + 1, count)), (True, range(middle - 1, -1, -1))):
        for index in way:
            yield partial(look, maps, index, count, memory, reverse=reverse)
