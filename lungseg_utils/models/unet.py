"""U-Net (MONAI's residual UNet) in 3-D, on a working grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import ModelCard, Options

if TYPE_CHECKING:
    from ..networks.automatic import AutomaticSegmenter


CARD = ModelCard(
    title="U-Net",
    summary="Residual 3-D U-Net of MONAI on a working grid, with two CT windows as channels.",
    reference="Ronneberger et al., MICCAI 2015; in 3-D: Cicek et al., MICCAI 2016; implementation: MONAI, residual units",
    doi="10.1007/978-3-319-24574-4_28",
    license="Apache-2.0",
    paradigms=("full", "few_shot"),
    prompts=("box", "points", "none"),
    reads="3-D patches",
    options={
        "spacing_mm": (3.0, 3.0, 3.0),
        "windows_hu": ((-1000.0, 400.0), (-160.0, 240.0)),
        "patch": (32, 64, 64),
        "batch_size": 2,
        "steps": 1900,
        "learning_rate": 5e-3,
        "validate_every": 380,
        "foreground_share": 0.6,
        "slab": 64,
        "slab_overlap": 16,
        "widths": (16, 32, 64, 128),
        "residual_units": 2,
        "dropout": 0.0,
        "loss": "dice_ce",
        "device": "auto",
    },
)


def build(options: Options, seed: int = 0) -> AutomaticSegmenter:
    """An untrained U-Net inside its segmenter; `options` as in CARD.options, first weights drawn from `seed`."""
    from ..networks.automatic import AutomaticSegmenter, Settings
    from ..networks.residual_unet import residual_unet

    settings = Settings.from_options(options)
    return AutomaticSegmenter(residual_unet(options, len(settings.windows_hu), seed), settings, str(options["device"]))
