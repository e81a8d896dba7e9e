"""Sizes of a SAM-type network, read off its state dictionary: a checkpoint of one's own does not say them otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..types import InputError, Record
from .checkpoints import read_state

# channels of the first stage and number of blocks of the trunk -> how the package sam2 calls it
_HIERA = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}


def of_sam(path: Path) -> Record:
    """Options of `networks.sam`: canvas and those of `Size`. InputError if the file holds no SAM with an encoder of the family ViT."""
    state = read_state(path)
    try:
        return _of_sam(state)
    except KeyError as missing:
        raise InputError(path, f"no SAM: it holds no {missing.args[0]}", "Give a checkpoint of segment-anything's classes.") from missing


def _of_sam(state: Mapping[str, torch.Tensor]) -> Record:
    grid, width = state["image_encoder.pos_embed"].shape[2:]
    patch = state["image_encoder.patch_embed.proj.weight"].shape[-1]
    depth = _count(state, "image_encoder.blocks.")
    lengths = [state[f"image_encoder.blocks.{n}.attn.rel_pos_h"].shape for n in range(depth)]
    windows = [(length + 1) // 2 for length, _ in lengths]  # of an attention: its positions differ by -(window - 1) to window - 1
    return {
        "canvas": grid * patch,
        "patch": patch,
        "width": width,
        "depth": depth,
        "heads": width // lengths[0][1],
        "global_blocks": tuple(n for n, window in enumerate(windows) if window == grid),
        "window": next((window for window in windows if window != grid), grid),
        "prompt_width": state["image_encoder.neck.0.weight"].shape[0],
        "decoder_width": state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
    }


def of_sam2(path: Path) -> Record:
    """Options of `networks.sam2`: the package's configuration. InputError if the file holds none of its networks."""
    state = read_state(path)
    first = state.get("image_encoder.trunk.patch_embed.proj.weight")
    found = first is not None and _HIERA.get((first.shape[0], _count(state, "image_encoder.trunk.blocks.")))
    if not found:
        raise InputError(path, "no SAM 2 of the sizes of the package", f"Give a checkpoint of Hiera {', '.join(_HIERA.values())}.")
    version = "sam2.1" if "no_obj_embed_spatial" in state else "sam2"
    return {"config": f"{version}_hiera_{found}"}


def _count(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many numbered modules there are below a name."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)})
