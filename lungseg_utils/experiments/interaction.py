"""Run the interaction of a prompter with a segmenter until the prompter ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..prompts.jitter import perturb
from ..prompts.ladder import MOST_CLICKS, prompt_setting
from ..types import Image, InputError, Mask, Prediction, Prompt, Segmenter, Study


class MemoizedSegmenter(Segmenter):
    """A segmenter for one image that caches its predictions.

    The first prompts of an n-click dialogue equal those of shorter ones, so the whole ladder takes only as many predictions as its longest
    dialogue. The wall seconds of a dialogue are then those of its new predictions. Cached without probabilities, which nothing here reads
    and which take four times the memory of the masks.
    """

    def __init__(self, segmenter: Segmenter):
        self._segmenter, self.device = segmenter, segmenter.device
        self._predict = lru_cache(MOST_CLICKS)(lambda prompts: replace(segmenter.predict(prompts), probability=None))

    def set_image(self, image: Image) -> None:
        """Pass the image on."""
        self._segmenter.set_image(image)

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """The segmenter's answer, without probabilities."""
        return self._predict(tuple(prompts))

    def parameters(self) -> dict[str, int]:
        """Those of the segmenter."""
        return self._segmenter.parameters()

    def resolution_ceiling(self, reference: Mask) -> float:
        """That of the segmenter."""
        return self._segmenter.resolution_ceiling(reference)


def run_interaction(
    segmenter: Segmenter, study: Study, pointed_at: Mask, prompter: str, rng: np.random.Generator, jitter: float = 0.0
) -> tuple[Prediction, int]:
    """Alternate prompts and predictions until the prompter ends.

    Args:
        segmenter: gets the image of `study` and the prompts.
        study: the case.
        pointed_at: mask that the prompter sees: the reference, or the findings of a detector.
        prompter: name of a prompt setting.
        rng: of the prompts and their errors.
        jitter: error in drawing, as a share of a lesion's size.

    Returns:
        The last prediction, and the number of a person's actions that its prompts cost; boxes of a detector cost none.

    Raises:
        InputError: if a prediction is not on the grid of the image.
    """
    segmenter.set_image(study.image)
    dialogue = prompt_setting(prompter).make(pointed_at, rng)
    prompts = next(dialogue)
    while True:
        prediction = segmenter.predict(perturb(prompts, jitter, rng, study.image.shape, study.image.spacing_mm))
        if prediction.mask.shape != study.image.shape:
            raise InputError("prediction", f"its grid {prediction.mask.shape} is not the image's {study.image.shape}", "Repair the model.")
        actions = 0 if prompt_setting(prompter).from_detector else sum(prompt.actions for prompt in prompts)
        try:
            prompts = dialogue.send(prediction)
        except StopIteration:
            return prediction, actions
