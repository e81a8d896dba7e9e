"""Full-precision matrix products by the library that uses the full vector width of the processor.

torch multiplies matrices by MKL. On an AMD processor MKL uses half of the vector width (AVX2 where there is AVX-512). oneDNN, which torch
includes for convolutions, uses all of it and is about twice as fast (EPYC of the Zen 5 kind, torch 2.13). Its operation has no gradient,
so training stays with MKL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch

_LEAST_ROWS = 128  # of fewer, a call of oneDNN costs more than it gains
_packaged: ContextVar[bool] = ContextVar("packaged", default=False)


class OneDnnLinear(torch.nn.Linear):
    """torch's layer, multiplied by oneDNN where that is faster."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Features (..., in) to (..., out)."""
        if input.numel() < _LEAST_ROWS * self.in_features or not onednn_is_faster(input):
            return super().forward(input)
        return _by_onednn(input, self.weight, self.bias)


def widen_linears(network: torch.nn.Module) -> torch.nn.Module:
    """The network with `OneDnnLinear` for each plain linear layer; parameters, their names and their values stay."""
    for layer in network.modules():
        if type(layer) is torch.nn.Linear:
            layer.__class__ = OneDnnLinear
    return network


@contextmanager
def as_packaged() -> Iterator[None]:
    """Within it layers compute as their packages have them, so that operations are counted alike on all machines."""
    token = _packaged.set(True)
    try:
        yield
    finally:
        _packaged.reset(token)


def may_choose(device: torch.device) -> bool:
    """Whether a layer may compute otherwise than its package: on a processor, not for a gradient, and not `as_packaged`."""
    return device.type == "cpu" and not torch.is_grad_enabled() and not _packaged.get()


def by_transposed(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`left` (..., m, c) times the transposed `right` (..., n, c), with the same leading axes, at least one: (..., m, n)."""
    if not onednn_is_faster(left):
        return left @ right.transpose(-1, -2)
    pairs = zip(left.flatten(0, -3), right.flatten(0, -3), strict=True)
    found = [_by_onednn(one, other) for one, other in pairs]
    return (found[0][None] if len(found) == 1 else torch.stack(found)).unflatten(0, left.shape[:-2])


def onednn_is_faster(features: torch.Tensor) -> bool:
    """In full precision on a processor that MKL does not fill; not for a gradient, nor in a network that is written down for others."""
    if features.dtype != torch.float32 or not may_choose(features.device):
        return False
    return not torch.is_autocast_enabled("cpu") and not torch.compiler.is_exporting() and _mkl_takes_half_the_width()


@cache
def _mkl_takes_half_the_width() -> bool:
    known = torch.cpu.get_capabilities()  # other architectures have other names
    of_amd = str(known.get("cpu_name", "")).startswith("AMD")
    return of_amd and bool(known.get("avx512_f")) and torch.backends.mkldnn.is_available()


def _by_onednn(features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """What torch's compiler puts in the place of a linear layer. Weights in another order would take it a hundred times as long."""
    return torch.ops.mkldnn._linear_pointwise(features, weight.contiguous(), bias, "none", [], "")
