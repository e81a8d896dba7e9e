"""A lesion followed through a CT from one box, by a network with a memory: against SAM 2's own video predictor, whose frames are slices."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import torch
from sam2 import sam2_video_predictor
from sam2.build_sam import build_sam2_video_predictor

from lungseg_utils import geometry, registry
from lungseg_utils.experiments.costs.meter import count_flops
from lungseg_utils.geometry import plane_box
from lungseg_utils.networks.promptable import prompt_tokens
from lungseg_utils.networks.sam2 import PromptedSam2, Sam2Segmenter, Size
from lungseg_utils.networks.view import View
from lungseg_utils.types import Image, Mask, Prompt, SlicePrompt

from ..networks import least_dice, weight_bytes
from ..row import Agreement, Setting, Work, row
from .prompts import real_lesion

AGAINST = "sam2's own video predictor, fp32"


@row(work="Hiera-T at 512, a lesion followed from one box through a real CT of 16 slices", against=AGAINST, goal=2.0, warm=False)
def propagation_hiera_t(setting: Setting) -> Work:
    """In full precision, as by default on a processor."""
    return compare_following({}, *real_lesion())


def compare_following(options: dict, image: Image, lesion: Mask, size: Size | None = None) -> Work:
    """The comparison with changed options of the segmenter, which must be those of `size`."""
    module = registry.plugin("models", "medsam2")
    segmenter: Sam2Segmenter = module.build({**module.CARD.options, "device": "cpu", **options})
    segmenter.network.eval()
    size = size or Size()
    predictor, view = packaged_predictor(segmenter.network, size), segmenter.view
    areas = lesion.array.sum(axis=(0, 1))
    index = int(areas.argmax())
    slice_prompt = SlicePrompt(index, box=plane_box(lesion.array[:, :, index], index))

    def fast() -> np.ndarray:
        segmenter.cache.clear()
        segmenter.set_image(image)
        return segmenter.predict([Prompt(1, (slice_prompt,), find_ends=True)]).mask.array

    def check(mask: np.ndarray, other: np.ndarray) -> Agreement:
        return Agreement("dice", least_dice(np.moveaxis(mask, 2, 0), np.moveaxis(other, 2, 0)), 0.99)

    precision = segmenter.precision.replace("by_device", "fp32")
    return Work(
        fast, lambda: follow(predictor, view, image, slice_prompt), check, float(count_flops(fast)), weight_bytes(predictor), precision
    )


@row(
    work="Hiera-T at 512, a lesion followed from one box through a real CT of 16 slices, precision bf16",
    against=AGAINST,
    goal=2.0,
    pairs=3,
    warm=False,
)
def propagation_hiera_t_bf16(setting: Setting) -> Work:
    """A choice of the experiment, never the default."""
    return compare_following({"precision": "bf16"}, *real_lesion())


def packaged_predictor(network: PromptedSam2, size: Size) -> sam2_video_predictor.SAM2VideoPredictor:
    """Meta's predictor by Meta's builder, with the weights of this project's network."""
    changes = {key: value for key, value in size.changes(network.view.canvas).items() if not isinstance(value, dict)}
    overrides = [f"++model.{key}={value}" for key, value in changes.items()]
    config = f"configs/{size.config.rpartition('_hiera')[0]}/{size.config}.yaml"
    predictor = build_sam2_video_predictor(config, device="cpu", hydra_overrides_extra=overrides, apply_postprocessing=size.candidates)
    predictor.fill_hole_area = 0  # its kernel needs CUDA
    predictor.load_state_dict(network.state_dict())
    return predictor


@torch.inference_mode()
def follow(predictor: sam2_video_predictor.SAM2VideoPredictor, view: View, image: Image, slice_prompt: SlicePrompt) -> np.ndarray:
    """Mask (x, y, z) of a lesion from the box on one slice, upwards and then downwards to the ends of the CT."""
    window = geometry.whole_plane(image.shape)
    pictures = np.stack([view.picture(image.array, window, index) for index in range(image.shape[2])])[:, None]
    frames = view.normalize(torch.from_numpy(pictures).expand(-1, 3, -1, -1))
    with _frames_in_place(frames, (window.rows, window.columns)):
        state = predictor.init_state(video_path="unused")
    box = prompt_tokens(slice_prompt, window, view.canvas)[0].ravel() - 0.5  # indices of pixels
    scale = np.array([window.columns, window.rows] * 2) / view.canvas
    predictor.add_new_points_or_box(state, frame_idx=slice_prompt.index, obj_id=1, box=box * scale)
    mask = np.zeros(image.shape, dtype=bool)
    for reverse in (False, True):
        for index, _, logits in predictor.propagate_in_video(state, start_frame_idx=slice_prompt.index, reverse=reverse):
            plane = np.zeros(image.shape[:2], dtype=np.float32)
            geometry.paste_window((logits[0, 0] > 0).float().numpy(), window, plane)
            mask[:, :, index] = plane > 0
    return mask


@contextmanager
def _frames_in_place(frames: torch.Tensor, size: tuple[int, int]):
    """The predictor reads JPEG folders and films only: within the block it is given these frames."""
    original = sam2_video_predictor.load_video_frames
    sam2_video_predictor.load_video_frames = lambda **_: (frames, *size)
    try:
        yield
    finally:
        sam2_video_predictor.load_video_frames = original
