"""A later run over the same slice with another prompt: the embedding is read from a file."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np

from lungseg_utils.networks.embedding_cache import EmbeddingFolder
from lungseg_utils.networks.sam import SamSegmenter, Size
from lungseg_utils.types import Image, Prompt

from ..networks import least_dice, weight_bytes
from ..row import Agreement, Row, Setting, Work
from .ladder_vit_b import ladder_prompts, real_lesion, segmenter_of

ROW = Row(
    work="ViT-B at 1024, a box on one slice whose embedding an earlier run left on disk",
    against="the same without the file",
    goal=math.nan,  # "no time in the encoder" is counted in the tests
    warm=False,
)


def prepare(setting: Setting) -> Work:
    """MedSAM's preprocessing, random weights, one slice of a real lesion."""
    image, lesion = real_lesion(1)
    return compare_runs(segmenter_of({}), Size(), image, ladder_prompts(image, lesion)[-1])


def compare_runs(segmenter: SamSegmenter, size: Size, image: Image, prompt: Prompt) -> Work:
    """The comparison for any network; the folder is filled before."""
    folder = tempfile.TemporaryDirectory()  # as long as the work itself

    def ask(kept: bool) -> np.ndarray:
        segmenter.cache.clear()
        segmenter.folder = EmbeddingFolder(Path(folder.name)) if kept else None
        segmenter.set_image(image)
        return segmenter.predict([prompt]).mask.array

    def check(fast: np.ndarray, plain: np.ndarray) -> Agreement:
        return Agreement("dice", least_dice(fast[None], plain[None]), 1.0)

    ask(kept=True)
    least = 4.0 * len(prompt.slices) * size.prompt_width * (segmenter.view.canvas // size.patch) ** 2
    return Work(
        lambda: ask(kept=True), lambda: ask(kept=False), check, operations=0.0, bytes=least + weight_bytes(segmenter.network.mask_decoder)
    )
