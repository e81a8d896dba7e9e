"""Errors of the machine end a command with words; those of the program stay what they are."""

import errno
import os
import subprocess
import sys

import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils.core import cli


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/data/ct"), "/data/ct: Permission denied. Give yourself the permission"),
        (OSError(errno.EROFS, "Read-only file system", "/out"), "/out: Read-only file system. Choose a place that may be written"),
        (OSError("no number"), "the system: no number. Check"),
        (MemoryError(), "not enough memory (MemoryError). Give smaller volumes"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 651 GiB"), "not enough memory"),
        (UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range"), "letters that cannot be read or written"),
        (OverflowError("too large"), "a number that is too large (too large). Check"),
    ],
)
def test_a_command_ends_with_words_and_status_2(monkeypatch, capsys, error, words):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "_list", fail)
    assert command_line.main(["list"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert words in shown
    assert "Met in lungseg_utils/__main__.py, line" in shown


@pytest.mark.parametrize("error", [RuntimeError("wrong shape"), KeyError("x"), ValueError("y"), AssertionError()])
def test_an_error_of_the_program_is_not_hidden(monkeypatch, error):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "_list", fail)
    with pytest.raises(type(error)):
        command_line.main(["list"])


def _run(*arguments, **environment):
    given = os.environ | environment
    return subprocess.run([sys.executable, "-m", "lungseg_utils", *arguments], env=given, capture_output=True, text=True, check=False)


def test_a_terminal_that_knows_no_umlauts_is_told_their_codes(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = _run("data", "check", str(tmp_path / "Jürg"), **plain)
    assert "Traceback" not in done.stderr
    assert "\\xfc" in done.stdout + done.stderr or "\\udc" in done.stdout + done.stderr
    done = _run("data", "check", str(tmp_path), "--csv", str(tmp_path / "Jürg.csv"), **plain)
    assert "Traceback" not in done.stderr


def test_who_has_read_enough_is_no_error(tmp_path):
    done = subprocess.run(["bash", "-c", f"'{sys.executable}' -m lungseg_utils list | true"], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
