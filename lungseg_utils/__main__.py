"""Command line: `python -m lungseg_utils COMMAND`. Each folder adds its own commands in its cli.py."""

from __future__ import annotations

import argparse
import io
import os
import sys

from .book import cli as book
from .core import cli as core
from .core import system_errors
from .data import cli as data
from .experiments import cli as experiments
from .reporting import cli as reporting
from .types import InputError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lungseg_utils", description="Benchmark of lung-tumor segmentation on CT.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for folder in (core, data, experiments, reporting, book):
        folder.add_commands(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; bad input, and what the machine refuses, end with a message and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know the letters of a file's name
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.function(parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
    except BrokenPipeError:  # who reads the output, e.g. head, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if not system_errors.is_of_the_machine(error):
            raise
        print(f"error: {system_errors.in_words(error)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
