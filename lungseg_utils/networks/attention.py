"""Faster attention for segment-anything and sam2: the same parameters and, to rounding, the same numbers.

- segment-anything's layer writes the attention matrix several times; here it is one fused product.
- In bfloat16 on a processor, torch's fused product uses tiles (AMX) where available, and else computes at the speed of full precision,
  while plain products use vectors of bfloat16 too. On such a processor two plain products take 0.5 to 0.7 of its time at the shapes of
  SAM and SAM 2 (AMD EPYC, torch 2.13); the weights are rounded between them.
- In full precision the same holds for many tokens where oneDNN multiplies faster than the parts of the fused product (`products`).
"""

from __future__ import annotations

from functools import cache

import torch
from sam2.modeling.backbones.hieradet import MultiScaleAttention, do_pool
from sam2.modeling.sam.transformer import RoPEAttention, apply_rotary_enc
from sam2.modeling.sam2_base import SAM2Base
from segment_anything.modeling.image_encoder import Attention, ImageEncoderViT
from torch.nn import functional

from . import products

_WEIGHTS_BYTES = 8 * 1024 * 1024  # of a table of weights at once between two products
_MASK_BYTES = 8 * 1024 * 1024  # of relative positions at once: all heads of a whole slice would be a gigabyte that no cache holds
_LEAST_KEYS = 1024  # for two products in full precision: each matrix is a call, and small ones are too many
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
            mixed[:, some, asked] = _mix(query[:, some, asked], key[:, some], value[:, some], mask.flatten(4, 5).flatten(2, 3))
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


class HieraAttention(MultiScaleAttention):
    """sam2's layer of the image encoder, by two products where they are faster."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (n, rows, columns, channels) to as many, or to a quarter of them at a change of stage."""
        count, rows, columns, _ = tokens.shape
        if not two_products_are_faster(tokens, rows * columns):
            return super().forward(tokens)
        query, key, value = self.qkv(tokens).reshape(count, rows * columns, 3, self.num_heads, -1).unbind(2)
        if self.q_pool:
            pooled = do_pool(query.reshape(count, rows, columns, -1), self.q_pool)
            rows, columns = pooled.shape[1:3]
            query = pooled.reshape(count, rows * columns, self.num_heads, -1)
        mixed = by_two_products(*(part.transpose(1, 2) for part in (query, key, value)))
        return self.proj(mixed.transpose(1, 2).reshape(count, rows, columns, -1))


class MemoryAttention(RoPEAttention):
    """sam2's layer that looks into the memory, by two products where they are faster.

    What is remembered is mixed first and projected to values then: both are linear and weights sum to one, so the order is free, and a
    memory has a quarter of the values' channels.
    """

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, num_k_exclude_rope: int = 0) -> torch.Tensor:
        """Queries (n, tokens, channels), keys and values (n, tokens, channels of a memory), whose last ones have no place; as queries."""
        known = self.num_heads == 1 and len(self.freqs_cis) == q.shape[1]
        if not (known and two_products_are_faster(q, k.shape[1])):
            return super().forward(q, k, v, num_k_exclude_rope)
        query, key = self.q_proj(q)[:, None], self.k_proj(k)[:, None]
        placed = key.shape[2] - num_k_exclude_rope
        query, key[:, :, :placed] = apply_rotary_enc(query, key[:, :, :placed], self.freqs_cis, self.rope_k_repeat)
        return self.out_proj(self.v_proj(by_two_products(query, key, v[:, None])[:, 0]))


def split_attention(network: SAM2Base) -> SAM2Base:
    """The network with layers that can attend by two products; parameters, their names and their values stay."""
    for block in network.image_encoder.trunk.blocks:
        block.attn.__class__ = HieraAttention
    for layer in network.memory_attention.layers:
        layer.self_attn.__class__ = layer.cross_attn_image.__class__ = MemoryAttention
    return network


def _mix(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`scaled_dot_product_attention` with a mask that is added, by whatever product is faster."""
    if two_products_are_faster(query, key.shape[-2]):
        return by_two_products(query, key, value, mask)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def two_products_are_faster(tokens: torch.Tensor, keys: int) -> bool:
    """In bfloat16 on a processor that multiplies vectors of it, but no tiles, and of many keys in full precision where oneDNN is faster.

    Not in training, where they keep more for the way back.
    """
    if not products.may_choose(tokens.device):
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16 and _vectors_but_no_tiles()
    return keys >= _LEAST_KEYS and products.onednn_is_faster(tokens)


@cache
def _vectors_but_no_tiles() -> bool:
    known = torch.cpu.get_capabilities()  # other architectures have other names
    return bool(known.get("avx512_bf16")) and not known.get("amx_bf16")


def by_two_products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Values (..., queries, channels) by the weights that (..., queries, c) give to (..., keys, c) and `value` (..., keys, channels).

    `mask`: (..., queries, keys), added before the exponential.
    """
    scaled = query * query.shape[-1] ** -0.5
    table_bytes = query.shape[-2] * key.shape[-2] * query.element_size()
    # oneDNN takes one matrix a call: the tables of several would be copied together
    at_once = 1 if products.onednn_is_faster(query) else max(1, _WEIGHTS_BYTES // table_bytes)
    groups = [part.flatten(0, -3).split(at_once) for part in (scaled, key, value.transpose(-1, -2))]
    masks = [None] * len(groups[0]) if mask is None else mask.flatten(0, -3).split(at_once)
    return torch.cat([_mix_group(*group) for group in zip(*groups, masks, strict=True)]).unflatten(0, query.shape[:-2])


def _mix_group(query: torch.Tensor, key: torch.Tensor, transposed: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The same of (n, queries, c), (n, keys, c) and values (n, channels, keys), for so many queries at once as the table may have."""
    rows = max(1, _WEIGHTS_BYTES // (len(key) * key.shape[-2] * key.element_size()))
    parts = query.split(rows, -2)
    masks = [None] * len(parts) if mask is None else mask.split(rows, -2)
    mixed = []
    for part, added in zip(parts, masks, strict=True):
        weights = products.by_transposed(part, key)
        if added is not None:
            weights += added
        mixed.append(products.by_transposed(torch.softmax(weights, dim=-1), transposed))
    return torch.cat(mixed, dim=-2)
