"""A SAM 2 of your own: a checkpoint of the package sam2, of any of its sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import registry
from ..core import ct_windows, own_models
from ..types import ModelCard, Options, OwnWeights

if TYPE_CHECKING:
    from ..networks.sam2 import Sam2Segmenter

_PUBLISHED = registry.card("models", "sam2")  # which shows how pictures are made for such a network
CARD = ModelCard(
    title="own SAM 2",
    summary="A checkpoint of SAM 2 or 2.1, shown pictures as SAM 2.1 is; its size is read off the weights, its canvas is an option.",
    reference=_PUBLISHED.reference,
    doi=_PUBLISHED.doi,
    license="its owner's",
    paradigms=("trained_elsewhere",),
    prompts=_PUBLISHED.prompts,
    options={**{k: v for k, v in _PUBLISHED.options.items() if k != "config"}, **own_models.OPTIONS},
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return ct_windows.titled(own_models.title(CARD, options), options)


def initial_weights(options: Options) -> OwnWeights:
    """The checkpoint."""
    return own_models.weights(options)


def build(options: Options, seed: int = 0) -> Sam2Segmenter:
    """The network that the checkpoint is of, inside its segmenter; `load_pretrained` takes the weights."""
    from ..networks import own_sizes
    from ..networks.sam2 import build_segmenter

    (path,) = own_models.weights(options).files()
    return build_segmenter({**options, **own_sizes.of_sam2(path)}, seed)
