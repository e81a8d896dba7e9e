"""Executable benchmark of lung-tumor segmentation on CT: the package of the notebooks and of the book.

`import lungseg_utils as ls` gives the names of `__all__`; each is imported when it is first used, so the import itself takes no time.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

__version__ = "0.1.0"
_PLACES = {
    "Box": "types",
    "Grid": "experiments.config",
    "Image": "types",
    "Mask": "types",
    "Prompt": "types",
    "compare": "evaluation.by_file",
    "load_model": "experiments.load",
    "load_results": "experiments.results",
    "prompts": "prompts.drawing",
    "read_dicom_seg": "data.dicom_seg",
    "read_image": "data.images",
    "read_mask": "data.nifti",
    "read_rtstruct": "data.rtstruct",
    "score": "evaluation.by_file",
    "write_mask": "data.nifti",
}
_NAMES_THERE = {"score": "score_masks", "prompts": "draw_prompts", "compare": "compare_tables"}
__all__ = [
    "Box", "Grid", "Image", "Mask", "Prompt", "compare", "load_model", "load_results", "prompts", "read_dicom_seg", "read_image",
    "read_mask", "read_rtstruct", "score", "write_mask",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), _NAMES_THERE.get(name, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _FrontDoor(ModuleType):
    """`prompts` is a folder for this package and a function for who uses it: `from lungseg_utils.prompts import ...` finds the folder."""

    @property
    def prompts(self) -> object:
        return __getattr__("prompts")

    @prompts.setter
    def prompts(self, folder: ModuleType) -> None:
        """The import system puts the folder here; it stays in `sys.modules`, where imports look for it."""


sys.modules[__name__].__class__ = _FrontDoor
