"""Page "The data": the data sets with their licenses, and measured phantoms next to the real CTs that are here."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import geometry, registry
from ..experiments import cohorts, config, grid, phantom_calibration
from ..phantoms.calibration import realism
from ..phantoms.calibration.gates import GATES, gate_table, quantile_table, studies_with_tumor
from ..phantoms.calibration.properties import NPS_GRID, PUBLISHED_QUANTILES, QUANTILE_LEVELS, noise_patches, noise_spectrum, scanner_noise
from ..phantoms.cohort import CohortSettings, scanner_of
from ..types import Study
from . import labels, style, wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PATIENTS = 10  # training phantoms of each cohort that are drawn for this page
_STUDIES = 8  # of them, with a tumor, that are measured here
_PICTURES = 3  # of them, that are shown in the table of pictures
_NODULES = 2  # of the real patients that a profile trains on, that are shown
_IN_A_ROW = 6  # pictures of the first figure
_WIDTH = 7.2  # of figures, in inches, which is about the width of a page
_FORMS = "folder"  # no data set: it reads cases of anybody
_LIKE_PATIENTS = "phantom_nsclc"  # sizes of the other cohort are assumed
AXIS_TITLES = {
    "volume_ml": "volume (ml)",
    "diameter_mm": "longest axial diameter (mm)",
    "sphericity": "sphericity",
    "flatness": "flatness",
    "tumor_median_hu": "median of the tumor (HU)",
}


@dataclass(frozen=True)
class CalibrationPage:
    """What the page shows. `measured`: cohort -> the stored table; `patients`, `shown`: of its phantoms; `real`: study by case."""

    measured: Mapping[str, pd.DataFrame]
    patients: Mapping[str, list[str]]
    shown: Mapping[str, Mapping[str, Study]]
    real: Mapping[str, Study]

    def pictures(self) -> dict[str, Study]:
        """The first phantoms of each cohort, then the real CTs."""
        return {name: study for studies in self.shown.values() for name, study in list(studies.items())[:_PICTURES]} | dict(self.real)

    def gates(self) -> pd.DataFrame:
        """Every gate of every cohort: its median, its range and whether it is met."""
        return pd.concat({name: gate_table(frame) for name, frame in self.measured.items()}, names=["cohort"]).reset_index()

    def auc(self) -> float:
        """How well a classifier tells the real CTs from the phantoms; NaN if there are too few."""
        return realism.classifier_auc(self.real, {name: study for studies in self.shown.values() for name, study in studies.items()})


def open_page(profile: str, public: bool) -> CalibrationPage:
    """Read the stored tables, draw the training phantoms that are shown, and read the real CTs; with `public` those that may be shown."""
    chosen = config.load().profile(profile)
    measured = {name: phantom_calibration.read(name) for name in phantom_calibration.SETTINGS}
    patients = {name: sorted(itertools.chain(*cohorts.training_patients(name, chosen, 0)))[:_PATIENTS] for name in measured}
    roots = {name: cohorts.ensure_phantoms(name, chosen, patients[name]) for name in measured}
    shown = {name: studies_with_tumor(registry.plugin("datasets", name), roots[name], patients[name], _STUDIES) for name in measured}
    real = realism.real_studies({name: cohorts.dataset_root(name, chosen) for name in chosen.real_datasets}, public)
    return CalibrationPage(measured, patients, shown, real)


def trained_on(profile: str, public: bool) -> dict[str, Study]:
    """A few real patients that a profile trains on, by name; none whose voxels a public edition may not hold."""
    chosen, found = config.load().profile(profile), {}
    for name in config.load().trained_on(profile):
        card = registry.card("datasets", name)
        if not card.phantom and (card.redistributable or not public):
            patients = sorted(cohorts.training_patients(name, chosen, 0)[0])[:_NODULES]
            cases = cohorts.cases_on_disk(name, chosen, patients)
            found |= {f"{card.label}\n{case.patient_id}": registry.dataset(name).load(case) for case in cases}
    return found


def first_pictures(page: CalibrationPage, profile: str, public: bool) -> dict[str, Study]:
    """For the first figure: patients that are trained on, whole CTs, and a phantom or two of each cohort, by title."""
    real = trained_on(profile, public) | {name.replace(" ", "\n", 1): study for name, study in list(page.real.items())[:_NODULES]}
    each = max(1, (_IN_A_ROW - len(real)) // len(page.shown))
    titles = {name: registry.card("datasets", name).short_title for name in page.shown}
    drawn = {
        f"{titles[name]}\nphantom {number + 1}": study
        for name, studies in page.shown.items()
        for number, study in enumerate(list(studies.values())[:each])
    }
    return dict(list((real | drawn).items())[:_IN_A_ROW])


def data_sets(profile: str) -> pd.DataFrame:
    """Every data set: what it holds, its license, whether a public edition may show it, and what a profile uses it for."""
    names = [name for name in registry.names("datasets") if registry.whole(name) == name and name != _FORMS]
    here, rows = grid.real_datasets(profile), []
    for name in sorted(names, key=lambda name: _rank(_use(name, profile, here))):
        card = registry.card("datasets", name)
        rows.append(
            {
                "data set": card.label,
                "content": card.summary,
                "license": card.license,
                "in public editions": "yes" if card.redistributable else "no",
                "in this edition": _use(name, profile, here) or "–",
            }
        )
    return pd.DataFrame(rows)


def _rank(use: str) -> int:
    return 0 if use.endswith("tested") else 1 if use else 2


def _use(dataset: str, profile: str, here: Sequence[str]) -> str:
    lines, size = config.load(), config.load().profile(profile)
    parts = {n for line in lines.lines(profile) for n in lines.test_datasets(line.notebook, profile) if registry.whole(n) == dataset}
    words = ["trained on"] * any(registry.whole(name) == dataset for name in lines.trained_on(profile)) + ["tested"] * bool(parts)
    single = "case by case" if dataset in here else "case by case, files missing" if dataset in size.real_datasets else ""
    return ", ".join(words) or single


def answer(profile: str, page: CalibrationPage) -> str:
    """Markdown: which patients or phantoms an edition trains and tests on, its whole CTs, and how real the phantoms are."""
    sizes = "; ".join(_counts(name, profile) for name in wording.datasets(profile))
    here = [registry.card("datasets", name).label for name in grid.real_datasets(profile)]
    whole = f"It shows whole CTs of {', '.join(here)}, one by one." if here else "Whole CTs of patients are not part of it."
    gates = gates_sentence(page.gates(), ungated(page.measured))
    return f"This edition uses {sizes}. No patient is in two parts. {whole} The phantoms were tuned on development phantoms: {gates}."


def _counts(dataset: str, profile: str) -> str:
    chosen, card = config.load().profile(profile), registry.card("datasets", dataset)
    parts = []
    if dataset in config.load().trained_on(profile):
        train, validation = cohorts.training_patients(dataset, chosen, 0)
        parts += [f"{len(train)} for training", f"{len(validation)} for validation"]
        parts += [] if card.phantom else [f"{len(cohorts.tested_patients(dataset, chosen, None))} for testing"]
    parts += [f"{len(cohorts.patients_to_test(dataset, chosen))} for testing"] if card.phantom else []
    return f"{card.patients} ({', '.join(parts) or 'all for testing'})"


def printable_gates(gates: pd.DataFrame) -> pd.DataFrame:
    """`CalibrationPage.gates` for people."""
    shown = gates.drop(columns="gate", errors="ignore").assign(met=gates["met"].map({True: "yes", False: "no"}))
    return shown.assign(cohort=[registry.card("datasets", name).short_title for name in gates["cohort"]])


def printable_quantiles(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Quantiles of the cohort that is meant to follow patients, beside the published ones; two rows for each property."""
    table = quantile_table(measured[_LIKE_PATIENTS]).reset_index(names=["property", "of"])
    return table.assign(property=table["property"].map(AXIS_TITLES))


def ungated(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Published properties of patients that no gate holds to account, of the cohort that is meant to follow them.

    Returns:
        Columns: property, median (of the phantoms), published, low, high (the middle half of the patients), met (median within it).
    """
    rows = []
    for name, published in PUBLISHED_QUANTILES.items():
        _, low, middle, high, _ = published
        median = float(measured[_LIKE_PATIENTS][name].median())
        if name not in GATES:
            row = {"property": AXIS_TITLES[name], "median": median, "published": middle, "low": low, "high": high}
            rows.append(row | {"met": bool(low <= median <= high)})
    return pd.DataFrame(rows)


def printable_ungated(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`ungated` for people."""
    table = ungated(measured)
    return table.assign(met=table["met"].map({True: "yes", False: "no"}))


def gates_sentence(gates: pd.DataFrame, without_gate: pd.DataFrame) -> str:
    """How many gates are met, and which of the properties without one fail (`ungated`), with their numbers."""
    met = f"all {len(gates)} gates are met" if gates["met"].all() else f"{int(gates['met'].sum())} of {len(gates)} gates are met"
    failed = without_gate[~without_gate["met"]]
    texts = [f"{r['property']}, which has none, fails ({r['median']:.2f} against {r['published']:.2f})" for _, r in failed.iterrows()]
    return "; ".join([met, *texts])


def printable_real(real: Mapping[str, Study]) -> pd.DataFrame:
    """The measurements of the gates on each real CT (columns); empty if there is none."""
    return realism.measure_real(real).reindex(columns=list(GATES)).T


def real_or_none(real: Mapping[str, Study]) -> pd.DataFrame:
    """`printable_real` for a page, which says so if no real CT may be shown."""
    none = pd.DataFrame({"real CT": ["none is here, or no license lets it be shown"]})
    return labels.as_text(printable_real(real).rename_axis("property").reset_index(), 3) if real else none


def page_values(measured: Mapping[str, pd.DataFrame], gates: pd.DataFrame, n_real: int, auc: float) -> dict[str, object]:
    """Values by glue key: gates_nsclc and gates_msd (met), gates_all (of a cohort), gates_passed, gates_total, measured_nsclc, measured_msd
    (phantoms), gates_answer (`gates_sentence`), real_cases and auc.
    """
    met = gates.groupby("cohort")["met"].sum()
    return {
        "auc": "not measured (too few real CTs here)" if np.isnan(auc) else f"{auc:.2f}",
        "gates_nsclc": int(met["phantom_nsclc"]),
        "gates_msd": int(met["phantom_msd"]),
        "gates_answer": gates_sentence(gates, ungated(measured)),
        "gates_all": len(GATES),
        "gates_passed": int(met.sum()),
        "gates_total": len(met) * len(GATES),
        "real_cases": n_real,
        "measured_nsclc": len(measured["phantom_nsclc"]),
        "measured_msd": len(measured["phantom_msd"]),
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
    size = (_WIDTH, 2.35 * _WIDTH / columns * rows)
    figure, axes = plt.subplots(2 * rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for place, (name, study) in enumerate(studies.items()):
        row, column = divmod(place, columns)
        index = int(study.reference.array.sum((0, 1)).argmax())
        for below, window in enumerate((style.WINDOWS_HU["lung"], style.WINDOWS_HU["mediastinum"])):
            _show_slice(axes[2 * row + below, column], study, index, window)
        axes[2 * row, column].set_title(name, fontsize=9)
    plt.close(figure)
    return figure


def _positions(values: np.ndarray, name: str) -> np.ndarray:
    return np.log10(np.clip(values, 0.1, None)) if name == "volume_ml" else values


def quantiles(measured: Mapping[str, pd.DataFrame]) -> Figure:
    """Distribution over patients of each quantity, cohort by cohort, with the published quantiles as marks."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, -(-len(PUBLISHED_QUANTILES) // 2), figsize=(_WIDTH, 5.2), sharey=True, layout="constrained")
    for axis in axes.flat[len(PUBLISHED_QUANTILES) :]:
        axis.axis("off")
    for axis, (name, published) in zip(axes.flat, PUBLISHED_QUANTILES.items(), strict=False):
        for cohort, frame in measured.items():
            values = np.sort(_positions(frame[name].dropna().to_numpy(), name))
            axis.step(
                values, (np.arange(len(values)) + 0.5) / max(len(values), 1), where="mid", label=registry.card("datasets", cohort).label
            )
        axis.plot(_positions(np.asarray(published), name), QUANTILE_LEVELS, "ko", markersize=4, label="NSCLC-Radiomics, published")
        axis.set_xlabel(AXIS_TITLES[name] if name != "volume_ml" else "log10 of volume in ml")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of patients below")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    plt.close(figure)
    return figure


def noise_spectra(settings: Mapping[str, CohortSettings], patient_ids: Mapping[str, list[str]], real: Mapping[str, Study]) -> Figure:
    """Radial noise power of phantom scanners (on CT-like pixels) and of real CTs."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(_WIDTH, 3.6), layout="constrained")
    for name, setting in settings.items():
        patches = np.concatenate([scanner_noise(scanner_of(setting, p), i) for i, p in enumerate(patient_ids[name])])
        axis.plot(*noise_spectrum(patches, NPS_GRID.spacing_mm), label=registry.card("datasets", name).label)
    for name, study in real.items():
        pairs = noise_patches(study.image)
        if len(pairs):
            axis.plot(*noise_spectrum(pairs.reshape(-1, *pairs.shape[2:]), study.image.spacing_mm), "--", label=name)
    axis.set(xlabel="spatial frequency (1/mm)", ylabel="noise power (unit area)", xlim=(0, 0.7), ylim=(0, None))
    axis.legend(fontsize=9)
    plt.close(figure)
    return figure


def trivial_scores(measured: Mapping[str, pd.DataFrame]) -> Figure:
    """DSC of the trivial baselines over patients, cohort by cohort."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    columns = [c for c in next(iter(measured.values())).columns if c.endswith("_dsc")]
    names = {name: registry.card("datasets", name).label for name in measured if name in registry.names("datasets")}
    parts = [f[columns].melt(var_name="rule", value_name="DSC").assign(cohort=names.get(n, n)) for n, f in measured.items()]
    long = pd.concat(parts, ignore_index=True).dropna()
    long["rule"] = long["rule"].str.removesuffix("_dsc").str.replace("_", " ")
    figure, axis = plt.subplots(figsize=(_WIDTH, 3.6), layout="constrained")
    sns.boxplot(long, x="DSC", y="rule", hue="cohort", ax=axis, fliersize=2, linewidth=0.8)
    axis.set(ylabel="", xlim=(0, 1))
    plt.close(figure)
    return figure
