"""A playground that needs no trained results: a small phantom chest as a file, and small networks, named as what they are."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import torch

from lungseg_utils import registry
from lungseg_utils.data import images
from lungseg_utils.experiments import config, planning
from lungseg_utils.networks.training_volumes import lesion_volumes
from lungseg_utils.types import Case, Image, Mask, Study
from lungseg_utils.viewers.playground import playground
from lungseg_utils.viewers.playground.session import LoadedModel, OfferedModel
from lungseg_utils.viewers.playground.widget import Playground
from tests.support.sample_book import sample_case

SHAPE = (96, 90, 24)
TITLE, TRIVIAL_TITLE = "SAM-type stand-in, tiny, trained for a moment", "trivial: ellipse or ball"
NETWORK, TRIVIAL, SLOW, NO_WEIGHTS = "tiny", "trivial", "slow", "without_weights"


def sample_study(seed: int = 0) -> Study:
    """A chest with one tumor, on voxels that are not cubes, in CT values that viewers store exactly."""
    case = sample_case("one", seed=seed, shape=SHAPE)
    hu = np.round(np.clip(case.image.array, -1000, 1000) / 4) * 4
    affine = case.image.affine.astype(np.float32).astype(float)  # what a NIfTI file holds of it
    return Study(Image(hu.astype(np.float32), affine), {"reference": Mask(case.masks["reference"].array, affine)})


def write_case(folder: Path, axes: str = "LPS", seed: int = 0) -> Case:
    """The study as NIfTI files whose axes run as `axes` say."""
    study = sample_study(seed)
    paths = folder / "chest.nii.gz", folder / "reference.nii.gz"
    for path, volume in zip(paths, (study.image, study.references["reference"]), strict=True):
        file = nibabel.Nifti1Image(volume.array.astype(np.int16), volume.affine)
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(file.affine), nibabel.orientations.axcodes2ornt(tuple(axes)))
        folder.mkdir(parents=True, exist_ok=True)
        nibabel.save(file.as_reoriented(turn), path)
    return Case("folder", f"chest-{axes}", f"chest-{axes}", paths[0], (paths[1],))


def small_segmenter(model: str = "sam_stand_in", seed: int = 0, **changes):
    """A network of the smoke profile on a processor, with random weights; `changes` of its options."""
    notebook = {"sam_stand_in": "medsam_fine_tuned", "sam2_stand_in": "medsam2_fine_tuned"}[model]
    options = config.resolve_options(planning.make_experiment(notebook, "smoke"), config.load().profile("smoke"))
    return registry.plugin("models", model).build(options | {"device": "cpu"} | changes, seed)


def train_for_a_moment(segmenter, studies, steps: int = 60):
    """So that its answers have edges that no rounding moves."""
    volumes = lesion_volumes(list(studies), beyond=1)
    rng, criterion = np.random.default_rng(0), segmenter._loss()
    optimizer = torch.optim.AdamW(segmenter.network.parameters(), lr=2e-3)
    segmenter.network.train()
    for _ in range(steps):
        inputs, targets = segmenter._batch([volumes[rng.integers(len(volumes))] for _ in range(4)], rng)
        loss = criterion(segmenter.network(*inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return segmenter


def write_weights(path: Path) -> None:
    """Weights of the tiny network."""
    train_for_a_moment(small_segmenter(), [sample_study(seed) for seed in range(3)]).save(path, {})


def loaded(weights: Path) -> LoadedModel:
    """The tiny network with these weights."""
    segmenter = small_segmenter()
    segmenter.load(weights)
    return LoadedModel(segmenter, "0" * 64)


@cache
def trivial() -> LoadedModel:
    """The ellipse in the box."""
    return LoadedModel(registry.plugin("models", "trivial").build({"rule": "ellipse", "median_diameter_mm": 31.0}), "none")


def offers(weights: Path) -> list[OfferedModel]:
    """The tiny network, the trivial baseline, the tiny network as slow as a large one, and a model whose weights are not there."""

    def slow() -> LoadedModel:
        model = loaded(weights)
        encode = model.segmenter.network.encode
        model.segmenter.network.encode = lambda pictures: time.sleep(0.4) or encode(pictures)
        return model

    def missing() -> LoadedModel:
        return loaded(images.read_image(weights.parent / "published.pt"))

    return [
        OfferedModel(TITLE, NETWORK, lambda: loaded(weights)),
        OfferedModel(TRIVIAL_TITLE, TRIVIAL, trivial),
        OfferedModel("the same, slowed down", SLOW, slow),
        OfferedModel("a model without weights", NO_WEIGHTS, missing),
    ]


def open_playground(folder: str | Path) -> Playground:
    """What the notebook of the browser tests shows; `folder` was filled by `fill`."""
    folder = Path(folder)
    case = Case("folder", "chest-LPS", "chest-LPS", folder / "chest.nii.gz", (folder / "reference.nii.gz",))
    return playground(case, offers(folder / "weights.pt"), folder / "sessions")


def fill(folder: Path) -> Case:
    """Everything that `open_playground` reads."""
    write_weights(folder / "weights.pt")
    return write_case(folder)


def largest_slice(reference: Mask) -> int:
    """Where the lesion is largest."""
    return int(np.argmax(reference.array.sum(axis=(0, 1))))


def corners(reference: Mask, index: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last voxel (i, j) of the lesion on a slice, along both axes."""
    where = np.argwhere(reference.array[:, :, index])
    return tuple(int(v) for v in where.min(0)), tuple(int(v) for v in where.max(0))
