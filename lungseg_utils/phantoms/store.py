"""A folder of phantoms: each patient is written whole or not at all, and drawn again only if the generator changed."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ..core import files, locks
from .fields import Grid

_PARTS = ("fields.py", "anatomy.py", "vessels.py", "lesions.py", "acquisition.py", "cohort.py", "writers.py")
GENERATOR_FILE, FACTS_FOLDER, FACTS_FILE = "generator.json", ".facts", "cases.csv"


def generator_hash() -> str:
    """sha256 over the source files that decide what a patient looks like."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for name in _PARTS:
        digest.update(name.encode())
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def prepare_root(root: Path, grid: Grid) -> None:
    """Record generator and grid in `root`; patients of another generator or grid are removed."""
    wanted = {"generator_sha256": generator_hash(), "shape": list(grid.shape), "spacing_mm": list(grid.spacing_mm)}
    path = root / GENERATOR_FILE
    if path.exists() and json.loads(path.read_text()) == wanted:
        return
    facts = root / FACTS_FOLDER
    if facts.exists():
        shutil.rmtree(facts)
    files.write_text(json.dumps(wanted, indent=1) + "\n", path)


def done(root: Path, patient_id: str) -> bool:
    """True if the patient was finished by the present generator; its facts are written last."""
    return (root / FACTS_FOLDER / f"{patient_id}.json").exists()


def finish(root: Path, patient_id: str, facts: dict[str, str]) -> None:
    """Mark a patient as finished."""
    files.write_text(json.dumps(facts), root / FACTS_FOLDER / f"{patient_id}.json")


def replace_folder(temporary: Path, final: Path) -> None:
    """Move a finished folder in place of what was there."""
    if final.exists():
        shutil.rmtree(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(final)


def write_facts_table(root: Path) -> list[dict[str, str]]:
    """Collect all finished patients into `cases.csv`, sorted by id; returns its rows."""
    rows = [json.loads(p.read_text()) for p in sorted((root / FACTS_FOLDER).glob("*.json"))]
    if rows:
        lines = [",".join(rows[0])] + [",".join(row[c] for c in rows[0]) for row in rows]
        files.write_text("\n".join(lines) + "\n", root / FACTS_FILE)
    return rows


def read_facts_table(root: Path) -> dict[str, dict[str, str]]:
    """Rows of `cases.csv` by patient id."""
    with (root / FACTS_FILE).open(newline="") as handle:
        return {row["patient_id"]: row for row in csv.DictReader(handle)}


def generate_patients(
    root: Path, patient_ids: Sequence[str], grid: Grid, make: Callable[[Path, str, Grid], None], workers: int = 1, progress=None
) -> None:
    """Call `make(root, patient_id, grid)` for every patient that is not finished yet; `progress` wraps the ids (e.g. tqdm)."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with locks.exclusive(root / ".lock", "another process draws phantoms here", locks.WITHOUT_END):
        prepare_root(root, grid)
        _make_missing(root, patient_ids, grid, make, workers, progress)
        write_facts_table(root)


def _make_missing(
    root: Path, patient_ids: Sequence[str], grid: Grid, make: Callable[[Path, str, Grid], None], workers: int, progress
) -> None:
    missing = [p for p in dict.fromkeys(patient_ids) if not done(root, p)]
    if not missing:
        return
    shown: Callable[[Iterable], Iterable] = progress or (lambda items: items)
    if workers > 1 and len(missing) > 1:
        with ProcessPoolExecutor(workers) as pool:
            for future in shown([pool.submit(make, root, p, grid) for p in missing]):
                future.result()
    else:
        for patient_id in shown(missing):
            make(root, patient_id, grid)
