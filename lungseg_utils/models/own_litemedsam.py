"""A LiteMedSAM of your own: a checkpoint of LiteMedSAM's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import registry
from ..core import ct_windows, own_models
from ..types import Options, OwnWeights

if TYPE_CHECKING:
    from ..networks.litemedsam import LiteMedSamSegmenter

CARD = own_models.card(
    registry.card("models", "litemedsam"),
    "own LiteMedSAM",
    "A checkpoint of LiteMedSAM's classes, shown pictures as the published one is.",
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return ct_windows.titled(own_models.title(CARD, options), options)


def initial_weights(options: Options) -> OwnWeights:
    """The checkpoint."""
    return own_models.weights(options)


def build(options: Options, seed: int = 0) -> LiteMedSamSegmenter:
    """The network inside its segmenter; `load_pretrained` takes the weights."""
    from ..networks.litemedsam import build_segmenter

    return build_segmenter(options, seed)
