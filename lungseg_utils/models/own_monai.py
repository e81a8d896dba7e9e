"""A MONAI bundle of your own: a folder with metadata, configuration of inference, and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import own_models
from ..types import ModelCard, Options, OwnWeights

if TYPE_CHECKING:
    from ..networks.own_monai import OwnMonaiBundle

CARD = ModelCard(
    title="own MONAI bundle",
    summary="A MONAI bundle, by the network, preprocessing, inferer and postprocessing of its own inference.",
    reference="Cardoso et al., MONAI: An open-source framework for deep learning in healthcare, 2022",
    doi="10.48550/arXiv.2211.02701",
    license="its owner's",
    paradigms=("trained_elsewhere",),
    prompts=("box", "points", "none"),
    options={
        **own_models.OPTIONS,
        "weights": "models/model.pt",
        "trusted": False,  # its configuration can run any code, and does so when it is read
        "label": "",  # name, or number, of the tumor's output in metadata.json; needed if there are several
    },
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return own_models.title(CARD, options)


def initial_weights(options: Options) -> OwnWeights:
    """The files of the bundle that the prediction depends on."""
    from ..data import monai_bundle

    return own_models.weights(options, lambda path: monai_bundle.find(path, options["weights"]).files)


def build(options: Options, seed: int = 0) -> OwnMonaiBundle:
    """The segmenter, without a network before `load_pretrained`; nothing about it is random."""
    from ..networks.own_monai import OwnMonaiBundle

    return OwnMonaiBundle(options)
