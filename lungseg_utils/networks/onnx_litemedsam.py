"""Export LiteMedSAM for pages without Python: two ONNX files, and image embeddings in bytes.

A page has one thread of WebAssembly. The packaged decoder projects all 4096 places of an image to keys, values and queries. There are
only seven tokens, so here their side of each product is multiplied by the weights first: the same sums in half of the operations. The mask
is enlarged only where somebody looks at it.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.nn import functional

from ..types import Image, SlicePrompt
from .litemedsam import CANVAS, LiteMedSam, LiteMedSamSegmenter
from .onnx_files import export

CHANNELS, GRID = 256, 64  # of an embedding
_LARGEST_BYTE = 127
_LEAST_HALVED = 64  # values of a weight that is stored in half precision; fewer save nothing


class _Encoder(torch.nn.Module):
    def __init__(self, network: LiteMedSam) -> None:
        super().__init__()
        self.image_encoder = network.image_encoder

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.image_encoder(picture.expand(-1, 3, -1, -1))


class BoxDecoder(torch.nn.Module):
    """Prompt encoder and mask decoder for one box on one slice. Only the first mask is computed, which is the one that is used."""

    def __init__(self, network: LiteMedSam) -> None:
        super().__init__()
        prompts, decoder = network.prompt_encoder, network.mask_decoder
        self.transformer, self.hypernetwork = decoder.transformer, decoder.output_hypernetworks_mlps[0]
        self.register_buffer("frequencies", prompts.pe_layer.positional_encoding_gaussian_matrix)
        self.register_buffer("tokens", torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).detach())
        self.register_buffer("corners", torch.cat([prompts.point_embeddings[n].weight for n in (2, 3)]).detach())
        self.register_buffer("no_mask", prompts.no_mask_embed.weight.detach())
        wider, norm, _, widest, _ = decoder.output_upscaling
        self.norm, self.norm_eps = norm, norm.eps
        for name, layer in (("wider", wider), ("widest", widest)):  # a kernel without overlap is a product: (channels, four places of each)
            self.register_buffer(f"{name}_weight", layer.weight.detach().permute(0, 2, 3, 1).flatten(1).contiguous())
            self.register_buffer(f"{name}_bias", layer.bias.detach().repeat(4))

    def forward(self, embedding: torch.Tensor, box: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Logits (n, 4, 4) of an embedding (1, 256, 64, 64) and a box (1, 4) in pixels, x and y of two corners.

        `cells` (n): the places of the embedding, counted row after row, whose 4 x 4 pixels are wanted.
        """
        image, places = embedding[0].flatten(1).T + self.no_mask, self._positions(_centers())
        prompt = torch.cat([self.tokens, self._positions((box.reshape(2, 2) + 0.5) / CANVAS) + self.corners])
        tokens = prompt
        for layer in self.transformer.layers:
            asking = tokens if layer.skip_first_layer_pe else tokens + prompt
            said = layer.self_attn(asking[None], asking[None], tokens[None])[0]
            tokens = layer.norm1(said if layer.skip_first_layer_pe else tokens + said)
            placed = image + places
            tokens = layer.norm2(tokens + _tokens_ask(layer.cross_attn_token_to_image, tokens + prompt, placed, image))
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            image = layer.norm4(image + _image_asks(layer.cross_attn_image_to_token, placed, tokens + prompt, tokens))
        last = _tokens_ask(self.transformer.final_attn_token_to_image, tokens + prompt, image + places, image)
        return self._mask(image.index_select(0, cells), self.transformer.norm_final_attn(tokens + last)[1:2])

    def _positions(self, places: torch.Tensor) -> torch.Tensor:
        """Codes (n, 256) of places (n, 2), x and y in [0, 1]."""
        angles = 2 * math.pi * ((2 * places - 1) @ self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def _mask(self, image: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        features = (image @ self.wider_weight + self.wider_bias).view(-1, CHANNELS // 4)
        features = functional.gelu(functional.layer_norm(features, features.shape[1:], self.norm.weight, self.norm.bias, self.norm_eps))
        features = functional.gelu(features @ self.widest_weight + self.widest_bias).view(-1, CHANNELS // 8)
        return (features @ self.hypernetwork(token).T).view(-1, 2, 2, 2, 2).permute(0, 1, 3, 2, 4).reshape(-1, 4, 4)


def _centers() -> torch.Tensor:
    """Of the places of an embedding, (4096, 2), row after row."""
    at = (torch.arange(GRID) + 0.5) / GRID
    return torch.stack([at.repeat(GRID), at.repeat_interleave(GRID)], dim=-1)


def _tokens_ask(attention: torch.nn.Module, asking: torch.Tensor, placed: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """What tokens (n, 256) take from the image (4096, 256). The bias of the keys is the same for all places, and so says nothing."""
    heads, count = attention.num_heads, len(asking)
    asked = attention.q_proj(asking).view(count, heads, -1).transpose(0, 1)
    wanted = asked @ attention.k_proj.weight.view(heads, -1, CHANNELS) / math.sqrt(asked.shape[-1])
    shares = (placed @ wanted.reshape(-1, CHANNELS).T).T.softmax(-1)
    said = (shares @ image).view(heads, count, CHANNELS) @ attention.v_proj.weight.view(heads, -1, CHANNELS).transpose(1, 2)
    said = said + attention.v_proj.bias.view(heads, 1, -1)
    return attention.out_proj(said.transpose(0, 1).reshape(count, -1))


def _image_asks(attention: torch.nn.Module, placed: torch.Tensor, asked: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """What places of the image (4096, 256) take from tokens (n, 256)."""
    heads, count = attention.num_heads, len(tokens)
    keys = attention.k_proj(asked).view(count, heads, -1).transpose(0, 1)
    keys = keys / math.sqrt(keys.shape[-1])
    wanted = (keys @ attention.q_proj.weight.view(heads, -1, CHANNELS)).reshape(-1, CHANNELS)
    scores = placed @ wanted.T + (keys @ attention.q_proj.bias.view(heads, -1, 1)).flatten()
    shares = scores.view(-1, heads, count).softmax(-1).flatten(1)
    values = attention.v_proj(tokens).view(count, heads, -1).transpose(0, 1)
    values = values @ attention.out_proj.weight.T.reshape(heads, -1, CHANNELS)
    return shares @ values.reshape(-1, CHANNELS) + attention.out_proj.bias


def write_decoder(network: LiteMedSam, path: Path) -> None:
    """Write prompt encoder and mask decoder: `embedding` (1, 256, 64, 64), `box` (1, 4) and `cells` (n), int64, to `logits` (n, 4, 4).

    As `BoxDecoder` has them.
    """
    example = torch.zeros(1, CHANNELS, GRID, GRID), torch.tensor([[64.0, 64.0, 128.0, 128.0]]), torch.arange(100)
    shapes = {"embedding": None, "box": None, "cells": {0: torch.export.Dim("n", min=1, max=GRID**2)}}
    _write_halved(BoxDecoder(network), example, ["embedding", "box", "cells"], "logits", path, shapes)


def write_encoder(network: LiteMedSam, path: Path) -> None:
    """Write the image encoder: `picture` (1, 1, 256, 256) in [0, 1] to `embedding` (1, 256, 64, 64)."""
    _write_halved(_Encoder(network), (torch.zeros(1, 1, CANVAS, CANVAS),), ["picture"], "embedding", path)


def _write_halved(
    module: torch.nn.Module, example: tuple[torch.Tensor, ...], names: list[str], output: str, path: Path, shapes: dict | None = None
) -> None:
    export(module.eval().cpu(), example, names, [output], shapes, path)
    onnx.save_model(halved(onnx.load_model(path)), path)


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float32 weights stored as float16, and a cast to float32 before their use: all products stay in full precision."""
    casts, kept = [], []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _LEAST_HALVED:
            kept.append(weight)
            continue
        stored = f"{weight.name}_halved"
        kept.append(onnx.numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [weight.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def embed_slices(segmenter: LiteMedSamSegmenter, image: Image, indices: Sequence[int]) -> list[np.ndarray]:
    """What the encoder says of whole slices of a CT, float32 (256, 64, 64) each."""
    segmenter.set_image(image)
    segmenter.network.eval()
    window = segmenter.view.window_for(SlicePrompt(0), image)
    with torch.inference_mode():
        return [segmenter._embed([(window, index)])[0][0][0].float().cpu().numpy() for index in indices]


def to_bytes(embedding: np.ndarray) -> bytes:
    """An embedding (256, 64, 64) in a byte a value: 256 float32 scales, then int8 values, gzipped."""
    scales = (np.abs(embedding).max(axis=(1, 2)) / _LARGEST_BYTE).astype("<f4")
    values = np.round(embedding / np.maximum(scales, np.finfo(np.float32).tiny)[:, None, None])
    return gzip.compress(scales.tobytes() + values.astype(np.int8).tobytes(), 6, mtime=0)


def from_bytes(data: bytes) -> np.ndarray:
    """The embedding, float32 (256, 64, 64), that `to_bytes` wrote."""
    raw = gzip.decompress(data)
    scales = np.frombuffer(raw, "<f4", CHANNELS)
    return np.frombuffer(raw, np.int8, offset=4 * CHANNELS).reshape(CHANNELS, GRID, GRID) * scales[:, None, None]
