"""Losses by name, from MONAI; all take logits (batch, 1, ...) and targets in [0, 1] of the same shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch

from ..types import InputError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
# alpha weighs false positives, beta false negatives: Salehi et al. 2017, doi:10.1007/978-3-319-67389-9_44
TVERSKY_ALPHA, TVERSKY_BETA = 0.3, 0.7
FOCAL_TVERSKY_POWER = 0.75  # 1 / gamma with gamma = 4/3: Abraham and Khan 2019, doi:10.1109/ISBI.2019.8759329
BOUNDARY_SHARE = 0.5  # of the adaptive loss, at the end of training


def _dice_ce() -> Loss:
    from monai.losses import DiceCELoss

    return DiceCELoss(sigmoid=True, batch=True)  # over the whole batch, since most slices hold no tumor


def _dice_bce_per_image() -> Loss:
    from monai.losses import DiceCELoss

    return DiceCELoss(sigmoid=True, squared_pred=True)


def _tversky() -> Loss:
    from monai.losses import TverskyLoss

    return TverskyLoss(sigmoid=True, batch=True, alpha=TVERSKY_ALPHA, beta=TVERSKY_BETA)


def _focal_tversky() -> Loss:
    tversky = _tversky()
    return lambda logits, targets: tversky(logits, targets).clamp_min(1e-6) ** FOCAL_TVERSKY_POWER


def _hausdorff() -> Loss:
    """Alone it does not train from scratch, so it stands beside Dice + cross-entropy, as its authors do (Karimi 2020)."""
    region, boundary = _dice_ce(), _log_hausdorff()
    return lambda logits, targets: (1 - BOUNDARY_SHARE) * region(logits, targets) + BOUNDARY_SHARE * boundary(logits, targets)


def _log_hausdorff() -> Loss:
    from monai.losses import LogHausdorffDTLoss

    distance = LogHausdorffDTLoss(sigmoid=True)  # doi:10.1109/TMI.2019.2930068; its logarithm keeps it on the scale of Dice
    return lambda logits, targets: distance(logits.float(), (targets > 0.5).float())


@runtime_checkable
class ChangingLoss(Protocol):
    """A loss that changes while training goes on."""

    def set_progress(self, fraction: float) -> None:
        """`fraction` in [0, 1] of the training budget that is used."""


def tell_progress(loss: object, fraction: float) -> None:
    """Tell a loss that changes on the way what share of the budget is used; another one is left alone."""
    if isinstance(loss, ChangingLoss):
        loss.set_progress(fraction)


class AdaptiveLoss:
    """Dice + cross-entropy at first; the Hausdorff-distance loss takes over linearly, up to half, as training goes on."""

    def __init__(self) -> None:
        self._region, self._boundary, self._share = _dice_ce(), _log_hausdorff(), 0.0

    def set_progress(self, fraction: float) -> None:
        """`fraction` in [0, 1] of the training budget that is used."""
        self._share = BOUNDARY_SHARE * fraction

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The weighted sum at the present progress."""
        region = self._region(logits, targets)
        return region if self._share == 0 else (1 - self._share) * region + self._share * self._boundary(logits, targets)


LOSSES: Mapping[str, Callable[[], Loss]] = {
    "dice_ce": _dice_ce,
    "dice_bce_per_image": _dice_bce_per_image,
    "tversky": _tversky,
    "focal_tversky": _focal_tversky,
    "hausdorff": _hausdorff,
    "adaptive": AdaptiveLoss,
}


def build_loss(name: str) -> Loss:
    """The loss `name`; an unknown one is an error that lists the known ones."""
    if name not in LOSSES:
        raise InputError(f"loss {name}", "unknown", f"Choose one of {', '.join(sorted(LOSSES))}.")
    return LOSSES[name]()
