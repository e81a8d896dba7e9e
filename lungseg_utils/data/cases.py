"""Read cases into memory, and hash the files they consist of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from .. import registry
from ..core import provenance
from ..types import Case, Study
from . import grids


def load_study(case: Case) -> Study:
    """Read a case through its data set. Raises `InputError` also if the image is no chest CT in Hounsfield units."""
    study = registry.dataset(case.dataset).load(case)
    grids.require_hu(study.image, case.image_path)
    return study


class Studies(Sequence[Study]):
    """Cases as studies that are read when they are asked for, one at a time: a data set of patients does not fit into memory."""

    def __init__(self, cases: Sequence[Case]):
        self._cases = tuple(cases)

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, index: int) -> Study: ...
    @overload
    def __getitem__(self, index: slice) -> Studies: ...
    def __getitem__(self, index: int | slice) -> Study | Studies:
        if isinstance(index, slice):
            return Studies(self._cases[index])
        return load_study(self._cases[index])


def sha256_of_cases(cases: Iterable[Case]) -> str:
    """Hash of everything that the cases consist of: ids and the bytes of image and reference files."""
    parts = {}
    for case in cases:
        files = [f for p in (case.image_path, *case.reference_paths) for f in ([p] if p.is_file() else p.rglob("*")) if f.is_file()]
        base = case.image_path if case.image_path.is_dir() else case.image_path.parent
        parts[f"{case.dataset}/{case.case_id}"] = provenance.sha256_of_files(sorted(set(files)), _common(base, files))
    return provenance.sha256_of_json(parts)


def _common(base: Path, files: Sequence[Path]) -> Path:
    while not all(f.is_relative_to(base) for f in files):
        base = base.parent
    return base
