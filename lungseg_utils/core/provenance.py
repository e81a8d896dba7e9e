"""Provenance of a number: hashes of files, the commit, versions of packages."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

_DEPENDENCIES = ("torch", "monai", "numpy", "scipy", "nibabel", "pydicom", "pandas")


def sha256_of_files(paths: Iterable[Path], root: Path) -> str:
    """One hash over names (relative to `root`) and contents of files, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def sha256_of_weights(path: Path) -> str:
    """One hash over name and contents of the weights after training; "none" if there was no training."""
    return sha256_of_files([path], path.parent) if path.is_file() else "none"


def sha256_of_file(path: Path) -> str:
    """Hash of one file's contents, read piece by piece."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_json(value: object) -> str:
    """Hash of a JSON-like value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def commit(root: Path, besides: Path | None = None) -> str:
    """The checked-out commit, with "+" if files differ from it; LUNGSEG_COMMIT for a copy without git's own files; else "unknown".

    Changes of the file `besides` do not count: otherwise the first rows of a growing table would mark its later rows as changed.
    """
    if named := os.environ.get("LUNGSEG_COMMIT"):
        return named
    excluded = [f":(exclude){besides.resolve().relative_to(root.resolve())}"] if besides and _is_inside(besides, root) else []
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        command = ["git", "status", "--porcelain", "--", ".", *excluded]
        status = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def environment() -> dict[str, str]:
    """Interpreter, operating system and versions of the packages that can change a number."""
    versions = {name: metadata.version(name) for name in _DEPENDENCIES}
    return {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}", **versions}
