# From the grid (experiments.yml) to a book. Started by `make book` and `make quick`, which hold the lock and print the times.
#
# results/<profile>/<experiment>/   weights, tables, predictions: written and resumed by lungseg_utils.experiments.run, not by rules here
# build/<profile>/notebooks/        executed notebooks
# build/<profile>/html/             the book

import sys
from pathlib import Path

from lungseg_utils.book import inputs, workflow as book
from lungseg_utils.experiments import config as profiles, grid

PROFILE = config.get("profile", "patients")
PUBLIC = str(config.get("public", "False")) == "True"
CLUSTER = str(config.get("cluster", "False")) == "True"  # every training a job of its own; else its notebook trains, where it shows all that the profile plans of it
FURTHER_RUNS = book.has_further_runs(PROFILE)
FLAGS = f"--profile {PROFILE}" + (" --public" if PUBLIC else "")
BUILD = f"build/{PROFILE}"
PYTHON = f"{sys.executable} -m lungseg_utils"

EXPERIMENTS = profiles.load().notebooks(PROFILE)
STAND_INS = list(grid.stand_ins(PROFILE))
CORES = 1 if CLUSTER else workflow.cores  # of rules that can use all; a cluster's own settings say how many (set-threads)
RUNS = {name: grid.run_names(name, PROFILE) for name in EXPERIMENTS}
STORED = ["contamination", "costs", "data"]  # pages over data and stored tables, which wait for no experiment
ANALYSES = ["who_drew_the_box", "prompts", "labels_or_prompts", "box_accuracy", "whole_chests", "failures", "protocol", "certainty", "results", "models", "patient_flow", *STORED]
PHANTOMS = ["phantom_nsclc", "phantom_msd"]
REAL = grid.real_datasets(PROFILE)

INPUTS = inputs.stamps(PROFILE)  # what can change a number or a picture, and the book's own files; contents count, not dates


wildcard_constraints:
    name="[a-z0-9_]+",
    run="[A-Za-z0-9_]+",


rule book:
    input:
        expand(BUILD + "/notebooks/{name}.ipynb", name=EXPERIMENTS + ANALYSES),
        BUILD + "/page_data/done",
        INPUTS["prose"],
    output:
        BUILD + "/html/index.html",
    params:
        flags=FLAGS,
    benchmark:
        BUILD + "/seconds/book.tsv"
    threads: CORES
    shell:
        PYTHON + " book {BUILD}/notebooks {BUILD}/html --page-data {BUILD}/page_data {params.flags}"


rule page_data:
    input:
        expand(BUILD + "/notebooks/{name}.ipynb", name=EXPERIMENTS),
        INPUTS["code"],
    output:
        touch(BUILD + "/page_data/done"),
    params:
        flags=FLAGS,
    benchmark:
        BUILD + "/seconds/page_data.tsv"
    shell:
        PYTHON + " page-data {BUILD}/page_data {params.flags}"


rule phantoms:
    input:
        "experiments.yml",
        "data/splits/{dataset}.csv",
        sorted(str(p) for p in Path("lungseg_utils/phantoms").glob("*.py")),
        "lungseg_utils/datasets/{dataset}.py",
    output:
        touch(BUILD + "/data/{dataset}.done"),
    benchmark:
        BUILD + "/seconds/phantoms_{dataset}.tsv"
    threads: CORES
    shell:
        PYTHON + " phantoms {wildcards.dataset} --profile {PROFILE} --workers {threads}"


rule stand_in:
    input:
        INPUTS["code"],
        "experiments.yml",
    output:
        touch(BUILD + "/stand_ins/{name}.done"),
    benchmark:
        BUILD + "/seconds/{name}.tsv"
    shell:
        PYTHON + " pretrain {wildcards.name} --profile {PROFILE}"


DETECTORS = grid.detectors(PROFILE)  # each needs those before it, and everything else may need them all
AUTOMATIC = grid.automatic(PROFILE)


def needed_tables(wildcards):
    """What a notebook reads of others: analyses read what all experiments wrote, unless they look at the data or at stored tables only."""
    name, pretrained = wildcards.name, []
    if name in STORED:
        first = []
    elif name in ANALYSES:
        first = EXPERIMENTS
    elif name in DETECTORS:
        first = DETECTORS[: DETECTORS.index(name)]
    elif name == "baselines_zero_shot" or name in AUTOMATIC:
        first = DETECTORS
    else:  # promptable models start from a stand-in, and show the trivial baselines beside their own numbers
        first, pretrained = [*DETECTORS, "baselines_zero_shot"], STAND_INS
    drawn = expand(BUILD + "/data/{dataset}.done", dataset=PHANTOMS)
    return expand(BUILD + "/notebooks/{name}.ipynb", name=first) + drawn + expand(BUILD + "/stand_ins/{name}.done", name=pretrained)


def runs_shown(wildcards):
    """On a cluster, and where pages show one run of several, the runs of a notebook: each is a job of its own."""
    return expand(BUILD + "/runs/{run}.done", run=RUNS.get(wildcards.name, [])) if CLUSTER or FURTHER_RUNS else []


def launcher(wildcards, resources):
    """A training that is given several GPUs (set-resources) shares its batches among as many processes."""
    gpus = resources.get("gpu", 1)
    return "" if gpus == 1 else f"-m torch.distributed.run --standalone --nproc-per-node {gpus} "


rule runs:  # every training and evaluation, without pages: the target `runs`
    input:
        expand(BUILD + "/runs/{run}.done", run=dict.fromkeys(run for runs in RUNS.values() for run in runs)),


rule run:
    input:
        lambda wildcards: expand(BUILD + "/runs/{run}.done", run=grid.runs_before(wildcards.run, PROFILE)),
        expand(BUILD + "/data/{dataset}.done", dataset=grid.phantom_datasets(PROFILE)),
        lambda wildcards: expand(BUILD + "/stand_ins/{name}.done", name=grid.stand_ins_before(wildcards.run, PROFILE)),
        INPUTS["code"],
        INPUTS["grid"],
    output:
        touch(BUILD + "/runs/{run}.done"),
    params:
        launcher=launcher,
    benchmark:
        BUILD + "/seconds/{run}.tsv"
    shell:
        sys.executable + " {params.launcher}-m lungseg_utils run {wildcards.run} --profile {PROFILE}"


rule notebook:
    input:
        needed_tables,
        runs_shown,
        lambda wildcards: str(inputs.notebook(wildcards.name)),
        INPUTS["code"],
        INPUTS["grid"],
        lambda wildcards: INPUTS[inputs.group_of_tables(wildcards.name, EXPERIMENTS)],
    output:
        BUILD + "/notebooks/{name}.ipynb",
    params:
        flags=FLAGS,
        real=REAL,
    benchmark:
        BUILD + "/seconds/{name}.tsv"
    shell:
        PYTHON + " notebook {wildcards.name} {output} {params.flags}"
