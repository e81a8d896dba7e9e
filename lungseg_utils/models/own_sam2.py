"""A SAM 2 of your own: a checkpoint of the package sam2, of any of its sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import registry
from ..core import ct_windows, own_models
from ..types import Options, OwnWeights

if TYPE_CHECKING:
    from ..networks.sam2 import Sam2Segmenter

CARD = own_models.card(
    registry.card("models", "sam2"),
    "own SAM 2",
    "A checkpoint of SAM 2 or 2.1, shown pictures as SAM 2.1 is; its size is read off the weights, its canvas is an option.",
    read_off="config",
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
