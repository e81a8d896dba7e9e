"""What the full-size architectures cost: parameters, FLOPs, seconds and memory, with random weights at their published input sizes.

Cost does not depend on what the weights are, so that no checkpoint is needed; of accuracy this says nothing. Every network is built
by the project's own model file. Each model is measured in a fresh process, one at a time, so that its memory is its own. One
multiply-add counts as two FLOPs. What is too long to be run is a measured unit times a number of units, and is called extrapolated.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import config, geometry, registry, tables
from .efficiency import cores, count_parameters, device_name, text_of
from .types import Box, Image, InputError, Prompt, SlicePrompt

if TYPE_CHECKING:
    import torch

# --- what is measured ------------------------------------------------------------------------------------------------

# The reference volume: a chest CT of common size with one round lesion.
SHAPE = (512, 512, 120)  # x, y, z
SPACING_MM = (0.8, 0.8, 2.5)
LESION_MM = 30.0
TUMOR_SLICES = round(LESION_MM / SPACING_MM[2])
ENDS_LOOKED_AT = 1  # slices beyond each end that the propagation rule asks about before it stops (networks.propagation)
ABSENT_SLICES = 3  # the same for SAM 2's memory (networks.sam2)

# A person's seconds for a box: by clicking the four extreme points, and by dragging it as ImageNet's annotators did; natural images.
# Papadopoulos et al., ICCV 2017, doi:10.1109/ICCV.2017.528, arXiv:1708.02750
HUMAN_SECONDS_PER_BOX = (7.0, 35.0)

# What nnU-Net's planner is told of MSD Task06 Lung: median shape (z, y, x) and spacing as its author's package printed them
# (github.com/MIC-DKFZ/nnUNet, issue 113), and the number of training cases (doi:10.1038/s41467-022-30695-9).
LUNG_SHAPE_ZYX = (252, 512, 512)
LUNG_SPACING_ZYX_MM = (1.24497998, 0.78515625, 0.78515625)
LUNG_CASES = 63
_TILE_STEP = 0.5  # nnU-Net's own: tiles overlap by half


@dataclass(frozen=True)
class Subject:
    """One architecture: a model file of this project, and what differs from its card's options.

    `whole_volume`: the reference volume is run as a whole; else it is extrapolated from one input. `by_default`: part of a run that
    names no models.
    """

    name: str
    title: str
    model: str
    configuration: str
    options: Mapping[str, Any] = field(default_factory=dict)
    whole_volume: bool = False
    by_default: bool = True


# Whole slices of the reference volume, voxel by voxel: what "512 x 512" means for networks on a working grid.
_OWN_GRID = {"spacing_mm": SPACING_MM}
# torchvision's DeepLabV3 as its authors have it (arXiv:1706.05587): rates 12, 24, 36 and a head of 256 channels
_PAPER_HEAD = {"atrous_rates": (12, 24, 36), "head_width": 256}

SUBJECTS: tuple[Subject, ...] = (
    Subject("unet", "U-Net, as trained here", "unet", "3-D, 16 to 128 channels, 3 mm voxels", whole_volume=True),
    Subject(
        "unet_wide",
        "U-Net, published width",
        "unet",
        "3-D, 32 to 512 channels (doi:10.1007/978-3-319-46723-8_49), voxels of the scan",
        {**_OWN_GRID, "widths": (32, 64, 128, 256, 512)},
        whole_volume=True,
    ),
    Subject("deeplabv3_small", "DeepLabV3, as trained here", "deeplabv3", "MobileNetV3-Large, half width, 3 mm voxels", whole_volume=True),
    Subject(
        "deeplabv3_mobilenet",
        "DeepLabV3 (MobileNetV3-L)",
        "deeplabv3",
        "MobileNetV3-Large, output stride 16",
        {**_OWN_GRID, **_PAPER_HEAD, "width": 1.0, "output_stride": 16},
    ),
    Subject(
        "deeplabv3_resnet101",
        "DeepLabV3 (ResNet-101)",
        "deeplabv3",
        "ResNet-101, output stride 8",
        {**_OWN_GRID, **_PAPER_HEAD, "backbone": "resnet101"},
    ),
    Subject("nnunet_2d", "nnU-Net 2d", "nnunet", "2d, as nnunetv2 plans it for MSD Task06 Lung", {"configuration": "2d"}),
    Subject(
        "nnunet_3d",
        "nnU-Net 3d_fullres",
        "nnunet",
        "3d_fullres, as nnunetv2 plans it for MSD Task06 Lung",
        {"configuration": "3d_fullres"},
    ),
    Subject(
        "nnunet_3d_resenc_l",
        "nnU-Net 3d_fullres, ResEnc L",
        "nnunet",
        "3d_fullres, as nnunetv2's ResEnc L planner has it for MSD Task06 Lung",
        {"configuration": "3d_fullres", "planner": "nnUNetPlannerResEncL"},
        by_default=False,
    ),
    Subject("sam", "SAM (ViT-B)", "sam", "ViT-B"),
    Subject("medsam", "MedSAM (ViT-B)", "medsam", "ViT-B"),
    Subject("sam2", "SAM 2.1 (Hiera-T)", "sam2", "sam2.1_hiera_t"),
    Subject("sam2_small", "SAM 2.1 (Hiera-S)", "sam2", "sam2.1_hiera_s", {"config": "sam2.1_hiera_s"}, by_default=False),
    Subject("medsam2", "MedSAM2 (Hiera-T)", "medsam2", "sam2.1_hiera_t"),
    Subject("medical_sam2", "Medical SAM 2 (Hiera-T)", "medical_sam2", "sam2_hiera_t"),
)


def choose(names: Sequence[str] = ()) -> list[Subject]:
    """The subjects of these names, in the order of `SUBJECTS`; without names those of a default run."""
    known = [subject.name for subject in SUBJECTS]
    for name in names:
        if name not in known:
            raise InputError(f"model {name}", "not among those whose full size is measured", f"Choose among {', '.join(known)}.")
    return [subject for subject in SUBJECTS if (subject.name in names if names else subject.by_default)]


# options that say what a network is, and not on which grid, of which picture and for how long it is trained
_ARCHITECTURE = (
    *("widths", "residual_units", "backbone", "width", "output_stride", "atrous_rates", "head_width", "neighbours"),
    *("canvas", "config"),
)
_NNUNET_SIZES = ("spacing_mm", "patch", "batch_size", "features_per_stage", "convolutions_per_stage")  # nnU-Net's own where empty


def subject_of(model: str, options: Mapping[str, Any]) -> Subject | None:
    """The subject whose network a model is under these (resolved) options; None if that network is none of them."""
    card = registry.card("models", model)
    for subject in (s for s in SUBJECTS if s.model == model):
        theirs = {**card.options, **subject.options}
        same = all(_plain_value(options[name]) == _plain_value(theirs[name]) for name in _ARCHITECTURE if name in options)
        if model == "nnunet":
            same = options["configuration"] == theirs["configuration"] and not any(options[name] for name in _NNUNET_SIZES)
        if same:
            return subject
    return None


def _plain_value(value: Any) -> Any:
    return [_plain_value(v) for v in value] if isinstance(value, list | tuple) else value


# --- the table -------------------------------------------------------------------------------------------------------

COLUMNS: Mapping[str, type] = {
    "model": str,  # name of a subject
    "configuration": str,
    "input": str,  # what the network takes in one pass
    "stage": str,
    "quantity": str,
    "value": float,
    "unit": str,
    "kind": str,
    "repeats": int,  # timed runs behind a measured or extrapolated value; 0 where nothing was timed
    "device": str,
    "threads": int,
    "precision": str,
    "torch": str,
    "commit": str,
}
KEY = ("model", "stage", "quantity", "device", "threads", "precision")
SETTING = ("device", "threads", "precision")
KINDS = ("measured", "counted", "extrapolated")
# network: the network itself; input: one pass of an automatic one; encode, prompt (on an encoded slice), cold (both) and track (a slice
# found through SAM 2's full memory): one slice each; volume_PROMPTER: the whole reference volume
STAGES = ("network", "input", "encode", "prompt", "cold", "track")
VOLUME = "volume_"
MIRRORED = "none_mirrored"  # nnU-Net's own prediction: the mean over all mirror images
UNITS: Mapping[str, str] = {
    "parameters": "1",
    "parameters_trained": "1",
    "flops": "FLOP",
    "seconds": "s",  # median of the repeats
    "seconds_min": "s",
    "seconds_max": "s",
    "peak_memory": "MB",
    "slices": "1",  # that the network looks at
    "prompts": "1",  # that a person gives
}


def read(path: Path) -> pd.DataFrame:
    """Read and validate a table of costs; InputError names the file and its first fault."""
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "the table does not exist", "Run: python -m lungseg_utils efficiency")
    try:
        frame = pd.read_csv(path, dtype=dict(COLUMNS), keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(path, f"not a valid table ({error})", "Delete it and measure again.") from error
    return validate(frame, path)


def validate(frame: pd.DataFrame, where: object = "costs") -> pd.DataFrame:
    """Return `frame` if it obeys the schema: columns, stages, quantities with their units, kinds, one row per key."""
    if list(frame.columns) != list(COLUMNS):
        raise InputError(where, f"its columns are {list(frame.columns)}", f"Expected {list(COLUMNS)}.")
    remedy = "Delete the table and measure again."
    for column, known in (("quantity", set(UNITS)), ("kind", set(KINDS))):
        if unknown := sorted(set(frame[column]) - known):
            raise InputError(where, f"unknown {column} {unknown[0]!r}", remedy)
    if unknown := sorted(s for s in set(frame["stage"]) - set(STAGES) if not s.startswith(VOLUME)):
        raise InputError(where, f"unknown stage {unknown[0]!r}", remedy)
    if (frame["unit"] != frame["quantity"].map(UNITS)).any():
        raise InputError(where, "a unit does not belong to its quantity", remedy)
    if not (np.isfinite(frame["value"]) & (frame["value"] >= 0)).all():
        raise InputError(where, "a value is negative or not finite", remedy)
    if frame.duplicated(list(KEY)).any():
        raise InputError(where, "a doubled row", remedy)
    return frame


def one_setting(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one device, number of threads and precision, if there are several: that with the most models (then the latest)."""
    groups = [part for _, part in frame.groupby(list(SETTING), sort=False)]
    return max(reversed(groups), key=lambda part: part["model"].nunique()).reset_index(drop=True)


def _merged(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """`old` with the rows of the same models and setting replaced by `new`, in the order of `SUBJECTS`."""
    order = {subject.name: n for n, subject in enumerate(SUBJECTS)}
    merged = tables.replace_rows(old, new, ["model", *SETTING])
    return merged.sort_values("model", key=lambda names: names.map(lambda n: order.get(n, len(order))), kind="stable", ignore_index=True)


# --- one process per model -------------------------------------------------------------------------------------------


def measure(
    subjects: Iterable[Subject], out: Path, repeats: int = 3, threads: int = 0, device: str = "auto", again: bool = False
) -> list[str]:
    """Measure each subject in its own process and write `out` after each one; returns the names of those that failed.

    `threads` 0: all cores. What `out` holds already from the same commit, device and threads is kept, unless `again`.
    """
    from . import training

    chosen, threads = training.choose_device(device).type, threads or cores()
    if repeats < 1 or threads < 0:
        raise InputError("efficiency", f"{repeats} repeats, {threads} threads", "Give at least one repeat, and threads from 0 on.")
    commit, failed = tables.commit(config.project_root(), besides=out), []
    frame = read(out) if out.is_file() else pd.DataFrame(columns=list(COLUMNS)).astype(dict(COLUMNS))
    setting = {"device": device_name(chosen), "threads": threads, "commit": commit}
    for subject in subjects:
        if not again and _is_there(frame, subject.name, setting):
            print(f"{subject.name}: is there already", flush=True)
            continue
        start = time.perf_counter()
        rows = measure_apart(subject, repeats, threads, chosen)
        if rows is None:
            failed.append(subject.name)
            continue
        frame = validate(_merged(frame, _frame([{**row, **setting} for row in rows])), out)
        tables.write(frame, out)
        print(f"{subject.name}: measured, {time.perf_counter() - start:.0f} s", flush=True)
    return failed


def _is_there(frame: pd.DataFrame, name: str, setting: Mapping[str, Any]) -> bool:
    same = frame["model"] == name
    for column, value in setting.items():
        same &= frame[column] == value
    return bool(same.any())


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(dict(COLUMNS))


def measure_apart(subject: Subject, repeats: int, threads: int, device: str) -> list[dict[str, Any]] | None:
    """Rows of one subject (without device, threads and commit), measured in a fresh process; None if that failed, which is printed."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        request = {"subject": asdict(subject), "repeats": repeats, "threads": threads, "device": device, "out": str(out)}
        command = [sys.executable, "-m", __name__]
        done = subprocess.run(command, input=json.dumps(request), text=True, env=os.environ | limits, check=False)
        if done.returncode != 0:
            print(f"{subject.name}: failed, exit status {done.returncode}", file=sys.stderr, flush=True)
            return None
        return json.loads(out.read_text())


# --- inside that process ---------------------------------------------------------------------------------------------


def _worker(request: Mapping[str, Any]) -> None:
    import torch

    torch.set_num_threads(request["threads"])
    subject = Subject(**request["subject"])
    rows = measure_here(subject, request["repeats"], request["device"])
    Path(request["out"]).write_text(json.dumps(rows))


def measure_here(subject: Subject, repeats: int, device: str = "cpu") -> list[dict[str, Any]]:
    """Rows of one subject, measured in this process."""
    meter = _Meter(subject, repeats, device)
    if subject.model == "nnunet":
        _measure_nnunet(subject, meter)
    elif "none" in registry.card("models", subject.model).prompters:
        _measure_automatic(subject, meter)
    else:
        _measure_promptable(subject, meter)
    return meter.rows


def build(subject: Subject, device: str = "cpu") -> Any:
    """The project's own segmenter of a subject, with random weights."""
    module = registry.plugin("models", subject.model)
    return module.build({**module.CARD.options, **subject.options, "device": device})


@dataclass(frozen=True)
class Unit:
    """What one stage took: median seconds, and FLOPs."""

    seconds: float
    flops: float


class _Meter:
    """Times stages, counts what they compute, and collects the rows.

    Memory is the weights and the highest that was allocated beside them during the timed runs of a stage. On a CPU that is the
    growth of the resident size since the network was built, with what earlier stages left to the allocator.
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

    def stage(self, name: str, action: Callable[[], Any], flops: float | None = None, prepare: Callable[[], Any] | None = None) -> Unit:
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

    def timed(self, action: Callable[[], Any], prepare: Callable[[], Any] | None = None) -> list[float]:
        """Seconds of each of the repeats."""
        self.reset_peak()
        runs = []
        for _ in range(self.repeats):
            if prepare is not None:
                prepare()
            runs.append(self.seconds(action))
        return runs

    def seconds(self, action: Callable[[], Any]) -> float:
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

    def in_use(self, action: Callable[[], Any]) -> Callable[[], Any]:
        """Without gradients, and on a GPU in bf16."""
        import torch

        from . import training

        def run() -> Any:
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


def count_flops(action: Callable[[], Any]) -> int:
    """FLOPs of the products and convolutions in `action` (a multiply-add is two), by torch's own counter.

    Layers compute as their packages have them meanwhile. The counter has no formula for the attention kernel of CPUs, and would leave it
    out: it is given that of the other kernels.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    from .networks import products

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
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
    """Highest resident size since it was last reset; where that is impossible, since the process began."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status_mb("VmHWM") or (peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6)


def reset_peak_resident() -> None:
    """Let `peak_resident_mb` begin anew, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts again at VmRSS
    except OSError:
        return


# --- automatic networks ----------------------------------------------------------------------------------------------


def reference_image() -> Image:
    """The reference volume: noise around lung density. No network here does less work for an easy image."""
    hu = np.random.default_rng(0).normal(-700, 200, SHAPE).astype(np.float32)
    return Image(hu, np.diag([*SPACING_MM, 1.0]))


def _measure_automatic(subject: Subject, meter: _Meter) -> None:
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
        meter.stage(f"{VOLUME}none", fresh.answer, prepare=fresh.prepare)
        meter.add(f"{VOLUME}none", "counted", slices=SHAPE[2], prompts=0)
    else:
        meter.add_volume("none", one, SHAPE[2] / shape[2], SHAPE[2])


class _Fresh:
    """Answers about an image that the segmenter has not seen yet: it keeps what it computed of the last one."""

    def __init__(self, segmenter: Any, image: Image, prompts: Sequence[Prompt] = ()):
        self._segmenter, self._image, self._prompts = segmenter, image, prompts

    def prepare(self) -> None:
        """Another image, with the same voxels."""
        self._image = Image(self._image.array, self._image.affine)

    def answer(self) -> None:
        """Take the image, and segment it."""
        self._segmenter.set_image(self._image)
        self._segmenter.predict(self._prompts)


def automatic_input(segmenter: Any, image: Image) -> tuple[tuple[int, ...], str]:
    """What a network on a working grid takes in one pass: (1, windows, slices, rows, columns), and in words.

    A network of slices takes one; its neighbours are further channels.
    """
    from .networks.slicewise import SliceWise

    settings, windows = segmenter.settings, len(segmenter.settings.windows_hu)
    columns, rows, count = geometry.shape_at_spacing(image, settings.spacing_mm)
    if isinstance(segmenter.network, SliceWise):
        return (1, windows, 1, rows, columns), f"{_by((rows, columns))}, {windows * (2 * segmenter.network.neighbours + 1)} channels"
    seen = min(count, settings.slab + 2 * settings.slab_overlap)
    sizes = tuple(n + -n % settings.size_multiple for n in (seen, rows, columns))
    return (1, windows, *sizes), f"{_by(sizes)}, {windows} channels"


def _by(shape: Iterable[int]) -> str:
    return " x ".join(str(int(n)) for n in shape)


# --- nnU-Net ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlannedNetwork:
    """A network as nnunetv2 plans it, and the patch (voxels, in the order of its axes) and spacing that belong to it."""

    network: torch.nn.Module
    patch: tuple[int, ...]
    spacing_mm: tuple[float, ...]


def plan_nnunet(configuration: str, planner: str = "ExperimentPlanner") -> PlannedNetwork:
    """Let nnunetv2's planner plan for a data set with the median shape and spacing of MSD Task06 Lung, and build its network."""
    from .networks import nnunet_steps as steps

    plans, description = json.loads(_plans(planner))
    planned = plans["configurations"][configuration]
    plans["configurations"][steps.CHANGED] = {"inherits_from": configuration}
    network = steps.build_network(plans, description)
    return PlannedNetwork(network.eval(), tuple(planned["patch_size"]), tuple(planned["spacing"]))


@cache
def _plans(planner: str) -> str:
    """The plans and the description of the data set, as JSON."""
    from .networks import nnunet_steps as steps

    with tempfile.TemporaryDirectory() as folder, steps.environment(Path(folder), 1), contextlib.redirect_stdout(StringIO()):
        description = _write_fingerprint(Path(folder), steps.DATASET)
        plans = _planner(planner)(steps.DATASET).plan_experiment()
        return json.dumps([plans, description], default=_plain)


def _planner(name: str) -> Any:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners

    found = ExperimentPlanner if name == "ExperimentPlanner" else getattr(residual_encoder_unet_planners, name, None)
    if found is None:
        raise InputError(f"planner {name}", "not among nnunetv2's", "Give e.g. nnUNetPlannerResEncL.")
    return found


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else list(value)


def _write_fingerprint(folder: Path, dataset: str) -> dict[str, Any]:
    """What a planner reads: one image of the median shape stands for all. Returns the description of the data set."""
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


def _measure_nnunet(subject: Subject, meter: _Meter) -> None:
    import torch

    options = dict(subject.options)
    planned = plan_nnunet(options["configuration"], options.get("planner", "ExperimentPlanner"))
    network, meter.input = planned.network.to(meter.device), _by(planned.patch)
    meter.add("network", "counted", **count_parameters(network))
    meter.begin(network)
    patch = torch.randn((1, 1, *planned.patch), device=meter.device)
    one, count = meter.stage("input", lambda: network(patch)), tiles(planned)
    for prompter, looks in (("none", 1), (MIRRORED, 2 ** len(planned.patch))):
        meter.add_volume(prompter, one, count * looks, SHAPE[2])


# --- promptable networks ---------------------------------------------------------------------------------------------


def reference_slice() -> tuple[Image, Prompt]:
    """One slice of the reference volume, and a box round the lesion in its middle."""
    hu = np.random.default_rng(0).normal(-700, 200, (*SHAPE[:2], 1)).astype(np.float32)
    middle, half = SHAPE[0] // 2, math.ceil(LESION_MM / SPACING_MM[0] / 2)
    box = Box((middle - half, middle - half, 0), (middle + half, middle + half, 1))
    return Image(hu, np.diag([*SPACING_MM, 1.0])), Prompt(1, (SlicePrompt(0, box=box),))


def _measure_promptable(subject: Subject, meter: _Meter) -> None:
    segmenter = build(subject, meter.device.type)
    view, network = segmenter.view, segmenter.network.eval()
    meter.input = _by((view.canvas, view.canvas))
    meter.add("network", "counted", **_trained_parameters(subject, segmenter))
    meter.begin(network)
    image, prompt = reference_slice()
    picture = _picture(view, image, prompt).to(meter.device)
    encode = meter.stage("encode", lambda: network.encode(picture))
    segmenter.set_image(image)
    segmenter.predict((prompt,))  # from here on the slice is encoded
    warm = meter.stage("prompt", lambda: segmenter.predict((prompt,)))
    fresh = _Fresh(segmenter, image, (prompt,))
    cold = meter.stage("cold", fresh.answer, flops=encode.flops + warm.flops, prepare=fresh.prepare)
    meter.add_volume("box_every_slice", cold, TUMOR_SLICES, TUMOR_SLICES, prompts=TUMOR_SLICES)
    if hasattr(network, "look"):
        maps = meter.in_use(lambda: network.encode(picture))()
        _measure_memory(segmenter, meter, maps, prompt, encode)
    else:
        slices = TUMOR_SLICES + 2 * ENDS_LOOKED_AT
        meter.add_volume("box_one_slice", cold, slices, slices, prompts=1)


def _trained_parameters(subject: Subject, segmenter: Any) -> dict[str, int]:
    """All parameters, and those that the project's fine-tuning moves: none of a model that is only used as published."""
    from .networks.prompted_training import free_parts

    if "fine_tuned" in registry.card("models", subject.model).paradigms:
        free_parts(segmenter.network, segmenter.trained_parts, segmenter.attention_layers, segmenter.settings.trainable)
    else:
        segmenter.network.requires_grad_(False)
    return count_parameters(segmenter.network)


def _picture(view: Any, image: Image, prompt: Prompt) -> torch.Tensor:
    """The slice as the network takes it: (1, 1, canvas, canvas)."""
    import torch

    return torch.from_numpy(view.picture(image.array, geometry.whole_plane(image.shape), prompt.slices[0].index))[None, None]


def _measure_memory(segmenter: Any, meter: _Meter, maps: Any, prompt: Prompt, encode: Unit) -> None:
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


def _walk(segmenter: Any, device: torch.device, maps: Any, prompt: Prompt, count: int) -> Iterable[Callable[[], Any]]:
    """The looks at `count` slices in the order of use: the prompted one in the middle, upwards, then downwards, with one memory."""
    import torch

    from .networks.promptable import prompt_tokens
    from .networks.sam2 import new_memory

    canvas, look, memory = segmenter.view.canvas, segmenter.network.look, new_memory()
    tokens = prompt_tokens(prompt.slices[0], geometry.whole_plane(SHAPE), canvas)
    tokens = tuple(torch.from_numpy(part[None]).to(device) for part in tokens)
    middle = count // 2
    yield lambda: look(maps, middle, count, memory, prompt=tokens)
    for reverse, way in ((False, range(middle + 1, count)), (True, range(middle - 1, -1, -1))):
        for index in way:
            yield lambda index=index, reverse=reverse: look(maps, index, count, memory, reverse=reverse)


if __name__ == "__main__":
    _worker(json.loads(sys.stdin.read()))
