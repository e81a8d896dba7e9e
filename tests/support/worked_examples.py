"""What the tests of the book's worked examples share: the code blocks of a page, and a copy of the project to follow it in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from lungseg_utils.core import project

ROOT = project.project_root()


def block(page: str, name: str) -> str:
    """The code block with `:name:` `name` of a page of the book."""
    text = (ROOT / "book" / page).read_text(encoding="utf-8")
    return re.search(rf"```{{code-block}} \w+\n:name: {name}\n\n(.*?)```", text, re.DOTALL).group(1)


def copy_project(folder: Path, shared_cache: bool = True) -> Path:
    """A project of its own in `folder`; phantoms and weights are shared, since they are only read."""
    shutil.copytree(ROOT / "lungseg_utils", folder / "lungseg_utils", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("cache"))
    cache, here = ROOT / "data" / "cache", folder / "data" / "cache"
    (cache / "phantoms").mkdir(parents=True, exist_ok=True)
    if shared_cache:
        here.symlink_to(cache)
    else:  # with room for a data set of its own
        here.mkdir()
        (here / "phantoms").symlink_to(cache / "phantoms")
    for name in ("experiments.yml", "analysis_plan.yml"):  # the grid, and the constants of metrics and statistics
        shutil.copy(ROOT / name, folder)
    return folder


def tracked_project(folder: Path) -> Path:
    """The tracked files of this project as a project of its own; phantoms and data are shared, since they are only read."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (ROOT / "data" / "cache").mkdir(exist_ok=True)
    (folder / "data" / "cache").symlink_to(ROOT / "data" / "cache")
    return folder


def follow(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python in a copied project, with that project's package."""
    environment = os.environ | {"LUNGSEG_ROOT": str(root), "PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False)


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first `old` of a file, which has to be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, old
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def append(path: Path, text: str) -> None:
    """Add text at the end of a file, on a line of its own."""
    path.write_text(path.read_text(encoding="utf-8").rstrip() + "\n" + text, encoding="utf-8")


def assert_in_style(source: str, folder: Path) -> None:
    """A file of a page is in the style of the project."""
    (folder / "example.py").write_text(source)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for action in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *action, "example.py"]
        checked = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout
