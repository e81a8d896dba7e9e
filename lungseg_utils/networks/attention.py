"""segment-anything's attention in one fused product: the same numbers without writing the table of weights down several times."""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention, ImageEncoderViT
from torch.nn import functional

_MASK_BYTES = 64 * 1024 * 1024  # of relative positions at once: all heads of a whole slice would be a gigabyte that no cache holds
_LEAST_TOKENS = 196  # a window of the published sizes; of fewer, the packaged layer is as fast
_WITHOUT_MASK = ("cuda",)  # where products that take a mask write all weights down


class FusedAttention(Attention):
    """The packaged layer with relative positions as the mask of the fused product.

    In training, and on few tokens, it is the packaged layer itself: the fused product has no backward for such a mask, and what torch
    takes in its place is slower by a tenth.
    """

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (n, rows, columns, channels) to as many."""
        count, rows, columns, channels = tokens.shape
        if torch.is_grad_enabled() or rows * columns < _LEAST_TOKENS:
            return super().forward(tokens)
        shape = (count, rows * columns, 3, self.num_heads, channels // self.num_heads)
        parts = self.qkv(tokens).reshape(shape).permute(2, 0, 3, 1, 4)
        places = self._places(parts[0].unflatten(2, (rows, columns)))
        if tokens.device.type in _WITHOUT_MASK:
            return self.proj(_mix_as_channels(parts, *places).transpose(1, 2).reshape(tokens.shape))
        at_once = max(1, _MASK_BYTES // (count * (rows * columns) ** 2 * tokens.element_size()))
        # made contiguous, since a mask in another order would be written a second time
        groups = zip(parts.split(at_once, dim=2), *(p.contiguous().split(at_once, dim=1) for p in places), strict=True)
        mixed = torch.cat([_mix(*group) for group in groups], dim=1)
        return self.proj(mixed.transpose(1, 2).reshape(tokens.shape))

    def _places(self, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the relative row, and the relative column, of a key adds: (n, heads, rows, columns, rows or columns)."""
        by_row = torch.einsum("nhijc,ikc->nhijk", query, _by_offset(self.rel_pos_h))
        by_column = torch.einsum("nhijc,jkc->nhijk", query, _by_offset(self.rel_pos_w))
        return by_row, by_column


def _mix(parts: torch.Tensor, by_row: torch.Tensor, by_column: torch.Tensor) -> torch.Tensor:
    """Values of some heads by the weights of their queries: (n, heads, tokens, channels)."""
    mask = (by_row[..., :, None] + by_column[..., None, :]).flatten(4, 5).flatten(2, 3)
    return functional.scaled_dot_product_attention(*parts, attn_mask=mask)


def _mix_as_channels(parts: torch.Tensor, by_row: torch.Tensor, by_column: torch.Tensor) -> torch.Tensor:
    """As `_mix` for all heads at once, without a table: places are further channels of a query, and a key says by ones where it is.

    A GPU then takes its product for heads without a mask, which keeps all weights on the chip; it wants values of as many channels.
    """
    query, key, value = parts
    rows, columns, channels = by_row.shape[-1], by_column.shape[-1], query.shape[-1]
    own_row, own_column = (torch.eye(n, dtype=key.dtype, device=key.device) for n in (rows, columns))
    where = torch.cat([own_row.repeat_interleave(columns, 0), own_column.repeat(rows, 1)], 1)
    further = torch.cat([by_row, by_column], -1).flatten(2, 3) * channels**0.5
    query, key = torch.cat([query, further], -1), torch.cat([key, where.expand(*key.shape[:3], -1)], -1)
    value = functional.pad(value, (0, rows + columns))
    return functional.scaled_dot_product_attention(query, key, value, scale=channels**-0.5)[..., :channels]


def _by_offset(places: torch.Tensor) -> torch.Tensor:
    """One row for each offset, from -(n - 1) to n - 1, as a table (n, n, channels) for each pair of a query and a key."""
    index = torch.arange(len(places) // 2 + 1, device=places.device)
    return places[index[:, None] - index + len(index) - 1]


def fuse_attention(encoder: ImageEncoderViT) -> ImageEncoderViT:
    """The encoder with fused attention; parameters, their names and their values stay."""
    for block in encoder.blocks:
        block.attn.__class__ = FusedAttention
    return encoder
