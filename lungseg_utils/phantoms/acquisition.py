"""What a scanner adds: blur, quantum noise with a scanner's spectrum, and whole Hounsfield units.

The noise is a stationary process defined in mm: white noise shaped in each slice by a ramp with a roll-off (filtered back
projection), with neighbouring slices correlated by overlapping detector rows. A voxel grid samples that process at points,
as a reconstruction onto larger pixels does: frequencies above the grid's limit fold back, so the SD is the same on every
grid, and only on CT-like pixels (under 1 mm) is the whole spectrum to be seen. The gate on the spectrum is therefore
measured on `noise_patch` at such pixels; SD and slice correlation are measured on the phantoms themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import Grid, coverage

HU_MIN, HU_MAX = -1024, 3071


@dataclass(frozen=True)
class Scanner:
    """One scanner's settings for one patient."""

    noise_hu: float  # SD in soft tissue at the centre
    peak_per_mm: float  # frequency where the spectrum is strongest
    slice_correlation: float
    blur_mm: float  # SD of the point spread in the slice


def _spectrum(frequency: np.ndarray, peak_per_mm: float) -> np.ndarray:
    """Noise power at spatial frequencies (per mm): a ramp with a Gaussian roll-off, strongest at `peak_per_mm`."""
    return frequency * np.exp(-0.5 * (frequency / peak_per_mm) ** 2)


def _folded_spectrum(shape: tuple[int, int], spacing_mm: tuple[float, float], peak_per_mm: float) -> np.ndarray:
    """Power of the process sampled at points `spacing_mm` apart, on FFT frequencies (shape); folds of order up to 3."""
    fx, fy = np.fft.fftfreq(shape[0], spacing_mm[0])[:, None], np.fft.rfftfreq(shape[1], spacing_mm[1])[None]
    orders = range(-3, 4)
    return sum(_spectrum(np.hypot(fx + i / spacing_mm[0], fy + j / spacing_mm[1]), peak_per_mm) for i in orders for j in orders)


def noise_patch(rng: np.random.Generator, grid: Grid, scanner: Scanner) -> np.ndarray:
    """Zero-mean noise with the scanner's spectrum and unit SD on any grid; float32 (x, y, z)."""
    shape = grid.shape[:2]
    power = _folded_spectrum(shape, grid.spacing_mm[:2], scanner.peak_per_mm)
    white = rng.standard_normal((grid.shape[2] + 1, *shape), dtype=np.float32)
    slices = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(power).astype(np.float32), s=shape).astype(np.float32)
    slices /= slices.std()
    # a n_k + b n_(k-1) has correlation a b for a2 + b2 = 1
    angle = 0.5 * np.arcsin(np.clip(2 * scanner.slice_correlation, 0, 0.98))
    mixed = np.cos(angle) * slices[1:] + np.sin(angle) * slices[:-1]
    return np.ascontiguousarray(mixed.transpose(1, 2, 0))


def acquire(hu: np.ndarray, body_mm: np.ndarray, grid: Grid, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """Blur `hu` and add noise; returns int16 HU. Noise grows from the skin to the centre, and is weak in air."""
    sigma = [scanner.blur_mm / s for s in grid.spacing_mm[:2]]
    blurred = ndimage.gaussian_filter(hu, [*sigma, 0.25], mode="nearest", truncate=3.0)
    depth = np.clip(body_mm / 90.0, 0, 1)
    strength = scanner.noise_hu * (0.35 + 0.5 * coverage(body_mm, 20.0) + 0.22 * depth)
    noisy = blurred + strength.astype(np.float32) * noise_patch(rng, grid, scanner)
    return np.clip(np.rint(noisy), HU_MIN, HU_MAX).astype(np.int16)
