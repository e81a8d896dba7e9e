"""The commands `report` and `evaluate`. Each imports what it needs when it runs, so the command line starts fast."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.cli import add_command, add_profile_argument
from ..types import InputError

if TYPE_CHECKING:
    from ..core.cli import Commands
    from .own_masks.scoring import Scores

_OPTIONS = ("prompter", "label", "prediction_label", "missing", "workers", "images")


def add_commands(commands: Commands) -> None:
    """Add the commands of this folder."""
    _add_report(commands)
    _add_evaluate(commands)


def _add_report(commands: Commands) -> None:
    text = "score folders of predicted masks (NIfTI, NRRD, DICOM SEG) against a folder of references; writes an HTML page and tables"
    report = add_command(commands, "report", _report, text)
    folder = "folder with NAME.nii.gz, NAME.nrrd or NAME.dcm; given again, as MODEL=DIR, the models are compared"
    report.add_argument("--predictions", action="append", required=True, metavar="[MODEL=]DIR", help=folder)
    references = "the same names; or one subfolder per reader; patients.csv may lie here"
    report.add_argument("--references", type=Path, required=True, help=references)
    report.add_argument("--ignore", type=Path, help="folder with regions, by name, in which nothing is scored")
    report.add_argument("--images", type=Path, help="folder with the CTs, by name, where all masks of a case are DICOM SEG")
    report.add_argument("--prompter", help="prompt setting that the model was given, e.g. box_one_slice, or none")
    report.add_argument("--name", help="of the model, for the title (default: name of the predictions' folder)")
    report.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: report)")
    report.add_argument("--label", type=int, metavar="N", help="value of the tumor in multi-label files")
    report.add_argument("--prediction-label", type=int, metavar="N", help="the same in predictions, if it is another one")
    report.add_argument("--missing", choices=("error", "failed"), default="error", help="what a reference without prediction is")
    report.add_argument("--workers", type=int, default=1, help="processes that read and score")


def _report(arguments: argparse.Namespace) -> int:
    from ..core import outputs

    models = [_named(given, arguments.name) for given in arguments.predictions]
    if len(models) > 1 and arguments.name:
        raise InputError("--name", "it names one model, and there are several", "Give --predictions NAME=DIR for each.")
    shared = [folder for folder in (arguments.references, arguments.ignore, arguments.images) if folder is not None]
    outputs.require_folder(arguments.out, [*(folder for _, folder in models), *shared])
    if len(models) == 1:
        return _report_one(*models[0], arguments)
    return _report_several(models, arguments)


def _named(given: str, name: str | None) -> tuple[str | None, Path]:
    """Name and folder of MODEL=DIR; a folder alone has the name of --name, if that is given."""
    before, equals, folder = given.partition("=")
    return (before, Path(folder)) if equals and before and not Path(given).exists() else (name, Path(given))


def _score(name: str | None, predictions: Path, arguments: argparse.Namespace) -> Scores:
    from .own_masks import scoring

    given = {option: getattr(arguments, option) for option in _OPTIONS}
    return scoring.score_folders(predictions, arguments.references, arguments.ignore, name=name, **given)


def _report_one(name: str | None, predictions: Path, arguments: argparse.Namespace) -> int:
    from ..data import accounts
    from .own_masks import page, scoring

    scores = _score(name, predictions, arguments)
    print(page.headline(scores))
    folders = [folder for folder in (predictions, arguments.references, arguments.ignore) if folder is not None]
    print(accounts.account(folders, scoring.files_used(scores, *folders)).in_words())
    print(f"report: {page.write(scores, arguments.out)}")
    return 0


def _report_several(models: Sequence[tuple[str | None, Path]], arguments: argparse.Namespace) -> int:
    from .own_masks import page, several

    scored = [_score(name, predictions, arguments) for name, predictions in models]
    compared = several.compare(scored)
    for scores in scored:
        print(page.headline(scores))
    for name, table in several.printable(compared).items():
        print(f"\n{several.TABLES[name]}\n{table.to_string(index=False)}")
    print(f"\nreport: {several.write(scored, compared, arguments.out)}")
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
