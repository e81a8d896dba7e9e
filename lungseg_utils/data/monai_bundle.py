"""Find the files of a MONAI bundle: configs/metadata.json, the configuration of its inference, and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..types import InputError

_CONFIGS = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
_METADATA = "configs/metadata.json"


@dataclass(frozen=True)
class MonaiBundle:
    """A bundle's folder and the files that its inference reads."""

    folder: Path
    metadata: Path
    inference: Path
    weights: Path

    @property
    def files(self) -> list[Path]:
        """All files that a prediction depends on: configurations, weights, and code that the bundle brings."""
        code = [path for path in self.folder.rglob("*.py") if not any(part.startswith(".") for part in path.relative_to(self.folder).parts)]
        return [self.metadata, self.inference, self.weights, *code]


def find(path: Path, weights: str) -> MonaiBundle:
    """The bundle in a folder; `weights` is the file of its weights below it. InputError names what is missing."""
    inference = next((path / name for name in _CONFIGS if (path / name).is_file()), path / _CONFIGS[0])
    found = MonaiBundle(path, path / _METADATA, inference, path / weights)
    for file in (found.metadata, found.inference):
        if not file.is_file():
            raise InputError(file, "no such file", "Give the folder of a MONAI bundle, as `python -m monai.bundle init_bundle` makes it.")
    if not found.weights.is_file():
        there = ", ".join(sorted(str(p.relative_to(path)) for p in path.glob("models/*.pt*"))) or "none"
        raise InputError(found.weights, f"no such file; weights of the bundle: {there}", "Choose by the option weights.")
    return found
