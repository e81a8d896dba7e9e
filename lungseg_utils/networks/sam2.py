"""SAM 2 (classes and configurations of the package sam2) of any size: CT slices as images, or as a video with a memory.

Published networks (SAM 2, MedSAM2, Medical SAM 2) and a small stand-in differ only in numbers: `Size`, the view, and the weights. The
state dictionary is that of the package. One function, `PromptedSam2.look`, computes a slice in training and in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from torch.nn import functional

from .. import geometry
from ..geometry import AxialWindow
from ..types import InputError, Options, Prompt, Record, SlicePrompt
from . import hiera, products, training
from .attention import split_attention
from .losses import build_loss, tell_progress
from .promptable import SlicewiseSegmenter, prompt_tokens, where
from .prompted_training import PromptForm, TrainingSettings, draw_prompt, mirror
from .propagation import REACH_MM
from .training_volumes import LesionVolume, jitter_box
from .view import View

ABSENT_SLICES = 3  # in a row without the object end the search: a lesion is one piece, so it does not come back; the rest is time
PRESENT_BIAS = 4.0  # of an untrained object score: a negative score hides the mask, and with it every gradient
LEAST_LOGIT = -32.0  # in the loss: a hidden mask has logits of -1024, which would drown all others
PICTURE_SHARE = 0.5  # of training steps take slices as pictures: SAM 2 was trained on images and videos in turn (arXiv 2408.00714)
_TOLD_LOGIT = 32.0  # of a mask that is known
END_SHARE = 0.5  # of training clips show the end of the object, where the stack does
_STRIDE = 32  # of the coarsest stage: the canvas is a multiple of it
Maps = list[torch.Tensor]  # features of n slices: (n, channels, side, side) at 1/4, 1/8 and 1/16 of the canvas
Memory = dict[str, dict[int, dict[str, Any]]]  # what is known of slices already seen, as the package keeps it


@dataclass(frozen=True)
class Size:
    """One of the package's configurations, and what a small network changes in it (None: as published).

    `width`: channels of image features and tokens, those of a memory are a quarter; `trunk_width`: of the first of four stages;
    `candidates`: three masks where the prompt is unclear, of which the network's own estimate chooses, as published. That
    estimate is not trained here, so a network from scratch does without.
    """

    config: str = "sam2.1_hiera_t"
    width: int | None = None
    trunk_width: int | None = None
    stages: tuple[int, ...] | None = None
    global_blocks: tuple[int, ...] | None = None
    memory_layers: int | None = None
    memory_feedforward: int | None = None
    candidates: bool = True

    @classmethod
    def from_options(cls, options: Options) -> Size:
        """The options of a model that are sizes of its network."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if k in known})

    def changes(self, canvas: int) -> Record:
        """What differs from the package's configuration, by dotted key."""
        grid, layer = [canvas // 16] * 2, "memory_attention.layer"
        result: dict[str, Any] = {
            "image_size": canvas,
            f"{layer}.self_attention.feat_sizes": grid,
            f"{layer}.cross_attention.feat_sizes": grid,
            # as build_sam2_video_predictor sets them: the memory of a prompted slice holds the mask, not its probability,
            "binarize_mask_from_pts_for_mem_enc": True,
            # and an unstable answer to a box gives way to the best candidate
            "sam_mask_decoder_extra_args": {
                "dynamic_multimask_via_stability": self.candidates,
                "dynamic_multimask_stability_delta": 0.05,
                "dynamic_multimask_stability_thresh": 0.98,
            },
        }
        if not self.candidates:
            result["multimask_output_in_sam"] = False
        return result | self._smaller()

    def _smaller(self) -> Record:
        values: dict[str, Any] = {
            "image_encoder.trunk.stages": self.stages,
            "image_encoder.trunk.global_att_blocks": self.global_blocks,
            "memory_attention.num_layers": self.memory_layers,
            "memory_attention.layer.dim_feedforward": self.memory_feedforward,
        }
        if self.trunk_width is not None:
            values["image_encoder.trunk.embed_dim"] = self.trunk_width
            values["image_encoder.neck.backbone_channel_list"] = [self.trunk_width * factor for factor in (8, 4, 2, 1)]
        if self.width is not None:
            whole = "image_encoder.neck.d_model image_encoder.neck.position_encoding.num_pos_feats memory_attention.d_model "
            whole += "memory_attention.layer.d_model memory_attention.layer.self_attention.embedding_dim "
            whole += "memory_attention.layer.cross_attention.embedding_dim memory_encoder.in_dim "
            whole += "memory_encoder.mask_downsampler.embed_dim memory_encoder.fuser.layer.dim"
            quarter = "memory_attention.layer.cross_attention.kv_in_dim memory_encoder.out_dim "
            quarter += "memory_encoder.position_encoding.num_pos_feats"
            values |= dict.fromkeys(whole.split(), self.width) | dict.fromkeys(quarter.split(), self.width // 4)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value is not None}


def new_memory() -> Memory:
    """Nothing seen yet."""
    return {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}


class PromptedSam2(SAM2Base):
    """SAM 2 as a function of slices, one after the other, and prompts on some of them."""

    view: View

    def encode(self, pictures: torch.Tensor) -> Maps:
        """Pictures (n, 1, canvas, canvas) in [0, 1] to their features."""
        inputs = self.view.normalize(pictures.expand(-1, 3, -1, -1))
        if not products.may_choose(inputs.device):
            return self.forward_image(inputs)["backbone_fpn"]
        return hiera.decoder_maps(self.image_encoder, self.sam_mask_decoder, inputs)

    def look(
        self,
        maps: Maps,
        index: int,
        count: int,
        memory: Memory,
        prompt: tuple[torch.Tensor, torch.Tensor] | None = None,
        reverse: bool = False,
        remember: bool = True,
        told: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask logits (n, canvas, canvas) and object scores (n) of slice `index` of `count`; then put it into `memory`.

        With a box or a click inside as `prompt` (as in `prompt_tokens`) the answer rests on it alone; else on what `memory` holds of
        other slices, and on clicks outside.
        `told`: true masks (n, canvas, canvas), remembered in the place of the answer. `reverse`: towards lower indices.
        In use it is what SAM2VideoPredictor computes for one object, with `fill_hole_area` 0.
        """
        flat, sizes = [m.flatten(2).permute(2, 0, 1) for m in maps], [tuple(m.shape[-2:]) for m in maps]
        places = self.image_encoder.neck.position_encoding(maps[-1]).flatten(2).permute(2, 0, 1)
        asked = prompt is not None
        alone = asked and bool((prompt[1] > 0).any())
        # the encoder of prompts adds half a pixel to indices of pixels; ours are counted from edges
        points = {"point_coords": prompt[0] - 0.5, "point_labels": prompt[1]} if asked else None
        seen, heads, _, _ = self._track_step(index, alone, flat, [places], sizes, points, None, memory, count, reverse, None)
        logits, seen["obj_ptr"], score = heads[4:7]
        if remember:
            kept = logits if told is None else _TOLD_LOGIT * (2 * told[:, None].to(logits.dtype) - 1)
            self._encode_memory_in_output(flat, sizes, points, True, kept, score, seen)
            if not self.training:  # the package keeps memories in half precision, and its published numbers rest on that
                exact = seen["maskmem_features"]
                seen["maskmem_features"] = exact.to(torch.bfloat16).to(exact.dtype)
            memory["cond_frame_outputs" if asked else "non_cond_frame_outputs"][index] = seen
        return logits[:, 0], score[:, 0]

    def forward(
        self, pictures: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor, told: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips (n, slices, canvas, canvas) in [0, 1], a prompt on the first slice each: logits alike, object scores (n, slices).

        With `told` the memory of the first slice holds these true masks (n, canvas, canvas), not the answer: what follows can then
        be learned before the answer is any good. SAM 2 was trained with a mask as the prompt of every other clip (arXiv 2408.00714).
        """
        count, memory = pictures.shape[1], new_memory()
        maps = [m.unflatten(0, pictures.shape[:2]) for m in self.encode(pictures.flatten(0, 1)[:, None])]
        prompt = (positions, labels)
        looks = [self.look([m[:, 0] for m in maps], 0, count, memory, prompt, remember=count > 1, told=told)]
        looks += [self.look([m[:, t] for m in maps], t, count, memory) for t in range(1, count)]
        logits, scores = zip(*looks, strict=True)
        return torch.stack(logits, dim=1), torch.stack(scores, dim=1)


def build_network(size: Size, view: View) -> PromptedSam2:
    """A network with random weights (from torch's global generator) that expects to see the object."""
    if view.canvas % _STRIDE:
        raise InputError(f"canvas {view.canvas}", f"not a multiple of {_STRIDE}", "SAM 2 halves a picture five times; choose e.g. 512.")
    folder = Path(sam2.__path__[0]) / "configs"
    path = folder / size.config.rpartition("_hiera")[0] / f"{size.config}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("sam2*/sam2*_hiera_*.yaml") if "training" not in p.parent.name)
        raise InputError(f"config {size.config}", "not among the package's", f"Choose one of {', '.join(known)}.")
    # read as a plain file: the package's own builders work through Hydra's global state
    model = OmegaConf.load(path).model
    for key, value in size.changes(view.canvas).items():
        OmegaConf.update(model, key, value, force_add=True)
    model["_target_"] = f"{__name__}.{PromptedSam2.__name__}"
    network = products.widen_linears(split_attention(instantiate(model, _recursive_=True)))
    network.image_encoder.trunk.__class__ = hiera.BandedHiera
    network.view = view
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, PRESENT_BIAS)
    return network


def build_segmenter(options: Options, seed: int) -> Sam2Segmenter:
    """A segmenter from the flat options of a model: view, sizes and training; first weights are drawn from `seed`."""
    torch.manual_seed(seed)
    view = View.from_options(options)
    return Sam2Segmenter(build_network(Size.from_options(options), view), view, TrainingSettings.from_options(options), **where(options))


class ClipLoss:
    """Of the masks and of the object score, on every slice of a clip that exists.

    A slice without the object enters the mask loss with an empty mask. In training SAM 2 (Ravi et al. 2024, arXiv 2408.00714) it
    enters the score's loss alone; within the short trainings here the score by itself does not learn where a lesion ends. Also
    unlike there, the mask loss is the settings' own, and the network's estimate of its overlap is not trained.
    """

    def __init__(self, name: str):
        self._mask_loss = build_loss(name)

    def set_progress(self, fraction: float) -> None:
        """Passed on to a mask loss that changes on the way."""
        tell_progress(self._mask_loss, fraction)

    def __call__(
        self, outputs: tuple[torch.Tensor, torch.Tensor], targets: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """Of logits (n, slices, canvas, canvas) and scores (n, slices), and targets: masks, present and valid (bool) alike."""
        (logits, scores), (masks, present, valid) = outputs, targets
        mask_loss = self._mask_loss(logits[valid][:, None].clamp(min=LEAST_LOGIT), masks[valid][:, None])
        return mask_loss + functional.binary_cross_entropy_with_logits(scores[valid].float(), present[valid].float())


class Sam2Segmenter(SlicewiseSegmenter):
    """Answers prompts on every slice as pictures, and prompts on few as a video that runs from the first of them in both directions."""

    # the prompt encoder stays as it is; so do the few loose parameters (what stands for "no memory" and "no object")
    trained_parts = ("image_encoder", "memory_attention", "memory_encoder", "sam_mask_decoder", "obj_ptr_proj", "obj_ptr_tpos_proj")
    attention_layers = ("qkv",)
    follows_in_one_window = True

    def _predict_lesion(self, prompt: Prompt) -> dict[int, np.ndarray]:
        if not prompt.find_ends:
            return super()._predict_lesion(prompt)
        return dict(self._follow(prompt.slices))

    def _probabilities(self, slice_prompts: Sequence[SlicePrompt], windows: Sequence[AxialWindow]) -> np.ndarray:
        places = self._embed([(w, h.index) for h, w in zip(slice_prompts, windows, strict=True)])
        maps = [torch.cat(level) for level in zip(*places, strict=True)]
        with training.autocast(self.device, self.precision):
            logits, _ = self.network.look(maps, 0, 1, new_memory(), self._tokens(slice_prompts, windows), remember=False)
        return torch.sigmoid(logits.float()).cpu().numpy()

    def _follow(self, slice_prompts: Sequence[SlicePrompt]) -> Iterator[tuple[int, np.ndarray]]:
        """Probability planes (x, y): the prompted slices, then upwards, then downwards, with one memory and inside one window."""
        seed, told = slice_prompts[0], {slice_prompt.index for slice_prompt in slice_prompts}
        window, memory = self.view.window_for(seed, self.image), new_memory()
        for slice_prompt in slice_prompts:
            reverse = slice_prompt.index < seed.index
            picture = self._look(window, slice_prompt.index, memory, prompt=self._tokens([slice_prompt], [window]), reverse=reverse)
            yield slice_prompt.index, self._put_back(picture, window)
        for reverse in (False, True):
            absent = 0
            for index in self._ways(seed.index, reverse, window):
                if index in told:
                    absent = 0
                    continue
                picture = self._look(window, index, memory, reverse=reverse)
                yield index, self._put_back(picture, window)
                # a negative object score leaves an empty mask
                absent = 0 if (picture > self.settings.threshold).any() else absent + 1
                if absent == ABSENT_SLICES:
                    break

    def _ways(self, start: int, reverse: bool, window: AxialWindow) -> Iterator[int]:
        """Slices from the seed's neighbor on to the end of the scan or of the reach; their features are made ready in groups."""
        reach = int(REACH_MM / self.image.spacing_mm[2])
        stop = max(-1, start - reach - 1) if reverse else min(self.image.shape[2], start + reach + 1)
        way = range(start - 1, stop, -1) if reverse else range(start + 1, stop)
        for first in range(0, len(way), self.batch_size):
            group = way[first : first + self.batch_size]
            self._embed([(window, index) for index in group])
            yield from group

    def _look(self, window: AxialWindow, index: int, memory: Memory, **how: object) -> np.ndarray:
        """Probability picture (canvas, canvas) of one slice."""
        maps = self._embed([(window, index)])[0]
        with training.autocast(self.device, self.precision):
            logits, _ = self.network.look(maps, index, self.image.shape[2], memory, **how)
        return torch.sigmoid(logits[0].float()).cpu().numpy()

    def _loss(self) -> ClipLoss:
        return ClipLoss(self.settings.loss)

    def _batch(
        self, volumes: Sequence[LesionVolume], rng: np.random.Generator
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        if rng.random() < PICTURE_SHARE:
            return self._clips([volume for volume in volumes for _ in range(self.settings.clip_slices)], 1, rng)
        return self._clips(volumes, self.settings.clip_slices, rng)

    def _clips(
        self, volumes: Sequence[LesionVolume], count: int, rng: np.random.Generator
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """One clip of `count` slices of each volume: what the network takes, and (masks, present, valid) for the loss."""
        form = PromptForm.draw(self.settings.point_share, rng)
        samples = [self._sample(volume, count, form, rng) for volume in volumes]
        *inputs, masks, valid = (torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))
        return (*inputs, masks[:, 0] > 0.5), (masks, masks.amax(dim=(2, 3)) > 0, valid)

    def _sample(self, volume: LesionVolume, count: int, form: PromptForm, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """A clip (count, canvas, canvas), the prompt (positions, labels) on its first slice, soft masks, which slices exist (bool).

        The whole clip is seen in one window, that of the first slice's prompt. A clip of one slice is a picture: one part of the object.
        """
        way, valid = _draw_way(volume, count, rng)
        key = int(way[0])
        parts = volume.components(key) if count == 1 else [volume.mask[:, :, key]]
        plane = parts[rng.integers(len(parts))]
        box = jitter_box(geometry.plane_box(plane, key), self.settings.box_jitter, volume.hu.shape, rng)
        slice_prompt = draw_prompt(plane, box, form, rng)
        window, blank = self.view.window_for(slice_prompt, volume), np.zeros([self.view.canvas] * 2, np.float32)
        pictures = [self.view.picture(volume.hu, window, int(i)) if there else blank for i, there in zip(way, valid, strict=True)]
        masks = [self.view.target(plane[:, :, None], window, 0)]
        masks += [self.view.target(volume.mask, window, int(i)) if there else blank for i, there in zip(way[1:], valid[1:], strict=True)]
        return *mirror(np.stack(pictures), *prompt_tokens(slice_prompt, window, self.view.canvas), np.stack(masks), rng), valid


def _draw_way(volume: LesionVolume, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a clip, starting on any slice of the object and running up or down, and which of them exist (bool).

    Drawn from the ways that lose the fewest slices at the ends of the stack, and every other time from those of them that leave the
    object: few do, and a network that never sees an end does not stop at one.
    """
    depth, shown = volume.mask.shape[2], volume.mask.any(axis=(0, 1))
    ways = np.array([key + step * np.arange(count) for key in volume.slices for step in (1, -1)])
    there = (ways >= 0) & (ways < depth)
    full = there.sum(axis=1) == there.sum(axis=1).max()
    leaves = full & (there & ~shown[ways.clip(0, depth - 1)]).any(axis=1)
    chosen = np.flatnonzero(leaves if rng.random() < END_SHARE and leaves.any() else full)
    number = chosen[rng.integers(len(chosen))]
    return ways[number], there[number]
