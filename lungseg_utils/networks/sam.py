"""SAM (segment-anything's own classes) of any size, on CT slices with a box or clicks each. The state dictionary is that of the package.

The published ViT-B (SAM, MedSAM) and a small stand-in differ only in numbers: `Size`, the view, and the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch.nn import functional

from .. import geometry
from ..geometry import AxialWindow
from ..types import Box, Options, SlicePrompt
from . import propagation, training
from .attention import fuse_attention
from .products import widen_linears
from .promptable import SlicewiseSegmenter, prompt_tokens, where
from .prompted_training import PromptForm, TrainingSettings, draw_prompt, mirror
from .training_volumes import LesionVolume, jitter_box
from .view import View

END_SHARE = 0.3  # of the samples that follow an object: from its first or last slice, so that its end is seen often


@dataclass(frozen=True)
class Size:
    """Sizes of a SAM; the defaults are ViT-B as published (93.7 million parameters at 1024 pixels)."""

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    prompt_width: int = 256
    decoder_width: int = 2048

    @classmethod
    def from_options(cls, options: Options) -> Size:
        """The options of a model that are sizes of its network."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if k in known})


class _PairedMaskDecoder(MaskDecoder):
    """The packaged decoder pairs every image of a batch with every prompt; here prompt i belongs to image i."""

    def predict_masks(self, image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings):
        count = len(sparse_prompt_embeddings)
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(count, -1, -1)
        tokens = torch.cat([tokens, sparse_prompt_embeddings], dim=1)
        source = image_embeddings.expand(count, -1, -1, -1) + dense_prompt_embeddings
        outputs, source_tokens = self.transformer(source, image_pe.expand(count, -1, -1, -1), tokens)
        upscaled = self.output_upscaling(source_tokens.transpose(1, 2).reshape(source.shape))
        mask_tokens = outputs[:, 1 : 1 + self.num_mask_tokens]
        weights = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        return torch.einsum("bmc,bchw->bmhw", weights, upscaled), self.iou_prediction_head(outputs[:, 0])


def packaged_encoder(size: Size, canvas: int) -> ImageEncoderViT:
    """segment-anything's own image encoder, as `sam_model_registry` builds it."""
    return ImageEncoderViT(
        depth=size.depth,
        embed_dim=size.width,
        img_size=canvas,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=size.heads,
        patch_size=size.patch,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=size.global_blocks,
        window_size=size.window,
        out_chans=size.prompt_width,
    )


class PromptedSam(Sam):
    """SAM as a plain function of pictures and prompts, one prompt per picture and one mask per prompt."""

    def __init__(self, size: Size, view: View):
        grid = view.canvas // size.patch
        super().__init__(
            packaged_encoder(size, view.canvas),
            PromptEncoder(size.prompt_width, (grid, grid), (view.canvas, view.canvas), mask_in_chans=16),
            _PairedMaskDecoder(
                num_multimask_outputs=3,
                transformer=TwoWayTransformer(depth=2, embedding_dim=size.prompt_width, mlp_dim=size.decoder_width, num_heads=8),
                transformer_dim=size.prompt_width,
                iou_head_depth=3,
                iou_head_hidden_dim=256,
            ),
        )
        fuse_attention(self.image_encoder)
        widen_linears(self)
        self.view = view

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 1, canvas, canvas) in [0, 1] to embeddings (n, prompt_width, grid, grid)."""
        return self.image_encoder(self.view.normalize(pictures.expand(-1, 3, -1, -1)))

    def decode(self, embeddings: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, 4 grid, 4 grid) for prompts as in `prompt_tokens`, one per embedding."""
        # the encoder of prompts adds half a pixel, since it expects indices of pixels; ours are counted from edges between pixels
        is_box, positions = bool((labels[:, :1] == 2).all()), positions - 0.5
        clicks = (positions[:, 2:], labels[:, 2:]) if is_box else (positions, labels)
        boxes = positions[:, :2].flatten(1) if is_box else None
        sparse, dense = self.prompt_encoder(points=clicks if clicks[1].shape[1] else None, boxes=boxes, masks=None)
        logits, _ = self.mask_decoder(embeddings, self.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False)
        return logits

    def forward(self, pictures: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, canvas, canvas)."""
        logits = self.decode(self.encode(pictures), positions, labels)
        return functional.interpolate(logits.float(), pictures.shape[-2:], mode="bilinear", align_corners=False)


class SamSegmenter(SlicewiseSegmenter):
    """Segments CT slices by prompts, each for itself."""

    trained_parts = ("image_encoder", "mask_decoder")  # MedSAM's recipe: the prompt encoder stays as it is
    attention_layers = ("qkv",)

    def _probabilities(self, slice_prompts: Sequence[SlicePrompt], windows: Sequence[AxialWindow]) -> np.ndarray:
        return torch.sigmoid(self._logits(slice_prompts, windows))[:, 0].cpu().numpy()

    def _logits(self, slice_prompts: Sequence[SlicePrompt], windows: Sequence[AxialWindow]) -> torch.Tensor:
        """What the network says of each prompted slice: float32 (n, 1, side, side)."""
        embeddings = torch.cat([level for (level,) in self._embed([(w, h.index) for h, w in zip(slice_prompts, windows, strict=True)])])
        with training.autocast(self.device, self.precision):
            return self.network.decode(embeddings, *self._tokens(slice_prompts, windows)).float()

    def _batch(self, volumes: Sequence[LesionVolume], rng: np.random.Generator) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        form = PromptForm.draw(self.settings.point_share, rng)
        samples = [self._sample(volume, form, rng) for volume in volumes]
        *inputs, targets = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
        return tuple(inputs), targets

    def _sample(self, volume: LesionVolume, form: PromptForm, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """A picture (1, canvas, canvas), a prompt (positions, labels) and a soft target (1, canvas, canvas) of one slice."""
        slice_prompt, window, target = self._draw(volume, form, rng)
        picture = self.view.picture(volume.hu, window, slice_prompt.index)
        return mirror(picture[None], *prompt_tokens(slice_prompt, window, self.view.canvas), target[None], rng)

    def _draw(self, volume: LesionVolume, form: PromptForm, rng: np.random.Generator) -> tuple[SlicePrompt, AxialWindow, np.ndarray]:
        """A prompt on a slice of an object, the window that is seen for it, and its soft target (canvas, canvas)."""
        follow = not form.clicks and rng.random() < self.settings.follow_share
        plane, box = (_followed if follow else _boxed)(volume, self.settings.box_jitter, rng)
        slice_prompt = draw_prompt(plane, box, form, rng)
        window = self.view.window_for(slice_prompt, volume)
        return slice_prompt, window, self.view.target(plane[:, :, None], window, 0)


def _boxed(volume: LesionVolume, jitter: float, rng: np.random.Generator) -> tuple[np.ndarray, Box]:
    """One part of the object on one of its slices (a plane), and a jittered box around it."""
    index = int(rng.choice(volume.slices))
    parts = volume.components(index)
    plane = parts[rng.integers(len(parts))]
    return plane, jitter_box(geometry.plane_box(plane, index), jitter, volume.shape, rng)


def _followed(volume: LesionVolume, jitter: float, rng: np.random.Generator) -> tuple[np.ndarray, Box]:
    """What the propagation rule will ask: the box comes from the slice next to it, and the object may have ended (an empty plane)."""
    at_end = rng.random() < END_SHARE
    index = int(rng.choice(volume.slices[[0, -1]] if at_end else volume.slices))
    neighbor = int(np.clip(index + rng.choice((-1, 1)), 0, volume.shape[2] - 1))
    box = geometry.plane_box(volume.mask[:, :, index], neighbor, grow=propagation.GROW)
    return volume.mask[:, :, neighbor], jitter_box(box, jitter, volume.shape, rng)


def build_segmenter(options: Options, seed: int) -> SamSegmenter:
    """A segmenter from the flat options of a model: view, sizes and training; first weights are drawn from `seed`."""
    torch.manual_seed(seed)
    view = View.from_options(options)
    return SamSegmenter(PromptedSam(Size.from_options(options), view), view, TrainingSettings.from_options(options), **where(options))
