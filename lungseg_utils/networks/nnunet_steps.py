"""The steps of nnU-Net in its own order: raw data, check, fingerprint, plans, preprocessing, training, prediction.

Imported by `nnunet` alone, when it is needed: importing nnunetv2 takes seconds and sets matplotlib's backend.
nnU-Net's readers give (slices, rows, columns) as (z, y, x), without turning any axis; `geometry.zyx` does that.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.experiment_planning import verify_dataset_integrity
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors import default_preprocessor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from ..data import nifti
from ..geometry import zyx
from ..types import InputError, Record, Row, Study

DATASET = "Dataset001_LungTumor"
PLANS = "nnUNetPlans"
CHANGED = "benchmark"  # the additional configuration that holds our sizes
# nnU-Net draws 10^8 tumor voxels, with replacement, for six statistics of intensity: of a few patients that is 2 GB and many seconds
# for digits that do not matter.
_INTENSITY_SAMPLES = 10**7
_ENVIRONMENT = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@contextmanager
def environment(folder: Path, processes: int) -> Iterator[None]:
    """nnU-Net's environment variables, for this block: all that it writes goes below `folder`; set back afterwards."""
    changes = {name: str(folder / name) for name in _ENVIRONMENT}
    changes |= {"nnUNet_n_proc_DA": str(processes), "nnUNet_compile": "f", "nnUNet_wandb_enabled": "0"}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def write_raw(studies: Iterable[Study], folder: Path) -> list[str]:
    """The studies as a raw data set of nnU-Net, one after the other; returns their names there, in order."""
    target, names = folder / "nnUNet_raw" / DATASET, []
    for study in studies:
        names.append(name := f"case_{len(names):04d}")
        nifti.write_image(study.image, target / "imagesTr" / f"{name}_0000.nii")
        nifti.write_mask(study.reference, target / "labelsTr" / f"{name}.nii")
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": len(names),
        "file_ending": ".nii",
        "overwrite_image_reader_writer": "NibabelIO",
    }
    (target / "dataset.json").write_text(json.dumps(description, indent=2))
    return names


def plan_and_preprocess(folder: Path, changes: Row, processes: int, progress: bool) -> Record:
    """nnU-Net's check of the data, fingerprint, plans, and preprocessed cases; returns the plans.

    `changes` holds `configuration` ("2d", "3d_fullres") and our own spacing_mm (x, y, z), patch, batch_size, batch_dice,
    features_per_stage and convolutions_per_stage; what is None, false or empty there stays nnU-Net's choice.
    """
    with environment(folder, max(1, processes)), _pools(processes):
        _check(folder, max(1, processes))
        extractor = fingerprint_extractor.DatasetFingerprintExtractor(DATASET, max(1, processes))
        extractor.num_foreground_voxels_for_intensitystats = _INTENSITY_SAMPLES
        extractor.show_progress_bar = False
        extractor.run(overwrite_existing=True)
        spacing = [float(s) for s in reversed(changes["spacing_mm"])] if changes["spacing_mm"] else None
        planner = ExperimentPlanner(DATASET, overwrite_target_spacing=spacing, plans_name=PLANS)
        planner.plan_experiment()
        plans = _add_configuration(folder / "nnUNet_preprocessed" / DATASET / f"{PLANS}.json", planner, changes)
        preprocessor = default_preprocessor.DefaultPreprocessor(verbose=False)
        preprocessor.show_progress_bar = progress
        preprocessor.run(DATASET, CHANGED, PLANS, max(1, processes))
    return plans


def _check(folder: Path, processes: int) -> None:
    try:
        verify_dataset_integrity.verify_dataset_integrity(str(folder / "nnUNet_raw" / DATASET), processes)
    except (AssertionError, RuntimeError) as error:
        raise InputError("training studies", f"nnU-Net's check refuses them: {error}", "Its log lies beside its data.") from error


def _add_configuration(path: Path, planner: ExperimentPlanner, changes: Row) -> Record:
    """Add the configuration `CHANGED` to the plans, which inherits what is not changed, and write them again."""
    plans = json.loads(path.read_text())
    base = plans["configurations"].get(changes["configuration"])
    if base is None:
        raise InputError("configuration", f"nnU-Net plans no {changes['configuration']} for these images", 'Choose "2d".')
    added: dict[str, Any] = {"inherits_from": changes["configuration"]}
    if changes["batch_size"]:
        added["batch_size"] = int(changes["batch_size"])
    if changes["batch_dice"]:
        added["batch_dice"] = True
    if changes["patch"] or changes["features_per_stage"] or changes["convolutions_per_stage"]:
        added |= _topology(base, planner, changes)
    plans["configurations"][CHANGED] = added
    path.write_text(json.dumps(plans, indent=2))
    return plans


def _topology(base: Row, planner: ExperimentPlanner, changes: Row) -> Record:
    """Patch size and network for our patch, by the rules of nnU-Net's planner; the features also decide the number of stages."""
    patch, features, convolutions = changes["patch"] or base["patch_size"], changes["features_per_stage"], changes["convolutions_per_stage"]
    shortest = planner.UNet_featuremap_min_edge_length
    _, strides, kernels, size, _ = get_pool_and_conv_props(base["spacing"], patch, shortest, 999999)
    widest = planner.UNet_max_features_2d if len(patch) == 2 else planner.UNet_max_features_3d
    features = list(features or [min(widest, planner.UNet_base_num_features * 2**n) for n in range(len(strides))])
    if not 3 <= len(features) <= len(strides):
        problem = f"{len(features)} stages do not fit a patch of {tuple(int(n) for n in patch)}, which allows 3 to {len(strides)}"
        raise InputError("features_per_stage", problem, "Give a larger patch, or another number of stages.")
    stages = len(features)
    architecture = json.loads(json.dumps(base["architecture"]))
    architecture["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": features,
        "strides": [list(s) for s in strides[:stages]],
        "kernel_sizes": [list(k) for k in kernels[:stages]],
        "n_conv_per_stage": [convolutions or n for n in planner.UNet_blocks_per_stage_encoder[:stages]],
        "n_conv_per_stage_decoder": [convolutions or n for n in planner.UNet_blocks_per_stage_decoder[: stages - 1]],
    }
    return {"patch_size": [int(n) for n in size], "architecture": architecture}


class _Pool:
    """Stands in for nnU-Net's pools of processes: works at once and here, where each process would first import torch and nnunetv2."""

    _pool = ()

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def starmap(self, function: Callable[..., object], arguments: Iterable[Sequence[object]]) -> list[object]:
        return [function(*each) for each in arguments]

    def starmap_async(self, function: Callable[..., object], arguments: Iterable[Sequence[object]]) -> SimpleNamespace:
        results = self.starmap(function, arguments)
        return SimpleNamespace(ready=lambda: True, get=lambda: results)


@contextmanager
def _pools(processes: int) -> Iterator[None]:
    """With no processes, nnU-Net's planning and preprocessing run in this one; else they are left alone."""
    modules = (verify_dataset_integrity, fingerprint_extractor, default_preprocessor) if processes == 0 else ()
    here = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=lambda _: _Pool()))
    try:
        for module in modules:
            module.multiprocessing = here
        yield
    finally:
        for module in modules:
            module.multiprocessing = multiprocessing


class Trainer(nnUNetTrainer):
    """nnU-Net's trainer on given patients, with each loss reported; recipe, loss, optimizer and augmentation are its own."""

    split: tuple[list[str], list[str]]
    report: Callable[[float], None]

    def do_split(self) -> tuple[list[str], list[str]]:
        return list(self.split[0]), list(self.split[1])

    def train_step(self, batch: dict) -> dict:
        result = super().train_step(batch)
        self.report(float(result["loss"]))
        return result

    @staticmethod
    def get_training_transforms(*args: object, **kwargs: object) -> ComposeTransforms:
        transforms = nnUNetTrainer.get_training_transforms(*args, **kwargs)
        for step in transforms.transforms:
            blur = getattr(step, "transform", step)
            if isinstance(blur, GaussianBlurTransform):
                blur.benchmark = False  # it takes the faster of two algorithms, so that rounding would depend on the clock
        return transforms


def trainer(
    folder: Path,
    plans: Record,
    split: tuple[list[str], list[str]],
    schedule: Mapping[str, int],
    seed: int,
    device: torch.device,
) -> Trainer:
    """nnU-Net's trainer with a fresh network: `split` names training and validation patients, `schedule` holds epochs, iterations
    and validation_iterations."""
    with environment(folder, 0):
        made = Trainer({**plans, "continue_training": False}, CHANGED, 0, read_dataset_json(folder), device)
        made.split = split
        made.num_epochs = schedule["epochs"]
        made.num_iterations_per_epoch = schedule["iterations"]
        made.num_val_iterations_per_epoch = schedule["validation_iterations"]
        made.disable_checkpointing = True  # the last weights are what counts, and they are in memory
        made.logger.plot_progress_png = lambda _: None  # it takes seconds per epoch
        _seed(seed)
        made.initialize()
    return made


def train(made: Trainer, folder: Path, processes: int, report: Callable[[float], None]) -> list[float]:
    """Train by nnU-Net's recipe and leave the network with the last weights; returns nnU-Net's pseudo Dice after each epoch.

    `report` is given the loss of every step.
    """
    made.report = report
    with environment(folder, processes):
        made.run_training()
    made.set_deep_supervision_enabled(False)
    made.network.eval()
    return [float(v) for v in made.logger.get_value("mean_fg_dice", None)]


def _seed(seed: int) -> None:
    """nnU-Net draws from the global generators of three libraries, and seeds none."""
    first, second, third = (int(n) for n in np.random.SeedSequence(seed).generate_state(3))
    random.seed(first)
    np.random.seed(second)  # noqa: NPY002  the legacy generator is the one that nnU-Net uses
    torch.manual_seed(third)


def read_dataset_json(folder: Path) -> Record:
    """What nnU-Net knows of channels and labels."""
    return json.loads((folder / "nnUNet_raw" / DATASET / "dataset.json").read_text())


def build_network(plans: Record, dataset_json: Record) -> torch.nn.Module:
    """The network that the plans describe, without deep supervision, freshly initialized."""
    manager = PlansManager(plans)
    configuration = manager.get_configuration(CHANGED)
    channels = determine_num_input_channels(manager, configuration, dataset_json)
    heads = manager.get_label_manager(dataset_json).num_segmentation_heads
    return nnUNetTrainer.build_network_architecture(manager, configuration, channels, heads, enable_deep_supervision=False)


def spacing_mm(plans: Record, like_mm: Sequence[float]) -> tuple[float, float, float]:
    """Spacing of nnU-Net's working grid as x, y, z for an image of spacing `like_mm`: in 2-D that between slices stays."""
    manager = PlansManager(plans)
    target = list(manager.get_configuration(CHANGED).spacing)
    original = [list(reversed(like_mm))[axis] for axis in manager.transpose_forward]
    target = original[: 3 - len(target)] + target
    return tuple(reversed([float(target[axis]) for axis in manager.transpose_backward]))


def predict(
    network: torch.nn.Module,
    plans: Record,
    dataset_json: Record,
    array: np.ndarray,
    spacing: Sequence[float],
    mirroring: bool,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """nnU-Net's prediction for a CT (x, y, z) in HU with its spacing in mm: mask and probability of tumor, on the same grid."""
    manager = PlansManager(plans)
    configuration = manager.get_configuration(CHANGED)
    with redirect_stdout(StringIO()):  # it says on each call that a CPU is no GPU
        predictor = nnUNetPredictor(use_mirroring=mirroring, device=device, allow_tqdm=False)
    axes = tuple(range(len(configuration.patch_size)))  # those that nnU-Net mirrors in training
    predictor.manual_initialization(network, manager, configuration, [network.state_dict()], dataset_json, Trainer.__name__, axes)
    properties = {"spacing": [float(s) for s in reversed(spacing)]}
    mask, probabilities = predictor.predict_single_npy_array(zyx(array)[None], properties, None, None, True)
    return zyx(mask) == 1, np.ascontiguousarray(zyx(probabilities[1]), dtype=np.float32)
