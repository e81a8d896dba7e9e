"""SAM 2-type stand-in: a small network of the classes of the package sam2, pretrained on drawn clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import stand_ins
from ..types import ModelCard, Options, Pretraining

if TYPE_CHECKING:
    from ..networks.sam2 import Sam2Segmenter


CARD = ModelCard(
    title="SAM 2-type stand-in",
    summary="A small network of SAM 2's classes with its memory, prompted by boxes; pretrained on synthetic clips, never on lung tumors.",
    reference="architecture: Ravi et al., 2024; sizes and pretraining: this project",
    doi="10.48550/arXiv.2408.00714",
    license="Apache-2.0",
    paradigms=("zero_shot", "few_shot", "fine_tuned"),
    prompts=("box", "points"),
    options={
        "pretraining": "ct_like",
        "pretraining_steps": 420,
        "pretraining_batch_size": 3,
        "pretraining_learning_rate": 1e-3,
        "canvas": 128,
        "window_hu": (-910.0, 590.0),
        "field_mm": 40.0,
        "field_margin": 2.0,
        "config": "sam2.1_hiera_t",
        "width": 64,
        "trunk_width": 24,
        "stages": (1, 1, 2, 1),
        "global_blocks": (3,),
        "memory_layers": 2,
        "memory_feedforward": 256,
        "candidates": False,
        "steps": 400,
        "batch_size": 3,
        "learning_rate": 5e-4,
        "validate_every": 200,
        "box_jitter": 0.1,
        "point_share": 0.25,
        "point_field_mm": 100.0,
        "trainable": "encoder_and_decoder",
        "loss": "dice_bce_per_image",
        "clip_slices": 4,
        "device": "auto",
    },
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return stand_ins.title(CARD, options)


def initial_weights(options: Options) -> Pretraining | None:
    """How its first weights are made; None for the control with random weights."""
    return stand_ins.pretraining(options)


def build(options: Options, seed: int = 0) -> Sam2Segmenter:
    """The network with random weights drawn from `seed` inside its segmenter; `options` as in CARD.options."""
    from ..networks.sam2 import build_segmenter

    return build_segmenter(options, seed)
