"""Start-up time of commands, and what a notebook and an unchanged book cost beside their work."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill

from lungseg_utils import registry
from lungseg_utils.book import notebooks
from lungseg_utils.core import project
from lungseg_utils.reporting import speed
from lungseg_utils.types import InputError

from ..row import Agreement, Setting, Work, row

PROFILE, NOTHING = "smoke", "nothing had changed"


@row(work="python -m lungseg_utils list", against="python that does nothing", goal=0.5, compared=speed.EXTRA)
def start_list(setting: Setting) -> Work:
    """Both in processes of their own."""
    return compare_starts(["-m", "lungseg_utils", "list"], [name for kind in registry.KINDS for name in registry.names(kind)])


def compare_starts(arguments: list[str], expected: list[str]) -> Work:
    """Python with arguments, beside python alone; what it prints must hold all of `expected`."""

    def check(fast: str, plain: str) -> Agreement:
        return Agreement("difference", float(sum(name not in fast for name in expected)), 0.0)

    return Work(lambda: python(*arguments), lambda: python("-c", "pass"), check, operations=0.0, bytes=0.0)


def python(*words: str) -> str:
    """What a python of its own prints."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout


@row(work="the start of python -m lungseg_utils report", against="python that does nothing", goal=2.0, compared=speed.EXTRA)
def start_report(setting: Setting) -> Work:
    """All that it imports."""
    return compare_starts(
        ["-c", "from lungseg_utils.reporting.own_masks import page; print(page.__name__)"], ["lungseg_utils.reporting.own_masks.page"]
    )


@row(work="one trivial notebook, executed strictly", against="papermill.execute_notebook", goal=2.0, compared=speed.EXTRA)
def notebook(setting: Setting) -> Work:
    """A notebook that imports what every page imports, and adds one to a parameter."""
    return Work(lambda: _number(_strictly), lambda: _number(_plainly), _equal_numbers, operations=0.0, bytes=0.0)


def _number(execute: Callable[[Path, Path], object]) -> float:
    """What the last cell shows."""
    with tempfile.TemporaryDirectory() as folder:
        notebook, output = Path(folder) / "in.ipynb", Path(folder) / "out.ipynb"
        cells = [
            nbformat.v4.new_code_cell("number: int = 1"),
            nbformat.v4.new_code_cell("from lungseg_utils.experiments import config\nnumber + 1"),
        ]
        cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
        execute(notebook, output)
        return float(nbformat.read(output, as_version=4).cells[-1].outputs[0].data["text/plain"])


def _strictly(notebook: Path, output: Path) -> None:
    notebooks.execute(notebook, output, {"number": 2}, notebook.parent, progress=False)


def _plainly(notebook: Path, output: Path) -> None:
    how = {"kernel_name": "python3", "language": "python", "progress_bar": False}
    papermill.execute_notebook(notebook, output, {"number": 2}, cwd=notebook.parent, **how)


def _equal_numbers(fast: float, plain: float) -> Agreement:
    return Agreement("difference", abs(fast - plain), 0.0)


@row(work="make quick, where nothing has changed", against="python that does nothing", goal=5.0, compared=speed.EXTRA, warm=False)
def book_unchanged(setting: Setting) -> Work:
    """The book of the smallest profile, brought up to date."""
    page = project.project_root() / "build" / PROFILE / "html" / "index.html"
    if not page.is_file():
        raise InputError(page, "there is no book that could be unchanged", "Run: make test, or workflow --profile smoke")
    _build()
    return Work(_build, lambda: python("-c", "pass"), _says_nothing_changed, operations=0.0, bytes=0.0)


def _build() -> str:
    return python("-m", "lungseg_utils", "workflow", "--profile", PROFILE, "--cores", "2")


def _says_nothing_changed(fast: str, plain: str) -> Agreement:
    return Agreement("difference", float(NOTHING not in fast), 0.0)
