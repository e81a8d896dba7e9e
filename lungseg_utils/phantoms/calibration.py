"""How real do phantoms look? The same measurements on phantoms and on real CT, gates on cohort medians, and a classifier.

A gate is a range that a cohort's median must lie in; ranges and their sources stand in `GATES`. Measured per patient:
lung and tumor HU, the rim where partial volume shows, noise, the shape of the reference, and how far trivial answers get
that see nothing but a prompt. If an inscribed ellipse scored .95, the tumors would be balls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage, optimize
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata
from skimage.measure import label, marching_cubes, mesh_surface_area, regionprops

from lungseg_utils import geometry, metrics, registry
from lungseg_utils.types import Image, InputError, Mask, Study

from .acquisition import Scanner, noise_patch
from .cohort import CohortSettings, diameter_mm, scanner_of
from .fields import Grid

CORE_DEPTH_MM = 4.0
SHELL_MM = 5.0
LUNG_HU = (-990.0, -500.0)
SOFT_TISSUE_HU = (0.0, 220.0)
PATCH_MM = 20.0
NPS_GRID = Grid((64, 64, 6), (0.8, 0.8, 3.0))  # CT-like pixels: their limit, 0.62 per mm, lies beyond the spectrum's end
MEASURED = "set beforehand from four real CTs (LUNG1-001, LUNG1-002, slabs of LIDC-IDRI-0001 and -0002); single cases may lie outside"
NSCLC_TABLE = "NSCLC-Radiomics, GTV-1 of 145 patients, public feature table (doi:10.1038/ncomms5006)"


@dataclass(frozen=True)
class Gate:
    """A cohort median must lie in [low, high]."""

    low: float
    high: float
    unit: str
    meaning: str
    source: str


GATES: Mapping[str, Gate] = {
    "lung_median_hu": Gate(-890, -840, "HU", "median of the lung", MEASURED),
    "core_median_hu": Gate(15, 95, "HU", "tumor more than 4 mm inside its outline", MEASURED),
    "rim_hu": Gate(-400, -200, "HU", "outermost voxels of the reference", MEASURED),
    "noise_hu": Gate(14, 21, "HU", "SD of noise in soft tissue", MEASURED),
    "nps_mean_per_mm": Gate(0.25, 0.40, "1/mm", "mean frequency of the noise power spectrum, on 0.8 mm pixels", MEASURED),
    "slice_correlation": Gate(0.15, 0.45, "1", "correlation of the noise of neighbouring slices", MEASURED),
    "ellipse_per_slice_dsc": Gate(0.82, 0.93, "1", "DSC of the ellipse inscribed in every slice's box", MEASURED),
    "recist_ball_dsc": Gate(0.37, 0.71, "1", "DSC of the ball on the longest chord", MEASURED),
}

# Quantiles 5, 25, 50, 75, 95 % over patients, from the table named in NSCLC_TABLE.
QUANTILE_LEVELS = (0.05, 0.25, 0.50, 0.75, 0.95)
PUBLISHED_QUANTILES: Mapping[str, tuple[float, ...]] = {
    "volume_ml": (1.4, 8.7, 39.8, 100.0, 306.0),
    "diameter_mm": (22.0, 38.0, 63.0, 79.0, 104.0),
    "sphericity": (0.45, 0.53, 0.59, 0.65, 0.72),
    "flatness": (0.29, 0.49, 0.59, 0.66, 0.76),
    "tumor_median_hu": (-198.0, -22.0, 18.0, 29.0, 60.0),
}
# Ends of the published range of two further quantities (5 % and 95 %).
PUBLISHED_RANGES: Mapping[str, tuple[float, float]] = {"tumor_p10_hu": (-696.0, -18.0), "tumor_p90_hu": (30.0, 124.0)}


def _largest(mask: np.ndarray) -> np.ndarray:
    labels = label(mask, connectivity=3)
    return labels == (np.bincount(labels.ravel())[1:].argmax() + 1)


# --- lungs -----------------------------------------------------------------------------------------------------------


def lung_mask(image: Image) -> np.ndarray:
    """Lungs by threshold: air-filled voxels not joined to the air outside, in parts of at least 50 ml, one voxel eroded."""
    air = image.array < LUNG_HU[1]
    tissue = ndimage.binary_opening(~air, structure=np.ones((3, 3, 1)))
    inside = np.zeros_like(air)
    for k in range(air.shape[2]):
        inside[:, :, k] = air[:, :, k] & ~_touching_border(~tissue[:, :, k])
    labels, _ = ndimage.label(inside)
    sizes = np.bincount(labels.ravel()) * image.voxel_ml
    sizes[0] = 0
    kept = (sizes >= 50)[labels]
    return ndimage.binary_erosion(kept, structure=np.ones((3, 3, 1))) if kept.any() else inside


def _touching_border(air: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(np.pad(air, 1, constant_values=True))
    return (labels == labels[0, 0])[1:-1, 1:-1]


# --- tumor -----------------------------------------------------------------------------------------------------------


def tumor_hu(image: Image, reference: Mask, lung: np.ndarray) -> dict[str, float]:
    """HU of the reference's core, rim and whole, and the share of its surroundings (0 to 5 mm) that is lung."""
    mask, hu = reference.array, image.array
    where = _margin_box(mask, image.spacing_mm, 8.0)
    mask, hu, lung = mask[where], hu[where], lung[where]
    depth = ndimage.distance_transform_edt(mask, sampling=image.spacing_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=image.spacing_mm)
    rim = mask & ~ndimage.binary_erosion(mask, structure=np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)[:, :, None])
    core = hu[depth > CORE_DEPTH_MM]
    shell = (outside > 0) & (outside <= SHELL_MM)
    inside = hu[mask]
    return {
        "core_median_hu": float(np.median(core)) if core.size else np.nan,
        "rim_hu": float(hu[rim].mean()),
        "shell_lung_share": float((hu[shell] < LUNG_HU[1]).mean()),
        "tumor_median_hu": float(np.median(inside)),
        "tumor_p10_hu": float(np.percentile(inside, 10)),
        "tumor_p90_hu": float(np.percentile(inside, 90)),
        "tumor_mean_hu": float(inside.mean()),
        "tumor_sd_hu": float(inside.std()),
    }


def _margin_box(mask: np.ndarray, spacing_mm: Sequence[float], margin_mm: float) -> tuple[slice, ...]:
    hits = np.argwhere(mask)
    margin = np.ceil(margin_mm / np.asarray(spacing_mm)).astype(int)
    low, high = np.maximum(hits.min(0) - margin, 0), np.minimum(hits.max(0) + margin + 1, mask.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def tumor_shape(reference: Mask) -> dict[str, float]:
    """Volume, longest axial diameter, sphericity and flatness of the largest lesion, defined as PyRadiomics does."""
    mask = np.pad(_largest(reference.array), 1)
    spacing = reference.spacing_mm
    vertices, faces, _, _ = marching_cubes(mask.astype(np.float32), 0.5, spacing=spacing)
    area, volume = mesh_surface_area(vertices, faces), _mesh_volume(vertices, faces)
    points = np.argwhere(mask) * np.asarray(spacing)
    eigenvalues = np.linalg.eigvalsh(np.cov(points.T)) if len(points) > 3 else np.ones(3)
    return {
        "volume_ml": float(mask.sum() * reference.voxel_ml),
        "diameter_mm": diameter_mm(mask, spacing),
        "sphericity": float((36 * np.pi * volume**2) ** (1 / 3) / area),
        "flatness": float(np.sqrt(max(eigenvalues[0], 0) / eigenvalues[2])),
    }


def _mesh_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(abs(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) / 6)


# --- noise -----------------------------------------------------------------------------------------------------------


def _detrended(patch: np.ndarray) -> np.ndarray:
    """A slice patch minus its least-squares quadratic surface."""
    u, v = np.meshgrid(*[np.linspace(-1, 1, n) for n in patch.shape], indexing="ij")
    basis = np.stack([np.ones_like(u), u, v, u * v, u * u, v * v], -1).reshape(-1, 6)
    values = patch.reshape(-1).astype(float)
    return (values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0]).reshape(patch.shape)


def noise_patches(image: Image, count: int = 60, seed: int = 0) -> np.ndarray:
    """Detrended pairs of soft-tissue patches on neighbouring slices: (n, 2, u, v), about 20 mm wide, n up to `count`.

    Candidates lie wholly in soft tissue (after smoothing); the quietest quarter of them is taken, since structure can only
    add to the spread.
    """
    size = tuple(max(7, round(PATCH_MM / s)) for s in image.spacing_mm[:2])
    smooth = ndimage.gaussian_filter(image.array, [2.0 / s for s in image.spacing_mm[:2]] + [0.5])
    soft = ndimage.binary_closing((smooth > SOFT_TISSUE_HU[0]) & (smooth < SOFT_TISSUE_HU[1]))
    room = ndimage.minimum_filter(soft.astype(np.uint8), size=(*size, 1))
    room[:, :, :-1] &= room[:, :, 1:]
    room[:, :, -1] = 0
    half = [n // 2 for n in size]
    room[: half[0]], room[-half[0] - 1 :] = 0, 0
    room[:, : half[1]], room[:, -half[1] - 1 :] = 0, 0
    centres = np.argwhere(room)
    if not len(centres):
        return np.zeros((0, 2, *size))
    chosen = centres[np.random.default_rng(seed).choice(len(centres), min(len(centres), 4 * count), replace=False)]
    patches = []
    for i, j, k in chosen:
        where = (slice(i - half[0], i - half[0] + size[0]), slice(j - half[1], j - half[1] + size[1]))
        patches.append([_detrended(image.array[(*where, k)]), _detrended(image.array[(*where, k + 1)])])
    patches = np.asarray(patches)
    quiet = np.argsort(patches.std((1, 2, 3)), kind="stable")
    return patches[quiet[: max(1, len(quiet) // 4)]]


def _noise_power(patches: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (u, v; per mm) and mean power (u, v) of slice patches (n, u, v), Hann-windowed."""
    window = np.outer(np.hanning(patches.shape[1] + 2)[1:-1], np.hanning(patches.shape[2] + 2)[1:-1])
    power = (np.abs(np.fft.fft2(patches * window)) ** 2).mean(0)
    axes = [np.fft.fftfreq(n, s) for n, s in zip(patches.shape[1:], spacing_mm, strict=False)]
    return np.hypot(axes[0][:, None], axes[1][None]), power


def noise_spectrum(patches: np.ndarray, spacing_mm: Sequence[float], bins: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Radial noise power of slice patches (n, u, v): frequency (per mm) and power (unit integral), up to the axes' limit."""
    frequency, power = _noise_power(patches, spacing_mm)
    edges = np.linspace(0, 0.5 / max(spacing_mm[:2]), bins + 1)
    index = np.digitize(frequency.ravel(), edges) - 1
    inside = index < bins
    total = np.bincount(index[inside], power.ravel()[inside], bins)
    number = np.bincount(index[inside], minlength=bins)
    centre, radial = (edges[:-1] + edges[1:]) / 2, total / np.maximum(number, 1)
    return centre[number > 0], radial[number > 0] / (radial[number > 0].sum() * (edges[1] - edges[0]))


def mean_frequency(patches: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Power-weighted mean frequency (per mm) over the whole two-dimensional spectrum of slice patches (n, u, v)."""
    frequency, power = _noise_power(patches, spacing_mm)
    return float((frequency * power).sum() / power.sum())


def noise_values(image: Image, seed: int = 0) -> dict[str, float]:
    """Noise SD (HU), slice correlation and mean frequency, from quiet soft tissue; the last only means much below 1 mm pixels."""
    pairs = noise_patches(image, seed=seed)
    if not len(pairs):
        return {"noise_hu": np.nan, "slice_correlation": np.nan, "nps_image_per_mm": np.nan}
    first, second = pairs[:, 0], pairs[:, 1]
    correlation = (first * second).mean() / np.sqrt((first**2).mean() * (second**2).mean())
    frequency = mean_frequency(pairs.reshape(-1, *pairs.shape[2:]), image.spacing_mm)
    return {"noise_hu": float(pairs.std()), "slice_correlation": float(correlation), "nps_image_per_mm": frequency}


def scanner_noise(scanner: Scanner, seed: int = 0) -> np.ndarray:
    """Noise patches (n, u, v) of a phantom's scanner on CT-like pixels, the size of those taken from real CT."""
    noise = noise_patch(np.random.default_rng(seed), NPS_GRID, scanner)
    size = round(PATCH_MM / NPS_GRID.spacing_mm[0])
    tiles = [
        noise[i : i + size, j : j + size] for i in range(0, noise.shape[0] - size, size) for j in range(0, noise.shape[1] - size, size)
    ]
    return np.stack([_detrended(tile[:, :, k]) for tile in tiles for k in range(tile.shape[2])])


# --- trivial answers -------------------------------------------------------------------------------------------------


def _inscribed(shape: tuple[int, ...]) -> np.ndarray:
    """The ellipse or ellipsoid inscribed in an array of `shape`: true where a voxel's centre is inside."""
    offsets = [((np.arange(n) - (n - 1) / 2) / (n / 2)) ** 2 for n in shape]
    return sum(o.reshape([-1 if a == i else 1 for a in range(len(shape))]) for i, o in enumerate(offsets)) <= 1


def _fill(mask: np.ndarray, ellipse: bool) -> np.ndarray:
    """Tight box of every component of `mask` (2-D or 3-D), filled or as its inscribed ellipse, united."""
    answer = np.zeros_like(mask)
    for region in ndimage.find_objects(label(mask, connectivity=mask.ndim)):
        shape = tuple(s.stop - s.start for s in region)
        answer[region] |= _inscribed(shape) if ellipse else True
    return answer


def _recist_ball(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The ball whose diameter is the longest chord on the slice of largest area."""
    k = int(mask.sum((0, 1)).argmax())
    points = np.argwhere(mask[:, :, k] & ~ndimage.binary_erosion(mask[:, :, k])) * np.asarray(spacing_mm[:2])
    distance = squareform(pdist(points)) if len(points) > 1 else np.zeros((1, 1))
    a, b = np.unravel_index(int(distance.argmax()), distance.shape)
    centre = np.array([*(points[a] + points[b]) / 2, k * spacing_mm[2]])
    radius = (distance.max() + min(spacing_mm[:2])) / 2
    grids = [(np.arange(n) * s - c) ** 2 for n, s, c in zip(mask.shape, spacing_mm, centre, strict=True)]
    return grids[0][:, None, None] + grids[1][None, :, None] + grids[2][None, None, :] <= radius**2


def trivial_dsc(reference: Mask) -> dict[str, float]:
    """3-D DSC of answers that know only a prompt drawn from the reference: boxes, inscribed ellipses, balls."""
    where = _margin_box(reference.array, reference.spacing_mm, 60.0)
    mask = reference.array[where]
    slices = [np.stack([_fill(mask[:, :, k], e) for k in range(mask.shape[2])], 2) for e in (False, True)]
    one_slice, ball = np.zeros_like(mask), np.zeros_like(mask)
    for lesion in _components(mask):
        one_slice |= _one_slice_ellipsoid(lesion, reference.spacing_mm)
        ball |= _recist_ball(lesion, reference.spacing_mm)
    answers = {
        "box_per_slice_dsc": slices[0],
        "ellipse_per_slice_dsc": slices[1],
        "box_3d_dsc": _fill(mask, False),
        "ellipsoid_3d_dsc": _fill(mask, True),
        "one_slice_ellipsoid_dsc": one_slice,
        "recist_ball_dsc": ball,
    }
    return {name: metrics.dsc(mask, answer) for name, answer in answers.items()}


def _components(mask: np.ndarray) -> list[np.ndarray]:
    labels = metrics.label_lesions(mask)
    return [labels == i for i in range(1, int(labels.max(initial=0)) + 1)]


def _one_slice_ellipsoid(lesion: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Ellipsoid on the box of the slice of largest area; its third axis is the mean of the two seen."""
    k = int(lesion.sum((0, 1)).argmax())
    (x, y), *_ = [r.slice for r in regionprops(lesion[:, :, k].astype(np.uint8))]
    centres = [((s.start + s.stop - 1) / 2) * d for s, d in zip((x, y), spacing_mm, strict=False)] + [k * spacing_mm[2]]
    radii = [(s.stop - s.start) * d / 2 for s, d in zip((x, y), spacing_mm, strict=False)]
    radii.append(float(np.mean(radii)))
    grids = [((np.arange(n) * s - c) / r) ** 2 for n, s, c, r in zip(lesion.shape, spacing_mm, centres, radii, strict=True)]
    return grids[0][:, None, None] + grids[1][None, :, None] + grids[2][None, None, :] <= 1


# --- one patient, a cohort, its gates ----------------------------------------------------------------------------------


def measure(study: Study, seed: int = 0) -> dict[str, float]:
    """All measurements of one study (first reader); tumor values are missing when its reference is empty."""
    reference = next(iter(study.references.values()))
    lung = lung_mask(study.image)
    values = noise_values(study.image, seed)
    inside = study.image.array[lung & ~reference.array]
    parenchyma = inside[inside < -700]
    values["lung_median_hu"] = float(np.median(inside)) if inside.size else np.nan
    values["lung_sd_hu"] = float(parenchyma.std()) if parenchyma.size else np.nan
    if reference.array.any():
        values |= tumor_hu(study.image, reference, lung) | tumor_shape(reference) | trivial_dsc(reference)
    return values


def measure_phantoms(module, root: Path, settings: CohortSettings, patient_ids: Iterable[str] | None = None, progress=None) -> pd.DataFrame:
    """One row per phantom in `root` (all, or those named), read through its data-set plug-in; indexed by patient."""
    wanted = None if patient_ids is None else set(patient_ids)
    chosen = [c for c in module.cases(root) if wanted is None or c.patient_id in wanted]
    rows = {}
    for case in progress(chosen) if progress else chosen:
        rows[case.patient_id] = measure(module.load(case))
        rows[case.patient_id]["nps_mean_per_mm"] = mean_frequency(scanner_noise(scanner_of(settings, case.patient_id)), NPS_GRID.spacing_mm)
    return pd.DataFrame.from_dict(rows, orient="index")


def studies_with_tumor(module, root: Path, patient_ids: Sequence[str], count: int) -> dict[str, Study]:
    """The first `count` of the named phantoms whose reference is not empty, read through their plug-in."""
    wanted = set(patient_ids)
    chosen = [c for c in module.cases(root) if c.patient_id in wanted and c.attributes["tumor_free"] == "0"]
    return {case.patient_id: module.load(case) for case in chosen[:count]}


def gate_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Per gate: the cohort's median, the range and whether it is met."""
    rows = []
    for name, gate in GATES.items():
        median = float(measured[name].median())
        rows.append({"gate": name, "median": median, "low": gate.low, "high": gate.high, "unit": gate.unit,
                     "met": bool(gate.low <= median <= gate.high), "meaning": gate.meaning})  # fmt: skip
    return pd.DataFrame(rows).set_index("gate")


def quantile_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Quantiles of the cohort beside the published ones; two rows per quantity."""
    rows = {}
    for name, published in PUBLISHED_QUANTILES.items():
        rows[name, "phantoms"] = measured[name].quantile(list(QUANTILE_LEVELS)).to_numpy()
        rows[name, "published"] = np.asarray(published)
    return pd.DataFrame.from_dict(rows, orient="index", columns=[f"{100 * q:.0f} %" for q in QUANTILE_LEVELS])


# --- real CT ---------------------------------------------------------------------------------------------------------


def real_studies(roots: Mapping[str, Path], public: bool) -> dict[str, Study]:
    """Studies of the real data sets in `roots` (plug-in name -> folder), as far as they are there; one per patient.

    With `public`, data sets whose licence does not let voxels be published are left out.
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


# --- can a classifier tell them apart? -----------------------------------------------------------------------------------

PATCH_FEATURES = ("mean", "sd", "p10", "p90", "gradient", "laplacian", "neighbour_correlation", "skewness")
CLASSIFIER_SPACING_MM = (2.25, 2.25, 3.0)
CLASSIFIER_PATCH = 11


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
    reference = geometry.resample(next(iter(study.references.values())).array, shape) > 0.5
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
    """Standardised features, their squares, the place, and a constant."""
    raw = (table[list(PATCH_FEATURES)] - like[list(PATCH_FEATURES)].mean()) / (like[list(PATCH_FEATURES)].std() + 1e-9)
    raw = np.clip(raw.to_numpy(), -4, 4)
    return np.column_stack([raw, raw**2, table["place"] == "tumor", np.ones(len(table))]).astype(float)


def _fit_logistic(design: np.ndarray, is_real: np.ndarray, ridge: float = 0.01) -> np.ndarray:
    """Weights of a ridge logistic regression, both classes weighing the same."""
    weight = np.where(is_real, 0.5 / is_real.sum(), 0.5 / (~is_real).sum())
    sign = np.where(is_real, 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (design @ weights)
        slope = -sign * weight / (1 + np.exp(np.clip(margin, -30, 30)))
        return float((weight * np.logaddexp(0, -margin)).sum() + ridge * weights @ weights), design.T @ slope + 2 * ridge * weights

    return optimize.minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties counted half."""
    ranks = rankdata(scores)
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


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
        weights = _fit_logistic(_design(train, train), train["real"].to_numpy(dtype=bool))
        scores[test.index] = _design(test, train) @ weights
    return area_under_curve(scores, table["real"].to_numpy(dtype=bool))
