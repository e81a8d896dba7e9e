"""The command `report`. It imports what it needs when it runs, so the command line starts fast."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.cli import add_command

if TYPE_CHECKING:
    from ..core.cli import Commands

_OPTIONS = ("prompter", "name", "label", "prediction_label", "missing", "workers")


def add_commands(commands: Commands) -> None:
    """Add the command of this folder."""
    text = "score a folder of NIfTI predictions against a folder of references; writes one HTML page and tables"
    report = add_command(commands, "report", _report, text)
    report.add_argument("--predictions", type=Path, required=True, help="folder with NAME.nii.gz or NAME.nii")
    references = "the same names; or one subfolder per reader; patients.csv may lie here"
    report.add_argument("--references", type=Path, required=True, help=references)
    report.add_argument("--ignore", type=Path, help="folder with regions, by name, in which nothing is scored")
    report.add_argument("--prompter", help="prompt setting that the model was given, e.g. box_one_slice, or none")
    report.add_argument("--name", help="of the model, for the title (default: name of the predictions' folder)")
    report.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: report)")
    report.add_argument("--label", type=int, metavar="N", help="value of the tumor in multi-label files")
    report.add_argument("--prediction-label", type=int, metavar="N", help="the same in predictions, if it is another one")
    report.add_argument("--missing", choices=("error", "failed"), default="error", help="what a reference without prediction is")
    report.add_argument("--workers", type=int, default=1, help="processes that read and score")


def _report(arguments: argparse.Namespace) -> int:
    from ..core import outputs
    from ..data import accounts
    from .own_masks import page, scoring

    inputs = [folder for folder in (arguments.predictions, arguments.references, arguments.ignore) if folder is not None]
    outputs.require_folder(arguments.out, inputs)
    given = {name: getattr(arguments, name) for name in _OPTIONS}
    scores = scoring.score_folders(arguments.predictions, arguments.references, arguments.ignore, **given)
    print(page.headline(scores))
    folders = [folder for folder in (arguments.predictions, arguments.references, arguments.ignore) if folder is not None]
    print(accounts.account(folders, scoring.files_used(scores, *folders)).in_words())
    print(f"report: {page.write(scores, arguments.out)}")
    return 0
