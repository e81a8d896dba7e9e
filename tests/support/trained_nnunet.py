"""A tiny nnU-Net, planned and trained by nnunetv2's own commands in a process of its own."""

import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from lungseg_utils.types import Image, Mask, Study

DATASET = "Dataset007_Balls"
SPACING = (1.5, 1.5, 3.0)
SHAPE = (40, 36, 16)


def ball(seed, shape=SHAPE, spacing=SPACING, radius=10, margins=(12, 14)):
    """A study in RAS+: a bright ball in noise, in the half of low x: an answer with a side turned round would miss it.

    `radius` and `margins`, of the center to the sides of x and of the other axes, in mm.
    """
    rng = np.random.default_rng(seed)
    size = np.multiply(shape, spacing)
    centre = [rng.uniform(margins[0], size[0] / 2 - 5), *rng.uniform(margins[1], size[1:] - margins[1])]
    grid = np.meshgrid(*[np.arange(n) * s - c for n, s, c in zip(shape, spacing, centre, strict=True)], indexing="ij")
    inside = sum(g**2 for g in grid) < radius**2
    affine = np.diag([*spacing, 1.0])
    return Study(Image(np.rint(np.where(inside, 50, -800) + rng.normal(0, 30, shape)), affine), {"reference": Mask(inside, affine)})


def save(array, affine, path, axes):
    """A NIfTI file of an RAS+ array, stored with these axes."""
    image = nib.Nifti1Image(array, affine)
    change = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(axes))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(change), path)
    return path


def run(folder, *command):
    """A command of nnunetv2 with its folders below `folder`, on one core."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    environment = os.environ | {name: str(folder / name) for name in names}
    environment |= {
        "nnUNet_n_proc_DA": "0" if command[0] == "nnUNetv2_train" else "1",
        "nnUNet_compile": "f",
        "nnUNet_wandb_enabled": "0",
        "OMP_NUM_THREADS": "1",
    }
    program = str(Path(sys.executable).with_name(command[0]))
    # first what lets the trainers of the package import torchvision beside a CPU build of torch
    start = "import runpy, sys, lungseg_utils.networks; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", start, program, *command[1:]], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def train(folder, axes="LPS", labels=None, folds=("0",), trainer="nnUNetTrainer_1epoch"):
    """Write balls as a raw data set, plan and train; returns the folder of results."""
    labels = labels or {"background": 0, "tumor": 1}
    raw = folder / "nnUNet_raw" / DATASET
    for number in range(5):
        study = ball(number)
        save(study.image.array.astype(np.int16), study.image.affine, raw / "imagesTr" / f"case_{number}_0000.nii.gz", axes)
        save(study.reference.array.astype(np.uint8), study.image.affine, raw / "labelsTr" / f"case_{number}.nii.gz", axes)
    description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 5, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(description))
    run(folder, "nnUNetv2_plan_and_preprocess", "-d", "7", "-c", "3d_fullres", "-npfp", "1", "-np", "1")
    plans = folder / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json"
    plans.write_text(json.dumps(_narrow(json.loads(plans.read_text()))))
    for fold in folds:
        run(folder, "nnUNetv2_train", "7", "3d_fullres", fold, "-tr", trainer, "-device", "cpu")
    return folder / "nnUNet_results" / DATASET / f"{trainer}__nnUNetPlans__3d_fullres"


def predicted_by_package(folder, image, checkpoint):
    """What nnunetv2's predictor says of an RAS+ array that it sees as SimpleITK reads a file of MSD: (z, y, x), not turned round."""
    with redirect_stdout(StringIO()):
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), (0,), checkpoint)
        stored = np.ascontiguousarray(np.transpose(image.array, (2, 1, 0)))[None]
        labels = predictor.predict_single_npy_array(stored, {"spacing": list(image.spacing_mm[::-1])}, None, None, False)
    return np.transpose(labels == 1, (2, 1, 0))


def _narrow(plans):
    """The same plans for a network that one core trains in seconds."""
    plans["configurations"]["3d_fullres"]["patch_size"] = [8, 24, 24]
    network = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [4 for _ in network["features_per_stage"]]
    network["n_conv_per_stage"] = [1 for _ in network["n_conv_per_stage"]]
    network["n_conv_per_stage_decoder"] = [1 for _ in network["n_conv_per_stage_decoder"]]
    return plans
