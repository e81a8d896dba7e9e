"""What publishes the project: workflows that call commands that exist, and one set of facts in all places that are cited."""

import argparse
import re
import subprocess
import tomllib

import pytest
import yaml

from lungseg_utils.book import inputs
from lungseg_utils.core import cli as core_cli
from lungseg_utils.core import project
from lungseg_utils.experiments import config

ROOT = project.project_root()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
PAGE = (ROOT / "book" / "reference.md").read_text()


def _jobs(path):
    return yaml.safe_load(path.read_text())["jobs"].values()


def _steps(path):
    return [step for job in _jobs(path) for step in job["steps"]]


def test_the_two_workflows_are_there():
    assert [path.name for path in WORKFLOWS] == ["book.yml", "test.yml"]
    assert {"book", "test", "quick"} <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_commands_of_the_makefile_only(path):
    commands = [line for step in _steps(path) for line in step.get("run", "").splitlines()]
    assert commands
    for command in commands:
        words = command.split()
        assert words[0] == "make", command
        assert words[1] in TARGETS, command
        assert all(re.fullmatch(r"[A-Z]+=\w+", word) and word.split("=")[0] in (ROOT / "Makefile").read_text() for word in words[2:]), (
            command
        )
        assert f"make {words[1]}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_bounded_pinned_and_may_do_little(path):
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    for job in _jobs(path):
        assert job["timeout-minutes"] <= 180
        assert set(job.get("permissions", {})) <= {"pages", "id-token"}
        assert "latest" not in job["runs-on"]
    for line in re.findall(r"uses: .*", path.read_text()):
        assert re.fullmatch(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line), line


def test_every_package_that_is_installed_has_an_exact_version():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    for line in lines:
        assert re.fullmatch(r'[\w.-]+==[\w.]+( ; sys_platform == "\w+")?', line), line
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].values()
    installed = re.findall(r"pip install.* ([\w.-]+[=<>][^ ]*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert [line.split("==")[0] for line in installed] == ["pip-audit"]
    for line in [*installed, *(package for extra in extras for package in extra)]:
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_an_audit_that_could_not_look_a_package_up_is_no_pass():
    planned = subprocess.run(["make", "--dry-run", "audit"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "pip-audit --strict --requirement requirements.txt" in planned


def test_the_book_that_is_published_is_the_default_profiles_and_public():
    steps = _steps(ROOT / ".github" / "workflows" / "book.yml")
    assert "make book PUBLIC=1" in [step.get("run") for step in steps]
    profile = re.search(r"^PROFILE \?= (\w+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE).group(1)
    assert f"build/{profile}/html" in [step.get("with", {}).get("path") for step in steps]


def test_a_citation_says_what_an_archive_of_a_release_needs():
    assert {"abstract", "keywords", "license", "version"} <= set(CITATION)
    assert "phantom results" in " ".join(CITATION["abstract"].split())
    assert not (ROOT / ".zenodo.json").exists()  # Zenodo would read it instead
    assert "doi" not in CITATION


def test_the_page_says_what_the_citation_says():
    for fact in (
        CITATION["title"],
        CITATION["version"],
        CITATION["license"],
        CITATION["authors"][0]["name"],
        CITATION["references"][0]["doi"],
    ):
        assert fact in PAGE, fact
    plain = re.sub(r"[{}]|\\'", "", PAGE).replace("Aylln", "Ayllón").replace("Aylloń", "Ayllón")
    assert CITATION["references"][0]["title"] in plain
    for author in CITATION["references"][0]["authors"]:
        assert author["given-names"] in plain
    assert (ROOT / "pyproject.toml").read_text().count(f'version = "{CITATION["version"]}"') == 1


def _pages():
    return [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]


def test_every_command_that_a_page_names_exists():
    from lungseg_utils import __main__

    known = next(action.choices for action in __main__._parser()._actions if action.choices)
    text = "\n".join(path.read_text(encoding="utf-8") for path in _pages())
    named = set(re.findall(r"-m lungseg_utils (?!--)([a-z-]+)", text))
    assert {"run", "report", "export"} <= named <= set(known)
    made = set(re.findall(r"(?:^|`)make ([a-z]+)\b", text, flags=re.MULTILINE))
    assert {"book", "test", "data"} <= made <= TARGETS


def test_the_page_on_running_it_lists_every_profile_and_the_patients_of_the_default_one():
    text = (ROOT / "book" / "run_it.md").read_text()
    table = text.partition("## Profiles")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(config.load().profiles)
    size = config.load().profile("phantoms").phantoms
    numbers = (
        f"{size.train} for training, {size.validation} for validation, {size.test} for test in each cohort, {size.tumor_free} tumor-free"
    )
    assert numbers in text
    counts = config.load().profile("patients").patients
    assert f"{counts.test} test patients of LIDC nodules" in table


def test_what_make_book_takes_without_a_profile_is_also_the_default_of_commands_and_notebooks():
    profile = re.search(r"^PROFILE \?= (\w+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE).group(1)
    assert config.load().trained_on(profile) == {"lidc_nodules"}
    assert f'config.get("profile", "{profile}")' in (ROOT / "Snakefile").read_text()
    for line in config.load().experiments.values():
        assert f'profile: str = \\"{profile}\\"' in inputs.notebook(line.notebook).read_text()
    command = argparse.ArgumentParser()
    core_cli.add_profile_argument(command)
    assert command.parse_args([]).profile == profile
