"""segment-anything's attention in one fused product: the same numbers without writing the table of weights down several times."""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention, ImageEncoderViT
from torch.nn import functional

_MASK_BYTES = 8 * 1024 * 1024  # of relative positions at once: all heads of a whole slice would be a gigabyte that no cache holds
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
        return self.proj(_mix_by_parts(parts, *places).transpose(1, 2).reshape(tokens.shape))

    def _places(self, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the relative row, and the relative column, of a key adds: (n, heads, rows, columns, rows or columns)."""
        by_row = torch.einsum("nhijc,ikc->nhijk", query, _by_offset(self.rel_pos_h))
        by_column = torch.einsum("nhijc,jkc->nhijk", query, _by_offset(self.rel_pos_w))
        return by_row, by_column


def _mix_by_parts(parts: torch.Tensor, by_row: torch.Tensor, by_column: torch.Tensor) -> torch.Tensor:
    """Values by the weights of their queries, (n, heads, tokens, channels), for so many heads and queries at once as the mask may have."""
    query, key, value = parts
    count, heads, rows, columns, _ = by_row.shape
    of_a_row = count * columns * rows * columns * query.element_size()
    rows_at_once = max(1, _MASK_BYTES // of_a_row)
    heads_at_once = max(1, _MASK_BYTES // (rows * of_a_row))
    by_row, by_column = by_row.contiguous(), by_column.contiguous()  # a mask in another order would be written a second time
    mixed = torch.empty_like(query)
    for head in range(0, heads, heads_at_once):
        some = slice(head, head + heads_at_once)
        for row in range(0, rows, rows_at_once):
            mask = by_row[:, some, row : row + rows_at_once, :, :, None] + by_column[:, some, row : row + rows_at_once, :, None, :]
            asked = slice(row * columns, (row + rows_at_once) * columns)
            mixed[:, some, asked] = functional.scaled_dot_product_attention(
                query[:, some, asked], key[:, some], value[:, some], attn_mask=mask.flatten(4, 5).flatten(2, 3)
            )
    return mixed


def _mix_as_channels(parts: torch.Tensor, by_row: torch.Tensor, by_column: torch.Tensor) -> torch.Tensor:
    """All heads at once without a table: places are further channels of a query, and a key says by ones where it is.

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
