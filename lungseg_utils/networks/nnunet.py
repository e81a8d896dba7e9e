"""nnU-Net, run in this process behind the interface of every other segmenter.

Fingerprint, plans, preprocessing, network, training recipe, sliding window and resampling are nnunetv2's (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z). Only sizes and budget are ours, because a CPU needs smaller ones: an additional configuration in the
plans holds them, and everything left empty stays nnU-Net's choice. The network is planned from training data, so there is none before
`fit` or `load`. An interrupted training starts again.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..core.masks import dsc
from ..core.measure import count_parameters, measure
from ..types import InputError, Mask, Options, Prediction, Record, Study, TrainingDiverged, TrainingRun
from . import training, transforms
from .prompted_control import WholeScanSegmenter

DIMENSIONS = {"2d": 2, "3d_fullres": 3}
EPOCHS, ITERATIONS_PER_EPOCH = 1000, 250  # nnU-Net's own budget
_VALIDATION_SHARE = 5  # nnU-Net's own: 50 validation batches after 250 of training
_PLANNED = ("configuration", "spacing_mm", "patch", "batch_size", "batch_dice", "features_per_stage", "convolutions_per_stage")
_TEMPORARY = ("nnUNet_raw", "nnUNet_preprocessed")


@contextmanager
def backend_kept() -> Iterator[None]:
    """For imports of nnunetv2, which sets matplotlib's backend: it is put back."""
    import matplotlib

    backend = matplotlib.get_backend(auto_select=False)
    yield
    if backend is not None:
        matplotlib.use(backend)


def _steps() -> ModuleType:
    """The module that calls nnunetv2, imported at first use."""
    with backend_kept():
        from . import nnunet_steps
    return nnunet_steps


@dataclass(frozen=True)
class Settings:
    """Sizes and budget. None, 0 or an empty list: nnU-Net's own choice.

    `spacing_mm` as x, y, z; `patch` as (rows, columns) or (slices, rows, columns), in the order of axes of the plans.
    `batch_dice`: Dice over the whole batch even where nnU-Net would take it per patch (in 2-D it always takes the batch).
    `processes` prepare and augment data: with 0 all happens in this process, and the same seed gives the same weights on a CPU.
    """

    configuration: str
    spacing_mm: tuple[float, ...] | None
    patch: tuple[int, ...] | None
    batch_size: int | None
    batch_dice: bool
    features_per_stage: tuple[int, ...] | None
    convolutions_per_stage: int | None
    epochs: int | None
    iterations_per_epoch: int | None
    mirroring: bool
    processes: int

    @classmethod
    def from_options(cls, options: Options) -> Settings:
        """Settings from the options of an experiment; InputError names the one that cannot be."""
        values = {name: options[name] for name in cls.__dataclass_fields__}
        values |= {n: tuple(values[n]) if values[n] else None for n in ("spacing_mm", "patch", "features_per_stage")}
        settings = cls(**values | {"processes": values["processes"] or 0})
        settings._check()
        return settings

    def _check(self) -> None:
        if self.configuration not in DIMENSIONS:
            raise InputError("configuration", f"{self.configuration!r} is unknown", f"Choose one of {', '.join(DIMENSIONS)}.")
        lengths = {"spacing_mm": 3, "patch": DIMENSIONS[self.configuration]}
        for name, length in lengths.items():
            value = getattr(self, name)
            if value is not None and (len(value) != length or min(value) <= 0):
                raise InputError(name, f"{value} is not {length} positive numbers", f"{self.configuration} needs {length}.")
        if self.patch and min(self.patch) < 8:
            raise InputError("patch", f"{self.patch} has a side under 8 voxels", "nnU-Net halves each side down to 4: give larger ones.")
        for name in ("batch_size", "convolutions_per_stage", "epochs", "iterations_per_epoch", "processes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 0):
                raise InputError(name, f"{value!r} is not a whole number from 0", "Give one; 0 is nnU-Net's own choice.")
        if self.features_per_stage and min(self.features_per_stage) < 1:
            raise InputError("features_per_stage", f"{self.features_per_stage} has a stage without features", "Give positive numbers.")

    def schedule(self, validates: bool) -> dict[str, int]:
        """Epochs and batches per epoch. Without validation patients one batch is looked at all the same: nnU-Net needs one."""
        iterations = self.iterations_per_epoch or ITERATIONS_PER_EPOCH
        looks = max(1, iterations // _VALIDATION_SHARE) if validates else 1
        return {"epochs": self.epochs or EPOCHS, "iterations": iterations, "validation_iterations": looks}


@dataclass(frozen=True)
class _Planned:
    """A network and the plans that it was made by."""

    network: torch.nn.Module
    plans: Record
    dataset_json: Record


class NnUNetSegmenter(WholeScanSegmenter):
    """nnU-Net as a segmenter that reads no prompts. `probability` is nnU-Net's softmax, resampled by nnU-Net to the image's own grid.

    Prompts are answered as by all automatic segmenters (`WholeScanSegmenter`).
    """

    device: torch.device

    def __init__(self, settings: Settings, device: str = "auto"):
        self.device = training.choose_device(device)
        self.settings = settings
        self._planned: _Planned | None = None

    def _segment(self) -> Prediction:
        planned, steps = self._require_planned("predict"), _steps()
        with measure() as cost:
            mask, probability = steps.predict(
                planned.network,
                planned.plans,
                planned.dataset_json,
                self._image.array,
                self._image.spacing_mm,
                self.settings.mirroring,
                self.device,
            )
        return Prediction(Mask(mask, self._image.affine), probability, cost.seconds, cost.peak_memory_mb)

    def resolution_ceiling(self, reference: Mask) -> float:
        """DSC that a perfect prediction on nnU-Net's working grid would reach (NaN before there are plans)."""
        if self._planned is None:
            return math.nan
        return transforms.resolution_ceiling(reference, _steps().spacing_mm(self._planned.plans, reference.spacing_mm))

    def fit(self, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> pd.DataFrame:
        """Plan, preprocess and train by nnU-Net's recipe; the last weights are kept, as nnU-Net does.

        All that nnU-Net writes goes below `folder / "nnunet"`; its copies of the data are removed at the end. Validation patients
        enter plans, pseudo Dice and, after training, "validation DSC" (on the image's own grid), and choose nothing. Without
        them (few-shot) nothing is seen but the training patients. Where a study says `ignore` is not used in training.
        Returns the history (step, quantity, value); raises TrainingDiverged if a loss is not finite.
        """
        if not any(study.reference.array.any() for study in train):
            raise InputError("training studies", "none of them holds a tumor", "nnU-Net plans from tumor voxels: give at least one.")
        work = run.folder / "nnunet"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        record = _Record(self.settings.schedule(bool(validation)), run.progress)
        with _logged(work / "log.txt"):
            dice = self._train(itertools.chain(train, validation), len(train), run.seed, work, record)
        if validation:
            record.add_pseudo_dice(dice)
            record.add("validation DSC", self._validation_dsc(validation))
        for name in _TEMPORARY:
            shutil.rmtree(work / name)
        return record.frame()

    def _train(self, studies: Iterable[Study], count: int, seed: int, work: Path, record: _Record) -> list[float]:
        """Train on the first `count` studies, look at the others; the network is this segmenter's from its first step on."""
        steps, settings = _steps(), self.settings
        names = steps.write_raw(studies, work)
        changes = {name: getattr(settings, name) for name in _PLANNED}
        plans = steps.plan_and_preprocess(work, changes, settings.processes, record.progress)
        split = names[:count], names[count:] or names[:count]
        trainer = steps.trainer(work, plans, split, record.schedule, seed, self.device)
        self._planned, self._unprompted = _Planned(trainer.network, plans, steps.read_dataset_json(work)), None
        with record.bar():
            return steps.train(trainer, work, settings.processes, record.step)

    def _validation_dsc(self, studies: Sequence[Study]) -> float:
        values = []
        for study in studies:
            reference = study.reference.array
            if reference.any():
                self.set_image(study.image)
                values.append(dsc(reference, self.predict().mask.array))
        self._image = self._unprompted = None
        return float(np.mean(values)) if values else math.nan

    def save(self, path: Path, description: Mapping[str, object]) -> None:
        """Write weights, plans and what they belong to, as one file; the same training gives the same bytes."""
        planned = self._require_planned("save")
        plans = json.dumps(planned.plans, sort_keys=True), json.dumps(planned.dataset_json, sort_keys=True)
        training.save_weights(planned.network, path, {"plans": plans[0], "dataset_json": plans[1], "description": description})

    def load(self, path: Path) -> dict[str, object]:
        """Read what `save` wrote and build the network that its plans describe. Returns the description."""
        saved, steps = training.load_weights_file(path).get("description", {}), _steps()
        missing = [name for name in ("plans", "dataset_json", "description") if name not in saved]
        if missing:
            raise InputError(path, f"no {', '.join(missing)} in it", "Give a checkpoint of an nnU-Net that this project wrote.")
        plans, dataset_json = json.loads(saved["plans"]), json.loads(saved["dataset_json"])
        if plans["configurations"][steps.CHANGED]["inherits_from"] != self.settings.configuration:
            raise InputError(path, f"its nnU-Net is not a {self.settings.configuration}", "Train again, or change the option.")
        network = steps.build_network(plans, dataset_json)
        training.load_weights(network, path)
        self._planned, self._unprompted = _Planned(network.to(self.device).eval(), plans, dataset_json), None
        return saved["description"]

    def parameters(self) -> dict[str, int]:
        """Number of parameters, all and trained; 0 as long as there is no network."""
        if self._planned is None:
            return {"parameters": 0, "parameters_trained": 0}
        return count_parameters(self._planned.network)

    def _require_planned(self, where: str) -> _Planned:
        if self._planned is None:
            raise InputError(where, "this nnU-Net is not trained, and has no network before it is", "Call fit or load first.")
        return self._planned


class _Record:
    """The history of a training, and its progress bar."""

    def __init__(self, schedule: dict[str, int], progress: bool):
        self.schedule, self.progress = schedule, progress
        self._rows: list[dict[str, Any]] = []
        self._count = 0
        self._bar: tqdm | None = None

    @contextmanager
    def bar(self) -> Iterator[None]:
        """A progress bar for this block."""
        total = self.schedule["epochs"] * self.schedule["iterations"]
        with tqdm(total=total, desc="training", unit="step", disable=not self.progress) as self._bar:
            yield

    def step(self, loss: float) -> None:
        """Take the loss of the next step."""
        self._count += 1
        if not math.isfinite(loss):
            raise TrainingDiverged(f"the loss is {loss} at step {self._count}", self.frame())
        self.add("training loss", loss)
        self._bar.update()

    def add(self, quantity: str, value: float) -> None:
        self._rows.append({"step": self._count, "quantity": quantity, "value": value})

    def add_pseudo_dice(self, values: Sequence[float]) -> None:
        """nnU-Net's Dice over validation patches, after each epoch."""
        iterations = self.schedule["iterations"]
        self._rows += [{"step": (n + 1) * iterations, "quantity": "pseudo Dice", "value": value} for n, value in enumerate(values)]

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self._rows, columns=["step", "quantity", "value"])


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What nnU-Net prints goes to a file."""
    with path.open("w") as handle, redirect_stdout(handle):
        yield
