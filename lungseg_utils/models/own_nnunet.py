"""An nnU-Net of your own: the folder of results that nnUNetv2_train wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import own_models
from ..types import ModelCard, Options, OwnWeights

if TYPE_CHECKING:
    from ..networks.own_nnunet import OwnNnUNet

CARD = ModelCard(
    title="own nnU-Net",
    summary="A trained nnU-Net from nnunetv2's own folder of results, predicted by nnunetv2 itself.",
    reference="Isensee et al., Nature Methods 2021;18:203-211; implementation: nnunetv2",
    doi="10.1038/s41592-020-01008-z",
    license="its owner's",
    paradigms=("trained_elsewhere",),
    prompts=("box", "points", "none"),
    options={
        **own_models.OPTIONS,
        "folds": (),  # all that are there
        "checkpoint": "checkpoint_final.pth",
        "label": "",  # name of the tumor's label in dataset.json; needed if there are several
        "axes": "LPS",  # how the training files stored their voxels: x grows to the patient's left, y to the back, z to the head
        "mirroring": True,
    },
)


def title(options: Options) -> str:
    """What it is called beside a number."""
    return own_models.title(CARD, options)


def initial_weights(options: Options) -> OwnWeights:
    """The files of the folder that the prediction depends on."""
    from ..data import nnunet_results

    return own_models.weights(options, lambda path: nnunet_results.find(path, options["checkpoint"], options["folds"]).files)


def build(options: Options, seed: int = 0) -> OwnNnUNet:
    """The segmenter, without a network before `load_pretrained`; nothing about it is random."""
    from ..networks.own_nnunet import OwnNnUNet

    return OwnNnUNet(options)
