"""Names of data sets, metrics, prompt settings and methods for tables and figures; numbers as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import pandas as pd

from .. import registry
from ..evaluation.metrics import LESION_METRICS, METRICS
from ..experiments import config
from ..prompts.ladder import PROMPT_SETTINGS

TRIVIAL_MODEL = "trivial"
_DIFFERENCE_DIGITS = 3
_ZERO = 1e-9  # what rounding leaves of a difference of equal numbers
CONTROL = " + prompt"  # an automatic model given the same prompt as the promptable ones
_METRICS: Mapping[str, str] = {metric.name: metric.label for metric in (*METRICS, *LESION_METRICS)}


def label_of(name: str) -> str:
    """Reader's name of a data set, metric or prompt setting; unknown names stay as they are."""
    if name in PROMPT_SETTINGS:
        return PROMPT_SETTINGS[name].title
    if name in _METRICS:
        return _METRICS[name]
    if name in registry.names("datasets"):
        card = registry.card("datasets", name)
        return card.label if card.phantom else f"{card.label} (real)"
    return name


def reading_order() -> list[str]:
    """Data sets, in the order of experiments.yml, then prompt settings, from most help to none."""
    return [*config.load().datasets(), *PROMPT_SETTINGS]


@cache
def trivial_rules() -> Mapping[str, str]:
    """Title of a trivial baseline -> its rule in words."""
    module = registry.plugin("models", TRIVIAL_MODEL)
    return {module.title({"rule": rule}): words for rule, words in module.RULES.items()}


def method_titles(results: pd.DataFrame, models: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """(experiment, prompt setting) -> title, which marks an automatic model with a prompt as control. `models`: experiment -> title."""
    pairs = set(zip(results["experiment"], results["prompter"], strict=True))
    automatic = {e for e, setting in pairs if setting == "none" and models[e] not in trivial_rules()}
    return {(e, setting): models[e] + (CONTROL if setting != "none" and e in automatic else "") for e, setting in pairs}


def counted(numbers: Iterable[int]) -> str:
    """ "n = 60", or "n = 13 to 63" where rows differ."""
    least, most = min(found := list(numbers)), max(found)
    return f"n = {most}" if least == most else f"n = {least} to {most}"


def interval_text(value: float, low: float, high: float, digits: int = 2) -> str:
    """ "0.71 [0.65, 0.77]", or the value alone where there is no interval."""
    text = number_text(value, digits)
    return text if np.isnan(low) else f"{text} [{number_text(low, digits)}, {number_text(high, digits)}]"


def number_text(value: float, digits: int) -> str:
    """A number with so many decimals and a true minus sign; a dash for an undefined one."""
    return with_minus("–" if np.isnan(value) else "∞" if value == np.inf else "-∞" if np.isinf(value) else f"{value:z.{digits}f}")


def as_text(frame: pd.DataFrame, digits: int) -> pd.DataFrame:
    """The frame with its fractions as text, so many decimals each (`number_text`); other cells stay."""
    return frame.map(lambda cell: number_text(cell, digits) if isinstance(cell, float) else cell)


def with_minus(text: str) -> str:
    """The text with minus signs (U+2212) in place of hyphens before numbers."""
    return re.sub(r"(?<![\w.])-(?=[\d∞])", "−", text)


def difference_text(value: float, low: float = np.nan, high: float = np.nan, signed: bool = False) -> str:
    """ "−0.004 [−0.010, 0.002]": a difference with its interval, if it has one; `signed` puts a plus before a positive difference.

    Three decimals. A number that they would round to zero has more, so that everybody sees on which side of zero it lies: "0.000" is zero.
    """
    first = ("+" if signed and value > _ZERO else "") + _beside_zero(value)
    return first if np.isnan(low) else f"{first} [{_beside_zero(low)}, {_beside_zero(high)}]"


def difference_texts(table: pd.DataFrame, name: str) -> list[str]:
    """`difference_text` of the columns NAME, NAME_low and NAME_high, row by row."""
    return [difference_text(*row) for row in table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)]


def _beside_zero(value: float) -> str:
    digits = _DIFFERENCE_DIGITS
    while _ZERO < abs(value) < 0.5 * 10**-digits:
        digits += 1
    return number_text(value, digits)


def in_reading_order(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    known = reading_order()
    return frame.sort_values(column, key=lambda names: [known.index(n) if n in known else len(known) for n in names], kind="stable")
