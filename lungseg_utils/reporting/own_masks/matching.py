"""Match files of predictions and references to cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core import text_tables
from ...data import mask_files
from ...types import InputError

PATIENTS_FILE = "patients.csv"
ONE_READER = "reference"  # name of the reader where there are no subfolders
_OTHER_FORMATS = (".nhdr", ".mha", ".mhd", ".img", ".hdr")
FAULTS_SHOWN = 10


@dataclass(frozen=True)
class CaseFiles:
    """Files of one case; `prediction` is None if it is missing and counts as failed. `references`: reader -> file.

    `image`: the CT, or the folder of its series, whose grid counts where no mask has one.
    """

    case_id: str
    patient_id: str
    references: Mapping[str, Path]
    prediction: Path | None
    ignore: Path | None = None
    image: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All masks of the case that are there."""
        return [*self.references.values(), *(path for path in (self.prediction, self.ignore) if path is not None)]


def find_cases(
    predictions: Path, references: Path, ignore: Path | None = None, missing: str = "error", images: Path | None = None
) -> list[CaseFiles]:
    """Match the files of the folders (`mask_files.FORMATS`) by NAME, in order of NAME.

    References are in `references` itself, or, of several readers, in one subfolder each (and then only in subfolders). `patients.csv` in
    the same folder (columns case_id, patient_id) tells which cases are of one patient; without it each case is a patient.

    Args:
        predictions: folder.
        references: folder.
        ignore: folder of regions in which nothing is scored.
        missing: a reference without prediction is an "error", or counts as "failed".
        images: folder of CTs, NAME.nii.gz or a folder NAME of a DICOM series; needed where all masks of a case are DICOM SEG.

    Raises:
        InputError: also for a prediction or an ignore region without reference.
    """
    if missing not in ("error", "failed"):
        raise InputError("missing", f"{missing!r} is unknown", 'Give "error" or "failed".')
    readers, answers = _readers(Path(references)), _mask_files(Path(predictions))
    hidden = _mask_files(Path(ignore)) if ignore is not None else {}
    scans = _scans(Path(images)) if images is not None else {}
    case_ids = sorted({case_id for files in readers.values() for case_id in files})
    _refuse_unknown(answers, case_ids, predictions, "Remove them, or bring their references.")
    _refuse_unknown(hidden, case_ids, ignore, "Remove them, or bring their references.")
    absent = [case_id for case_id in case_ids if case_id not in answers]
    if absent and missing == "error":
        problem = f"no prediction for {len(absent)} of {len(case_ids)} references: {_some(absent)}"
        raise InputError(predictions, problem, "Bring them, or let them count as failed empty predictions with --missing failed.")
    patients = _patients(Path(references) / PATIENTS_FILE, case_ids)
    return [
        CaseFiles(
            case_id,
            patients[case_id],
            {reader: files[case_id] for reader, files in readers.items() if case_id in files},
            answers.get(case_id),
            hidden.get(case_id),
            scans.get(case_id),
        )
        for case_id in case_ids
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - FAULTS_SHOWN} more" if len(names) > FAULTS_SHOWN else ""
    return ", ".join(names[:FAULTS_SHOWN]) + more


def _refuse_unknown(files: Iterable[str], case_ids: Iterable[str], folder: object, remedy: str) -> None:
    unknown = sorted(set(files) - set(case_ids))
    if unknown:
        raise InputError(folder, f"no reference for {len(unknown)} of its files: {_some(unknown)}", remedy)


def _readers(folder: Path) -> dict[str, dict[str, Path]]:
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "Give the folder with the reference masks.")
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    inner = [path for path in inner if any(_is_mask(file) for file in path.iterdir())]
    if not inner:
        return {ONE_READER: _mask_files(folder)}
    if any(_is_mask(path) for path in folder.iterdir()):
        problem = f"masks lie in it and in its subfolders ({_some([path.name for path in inner])})"
        raise InputError(folder, problem, "Put one reference per case into the folder, or those of each reader into a subfolder.")
    return {path.name: _mask_files(path) for path in inner}


def _is_mask(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and mask_files.is_mask(path)


def _scans(folder: Path) -> dict[str, Path]:
    """Name -> CT, of the files and folders directly in a folder."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "Give the folder of the CTs.")
    there = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return {path.name if path.is_dir() else mask_files.name_without_ending(path): path for path in there if path.is_dir() or _is_mask(path)}


def _mask_files(folder: Path) -> dict[str, Path]:
    """Name without ending -> file, of the masks directly in a folder."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder", f"Give a folder with {mask_files.FORMATS}.")
    other = [path.name for path in sorted(folder.iterdir()) if path.name.lower().endswith(_OTHER_FORMATS)]
    if other:
        raise InputError(folder, f"it holds images of another format: {_some(other)}", "Convert them to NIfTI, or remove them.")
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if _is_mask(path)):
        name = mask_files.name_without_ending(path)
        if name in found:
            raise InputError(path, f"{found[name].name} lies beside it, which is the same case", "Remove one of the two.")
        found[name] = path
    if not found:
        raise InputError(folder, "it holds no masks", f"Put {mask_files.FORMATS} directly into it, one per case.")
    return found


def _patients(path: Path, case_ids: Sequence[str]) -> dict[str, str]:
    if not path.is_file():
        return {case_id: case_id for case_id in case_ids}
    rows = [(row.cells["case_id"], row.cells["patient_id"]) for row in text_tables.read_rows(path, ("case_id", "patient_id"))]
    named = [case_id for case_id, _ in rows]
    problems = {
        "a case stands there twice": [case_id for case_id in set(named) if named.count(case_id) > 1],
        "a case has no patient": [case_id for case_id, patient_id in rows if not patient_id],
        "a case is not in it": set(case_ids) - set(named),
        "a case in it has no reference": set(named) - set(case_ids),
    }
    for problem, cases in problems.items():
        if cases:
            raise InputError(path, f"{problem}: {_some(sorted(cases))}", "Give each case of the folder one row, and no other rows.")
    return dict(rows)
