"""A MedSAM of your own: a checkpoint of segment-anything's classes that was trained with MedSAM's recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import registry
from ..core import ct_windows, own_models
from ..types import Options, OwnWeights

if TYPE_CHECKING:
    from ..networks.sam import SamSegmenter

CARD = own_models.card(
    registry.card("models", "medsam"),
    "own MedSAM",
    "A checkpoint of segment-anything's classes, shown pictures as MedSAM is; its sizes are read off the weights.",
    read_off="canvas",
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return ct_windows.titled(own_models.title(CARD, options), options)


def initial_weights(options: Options) -> OwnWeights:
    """The checkpoint."""
    return own_models.weights(options)


def build(options: Options, seed: int = 0) -> SamSegmenter:
    """The network that the checkpoint is of, inside its segmenter; `load_pretrained` takes the weights."""
    from ..networks import own_sizes
    from ..networks.sam import build_segmenter

    (path,) = own_models.weights(options).files()
    return build_segmenter({**options, **own_sizes.of_sam(path)}, seed)
