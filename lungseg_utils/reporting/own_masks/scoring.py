"""Score folders of masks in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ...core.provenance import sha256_of_file
from ...data import grids, mask_files
from ...evaluation import protocols, scoring, tables
from ...evaluation.protocols import CaseCounts, CaseMasks
from ...prompts import ladder, sources
from ...types import InputError, Mask, Options, Record, Row
from . import labels, provenance
from .matching import FAULTS_SHOWN, PATIENTS_FILE, CaseFiles, find_cases
from .packed import PackedMask

NOT_STATED = "not stated"
THIN_SLICES_MM = 1.5  # protocol: NSD is quoted at 2 mm where slices are at most this thick, and at 3 mm elsewhere
Fault = tuple[str, str, str]  # of an InputError, which does not travel between processes: where, what is wrong, what to do


@dataclass(frozen=True, eq=False)
class _Loaded:
    files: CaseFiles
    references: Mapping[str, PackedMask]
    prediction: PackedMask
    ignore: PackedMask | None
    sha256: Mapping[Path, str]
    has_tumor: bool
    has_prediction: bool
    holding: Sequence[Path]  # files that hold the tumor's value
    lacking: Sequence[Path]


def _header_grid(path: Path) -> Mask:
    """The grid of a whole volume, from the header of its file alone."""
    grid = mask_files.read_grid(path)
    if grid.shape[2] < 2:
        raise InputError(path, "it has one slice only", "Give whole volumes: everything here is judged in 3-D.")
    return grid


def _grid_files(case: CaseFiles) -> list[Path]:
    """Files of a case that say on which grid it lies; the first one counts."""
    return [path for path in case.paths if mask_files.has_grid(path)] + ([case.image] if case.image is not None else [])


def _grid_of(case: CaseFiles) -> Mask:
    """The grid of all masks of a case."""
    return _header_grid(_grid_files(case)[0])


def _check_grids(case: CaseFiles) -> list[Fault]:
    """Faults of a case by its headers: unreadable files, and grids that are not that of the first file with one."""
    faults: list[Fault] = []
    first: tuple[Path, Mask] | None = None
    for path in _grid_files(case):
        try:
            grid = _header_grid(path)
            if first is None:
                first = (path, grid)
            else:
                grids.refuse_other_grid(grid, first[1], path, first[0])
        except InputError as error:
            faults.append(_fault(error))
    if not (first or faults):
        remedy = "Name the folder of the CTs with --images, or give one of its masks as NIfTI or NRRD."
        faults.append((str(case.paths[0]), "no file of its case says on which grid the slices of a DICOM SEG lie", remedy))
    return faults


def _fault(error: InputError) -> Fault:
    return error.where, error.problem, error.remedy


def _refuse(faults: Sequence[Fault], where: object) -> None:
    if len(faults) == 1:
        raise InputError(*faults[0])
    if faults:
        shown = [f"\n  {place}: {problem}. {remedy}" for place, problem, remedy in faults[:FAULTS_SHOWN]]
        more = f"\n  and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise InputError(where, f"{len(faults)} files cannot be used:{''.join(shown)}{more}\nNothing was scored", "Mend these files.")


def _read(task: tuple[CaseFiles, int | None, int | None]) -> _Loaded | list[Fault]:
    """Every mask of a case, or its faults. The labels choose a value of references and of the prediction."""
    case, label, prediction_label = task
    faults: list[Fault] = []
    grid = _grid_of(case)

    def read(path: Path | None, value: int | None, option: str) -> Mask | None:
        try:
            return None if path is None else mask_files.read_mask(path, grid, value)
        except InputError as error:
            binary = f"Choose the tumor's value with {option} N." if option else "Give an ignore region of 0 and 1."
            faults.append((error.where, error.problem, binary if "`label`" in error.remedy else error.remedy))
            return None

    references = {reader: read(path, label, "--label") for reader, path in case.references.items()}
    prediction = read(case.prediction, prediction_label, "--prediction-label" if label is not None else "--label")
    ignore = read(case.ignore, None, "")
    if faults:
        return faults
    masks = [(case.references[reader], mask) for reader, mask in references.items()] + [(case.prediction, prediction)]
    if prediction is None:
        first = next(iter(references.values()))
        prediction = Mask(np.zeros(first.shape, bool, order="F"), first.affine)
    return _Loaded(
        case,
        {reader: PackedMask.of(mask) for reader, mask in references.items()},
        PackedMask.of(prediction),
        None if ignore is None else PackedMask.of(ignore),
        {path: sha256_of_file(path) for path in case.paths},
        has_tumor=any(mask.array.any() for mask in references.values()),
        has_prediction=bool(prediction.array.any()),
        holding=[path for path, mask in masks if mask is not None and mask.array.any()],
        lacking=[path for path, mask in masks if mask is not None and not mask.array.any()],
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
    """All of `values`, with a progress bar on a terminal."""
    return list(tqdm(values, desc=text, total=total, unit="case", disable=None))


def _load(cases: Sequence[CaseFiles], label: int | None, prediction_label: int | None, run: Callable, folder: object) -> list[_Loaded]:
    """All cases, checked: headers of all files first, since that takes no time, then all voxels."""
    _refuse([fault for case in cases for fault in _check_grids(case)], folder)
    given = _progress(run(_read, [(case, label, prediction_label) for case in cases]), len(cases), "reading")
    _refuse([fault for part in given if isinstance(part, list) for fault in part], folder)
    if label is not None and not any(case.has_tumor for case in given):
        problem = f"no reference holds the value {label}; they hold {labels.held_by(p for c in given for p in c.files.references.values())}"
        raise InputError("--label", problem, "Choose the tumor's value in the references.")
    if prediction_label is not None and not any(case.has_prediction for case in given):
        answers = [case.files.prediction for case in given if case.files.prediction is not None]
        problem = f"no prediction holds the value {prediction_label}; they hold {labels.held_by(answers)}"
        raise InputError("--prediction-label", problem, "Choose the tumor's value in the predictions, if it differs from --label.")
    if label is not None or prediction_label is not None:
        lacking, holding = [path for case in given for path in case.lacking], [path for case in given for path in case.holding]
        _refuse(labels.strangers(lacking, holding), folder)
    return given


@dataclass(frozen=True, eq=False)
class Scores:
    """All measurements. `counts`: one per case and reader. `cut_cases`: lesion cut by an end of the volume.

    `nsd_metric`: the surface metric to quote. `provenance`: files with their hashes, versions, options, without the folders' paths.
    """

    name: str
    prompter: str
    results: pd.DataFrame
    counts: tuple[CaseCounts, ...]
    cut_cases: tuple[str, ...]
    nsd_metric: str
    provenance: Row


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
    images: Path | None = None,
) -> Scores:
    """Score every case of the folders (layout: `find_cases`) by `metrics.score_case` and `protocols.measure`.

    Args:
        predictions: folder.
        references: folder.
        ignore: folder of regions in which nothing is scored.
        prompter: prompt setting of the predictions, None if not stated.
        name: of the model (default: of the predictions' folder).
        label: the tumor's value in multi-label files.
        prediction_label: the same in predictions, if it differs.
        missing: a reference without prediction is an "error", or counts as "failed".
        workers: processes that read and score.
        images: folder of CTs, for cases whose masks are all DICOM SEG.

    Raises:
        InputError: for files that cannot be matched, read or scored; it names all of them.
    """
    if prompter is not None:
        ladder.prompt_setting(prompter)
    if workers < 1:
        raise InputError("workers", f"{workers} is not a number of processes", "Give 1 or more.")
    folders = {"predictions": Path(predictions), "references": Path(references)} | ({"ignore": Path(ignore)} if ignore is not None else {})
    if folders["predictions"].resolve() == folders["references"].resolve():
        raise InputError(predictions, "it is both predictions and references", "Give two folders: a mask always agrees with itself.")
    cases = find_cases(predictions, references, ignore, missing, images)
    prediction_label = label if prediction_label is None else prediction_label
    name = name or folders["predictions"].resolve().name
    shared = {"experiment": name, "test_dataset": folders["references"].resolve().name, "prompter": prompter or NOT_STATED}
    shared |= {"source": sources.own_source(prompter) if prompter else NOT_STATED, "jitter": 0.0}
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
        provenance.describe(name, folders, cases, dict(item for case in loaded for item in case.sha256.items()), options),
    )


def files_used(scores: Scores, predictions: Path, references: Path, ignore: Path | None = None) -> list[Path]:
    """The files of these folders that the scores are of, with the table of patients."""
    folders = {"predictions": predictions, "references": references, "ignore": ignore}
    named = [(folders[role], name) for role, hashes in scores.provenance["sha256_of_files"].items() for name in hashes]
    named += [(references, PATIENTS_FILE)] if scores.provenance["patients_file"] else []
    return [Path(folder) / name for folder, name in named if folder is not None]


@dataclass(frozen=True, eq=False)
class _ScoredCase:
    case_id: str
    rows: list[Record]
    counts: list[CaseCounts]
    cut: bool
    slice_mm: float


def _score(task: tuple[_Loaded, Options]) -> _ScoredCase | Fault:
    case, shared = task
    files, prediction = case.files, case.prediction.mask()
    ignore = None if case.ignore is None else case.ignore.mask()
    keys = dict(shared) | {"patient_id": files.patient_id, "case_id": files.case_id}
    references = {reader: packed.mask() for reader, packed in case.references.items()}
    try:
        rows = scoring.score(keys, references, prediction, ignore, failed=files.prediction is None)
    except InputError as error:
        return _fault(InputError(files.ignore or files.case_id, error.problem, error.remedy))
    counts, cut = [], False
    for reference in references.values():
        masks = CaseMasks(files.patient_id, reference.array, (prediction.array,), None if ignore is None else ignore.array)
        counts.append(protocols.measure(masks))
        cut |= any(scoring.cut_ends(reference))
    return _ScoredCase(files.case_id, rows, counts, cut, prediction.spacing_mm[2])
