"""Commands of the book: workflow, serve, and its steps notebook, page-data, vendor, book. Each imports what it needs when it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.cli import add_command, add_profile_argument

if TYPE_CHECKING:
    from ..core.cli import Commands


def add_commands(commands: Commands) -> None:
    """Add the commands of this folder."""
    _add_workflow(commands)
    _add_serve(commands)
    _add_notebook(commands)
    _add_page_data(commands)
    add_command(commands, "vendor", _vendor, "bring the JavaScript packages that the book holds (a step of make setup)")
    _add_book(commands)


def _add_workflow(commands: Commands) -> None:
    text = "bring results and book of a profile up to date (make book, make quick)"
    workflow = add_command(commands, "workflow", _workflow, text)
    add_profile_argument(workflow)
    quick = "instead of a profile's name: quick, on a few real patients, where they can be had without a network; else smoke, on phantoms"
    workflow.add_argument("--quick", action="store_true", help=quick)
    workflow.add_argument("--cores", type=int, default=2)
    workflow.add_argument("--cluster", type=Path, metavar="DIR", help="submit jobs as DIR/config.yaml says, e.g. cluster/slurm")
    workflow.add_argument("--public", action="store_true", help="leave out voxels that may not be redistributed")
    workflow.add_argument("targets", nargs="*")


def _workflow(arguments: argparse.Namespace) -> int:
    from .workflow import ON_PATIENTS, quick_profile, run_workflow

    profile = arguments.profile
    if arguments.quick:
        profile = quick_profile()
        why = "real patients: their cubes are here" if profile == ON_PATIENTS else "phantoms: no cubes of real patients are here"
        print(f"== profile {profile}, {why}", flush=True)
    return run_workflow(profile, arguments.cores, arguments.public, tuple(arguments.targets), arguments.cluster)


def _add_serve(commands: Commands) -> None:
    serve = add_command(commands, "serve", _serve, "serve a built book, gzipped")
    serve.add_argument("html", type=Path)
    serve.add_argument("--port", type=int, default=8000)


def _serve(arguments: argparse.Namespace) -> int:
    from . import serve

    serve.serve(arguments.html, arguments.port)
    return 0


def _add_notebook(commands: Commands) -> None:
    notebook = add_command(commands, "notebook", _notebook, "execute the notebook of one page strictly (a step of the workflow)")
    notebook.add_argument("name", help="of the notebook, as of its page")
    notebook.add_argument("out", type=Path)
    notebook.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="e.g. -p seed 1")
    add_profile_argument(notebook)
    notebook.add_argument("--public", action="store_true")


def _notebook(arguments: argparse.Namespace) -> int:
    from ..core import outputs, project
    from . import inputs, notebooks, workflow

    title = workflow.experiment_title(arguments.name, arguments.profile)
    print(f"== page {arguments.name}, profile {arguments.profile}", flush=True)
    root = project.project_root()
    notebook = inputs.notebook(arguments.name)
    outputs.require_file(arguments.out, [notebook], (".ipynb",))
    parameters = {"profile": arguments.profile, "public": arguments.public}
    if notebook.stem != arguments.name:  # that of another experiment, which is told its name
        parameters["experiment"] = arguments.name
    parameters |= notebooks.read_parameters(notebook, dict(arguments.parameter))
    notebooks.execute(notebook, arguments.out, parameters, cwd=root, title=title)
    return 0


def _add_page_data(commands: Commands) -> None:
    page_data = add_command(commands, "page-data", _page_data, "write what the book's interactive pages load (a step of the workflow)")
    page_data.add_argument("out", type=Path)
    add_profile_argument(page_data)
    page_data.add_argument("--public", action="store_true")


def _page_data(arguments: argparse.Namespace) -> int:
    from ..core import outputs
    from . import page_data

    outputs.require_folder(arguments.out)
    print(f"== data of the interactive pages, profile {arguments.profile}", flush=True)
    page_data.write(arguments.profile, arguments.out, arguments.public)
    return 0


def _vendor(_arguments: argparse.Namespace) -> int:
    from ..core import project
    from . import build

    build.vendor(project.project_root())
    return 0


def _add_book(commands: Commands) -> None:
    book = add_command(commands, "book", _book, "build the book from executed notebooks (a step of the workflow)")
    book.add_argument("notebooks", type=Path)
    book.add_argument("out", type=Path)
    book.add_argument("--page-data", type=Path, help="what the interactive pages load, as page-data wrote it")
    add_profile_argument(book)
    book.add_argument("--public", action="store_true")


def _book(arguments: argparse.Namespace) -> int:
    from ..core import outputs, project
    from . import build, workflow

    outputs.require_folder(arguments.out, [path for path in (arguments.notebooks, arguments.page_data) if path is not None])
    print(f"== the book, profile {arguments.profile}", flush=True)
    workflow.write_build_info(arguments.profile, arguments.public, arguments.notebooks / "build_info.json")
    root = project.project_root()
    build.build(root, arguments.out, executed=arguments.notebooks, page_data=arguments.page_data)
    return 0
