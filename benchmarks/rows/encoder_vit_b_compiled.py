"""`encoder_vit_b` with the fast path also compiled by torch."""

from __future__ import annotations

import math

from lungseg_utils.networks.sam import Size

from ..row import Row, Setting, Work
from .encoder_vit_b import CANVAS, SLICES, compare_encoders

ROW = Row(
    work=f"ViT-B encoder, {SLICES} slices at {CANVAS}: one batch, autocast, torch.compile",
    against="segment_anything as packaged, slice by slice, fp32",
    goal=math.nan,
    device="cuda",
)


def prepare(setting: Setting) -> Work:
    """ViT-B as published."""
    return compare_encoders(Size(), CANVAS, SLICES, setting.device, compiled=True)
