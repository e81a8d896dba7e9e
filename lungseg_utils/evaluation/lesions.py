"""Match predicted components with reference lesions, one to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import plan
from .shapes import Shape, common_box

MIN_PREDICTED_LESION_ML = plan.read().matching.least_ml  # smaller predicted components that touch no lesion are dropped first
HIT_IOU = plan.read().matching.hit_iou


@dataclass(frozen=True)
class LesionMatch:
    """Reference lesions and predicted components after one-to-one matching; label arrays of one shape."""

    reference_labels: np.ndarray
    prediction_labels: np.ndarray
    pairs: Mapping[int, tuple[int, float]]  # reference lesion -> (predicted component, IoU)
    n_reference: int
    n_predicted: int
    n_split: int
    n_merged: int

    @property
    def sensitivity(self) -> float:
        """Share of reference lesions that were hit; NaN without any."""
        return len(self.pairs) / self.n_reference if self.n_reference else np.nan

    @property
    def precision(self) -> float:
        """Share of predicted components that hit a lesion; NaN without any."""
        return len(self.pairs) / self.n_predicted if self.n_predicted else np.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; NaN if there is neither lesion nor component."""
        total = self.n_reference + self.n_predicted
        return 2 * len(self.pairs) / total if total else np.nan


def match_lesions(
    reference: np.ndarray, prediction: np.ndarray, voxel_ml: float, ignore: np.ndarray | None = None, hit_iou: float = HIT_IOU
) -> LesionMatch:
    """`match_shapes` of two bool arrays (x, y, z)."""
    no_matter = (1.0, 1.0, 1.0)  # components know no spacing
    return match_shapes(Shape(reference, no_matter), Shape(prediction, no_matter), voxel_ml, ignore, hit_iou)


def match_shapes(
    reference: Shape, prediction: Shape, voxel_ml: float, ignore: np.ndarray | None = None, hit_iou: float = HIT_IOU
) -> LesionMatch:
    """Greedy one-to-one matching by IoU, best pair first; a pair below `hit_iou` is no hit.

    A predicted component that touches no lesion is dropped if it is under 0.03 ml, or if more than half of it lies in `ignore`. One
    that touches a lesion always counts: a lesion itself may be smaller. Of a split lesion the best part is the hit; of a merge one
    lesion is hit; splits and merges are counted. The labels are those of the smallest box that holds all of both masks: a scan is a
    hundred times as large.
    """
    box = common_box(reference, prediction)
    reference_labels = reference.lesions(box)
    prediction_labels = _drop_off_lesions(prediction.components(box), reference_labels, voxel_ml, None if ignore is None else ignore[box])
    n_reference, n_predicted = int(reference_labels.max(initial=0)), int(prediction_labels.max(initial=0))
    overlap = _overlap_table(reference_labels, prediction_labels, n_reference, n_predicted)
    inner = overlap[1:, 1:]
    union = overlap[1:].sum(1)[:, None] + overlap[:, 1:].sum(0)[None] - inner
    scores = inner / np.maximum(union, 1)
    touched = inner > 0
    return LesionMatch(
        reference_labels,
        prediction_labels,
        _greedy_pairs(scores, hit_iou),
        n_reference,
        n_predicted,
        n_split=int((touched.sum(1) > 1).sum()),
        n_merged=int((touched.sum(0) > 1).sum()),
    )


def _overlap_table(reference_labels: np.ndarray, prediction_labels: np.ndarray, n_reference: int, n_predicted: int) -> np.ndarray:
    """Voxels by (reference label, predicted label); where both are 0 is not counted."""
    somewhere = (reference_labels > 0) | (prediction_labels > 0)
    pairs = reference_labels[somewhere].astype(np.int64) * (n_predicted + 1) + prediction_labels[somewhere]
    return np.bincount(pairs, minlength=(n_reference + 1) * (n_predicted + 1)).reshape(n_reference + 1, n_predicted + 1)


def _drop_off_lesions(labels: np.ndarray, reference_labels: np.ndarray, voxel_ml: float, ignore: np.ndarray | None) -> np.ndarray:
    """Predicted labels without the components that touch no lesion and are too small, or lie mostly in the ignore region."""
    count = int(labels.max(initial=0))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    on_lesion = np.bincount(labels[reference_labels > 0], minlength=count + 1)
    inside = np.zeros(count + 1, int) if ignore is None else np.bincount(labels[ignore], minlength=count + 1)
    keep = (on_lesion > 0) | ((sizes * voxel_ml >= MIN_PREDICTED_LESION_ML * (1 - 1e-9)) & (2 * inside <= sizes))
    keep[0] = False
    renumber = np.zeros(count + 1, dtype=labels.dtype)
    renumber[keep] = np.arange(1, int(keep.sum()) + 1)
    return renumber[labels]


def _greedy_pairs(scores: np.ndarray, hit_iou: float) -> dict[int, tuple[int, float]]:
    pairs: dict[int, tuple[int, float]] = {}
    scores = scores.copy()
    while scores.size and scores.max() >= hit_iou:
        r, p = np.unravel_index(int(scores.argmax()), scores.shape)
        pairs[int(r) + 1] = (int(p) + 1, float(scores[r, p]))
        scores[r, :] = -1
        scores[:, p] = -1
    return dict(sorted(pairs.items()))
