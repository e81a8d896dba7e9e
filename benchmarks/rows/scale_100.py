"""From 10 to 100 cases: scoring, the table of results and the cohort table may take ten times as long, and no more memory."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from lungseg_utils.datasets.phantom_nsclc import MINI
from lungseg_utils.evaluation import intervals, scoring, tables
from lungseg_utils.experiments.costs import meter
from lungseg_utils.types import Image, Mask, Study

from ..row import Agreement, Row, Setting, Work

DIFFERENT = 5  # lesions, which come again: drawing whole phantoms takes longer than all that is measured here
WITHIN = 0.9  # "linear within a tenth"
ROW = Row(work="100 cases through scoring, result table and cohort table", against="ten times 10 cases", goal=WITHIN)


def prepare(setting: Setting) -> Work:
    """Cases on the grid of the default profile."""
    return compare_sizes(10, 100)


def compare_sizes(few: int, many: int) -> Work:
    """`many` cases, beside `few` as their share; the answers are the peaks of memory."""
    bytes_needed = 2.0 * many * np.prod(MINI.shape)
    return Work(lambda: _peak_mb(many), lambda: _peak_mb(few), _flat, 0.0, bytes_needed, plain_share=few / many)


def _peak_mb(count: int) -> float:
    meter.reset_peak_resident()
    evaluate(count)
    return meter.peak_resident_mb()


def _flat(many: float, few: float) -> Agreement:
    return Agreement("memory ratio", many / few, 1.1)


def evaluate(count: int) -> pd.DataFrame:
    """The result table of that many cases, after its summary was made."""
    rows = []
    for n in range(count):
        study, answer = _cases()[n % DIFFERENT]
        keys = {"experiment": "x", "test_dataset": "y", "prompter": "none", "jitter": 0.0, "patient_id": f"p{n}", "case_id": f"p{n}"}
        rows += scoring.score(keys, study, answer)
    frame = tables.results_frame(rows)
    intervals.cohort_table(frame)
    return frame


@cache
def _cases() -> list[tuple[Study, Mask]]:
    """Studies with one lesion, and answers that are a little off and have a false positive."""
    return [_case(radius) for radius in np.linspace(3, 12, DIFFERENT)]


def _case(radius: float) -> tuple[Study, Mask]:
    affine, grid = np.diag([*MINI.spacing_mm, 1.0]), np.indices(MINI.shape)
    centre = np.reshape(MINI.shape, (3, 1, 1, 1)) / 2
    masks = [((grid - centre - shift) ** 2).sum(axis=0) < radius**2 for shift in (0, 1)]
    masks[1][5:9, 5:9, 5:9] = True
    reference, answer = (Mask(mask, affine) for mask in masks)
    return Study(Image(np.zeros(MINI.shape, np.float32), affine), {"reference": reference}, None), answer
