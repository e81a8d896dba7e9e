"""Group the source files of a book, and write one stamp file per group that changes when a file of the group changes.

Snakemake checks every input of every waiting job again and again. With hundreds of input files per page, these checks took as long as
some pages.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from ..core import project, provenance
from ..core.files import write_text
from ..experiments import config
from ..types import InputError

_CODE = (".py", ".js", ".css", ".json", ".md")
_WORDS = ("book/build.py", "book/serve.py", "cli.py", "__main__.py")  # ends of paths in the package: no number or picture depends on them
_GRID = ("experiments.yml", "requirements.txt", "analysis_plan.yml", "data/frozen.json", "data/contamination.csv")
_GRID_FOLDERS = ("data/labels_for_settings.csv", "data/splits/*.csv", "data/exclusions/*.csv")
_PROSE = ("_config.yml", "_toc.yml", "package.json", "lungseg_utils/book/build.py")
_MADE = {"results", "vendor", "_build", "__pycache__"}  # folders of book/ that hold what a build puts there


def notebook(name: str) -> Path:
    """The notebook that makes a page: its own, else for an experiment that of another one of its paradigm, which it shares.

    InputError for a page that is neither.
    """
    folder, lines = project.project_root() / "notebooks", config.load().experiments
    shared = [line.notebook for line in lines.values() if name in lines and line.paradigm == lines[name].paradigm]
    known = [path for path in (folder / f"{candidate}.ipynb" for candidate in (name, *shared)) if path.is_file()]
    if not known:
        raise InputError(folder / f"{name}.ipynb", "no such notebook", "Give the name of one, or of an experiment in experiments.yml.")
    return known[0]


def files(profile: str) -> dict[str, list[Path]]:
    """Name of a group -> its files: `code`, `grid`, `prose`, and two of data/results, so that a new table makes few pages again.

    `own_tables`: what the page of an experiment shows of them, the profile's own runs and how learning rates were chosen; `tables`: all.
    """
    root = project.project_root()
    package, stored = root / "lungseg_utils", root / "data" / "results"
    found = [path for path in stored.rglob("*.*") if path.is_file()]
    return {
        "code": [path for path in package.rglob("*") if path.suffix in _CODE and not path.as_posix().endswith(_WORDS)],
        "grid": [root / name for name in _GRID] + [path for pattern in _GRID_FOLDERS for path in root.glob(pattern)],
        "prose": [root / name for name in _PROSE]
        + [path for path in (root / "book").rglob("*") if path.is_file() and not _MADE & set(path.relative_to(root).parts)],
        "own_tables": [path for path in found if path.match("results/tuning.csv") or path.is_relative_to(stored / profile)],
        "tables": found,
    }


def group_of_tables(page: str, experiments: Container[str]) -> str:
    """Name of the group of stored tables that a page reads; `experiments`: the pages that are one experiment's own."""
    return "own_tables" if page in experiments else "tables"


def stamps(profile: str) -> dict[str, str]:
    """Name of a group -> the file in build/PROFILE/inputs with the hash over the group's names and contents, brought up to date."""
    root = project.project_root()
    folder, written = root / "build" / profile / "inputs", {}
    for name, group in files(profile).items():
        path, stamp = folder / name, provenance.sha256_of_files(group, root) + "\n"
        if not path.is_file() or path.read_text() != stamp:
            write_text(stamp, path)
        written[name] = str(path.relative_to(root))
    return written
