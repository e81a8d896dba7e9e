"""2-D networks on volumes: every slice is segmented separately, with its neighbors as optional further channels."""

from __future__ import annotations

import torch
from torch.nn import functional

_AIR = -1.0  # the lowest value of every window: what lies outside the image


class SliceWise(torch.nn.Module):
    """(batch, channels, slices, rows, columns) to one logit per voxel (batch, 1, slices, rows, columns), by a 2-D network.

    `network` maps (n, channels * (2 * neighbors + 1), rows, columns) to (n, 1, rows, columns), or to a dictionary with that as "out".
    Channels are sorted by window, within a window from the lowest slice to the highest; beyond the ends the last slice repeats.
    Rows and columns are filled with air up to a multiple of `multiple`, and cut again. `memory_format`: in which slices are given on.
    """

    memory_format = torch.channels_last

    def __init__(self, network: torch.nn.Module, neighbors: int = 0, multiple: int = 1):
        super().__init__()
        self.network, self.neighbors, self.multiple = network, neighbors, multiple

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        batch, _, count, rows, columns = volumes.shape
        slices = stack_neighbors(volumes, self.neighbors)
        padding = (0, -columns % self.multiple, 0, -rows % self.multiple)
        slices = functional.pad(slices, padding, value=_AIR).contiguous(memory_format=self.memory_format)
        output = self.network(slices)
        logits = output["out"] if isinstance(output, dict) else output
        return logits[..., :rows, :columns].reshape(batch, count, 1, rows, columns).transpose(1, 2)


def stack_neighbors(volumes: torch.Tensor, neighbors: int) -> torch.Tensor:
    """All slices of (batch, channels, slices, rows, columns) with theirs: (batch * slices, channels * (2 n + 1), rows, columns)."""
    count = volumes.shape[2]
    offsets = torch.arange(-neighbors, neighbors + 1, device=volumes.device)
    index = (torch.arange(count, device=volumes.device)[:, None] + offsets).clamp(0, count - 1)
    return volumes[:, :, index].transpose(1, 2).flatten(0, 1).flatten(1, 2)
