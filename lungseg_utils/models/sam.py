"""SAM (ViT-B) with Meta's weights: promptable segmentation without medical training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import ct_windows
from ..types import Checkpoint, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.sam import SamSegmenter


CARD = ModelCard(
    title="SAM (ViT-B)",
    summary="Promptable segmentation of natural images; each CT slice is one picture, each box one prompt.",
    reference="Kirillov et al., Segment Anything, ICCV 2023",
    doi="10.1109/ICCV51070.2023.00371",
    license="Apache-2.0",
    paradigms=("zero_shot",),
    prompts=("box", "points"),
    reads="single slices",
    pretraining="photographs",
    architecture="ViT-B",
    options={
        "canvas": 1024,
        "window_hu": ct_windows.SOFT_TISSUE_HU,
        "eight_bit": True,
        "cubic": True,
        "mean": (0.485, 0.456, 0.406),  # the package's pixel mean and deviation over 255
        "std": (0.229, 0.224, 0.225),
        "steps": 0,
        "batch_size": 1,
        "learning_rate": 1e-4,
        "validate_every": 1,
        "box_jitter": 0.0,
        "device": "auto",
        "precision": "by_device",  # or fp32, or bf16: on a processor a choice whose effect has to be shown
    },
)
CHECKPOINTS = (
    Checkpoint(
        file="sam_vit_b_01ec64.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
        size=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        license="Apache-2.0",
        citation="Kirillov et al., Segment Anything, ICCV 2023, doi:10.1109/ICCV51070.2023.00371",
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
