"""Commands about data: fetch, data check, exclusions, split. Each imports what it needs when it runs, so the command line starts fast."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.cli import add_command

if TYPE_CHECKING:
    from ..core.cli import Commands


def add_commands(commands: Commands) -> None:
    """Add the commands of this folder."""
    _add_fetch(commands)
    _add_exclusions(commands)
    _add_split(commands)
    _add_check(commands)


def _add_fetch(commands: Commands) -> None:
    text = "download samples, whole data sets and published weights, checked; without names: list them"
    fetch = add_command(commands, "fetch", _fetch, text)
    fetch.add_argument("names", nargs="*")
    fetch.add_argument("--to", type=Path, help="folder (default: data/cache)")
    fetch.add_argument("--all", action="store_true", help="the whole data set, where without it only samples come")
    fetch.add_argument("--yes", action="store_true", help="accept the licenses without being asked")


def _fetch(arguments: argparse.Namespace) -> int:
    from ..core import project
    from . import collections

    if not arguments.names:
        print(collections.overview())
    for name in arguments.names:
        print(collections.fetch(name, arguments.to or project.cache_root(), arguments.all, arguments.yes))
    return 0


def _add_exclusions(commands: Commands) -> None:
    text = "read every case of a real data set and list those that cannot be used, with the reason"
    exclusions = add_command(commands, "exclusions", _exclusions, text)
    exclusions.add_argument("dataset")
    exclusions.add_argument("--root", type=Path, help="its folder (default: data/cache/DATASET)")


def _exclusions(arguments: argparse.Namespace) -> int:
    from ..core import project
    from . import exclusions

    found = exclusions.write(arguments.dataset, arguments.root or project.cache_root() / arguments.dataset)
    print(found.to_string(index=False) if len(found) else "no case is excluded")
    print(f"table: {exclusions.path(arguments.dataset)}")
    return 0


def _add_split(commands: Commands) -> None:
    split = add_command(commands, "split", _split, "write the split of a real data set, by patient, once and before any result")
    split.add_argument("dataset")
    help_of_test = "share of test patients, or from 1 on their number; 0: tested out of fold"
    split.add_argument("--test", type=float, required=True, metavar="SHARE", help=help_of_test)
    split.add_argument("--by", metavar="ATTRIBUTE", help="attribute of the cases; each of its values gets its share of both parts")
    split.add_argument("--set-aside", nargs="+", default=[], metavar="PATIENT", help="neither trained on nor tested")
    split.add_argument("--never-test", type=Path, metavar="FILE", help="patients that somebody looked at, one a line: only trained on")
    split.add_argument("--root", type=Path, help="its folder (default: data/cache/DATASET)")


def _split(arguments: argparse.Namespace) -> int:
    from ..core import project
    from . import exclusions, splits

    cases = exclusions.usable(arguments.dataset, arguments.root or project.cache_root() / arguments.dataset)
    strata = {case.patient_id: case.attributes.get(arguments.by, "") if arguments.by else "" for case in cases}
    looked_at = splits.read_patients(arguments.never_test) if arguments.never_test else ()
    table = splits.write_splits(arguments.dataset, strata, arguments.test, arguments.set_aside, looked_at)
    print(table.groupby(["split", "fold"], dropna=False).size().to_string())
    return 0


def _add_check(commands: Commands) -> None:
    data = commands.add_parser("data", help="look at data before anything is computed with it")
    of_data = data.add_subparsers(required=True, metavar="command")
    check = add_command(of_data, "check", _check, "report every fault; exit status 1 if there is one")
    check.add_argument("root", type=Path, metavar="DIR", help="folder, or the CSV table of a data set of your own")
    layouts = "whose layout it has, several below a data root (default: folder, your own cases)"
    check.add_argument("--dataset", nargs="+", default=["folder"], help=layouts)
    check.add_argument("--csv", type=Path, help="table to write, one row a case and reader")


def _check(arguments: argparse.Namespace) -> int:
    from ..core import files, outputs
    from . import check

    if arguments.csv:
        outputs.require_file(arguments.csv, [arguments.root] if arguments.root.is_file() else (), outputs.TABLES)
    report = check.check(arguments.dataset, arguments.root)
    print(check.in_words(report))
    if arguments.csv:
        files.write(check.table(report), arguments.csv)
    return 1 if len(report.faults) else 0
