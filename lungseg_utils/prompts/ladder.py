"""The prompt ladder: one record per prompt setting, from a box on every slice down to no prompt.

A prompter is a generator. It gets a mask and a random generator, yields prompts, receives the prediction that they led to, and ends when
it has no further prompt. The mask is the reference, or for `detector_box` the findings of a detector. What a prompt setting gives away of
the reference is shown with every number.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..core.masks import label_lesions
from ..types import Case, InputError, Mask, ModelCard, Prediction, Prompt
from . import boxes, clicks, lines

Prompter = Generator[tuple[Prompt, ...], Prediction, None]
MOST_CLICKS = 5


@dataclass(frozen=True)
class PromptSetting:
    """One prompt setting: everything that tables, pages and models need to know of it."""

    title: str  # for readers
    kind: str  # of what a model receives: "box", "points" or "none"
    leaks: str  # what it gives away of the reference
    action: str  # what a person does once per counted action
    make: Callable[[Mask, np.random.Generator], Prompter]
    note: str = ""  # what a reader of a picture of its prompts must know
    looks: int = 1  # how often the prompter looks: more than once, if it corrects predictions
    from_detector: bool = False


def _nothing(mask: Mask, rng: np.random.Generator) -> Prompter:
    yield ()


def _once(draw: Callable[..., Prompt], *facts: str) -> Callable[[Mask, np.random.Generator], Prompter]:
    """A prompter that says one thing per lesion. `facts` names what `draw` needs beside the lesion: "spacing_mm", "rng"."""

    def make(mask: Mask, rng: np.random.Generator) -> Prompter:
        labels, known = label_lesions(mask.array), {"spacing_mm": mask.spacing_mm, "rng": rng}
        lesions = range(1, int(labels.max(initial=0)) + 1)
        yield tuple(draw(labels == lesion, lesion, **{fact: known[fact] for fact in facts}) for lesion in lesions)

    return make


def _clicks(count: int, mask: Mask, rng: np.random.Generator) -> Prompter:
    """A click in each lesion, then one after the other where the answer is most wrong, `count` for a scan with one lesion."""
    labels = label_lesions(mask.array)
    lesions = range(1, int(labels.max(initial=0)) + 1)
    prompts = tuple(clicks.center_click(labels == n, n, mask.spacing_mm) for n in lesions)
    prediction = yield prompts
    for _ in range(count - 1 if prompts else 0):
        more = clicks.corrected(prompts, labels, prediction.mask.array, mask.spacing_mm)
        if more is None:
            return
        prompts = more
        prediction = yield prompts


_EVERY_SLICE = _once(boxes.every_slice)
_LINE = "The line is what a reader would draw; "
_CORRECTED = (
    "Only the first click in each lesion is drawn. Each further one was set where the prediction before it was most wrong, "
    "and those predictions are not kept."
)


def _corrective_clicks(count: int) -> PromptSetting:
    leaks = f"{count} looks at the reference"
    return PromptSetting(f"{count} corrective clicks", "points", leaks, "click", partial(_clicks, count), _CORRECTED, looks=count)


# from most help to none: the order of every table
PROMPT_SETTINGS: dict[str, PromptSetting] = {
    "box_every_slice": PromptSetting("box on every slice", "box", "outline, extent, count", "box", _EVERY_SLICE),
    "box_alternate_slices": PromptSetting(
        "box on every second slice", "box", "outline of every second slice, extent to one slice", "box", _once(boxes.alternate_slices)
    ),
    "box_3d": PromptSetting("one 3-D box", "box", "extent", "3-D box", _once(boxes.volume)),
    "box_one_slice": PromptSetting("box on one slice", "box", "that slice, one box", "box", _once(boxes.one_slice)),
    "recist_line": PromptSetting(
        "RECIST line as a square",
        "box",
        "that slice, one line",
        "line",
        _once(lines.line_box, "spacing_mm"),
        _LINE + "the square around it is what the model was given.",
    ),
    "recist_points": PromptSetting(
        "RECIST line as points",
        "points",
        "that slice, one line",
        "line",
        _once(lines.line_points, "spacing_mm"),
        _LINE + "its ends and its middle are what the model was given.",
    ),
    **{f"clicks_{count}": _corrective_clicks(count) for count in range(MOST_CLICKS, 1, -1)},
    "click": PromptSetting("one click", "points", "that slice, one point", "click", _once(clicks.center_click, "spacing_mm")),
    "click_random": PromptSetting(
        "one click, anywhere inside", "points", "that slice, one point", "click", _once(clicks.random_click, "spacing_mm", "rng")
    ),
    "detector_box": PromptSetting(
        "boxes of a detector",
        "box",
        "nothing of the test labels; training masks of the detector",
        "none",
        _EVERY_SLICE,
        "The boxes came from a detector, not from the reference. They are not kept, so none is drawn.",
        from_detector=True,
    ),
    "none": PromptSetting("no prompt", "none", "nothing", "none", _nothing),
}


def settings_for(card: ModelCard) -> tuple[str, ...]:
    """Names of the prompt settings that a model can be asked with: all of its kinds; a detector's boxes only if it is not one itself."""
    fitting = {name: setting for name, setting in PROMPT_SETTINGS.items() if setting.kind in card.prompts}
    return tuple(name for name, setting in fitting.items() if not (setting.from_detector and card.is_automatic))


def prompt_setting(name: str) -> PromptSetting:
    """The prompt setting `name`; an unknown one is an error that lists the known ones."""
    if name not in PROMPT_SETTINGS:
        raise InputError(f"prompt setting {name}", "unknown", f"Choose one of {', '.join(PROMPT_SETTINGS)}.")
    return PROMPT_SETTINGS[name]


def prompt_rng(dataset: str, case_id: str, question: str, draw: int = 0) -> np.random.Generator:
    """What the prompts of a case are drawn with. Every model is given the same ones, so the seed knows nothing of the experiment."""
    return np.random.default_rng(zlib.crc32(f"{dataset}/{case_id}/{question}/{draw}".encode()))


def first_prompts(case: Case, reference: Mask, name: str) -> tuple[Prompt, ...]:
    """What a prompt setting says about a case before it has seen an answer, as every model was told; corrective clicks come after it."""
    return next(prompt_setting(name).make(reference, prompt_rng(case.dataset, case.case_id, name)))
