"""All metrics of one case, for a prediction with a false positive in the far corner of the scan."""

from __future__ import annotations

from lungseg_utils.experiments.costs.subjects import SHAPE

from ..row import Row, Setting, Work
from .metrics_near import AGAINST, compare_metrics

ROW = Row(work="all metrics of one case of 512 x 512 x 120, far false positive", against=AGAINST, goal=5.0)


def prepare(setting: Setting) -> Work:
    """The same ball, and a few voxels in a corner."""
    return compare_metrics(SHAPE, far=True)
