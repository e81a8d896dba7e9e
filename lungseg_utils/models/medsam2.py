"""MedSAM2 (Ma et al. 2025): SAM 2.1 fine-tuned on 3-D medical images, at half the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import ct_windows
from ..types import Checkpoint, InputError, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.sam2 import Sam2Segmenter


CARD = ModelCard(
    title="MedSAM2 (Hiera-T)",
    summary="SAM 2.1 trained further on 455,000 medical volumes with masks. Its authors' picture: CT window, 8 bit, plain resize to 512.",
    reference="Ma et al., MedSAM2: Segment Anything in 3D Medical Images and Videos, 2025",
    doi="10.48550/arXiv.2504.03600",
    license="code Apache-2.0; weights for research and education",
    paradigms=("zero_shot", "few_shot", "fine_tuned"),
    prompts=("box",),
    reads="a video of slices",
    pretraining="medical images, LIDC-IDRI too",
    architecture="sam2.1_hiera_t",
    options={
        "checkpoint": "MedSAM2_latest.pt",
        "config": "sam2.1_hiera_t",
        "canvas": 512,
        # their scripts take the window that DeepLesion's table names for each lesion; this one shows lung and soft tissue
        "window_hu": ct_windows.LUNG_HU,
        "eight_bit": True,
        "cubic": True,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "steps": 5000,
        "batch_size": 1,
        "learning_rate": 5e-5,
        "validate_every": 500,
        "box_jitter": 0.1,
        "trainable": "encoder_and_decoder",
        "loss": "dice_bce_per_image",
        "clip_slices": 8,
        "device": "auto",
        "precision": "by_device",  # or fp32, or bf16: on a processor a choice whose effect has to be shown
    },
)
_TITLES = {"MedSAM2_latest.pt": "MedSAM2 (latest)", "MedSAM2_CTLesion.pt": "MedSAM2 (CT lesions)"}
_REVISION = "e4a6f35edd7e091619cbc0750f462f1574e23955"
CHECKPOINTS = tuple(
    Checkpoint(
        file=file,
        url=f"https://huggingface.co/wanglab/MedSAM2/resolve/{_REVISION}/{file}",
        size=0,  # its authors give neither size nor hash
        sha256="",
        license="research and education only, as its model page says",
        citation="Ma et al., MedSAM2: Segment Anything in 3D Medical Images and Videos, 2025, arXiv:2504.03600",
    )
    for file in _TITLES
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return ct_windows.titled(_TITLES[initial_weights(options).file], options)


def initial_weights(options: Options) -> Checkpoint:
    """The published file."""
    found = {checkpoint.file: checkpoint for checkpoint in CHECKPOINTS}
    if options["checkpoint"] not in found:
        raise InputError(f"checkpoint {options['checkpoint']}", "not among those of MedSAM2", f"Choose one of {', '.join(found)}.")
    return found[options["checkpoint"]]


def build(options: Options, seed: int = 0) -> Sam2Segmenter:
    """The network with random weights drawn from `seed` inside its segmenter; `options` as in CARD.options."""
    from ..networks.sam2 import build_segmenter

    return build_segmenter(options, seed)
