"""Finished experiments as segmenters that can be asked again."""

from __future__ import annotations

from typing import Any

from . import config, initial_weights, registry
from .types import Experiment, InputError


def segmenter_of(experiment: Experiment, progress: bool = False) -> Any:
    """The segmenter with the weights that the experiment ended with; InputError if it is not finished.

    An experiment that trains nothing has the weights that it starts from, a published checkpoint or a stand-in's pretraining.
    """
    folder = config.project_root() / "results" / experiment.profile / experiment.name
    if not (folder / "experiment.json").is_file():
        raise InputError(folder, "this experiment is not finished", "Run its notebook first, or `python -m lungseg_utils run`.")
    options = config.resolve_options(experiment, config.load().profile(experiment.profile))
    segmenter = registry.plugin("models", experiment.model).build(options, experiment.seed)
    weights = folder / "weights.pt"
    first = initial_weights.initial_weights(experiment.model, options, progress)
    if first:
        segmenter.load_pretrained(first)
    if weights.is_file():
        segmenter.load(weights)
    return segmenter
