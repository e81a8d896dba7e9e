"""Run the interaction of a prompter with a segmenter until the prompter ends."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..prompts.jitter import perturb
from ..prompts.ladder import MOST_CLICKS, prompt_setting
from ..types import InputError, Mask, Prediction, Study


class MemoizedSegmenter:
    """A segmenter that is asked about one image: what it is asked again it answers as before.

    A dialogue of n corrective clicks begins with all that those of fewer clicks ask, so that the whole ladder takes as many answers as
    its longest dialogue. The wall seconds of a dialogue are then those of what nobody had asked before. Kept without probabilities, which
    nothing here reads and which take four times the memory of the masks.
    """

    def __init__(self, segmenter: Any):
        self.set_image = segmenter.set_image
        self.predict = lru_cache(MOST_CLICKS)(lambda prompts: replace(segmenter.predict(prompts), probability=None))


def final_prediction(segmenter: Any, study: Study, reference: Mask | None, prompter: str, rng: np.random.Generator) -> Prediction:
    """What a segmenter says at the end of a dialogue with a prompter."""
    return run_interaction(segmenter, study, reference, prompter, rng)[0]


def run_interaction(
    segmenter: Any, study: Study, pointed_at: Mask | None, prompter: str, rng: np.random.Generator, jitter: float = 0.0
) -> tuple[Prediction, int]:
    """Let a prompter and a segmenter talk until the prompter has no more to say; the last prediction, and the actions it cost.

    `pointed_at` is what the prompter knows: the reference, or what a detector found. Detectors cost nobody an action.
    """
    segmenter.set_image(study.image)
    dialogue = prompt_setting(prompter).make(pointed_at, rng)
    hints = next(dialogue)
    while True:
        prediction = segmenter.predict(perturb(hints, jitter, rng, study.image.shape, study.image.spacing_mm))
        if prediction.mask.shape != study.image.shape:
            raise InputError("prediction", f"its grid {prediction.mask.shape} is not the image's {study.image.shape}", "Repair the model.")
        actions = 0 if prompt_setting(prompter).from_detector else sum(hint.actions for hint in hints)
        try:
            hints = dialogue.send(prediction)
        except StopIteration:
            return prediction, actions
