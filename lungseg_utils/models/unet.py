"""U-Net (MONAI's residual UNet), slice by slice with neighbouring slices as channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..types import ModelCard

if TYPE_CHECKING:
    from ..networks.slicewise import SliceSegmenter

CARD = ModelCard(
    title="U-Net",
    summary="Residual U-Net of MONAI on axial slices with neighbouring slices and two CT windows as channels.",
    reference="Ronneberger, Fischer, Brox: U-Net, MICCAI 2015; implementation: MONAI (Kerfoot et al. 2019, residual units)",
    doi="10.1007/978-3-319-24574-4_28",
    licence="Apache-2.0",
    paradigms=("full", "few_shot"),
    prompters=("none",),
    options={
        "spacing_mm": (2.25, 2.25, 3.0),
        "windows_hu": ((-1000.0, 400.0), (-160.0, 240.0)),
        "context": 2,
        "context_step": 1,
        "patch": (128, 128),
        "batch_size": 8,
        "steps": 1000,
        "learning_rate": 1e-2,
        "validate_every": 250,
        "foreground_share": 0.6,
        "widths": (16, 32, 64, 128, 256),
        "residual_units": 2,
        "dropout": 0.0,
        "loss": "dice_ce",
        "device": "auto",
    },
)


def build(options: Mapping[str, Any], seed: int = 0) -> SliceSegmenter:
    """An untrained U-Net inside its segmenter; `options` as in CARD.options, first weights drawn from `seed`."""
    import torch
    from monai.networks.nets import UNet

    from ..networks.initialization import expect_rare_foreground
    from ..networks.slicewise import SliceSegmenter, SliceSettings

    torch.manual_seed(seed)
    settings = SliceSettings.from_options(options)
    network = UNet(
        spatial_dims=2,
        in_channels=settings.channels,
        out_channels=1,
        channels=tuple(options["widths"]),
        strides=(2,) * (len(options["widths"]) - 1),
        num_res_units=int(options["residual_units"]),
        norm="batch",
        dropout=float(options["dropout"]),
    )
    expect_rare_foreground(network)
    return SliceSegmenter(network, settings, str(options["device"]))
