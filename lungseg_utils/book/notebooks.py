"""Execute notebooks strictly: check parameters before the kernel starts, and write a file only after full success.

papermill only logs an unknown parameter, and a notebook that failed or timed out still leaves a file that looks finished. Here the
output gets its name only if every cell ran to its end without an error.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import DeadKernelError

from ..core import files
from ..experiments import config, planning
from ..types import InputError, Record

CELL_TIMEOUT_SECONDS = 6 * 3600
STARTS = 3  # of a kernel: its ports are chosen before it binds them, so that another program may take one in between
_TRACKED_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class NotebookFailed(RuntimeError):
    """A notebook did not run to its end; the message names the notebook and the cell."""


def declared_parameters(notebook: Path) -> dict[str, tuple[str, object]]:
    """Name -> (annotated type, default) of the cell tagged `parameters`; every parameter needs an annotation."""
    node = _read(notebook)
    cells = [c for c in node.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise InputError(notebook, f"{len(cells)} cells are tagged 'parameters'", "Tag exactly one.")
    declared = {}
    for statement in ast.parse(cells[0].source).body:
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            raise InputError(notebook, f"parameter line {statement.lineno} is no annotated default", "Write name: type = default.")
        declared[statement.target.id] = (ast.unparse(statement.annotation), ast.literal_eval(statement.value))
    return declared


def read_parameters(notebook: Path, texts: Mapping[str, str]) -> dict[str, object]:
    """Parameters as a command line gives them, as values of the types that the notebook declares."""
    declared = declared_parameters(notebook)
    return {name: _value(notebook, name, text, *declared[name]) if name in declared else text for name, text in texts.items()}


def _value(notebook: Path, name: str, text: str, annotation: str, default: object) -> object:
    if annotation == "str":
        return text
    try:
        return ast.literal_eval(text.capitalize() if annotation == "bool" else text)
    except (ValueError, SyntaxError) as error:
        raise InputError(notebook, f"parameter {name} is {text!r}", f"Give a value of type {annotation}, e.g. {default}.") from error


def check_parameters(notebook: Path, parameters: Mapping[str, object]) -> None:
    """Refuse parameters that the notebook does not declare, of another type than it declares, or that no run can be planned from."""
    declared = declared_parameters(notebook)
    for name, value in parameters.items():
        if name not in declared:
            raise InputError(notebook, f"no parameter {name!r}", f"Declared: {', '.join(declared)}.")
        annotation, _ = declared[name]
        if type(value).__name__ != annotation:
            raise InputError(notebook, f"parameter {name} is {type(value).__name__} {value!r}", f"Give a value of type {annotation}.")
    _check_values(notebook, {name: default for name, (_, default) in declared.items()} | dict(parameters))


def _check_values(notebook: Path, values: Mapping[str, object]) -> None:
    """What the notebook's first call would refuse: an unknown profile, a seed, fold or draw that cannot be, too many patients."""
    chosen = {name: values[name] for name in ("profile", "seed", "fold", "k", "draw") if name in values}
    try:
        if "experiment" in values:
            planning.check_patients(planning.make_experiment(values["experiment"], **chosen))
        elif "profile" in chosen:
            config.load().profile(chosen["profile"])
    except InputError as error:
        raise InputError(notebook, f"its parameters {chosen} cannot be: {error.where}: {error.problem}", error.remedy) from error


def execute(notebook: Path, output: Path, parameters: Mapping[str, object], cwd: Path, progress: bool = True, title: str = "") -> None:
    """Run `notebook` into `output`, under another `title` if one is given: a notebook may make several pages.

    Raises InputError before, or NotebookFailed after, without leaving `output`.
    """
    check_parameters(notebook, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    with files.atomic_path(output) as temporary:
        try:
            _run(notebook, temporary, parameters, cwd, progress)
        except papermill.PapermillExecutionError as error:
            raise NotebookFailed(
                f"{notebook}, cell {error.exec_count}: {error.ename}: {error.evalue}\n{_plain(error.traceback)}"
            ) from error
        except DeadKernelError as error:
            raise NotebookFailed(f"{notebook}: its process was killed, most probably because the memory was full") from error
        except NoSuchKernel as error:
            raise InputError(notebook, "there is no Jupyter kernel named python3", "Set the environment up again: make setup.") from error
        executed = _read(Path(temporary))
        _require_success(notebook, executed)
        nbformat.write(_titled(_clean(executed), title), str(temporary))


def _run(notebook: Path, output: Path, parameters: Mapping[str, object], cwd: Path, progress: bool) -> None:
    for attempt in range(1, STARTS + 1):
        try:
            papermill.execute_notebook(
                str(notebook),
                str(output),
                parameters=dict(parameters),
                cwd=str(cwd),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                execution_timeout=CELL_TIMEOUT_SECONDS,
                extra_arguments=["--log-level=40"],  # errors only: the kernel warns at every start that it talks over TCP
                stderr_file=sys.stderr if progress else None,
            )
            return
        except RuntimeError as error:  # the type, and the words, in which jupyter_client says that no cell was reached
            if "died before replying" not in str(error):
                raise
            if attempt == STARTS:
                raise NotebookFailed(f"{notebook}: no kernel could be started in {STARTS} attempts; what it said stands above") from error


def save_as_tracked(model: Record, path: str, **_: object) -> None:
    """Pre-save hook of a Jupyter server (`make lab`): notebooks of this project are stored without outputs, as the repository has them.

    `model["content"]` is changed in place; notebooks outside `notebooks/`, and other files, are left alone.
    """
    if model["type"] != "notebook" or not path.lstrip("/").startswith("notebooks/"):
        return
    node = model["content"] = nbformat.from_dict(model["content"])
    node.metadata = nbformat.from_dict(_TRACKED_METADATA)
    for cell in node.cells:
        cell.metadata = nbformat.from_dict({key: value for key, value in cell.metadata.items() if key == "tags"})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def _plain(traceback_lines: list[str]) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(traceback_lines))


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(str(path), as_version=4)
    except Exception as error:  # nbformat raises many types for damaged files; all mean the same to the caller
        raise InputError(path, f"not a readable notebook ({type(error).__name__})", "Restore it from the repository.") from error


def _require_success(notebook: Path, executed: nbformat.NotebookNode) -> None:
    for number, cell in enumerate(c for c in executed.cells if c.cell_type == "code"):
        if cell.source.strip() and cell.execution_count is None:
            raise NotebookFailed(f"{notebook}: code cell {number + 1} was never executed (timed out or interrupted)")
        if any(out.output_type == "error" for out in cell.outputs):
            raise NotebookFailed(f"{notebook}: code cell {number + 1} ended with an error")


def _clean(executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop run-time metadata (times, machine paths), progress bars, and from view the parameters."""
    executed.metadata.pop("papermill", None)
    for cell in executed.cells:
        tags = cell.metadata.get("tags", [])
        if {"parameters", "injected-parameters"} & set(tags) and "remove-cell" not in tags:
            tags.append("remove-cell")
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if not (out.output_type == "stream" and out.name == "stderr")]
        _describe_pictures(cell)
    return executed


def _describe_pictures(cell: nbformat.NotebookNode) -> None:
    """Copy the alt text that `style.show` gave a figure to where MyST-NB looks for it: it takes no such text from an output."""
    found = [out.get("metadata", {}).get("image/png", {}).get("alt") for out in cell.get("outputs", [])]
    if texts := [text for text in found if text]:
        cell.metadata["mystnb"] = {"image": {"alt": " ".join(texts)}}


def _titled(executed: nbformat.NotebookNode, title: str) -> nbformat.NotebookNode:
    if title:
        first = executed.cells[0]
        first.source = f"# {title}\n" + first.source.split("\n", 1)[1]
    return executed
