"""Export SAM-type networks as two ONNX files each, for pages without Python."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
import torch
from segment_anything.utils.onnx import SamOnnxModel

from .sam import PromptedSam

_EXAMPLE_TOKENS = 3  # the number of tokens stays free in the file
_MOST_TOKENS = 64


class _Encoder(torch.nn.Module):
    def __init__(self, network: PromptedSam):
        super().__init__()
        self.network = network

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.network.encode(picture)


class _Decoder(SamOnnxModel):
    """Prompt encoder and mask decoder; the package's own way of embedding tokens without branches."""

    def __init__(self, network: PromptedSam):
        super().__init__(network, return_single_mask=False)

    def forward(self, embedding: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        prompts = self.model.prompt_encoder
        sparse = self._embed_points(positions - 0.5, labels)  # it expects indices of pixels; ours are counted from edges between pixels
        dense = prompts.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, *prompts.image_embedding_size)
        logits, _ = self.model.mask_decoder(embedding, prompts.get_dense_pe(), sparse, dense, multimask_output=False)
        return logits


def write(network: PromptedSam, encoder: Path, decoder: Path) -> None:
    """Write both files (float32, opset of torch's exporter, one picture and one prompt a call).

    Encoder: `picture` (1, 1, canvas, canvas) in [0, 1] to `embedding` (1, prompt width, grid, grid). Decoder: `embedding`, `positions`
    (1, m, 2) in canvas pixels counted from edges, and `labels` (1, m), int32, as in `promptable.prompt_tokens`, with a further token of
    label -1 where there is no box, to `logits` (1, 1, 4 grid, 4 grid). m is free, from 2 to 64.
    """
    network = network.eval().cpu()
    picture = torch.zeros(1, 1, network.view.canvas, network.view.canvas)
    with torch.inference_mode():
        embedding = network.encode(picture)
    positions = torch.rand(1, _EXAMPLE_TOKENS, 2) * network.view.canvas
    labels = torch.tensor([[2, 3, 1]], dtype=torch.int32)
    tokens = torch.export.Dim("tokens", min=2, max=_MOST_TOKENS)
    export(_Encoder(network), (picture,), ["picture"], ["embedding"], None, encoder)
    shapes = {"embedding": None, "positions": {1: tokens}, "labels": {1: tokens}}
    export(_Decoder(network), (embedding, positions, labels), ["embedding", "positions", "labels"], ["logits"], shapes, decoder)


def export(module: torch.nn.Module, inputs: tuple, names: list[str], outputs: list[str], shapes: dict | None, path: Path) -> None:
    """Write a module as one ONNX file that names no place of this machine; `shapes`: axes that stay free, as torch.export has them."""
    logging.getLogger("torch.onnx").setLevel(logging.WARNING)
    exported = torch.onnx.export(
        module.eval(), inputs, input_names=names, output_names=outputs, dynamic_shapes=shapes, dynamo=True, verbose=False
    )
    model = exported.model_proto
    _forget_origin(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, path)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Take out the places in source files that every node was made at: they name folders of this machine, and nobody reads them."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        for part in (function, *function.node, *function.value_info):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
