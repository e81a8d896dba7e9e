"""Page "Who drew the box?", folded parts: agreement among readers, of methods with each reader, and simulated reference noise.

Readers are people. `simulated_readers` are smooth random displacements of one reference; they are called "reference noise" everywhere,
never human. `human_band` fixes what may be drawn as a human band, and when.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import ndimage

from .. import registry
from ..data.cases import load_study
from ..evaluation import comparisons, intervals, judges, metrics, plan, tables
from ..experiments import analysis_plan, cohorts, config, grid
from ..experiments.results import RunResult
from ..prompts.ladder import PROMPT_SETTINGS
from ..types import InputError, Mask, Study
from . import folded, results
from .labels import interval_text, label_of
from .values import cases_here

if TYPE_CHECKING:
    from IPython.display import HTML


NOISE = "reference noise "
MODEL = "model against readers"  # a column, per patient
METRICS = ("dsc", *(f"nsd_{t:g}mm" for t in metrics.NSD_TOLERANCES_MM), "hd95")
_DIGITS = {metric.name: metric.digits for metric in metrics.METRICS}
MIN_PATIENTS_FOR_BAND = plan.read().inference.least_patients_for_an_interval
MIN_READERS_FOR_BAND = 3
# assumed, with no source: about what the generator of the phantoms itself displaces its references by (phantoms.lesions)
NOISE_SD_MM = 1.0
NOISE_CORRELATION_MM = 12.0
_KERNEL_RADIUS = 4.0  # of the smoothing, in its own standard deviations
NOISY_COPIES = 3  # of each reference
NOISY_PATIENTS = 12  # phantoms at most
PAIR_COLUMNS = ["patient_id", "case_id", "reader_a", "reader_b", "both_outlined", *METRICS]


@dataclass(frozen=True)
class ReadDataset:
    """A data set whose references are given reader by reader: pairs of its readers, and every method against each of them.

    `pairs`: of `readers_among_themselves`; `against`: of `models_against_readers`, at the primary prompt settings.
    """

    dataset: str
    n_cases: int
    pairs: pd.DataFrame
    against: pd.DataFrame


def read_datasets(profile: str, finished: Sequence[RunResult]) -> list[ReadDataset]:
    """Those with several readers whose files are here and which the profile tests; reads all of their masks."""
    here, rows = grid.real_datasets(profile), results.results_of(finished)
    found = []
    for name in (name for name in _with_several_readers() if name in here):
        cases = {(case.patient_id, case.case_id): load_study(case) for case in finished[0].cases(name)}
        against = models_against_readers(rows, name)
        primary = against["prompter"].isin(analysis_plan.load().primary_settings)
        found.append(ReadDataset(name, len(cases), readers_among_themselves(cases), against[primary]))
    return found


def _with_several_readers() -> list[str]:
    wholes = dict.fromkeys(map(registry.whole, config.load().datasets()))  # readers of a part are readers of the whole
    return [name for name in wholes if registry.card("datasets", name).several_readers]


def missing_sentence(found: Sequence[ReadDataset]) -> str:
    """Names the whole scans of several readers that this edition does not show; empty if it shows all."""
    shown_case_by_case = {name for profile in config.load().profiles.values() for name in profile.real_datasets}
    whole_scans = [name for name in _with_several_readers() if name in shown_case_by_case]
    missing = [label_of(name) for name in whole_scans if name not in {part.dataset for part in found}]
    return f"This edition does not hold {', '.join(missing)}." if missing else ""


def pairwise(masks: Mapping[str, Mask]) -> pd.DataFrame:
    """One row per pair of masks: reader_a, reader_b, both_outlined, and `METRICS` (all symmetric).

    If one of two masks is empty, DSC is 0 and HD95 infinite; if both are, nothing is defined. The end of a slab that cuts either mask is no
    surface.
    """
    rows = []
    for a, b in itertools.combinations(masks, 2):
        # the mask that is not empty is the reference, so that the order of the pair does not matter
        first, second = (masks[a], masks[b]) if masks[a].array.any() else (masks[b], masks[a])
        open_ends = tuple(bool((first.array | second.array)[:, :, end].any()) for end in (0, -1))
        values = metrics.score_case(first, second, open_ends=open_ends)
        both = bool(first.array.any() and second.array.any())
        rows.append({"reader_a": a, "reader_b": b, "both_outlined": both} | {name: values[name] for name in METRICS})
    return pd.DataFrame(rows, columns=PAIR_COLUMNS[2:])


def readers_among_themselves(cases: Mapping[tuple[str, str], Study]) -> pd.DataFrame:
    """`pairwise` of the readers of every case; `cases`: (patient_id, case_id) -> study."""
    return _by_case({key: judges.readers_of(study) for key, study in cases.items()})


def _by_case(masks: Mapping[tuple[str, str], Mapping[str, Mask]]) -> pd.DataFrame:
    parts = [pairwise(part).assign(patient_id=patient, case_id=case) for (patient, case), part in masks.items()]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True)[PAIR_COLUMNS] if parts else pd.DataFrame(columns=PAIR_COLUMNS)


def models_against_readers(results: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """One row per experiment, prompt setting, case and single reader, with `METRICS` as columns; rows of jittered prompts are refused.

    Undefined (NaN) if the reader outlined nothing.
    """
    keys = ["experiment", "prompter", "patient_id", "case_id", "reader"]
    rows = results[(results["test_dataset"] == dataset) & (results["lesion_id"] == "") & results["metric"].isin(METRICS)]
    rows = tables.require_plain(rows[rows["reader"].str.startswith(judges.READER)])
    if rows.empty:
        return pd.DataFrame(columns=[*keys, *METRICS])
    wide = rows.set_index([*keys, "metric"])["value"].unstack("metric")
    return wide.reindex(columns=list(METRICS)).rename_axis(columns=None).reset_index()


@dataclass(frozen=True)
class AgreementWithReaders:
    """One metric of one method: per patient (index) its mean over readers, the mean over their pairs, and the difference.

    `comparison` is None under ten patients, and for HD95: then only points are shown.
    """

    points: pd.DataFrame
    comparison: comparisons.ReaderComparison | None


def agreement_with_readers(against: pd.DataFrame, pairs: pd.DataFrame, metric: str, seed: int = 0) -> AgreementWithReaders:
    """Agreement of a method with the readers and of the readers with each other, on the same patients and by the same metric.

    `against`: rows of `models_against_readers` of one experiment and prompt setting. Both sides use only readers who outlined something:
    who outlined nothing differs in detection, which is shown separately. Patients without two such readers are left out of both sides.
    """
    if len(against[["experiment", "prompter"]].drop_duplicates()) > 1:
        raise InputError("agreement with readers", "more than one method or prompt setting", "Take one at a time.")
    among = pairs[pairs["both_outlined"].astype(bool)].groupby("patient_id")[metric].mean()
    model = against.dropna(subset=[metric]).groupby("patient_id")[metric].mean()
    if not set(among.index) <= set(model.index):
        raise InputError("agreement with readers", f"no answer for {sorted(set(among.index) - set(model.index))}", "Score every case.")
    points = pd.DataFrame({MODEL: model.reindex(among.index), "readers among themselves": among})
    points["difference"] = points[MODEL] - points["readers among themselves"]
    if len(points) < intervals.MIN_PATIENTS_FOR_INTERVAL or metric == "hd95":  # which can be infinite, and has no mean
        return AgreementWithReaders(points, None)
    sides = (points[MODEL], points["readers among themselves"])
    return AgreementWithReaders(points, comparisons.compare_with_readers(*sides, seed=seed))


def human_band(pairs: pd.DataFrame, metric: str) -> tuple[float, float] | None:
    """Quartiles over patients of the readers' mean agreement; None unless 10 patients have at least 3 readers who outlined.

    None means: draw no band. A band of other patients, of another metric or of simulated noise is no substitute.
    """
    if pairs["reader_a"].str.startswith(NOISE.strip()).any():
        raise InputError("human band", "reference noise is not human", "Give pairs of readers.")
    enough = _patients_with_readers(pairs)
    if len(enough) < MIN_PATIENTS_FOR_BAND:
        return None
    seen = pairs[pairs["both_outlined"].astype(bool) & pairs["patient_id"].isin(enough)]
    low, high = np.quantile(seen.groupby("patient_id")[metric].mean(), [0.25, 0.75])
    return float(low), float(high)


def _patients_with_readers(pairs: pd.DataFrame) -> list[str]:
    seen = pairs[pairs["both_outlined"].astype(bool)]
    readers = {patient: len({*part["reader_a"], *part["reader_b"]}) for patient, part in seen.groupby("patient_id")}
    return [patient for patient, n in readers.items() if n >= MIN_READERS_FOR_BAND]


def simulated_readers(
    reference: Mask, seed: int | Sequence[int], n: int, sd_mm: float, correlation_mm: float = NOISE_CORRELATION_MM
) -> dict[str, Mask]:
    """`n` copies of a reference, each with its surface displaced: {"reference noise 1": mask, ...}. Not human.

    The displacement along the surface's normal is a Gaussian random field with mean 0, standard deviation `sd_mm` and a
    correlation that falls to 1/e over `correlation_mm`, cut at the signed distance to the surface. With `sd_mm` 0 each copy is the
    reference; a lesion smaller than the displacement may vanish. The end of the volume is no surface.
    """
    if not reference.array.any():
        raise InputError("reference", "it is empty, and has no surface to displace", "Leave tumor-free cases out.")
    if not (np.isfinite(sd_mm) and sd_mm >= 0 and np.isfinite(correlation_mm) and correlation_mm > 0 and n >= 1):
        raise InputError("reference noise", f"sd_mm {sd_mm}, correlation_mm {correlation_mm}, n {n}", "sd >= 0, correlation > 0, n >= 1.")
    spacing = np.asarray(reference.spacing_mm)
    box = _grown_box(reference.array, np.ceil(5 * sd_mm / spacing).astype(int) + 2)
    distance = _signed_distance_mm(reference.array[box], spacing)
    result = {}
    for number in range(1, n + 1):
        rng = np.random.default_rng([*np.atleast_1d(seed), number])
        moved = np.zeros(reference.shape, dtype=bool)
        moved[box] = distance < sd_mm * _random_field(rng, distance.shape, spacing, correlation_mm)
        result[f"{NOISE}{number}"] = Mask(moved, reference.affine)
    return result


def reference_noise(
    references: Mapping[tuple[str, str], Mask],
    seed: int,
    n: int,
    sd_mm: float = NOISE_SD_MM,
    correlation_mm: float = NOISE_CORRELATION_MM,
) -> pd.DataFrame:
    """`pairwise` of `n` noisy copies of each reference; `references`: (patient_id, case_id) -> mask that is not empty."""
    seeds = {key: [seed, zlib.crc32("/".join(key).encode())] for key in references}
    return _by_case({key: simulated_readers(mask, seeds[key], n, sd_mm, correlation_mm) for key, mask in references.items()})


def phantom_noise(profile: str) -> pd.DataFrame:
    """`reference_noise` of the first NSCLC-like test phantoms of a profile, tumor-free ones left out; empty if they are not on disk."""
    size = config.load().profile(profile)
    patients = cohorts.patients_to_test("phantom_nsclc", size)[:NOISY_PATIENTS]
    references = {(c.patient_id, c.case_id): load_study(c).reference for c in cases_here("phantom_nsclc", size, patients)}
    tumors = {key: mask for key, mask in references.items() if mask.array.any()}
    return reference_noise(tumors, analysis_plan.load().seed, n=NOISY_COPIES)


def _grown_box(array: np.ndarray, margin: np.ndarray) -> tuple[slice, ...]:
    hits = np.argwhere(array)
    low, high = hits.min(axis=0) - margin, hits.max(axis=0) + margin + 1
    return tuple(slice(max(0, int(a)), min(int(b), size)) for a, b, size in zip(low, high, array.shape, strict=True))


def _signed_distance_mm(inside: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance of each voxel's center to the surface, negative inside: never 0, because surfaces run between centers."""
    distance = np.full(inside.shape, -np.inf)  # a mask that fills its box has no surface there
    if inside.all():
        return distance
    for side, sign in ((inside, -1.0), (~inside, 1.0)):
        nearest = ndimage.distance_transform_edt(side, sampling=spacing, return_distances=False, return_indices=True)
        steps = (nearest - np.indices(inside.shape)) * spacing[:, None, None, None]
        length = np.sqrt((steps**2).sum(axis=0))
        # between the nearest centre of the other side and its surface lies half a voxel, measured along the way there
        half = 0.5 * (steps**2 * spacing[:, None, None, None]).sum(axis=0) / np.maximum(length, 1e-12) ** 2
        distance[side] = sign * (length - half)[side]
    return distance


def _random_field(rng: np.random.Generator, shape: Sequence[int], spacing: np.ndarray, correlation_mm: float) -> np.ndarray:
    """Stationary Gaussian field of unit variance: white noise, smoothed beyond the borders of `shape` and cut to it."""
    sigma = correlation_mm / 2 / spacing  # a smoothing of s gives a correlation of exp(-(d / 2s)^2)
    radius = np.ceil(_KERNEL_RADIUS * sigma).astype(int)
    field = rng.standard_normal([size + 2 * r for size, r in zip(shape, radius, strict=True)])
    for axis, (s, r) in enumerate(zip(sigma, radius, strict=True)):
        kernel = np.exp(-0.5 * (np.arange(-r, r + 1) / s) ** 2)
        field = ndimage.correlate1d(field, kernel / np.sqrt((kernel**2).sum()), axis=axis, mode="constant")
    return field[tuple(slice(r, r + size) for r, size in zip(radius, shape, strict=True))]


def printable_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row per case: number of non-empty masks, and median, lowest and highest agreement of two of them; no mean over cases."""
    simulated = bool(pairs["reader_a"].str.startswith(NOISE.strip()).any())
    everyone, drew = ("noisy copies", "not vanished") if simulated else ("readers", "outlined it")
    rows = []
    for case, part in pairs.groupby("case_id", sort=False):
        seen = part[part["both_outlined"].astype(bool)]
        holding = len({*seen["reader_a"], *seen["reader_b"]})
        row: dict[str, Any] = {"case": case, everyone: len({*part["reader_a"], *part["reader_b"]}), drew: str(holding or "under 2")}
        rows.append(row | {label_of(name): range_text(seen[name], _DIGITS[name]) for name in METRICS})
    return pd.DataFrame(rows, columns=["case", everyone, drew, *map(label_of, METRICS)])


def printable_models(against: pd.DataFrame, pairs: pd.DataFrame, titles: Mapping[str, str], metric: str = "dsc") -> pd.DataFrame:
    """One row per method and prompt setting: median, lowest and highest agreement with a reader, by case; the readers' own on top."""
    if pairs.empty:
        return pd.DataFrame(columns=["prompt", "method"])
    among = dict(iter(pairs[pairs["both_outlined"].astype(bool)].groupby("case_id", sort=False)[metric]))
    rows = [{"prompt": "", "method": "readers among themselves"} | {case: range_text(part, 2) for case, part in among.items()}]
    for setting, name in methods_of(against):
        part = against[(against["prompter"] == setting) & (against["experiment"] == name)]
        row = {"prompt": label_of(setting), "method": titles[name, setting]}
        rows.append(row | {case: range_text(values.dropna(), 2) for case, values in part.groupby("case_id", sort=False)[metric]})
    return pd.DataFrame(rows).fillna("–")


def methods_of(against: pd.DataFrame) -> list[tuple[str, str]]:
    """(prompt setting, experiment), from most help to none."""
    pairs = dict.fromkeys(zip(against["prompter"], against["experiment"], strict=True))
    return sorted(pairs, key=lambda pair: list(PROMPT_SETTINGS).index(pair[0]))


def range_text(values: pd.Series, digits: int) -> str:
    """ "0.71 (0.65 … 0.77)": the median, and in brackets the lowest and the highest."""
    if values.empty:
        return "–"
    low, middle, high = (interval_text(float(v), np.nan, np.nan, digits) for v in (values.min(), values.median(), values.max()))
    return middle if len(values) == 1 else f"{middle} ({low} … {high})"


def band_sentence(pairs: pd.DataFrame, metric: str = "dsc") -> str:
    """One sentence on the human band of these readers: its range, or why there is none."""
    band = human_band(pairs, metric)
    if band:
        return f"Human band (quartiles over patients): {band[0]:.2f} to {band[1]:.2f}."
    wanted = f"{MIN_PATIENTS_FOR_BAND} patients with at least {MIN_READERS_FOR_BAND} readers each"
    return f"No human band is drawn: that takes {wanted} (patients of that kind here: {len(_patients_with_readers(pairs))})."


def folded_pairs(found: Sequence[ReadDataset]) -> HTML:
    """`printable_pairs` of each data set."""
    return folded.tables({label_of(part.dataset): printable_pairs(part.pairs) for part in found}, missing_sentence(found))


def folded_models(found: Sequence[ReadDataset], titles: Mapping[tuple[str, str], str]) -> HTML:
    """`printable_models` of each data set with so few patients that each has a column."""
    few = [part for part in found if part.n_cases < intervals.MIN_PATIENTS_FOR_INTERVAL]
    shown = {label_of(part.dataset): printable_models(part.against, part.pairs, titles) for part in few}
    return folded.tables(shown, missing_sentence(found))


def noise_sentence(noise: pd.DataFrame) -> str:
    """How well two noisy copies of a reference agree. `noise`: from `phantom_noise`."""
    by_patient = noise.groupby("patient_id")[["dsc", "nsd_3mm"]].mean()
    if by_patient.empty:
        return "The phantoms are not on this machine, and this edition has no numbers."
    dice, nsd = (intervals.summarize_mean(by_patient[name].to_numpy()) for name in by_patient)
    texts = [interval_text(s.mean, s.low, s.high) for s in (dice, nsd)]
    return f"Two copies reach a mean Dice of {texts[0]} and an NSD at 3 mm of {texts[1]} (n = {len(by_patient)} phantoms)."
