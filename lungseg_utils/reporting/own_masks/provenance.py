"""What a report was made of."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from ... import __version__
from ...core.provenance import commit, sha256_of_json
from ...types import Options
from .matching import PATIENTS_FILE, CaseFiles

_PACKAGES = ("numpy", "scipy", "pandas", "nibabel", "surface-distance")  # those that can change a number here


def describe(
    name: str, folders: Mapping[str, Path], cases: Sequence[CaseFiles], sha256: Mapping[Path, str], options: Options
) -> dict[str, object]:
    """Files with their hashes, versions and options; of the folders only their names."""
    hashes: dict[str, dict[str, str]] = {role: {} for role in folders}
    for path, digest in sha256.items():
        role = max((role for role in folders if path.is_relative_to(folders[role])), key=lambda role: len(folders[role].parts))
        hashes[role][path.relative_to(folders[role]).as_posix()] = digest
    return {
        "name": name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "commit": commit(Path(__file__).resolve().parent),
        "packages": {package: metadata.version(package) for package in _PACKAGES},
        "folders": {role: folder.resolve().name for role, folder in folders.items()},
        "options": dict(options),
        "patients_file": (folders["references"] / PATIENTS_FILE).is_file(),
        "missing_predictions": [case.case_id for case in cases if case.prediction is None],
        "cases_with_ignore_region": sum(case.ignore is not None for case in cases),
        "sha256": {role: sha256_of_json(files) for role, files in hashes.items()},
        "sha256_of_files": hashes,
    }
