"""MedSAM (Ma et al. 2024): SAM's ViT-B fine-tuned on 1.5 million medical masks, prompted by a box on a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import ct_windows
from ..types import Checkpoint, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.sam import SamSegmenter


CARD = ModelCard(
    title="MedSAM (ViT-B)",
    summary="SAM trained further on medical images. Preprocessing of its authors: CT window, 8 bit, plain resize to 1024, min-max.",
    reference="Ma et al., Segment anything in medical images, Nature Communications 2024",
    doi="10.1038/s41467-024-44824-z",
    license="Apache-2.0",
    paradigms=("zero_shot", "few_shot", "fine_tuned"),
    prompts=("box",),
    reads="single slices",
    pretraining="medical images",
    architecture="ViT-B",
    options={
        "canvas": 1024,
        "window_hu": ct_windows.SOFT_TISSUE_HU,  # the default of their pre_CT_MR.py; their paper has another one for the lung
        "eight_bit": True,
        "min_max": True,
        "cubic": True,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "steps": 20_000,
        "batch_size": 2,
        "learning_rate": 1e-4,
        "validate_every": 1000,
        "box_jitter": 0.1,
        "trainable": "encoder_and_decoder",
        "loss": "dice_bce_per_image",
        "device": "auto",
        "precision": "by_device",  # or fp32, or bf16: on a processor a choice whose effect has to be shown
    },
)
CHECKPOINTS = (
    Checkpoint(
        file="medsam_vit_b.pth",
        url="https://zenodo.org/records/10689643/files/medsam_vit_b.pth#md5=3bb6db55bd0c9ca30b61248bca72f8d6",
        size=0,
        sha256="",
        license="Apache-2.0",
        citation="Ma et al., Segment anything in medical images, Nature Communications 2024, doi:10.1038/s41467-024-44824-z",
    ),
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return ct_windows.title(CARD, options)


def initial_weights(options: Options) -> Checkpoint:
    """The published file."""
    return CHECKPOINTS[0]


def build(options: Options, seed: int = 0) -> SamSegmenter:
    """The network with random weights drawn from `seed` inside its segmenter; `options` as in CARD.options."""
    from ..networks.sam import build_segmenter

    return build_segmenter(options, seed)
