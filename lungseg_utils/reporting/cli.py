"""The commands `report` and `evaluate`. Each imports what it needs when it runs, so the command line starts fast."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.cli import add_command, add_profile_argument

if TYPE_CHECKING:
    from ..core.cli import Commands

_OPTIONS = ("prompter", "name", "label", "prediction_label", "missing", "workers")


def add_commands(commands: Commands) -> None:
    """Add the commands of this folder."""
    _add_report(commands)
    _add_evaluate(commands)


def _add_report(commands: Commands) -> None:
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


def _add_evaluate(commands: Commands) -> None:
    text = "test a model that you trained elsewhere on a data set of this project, beside others that get the same prompts"
    evaluate = add_command(commands, "evaluate", _evaluate, text)
    kinds = "KIND:PATH, e.g. nnunet:FOLDER_OF_RESULTS or medsam:CHECKPOINT; KIND is a model own_KIND of the command `list`"
    evaluate.add_argument("--model", required=True, metavar="KIND:PATH", help=kinds)
    evaluate.add_argument("--trained-on", required=True, metavar="TEXT", help='the data it was trained on, in words, or "unknown"')
    evaluate.add_argument("--dataset", required=True, help="a data set of the command `list`")
    evaluate.add_argument("--prompts", nargs="+", default=[], metavar="SETTING", help="prompt settings (default: those of the profile)")
    sources = "whose outlines prompts are drawn from (default: as the profile says)"
    evaluate.add_argument("--sources", nargs="+", default=[], choices=("reference", "another_reader"), help=sources)
    evaluate.add_argument("--name", default="", help="of the model, beside its numbers (default: the last part of PATH)")
    evaluate.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the model, e.g. canvas=512; repeatable")
    evaluate.add_argument("--out", type=Path, help="folder for a copy of the tables")
    add_profile_argument(evaluate)
    evaluate.add_argument("--workers", type=int, default=2, help="processes that draw phantoms")


def _evaluate(arguments: argparse.Namespace) -> int:
    from ..core import outputs
    from . import own_model

    if arguments.out:
        outputs.require_folder(arguments.out)
    asked = own_model.request(
        arguments.model,
        arguments.dataset,
        arguments.trained_on,
        arguments.prompts,
        arguments.sources,
        arguments.profile,
        arguments.name,
        arguments.option,
    )
    own, table = own_model.evaluate(asked, workers=arguments.workers)
    print(own_model.in_words(table))
    print(f"tables: {own_model.write(own, table, arguments.out)}")
    return 0
