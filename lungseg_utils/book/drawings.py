"""Drawings of models as inline SVG: boxes from left to right, a prompt that enters one of them, and what is repeated."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _GAP, _HEIGHT, _TOP = 860, 34, 52, 44  # of the drawing, between boxes, of a box, above the boxes
_LINE = 'fill="none" stroke="currentColor" stroke-width="1.5"'
_ARROW = '<path d="M{x} {y} l{a} l{b} z" fill="currentColor"/>'


@dataclass(frozen=True)
class Flow:
    """`steps`: texts of the boxes, `/` breaks a line. `prompt` enters the step `entry`; `loop` says what leads back from the last step."""

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
    count = len(flow.steps)
    width = (_WIDTH - 2 - _GAP * (count - 1)) / count
    left = [1 + number * (width + _GAP) for number in range(count)]
    middle = _TOP + _HEIGHT / 2
    parts = [_box(x, _TOP, width, step) for x, step in zip(left, flow.steps, strict=True)]
    parts += [_right(x + width, x + width + _GAP, middle) for x in left[:-1]]
    height = _TOP + _HEIGHT + 2
    if flow.prompt:
        x = left[flow.steps.index(flow.entry)]
        parts += [_box(x, height + 24, width, flow.prompt, dashed=True), _up(x + width / 2, height + 24, height)]
        height += 24 + _HEIGHT + 2
    if flow.loop:
        parts.append(_back(left[-1] + width / 2, left[0] + width / 2, flow.loop))
    label = html.escape(str(flow), quote=True)
    size = f'viewBox="0 0 {_WIDTH} {height:g}" width="100%"'
    return f'<svg class="model-drawing" role="img" aria-label="{label}" {size} font-size="14">{"".join(parts)}</svg>'


def _box(x: float, y: float, width: float, text: str, dashed: bool = False) -> str:
    style = f'{_LINE} rx="6"' + (' stroke-dasharray="5 4"' if dashed else "")
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{_HEIGHT}" {style}/>' + _text(
        x + width / 2, y + _HEIGHT / 2, text.split(" / ")
    )


def _text(x: float, y: float, lines: Sequence[str]) -> str:
    first = y + 5 - 9 * (len(lines) - 1)
    return "".join(
        f'<text x="{x:g}" y="{first + 18 * number:g}" text-anchor="middle" fill="currentColor">{html.escape(line)}</text>'
        for number, line in enumerate(lines)
    )


def _right(x: float, end: float, y: float) -> str:
    return f'<path d="M{x + 3:g} {y:g} H{end - 10:g}" {_LINE}/>' + _ARROW.format(x=f"{end - 3:g}", y=f"{y:g}", a="-9 -5", b="0 10")


def _up(x: float, y: float, end: float) -> str:
    return f'<path d="M{x:g} {y:g} V{end + 9:g}" {_LINE}/>' + _ARROW.format(x=f"{x:g}", y=f"{end + 1:g}", a="-5 9", b="10 0")


def _back(x: float, end: float, text: str) -> str:
    path = f'<path d="M{x:g} {_TOP - 3} V22 H{end:g} V{_TOP - 10}" {_LINE}/>'
    arrow = _ARROW.format(x=f"{end:g}", y=f"{_TOP - 3}", a="-5 -9", b="10 0")
    return path + arrow + _text((x + end) / 2, 9, [text])
