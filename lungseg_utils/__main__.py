"""Command line: `python -m lungseg_utils COMMAND`. Each folder adds its own commands in its cli.py."""

from __future__ import annotations

import argparse
import sys

from .book import cli as book
from .core import cli as core
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
    """Run one command; bad input ends with its message and exit status 2."""
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.function(parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
