"""Names of data sets, metrics, prompt settings and methods for tables and figures; numbers as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ..evaluation.metrics import LESION_METRICS, METRICS
from ..prompts.ladder import PROMPT_SETTINGS

TRIVIAL = "trivial: "  # what the names of answers without a network begin with
CONTROL = " + prompt"  # an automatic model given the same prompt as the promptable ones
TITLES: Mapping[str, str] = {
    "phantom_nsclc": "phantoms, NSCLC-like",
    "phantom_msd": "phantoms, MSD-like",
    "nsclc_radiomics": "NSCLC-Radiomics (real)",
    "lidc_idri": "LIDC-IDRI (real)",
    "ibsi_ct_phantom": "IBSI CT phantom (real)",
    "nsclc_radiomics_interobserver1": "NSCLC-Radiomics-Interobserver1 (real)",
    "msd_lung": "MSD Task06 Lung (real)",
    "rider_lung_ct": "RIDER Lung CT (real)",
    **{metric.name: metric.label for metric in (*METRICS, *LESION_METRICS)},
    **{name: card.title for name, card in PROMPT_SETTINGS.items()},
}


def label_of(name: str) -> str:
    """Reader's name of a data set, metric or prompt setting; unknown names stay as they are."""
    return PROMPT_SETTINGS[name].title if name in PROMPT_SETTINGS else TITLES.get(name, name)


def method_titles(results: pd.DataFrame, models: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """(experiment, prompt setting) -> title, which marks an automatic model with a prompt as control. `models`: experiment -> title."""
    pairs = set(zip(results["experiment"], results["prompter"], strict=True))
    automatic = {e for e, rung in pairs if rung == "none" and not models[e].startswith(TRIVIAL)}
    return {(e, rung): models[e] + (CONTROL if rung != "none" and e in automatic else "") for e, rung in pairs}


def counted(numbers: Iterable[int]) -> str:
    """ "n = 60", or "n = 13 to 63" where rows differ."""
    least, most = min(found := list(numbers)), max(found)
    return f"n = {most}" if least == most else f"n = {least} to {most}"


def interval_text(value: float, low: float, high: float, digits: int = 2) -> str:
    """ "0.71 [0.65, 0.77]", or the value alone where there is no interval."""
    text = number_text(value, digits)
    return text if np.isnan(low) else f"{text} [{number_text(low, digits)}, {number_text(high, digits)}]"


def number_text(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else "∞" if np.isinf(value) else f"{value:z.{digits}f}"


def in_reading_order(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    known = list(TITLES)
    return frame.sort_values(column, key=lambda names: [known.index(n) if n in known else len(known) for n in names], kind="stable")
