"""nnInteractive (Isensee et al. 2025): promptable segmentation in 3-D, by the session of its own package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import Checkpoint, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.nninteractive import NnInteractiveSegmenter


CARD = ModelCard(
    title="nnInteractive",
    summary="A promptable nnU-Net: the CT in HU and seven channels of interactions in 3-D; boxes on a slice, clicks and scribbles.",
    reference="Isensee et al., nnInteractive: Redefining 3D Promptable Segmentation, 2025",
    doi="10.48550/arXiv.2503.08373",
    license="code Apache-2.0; weights CC BY-NC-SA 4.0",
    paradigms=("zero_shot",),
    prompts=("box", "points"),
    reads="3-D patches",
    pretraining="over 120 data sets, not listed",
    about="""nnInteractive sees the CT in 3-D, without a CT window: its package normalizes HU by their mean and deviation.
Each box, click or line becomes an interaction of the package's own session, and the network predicts
after each of them. It follows a lesion by itself: where its answer reaches the rim of what it sees,
it zooms out. A line is a *{lines}*. A box in 3-D is given as its section in the middle to weights that
take boxes on slices only. **Its weights are for non-commercial use (CC BY-NC-SA 4.0).** On which data
they were trained is not published as a list.""",
    options={
        "lines": "scribble",  # or "points": a RECIST line as its ends and its middle
        "autozoom": True,
        "device": "auto",
    },
)
CHECKPOINTS = (
    Checkpoint(
        file="nnInteractive_v1.0",
        url="https://huggingface.co/MIC-DKFZ/nnInteractive",
        size=0,
        sha256="",
        license="CC BY-NC-SA 4.0",
        citation="Isensee et al., nnInteractive: Redefining 3D Promptable Segmentation, 2025, arXiv:2503.08373",
        content=("plans.json", "dataset.json", "inference_*.json", "fold_*/checkpoint_final.pth"),
    ),
)


def initial_weights(options: Options) -> Checkpoint:
    """The published folder."""
    return CHECKPOINTS[0]


def build(options: Options, seed: int = 0) -> NnInteractiveSegmenter:
    """The segmenter, without a network before `load_pretrained`; nothing about it is random."""
    from ..networks.nninteractive import NnInteractiveSegmenter

    return NnInteractiveSegmenter(options)
