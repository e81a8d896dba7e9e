"""Prompt sources: whose outlines the prompts are drawn from. One prompter draws them all; only the mask that it looks at differs."""

from __future__ import annotations

from .ladder import prompt_setting
from .sessions import RECORDED as RECORDED_SETTING

REFERENCE = "reference"
ANOTHER_READER = "another_reader"
DETECTOR = "detector"
RECORDED = "recorded"
TITLES = {
    REFERENCE: "the reference itself",
    ANOTHER_READER: "another reader",
    DETECTOR: "a detector",
    RECORDED: "a person, recorded",
}


def own_source(setting: str) -> str:
    """The source of a prompt setting unless another reader draws it: the reference, a detector, or recorded sessions."""
    if setting == RECORDED_SETTING:
        return RECORDED
    return DETECTOR if prompt_setting(setting).from_detector else REFERENCE
