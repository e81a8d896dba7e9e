"""Words for errors of the machine, which no check of an input can foresee."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

_REMEDIES = {
    errno.EACCES: "Give yourself the permission, or choose another place",
    errno.EPERM: "Give yourself the permission, or choose another place",
    errno.EROFS: "Choose a place that may be written",
    errno.ENOSPC: "Free some space and run it again",
    errno.EDQUOT: "Free some space and run it again",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.ENOENT: "Check the path",
    errno.ELOOP: "Remove the link that leads to itself",
    errno.EMFILE: "Raise the limit of open files: ulimit -n 4096",
}
_NO_MEMORY = ("can't allocate memory", "out of memory")  # how torch says it


def is_of_the_machine(error: BaseException) -> bool:
    """Whether an error is one of files, memory, letters or sizes of numbers, and not of this program's steps."""
    return isinstance(error, OSError | UnicodeError | OverflowError) or _lacks_memory(error)


def _lacks_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _NO_MEMORY))


def in_words(error: BaseException) -> str:
    """What happened, where, and what to do, as an `InputError` says it; with the line of code that met it."""
    if _lacks_memory(error):
        what, remedy = f"not enough memory ({_first_line(error)})", "Give smaller volumes or fewer --workers, or free some memory"
    elif isinstance(error, UnicodeError):
        what, remedy = f"letters that cannot be read or written ({error})", "Set the variable LC_ALL to C.UTF-8, or choose other names"
    elif isinstance(error, OverflowError):
        what, remedy = f"a number that is too large ({error})", "Check the sizes in the files and the numbers of the options"
    else:
        place = getattr(error, "filename", None) or "the system"
        what = f"{place}: {getattr(error, 'strerror', None) or error}"
        remedy = _REMEDIES.get(getattr(error, "errno", None) or 0, "Check that the place exists and may be used")
    return f"{what}. {remedy}. (Met in {_line(error)}.)"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _line(error: BaseException) -> str:
    """File and line of this package's innermost step."""
    package = Path(__file__).parents[1]
    steps = [step for step in traceback.extract_tb(error.__traceback__) if Path(step.filename).is_relative_to(package)]
    return f"{Path(steps[-1].filename).relative_to(package.parent)}, line {steps[-1].lineno}" if steps else "another package"
