"""Load finished experiments as segmenters."""

from __future__ import annotations

from pathlib import Path

from .. import registry
from ..types import Experiment, InputError, Record, Segmenter, trainable
from . import config, initial_weights, store


def segmenter_of(experiment: Experiment, progress: bool = False) -> Segmenter:
    """The segmenter with the final weights of the experiment; InputError if it should be trained and is not finished.

    An untrained experiment has its initial weights: a published checkpoint or a stand-in's pretraining.
    """
    first, last = weights_files(experiment, progress)
    segmenter = initial_weights.build_from(first, experiment.model, _options(experiment), experiment.seed)
    if last:
        trainable(segmenter).load(last)
    return segmenter


def weights_files(experiment: Experiment, progress: bool = False) -> tuple[Path | None, Path | None]:
    """Files of initial and final weights, None where there is none; InputError as in `segmenter_of`."""
    folder = store.results_folder(experiment)
    if registry.card("paradigms", experiment.paradigm).uses_target_labels and not (folder / "experiment.json").is_file():
        raise InputError(folder, "this experiment is not finished", "Run its notebook first, or `python -m lungseg_utils run`.")
    first = initial_weights.initial_weights(experiment.model, _options(experiment), progress)
    weights = folder / "weights.pt"
    return first, weights if weights.is_file() else None


def _options(experiment: Experiment) -> Record:
    return config.resolve_options(experiment, config.load().profile(experiment.profile))
