"""Listings of cases that name every fault, not the first one alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..types import Case, InputError


class ListingError(InputError):
    """A listing with faults: all of them in `faults`, and in `cases` what could be listed nevertheless."""

    def __init__(self, where: object, faults: Sequence[InputError], cases: Sequence[Case] = ()):
        self.faults, self.cases = tuple(faults), tuple(cases)
        if len(faults) == 1:
            super().__init__(faults[0].where, faults[0].problem, faults[0].remedy)
        else:
            told = "".join(f"\n  {fault}" for fault in faults)
            super().__init__(where, f"{len(faults)} faults in it:{told}\n", "Mend them all; `data check` lists them, too.")

    def __reduce__(self) -> tuple[type[ListingError], tuple[str, tuple[InputError, ...], tuple[Case, ...]]]:
        return ListingError, (self.where, self.faults, self.cases)


@contextmanager
def collecting(faults: list[InputError]) -> Iterator[None]:
    """Add an `InputError` of the block to `faults`, and go on after it."""
    try:
        yield
    except InputError as fault:
        faults.append(fault)


def complete(where: object, cases: Sequence[Case], faults: Sequence[InputError]) -> list[Case]:
    """The cases if there is no fault; else `ListingError`, so that nothing is computed with a part of a data set."""
    if faults:
        raise ListingError(where, faults, cases)
    return list(cases)
