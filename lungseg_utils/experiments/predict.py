"""Segment one CT with a trained model: the command `predict`."""

from __future__ import annotations

from pathlib import Path

from .. import registry
from ..core import outputs
from ..data import grids, images, nifti
from ..types import Experiment, InputError, Prediction
from . import config, load, planning, store


def predict_file(model: str, image: Path, out: Path, profile: str = "patients", seed: int = 0) -> Prediction:
    """Segment a NIfTI file or DICOM folder with the fully trained `model`; the mask is written on the image's own grid.

    Raises:
        InputError: if the image is unusable, or no CT in Hounsfield units; if `out` cannot be written, or is the image; if the model
            needs prompts, or has not been trained under `profile` yet.
    """
    outputs.require_file(out, [image], (".nii.gz", ".nii"))
    experiment = _trained(model, profile, seed)
    volume = images.read_image(image)
    grids.require_hu(volume, image)
    segmenter = load.segmenter_of(experiment)
    segmenter.set_image(volume)
    prediction = segmenter.predict(())
    nifti.write_mask(prediction.mask, out, like_path=image)
    return prediction


def _trained(model: str, profile: str, seed: int) -> Experiment:
    if "none" not in registry.card("models", model).prompts:
        raise InputError(model, "it answers prompts only", "Choose an automatic model, e.g. unet.")
    lines = [line for line in config.load().experiments.values() if line.model == model and line.train_dataset != config.NO_DATASET]
    for line in lines:
        experiment = planning.make_experiment(line.notebook, profile, seed)
        if (store.results_folder(experiment) / "experiment.json").is_file():
            return experiment
    names = ", ".join(line.notebook for line in lines) or "none in experiments.yml"
    raise InputError(model, f"not trained under profile {profile}", f"Run `python -m lungseg_utils run` with one of: {names}.")
