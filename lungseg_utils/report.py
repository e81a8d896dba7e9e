"""A referee for strangers: anybody's predictions against references, as NIfTI files, with this project's metrics and statistics.

Three steps. `find_cases` matches files by name. `score_folders` reads every mask before it scores the first one, so that bad input is
an `InputError` and no half report; all faults are told together. `write` makes one HTML file that asks for nothing from outside, and
the tables. A case is never left out silently: it is scored, or counted as failed because the caller said so, or an error.
"""

from __future__ import annotations

import csv
import datetime
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from tqdm import tqdm

from . import __version__, geometry, io, metrics, protocols, tables
from .prompts import ladder
from .protocols import CaseCounts, CaseMasks, ProtocolValue
from .types import InputError, Mask

PATIENTS_FILE = "patients.csv"
ONE_READER = "reference"  # name of the reader where there are no subfolders
NOT_STATED = "not stated"
THIN_SLICES_MM = 1.5  # protocol: NSD is quoted at 2 mm where slices are at most this thick, and at 3 mm elsewhere
_OTHER_FORMATS = (".nrrd", ".nhdr", ".mha", ".mhd", ".img", ".hdr", ".dcm")
_FAULTS_SHOWN = 10
_WIDEST_TEXT = 24  # digits, in the table of cases; longer names are broken
_PACKAGES = ("numpy", "scipy", "pandas", "nibabel", "surface-distance")  # those that can change a number here
_MEANS = ("dsc", "iou", *(f"nsd_{t:g}mm" for t in metrics.NSD_TOLERANCES_MM), "lesion_sensitivity", "lesion_precision", "lesion_f1")
_DISTANCES = ("hd95", "assd")
_EVERYONE = "patients with a tumor"

Fault = tuple[str, str, str]  # of an InputError, which does not travel between processes: where, what is wrong, what to do


# --- which files belong together -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CaseFiles:
    """Files of one case; `prediction` is None if it is missing and counts as failed. `references`: reader -> file."""

    case_id: str
    patient_id: str
    references: Mapping[str, Path]
    prediction: Path | None
    ignore: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All files that there are."""
        return [*self.references.values(), *(path for path in (self.prediction, self.ignore) if path is not None)]


def find_cases(predictions: Path, references: Path, ignore: Path | None = None, missing: str = "error") -> list[CaseFiles]:
    """Match NAME.nii or NAME.nii.gz of the folders by NAME, in order of NAME.

    References lie in `references` itself, or, of several readers, in one subfolder each (and then in subfolders only). `patients.csv`
    beside them (columns case_id, patient_id) tells which cases are of one patient; without it each case is a patient. `missing`:
    "error" or "failed", what a reference without prediction is. A prediction or an ignore region without reference is an error.
    """
    if missing not in ("error", "failed"):
        raise InputError("missing", f"{missing!r} is unknown", 'Give "error" or "failed".')
    readers, answers = _readers(Path(references)), _nifti_files(Path(predictions))
    hidden = _nifti_files(Path(ignore)) if ignore is not None else {}
    case_ids = sorted({case_id for files in readers.values() for case_id in files})
    _refuse_unknown(answers, case_ids, predictions, "Remove them, or bring their references.")
    _refuse_unknown(hidden, case_ids, ignore, "Remove them, or bring their references.")
    absent = [case_id for case_id in case_ids if case_id not in answers]
    if absent and missing == "error":
        problem = f"no prediction for {len(absent)} of {len(case_ids)} references: {_some(absent)}"
        raise InputError(predictions, problem, "Bring them, or let them count as failed empty answers with --missing failed.")
    patients = _patients(Path(references) / PATIENTS_FILE, case_ids)
    return [
        CaseFiles(
            case_id,
            patients[case_id],
            {reader: files[case_id] for reader, files in readers.items() if case_id in files},
            answers.get(case_id),
            hidden.get(case_id),
        )
        for case_id in case_ids
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FAULTS_SHOWN} more" if len(names) > _FAULTS_SHOWN else ""
    return ", ".join(names[:_FAULTS_SHOWN]) + more


def _refuse_unknown(files: Iterable[str], case_ids: Iterable[str], folder: object, remedy: str) -> None:
    unknown = sorted(set(files) - set(case_ids))
    if unknown:
        raise InputError(folder, f"no reference for {len(unknown)} of its files: {_some(unknown)}", remedy)


def _readers(folder: Path) -> dict[str, dict[str, Path]]:
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "Give the folder with the reference masks.")
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    inner = [path for path in inner if any(_is_nifti(file) for file in path.iterdir())]
    if not inner:
        return {ONE_READER: _nifti_files(folder)}
    if any(_is_nifti(path) for path in folder.iterdir()):
        problem = f"NIfTI files lie in it and in its subfolders ({_some([path.name for path in inner])})"
        raise InputError(folder, problem, "Put one reference per case into the folder, or those of each reader into a subfolder.")
    return {path.name: _nifti_files(path) for path in inner}


def _is_nifti(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name.lower().endswith((".nii", ".nii.gz"))


def _nifti_files(folder: Path) -> dict[str, Path]:
    """Name without ending -> file, of the NIfTI files directly in a folder."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "Give a folder with NAME.nii.gz files.")
    other = [path.name for path in sorted(folder.iterdir()) if path.name.lower().endswith(_OTHER_FORMATS)]
    if other:
        raise InputError(folder, f"it holds images of another format: {_some(other)}", "Convert them to NIfTI, or remove them.")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if _is_nifti(path)):
        name = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
        if name in found:
            raise InputError(path, f"{found[name].name} lies beside it, which is the same case", "Remove one of the two.")
        found[name] = path
    if not found:
        raise InputError(folder, "it holds no NIfTI files", "Put NAME.nii.gz or NAME.nii directly into it, one per case.")
    return found


def _patients(path: Path, case_ids: Sequence[str]) -> dict[str, str]:
    if not path.is_file():
        return {case_id: case_id for case_id in case_ids}
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        if not {"case_id", "patient_id"} <= set(reader.fieldnames or ()):
            raise InputError(path, f"its columns are {reader.fieldnames}", "Give the columns case_id and patient_id.")
        rows = [(row["case_id"] or "", row["patient_id"] or "") for row in reader]
    named = [case_id for case_id, _ in rows]
    problems = {
        "a case stands there twice": [case_id for case_id in set(named) if named.count(case_id) > 1],
        "a case has no patient": [case_id for case_id, patient_id in rows if not patient_id.strip()],
        "a case is not in it": set(case_ids) - set(named),
        "a case in it has no reference": set(named) - set(case_ids),
    }
    for problem, cases in problems.items():
        if cases:
            raise InputError(path, f"{problem}: {_some(sorted(cases))}", "Give each case of the folder one row, and no other rows.")
    return dict(rows)


# --- reading, before anything is scored ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Packed:
    """A mask as compressed bits: a tumor in a scan takes some kilobytes, so that all masks are checked before the first is scored."""

    shape: tuple[int, int, int]
    affine: np.ndarray
    bits: bytes

    @classmethod
    def of(cls, mask: Mask) -> _Packed:
        return cls(mask.shape, np.array(mask.affine), zlib.compress(np.packbits(mask.array.ravel(order="F")).tobytes(), 1))

    def mask(self) -> Mask:
        bits = np.frombuffer(zlib.decompress(self.bits), dtype=np.uint8)
        voxels = np.unpackbits(bits, count=int(np.prod(self.shape)))
        return Mask(voxels.view(bool).reshape(self.shape, order="F"), self.affine)


@dataclass(frozen=True, eq=False)
class _Loaded:
    files: CaseFiles
    references: Mapping[str, _Packed]
    prediction: _Packed
    ignore: _Packed | None
    sha256: Mapping[Path, str]
    has_tumor: bool
    has_answer: bool


def _header_grid(path: Path) -> Mask:
    """An empty mask on the grid of a NIfTI file, from its header alone; there is no memory behind it."""
    try:
        header = nib.load(path)
        shape, affine = tuple(header.shape), header.affine
    except Exception as error:  # damaged bytes make nibabel raise errors of any kind
        raise InputError(path, "it cannot be read as NIfTI", "It is damaged or of another kind: export it again.") from error
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise InputError(path, f"a mask has three axes, this has shape {shape}", "Give one 3-D volume per file.")
    array, affine = geometry.to_ras(np.broadcast_to(np.False_, shape[:3]), affine)
    if array.shape[2] < 2:
        raise InputError(path, "it has one slice only", "Give whole volumes: everything here is judged in 3-D.")
    return Mask(array, affine, path)


def _described(mask: Mask) -> str:
    spacing, origin = np.round(mask.spacing_mm, 4).tolist(), np.round(mask.affine[:3, 3], 2).tolist()
    return f"{mask.shape} voxels of {tuple(spacing)} mm from {tuple(origin)} mm"


def _check_grids(case: CaseFiles) -> list[Fault]:
    """What the headers say against a case: unreadable files, and grids that are not that of the first reference."""
    faults, first = [], None
    for path in case.paths:
        try:
            grid = _header_grid(path)
            if first is None:
                first = (path, grid)
            elif not geometry.same_grid(grid, first[1]):
                problem = f"its grid ({_described(grid)}) is not that of {first[0]} ({_described(first[1])})"
                raise InputError(path, problem, "Export both on the same grid; they are never resampled silently.")
        except InputError as error:
            faults.append(_fault(error))
    return faults


def _fault(error: InputError) -> Fault:
    return error.where, error.problem, error.remedy


def _refuse(faults: Sequence[Fault], where: object) -> None:
    if len(faults) == 1:
        raise InputError(*faults[0])
    if faults:
        shown = [f"\n  {place}: {problem}. {remedy}" for place, problem, remedy in faults[:_FAULTS_SHOWN]]
        more = f"\n  and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise InputError(where, f"{len(faults)} files cannot be used:{''.join(shown)}{more}\nNothing was scored", "Mend these files.")


def _read(task: tuple[CaseFiles, int | None, int | None]) -> _Loaded | list[Fault]:
    """Every mask of a case, or what is wrong with them. The labels choose a value of references and of the prediction."""
    case, label, prediction_label = task
    faults: list[Fault] = []

    def read(path: Path | None, value: int | None, option: str) -> Mask | None:
        try:
            return None if path is None else io.read_mask(path, _header_grid(path), value, allow_empty=True)
        except InputError as error:
            binary = f"Choose the tumor's value with {option} N." if option else "Give an ignore region of 0 and 1."
            faults.append((error.where, error.problem, binary if "`label`" in error.remedy else error.remedy))
            return None

    references = {reader: read(path, label, "--label") for reader, path in case.references.items()}
    prediction = read(case.prediction, prediction_label, "--prediction-label" if label is not None else "--label")
    ignore = read(case.ignore, None, "")
    if faults:
        return faults
    if prediction is None:
        first = next(iter(references.values()))
        prediction = Mask(np.zeros(first.shape, bool, order="F"), first.affine)
    return _Loaded(
        case,
        {reader: _Packed.of(mask) for reader, mask in references.items()},
        _Packed.of(prediction),
        None if ignore is None else _Packed.of(ignore),
        {path: tables.sha256_of_file(path) for path in case.paths},
        has_tumor=any(mask.array.any() for mask in references.values()),
        has_answer=bool(prediction.array.any()),
    )


@contextmanager
def _processes(workers: int) -> Iterator[Callable]:
    """A `map` over this many processes; the built-in one for a single worker."""
    if workers == 1:
        yield map
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool.map


def _progress(values: Iterable, total: int, text: str) -> list:
    """All of `values`, with a bar where somebody looks at a terminal."""
    return list(tqdm(values, desc=text, total=total, unit="case", disable=None))


def _load(cases: Sequence[CaseFiles], label: int | None, prediction_label: int | None, run: Callable, folder: object) -> list[_Loaded]:
    """All cases, checked: headers of all files first, since that takes no time, then all voxels."""
    _refuse([fault for case in cases for fault in _check_grids(case)], folder)
    given = _progress(run(_read, [(case, label, prediction_label) for case in cases]), len(cases), "reading")
    _refuse([fault for part in given if isinstance(part, list) for fault in part], folder)
    if label is not None and not any(case.has_tumor for case in given):
        raise InputError("--label", f"no reference holds the value {label}", "Choose the tumor's value in the references.")
    if prediction_label is not None and not any(case.has_answer for case in given):
        problem = f"no prediction holds the value {prediction_label}"
        raise InputError("--prediction-label", problem, "Choose the tumor's value in the predictions, if it differs from --label.")
    return given


# --- scoring ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scores:
    """All that was measured. `counts`: one per case and reader. `cut_cases`: lesion cut by an end of the volume.

    `nsd_metric`: the surface metric to quote. `provenance`: files with their hashes, versions, options; nothing of the folders' place.
    """

    name: str
    prompter: str
    results: pd.DataFrame
    counts: tuple[CaseCounts, ...]
    cut_cases: tuple[str, ...]
    nsd_metric: str
    provenance: Mapping[str, Any]


def score_folders(
    predictions: Path,
    references: Path,
    ignore: Path | None = None,
    *,
    prompter: str | None = None,
    name: str | None = None,
    label: int | None = None,
    prediction_label: int | None = None,
    missing: str = "error",
    workers: int = 1,
) -> Scores:
    """Score every case of the folders (layout: `find_cases`) by `metrics.score_case` and `protocols.measure`.

    `prompter`: the rung of the prompt ladder that the predictions were made with, None if not stated. `name`: of the model (default:
    of the predictions' folder). `label`: the tumor's value in multi-label files, in predictions `prediction_label` if that differs.
    """
    if prompter is not None:
        ladder.prompter(prompter)
    if workers < 1:
        raise InputError("workers", f"{workers} is not a number of processes", "Give 1 or more.")
    folders = {"predictions": Path(predictions), "references": Path(references)} | ({"ignore": Path(ignore)} if ignore is not None else {})
    if folders["predictions"].resolve() == folders["references"].resolve():
        raise InputError(predictions, "it is both predictions and references", "Give two folders: a mask always agrees with itself.")
    cases = find_cases(predictions, references, ignore, missing)
    prediction_label = label if prediction_label is None else prediction_label
    name = name or folders["predictions"].resolve().name
    shared = {"experiment": name, "test_dataset": folders["references"].resolve().name, "prompter": prompter or NOT_STATED, "jitter": 0.0}
    with _processes(min(workers, len(cases))) as run:
        loaded = _load(cases, label, prediction_label, run, predictions)
        scored = _progress(run(_score, [(case, shared) for case in loaded]), len(loaded), "scoring")
    _refuse([part for part in scored if isinstance(part, tuple)], ignore)
    options = {"label": label, "prediction_label": prediction_label, "missing": missing, "prompter": prompter}
    return Scores(
        name,
        prompter or NOT_STATED,
        tables.results_frame([row for part in scored for row in part.rows]),
        tuple(counts for part in scored for counts in part.counts),
        tuple(part.case_id for part in scored if part.cut),
        "nsd_2mm" if max(part.slice_mm for part in scored) <= THIN_SLICES_MM else "nsd_3mm",
        _provenance(name, folders, loaded, options),
    )


@dataclass(frozen=True, eq=False)
class _ScoredCase:
    case_id: str
    rows: list[dict[str, Any]]
    counts: list[CaseCounts]
    cut: bool
    slice_mm: float


def _score(task: tuple[_Loaded, Mapping[str, Any]]) -> _ScoredCase | Fault:
    case, shared = task
    files, prediction = case.files, case.prediction.mask()
    ignore = None if case.ignore is None else case.ignore.mask()
    keys = dict(shared) | {"patient_id": files.patient_id, "case_id": files.case_id}
    rows, counts, cut = [], [], False
    for reader, packed in case.references.items():
        reference = packed.mask()
        ends = bool(reference.array[:, :, 0].any()), bool(reference.array[:, :, -1].any())
        try:
            values = metrics.score_case(reference, prediction, ignore, ends)
        except InputError as error:
            return _fault(InputError(files.ignore or files.case_id, error.problem, error.remedy))
        lesions = metrics.score_lesions(reference, prediction, ignore)
        rows += tables.result_rows(keys, reader, values, lesions, failed=files.prediction is None)
        answer = prediction.array if ignore is None else prediction.array & ~(ignore.array & ~reference.array)
        counts.append(protocols.measure(CaseMasks(files.patient_id, reference.array, (answer,))))
        cut |= any(ends)
    return _ScoredCase(files.case_id, rows, counts, cut, prediction.spacing_mm[2])


def _provenance(name: str, folders: Mapping[str, Path], loaded: Sequence[_Loaded], options: Mapping[str, Any]) -> dict[str, Any]:
    hashes: dict[str, dict[str, str]] = {role: {} for role in folders}
    for path, digest in (item for case in loaded for item in case.sha256.items()):
        role = max((role for role in folders if path.is_relative_to(folders[role])), key=lambda role: len(folders[role].parts))
        hashes[role][path.relative_to(folders[role]).as_posix()] = digest
    return {
        "name": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "commit": tables.commit(Path(__file__).resolve().parent),
        "packages": {package: metadata.version(package) for package in _PACKAGES},
        "folders": {role: folder.resolve().name for role, folder in folders.items()},
        "options": dict(options),
        "patients_file": (folders["references"] / PATIENTS_FILE).is_file(),
        "missing_predictions": [case.files.case_id for case in loaded if case.files.prediction is None],
        "cases_with_ignore_region": sum(case.files.ignore is not None for case in loaded),
        "sha256": {role: tables.sha256_of_json(files) for role, files in hashes.items()},
        "sha256_of_files": hashes,
    }


# --- summaries -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flow:
    """How many of what were scored. A case is tumor-free if no reader saw a tumor; `patients` counts those with a tumor in some case."""

    patients: int
    cases: int
    patients_tumor_free: int
    cases_tumor_free: int
    lesions: int
    cases_by_reader: Mapping[str, int]
    failed: int
    empty_answers: int


def _tumor_free(results: pd.DataFrame) -> set[str]:
    volumes = results[results["metric"] == "reference_volume"].groupby("case_id")["value"].max()
    return set(volumes.index[volumes == 0])


def count_flow(results: pd.DataFrame) -> Flow:
    """Counts of patients, cases and lesions of a results table, tumor-free ones apart. Lesions of several readers are counted for each."""
    whole = results[results["metric"] == "prediction_volume"]
    free = whole["case_id"].isin(_tumor_free(results))
    given = whole[~free & (whole["status"] != "failed")]
    return Flow(
        patients=whole.loc[~free, "patient_id"].nunique(),
        cases=whole.loc[~free, "case_id"].nunique(),
        patients_tumor_free=whole.loc[free, "patient_id"].nunique(),
        cases_tumor_free=whole.loc[free, "case_id"].nunique(),
        lesions=int(results.loc[results["metric"] == "lesions_reference", "value"].sum()),
        cases_by_reader=whole.groupby("reader")["case_id"].nunique().to_dict(),
        failed=whole.loc[whole["status"] == "failed", "case_id"].nunique(),
        empty_answers=given.loc[given["value"] == 0, "case_id"].nunique(),
    )


def summarize(results: pd.DataFrame) -> pd.DataFrame:
    """One row per quantity: quantity, of, statistic, value, low, high, n, unit_of_n, unit, method. Intervals are 95 %, over patients.

    Cases and readers are averaged within the patient first. Values that a rule of the protocol leaves undefined are not in n, which
    stands in each row for that reason.
    """
    from . import stats

    results = tables.require_plain(results)
    rows = []

    def add(quantity: str, of: str, statistic: str, frame: pd.DataFrame, unit: str) -> None:
        values = stats.patient_means(frame).to_numpy()
        summary = (stats.summarize_mean if statistic == "mean" else stats.summarize_median)(values)
        row = {"quantity": quantity, "of": of, "statistic": statistic, "value": summary.mean, "low": summary.low, "high": summary.high}
        rows.append(row | {"n": summary.n, "unit_of_n": "patients", "unit": unit, "method": summary.method})

    for metric in _MEANS:
        add(metric, _EVERYONE, "mean", tables.case_values(results, metric), metrics.UNITS[metric])
    for metric in _DISTANCES:
        frame = tables.case_values(results, metric)
        add(metric, _EVERYONE, "median", frame, "mm")
        add(metric, "those with an answer", "median", frame[np.isfinite(frame["value"])], "mm")
    frame = tables.case_values(results, "volume_error_relative")
    add("volume_error_relative", _EVERYONE, "median", frame, "%")
    add("lesion_dsc", "detected lesions", "mean", _detected_lesions(results), "1")
    alarms = tables.case_values(results, "false_positive_volume")
    add("false_positive_volume", "tumor-free scans", "mean", alarms[alarms["case_id"].isin(_tumor_free(results))], "ml")
    return pd.DataFrame(rows)


def _detected_lesions(results: pd.DataFrame) -> pd.DataFrame:
    """Rows with the DSC of each lesion that was hit."""
    keys = ["case_id", "reader", "lesion_id"]
    hits = results[(results["metric"] == "lesion_hit") & (results["value"] == 1)]
    return results[results["metric"] == "lesion_dsc"].merge(hits[keys], on=keys)


def protocol_table(values: Sequence[ProtocolValue]) -> pd.DataFrame:
    """Protocols as a table, with the shift of each from the first one, this project's own."""
    frame = pd.DataFrame([vars(value) for value in values])
    return frame.assign(shift=frame["value"] - frame["value"].iloc[0])


def case_table(scores: Scores) -> pd.DataFrame:
    """One row per case and reader with every metric, the worst first: lowest DSC, then most false positives on tumor-free scans.

    Columns: case_id, patient_id, reader, answer ("given", "empty", "no file"), tumor_free, cut, and those of `metrics.UNITS`.
    """
    whole = scores.results[scores.results["lesion_id"] == ""]
    wide = whole.pivot(index=["case_id", "patient_id", "reader"], columns="metric", values="value")[list(metrics.UNITS)].reset_index()
    failed = wide["case_id"].isin(whole.loc[whole["status"] == "failed", "case_id"])
    wide.insert(3, "answer", np.where(failed, "no file", np.where(wide["prediction_volume"] == 0, "empty", "given")))
    wide.insert(4, "tumor_free", wide["case_id"].isin(_tumor_free(scores.results)))
    wide.insert(5, "cut", wide["case_id"].isin(scores.cut_cases))
    order = ["tumor_free", "dsc", "false_positive_volume", "case_id"]
    return wide.sort_values(order, ascending=[True, True, False, True], kind="stable", ignore_index=True).rename_axis(columns=None)


# --- the page --------------------------------------------------------------------------------------------------------

_COLOURS = {
    "text": "#010203",
    "mark": "#040506",
    "grid": "#070809",
}  # unlikely ones, which the page's own colours, light and dark, take the place of
_TITLES = {
    **{"dsc": "DSC", "iou": "IoU", "hd95": "HD95", "assd": "ASSD", "lesion_dsc": "lesion-wise DSC"},
    **{f"nsd_{t:g}mm": f"NSD at {t:g} mm" for t in metrics.NSD_TOLERANCES_MM},
    **{"lesion_sensitivity": "lesions found (sensitivity)", "lesion_precision": "predicted parts that are lesions (precision)"},
    **{"lesion_f1": "lesion-wise F1", "volume_error_relative": "volume error", "false_positive_volume": "false-positive volume"},
}
MARKS = {
    "points only": "Fewer than 10 patients: points only, without intervals. Look at the cases one by one.",
    "descriptive": "Fewer than 50 patients: the intervals describe these patients and carry no claim about others.",
    "inference": "At least 50 patients: the intervals are for these trained weights and patients like these.",
}


def mark_of(method: str) -> str:
    """ "points only", "descriptive" or "inference": what `stats` says that an interval is good for."""
    return next(mark for mark in MARKS if mark in method)


def interval_text(row: Mapping[str, Any], digits: int = 2) -> str:
    """ "0.71 [0.65, 0.77]" of a row of `summarize`."""
    from . import figures

    return figures.interval_text(row["value"], row["low"], row["high"], digits)


def headline(scores: Scores) -> str:
    """The result in one line, for a terminal."""
    flow, first = count_flow(scores.results), summarize(scores.results).iloc[0]
    free = f", tumor-free scans: {flow.cases_tumor_free}" if flow.cases_tumor_free else ""
    failed = f", failed: {flow.failed}" if flow.failed else ""
    return f"{scores.name}: 3-D DSC {interval_text(first)}, n = {first['n']} patients ({mark_of(first['method'])}){free}{failed}"


def write(scores: Scores, out: Path) -> Path:
    """Write report.html, results.csv, summary.csv, protocols.csv and provenance.json into the folder `out`; returns the page."""
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(out, "it is a file", "Give a folder with --out.")
    summary, shifts = summarize(scores.results), protocol_table(protocols.all_protocols(scores.counts))
    page = _page(scores, summary, shifts)
    tables.write(scores.results, out / "results.csv")
    tables.write(summary, out / "summary.csv")
    tables.write(shifts, out / "protocols.csv")
    tables.write_json(scores.provenance, out / "provenance.json")
    with io.atomic_path(out / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out / "report.html"


def _page(scores: Scores, summary: pd.DataFrame, shifts: pd.DataFrame) -> str:
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    cases, flow = case_table(scores), count_flow(scores.results)
    mark = mark_of(summary["method"].iloc[0])
    card = None if scores.prompter == NOT_STATED else ladder.prompter(scores.prompter)
    return environment.get_template("report.html").render(
        name=scores.name,
        dataset=scores.provenance["folders"]["references"],
        flow=flow,
        several_readers=len(flow.cases_by_reader) > 1,
        mark=mark,
        mark_text=MARKS[mark],
        prompter=card,
        nsd=_TITLES[scores.nsd_metric],
        tiles=_tiles(scores, summary),
        summary=[_summary_cells(row) for row in summary.to_dict("records")],
        protocols=[_protocol_cells(row, shifts["shift"].abs().max()) for row in shifts.to_dict("records")],
        columns=_case_columns(scores, cases),
        cases=cases.to_dict("records"),
        figures=_figures(summary, cases),
        cut=scores.cut_cases,
        infinity=np.inf,
        everyone=_EVERYONE,
        provenance=scores.provenance,
    )


def _row(summary: pd.DataFrame, quantity: str) -> dict[str, Any]:
    return summary[summary["quantity"] == quantity].iloc[0].to_dict()


def _tiles(scores: Scores, summary: pd.DataFrame) -> list[dict[str, str]]:
    """The four numbers to look at first: title, value, what it is."""
    shown = (("dsc", 2), (scores.nsd_metric, 2), ("lesion_sensitivity", 2), ("false_positive_volume", 2))
    rows = [(_row(summary, quantity), digits) for quantity, digits in shown]
    return [
        {"title": _TITLES[row["quantity"]], "value": interval_text(row, digits) + _unit(row), "note": f"{row['of']}, n = {row['n']}"}
        for row, digits in rows
    ]


def _unit(row: Mapping[str, Any]) -> str:
    return "" if row["unit"] == "1" or np.isnan(row["value"]) else f" {row['unit']}"


def _summary_cells(row: Mapping[str, Any]) -> dict[str, str]:
    digits = 1 if row["unit"] in ("mm", "%") else 2
    method = "" if row["n"] == 0 else row["method"]
    return {
        "title": _TITLES[row["quantity"]],
        "of": row["of"],
        "statistic": row["statistic"],
        "value": interval_text(row, digits) + _unit(row),
        "n": str(row["n"]),
        "method": method,
    }


def _protocol_cells(row: Mapping[str, Any], largest: float) -> dict[str, Any]:
    """Texts of a row, and the place of its bar (start and width in % of a track whose middle is no shift)."""
    shift = 0.0 if np.isnan(row["shift"]) else row["shift"]
    width = 50 * abs(shift) / largest if largest > 0 else 0.0
    return {
        "name": row["name"],
        "formula": row["formula"],
        "value": "–" if np.isnan(row["value"]) else f"{row['value']:.2f}",
        "shift": "–" if np.isnan(row["shift"]) else _signed(row["shift"]),
        "start": round(50.0 if shift >= 0 else 50 - width, 2),
        "width": round(width, 2),
        "n": f"{row['n']} {row['unit_of_n']}",
        "share": "–" if np.isnan(row["slices_scored_share"]) else f"{100 * row['slices_scored_share']:.0f} %",
    }


def _signed(shift: float) -> str:
    """ "+0.08", "−0.03", and "0.00" for what would be rounded to it."""
    return "0.00" if abs(shift) < 0.005 else f"{shift:+.2f}".replace("-", "−")


def _case_columns(scores: Scores, cases: pd.DataFrame) -> list[dict[str, Any]]:
    """Columns of the table of cases: name in the frame, title, digits of a number (None: text), and least width of a text in digits."""
    several = {"patient_id": scores.provenance["patients_file"], "reader": cases["reader"].nunique() > 1}
    texts = [("case_id", "case"), ("patient_id", "patient"), ("reader", "reader"), ("answer", "answer")]
    numbers = [
        ("dsc", "DSC", 2),
        (scores.nsd_metric, _TITLES[scores.nsd_metric].replace(" mm", "\u00a0mm"), 2),
        ("hd95", "HD95 (mm)", 1),
        ("assd", "ASSD (mm)", 1),
    ]
    numbers += [("reference_volume", "reference (ml)", 1), ("prediction_volume", "prediction (ml)", 1)]
    numbers += [("false_positive_volume", "false positive (ml)", 1), ("lesions_reference", "lesions", 0)]
    numbers += [("lesions_hit", "found", 0), ("lesions_predicted", "predicted", 0)]
    widths = {name: min(_WIDEST_TEXT, int(cases[name].str.len().max()) + 2) for name, _ in texts}
    columns = [{"name": name, "title": title, "digits": None, "width": widths[name]} for name, title in texts if several.get(name, True)]
    return columns + [{"name": name, "title": title, "digits": digits} for name, title, digits in numbers]


def _figures(summary: pd.DataFrame, cases: pd.DataFrame) -> list[str]:
    """Two drawings as inline SVG, or none without a tumor: DSC over tumor volume, and NSD over its tolerance."""
    with_tumor = cases[cases["reference_volume"] > 0]
    if with_tumor.empty:
        return []
    n = int(summary["n"].iloc[0])
    first, second = _axes("tumor volume (ml)", "3-D DSC"), _axes("tolerance (mm)", "mean NSD")
    mean = _row(summary, "dsc")
    first.scatter(with_tumor["reference_volume"], with_tumor["dsc"], s=26, color=_COLOURS["mark"], alpha=0.75, linewidths=0)
    first.axhline(mean["value"], color=_COLOURS["text"], linewidth=1, linestyle="--")
    if np.isfinite(mean["low"]):
        first.axhspan(mean["low"], mean["high"], color=_COLOURS["mark"], alpha=0.15, linewidth=0)
    first.set_xscale("log")
    first.set_xticks(*_volume_ticks(with_tumor["reference_volume"]))
    first.minorticks_off()
    rows = [_row(summary, f"nsd_{t:g}mm") for t in metrics.NSD_TOLERANCES_MM]
    second.plot(metrics.NSD_TOLERANCES_MM, [row["value"] for row in rows], color=_COLOURS["mark"], marker="o", linewidth=1.5)
    second.vlines(metrics.NSD_TOLERANCES_MM, [row["low"] for row in rows], [row["high"] for row in rows], color=_COLOURS["mark"])
    second.set_xticks(metrics.NSD_TOLERANCES_MM)
    shaded, bars = (", shaded its 95 % interval", ", bars 95 % intervals") if np.isfinite(mean["low"]) else ("", "")
    points = f"Each point a case; dashed the mean over patients (n = {n}){shaded}."
    curve = f"Mean over patients (n = {n}){bars}."
    return [
        _svg(axes.figure, title) for axes, title in ((first, f"DSC over tumor volume. {points}"), (second, f"NSD over tolerance. {curve}"))
    ]


def _volume_ticks(volumes: pd.Series) -> tuple[list[float], list[str]]:
    """Round volumes within the range of a logarithmic axis, and what is written there."""
    steps = [factor * 10.0**power for power in range(-3, 5) for factor in (1, 3)]
    low, high = volumes.min() / 1.7, volumes.max() * 1.7
    ticks = [step for step in steps if low <= step <= high]
    return ticks, [f"{tick:g}" for tick in ticks]


def _axes(x: str, y: str) -> Any:
    from matplotlib.figure import Figure

    axes = Figure(figsize=(4.2, 3.0), layout="constrained").subplots()
    axes.set(ylim=(-0.03, 1.03))
    axes.set_xlabel(x, color=_COLOURS["text"])
    axes.set_ylabel(y, color=_COLOURS["text"])
    axes.tick_params(colors=_COLOURS["text"], length=3)
    axes.grid(axis="y", color=_COLOURS["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_COLOURS["text"])
    return axes


def _svg(figure: Any, title: str) -> str:
    """A figure as an element that takes its colours from the page, fits its width and says what it shows."""
    from io import StringIO

    import matplotlib

    buffer = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawing = buffer.getvalue().partition("<svg")[2]  # without the XML declaration, which names an address
    head, _, body = drawing.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # each drawing has the same names of groups, and a page may hold a name only once
    for name, colour in _COLOURS.items():
        body = body.replace(colour, f"var(--{name})")
    return f'<figure><svg role="img" aria-label="{title}"{head}>{body}<figcaption>{title}</figcaption></figure>'
