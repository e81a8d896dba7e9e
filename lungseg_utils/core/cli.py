"""Helpers for the commands of all folders, and the command `list`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_command(commands: Commands, name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """A new command that calls `function` with its arguments and exits with the status that it returns."""
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(function=function)
    return command


def add_profile_argument(command: argparse.ArgumentParser) -> None:
    """The option `--profile`."""
    command.add_argument("--profile", default="patients", help="size of the benchmark, from experiments.yml (default: %(default)s)")


def add_commands(commands: Commands) -> None:
    """Add the command of this folder."""
    add_command(commands, "list", _list, "list the models, data sets and paradigms")


def _list(_arguments: argparse.Namespace) -> int:
    from .. import registry

    for kind in registry.KINDS:
        print(f"{kind}:")
        for name in registry.names(kind):
            print(f"  {name:<20} {registry.title(kind, name)}")
    return 0
