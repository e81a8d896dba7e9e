"""The image encoder on a GPU: a batch of slices in bf16 with fused attention, against one slice after the other in fp32 as packaged.

Masks of boxes are compared, by the same decoder in fp32: the encoder's precision must not be visible in them.
"""

from __future__ import annotations

import math

import torch

from lungseg_utils.networks import training
from lungseg_utils.networks.sam import PromptedSam, Size
from lungseg_utils.networks.view import View

from ..networks import encoder_operations, least_dice, twin_encoders, weight_bytes
from ..row import Agreement, Setting, Work, row

CANVAS, SLICES = 1024, 16


@row(
    work=f"ViT-B encoder, {SLICES} slices at {CANVAS}: one batch, autocast",
    against="segment_anything as packaged, slice by slice, fp32",
    goal=8.0,
    device="cuda",
)
def encoder_vit_b(setting: Setting) -> Work:
    """ViT-B as published."""
    return compare_encoders(Size(), CANVAS, SLICES, setting.device)


def compare_encoders(size: Size, canvas: int, count: int, device: str, compiled: bool = False) -> Work:
    """The comparison at any size; `compiled`: the fast path through torch.compile as well."""
    network, packaged = twin_encoders(size, View(canvas, (-160.0, 240.0)), device)
    pictures = torch.rand(count, 1, canvas, canvas, generator=torch.Generator().manual_seed(1)).to(device)
    encode = torch.compile(network.encode) if compiled else network.encode

    @torch.inference_mode()
    def fast() -> torch.Tensor:
        with training.autocast(torch.device(device)):
            return encode(pictures)

    @torch.inference_mode()
    def plain() -> torch.Tensor:
        return torch.cat([packaged(network.view.normalize(picture[None].expand(-1, 3, -1, -1))) for picture in pictures])

    moved = weight_bytes(packaged) + pictures.nbytes + 4.0 * count * size.prompt_width * (canvas // size.patch) ** 2
    precision = "bf16" if device == "cuda" else "fp32"
    return Work(fast, plain, _same_masks(network, canvas), encoder_operations(size, canvas, count), moved, precision)


def _same_masks(network: PromptedSam, canvas: int):
    @torch.inference_mode()
    def check(fast: torch.Tensor, plain: torch.Tensor) -> Agreement:
        corners = torch.tensor([[[0.3, 0.4], [0.6, 0.7]]], device=plain.device).expand(len(plain), -1, -1) * canvas
        labels = torch.tensor([[2, 3]], device=plain.device).expand(len(plain), -1)
        logits = [network.decode(embeddings.float(), corners, labels)[:, 0].cpu().numpy() for embeddings in (fast, plain)]
        return Agreement("dice", least_dice(logits[0] > 0, logits[1] > 0), 0.99)

    return check


@row(
    work=f"ViT-B encoder, {SLICES} slices at {CANVAS}: one batch, autocast, torch.compile",
    against="segment_anything as packaged, slice by slice, fp32",
    goal=math.nan,
    device="cuda",
)
def encoder_vit_b_compiled(setting: Setting) -> Work:
    """ViT-B as published."""
    return compare_encoders(Size(), CANVAS, SLICES, setting.device, compiled=True)
