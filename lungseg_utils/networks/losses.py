"""Losses by name, from MONAI; all take logits (batch, 1, ...) and targets in [0, 1] of the same shape."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..types import InputError


def build_loss(name: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The loss `name`. Dice is taken over the whole batch, since most slices hold no tumor."""
    from monai.losses import DiceCELoss

    losses = {"dice_ce": lambda: DiceCELoss(sigmoid=True, batch=True)}
    if name not in losses:
        raise InputError(f"loss {name}", "unknown", f"Choose one of {', '.join(sorted(losses))}.")
    return losses[name]()
