"""A lesion followed through a CT from one box, by a network with a memory."""

from __future__ import annotations

import numpy as np

from lungseg_utils import registry
from lungseg_utils.experiments.costs.meter import count_flops
from lungseg_utils.geometry import plane_box
from lungseg_utils.networks.sam2 import Sam2Segmenter, Size
from lungseg_utils.types import Image, Mask, Prompt, SlicePrompt

from ..networks import least_dice, weight_bytes
from ..plain_sam2 import follow, packaged_predictor
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
