"""Start Snakemake, which turns the grid of experiments into a book, and gather what a book says of its edition."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .. import registry
from ..core import files, locks, project, provenance
from ..data import collections, samples
from ..experiments import analysis_plan, config, planning
from ..experiments.evidence import QUICK_ON_PATIENTS, QUICK_ON_PHANTOMS
from ..experiments.grid import real_datasets, trained
from ..reporting import prompts
from ..types import InputError
from . import build

WITHOUT_DOWNLOAD = "phantoms"
ON_PATIENTS, ON_PHANTOMS = QUICK_ON_PATIENTS, QUICK_ON_PHANTOMS
# Jobs run side by side, one thread each: small networks gain little from a second thread, numpy's small products lose by it (threads
# of its BLAS wait for each other), and sums do not depend on how many cores a machine has.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_workflow(profile: str, cores: int, public: bool = False, targets: tuple[str, ...] = (), cluster: Path | None = None) -> int:
    """Bring everything of a profile up to date; returns Snakemake's exit status. A second workflow at once is refused.

    `cluster`: folder with a `config.yaml` that says how Snakemake submits jobs, e.g. cluster/slurm, in the place of `cores` here.
    """
    root = project.project_root()
    config.load().profile(profile)
    if not targets:
        _require_front_page(profile)
    started = time.time()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "--nolock"]
    command += ["--profile", str(cluster)] if cluster else ["--cores", str(cores)]
    if not targets:  # the longest jobs first, else one of them ends alone on its core; what is named here is made, too
        command += ["--prioritize", *(f"build/{profile}/notebooks/{name}.ipynb" for name in trained(profile))]
    command += [
        "--rerun-incomplete",
        "--quiet",
        "all",
        "--config",
        f"profile={profile}",
        f"public={public}",
        f"cluster={bool(cluster)}",
        "--",
        *targets,
    ]
    with locks.exclusive(root / "build" / ".workflow.lock", "another workflow is running in this folder"):
        bring_patients(profile)
        if not targets:
            build.vendor(root)  # first: the book is built last, perhaps where there is no network
        files.remove_leftovers(root / "build" / profile)
        embeddings = _kept_embeddings(profile)
        status = subprocess.run(command, cwd=root, env=embeddings | os.environ | _ONE_THREAD, check=False).returncode
        if status == 0 and _embeddings_folder(profile).exists():
            shutil.rmtree(_embeddings_folder(profile))
    _report(root, profile, started, status)
    return status


def _kept_embeddings(profile: str) -> dict[str, str]:
    """Environment variables that name the folder of image embeddings and its size, if the profile keeps any."""
    limit_gb = config.load().profile(profile).kept_embeddings_gb
    if not limit_gb:
        return {}
    from ..networks.embedding_cache import FOLDER_VARIABLE, LIMIT_VARIABLE  # imports torch

    return {FOLDER_VARIABLE: str(_embeddings_folder(profile)), LIMIT_VARIABLE: str(limit_gb)}


def _embeddings_folder(profile: str) -> Path:
    return project.project_root() / "build" / profile / "embeddings"


def bring_patients(profile: str) -> None:
    """Fetch the real data sets that a profile cannot do without, if they are small; license and size are printed first.

    InputError if they cannot be had, before any work.
    """
    for name in _patients_to_bring(profile):
        try:
            samples.fetch(name, project.cache_root(), yes=True)
        except InputError as fault:
            remedy = f"{fault.remedy} A profile that needs no download: make book PROFILE={WITHOUT_DOWNLOAD}."
            raise InputError(fault.where, fault.problem, remedy) from fault


def _patients_to_bring(profile: str) -> list[str]:
    grid = config.load()
    tested = {name for line in grid.lines(profile) for name in grid.test_datasets(line.notebook, profile)}
    small = set(samples.names()) - set(collections.collections())  # of the others the registry lists samples, and the whole is large
    return sorted({registry.whole(name) for name in grid.trained_on(profile) | tested} & small)


def quick_profile() -> str:
    """The profile of `make quick`: a few real patients where their files are here or in LUNGSEG_MIRROR, else coarse phantoms."""
    lacking = [name for name in _patients_to_bring(ON_PATIENTS) if not samples.without_network(name, project.cache_root())]
    return ON_PHANTOMS if lacking else ON_PATIENTS


def _require_front_page(profile: str) -> None:
    lacking = {*prompts.FRONT_PAGE, analysis_plan.load().automatic_control} - {*config.load().notebooks(profile)}
    if lacking:
        problem = f"its book's first page speaks of {', '.join(sorted(lacking))}, which it does not run"
        advice = f"Add them to its experiments, or make its tables alone: run all --profile {profile}."
        raise InputError(f"profile {profile}", problem, advice)


def _report(root: Path, profile: str, started: float, status: int) -> None:
    stages = sorted((root / "build" / profile / "seconds").rglob("*.tsv"), key=lambda p: p.stat().st_mtime)
    done = [(p.stem, float(p.read_text().splitlines()[1].split("\t")[0])) for p in stages if p.stat().st_mtime >= started]
    print()
    for stage, seconds in done:
        print(f"  {stage:<32} {seconds:8.1f} s")
    print(f"  {'all':<32} {time.time() - started:8.1f} s" + ("" if done else "   (nothing had changed)"))
    if status == 0:
        print(f"\nThe book: {root / 'build' / profile / 'html' / 'index.html'}")
        print(f"or: make serve PROFILE={profile}, then http://localhost:8000")
    else:
        print("\nIt did not finish; what was done is kept, and the same command goes on from there.", file=sys.stderr)


def has_further_runs(profile: str) -> bool:
    """Whether a profile plans more of a notebook than its page runs: the first run of its method, and variants."""
    variants = config.load().profile(profile).variants
    return any(
        len(planning.planned_runs(line.notebook, profile)) > 1 + len(variants.get(line.notebook, ()))
        for line in config.load().lines(profile)
    )


def experiment_title(notebook: str, profile: str) -> str:
    """The title of the page of an experiment, which its notebook shares with others; "" for a notebook with a title of its own."""
    if notebook not in config.load().experiments:
        return ""
    from ..reporting import experiment_page  # brings scipy's statistics, which every start of the workflow would wait for

    return experiment_page.page_title(notebook, profile)


def edition_words(profile: str) -> dict[str, str]:
    """What prose pages say of an edition's evidence, by name of the substitution."""
    from ..reporting import wording  # brings scipy's statistics, which every start of the workflow would wait for

    return wording.words(profile) | {"evidence": wording.statement(profile), "published_models": wording.published(profile)}


def write_build_info(profile: str, public: bool, path: Path) -> None:
    """Profile, commit, and what the book was built from, for the foot of its pages."""
    size = config.load().profile(profile)
    here = real_datasets(profile)
    info = {
        "profile": profile,
        "profile_summary": size.summary,
        "commit": provenance.commit(project.project_root()),
        "public": public,
        "means_nothing": profile in (ON_PATIENTS, ON_PHANTOMS),
        "real_data": [registry.card("datasets", name).label for name in here],
        "real_data_missing": [registry.card("datasets", name).label for name in size.real_datasets if name not in here],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "words": edition_words(profile),
        "phantom_datasets": [n for n in registry.names("datasets") if registry.card("datasets", n).phantom],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(info, indent=2) + "\n")
