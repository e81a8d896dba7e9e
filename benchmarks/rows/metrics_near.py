"""All metrics of one case, for a prediction that is slightly wrong."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from lungseg_utils.evaluation import metrics
from lungseg_utils.experiments.costs.subjects import SHAPE, SPACING_MM
from lungseg_utils.types import Mask

from ..row import Agreement, Row, Setting, Work

RADIUS_MM, OFF_MM = 15.0, 3.0
AGAINST = "MONAI, metric by metric"
ROW = Row(work="all metrics of one case of 512 x 512 x 120, prediction near", against=AGAINST, goal=20.0)


def prepare(setting: Setting) -> Work:
    """A ball and the same one 3 mm away."""
    return compare_metrics(SHAPE, far=False)


def compare_metrics(shape: tuple[int, int, int], far: bool) -> Work:
    """Scores of a ball; `far`: there is a false positive in the corner as well."""
    reference, prediction = (_ball(shape, offset) for offset in (0.0, OFF_MM))
    if far:
        prediction[2:6, 2:6, 2:4] = True
    affine = np.diag([*SPACING_MM, 1.0])
    masks = Mask(reference, affine), Mask(prediction, affine)
    return Work(
        lambda: metrics.score_case(*masks),
        lambda: monai_scores(reference, prediction),
        _check,
        operations=0.0,
        bytes=float(reference.nbytes + prediction.nbytes),
    )


def _ball(shape: tuple[int, int, int], offset_mm: float) -> np.ndarray:
    axes = [(np.arange(n) - n / 2) * s for n, s in zip(shape, SPACING_MM, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return (x - offset_mm) ** 2 + y**2 + z**2 < RADIUS_MM**2


def monai_scores(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """The same metrics by MONAI, each by a call of its own as its tutorials have it."""
    from monai import metrics as monai

    one, other = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference))
    how = {"include_background": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = {"dsc": monai.DiceMetric(**how)(one, other), "iou": monai.MeanIoU(**how)(one, other)}
        for tolerance in metrics.NSD_TOLERANCES_MM:
            surface = monai.SurfaceDiceMetric([tolerance], **how)
            scores[f"nsd_{tolerance:g}mm"] = surface(one, other, spacing=SPACING_MM)
        scores["hd95"] = monai.HausdorffDistanceMetric(percentile=95, **how)(one, other, spacing=SPACING_MM)
        scores["assd"] = monai.SurfaceDistanceMetric(symmetric=True, **how)(one, other, spacing=SPACING_MM)
    return {name: float(value) for name, value in scores.items()}


def _check(fast: dict[str, float], plain: dict[str, float]) -> Agreement:
    """Surface metrics are defined by area here and by voxel there, so that only overlaps are equal."""
    return Agreement("difference", max(abs(fast[name] - plain[name]) for name in ("dsc", "iou")), 1e-6)
