"""Measure properties of a CT: lungs, tumor, noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage
from skimage.measure import label, marching_cubes, mesh_surface_area

from ...types import Image, Mask
from ..acquisition import Scanner, noise_patch
from ..cohort import diameter_mm
from ..fields import Grid

CORE_DEPTH_MM = 4.0
SHELL_MM = 5.0
LUNG_HU = (-990.0, -500.0)
SOFT_TISSUE_HU = (0.0, 220.0)
PATCH_MM = 20.0
NPS_GRID = Grid((64, 64, 6), (0.8, 0.8, 3.0))  # CT-like pixels: their limit, 0.62 per mm, lies beyond the spectrum's end
MEASURED = "set beforehand from four real CTs (LUNG1-001, LUNG1-002, slabs of LIDC-IDRI-0001 and -0002); single cases may lie outside"
NSCLC_TABLE = "NSCLC-Radiomics, GTV-1 of 145 patients, public feature table (doi:10.1038/ncomms5006)"
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


def largest_component(mask: np.ndarray) -> np.ndarray:
    labels = label(mask, connectivity=3)
    return labels == (np.bincount(labels.ravel())[1:].argmax() + 1)


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


def tumor_hu(image: Image, reference: Mask, lung: np.ndarray) -> dict[str, float]:
    """HU of the reference's core, rim and whole, and the share of its surroundings (0 to 5 mm) that is lung."""
    mask, hu = reference.array, image.array
    where = margin_box(mask, image.spacing_mm, 8.0)
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


def margin_box(mask: np.ndarray, spacing_mm: Sequence[float], margin_mm: float) -> tuple[slice, ...]:
    hits = np.argwhere(mask)
    margin = np.ceil(margin_mm / np.asarray(spacing_mm)).astype(int)
    low, high = np.maximum(hits.min(0) - margin, 0), np.minimum(hits.max(0) + margin + 1, mask.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def tumor_shape(reference: Mask) -> dict[str, float]:
    """Volume, longest axial diameter, sphericity and flatness of the largest lesion, defined as PyRadiomics does."""
    mask = np.pad(largest_component(reference.array), 1)
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
