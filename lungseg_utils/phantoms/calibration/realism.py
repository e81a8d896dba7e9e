"""Train a classifier to tell phantom patches from real ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ... import geometry, registry
from ...types import Image, InputError, Study
from .gates import measure
from .properties import lung_mask


def real_studies(roots: Mapping[str, Path], public: bool) -> dict[str, Study]:
    """Studies of the real data sets in `roots` (plug-in name -> folder), as far as they are there; one per patient.

    With `public`, data sets whose license does not let voxels be published are left out.
    """
    found: dict[str, Study] = {}
    for name, root in roots.items():
        module = registry.plugin("datasets", name)
        if module.CARD.phantom or (public and not module.CARD.redistributable):
            continue
        try:
            cases = module.cases(Path(root))
        except InputError:
            continue  # not fetched
        for case in cases:
            if case.reference_paths and case.patient_id not in found:
                found[case.patient_id] = module.load(case)
    return found


def measure_real(studies: Mapping[str, Study]) -> pd.DataFrame:
    """One row per real study. The noise spectrum's mean frequency is that of the CT itself: its pixels are small enough."""
    rows = {name: measure(study) for name, study in studies.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame.assign(nps_mean_per_mm=frame["nps_image_per_mm"]) if len(frame) else frame


PATCH_FEATURES = ("mean", "sd", "p10", "p90", "gradient", "laplacian", "neighbor_correlation", "skewness")
CLASSIFIER_SPACING_MM = (2.25, 2.25, 3.0)
CLASSIFIER_PATCH = 11
_RIDGE = 0.01


def _patch_features(patch: np.ndarray) -> list[float]:
    """`PATCH_FEATURES` of one slice patch (u, v), in HU where they have a unit."""
    centred = patch - patch.mean()
    variance = (centred**2).mean() + 1e-6
    gradient = np.hypot(*np.gradient(patch))
    correlation = ((centred[1:] * centred[:-1]).mean() + (centred[:, 1:] * centred[:, :-1]).mean()) / (2 * variance)
    low, high = np.percentile(patch, [10, 90])
    return [
        float(v)
        for v in (patch.mean(), variance**0.5, low, high, gradient.mean(), ndimage.laplace(patch).std(), correlation,
                  (centred**3).mean() / variance**1.5)
    ]  # fmt: skip


def patch_table(study: Study, count: int = 40, seed: int = 0) -> pd.DataFrame:
    """Features of random patches, half of them centred in lung and half in tumor, on a common grid of 2.25 x 2.25 x 3 mm."""
    rng = np.random.default_rng(seed)
    shape = geometry.shape_at_spacing(study.image, CLASSIFIER_SPACING_MM)
    affine = geometry.resampled_affine(study.image.affine, study.image.shape, shape)
    image = Image(geometry.resample(study.image.array, shape), affine)
    reference = geometry.resample(study.reference.array, shape) > 0.5
    half, rows = CLASSIFIER_PATCH // 2, []
    for place, mask in (("lung", lung_mask(image) & ~reference), ("tumor", reference)):
        inner = np.zeros_like(mask)
        inner[half : -half - 1, half : -half - 1] = mask[half : -half - 1, half : -half - 1]
        centres = np.argwhere(inner)
        for i, j, k in centres[rng.integers(0, len(centres), count // 2)] if len(centres) else ():
            patch = image.array[i - half : i + half + 1, j - half : j + half + 1, k]
            rows.append([place, *_patch_features(patch)])
    return pd.DataFrame(rows, columns=["place", *PATCH_FEATURES])


def _design(table: pd.DataFrame, like: pd.DataFrame) -> np.ndarray:
    """Standardized features, their squares, the place, and a constant."""
    raw = (table[list(PATCH_FEATURES)] - like[list(PATCH_FEATURES)].mean()) / (like[list(PATCH_FEATURES)].std() + 1e-9)
    raw = np.clip(raw.to_numpy(), -4, 4)
    return np.column_stack([raw, raw**2, table["place"] == "tumor", np.ones(len(table))]).astype(float)


def _classifier(train: pd.DataFrame) -> LogisticRegression:
    """A ridge logistic regression of real against phantom, both classes weighing the same."""
    is_real = train["real"].to_numpy(dtype=bool)
    weight = np.where(is_real, 0.5 / is_real.sum(), 0.5 / (~is_real).sum())
    return LogisticRegression(C=1 / (2 * _RIDGE), fit_intercept=False, max_iter=1000).fit(_design(train, train), is_real, weight)


def classifier_auc(real: Mapping[str, Study], phantoms: Mapping[str, Study], seed: int = 0) -> float:
    """How well a logistic regression on patch features tells real from phantom: 0.5 not at all, 1 always.

    Each real patient is left out in turn together with a share of the phantoms, so no patient is trained and tested on.
    NaN with fewer than two real patients.
    """
    if len(real) < 2 or len(phantoms) < len(real):
        return float("nan")
    folds = len(real)
    parts = []
    for is_real, studies in ((True, real), (False, phantoms)):
        parts += [patch_table(s, seed=seed + i).assign(real=is_real, fold=i % folds) for i, s in enumerate(studies.values())]
    table = pd.concat(parts, ignore_index=True)
    scores = np.zeros(len(table))
    for fold in range(folds):
        train, test = table[table["fold"] != fold], table[table["fold"] == fold]
        scores[test.index] = _classifier(train).decision_function(_design(test, train))
    return float(roc_auc_score(table["real"].to_numpy(dtype=bool), scores))
