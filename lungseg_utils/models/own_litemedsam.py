"""A LiteMedSAM of your own: a checkpoint of LiteMedSAM's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import registry
from ..core import ct_windows, own_models
from ..types import ModelCard, Options, OwnWeights

if TYPE_CHECKING:
    from ..networks.litemedsam import LiteMedSamSegmenter

_PUBLISHED = registry.card("models", "litemedsam")  # which shows how pictures are made for such a network
CARD = ModelCard(
    title="own LiteMedSAM",
    summary="A checkpoint of LiteMedSAM's classes, shown pictures as the published one is.",
    reference=_PUBLISHED.reference,
    doi=_PUBLISHED.doi,
    license="its owner's",
    paradigms=("trained_elsewhere",),
    prompts=_PUBLISHED.prompts,
    options={**_PUBLISHED.options, **own_models.OPTIONS},
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
