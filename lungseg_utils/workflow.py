"""`make book` and `make quick`: Snakemake under a lock of our own, with the time of each stage.

Snakemake's own lock stays behind after a kill and blocks the next run; a file lock ends with its process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import book, cohorts, config, fetch, initial_weights, io, locks, plan, registry, run, stored, tables
from .prompts.ladder import PROMPTERS
from .stand_ins import RANDOM
from .types import Experiment, InputError


@dataclass(frozen=True)
class Page:
    """A page of results: its notebook, the profile whose results it shows, and its title where that is not the notebook's own."""

    notebook: str
    profile: str
    title: str = ""


# questions that take more patients, runs or prompts than fit into `make book`: shown from stored tables
LARGER_PAGES: Mapping[str, Page] = {
    "ladder_whole": Page("ladder", "ladder", "The whole prompt ladder"),
    "comparisons_larger": Page("comparisons", "ladder", "Planned comparisons, on more patients"),
    "robustness": Page("robustness", "robustness"),
    "few_shot": Page("few_shot", "few_shot"),
    "seeds": Page("seeds", "seeds"),
    "selection": Page("selection", "selection"),
    "loss_ablation": Page("loss_ablation", "losses"),
    "gpu": Page("gpu", "standard"),
}

# Jobs run side by side, one thread each: small networks gain little from a second thread, numpy's small products lose by it (threads
# of its BLAS wait for each other), and sums do not depend on how many cores a machine has.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_workflow(profile: str, cores: int, public: bool = False, targets: tuple[str, ...] = (), cluster: Path | None = None) -> int:
    """Bring everything of a profile up to date; returns Snakemake's exit status. A second workflow at once is refused.

    `cluster`: folder with a `config.yaml` that says how Snakemake submits jobs, e.g. profiles/slurm, in the place of `cores` here.
    """
    root = config.project_root()
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
        if not targets:
            book.vendor(root)  # first: the book is built last, perhaps where there is no network
        io.remove_leftovers(root / "build" / profile)
        status = subprocess.run(command, cwd=root, env=os.environ | _ONE_THREAD, check=False).returncode
    _report(root, profile, started, status)
    return status


def _require_front_page(profile: str) -> None:
    lacking = {*config.FRONT_PAGE, plan.load().automatic_control} - {*config.load().notebooks(profile)}
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


def real_datasets(profile: str) -> list[str]:
    """Real data sets of the profile whose files are here."""
    return list(cohorts.available_real_datasets(config.load().profile(profile), fetch.is_here))


def phantom_datasets(profile: str) -> list[str]:
    """Phantom data sets that the profile's experiments are trained or tested on."""
    grid = config.load()
    used = grid.trained_on(profile) | {name for line in grid.lines(profile) for name in grid.test_datasets(line.notebook, profile)}
    return sorted(name for name in used if registry.card("datasets", name).phantom)


def datasets_to_test(notebook: str, profile: str) -> list[str]:
    """What a notebook is tested on: the data sets of its line that the profile asks for, and the real ones that are here."""
    return [*config.load().test_datasets(notebook, profile), *real_datasets(profile)]


def run_experiment(notebook: str, profile: str, seed: int = 0, fold: int = 0, k: int = 0, draw: int = 0) -> run.RunResult:
    """Run a line of the grid on everything that it is tested on, or read what is there: the one call of a notebook."""
    return _run(notebook, run.plan(notebook, profile, seed, fold, k, draw))


def run_planned(notebook: str, profile: str) -> list[run.RunResult]:
    """The same for all experiments that the profile plans for the notebook: its own first, then controls and other variants."""
    return [_run(notebook, experiment) for experiment in run.planned(notebook, profile)]


def run_all(profile: str, missing: bool = False) -> Iterator[run.RunResult]:
    """Every experiment that a profile plans, without notebooks and book; with `missing` only those that are not stored yet.

    First runs come before second ones, so that an early end leaves all methods with equally many. What is stored has no weights: a
    detector that a missing experiment needs is trained, and so run, with it.
    """
    planned = [(line.notebook, e) for line in config.load().lines(profile) for e in run.planned(line.notebook, profile)]
    ordered = dict.fromkeys(sorted(planned, key=lambda line: (line[1].seed, line[1].fold, line[1].draw)))
    lacking = [line for line in ordered if not (missing and stored.holds(profile, line[1].name))]
    wanted = {e.name for _, e in lacking} | {before for line in lacking for before in _detectors_of(*line)}
    return (_run(notebook, e) for notebook, e in ordered if e.name in wanted)


def run_by_name(name: str, profile: str) -> run.RunResult:
    """Run one planned experiment by its full name: a job of its own on a cluster."""
    notebook, experiment = planned_run(name, profile)
    return _run(notebook, experiment)


def run_names(notebook: str, profile: str) -> list[str]:
    """Full names of all experiments that a profile plans for a notebook."""
    return [experiment.name for experiment in run.planned(notebook, profile)]


def has_further_runs(profile: str) -> bool:
    """Whether a profile plans more of a notebook than its page runs: the first run of its method, and variants."""
    variants = config.load().profile(profile).variants
    return any(len(run.planned(line.notebook, profile)) > 1 + len(variants.get(line.notebook, ())) for line in config.load().lines(profile))


def runs_before(name: str, profile: str) -> list[str]:
    """Full names of the experiments whose weights another one needs: its detectors', if the profile asks for boxes of a detector."""
    return _detectors_of(*planned_run(name, profile))


def _detectors_of(notebook: str, experiment: Experiment) -> list[str]:
    found = run.detectors_of(experiment, datasets_to_test(notebook, experiment.profile), rungs(experiment))
    return sorted({other.name for other in found.values()} - {experiment.name})


def stand_ins_before(name: str, profile: str) -> list[str]:
    """The stand-in whose pretraining an experiment starts from, if it starts from one."""
    _, experiment = planned_run(name, profile)
    return [first] if (first := _stand_in(experiment)) else []


def planned_run(name: str, profile: str) -> tuple[str, Experiment]:
    """The notebook and the experiment of a full name; InputError if the profile does not plan it."""
    for line in config.load().lines(profile):
        for experiment in run.planned(line.notebook, profile) if name.startswith(f"{profile}__{_kind(line, profile)}__") else ():
            if experiment.name == name:
                return line.notebook, experiment
    raise InputError(name, f"not an experiment that profile {profile} plans", f"Notebooks: {', '.join(config.load().experiments)}.")


def _kind(line: config.PlannedNotebook, profile: str) -> str:
    """How the names of a line's experiments begin, after the profile: the model, or its stand-in, and the paradigm."""
    stand_in = config.load().profile(profile).stand_ins.get(line.model)
    return f"{stand_in.model if stand_in else line.model}__{line.paradigm}"


def _run(notebook: str, experiment: Experiment) -> run.RunResult:
    return run.run(experiment, datasets_to_test(notebook, experiment.profile), rungs(experiment))


def rungs(experiment: Experiment) -> list[str]:
    """What the profile asks of an experiment. Two notebooks whose models share a stand-in share its answers, so it is asked for both."""
    profile, kind = experiment.profile, f"{experiment.model}__{experiment.paradigm}"
    alike = [line for line in config.load().lines(profile) if _kind(line, profile) == kind]
    lines = [line for line in alike if experiment in run.planned(line.notebook, profile)]
    wanted = {name for line in lines for name in line.prompters} & set(config.load().profile(profile).prompters)
    return [name for name in PROMPTERS if name in wanted]


def detectors(profile: str) -> list[str]:
    """Notebooks whose weights give others the boxes of a detector, in the order of experiments.yml; none if the profile asks for none."""
    grid = config.load()
    if not any(PROMPTERS[name].from_detector for name in grid.profile(profile).prompters):
        return []
    return [line.notebook for line in grid.lines(profile) if line.notebook in grid.detectors.values()]


def automatic(profile: str) -> list[str]:
    """Notebooks of models that answer without a prompt, and learn to."""
    cards = {line.notebook: registry.card("models", line.model) for line in config.load().lines(profile)}
    return [name for name, card in cards.items() if card.learns and "none" in card.prompters]


def trained(profile: str) -> list[str]:
    """Notebooks whose models are trained on patients, which takes longest."""
    lines = config.load().lines(profile)
    return [line.notebook for line in lines if registry.card("paradigms", line.paradigm).uses_target_labels]


def stand_ins(profile: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Name -> (model, options) of every stand-in that the profile's experiments start from, each once."""
    size, found = config.load().profile(profile), {}
    for experiment in run.all_planned(profile):
        if name := _stand_in(experiment):
            found.setdefault(name, (experiment.model, config.resolve_options(experiment, size)))
    return found


def _stand_in(experiment: Experiment) -> str:
    pretraining = config.resolve_options(experiment, config.load().profile(experiment.profile)).get("pretraining", RANDOM)
    return "" if pretraining == RANDOM else f"{experiment.model}__{pretraining}"


def page(name: str, profile: str) -> Page:
    """What the page `name` of a profile's book is made from: of `profile` itself, unless only a larger one can answer its question."""
    size = config.load().profile(profile)
    own = {"robustness": bool(size.jitter.shares), "few_shot": len(size.draws) > 1, "seeds": len(size.seeds) * len(size.folds) > 1}
    larger = LARGER_PAGES.get(name)
    return larger if larger and not own.get(name) else Page(larger.notebook if larger else name, profile)


def pretrain(name: str, profile: str) -> None:
    """Make the first weights of a stand-in, if they are not there yet."""
    known = stand_ins(profile)
    if name not in known:
        raise InputError(name, f"no stand-in of profile {profile}", f"Choose one of {', '.join(known)}.")
    initial_weights.initial_weights(*known[name])


def export(profile: str) -> list[Path]:
    """Store a profile's experiments that were run here with the project, small enough to be committed; returns their folders.

    Those of the profile that are stored already and were not run here stay as they are: a long profile may grow over several runs.
    """
    own = config.project_root() / "results"
    finished = [result for result in run.results_at_hand(profile) if result.folder.is_relative_to(own)]
    if not finished:
        raise InputError(f"profile {profile}", "none of its experiments was run here", f"Run them first: run all --profile {profile}.")
    for r in finished:
        stored.write(profile, r.experiment.name, r.results, r.costs, r.history, r.provenance)
    return [stored.folder(profile, r.experiment.name) for r in finished]


def edition_words(profile: str) -> dict[str, str]:
    """What prose pages say of an edition's evidence, by name of the substitution."""
    from . import evidence  # brings scipy's statistics, which every start of the workflow would wait for

    stand_ins_ran = bool(config.load().profile(profile).stand_ins)
    published = "none has been run in this edition" if stand_ins_ran else "in this edition they have been run, each by its authors' files"
    return evidence.words(profile) | {"evidence": evidence.statement(profile), "published_models": published}


def write_build_info(profile: str, public: bool, path: Path) -> None:
    """Profile, commit, and what the book was built from, for the foot of its pages."""
    size = config.load().profile(profile)
    here = real_datasets(profile)
    info = {
        "profile": profile,
        "profile_summary": size.summary,
        "commit": tables.commit(config.project_root()),
        "public": public,
        "real_data": here,
        "real_data_missing": [n for n in size.real_datasets if n not in here],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "words": edition_words(profile),
        "phantom_datasets": [n for n in registry.names("datasets") if registry.card("datasets", n).phantom],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(info, indent=2) + "\n")
