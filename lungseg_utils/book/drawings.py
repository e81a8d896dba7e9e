"""Drawings of models as inline SVG: boxes from left to right, a prompt that enters one of them, and what is repeated."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _GAP, _HEIGHT, _LOOP = 860, 34, 56, 46  # of the drawing, between boxes, of a box, of the room for what is repeated
_LINE = 'fill="none" stroke="currentColor" stroke-width="1.5"'
_STYLE = 'class="model-drawing" style="margin: 0.3rem 0 1rem" font-size="16"'


@dataclass(frozen=True)
class Flow:
    """`steps`: texts of the boxes, ` / ` breaks a line. `prompt` enters the step `entry`; `loop` says what leads back from the last."""

    steps: tuple[str, ...]
    prompt: str = ""
    entry: str = ""
    loop: str = ""

    def __str__(self) -> str:
        parts = [" → ".join(self.steps)]
        parts += [f"prompt: {self.prompt}, into {self.entry}"] if self.prompt else []
        return "; ".join([*parts, *([f"repeated: {self.loop}"] if self.loop else [])]).replace(" / ", " ")


def read(text: str) -> Flow:
    """A flow from lines `step | step | ...`, `prompt: TEXT -> STEP` and `loop: TEXT`; the first alone is needed."""
    first, *others = text.strip().splitlines()
    named = dict(line.split(": ", 1) for line in others if line)
    prompt, _, entry = named.get("prompt", "").partition(" -> ")
    return Flow(tuple(step.strip() for step in first.split("|")), prompt, entry, named.get("loop", ""))


def svg(flow: Flow) -> str:
    """One line of SVG in the colors of the page; its label is the flow in words."""
    count, top = len(flow.steps), _LOOP if flow.loop else 2
    width = (_WIDTH - 2 - _GAP * (count - 1)) / count
    left = [1 + number * (width + _GAP) for number in range(count)]
    height, middle = top + _HEIGHT + 2, top + _HEIGHT / 2
    parts = [_box(x, top, width, step) for x, step in zip(left, flow.steps, strict=True)]
    parts += [_line(f"M{x + width + 3:g} {middle:g} h{_GAP - 14}", (x + width + _GAP - 3, middle), "-9 -5 0 10") for x in left[:-1]]
    if flow.prompt:
        x = left[flow.steps.index(flow.entry)]
        parts += [
            _box(x, height + 24, width, flow.prompt, dashed=True),
            _line(f"M{x + width / 2:g} {height + 24} v-15", (x + width / 2, height + 1), "-5 9 10 0"),
        ]
        height += 24 + _HEIGHT + 2
    if flow.loop:
        last, first = left[-1] + width / 2, left[0] + width / 2
        parts.append(_line(f"M{last:g} {top - 3} V24 H{first:g} V{top - 12}", (first, top - 3), "-5 -9 10 0"))
        parts.append(_text((last + first) / 2, 11, [flow.loop]))
    label = html.escape(str(flow), quote=True)
    return f'<svg {_STYLE} role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {height:g}" width="100%">{"".join(parts)}</svg>'


def _box(x: float, y: float, width: float, text: str, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    shape = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{_HEIGHT}" rx="6" {_LINE}{dashes}/>'
    return shape + _text(x + width / 2, y + _HEIGHT / 2, text.split(" / "))


def _text(x: float, y: float, lines: Sequence[str]) -> str:
    first = y + 5 - 10 * (len(lines) - 1)
    return "".join(
        f'<text x="{x:g}" y="{first + 20 * number:g}" text-anchor="middle" fill="currentColor">{html.escape(line)}</text>'
        for number, line in enumerate(lines)
    )


def _line(path: str, tip: tuple[float, float], back: str) -> str:
    """A line and the head of an arrow at its end; `back`: from the tip to the head's two other corners, one after the other."""
    return f'<path d="{path}" {_LINE}/><path d="M{tip[0]:g} {tip[1]:g} l{back} z" fill="currentColor"/>'
