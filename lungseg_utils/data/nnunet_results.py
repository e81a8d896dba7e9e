"""Find the files of a trained nnU-Net (nnunetv2) in the folder that its training wrote.

DATASET/TRAINER__PLANS__CONFIGURATION/ holds plans.json, dataset.json, and checkpoints below fold_0, fold_1 ... or fold_all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..types import InputError

PLANS, DATASET = "plans.json", "dataset.json"
_DEPTH = 2  # of a configuration below the folder of all results


@dataclass(frozen=True)
class TrainedNnUNet:
    """One trained configuration: its folder, and the folds (as in the names of their folders) whose mean is the prediction."""

    folder: Path
    folds: tuple[str, ...]
    checkpoint: str

    @property
    def files(self) -> list[Path]:
        """All files that a prediction depends on."""
        weights = [self.folder / f"fold_{fold}" / self.checkpoint for fold in self.folds]
        return [self.folder / PLANS, self.folder / DATASET, *weights]


def find(path: Path, checkpoint: str, folds: Sequence[str] = ()) -> TrainedNnUNet:
    """The trained nnU-Net in a folder, or in the only configuration below it.

    Args:
        path: folder of results.
        checkpoint: name of the file in each fold's folder.
        folds: that are averaged; by default all numbered ones with that file, else "all".

    Raises:
        InputError: lists the configurations of a folder with several, and the folds and checkpoints that are there.
    """
    folder = _configuration(path)
    if not (folder / DATASET).is_file():
        raise InputError(folder, f"it holds no {DATASET}", "Copy the whole folder that nnUNetv2_train wrote.")
    there = sorted(file.parent.name.removeprefix("fold_") for file in folder.glob(f"fold_*/{checkpoint}"))
    chosen = tuple(str(fold) for fold in folds) or tuple(fold for fold in there if fold != "all") or tuple(there)
    if missing := [fold for fold in chosen if fold not in there] or ([] if chosen else ["any"]):
        known = ", ".join(sorted(str(file.relative_to(folder)) for file in folder.glob("fold_*/*.pth"))) or "no checkpoint"
        problem = f"no {checkpoint} of fold {', '.join(missing)}; it holds {known}"
        raise InputError(folder, problem, "Choose by the options folds and checkpoint.")
    return TrainedNnUNet(folder, chosen, checkpoint)


def _configuration(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(path, "it is no folder", f"Give the folder of nnU-Net's results that holds {PLANS}.")
    if (path / PLANS).is_file():
        return path
    below = sorted(file.parent for depth in range(1, _DEPTH + 1) for file in path.glob("*/" * depth + PLANS))
    if not below:
        raise InputError(path, f"it holds no {PLANS}", "Give the folder of nnU-Net's results, TRAINER__PLANS__CONFIGURATION.")
    if len(below) > 1:
        listed = ", ".join(str(folder.relative_to(path)) for folder in below)
        raise InputError(path, f"it holds several trained nnU-Nets: {listed}", "Give the folder of one of them.")
    return below[0]
