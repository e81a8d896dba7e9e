"""Full-size networks with random weights for the rows, with this project's code and as packaged."""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT

from lungseg_utils.core.masks import dsc
from lungseg_utils.experiments.costs.meter import count_flops
from lungseg_utils.networks.sam import PromptedSam, Size, packaged_encoder
from lungseg_utils.networks.view import View

_DEVIATION = 0.02  # of what the packages leave at zero: places would else have no part in the answer


def draw_places(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random values for the parameters that start at zero by design: absolute and relative positions."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            parameter.data.copy_(_DEVIATION * torch.randn(parameter.shape, generator=generator))
    return network


def twin_encoders(size: Size, view: View, device: str) -> tuple[PromptedSam, ImageEncoderViT]:
    """This project's network, and the packaged encoder with the same weights."""
    torch.manual_seed(0)
    network = draw_places(PromptedSam(size, view)).to(device).eval()
    packaged = packaged_encoder(size, view.canvas).to(device).eval()
    packaged.load_state_dict(network.image_encoder.state_dict())
    return network, packaged


def encoder_operations(size: Size, canvas: int, count: int) -> float:
    """Operations of the packaged encoder for `count` pictures, counted without computing them."""
    with torch.device("meta"):
        encoder, picture = packaged_encoder(size, canvas), torch.empty(1, 3, canvas, canvas)
    return float(count * count_flops(lambda: encoder(picture)))


def weight_bytes(network: torch.nn.Module) -> float:
    """Bytes of all parameters."""
    return float(sum(p.nbytes for p in network.parameters()))


def least_dice(masks: np.ndarray, others: np.ndarray) -> float:
    """The least Dice of pairs of masks (n, ...); 1 where both are empty."""
    return min(dsc(a, b) if a.any() or b.any() else 1.0 for a, b in zip(masks, others, strict=True))
