"""Read tables that people write with spreadsheet programs: the one place that decides what a cell of them is."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..types import InputError


@dataclass(frozen=True)
class TableRow:
    """Cells by column, without blanks at their ends. `where`: the table and the line, for messages."""

    where: str
    cells: dict[str, str]


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte-order mark; `InputError` for another encoding."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = "it cannot be read as UTF-8"
        raise InputError(path, problem, "Save it in UTF-8; spreadsheet programs call that CSV UTF-8.") from error
    except OSError as error:
        raise InputError(path, f"it cannot be read ({error.strerror})", "Check the path and its permissions.") from error


def read_rows(path: Path, columns: Sequence[str]) -> list[TableRow]:
    """The rows of a CSV table that has at least these columns; rows without any text are passed over.

    Raises:
        InputError: if the file is not UTF-8, lacks a column, names one twice, or has a row of more cells than columns.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}", f"it is no CSV ({error})", "Save the table again, as CSV in UTF-8.") from error
    filled = [(number, cells) for number, cells in lines if any(cells)]
    head = filled[0][1] if filled else []
    lacking = [column for column in columns if column not in head]
    if lacking:
        problem = f"its columns are {head}: the column {', '.join(lacking)} is missing"
        raise InputError(path, problem, f"Give the columns {', '.join(columns)}, with commas between.")
    if doubled := sorted({name for name in head if name and head.count(name) > 1}):
        raise InputError(path, f"the column {doubled[0]} stands there twice", "Remove one of the two.")
    return [_row(f"{path}, line {number}", head, cells) for number, cells in filled[1:]]


def _row(where: str, head: Sequence[str], cells: list[str]) -> TableRow:
    if any(cells[len(head) :]):
        raise InputError(where, f"{len(cells)} cells in {len(head)} columns", "Put quotes around a cell that holds a comma.")
    cells = (cells + [""] * len(head))[: len(head)]
    return TableRow(where, {name: cell for name, cell in zip(head, cells, strict=True) if name})


def resolve_path(cell: str, folder: Path, where: object) -> Path:
    """The existing file or folder that a cell names; relative paths start at `folder`."""
    try:
        path = folder / Path(cell).expanduser()
        there = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a home of nobody, a character that no path has
        reason = getattr(error, "strerror", None) or error
        raise InputError(where, f"{_shortened(cell)!r} is no path ({reason})", "Give a path that exists.") from error
    if not there:
        raise InputError(where, f"{_shortened(str(path))} does not exist", "Paths are absolute, or start at the folder of the table.")
    return path


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:100]}...{text[-50:]}"
