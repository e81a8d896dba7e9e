"""Bases of segmenters whose networks were trained elsewhere, by another package: they predict, and are not trained here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from .. import geometry
from ..types import InputError, PretrainedSegmenter, Study, TrainingRun
from .prompted_control import WholeScanSegmenter

# letter of an axis that grows towards that side -> index of the world axis, and its sign, in RAS+
_SIDES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


class NotTrainedHere(PretrainedSegmenter, ABC):
    """A segmenter that takes its weights by `load_pretrained` alone."""

    @abstractmethod
    def load_pretrained(self, path: Path) -> None:
        """Take the network that lies at `path`; InputError if it cannot be used."""

    def fit(self, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> NoReturn:
        """Refused."""
        raise self._refusal("fit")

    def save(self, path: Path, description: Mapping[str, object]) -> NoReturn:
        """Refused."""
        raise self._refusal("save")

    def load(self, path: Path) -> NoReturn:
        """Refused."""
        raise self._refusal("load")

    def _refusal(self, where: str) -> InputError:
        return InputError(
            where, "this model was trained elsewhere, and is not trained here", "Use it as it is: zero_shot, or trained_elsewhere."
        )


class TrainedElsewhere(NotTrainedHere, WholeScanSegmenter):
    """An automatic one."""


class StoredAxes:
    """The order and direction of axes in which another package sees a scan, as letters of the sides to which x, y, z grow ("LPS")."""

    def __init__(self, letters: str):
        letters = letters.upper()
        if len(letters) != 3 or {_SIDES[side][0] for side in letters if side in _SIDES} != {0, 1, 2}:
            raise InputError(f"axes {letters!r}", "no order of axes", 'Give one letter for each of three axes, e.g. "LPS" or "RAS".')
        self._affine = np.diag([0.0, 0.0, 0.0, 1.0])
        for axis, side in enumerate(letters):
            world, sign = _SIDES[side]
            self._affine[world, axis] = sign

    def of_ras(self, array: np.ndarray) -> np.ndarray:
        """An (x, y, z) array in RAS+ order, in this order."""
        return geometry.from_ras(array, self._affine)

    def to_ras(self, array: np.ndarray) -> np.ndarray:
        """Back again."""
        return geometry.to_ras(array, self._affine)[0]

    def spacing(self, spacing_mm: Sequence[float]) -> list[float]:
        """Sizes of voxels along x, y, z of RAS+, in this order."""
        return [float(spacing_mm[int(np.flatnonzero(self._affine[:3, axis])[0])]) for axis in range(3)]
