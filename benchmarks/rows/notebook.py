"""Overhead of the strict execution of a notebook over papermill's own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill

from lungseg_utils.book import notebooks
from lungseg_utils.reporting import speed

from ..row import Agreement, Row, Setting, Work

ROW = Row(work="one trivial notebook, executed strictly", against="papermill.execute_notebook", goal=2.0, compared=speed.EXTRA)


def prepare(setting: Setting) -> Work:
    """A notebook that imports what every page imports, and adds one to a parameter."""
    return Work(lambda: _number(_strictly), lambda: _number(_plainly), _check, operations=0.0, bytes=0.0)


def _number(execute: Callable[[Path, Path], object]) -> float:
    """What the last cell shows."""
    with tempfile.TemporaryDirectory() as folder:
        notebook, output = Path(folder) / "in.ipynb", Path(folder) / "out.ipynb"
        cells = [nbformat.v4.new_code_cell("number: int = 1"), nbformat.v4.new_code_cell("from lungseg_utils import config\nnumber + 1")]
        cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
        execute(notebook, output)
        return float(nbformat.read(output, as_version=4).cells[-1].outputs[0].data["text/plain"])


def _strictly(notebook: Path, output: Path) -> None:
    notebooks.execute(notebook, output, {"number": 2}, notebook.parent, progress=False)


def _plainly(notebook: Path, output: Path) -> None:
    how = {"kernel_name": "python3", "language": "python", "progress_bar": False}
    papermill.execute_notebook(notebook, output, {"number": 2}, cwd=notebook.parent, **how)


def _check(fast: float, plain: float) -> Agreement:
    return Agreement("difference", abs(fast - plain), 0.0)
