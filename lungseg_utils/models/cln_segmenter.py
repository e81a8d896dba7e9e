"""CLN-Segmenter (Rasool Lab, Moffitt Cancer Center 2026): an nnU-Net with its whole recipe, trained on fold 0 of MSD Task06 Lung."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import Checkpoint, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.published_nnunet import PublishedNnUNet


CARD = ModelCard(
    title="CLN-Segmenter (nnU-Net, MSD fold 0)",
    summary="nnU-Net 3d_fullres with its whole recipe, as published: trained on 50 of the 63 labeled scans of MSD Task06 Lung.",
    reference="Rasool Lab, CLN-Segmenter-MSD-fold0, 2026; Isensee et al., Nature Methods 2021;18:203-211",
    doi="10.1038/s41592-020-01008-z",
    license="CC BY-SA 4.0",
    paradigms=("zero_shot",),
    prompts=("box", "points", "none"),
    reads="as it plans",
    pretraining="MSD Task06 Lung, 50 scans",
    about="""These are published weights of nnU-Net after 1000 epochs of 250 steps, which the nnU-Nets of this book do not
reach in minutes. nnunetv2's own predictor runs them, with mirroring. Plans and labels are in the
checkpoint. The 50 scans that it was trained on, and the 13 that it was validated on, are those of fold 0
of MSD Task06 Lung: **on MSD it is no zero-shot result**. Its authors publish the voxels that they counted
for each of the 13 scans. Their mean Dice is 0.716; pooled over patches it was 0.816 in training, which is
another quantity.""",
    options={
        "folds": (),
        "checkpoint": "checkpoint_best.pth",  # the one of the highest pooled Dice in training, which is the one that is published
        "label": "",  # its only one
        "axes": "RAS",  # the order in which the files of MSD store their voxels
        "mirroring": True,
        "device": "auto",
    },
)
CHECKPOINTS = (
    Checkpoint(
        file="CLN-Segmenter-MSD-fold0.pth",
        url="https://huggingface.co/Lab-Rasool/CLN-Segmenter-MSD-fold0/resolve/main/checkpoint_best.pth",
        size=0,  # 247 MB, by its page
        sha256="8c08ec796fa2b786fe99ddfad4fe6314e98fdd8820c59527be3c4105f7955d87",
        license="CC BY-SA 4.0",
        citation="Rasool Lab, Moffitt Cancer Center, CLN-Segmenter-MSD-fold0, huggingface.co/Lab-Rasool, 2026",
    ),
)


def initial_weights(options: Options) -> Checkpoint:
    """The published file."""
    return CHECKPOINTS[0]


def build(options: Options, seed: int = 0) -> PublishedNnUNet:
    """The segmenter, without a network before `load_pretrained`; nothing about it is random."""
    from ..networks.published_nnunet import PublishedNnUNet

    return PublishedNnUNet(options)
