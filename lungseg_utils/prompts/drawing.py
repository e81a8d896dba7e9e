"""Draw the prompts of one prompt setting from a mask."""

from __future__ import annotations

import numpy as np

from ..types import Mask, Prompt
from . import jitter as drawing_errors
from .ladder import prompt_setting


def draw_prompts(mask: Mask, setting: str, seed: int = 0, jitter: float = 0.0) -> tuple[Prompt, ...]:
    """First prompts of a setting, one for each lesion of a mask; corrective clicks would follow a prediction.

    `setting`: a name of `ladder.PROMPT_SETTINGS`, e.g. "box_one_slice". `jitter`: error in drawing, as a share of the lesion's size.
    InputError for an unknown setting.
    """
    rng = np.random.default_rng(seed)
    drawn = next(prompt_setting(setting).make(mask, rng))
    return drawing_errors.perturb(drawn, jitter, rng, mask.shape, mask.spacing_mm)
