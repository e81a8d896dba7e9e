"""SAM-type stand-in: a small network of segment-anything's classes, pretrained on drawn objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import stand_ins
from ..types import ModelCard, Options, Pretraining

if TYPE_CHECKING:
    from ..networks.sam import SamSegmenter


CARD = ModelCard(
    title="SAM-type stand-in",
    summary="A small network of segment-anything's classes, prompted by boxes; pretrained on synthetic objects, never on lung tumors.",
    reference="architecture: Kirillov et al., ICCV 2023; sizes and pretraining: this project",
    doi="10.1109/ICCV51070.2023.00371",
    license="Apache-2.0",
    paradigms=("zero_shot", "few_shot", "fine_tuned"),
    prompts=("box", "points"),
    options={
        "pretraining": "ct_like",
        "pretraining_steps": 1200,
        "pretraining_batch_size": 12,
        "pretraining_learning_rate": 2e-3,
        "canvas": 64,
        "window_hu": (-910.0, 590.0),
        "field_mm": 40.0,
        "field_margin": 2.0,
        "patch": 8,
        "width": 96,
        "depth": 4,
        "heads": 4,
        "global_blocks": (1, 3),
        "window": 4,
        "prompt_width": 64,
        "decoder_width": 256,
        "steps": 1000,
        "batch_size": 12,
        "learning_rate": 1e-3,
        "validate_every": 333,
        "box_jitter": 0.2,
        "follow_share": 0.6,
        "point_share": 0.25,
        "point_field_mm": 100.0,
        "trainable": "encoder_and_decoder",
        "loss": "dice_bce_per_image",
        "device": "auto",
    },
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return stand_ins.title(CARD, options)


def initial_weights(options: Options) -> Pretraining | None:
    """How its first weights are made; None for the control with random weights."""
    return stand_ins.pretraining(options)


def build(options: Options, seed: int = 0) -> SamSegmenter:
    """The network with random weights drawn from `seed` inside its segmenter; `options` as in CARD.options."""
    from ..networks.sam import build_segmenter

    return build_segmenter(options, seed)
