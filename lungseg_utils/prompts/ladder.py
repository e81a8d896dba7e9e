"""The prompt ladder: what a segmenter is told about a lesion, from a box on every slice down to nothing.

A prompter is a dialogue (a generator). It is given a mask and a random generator, yields the prompts of one look, receives the
prediction that they led to, and ends when it has no more to say. The mask is the reference, or for `detector_box` what a detector
found; what a rung leaks of the reference is written beside every number.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..core.masks import label_lesions
from ..types import Case, InputError, Mask, Prediction, Prompt
from . import boxes, clicks, lines

Prompter = Generator[tuple[Prompt, ...], Prediction, None]
MOST_CLICKS = 5


@dataclass(frozen=True)
class PrompterCard:
    """What a rung is: its name for readers, what it gives away of the reference, what is drawn, and how."""

    title: str
    leaks: str
    action: str  # what a person does once per counted action
    make: Callable[[Mask, np.random.Generator], Prompter]
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
    hints: tuple[Prompt, ...] | None = tuple(clicks.centre_click(labels == n, n, mask.spacing_mm) for n in lesions)
    prediction = yield hints
    for _ in range(count - 1 if hints else 0):
        hints = clicks.corrected(hints, labels, prediction.mask.array, mask.spacing_mm)
        if hints is None:
            return
        prediction = yield hints


_EVERY_SLICE = _once(boxes.every_slice)
PROMPTERS: Mapping[str, PrompterCard] = {
    "box_every_slice": PrompterCard("box on every slice", "outline, extent, count", "box", _EVERY_SLICE),
    "box_alternate_slices": PrompterCard(
        "box on every second slice", "outline of every second slice, extent to one slice", "box", _once(boxes.alternate_slices)
    ),
    "box_3d": PrompterCard("one 3-D box", "extent", "3-D box", _once(boxes.volume)),
    "box_one_slice": PrompterCard("box on one slice", "that slice, one box", "box", _once(boxes.one_slice)),
    "recist_line": PrompterCard("RECIST line as a square", "that slice, one line", "line", _once(lines.line_box, "spacing_mm")),
    "recist_points": PrompterCard("RECIST line as points", "that slice, one line", "line", _once(lines.line_points, "spacing_mm")),
    **{
        f"clicks_{n}": PrompterCard(f"{n} corrective clicks", f"{n} looks at the reference", "click", partial(_clicks, n))
        for n in range(MOST_CLICKS, 1, -1)
    },
    "click": PrompterCard("one click", "that slice, one point", "click", _once(clicks.centre_click, "spacing_mm")),
    "click_random": PrompterCard(
        "one click, anywhere inside", "that slice, one point", "click", _once(clicks.random_click, "spacing_mm", "rng")
    ),
    "detector_box": PrompterCard(
        "boxes of a detector", "nothing of the test labels; training masks of the detector", "none", _EVERY_SLICE, from_detector=True
    ),
    "none": PrompterCard("no prompt", "nothing", "none", _nothing),
}


def prompter(name: str) -> PrompterCard:
    """The rung `name`; an unknown one is an error that lists the known ones."""
    if name not in PROMPTERS:
        raise InputError(f"prompter {name}", "unknown", f"Choose one of {', '.join(PROMPTERS)}.")
    return PROMPTERS[name]


def prompt_rng(dataset: str, case_id: str, question: str, draw: int = 0) -> np.random.Generator:
    """What the prompts of a case are drawn with. Every model is given the same ones, so the seed knows nothing of the experiment."""
    return np.random.default_rng(zlib.crc32(f"{dataset}/{case_id}/{question}/{draw}".encode()))


def first_prompts(case: Case, reference: Mask, name: str) -> tuple[Prompt, ...]:
    """What a rung says about a case before it has seen an answer, as every model was told; corrective clicks come after it."""
    return next(prompter(name).make(reference, prompt_rng(case.dataset, case.case_id, name)))
