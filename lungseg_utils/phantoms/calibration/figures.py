"""Figures of the calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ... import geometry
from ...types import Study
from ..cohort import CohortSettings, scanner_of
from .properties import NPS_GRID, PUBLISHED_QUANTILES, QUANTILE_LEVELS, noise_patches, noise_spectrum, scanner_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


LUNG_WINDOW_HU = (-1350.0, 150.0)
MEDIASTINAL_WINDOW_HU = (-160.0, 240.0)
AXIS_TITLES = {
    "volume_ml": "volume (ml)",
    "diameter_mm": "longest axial diameter (mm)",
    "sphericity": "sphericity",
    "flatness": "flatness",
    "tumor_median_hu": "median of the tumor (HU)",
}


def _show_slice(axis: Axes, study: Study, index: int, window_hu: tuple[float, float]) -> None:
    spacing = study.image.spacing_mm
    axis.imshow(
        geometry.axial_slice(study.image.array, index), cmap="gray", vmin=window_hu[0], vmax=window_hu[1], aspect=spacing[1] / spacing[0]
    )
    reference = study.reference.array[:, :, index]
    if reference.any():
        axis.contour(geometry.axial_slice(reference[:, :, None], 0), [0.5], colors="tab:red", linewidths=0.8)
    axis.set_axis_off()


def side_by_side(studies: Mapping[str, Study], columns: int = 5) -> Figure:
    """The slice of largest tumor area of each study, in a lung and (below it) a mediastinal window, the reference in red."""
    import matplotlib.pyplot as plt

    rows = -(-len(studies) // columns)
    figure, axes = plt.subplots(2 * rows, columns, figsize=(2.0 * columns, 3.9 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for place, (name, study) in enumerate(studies.items()):
        row, column = divmod(place, columns)
        index = int(study.reference.array.sum((0, 1)).argmax())
        for below, window in enumerate((LUNG_WINDOW_HU, MEDIASTINAL_WINDOW_HU)):
            _show_slice(axes[2 * row + below, column], study, index, window)
        axes[2 * row, column].set_title(name, fontsize=9)
    plt.close(figure)
    return figure


def _positions(values: np.ndarray, name: str) -> np.ndarray:
    return np.log10(np.clip(values, 0.1, None)) if name == "volume_ml" else values


def quantiles(measured: Mapping[str, pd.DataFrame]) -> Figure:
    """Distribution over patients of each quantity, cohort by cohort, with the published quantiles as marks."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, -(-len(PUBLISHED_QUANTILES) // 2), figsize=(9, 5.4), sharey=True, layout="constrained")
    for axis in axes.flat[len(PUBLISHED_QUANTILES) :]:
        axis.axis("off")
    for axis, (name, published) in zip(axes.flat, PUBLISHED_QUANTILES.items(), strict=False):
        for cohort, frame in measured.items():
            values = np.sort(_positions(frame[name].dropna().to_numpy(), name))
            axis.step(values, (np.arange(len(values)) + 0.5) / max(len(values), 1), where="mid", label=cohort)
        axis.plot(_positions(np.asarray(published), name), QUANTILE_LEVELS, "ko", markersize=4, label="NSCLC-Radiomics, published")
        axis.set_xlabel(AXIS_TITLES[name] if name != "volume_ml" else "log10 of volume in ml")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of patients below")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    plt.close(figure)
    return figure


def noise_spectra(settings: Mapping[str, CohortSettings], patient_ids: Mapping[str, list[str]], real: Mapping[str, Study]) -> Figure:
    """Radial noise power of phantom scanners (on CT-like pixels) and of real CTs."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name, setting in settings.items():
        patches = np.concatenate([scanner_noise(scanner_of(setting, p), i) for i, p in enumerate(patient_ids[name])])
        axis.plot(*noise_spectrum(patches, NPS_GRID.spacing_mm), label=name)
    for name, study in real.items():
        pairs = noise_patches(study.image)
        if len(pairs):
            axis.plot(*noise_spectrum(pairs.reshape(-1, *pairs.shape[2:]), study.image.spacing_mm), "--", label=name)
    axis.set(xlabel="spatial frequency (1/mm)", ylabel="noise power (unit area)", xlim=(0, 0.7), ylim=(0, None))
    axis.legend(fontsize=8)
    plt.close(figure)
    return figure


def trivial_scores(measured: Mapping[str, pd.DataFrame]) -> Figure:
    """DSC of the trivial baselines over patients, cohort by cohort."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    columns = [c for c in next(iter(measured.values())).columns if c.endswith("_dsc")]
    parts = [f[columns].melt(var_name="answer", value_name="DSC").assign(cohort=n) for n, f in measured.items()]
    long = pd.concat(parts, ignore_index=True).dropna()
    long["answer"] = long["answer"].str.removesuffix("_dsc").str.replace("_", " ")
    figure, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
    sns.boxplot(long, x="DSC", y="answer", hue="cohort", ax=axis, fliersize=2, linewidth=0.8)
    axis.set(ylabel="", xlim=(0, 1))
    plt.close(figure)
    return figure
