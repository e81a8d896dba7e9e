"""SAM as published inference scripts use it: the image is set for every prompt, and one prompt is decoded at a time."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from segment_anything.modeling import MaskDecoder, Sam, TwoWayTransformer
from torch.nn import functional

from lungseg_utils import geometry
from lungseg_utils.networks.promptable import prompt_tokens
from lungseg_utils.networks.sam import PromptedSam, Size, packaged_encoder
from lungseg_utils.networks.view import View
from lungseg_utils.types import Image, SlicePrompt


def packaged_sam(network: PromptedSam, size: Size) -> Sam:
    """segment-anything's own classes, with the weights of this project's network."""
    sam = Sam(packaged_encoder(size, network.view.canvas), deepcopy(network.prompt_encoder), _packaged_decoder(size)).eval()
    sam.load_state_dict(network.state_dict())
    return sam


def _packaged_decoder(size: Size) -> torch.nn.Module:
    transformer = TwoWayTransformer(depth=2, embedding_dim=size.prompt_width, mlp_dim=size.decoder_width, num_heads=8)
    return MaskDecoder(transformer_dim=size.prompt_width, transformer=transformer, num_multimask_outputs=3)


@torch.inference_mode()
def ask(sam: Sam, view: View, image: Image, slice_prompt: SlicePrompt) -> np.ndarray:
    """Mask (x, y) of one prompt on one slice, from the picture on."""
    window = geometry.whole_plane(image.shape)
    picture = torch.from_numpy(view.picture(image.array, window, slice_prompt.index).copy())[None, None]
    embedding = sam.image_encoder(view.normalize(picture.expand(-1, 3, -1, -1)))
    positions, labels = (torch.from_numpy(part)[None] for part in prompt_tokens(slice_prompt, window, view.canvas))
    positions = positions - 0.5  # the package adds it, since it expects indices of pixels
    box = positions.flatten(1) if slice_prompt.box is not None else None
    sparse, dense = sam.prompt_encoder(points=None if slice_prompt.box is not None else (positions, labels), boxes=box, masks=None)
    logits, _ = sam.mask_decoder(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    size = (window.rows, window.columns)
    probability = functional.interpolate(torch.sigmoid(logits), size, mode="bilinear", align_corners=False)[0, 0].numpy()
    plane = np.zeros(image.shape[:2], dtype=np.float32)
    geometry.paste_window(probability, window, plane)
    return plane > 0.5
