"""MONAI's residual U-Net in 3-D, as its options describe it."""

from __future__ import annotations

import torch
from monai.networks.nets import UNet

from ..types import Options
from .initialization import expect_rare_foreground


def residual_unet(options: Options, channels: int, seed: int, norm: str = "batch") -> UNet:
    """An untrained network from `channels` inputs to one logit per voxel, first weights drawn from `seed`; `norm`: batch or instance.

    Options: `widths` of its levels, `residual_units` at each, `dropout`.
    """
    torch.manual_seed(seed)
    network = UNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=1,
        channels=tuple(options["widths"]),
        strides=(2,) * (len(options["widths"]) - 1),
        num_res_units=int(options["residual_units"]),
        norm=norm,
        dropout=float(options["dropout"]),
    )
    expect_rare_foreground(network)
    return network
