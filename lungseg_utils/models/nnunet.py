"""nnU-Net (nnunetv2), run in process; the default sizes can be trained on two CPU cores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..types import ModelCard, Options

if TYPE_CHECKING:
    from ..networks.nnunet import NnUNetSegmenter


FULL_EPOCHS = 1000  # of 250 steps: what the name "nnU-Net" stands for, doi:10.1038/s41592-020-01008-z
FULL_ITERATIONS = 250
_SIZES = ("spacing_mm", "patch", "batch_size", "features_per_stage", "convolutions_per_stage")  # nnU-Net's own where empty


def title(options: Options) -> str:
    """What its rows are called: without an addition only if nothing is less than nnU-Net's own recipe."""
    epochs, iterations = options["epochs"] or FULL_EPOCHS, options["iterations_per_epoch"] or FULL_ITERATIONS
    additions = []
    if epochs < FULL_EPOCHS or iterations < FULL_ITERATIONS:
        additions.append(f"{epochs} epochs" + (f" of {iterations} steps" if iterations != FULL_ITERATIONS else ""))
    if any(options[name] for name in _SIZES):
        additions.append("own sizes")
    return f"nnU-Net ({', '.join(additions)})" if additions else "nnU-Net"


_OPTIONS: dict[str, Any] = {
    "configuration": "3d_fullres",
    "spacing_mm": (6.0, 6.0, 6.0),
    "patch": (16, 32, 32),
    "batch_size": 2,
    "batch_dice": True,
    "features_per_stage": (8, 16, 32, 64),
    "convolutions_per_stage": 1,
    "epochs": 95,
    "iterations_per_epoch": 20,
    "mirroring": False,
    "processes": 0,
    "device": "auto",
}
CARD = ModelCard(
    title=title(_OPTIONS),
    summary="nnunetv2 itself, planned from the training data and trained by its recipe; by default narrower and far shorter.",
    reference="Isensee et al., Nature Methods 2021;18:203-211; implementation: nnunetv2",
    doi="10.1038/s41592-020-01008-z",
    license="Apache-2.0",
    paradigms=("full", "few_shot"),
    prompts=("box", "points", "none"),
    reads="as it plans",
    options=_OPTIONS,
)


def build(options: Options, seed: int = 0) -> NnUNetSegmenter:
    """An nnU-Net without a network, which is planned in `fit` from the data; first weights are drawn there from its own seed."""
    from ..networks.nnunet import NnUNetSegmenter, Settings

    return NnUNetSegmenter(Settings.from_options(options), str(options["device"]))
