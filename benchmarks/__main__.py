"""Run the benchmark, print one table, and write it with its provenance."""

from __future__ import annotations

import argparse
import sys
import time
from importlib import metadata
from pathlib import Path

import pandas as pd

from lungseg_utils.core import files, project, provenance
from lungseg_utils.core.measure import cores, device_name
from lungseg_utils.reporting import speed
from lungseg_utils.types import InputError

from . import measure, row

_VERSIONS = ("torch", "numpy")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 1 if a row failed, 2 for a wrong call."""
    asked = _parser().parse_args(arguments)
    out = asked.out or project.project_root() / "data" / "results" / f"bench_{asked.device}.csv"
    try:
        chosen = choose(asked.only, asked.device, asked.full)
        failed = run(chosen, row.Setting(asked.device, asked.full), asked.threads or cores(), asked.pairs, out)
        if out.is_file():
            print(speed.printable(speed.read(out)).to_string(index=False))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if failed else 0


def choose(only: list[str], device: str, full: bool) -> list[str]:
    """Rows of these names; without names those of the device, long ones in a full run only."""
    cards = {name: row.load(name) for name in only or row.known()}
    return [name for name, card in cards.items() if card.device == device and (only or full or not card.overnight)]


def run(names: list[str], setting: row.Setting, threads: int, pairs: int | None, out: Path) -> list[str]:
    """Measure the rows one after the other and write `out` after each; returns the names of those that failed."""
    frame = speed.read(out) if out.is_file() else pd.DataFrame(columns=list(speed.COLUMNS)).astype(dict(speed.COLUMNS))
    shared = {"device": device_name(setting.device), "threads": threads, "versions": _versions()}
    shared["commit"] = provenance.commit(project.project_root(), besides=out)
    failed = []
    for name in names:
        start = time.perf_counter()
        try:
            figures = measure.apart(name, setting, threads, pairs)
        except InputError as error:
            failed.append(name)
            print(error, file=sys.stderr, flush=True)
            continue
        new = pd.DataFrame([figures | shared], columns=list(speed.COLUMNS)).astype(dict(speed.COLUMNS))
        frame = speed.validate(speed.merged(frame, new), out)
        files.write(frame, out, digits=6)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return failed


def _versions() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in _VERSIONS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help=f"rows to run: {', '.join(row.known())}")
    parser.add_argument("--full", action="store_true", help="the long rows too, and larger work")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--pairs", type=int, help="timed pairs of each row (default: the row's own number)")
    parser.add_argument("--threads", type=int, default=0, help="threads of the processor (default: all cores)")
    parser.add_argument("--out", type=Path, help="table to write (default: data/results/bench_DEVICE.csv)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
