"""What published protocols need of one scan: voxels of reference and predictions, counted once (see `protocols`)."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from ..types import InputError, Record, Row

RESIZED_PLANE = (256, 256)
# pre_CT_MR.py of MedSAM (github.com/bowang-lab/MedSAM; other commits have 10 and 100) removes smaller objects from the reference, by
# 26 neighbors in the scan and by 8 in the slice, and then keeps the slices of the reference alone
MIN_AREA_PIXELS = 100
MIN_LESION_VOXELS = 1000
_CONNECTED_26 = np.ones((3, 3, 3), dtype=bool)
_CONNECTED_IN_SLICE = np.stack([np.zeros((3, 3), bool), np.ones((3, 3), bool), np.zeros((3, 3), bool)], axis=2)


@dataclass(frozen=True, eq=False)
class CaseMasks:
    """One scan: reference and one or several predictions, bool (x, y, z) of one shape. The first prediction is the model's own.

    `ignore`: region that this project does not judge, if the scan has one; published protocols know none.
    """

    patient_id: str
    reference: np.ndarray
    predictions: tuple[np.ndarray, ...]
    ignore: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.predictions:
            raise InputError(self.patient_id, "no prediction", "Give at least one; an empty mask if there was no answer.")
        for mask in (self.reference, *self.predictions, *(() if self.ignore is None else (self.ignore,))):
            if mask.dtype != np.bool_ or mask.ndim != 3 or mask.shape != self.reference.shape:
                problem = f"{mask.dtype} {mask.shape} beside a reference of {self.reference.shape}"
                raise InputError(self.patient_id, problem, "Give bool arrays (x, y, z) of one shape.")


@dataclass(frozen=True)
class Counts:
    """Voxels of reference, prediction and both, of one region."""

    reference: int
    prediction: int
    overlap: int

    @property
    def dsc(self) -> float:
        """2|R∩P| / (|R|+|P|); NaN if both are empty."""
        total = self.reference + self.prediction
        return 2.0 * self.overlap / total if total else np.nan


@dataclass(frozen=True, eq=False)
class CaseCounts:
    """What the protocols need of one scan.

    `slices`: of the whole scan. `judged`: by this project, without what was predicted in the ignore region. `has_ignore`: whether the scan
    has one. `reference`, `prediction`, `overlap`: voxels in each slice of the box around all masks, int64 (k,). `resized`: on
    `RESIZED_PLANE`. `large_lesions`: without small lesions. `large_areas`: DSC of each slice with a large area, (m,). `candidates`: 3-D
    DSC of each prediction. All but the first two are empty or zero where the reference is.
    """

    patient_id: str
    slices: int
    judged: Counts
    has_ignore: bool
    reference: np.ndarray
    prediction: np.ndarray
    overlap: np.ndarray
    resized: Counts
    large_lesions: Counts
    large_areas: np.ndarray
    candidates: tuple[float, ...]

    def as_plain(self) -> Record:
        """All fields as JSON values."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(self).items()}

    @classmethod
    def of_plain(cls, values: Row) -> CaseCounts:
        """The record of which `as_plain` made the values."""
        reference, prediction, overlap = (np.array(values[name], dtype=np.int64) for name in ("reference", "prediction", "overlap"))
        return cls(
            values["patient_id"],
            values["slices"],
            Counts(**values["judged"]),
            values["has_ignore"],
            reference,
            prediction,
            overlap,
            Counts(**values["resized"]),
            Counts(**values["large_lesions"]),
            np.array(values["large_areas"], dtype=float),
            tuple(values["candidates"]),
        )

    @property
    def has_tumor(self) -> bool:
        """Whether the reference holds a voxel."""
        return bool(self.reference.any())

    @property
    def slice_dsc(self) -> np.ndarray:
        """2-D DSC of each slice of the box, (k,); NaN where both masks are empty."""
        total = self.reference + self.prediction
        return np.divide(2.0 * self.overlap, total, out=np.full(len(total), np.nan), where=total > 0)


def measure(case: CaseMasks) -> CaseCounts:
    """Reduce a scan to what the protocols need; heavy work happens inside the box around all masks."""
    slices = case.reference.shape[2]
    if not case.reference.any():
        none, nothing = np.zeros(0, dtype=np.int64), Counts(0, 0, 0)
        return CaseCounts(case.patient_id, slices, nothing, False, none, none, none, nothing, nothing, np.zeros(0), ())
    union = functools.reduce(np.logical_or, case.predictions, case.reference)
    box = ndimage.find_objects(union.view(np.uint8))[0]
    reference, *predictions = (mask[box] for mask in (case.reference, *case.predictions))
    prediction = predictions[0]
    judged = prediction if case.ignore is None else prediction & ~(case.ignore[box] & ~reference)
    return CaseCounts(
        case.patient_id,
        slices,
        judged=_count(reference, judged),
        has_ignore=case.ignore is not None and bool(case.ignore.any()),
        reference=np.count_nonzero(reference, axis=(0, 1)),
        prediction=np.count_nonzero(prediction, axis=(0, 1)),
        overlap=np.count_nonzero(reference & prediction, axis=(0, 1)),
        resized=_count(*(_resize(mask, box, case.reference.shape) for mask in (reference, prediction))),
        large_lesions=_count(*_without_small(reference, prediction, _CONNECTED_26, MIN_LESION_VOXELS)),
        large_areas=_large_area_dsc(reference, prediction),
        candidates=tuple(_count(reference, prediction).dsc for prediction in predictions),
    )


def _count(reference: np.ndarray, prediction: np.ndarray) -> Counts:
    return Counts(*(int(np.count_nonzero(mask)) for mask in (reference, prediction, reference & prediction)))


def _resize(mask: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The part of the nearest-neighbor image of a whole scan on `RESIZED_PLANE` that lies in `box`, from the mask inside it."""
    picked = []
    for side, count, count_out in zip(box, shape, RESIZED_PLANE, strict=False):
        nearest = ((np.arange(count_out) + 0.5) * count / count_out).astype(int)  # the voxel that holds the new centre
        picked.append(nearest[(nearest >= side.start) & (nearest < side.stop)] - side.start)
    return mask[np.ix_(*picked)]


def _without_small(reference: np.ndarray, prediction: np.ndarray, structure: np.ndarray, min_voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """Both masks without reference components of fewer than `min_voxels`, and without what was predicted for these alone."""
    labels, count = ndimage.label(reference, structure)
    small = np.bincount(labels.ravel(), minlength=count + 1) < min_voxels
    small[0] = False
    if not small.any():
        return reference, prediction
    left_out = small[labels]
    kept = reference & ~left_out
    parts, part_count = ndimage.label(prediction, structure)
    on_small, on_kept = (np.bincount(parts[mask], minlength=part_count + 1) > 0 for mask in (left_out, kept))
    dropped = on_small & ~on_kept
    dropped[0] = False
    return kept, prediction & ~left_out & ~dropped[parts]


def _large_area_dsc(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    kept, kept_prediction = _without_small(reference, prediction, _CONNECTED_IN_SLICE, MIN_AREA_PIXELS)
    some = kept.any(axis=(0, 1))
    r, p, both = (np.count_nonzero(mask[:, :, some], axis=(0, 1)) for mask in (kept, kept_prediction, kept & kept_prediction))
    return 2.0 * both / (r + p)
