"""SAM 2.1 (Hiera tiny) with Meta's weights: promptable video segmentation without medical training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import ct_windows
from ..types import Checkpoint, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.sam2 import Sam2Segmenter


CARD = ModelCard(
    title="SAM 2.1 (Hiera-T)",
    summary="Promptable segmentation of natural images and videos; a CT slice is a picture, and a stack of slices a video with a memory.",
    reference="Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024",
    doi="10.48550/arXiv.2408.00714",
    license="Apache-2.0",
    paradigms=("zero_shot",),
    prompts=("box", "points"),
    reads="a video of slices",
    pretraining="photographs, videos",
    architecture="sam2.1_hiera_t",
    options={
        "config": "sam2.1_hiera_t",
        "canvas": 1024,
        "window_hu": ct_windows.SOFT_TISSUE_HU,  # its authors name none for CT; the same as for SAM, so that the two can be compared
        "eight_bit": True,
        "cubic": True,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "steps": 0,
        "batch_size": 1,
        "learning_rate": 5e-5,
        "validate_every": 1,
        "box_jitter": 0.0,
        "clip_slices": 8,
        "device": "auto",
        "precision": "by_device",  # or fp32, or bf16: on a processor a choice whose effect has to be shown
    },
)
CHECKPOINTS = (
    Checkpoint(
        file="sam2.1_hiera_tiny.pt",
        url="https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt",
        size=156_008_466,
        sha256="7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        license="Apache-2.0",
        citation="Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, arXiv:2408.00714",
    ),
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return ct_windows.title(CARD, options)


def initial_weights(options: Options) -> Checkpoint:
    """The published file."""
    return CHECKPOINTS[0]


def build(options: Options, seed: int = 0) -> Sam2Segmenter:
    """The network with random weights drawn from `seed` inside its segmenter; `options` as in CARD.options."""
    from ..networks.sam2 import build_segmenter

    return build_segmenter(options, seed)
