"""Folders of the project."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from ..types import InputError


def cache_root() -> Path:
    """Folder of the data sets: data/cache in the project."""
    return project_root() / "data" / "cache"


def project_root() -> Path:
    """Folder that holds experiments.yml: LUNGSEG_ROOT if set, else the checkout that this package lies in."""
    return _root(os.environ.get("LUNGSEG_ROOT", ""))


@cache  # asked thousands of times by a plan of hundreds of experiments
def _root(named: str) -> Path:
    root = Path(named or Path(__file__).resolve().parents[2])
    if not (root / "experiments.yml").is_file():
        raise InputError(root, "holds no experiments.yml", "Set LUNGSEG_ROOT to a checkout of the project.")
    return root
