"""How a prediction is judged: overlap, surfaces, volume and lesions, in 3-D, with one table of empty-mask rules.

Surfaces are made of surface elements: a small triangle patch in each 2 x 2 x 2 neighbourhood that both classes share, with
the area that marching cubes gives it (Nikolov et al. 2021, doi:10.2196/26151; tables of the package `surface-distance`).
Percentiles and means are weighted by area, so that they do not depend on how a grid cuts the same surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from ..core.masks import bounding_box, dsc, label_lesions
from ..types import InputError, Mask

NSD_TOLERANCES_MM = (1.0, 2.0, 3.0, 5.0)
MIN_PREDICTED_LESION_ML = 0.03  # smaller predicted components are dropped before lesions are matched
HIT_IOU = 0.1
UNITS: Mapping[str, str] = {
    "dsc": "1",
    "iou": "1",
    **{f"nsd_{t:g}mm": "1" for t in NSD_TOLERANCES_MM},
    "hd95": "mm",
    "assd": "mm",
    "reference_volume": "ml",
    "prediction_volume": "ml",
    "volume_error": "ml",
    "volume_error_relative": "%",
    "false_positive_volume": "ml",
    "lesions_reference": "1",
    "lesions_predicted": "1",
    "lesions_hit": "1",
    "lesions_split": "1",
    "lesions_merged": "1",
    "lesion_sensitivity": "1",
    "lesion_precision": "1",
    "lesion_f1": "1",
}
_OVERLAP = ("dsc", "iou", *(f"nsd_{t:g}mm" for t in NSD_TOLERANCES_MM))
_DISTANCE = ("hd95", "assd")
# (reference empty, prediction empty) -> value of each metric that its own formula does not define there.
# NaN is "undefined": such a row never enters a mean. A failed or timed-out model counts as an empty prediction.
EMPTY_RULES: Mapping[tuple[bool, bool], Mapping[str, float]] = {
    (True, True): {
        **dict.fromkeys(_OVERLAP + _DISTANCE, np.nan),
        "volume_error_relative": np.nan,
        "lesion_sensitivity": np.nan,
        "lesion_precision": np.nan,
        "lesion_f1": np.nan,
    },
    (True, False): {
        **dict.fromkeys(_OVERLAP + _DISTANCE, np.nan),
        "volume_error_relative": np.nan,
        "lesion_sensitivity": np.nan,
        "lesion_precision": np.nan,
        "lesion_f1": np.nan,
    },
    (False, True): {
        **dict.fromkeys(_OVERLAP, 0.0),
        **dict.fromkeys(_DISTANCE, np.inf),
        "lesion_precision": np.nan,
    },
}


def iou(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Intersection over union of two bool arrays of one shape; NaN if both are empty."""
    union = int((reference | prediction).sum())
    return int((reference & prediction).sum()) / union if union else np.nan


@dataclass(frozen=True)
class SurfaceDistances:
    """Directed distances in mm between two surfaces, each with the areas (mm2) of its surface elements."""

    reference_to_prediction_mm: np.ndarray
    reference_areas_mm2: np.ndarray
    prediction_to_reference_mm: np.ndarray
    prediction_areas_mm2: np.ndarray

    @property
    def anything_judged(self) -> bool:
        """False where an ignore region or an open end leaves no element of either surface: then nothing is defined."""
        return bool(len(self.reference_areas_mm2) or len(self.prediction_areas_mm2))

    def nsd(self, tolerance_mm: float) -> float:
        """Normalized surface distance: share of both surfaces that lies within `tolerance_mm` of the other one."""
        if not self.anything_judged:
            return np.nan
        near = self.reference_areas_mm2[self.reference_to_prediction_mm <= tolerance_mm].sum()
        near += self.prediction_areas_mm2[self.prediction_to_reference_mm <= tolerance_mm].sum()
        return float(near / (self.reference_areas_mm2.sum() + self.prediction_areas_mm2.sum()))

    def hd95(self) -> float:
        """Larger of the two directed 95th percentiles, in mm; of one surface alone where nothing of the other one is judged."""
        directed = (
            (self.reference_to_prediction_mm, self.reference_areas_mm2),
            (self.prediction_to_reference_mm, self.prediction_areas_mm2),
        )
        return max((_weighted_percentile(distances, areas, 95) for distances, areas in directed if len(areas)), default=np.nan)

    def assd(self) -> float:
        """Average symmetric surface distance in mm: mean over both surfaces together."""
        if not self.anything_judged:
            return np.nan
        total = (self.reference_to_prediction_mm * self.reference_areas_mm2).sum()
        total += (self.prediction_to_reference_mm * self.prediction_areas_mm2).sum()
        return float(total / (self.reference_areas_mm2.sum() + self.prediction_areas_mm2.sum()))


def _weighted_percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    position = np.searchsorted(cumulative / cumulative[-1], percent / 100.0)
    return float(values[order][min(position, len(values) - 1)])


def _neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """8-bit pattern of the 2 x 2 x 2 voxels around each corner of the grid: shape + 1 along each axis."""
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros(tuple(n + 1 for n in mask.shape), dtype=np.uint8)
    for bit, (dx, dy, dz) in enumerate(np.ndindex(2, 2, 2)):
        # the table counts bits from the far corner: (1, 1, 1) has weight 1, (0, 0, 0) has weight 128
        window = padded[dx : dx + codes.shape[0], dy : dy + codes.shape[1], dz : dz + codes.shape[2]]
        codes |= window << np.uint8(7 - bit)
    return codes


def _common_box(a: np.ndarray, b: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box that holds all true voxels of both arrays; an empty one if there are none."""
    union = a | b
    return bounding_box(union) if union.any() else (slice(0),) * 3


def surface_distances(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: tuple[float, float, float],
    ignore: np.ndarray | None = None,
    open_ends: tuple[bool, bool] = (False, False),
) -> SurfaceDistances:
    """Distances between the surfaces of two non-empty bool arrays (x, y, z).

    `ignore`: surface elements that touch this region (bool, same shape) are not judged. `open_ends`: where a lesion is cut
    by the (first, last) slice of the volume, the cut is no surface, and its elements are not judged either.
    """
    box = bounding_box(reference | prediction)
    areas = create_table_neighbour_code_to_surface_area(np.asarray(spacing_mm, dtype=float))
    judged = _judged_corners(reference.shape, ignore, open_ends, box)
    codes = [_neighbour_codes(mask[box]) for mask in (reference, prediction)]
    # as distances are between whole surfaces, only the elements that are asked are left out, never those that answer
    surfaces = [(code != 0) & (code != 255) for code in codes]
    asked = [surface & judged for surface in surfaces]
    return SurfaceDistances(
        _distances_mm(asked[0], surfaces[1], spacing_mm),
        areas[codes[0][asked[0]]],
        _distances_mm(asked[1], surfaces[0], spacing_mm),
        areas[codes[1][asked[1]]],
    )


def _distances_mm(asked: np.ndarray, surface: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """From each true corner of `asked` to the nearest one of `surface`.

    A search tree over the surface's few corners; a distance transform would visit every corner of a box that one far false positive makes
    as large as the scan. The tree only finds the nearest: steps along the grid are exact, and tolerances are often whole steps.
    """
    start, end = np.argwhere(asked), np.argwhere(surface)
    if not len(start):
        return np.zeros(0)
    tree = cKDTree(end * np.asarray(spacing_mm), balanced_tree=False, compact_nodes=False)  # quicker by half for corners on a grid
    _, nearest = tree.query(start * np.asarray(spacing_mm))
    return np.sqrt((((start - end[nearest]) * np.asarray(spacing_mm)) ** 2).sum(axis=1))


def _judged_corners(
    shape: tuple[int, ...], ignore: np.ndarray | None, open_ends: tuple[bool, bool], box: tuple[slice, slice, slice]
) -> np.ndarray:
    judged = np.ones(tuple(s.stop - s.start + 1 for s in box), dtype=bool)
    if ignore is not None:
        judged &= ~_touching_corners(ignore, box)
    if open_ends[0] and box[2].start == 0:
        judged[:, :, 0] = False
    if open_ends[1] and box[2].stop == shape[2]:
        judged[:, :, -1] = False
    return judged


def _touching_corners(region: np.ndarray, box: tuple[slice, slice, slice]) -> np.ndarray:
    """Which corners of a box's grid (shape + 1 along each axis) touch a voxel of `region`, those just outside of the box included."""
    touched = np.zeros(tuple(s.stop - s.start + 2 for s in box), dtype=bool)
    seen = [slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box, region.shape, strict=True)]
    touched[tuple(slice(v.start - s.start + 1, v.stop - s.start + 1) for v, s in zip(seen, box, strict=True))] = region[tuple(seen)]
    for axis in range(3):
        low, high = (np.moveaxis(touched, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        touched = np.moveaxis(low | high, 0, axis)
    return touched


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
    """Greedy one-to-one matching by IoU, best pair first; a pair below `hit_iou` is no hit.

    Predicted components under 0.03 ml are dropped, as are those of which more than half lies in `ignore` without touching a
    lesion. Of a split lesion the best part is the hit; of a merge one lesion is hit; splits and merges are counted. The labels are
    those of the smallest box that holds all of both masks: a scan is a hundred times as large.
    """
    box = _common_box(reference, prediction)
    reference, prediction, ignore = reference[box], prediction[box], None if ignore is None else ignore[box]
    reference_labels = label_lesions(reference)
    min_voxels = max(1, int(np.ceil(MIN_PREDICTED_LESION_ML / voxel_ml - 1e-9)))
    prediction_labels = label_lesions(prediction, min_voxels)
    if ignore is not None:
        prediction_labels = _drop_ignored(prediction_labels, reference_labels, ignore)
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


def _drop_ignored(prediction_labels: np.ndarray, reference_labels: np.ndarray, ignore: np.ndarray) -> np.ndarray:
    count = int(prediction_labels.max(initial=0))
    sizes = np.bincount(prediction_labels.ravel(), minlength=count + 1)
    inside = np.bincount(prediction_labels[ignore], minlength=count + 1)
    on_lesion = np.bincount(prediction_labels[reference_labels > 0], minlength=count + 1)
    keep = [c for c in range(1, count + 1) if on_lesion[c] or 2 * inside[c] <= sizes[c]]
    renumber = np.zeros(count + 1, dtype=prediction_labels.dtype)
    renumber[keep] = np.arange(1, len(keep) + 1)
    return renumber[prediction_labels]


def _greedy_pairs(scores: np.ndarray, hit_iou: float) -> dict[int, tuple[int, float]]:
    pairs: dict[int, tuple[int, float]] = {}
    scores = scores.copy()
    while scores.size and scores.max() >= hit_iou:
        r, p = np.unravel_index(int(scores.argmax()), scores.shape)
        pairs[int(r) + 1] = (int(p) + 1, float(scores[r, p]))
        scores[r, :] = -1
        scores[:, p] = -1
    return dict(sorted(pairs.items()))


def score_case(
    reference: Mask, prediction: Mask, ignore: Mask | None = None, open_ends: tuple[bool, bool] = (False, False)
) -> dict[str, float]:
    """All metrics of one case on ALL voxels of its grid: metric name -> value, in the units of `UNITS`.

    A voxel of the ignore region that is no target is never a false positive: it is taken out of the prediction first.
    """
    for other in (prediction, ignore):
        if other is not None and other.shape != reference.shape:
            raise InputError("prediction", f"its grid {other.shape} is not the reference's {reference.shape}", "Put it back first.")
    target, answer = reference.array, prediction.array
    hidden = None if ignore is None else ignore.array & ~target
    if hidden is not None:
        answer = answer & ~hidden
    box = _common_box(target, answer)
    values = _volumes(target[box], answer[box], reference.voxel_ml)
    values |= _lesion_values(match_lesions(target, answer, reference.voxel_ml, hidden))
    rule = EMPTY_RULES.get((not target.any(), not answer.any()))
    if rule is None:
        surfaces = surface_distances(target, answer, reference.spacing_mm, hidden, open_ends)
        values |= _overlap(target[box], answer[box]) | _surface_values(surfaces)
    else:
        values |= rule
    return {name: float(values[name]) for name in UNITS}


def _volumes(target: np.ndarray, answer: np.ndarray, voxel_ml: float) -> dict[str, float]:
    volume, predicted = int(target.sum()) * voxel_ml, int(answer.sum()) * voxel_ml
    return {
        "reference_volume": volume,
        "prediction_volume": predicted,
        "volume_error": predicted - volume,
        "volume_error_relative": 100.0 * (predicted - volume) / volume if volume else np.nan,
        "false_positive_volume": int((answer & ~target).sum()) * voxel_ml,
    }


def _lesion_values(match: LesionMatch) -> dict[str, float]:
    return {
        "lesions_reference": match.n_reference,
        "lesions_predicted": match.n_predicted,
        "lesions_hit": len(match.pairs),
        "lesions_split": match.n_split,
        "lesions_merged": match.n_merged,
        "lesion_sensitivity": match.sensitivity,
        "lesion_precision": match.precision,
        "lesion_f1": match.f1,
    }


def _overlap(target: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    return {"dsc": dsc(target, answer), "iou": iou(target, answer)}


def _surface_values(surfaces: SurfaceDistances) -> dict[str, float]:
    return {**{f"nsd_{t:g}mm": surfaces.nsd(t) for t in NSD_TOLERANCES_MM}, "hd95": surfaces.hd95(), "assd": surfaces.assd()}


def score_lesions(reference: Mask, prediction: Mask, ignore: Mask | None = None) -> dict[int, dict[str, float]]:
    """Per reference lesion: was it hit, its volume, and the DSC with its matched component (0 if missed)."""
    hidden = None if ignore is None else ignore.array & ~reference.array
    answer = prediction.array if hidden is None else prediction.array & ~hidden
    match = match_lesions(reference.array, answer, reference.voxel_ml, hidden)
    rows = {}
    for lesion in range(1, match.n_reference + 1):
        inside = match.reference_labels == lesion
        component, _ = match.pairs.get(lesion, (0, 0.0))
        found = (match.prediction_labels == component) if component else np.zeros_like(inside)
        rows[lesion] = {
            "lesion_hit": float(bool(component)),
            "lesion_volume": int(inside.sum()) * reference.voxel_ml,
            "lesion_dsc": dsc(inside, found),
        }
    return rows


BEST_OF_DRAWS = "dsc_best_of_draws"  # a further value of a case that was asked with several draws of wrong prompts
LESION_UNITS: Mapping[str, str] = {"lesion_hit": "1", "lesion_volume": "ml", "lesion_dsc": "1"}
