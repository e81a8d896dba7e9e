"""Containers, Binder and Codespaces: one pinned image and one list of packages, an ordinary user, and commands that exist."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from lungseg_utils.core import project

ROOT = project.project_root()
DOCKERFILE, APPTAINER = ((ROOT / name).read_text() for name in ("Dockerfile", "apptainer.def"))
DEVCONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE))


def made(text: str) -> set[str]:
    """Targets of `make` that a text calls."""
    return set(re.findall(r'make"?,? "?([a-z]+)\b', text))


def instructions(name: str) -> list[str]:
    """Arguments of an instruction of the Dockerfile, in order."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, flags=re.MULTILINE)


def packages(text: str) -> list[str]:
    """What a recipe installs by apt."""
    return re.search(r"--no-install-recommends (.*?)(?: *\\)?$", text, flags=re.MULTILINE).group(1).split()


def test_the_linter_takes_the_dockerfile_and_refuses_a_worse_one():
    linter = Path(sys.executable).parent / "hadolint"
    assert subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, check=False).returncode == 0
    worse = subprocess.run([linter, "-"], input=DOCKERFILE.replace("--yes", ""), capture_output=True, text=True, check=False)
    assert worse.returncode == 1
    assert "DL3014" in worse.stdout


def test_both_recipes_start_from_one_image_of_the_right_python_and_install_the_same():
    digests = [re.search(r"python\S*@(sha256:[0-9a-f]{64})", text).group(1) for text in (DOCKERFILE, APPTAINER)]
    assert digests[0] == digests[1]
    tag = re.match(r"python:(\d+\.\d+)-slim", instructions("FROM")[0]).group(1)
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].startswith(f">={tag},")
    assert packages(DOCKERFILE) == packages(APPTAINER) == ["chromium", "git", "make"]


def test_the_image_works_as_an_ordinary_user_and_runs_the_commands_of_the_readme():
    uid = re.search(r"useradd .*--uid (\d+) ", DOCKERFILE).group(1)
    assert instructions("USER") == [uid]
    assert DOCKERFILE.index("USER") < DOCKERFILE.index("COPY") < DOCKERFILE.index("make setup")
    assert json.loads(instructions("CMD")[0]) == ["make", "book"]
    assert {"book", "test", "setup"} <= made(DOCKERFILE) <= TARGETS
    assert APPTAINER.rstrip().endswith('exec make "$@"')
    assert set(re.findall(r"apptainer run lungseg.sif (\w+)", APPTAINER)) == {"book", "test"}


def test_what_git_ignores_does_not_enter_the_image():
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert ignored == {line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().splitlines()[1:]}


def test_codespaces_build_a_stage_that_exists_as_a_user_that_exists_and_forward_ports_that_are_served():
    folder = ROOT / ".devcontainer"
    assert (folder / DEVCONTAINER["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (folder / DEVCONTAINER["build"]["context"]).resolve() == ROOT
    assert f"AS {DEVCONTAINER['build']['target']}\n" in DOCKERFILE
    assert re.search(rf"useradd .* {DEVCONTAINER['remoteUser']} ", DOCKERFILE)
    commands = [DEVCONTAINER["postCreateCommand"], *(port["label"] for port in DEVCONTAINER["portsAttributes"].values())]
    assert set.union(*map(made, commands)) == {"setup", "serve", "lab"}
    assert {"setup", "serve", "lab"} <= TARGETS
    assert [str(port) for port in DEVCONTAINER["forwardPorts"]] == list(DEVCONTAINER["portsAttributes"])
    assert f"PORT    ?= {DEVCONTAINER['forwardPorts'][0]}\n" in MAKEFILE


def test_binder_gets_the_interpreter_of_the_conda_users_and_makes_the_same_environment():
    ours, conda = (yaml.safe_load((ROOT / path).read_text()) for path in (".binder/environment.yml", "environment.yml"))
    assert (ours["channels"], ours["dependencies"]) == (conda["channels"], conda["dependencies"])
    assert made((ROOT / ".binder" / "postBuild").read_text()) == {"setup"}


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_the_scripts_of_binder_can_be_executed(name):
    path = ROOT / ".binder" / name
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


def test_binder_starts_its_server_from_the_projects_environment(tmp_path):
    server = tmp_path / ".venv" / "bin" / "jupyter-lab"
    server.parent.mkdir(parents=True)
    server.write_text('#!/bin/sh\necho "ours $*"\n')
    server.chmod(0o755)
    started = subprocess.run(
        [ROOT / ".binder" / "start", "jupyter-lab", "--ip=0.0.0.0"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert started.stdout == "ours --ip=0.0.0.0\n"
