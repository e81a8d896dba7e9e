"""Estimate the cost of a profile before it runs: every training and evaluation, GPU hours, disk, and missing files with their remedy.

All hours are estimates: floating-point operations of the full-size networks (data/results/efficiency_*.csv) times the number of runs,
divided by a speed. The speed is that of the same network on the GPU of efficiency_cuda.csv, if measured; else the one that nnU-Net's
authors published. A network that was not measured, such as a stand-in, has no estimate and is counted separately.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import pandas as pd

from .. import registry
from ..core import project
from ..data import collections, exclusions, splits
from ..data.samples import RECORD, names
from ..prompts.ladder import PROMPT_SETTINGS
from ..types import Experiment, Options, Record
from . import cohorts, config, initial_weights, planning, results
from .costs import subjects, table

# A backward pass takes twice the operations of its forward pass: Kaplan et al. 2020, arXiv:2001.08361, section 2.1.
TRAINED, FORWARD = 3.0, 1.0
# nnU-Net's own schedule and, as nnunetv2 plans it for MSD Task06 Lung (see full_size), its batch.
NNUNET_EPOCHS, NNUNET_ITERATIONS, NNUNET_BATCH = 1000, 250, {"2d": 12, "3d_fullres": 2}
NNUNET_VALIDATION_SHARE = 1 / 5
# One epoch of Task002_Heart, 3d_fullres (patches of 80 x 192 x 160 as here, 2 a batch), on one A100 40 GB: documentation/
# expected_epoch_times.md of github.com/MIC-DKFZ/nnUNet, commit 13b2fa9.
NNUNET_EPOCH_SECONDS = 51.17
PUBLISHED_SPEED = f"nnU-Net's published epoch of {NNUNET_EPOCH_SECONDS} s on an A100 40 GB"
# Adam keeps two numbers a weight, the best weights are kept beside the last ones (training.train): float32 all of them.
WEIGHT_BYTES, CHECKPOINT_BYTES = 4, 4 * 4
# A validation patient is kept in memory as float32 and a mask (run), on the reference volume of full_size; a training patient only on the
# working grid of networks.automatic, as int16 and float16.
PATIENT_BYTES, WORKING_BYTES = 5 * math.prod(subjects.SHAPE), 2 + 2
COLUMNS = ["experiment", "title", "kind", "dataset", "patients", "amount", "gpu_hours", "disk_gb", "memory_gb", "speed", "finished"]
TRAINING, EVALUATION = "training", "evaluation"


@dataclass(frozen=True)
class Missing:
    """A missing file or data set, its size in bytes (0: unknown), and the command that fetches it."""

    what: str
    size: int
    command: str


@dataclass(frozen=True)
class Outlook:
    """`steps`: one row per training or evaluation (`COLUMNS`; `amount` are steps or prompt settings); NaN where nothing was measured."""

    profile: str
    steps: pd.DataFrame
    missing: tuple[Missing, ...]


def look_ahead(profile: str) -> Outlook:
    """All that a profile plans, whether or not its data are here; only tables and names of files are read."""
    asked, known = _asked(profile), _Known()
    rows = [row for experiment, settings in asked.items() for row in _rows(experiment, *settings, known)]
    return Outlook(profile, pd.DataFrame(rows, columns=COLUMNS), tuple(_missing(profile, asked)))


class _Known:
    """What many experiments share, looked up once."""

    def __init__(self) -> None:
        self.network = cache(partial(_network, _costs("cpu"), _costs("cuda")))
        self.training_patients, self.tested_patients = cache(_training_patients), cache(_tested_patients)


def _asked(profile: str) -> dict[Experiment, tuple[tuple[str, ...], list[str]]]:
    """(test data sets, prompt settings) of every planned experiment; two notebooks with one experiment share its predictions."""
    found: dict[Experiment, tuple[dict[str, None], set[str]]] = {}
    wanted = set(config.load().profile(profile).prompters)
    for line in config.load().lines(profile):
        for experiment in planning.planned_runs(line.notebook, profile):
            datasets, settings = found.setdefault(experiment, ({}, set()))
            datasets.update(dict.fromkeys(config.load().test_datasets(line.notebook, profile)))
            settings |= set(line.prompters) & wanted
    return {e: (tuple(datasets), [name for name in PROMPT_SETTINGS if name in settings]) for e, (datasets, settings) in found.items()}


def _rows(experiment: Experiment, datasets: Sequence[str], settings: Sequence[str], known: _Known) -> Iterable[Record]:
    profile, work = experiment.profile, _Work.of(experiment, known)
    source, finished = work.network.source, results.is_finished(experiment)
    shared = {"experiment": experiment.name, "title": planning.experiment_title(experiment), "speed": source, "finished": finished}
    if registry.card("paradigms", experiment.paradigm).uses_target_labels:
        counts = (experiment.k, 0) if experiment.k else known.training_patients(profile, experiment.train_dataset, experiment.fold)
        row = {"kind": TRAINING, "dataset": experiment.train_dataset, "patients": sum(counts), "amount": work.steps}
        sizes = {"disk_gb": work.bytes_kept / 1e9, "memory_gb": work.bytes_held(*counts) / 1e9}
        yield shared | row | {"gpu_hours": work.hours(work.training(counts[1]))} | sizes
    for dataset in datasets:
        questions = planning.questions_of(experiment, dataset, settings)
        trained_on_it = experiment.fold if experiment.train_dataset == dataset else None
        patients = known.tested_patients(profile, dataset, trained_on_it)
        row = {"kind": EVALUATION, "dataset": dataset, "patients": patients, "amount": len(questions)}
        yield shared | row | {"gpu_hours": work.hours(patients * work.evaluation(questions)), "disk_gb": 0.0, "memory_gb": 0.0}


def _training_patients(profile: str, dataset: str, fold: int) -> tuple[int, int]:
    if not splits.has_split(dataset):
        return registry.card("datasets", dataset).labeled_patients, 0
    train, validation = cohorts.training_patients(dataset, config.load().profile(profile), fold)
    return len(train), len(validation)


def _tested_patients(profile: str, dataset: str, trained_fold: int | None) -> int:
    """Number of test patients by splits, exclusions and publications; `trained_fold`: if the experiment was trained on the data set."""
    card, size = registry.card("datasets", dataset), config.load().profile(profile)
    if card.phantom:
        return size.phantoms.test + size.phantoms.tumor_free
    if dataset not in config.load().trained_on(profile) or not splits.has_split(dataset):
        return card.labeled_patients
    return len(cohorts.tested_patients(dataset, size, trained_fold))


@dataclass(frozen=True)
class _Network:
    """What a measured network takes: operations and slices by stage, parameters, voxels of one input, operations a second of whom."""

    flops: Mapping[str, float]
    slices: Mapping[str, float]
    parameters: float
    input_voxels: int
    speed: float
    source: str


_NOTHING = _Network({}, {}, 0, 1, math.inf, "no network")
_UNMEASURED = _Network({}, {}, math.nan, 1, math.nan, "not measured")


def _network(cpu: pd.DataFrame, cuda: pd.DataFrame, name: str) -> _Network:
    costs = cpu[cpu["model"] == name]
    if costs.empty:
        return _UNMEASURED
    flops, slices = (costs[costs["quantity"] == q].set_index("stage")["value"].to_dict() for q in ("flops", "slices"))
    parameters = float(costs.loc[costs["quantity"] == "parameters", "value"].iloc[0])
    sizes = re.split(r"[^\d x]", costs["input"].iloc[0], maxsplit=1)[0]
    return _Network(flops, slices, parameters, math.prod(int(n) for n in sizes.split(" x ")), *_speed(cpu, cuda[cuda["model"] == name]))


def _speed(cpu: pd.DataFrame, measured: pd.DataFrame) -> tuple[float, str]:
    """Operations a second, and whose figure that is."""
    rows = measured[measured["stage"].isin(["input", "encode"])].set_index("quantity")["value"]
    if {"flops", "seconds"} <= set(rows.index):
        return rows["flops"] / rows["seconds"], f"the network itself, measured on {measured['device'].iloc[0]}"
    epoch = (TRAINED + NNUNET_VALIDATION_SHARE * FORWARD) * NNUNET_ITERATIONS * NNUNET_BATCH["3d_fullres"]
    patch = cpu.query("model == 'nnunet_3d' and stage == 'input' and quantity == 'flops'")["value"].iloc[0]
    return epoch * patch / NNUNET_EPOCH_SECONDS, PUBLISHED_SPEED


def _costs(device: str) -> pd.DataFrame:
    path = project.project_root() / "data" / "results" / f"efficiency_{device}.csv"
    return table.one_setting(table.read(path)) if path.is_file() else pd.DataFrame(columns=list(table.COLUMNS))


@dataclass(frozen=True)
class _Work:
    """What one experiment computes with its network."""

    options: Options
    promptable: bool
    network: _Network

    @classmethod
    def of(cls, experiment: Experiment, known: _Known) -> _Work:
        """The work of an experiment; of nothing, for a model that does not learn."""
        options = config.resolve_options(experiment, config.load().profile(experiment.profile))
        card = registry.card("models", experiment.model)
        if not card.learns:
            return cls(options, False, _NOTHING)
        subject = subjects.subject_of(experiment.model, options)
        return cls(options, not card.is_automatic, known.network(subject.name) if subject else _UNMEASURED)

    @property
    def steps(self) -> int:
        """Of the optimizer."""
        if "epochs" in self.options:
            return (self.options["epochs"] or NNUNET_EPOCHS) * (self.options["iterations_per_epoch"] or NNUNET_ITERATIONS)
        return self.options["steps"]

    def training(self, validation_patients: int) -> float:
        """Operations of a training, with its validations."""
        if not self.network.flops:
            return math.nan
        if self.promptable:
            looks = self._validations() * validation_patients
            return self.steps * self._prompted_step() + looks * self._asked([("box_every_slice", 1), ("box_one_slice", 1)])
        if "epochs" in self.options:
            batches = self.steps * (TRAINED + (NNUNET_VALIDATION_SHARE if validation_patients else 0) * FORWARD)
            batch = NNUNET_BATCH[self.options["configuration"]] * self.network.flops["input"]
            return batches * batch + validation_patients * self._volume("none")
        share = math.prod(self.options["patch"]) / self.network.input_voxels
        looks = self._validations() * validation_patients
        return self.steps * self.options["batch_size"] * share * TRAINED * self.network.flops["input"] + looks * self._volume("none")

    def _validations(self) -> int:
        every = self.options["validate_every"]
        return self.steps // every if every else 0

    def _prompted_step(self) -> float:
        encoder = FORWARD if self.options["trainable"] == "decoder" else TRAINED
        look = self.network.flops.get("track", self.network.flops["prompt"])
        slices = self.options["batch_size"] * self.options.get("clip_slices", 1)
        return slices * (encoder * self.network.flops["encode"] + TRAINED * look)

    def evaluation(self, questions: Sequence[planning.Question]) -> float:
        """Operations for one patient, taken to be the reference volume.

        An automatic network predicts once for all prompt settings. A promptable one encodes each slice once, and decodes for each setting;
        dialogues of clicks share their predictions.
        """
        if not self.network.flops:
            return 0.0 if self.network.parameters == 0 else math.nan
        if not questions:
            return 0.0
        if not self.promptable:
            return self._volume("none")
        alone = [(q.prompter, q.draws) for q in questions if q.jitter or not _predictions(q.prompter)]
        dialogue = max((_predictions(q.prompter) for q in questions if not q.jitter), default=0)
        return self._asked([*alone, *([("click", dialogue)] if dialogue else [])])

    def _asked(self, settings: Sequence[tuple[str, int]]) -> float:
        """A promptable network's operations for one patient; every prompt setting is taken for a box on every slice, or on one."""
        looks = [(_like(setting), count) for setting, count in settings]
        encoded = {name: self.network.slices[table.VOLUME + name] * self.network.flops["encode"] for name, _ in looks}
        return max(encoded.values()) + sum(count * (self._volume(name) - encoded[name]) for name, count in looks)

    def _volume(self, prompter: str) -> float:
        mirrored = prompter == "none" and self.options.get("mirroring")
        return self.network.flops[table.VOLUME + (table.MIRRORED if mirrored else prompter)]

    def hours(self, operations: float) -> float:
        """On the GPU of the speed."""
        return operations / self.network.speed / 3600 if operations else 0.0

    @property
    def bytes_kept(self) -> float:
        """Weights, and the state to go on from, which nnU-Net does not leave."""
        return self.network.parameters * (WEIGHT_BYTES + (0 if "epochs" in self.options else CHECKPOINT_BYTES))

    def bytes_held(self, train: int, validation: int) -> float:
        """Of patients, in memory while it trains."""
        if self.promptable or "epochs" in self.options:
            return validation * PATIENT_BYTES
        voxels = math.prod(subjects.SHAPE) * math.prod(subjects.SPACING_MM) / math.prod(self.options["spacing_mm"])
        return validation * PATIENT_BYTES + (train + validation) * voxels * WORKING_BYTES


def _like(setting: str) -> str:
    every_slice = setting in ("box_every_slice", "box_alternate_slices", "box_3d", "detector_box")
    return "box_every_slice" if every_slice else "box_one_slice"


def _predictions(setting: str) -> int:
    """Number of predictions of a dialogue of clicks; 0 for any other prompt setting."""
    dialogue = re.fullmatch(r"clicks_(\d+)", setting)
    return int(dialogue[1]) if dialogue else int(setting == "click")


def _missing(profile: str, asked: Mapping[Experiment, tuple[tuple[str, ...], list[str]]]) -> Iterable[Missing]:
    named = {name for datasets, _ in asked.values() for name in datasets} | config.load().trained_on(profile)
    trained_on = {registry.whole(name) for name in config.load().trained_on(profile)}
    for dataset in sorted({registry.whole(name) for name in named if not registry.card("datasets", name).phantom}):
        yield from _missing_of_dataset(dataset, dataset in trained_on)
    yield from _missing_weights(asked)


def _missing_of_dataset(dataset: str, trained_on: bool) -> Iterable[Missing]:
    command = "python -m lungseg_utils"
    if not _is_whole(dataset):
        samples = " (samples are here: move them away first)" if (project.cache_root() / dataset).exists() else ""
        whole = " --all" if dataset in names() else ""
        yield Missing(f"data set {dataset}{samples}", collections.size(dataset), f"{command} fetch {dataset}{whole}")
    elif trained_on and (lacking := _not_seen(dataset)):
        what = f"{len(lacking)} patients of {dataset} who stand in its split, {lacking[0]} first"
        yield Missing(what, 0, f"{command} data check {project.cache_root() / dataset} --dataset {dataset}")
    if not exclusions.path(dataset).is_file():
        yield Missing(f"which cases of {dataset} cannot be used", 0, f"{command} exclusions {dataset}")
    if trained_on and not splits.has_split(dataset):
        yield Missing(f"split of {dataset}", 0, f"{command} split {dataset} --test 0.25")


def _is_whole(dataset: str) -> bool:
    folder = project.cache_root() / dataset
    return (folder / RECORD).is_file() or (folder.exists() and dataset not in names())


def _not_seen(dataset: str) -> list[str]:
    """Patients of a split whose name no file or folder bears, as both kinds of published layout have it; headers are not read."""
    folder = project.cache_root() / dataset
    seen = {path.name.split(".")[0] for depth in ("*", "*/*", "*/*/*") for path in folder.glob(depth)}
    excluded = set(exclusions.read([dataset])["case_id"])
    split = splits.read_splits(dataset)["patient_id"] if splits.has_split(dataset) else ()
    return [patient for patient in split if patient not in seen | excluded]


def _missing_weights(asked: Iterable[Experiment]) -> Iterable[Missing]:
    needed = {}
    for experiment in asked:
        options = config.resolve_options(experiment, config.load().profile(experiment.profile))
        if checkpoint := initial_weights.checkpoint(experiment.model, options):
            needed[checkpoint.file] = checkpoint
    for file, checkpoint in needed.items():
        if not initial_weights.is_here(checkpoint):
            yield Missing(f"weights {file}", checkpoint.size, initial_weights.how_to_get(checkpoint))


def in_words(outlook: Outlook) -> str:
    """A report: every experiment with its command, what is missing with its command, totals and their assumptions."""
    parts = [_experiment_in_words(name, part, outlook.profile) for name, part in outlook.steps.groupby("experiment", sort=False)]
    book = f"Then: make book PROFILE={outlook.profile} runs whatever of it is not finished, and builds the pages over all of it."
    return "\n\n".join([*parts, _missing_in_words(outlook.missing), _totals(outlook), book])


def _experiment_in_words(name: str, part: pd.DataFrame, profile: str) -> str:
    lines = [f"{part['title'].iloc[0]}" + (" (finished)" if part["finished"].iloc[0] else "")]
    for row in part.itertuples():
        what = f"{row.amount:,} steps" if row.kind == TRAINING else f"{row.amount} questions"
        disk = f", {_gigabytes(row.disk_gb * 1e9)}" if row.kind == TRAINING else ""
        lines.append(f"  {row.kind} on {row.dataset}: {row.patients} patients, {what}, {_hours(row.gpu_hours)}{disk}")
    return "\n".join([*lines, f"  python -m lungseg_utils run {name} --profile {profile}"])


def _hours(value: float) -> str:
    if math.isnan(value):
        return "no estimate"
    return "under 0.01 GPU h" if value < 0.01 else f"about {value:.2g} GPU h" if value < 100 else f"about {value:,.0f} GPU h"


def _gigabytes(size: float) -> str:
    return "unknown size" if math.isnan(size) else f"{size / 1e9:.1f} GB"


def _missing_in_words(missing: Sequence[Missing]) -> str:
    lines = [f"  {m.what}" + (f", {_gigabytes(m.size)}" if m.size else "") + f": {m.command}" for m in missing]
    return "\n".join(["Missing:", *lines]) if lines else "Nothing is missing."


def _totals(outlook: Outlook) -> str:
    steps, still = outlook.steps, outlook.steps[~outlook.steps["finished"]]
    finished, unknown = (steps.loc[rows, "experiment"].nunique() for rows in (steps["finished"], steps["gpu_hours"].isna()))
    trainings = steps["kind"] == TRAINING
    to_fetch, kept = sum(m.size for m in outlook.missing), still["disk_gb"].sum() * 1e9
    lines = [
        "Still to do, by method:",
        *[f"  {title}: {_hours(part['gpu_hours'].sum(skipna=False))}" for title, part in still.groupby("title", sort=False)],
        "",
        f"Profile {outlook.profile}: {steps['experiment'].nunique()} experiments ({finished} finished), {trainings.sum()} trainings, "
        f"{(~trainings).sum()} evaluations.",
        f"Still to do: {_hours(still['gpu_hours'].sum())}, {_hours(still.loc[trainings, 'gpu_hours'].sum())} of it trainings; "
        f"{unknown} experiments have no estimate.",
        f"Disk: {_gigabytes(to_fetch)} to fetch, {_gigabytes(kept)} of weights and states to go on from; answers and tables are small.",
        f"Memory: up to {_gigabytes(steps['memory_gb'].max() * 1e9)} for the patients of a training; nnU-Net copies its own to disk.",
        "All hours are estimates, of the networks alone: counted operations, a training step as three forward passes (arXiv:2001.08361),",
        "patients as large as the reference volume of data/results/efficiency_cpu.csv, at the speed of:",
        *[f"  {source} ({part['experiment'].nunique()} experiments)" for source, part in steps.groupby("speed")],
    ]
    return "\n".join(lines)
