"""One box on each slice: nothing can be reused, so the image encoder dominates."""

from __future__ import annotations

from lungseg_utils.networks.sam import Size

from ..row import Row, Setting, Work
from .ladder_vit_b import AGAINST, compare_prompts, ladder_prompts, real_lesion, segmenter_of

ROW = Row(work="ViT-B at 1024, one box a slice of a real CT (one slice; all with --full)", against=AGAINST, goal=2.0, warm=False)


def prepare(setting: Setting) -> Work:
    """In full precision, as by default on a processor."""
    return compare_boxes({}, setting)


def compare_boxes(options: dict, setting: Setting) -> Work:
    """The comparison with changed options of the segmenter."""
    image, lesion = real_lesion(None if setting.full else 1)
    return compare_prompts(segmenter_of(options), Size(), image, ladder_prompts(image, lesion)[:1], 1)
