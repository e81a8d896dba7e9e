"""Stamps of what a book is made from: they change with the contents of their files, and only with those of their own group."""

import os
import re
from pathlib import Path

import pytest

from lungseg_utils.book import inputs
from lungseg_utils.core import project
from lungseg_utils.experiments import config

_FILES = [
    *inputs._GRID,
    *inputs._PROSE,
    "lungseg_utils/experiments/run.py",
    "lungseg_utils/viewers/js/slice_viewer.js",
    "book/intro.md",
    "book/_build/old.html",
    "data/splits/a.csv",
    "data/results/tuning.csv",
    "data/results/bench_cpu.csv",
    "data/results/efficiency_cpu.csv",
    "data/results/phantoms/results.csv.gz",
    "data/results/ladder/results.csv.gz",
]


@pytest.fixture
def root(tmp_path, monkeypatch):
    for name in _FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setenv("LUNGSEG_ROOT", str(tmp_path))
    return tmp_path


def _changed(root: Path, path: str, text: str) -> set[str]:
    """Groups whose stamps differ after a change."""
    before = {name: (root / stamp).read_text() for name, stamp in inputs.stamps("phantoms").items()}
    (root / path).write_text(text)
    return {name for name, stamp in inputs.stamps("phantoms").items() if (root / stamp).read_text() != before[name]}


@pytest.mark.parametrize(
    ("path", "groups"),
    [
        ("lungseg_utils/experiments/run.py", {"code"}),
        ("lungseg_utils/viewers/js/slice_viewer.js", {"code"}),
        ("lungseg_utils/book/build.py", {"prose"}),
        ("book/intro.md", {"prose"}),
        ("book/_build/old.html", set()),
        ("experiments.yml", {"grid"}),
        ("data/splits/a.csv", {"grid"}),
        ("data/exclusions.csv", set()),
        ("data/results/tuning.csv", {"tables", "own_tables"}),
        ("data/results/bench_cpu.csv", {"tables"}),
        ("data/results/efficiency_cpu.csv", {"tables"}),
        ("data/results/phantoms/results.csv.gz", {"tables", "own_tables"}),
        ("data/results/ladder/results.csv.gz", {"tables"}),
        ("data/results/ladder/experiments.json", {"tables"}),
    ],
)
def test_a_change_is_seen_by_the_groups_that_it_belongs_to(root, path, groups):
    assert _changed(root, path, "other") == groups


def test_what_was_only_touched_leaves_the_stamps_as_they_are(root):
    stamps = [root / stamp for stamp in inputs.stamps("phantoms").values()]
    before = [stamp.stat().st_mtime_ns for stamp in stamps]
    os.utime(root / "experiments.yml")
    inputs.stamps("phantoms")
    assert [stamp.stat().st_mtime_ns for stamp in stamps] == before


def test_every_file_of_the_project_that_a_page_is_made_from_is_in_a_group():
    groups, root = inputs.files("phantoms"), project.project_root()
    assert root / "lungseg_utils" / "experiments" / "experiments.schema.json" in groups["code"]
    assert {root / "data" / "splits" / "phantom_nsclc.csv", root / "requirements.txt"} < set(groups["grid"])
    assert root / "book" / "intro.md" in groups["prose"]
    assert set(groups["own_tables"]) < set(groups["tables"])


@pytest.mark.parametrize("path", sorted(Path("notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_tables_that_a_page_reads_by_name_are_in_its_group(path):
    group = inputs.group_of_tables(path.stem, config.load().notebooks("phantoms"))
    read = set(re.findall(r'\\"results\\" / \\"([a-z0-9_]+\.csv)', path.read_text()))
    assert read <= {found.name for found in inputs.files("phantoms")[group]}
