"""Commands that run experiments: run, predict, dry-run, convert, efficiency, and steps of the workflow. Each imports what it needs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.cli import add_command, add_profile_argument
from ..types import Experiment, InputError

if TYPE_CHECKING:
    from ..core.cli import Commands


def add_commands(commands: Commands) -> None:
    """Add the commands of this folder."""
    _add_run(commands)
    _add_predict(commands)
    _add_dry_run(commands)
    _add_convert(commands)
    _add_efficiency(commands)
    _add_steps(commands)


def _add_run(commands: Commands) -> None:
    run = add_command(commands, "run", _run, "train and evaluate one experiment of experiments.yml")
    which = "its notebook's name, e.g. unet_full; its full name, as below results/; or all, for everything that the profile plans"
    run.add_argument("experiment", help=which)
    add_profile_argument(run)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--fold", type=int, default=0)
    run.add_argument("--k", type=int, default=0, help="few-shot: labeled patients (default: the profile's first)")
    run.add_argument("--draw", type=int, default=0, help="few-shot: which draw of the k patients")
    run.add_argument("--test", nargs="+", help="data sets to test on (default: those of experiments.yml that are here)")
    run.add_argument("--missing", action="store_true", help="with all: only what is not stored in data/results yet")
    run.add_argument("--workers", type=int, default=2, help="processes that draw phantoms")


def _run(arguments: argparse.Namespace) -> int:
    from ..core import distributed
    from . import config, grid, planning, run

    if distributed.started() > 1 and arguments.experiment == "all":
        raise InputError("run all", "several processes train one experiment together", "Name one, or start it without torchrun.")
    if distributed.is_worker():
        run.help_to_train(_experiment(arguments))
        return 0
    if arguments.experiment == "all":
        for result in grid.run_all(arguments.profile, arguments.missing):
            print(f"{planning.experiment_title(result.experiment)}: {result.folder}", flush=True)
        return 0
    if arguments.experiment not in config.load().experiments:
        result = grid.run_by_name(arguments.experiment, arguments.profile)
        print(f"{planning.experiment_title(result.experiment)}: {result.folder}", flush=True)
        return 0
    tests = arguments.test or grid.datasets_to_test(arguments.experiment, arguments.profile)
    experiment = _experiment(arguments)
    result = run.run(experiment, tests, grid.prompt_settings(experiment), workers=arguments.workers)
    print(planning.experiment_title(experiment))
    dsc = result.results.query("metric == 'dsc' and lesion_id == '' and status != 'undefined'")
    print(dsc.groupby(["test_dataset", "prompter", "reader"])["value"].agg(["mean", "median", "count"]).to_string())
    print(f"\ntables: {result.folder}")
    return 0


def _experiment(arguments: argparse.Namespace) -> Experiment:
    from . import config, grid, planning

    if arguments.experiment not in config.load().experiments:
        return grid.planned_run(arguments.experiment, arguments.profile)[1]
    return planning.make_experiment(arguments.experiment, arguments.profile, arguments.seed, arguments.fold, arguments.k, arguments.draw)


def _add_predict(commands: Commands) -> None:
    predict = add_command(commands, "predict", _predict, "segment one CT with a trained model")
    predict.add_argument("--model", required=True, help="e.g. unet")
    predict.add_argument("--image", type=Path, required=True, help="NIfTI file or folder with one DICOM CT series")
    predict.add_argument("--out", type=Path, required=True, help="mask to write, .nii.gz")
    add_profile_argument(predict)
    predict.add_argument("--seed", type=int, default=0)


def _predict(arguments: argparse.Namespace) -> int:
    from .predict import predict_file

    prediction = predict_file(arguments.model, arguments.image, arguments.out, arguments.profile, arguments.seed)
    print(f"{arguments.out}: {prediction.mask.volume_ml:.2f} ml in {prediction.seconds:.1f} s")
    return 0


def _add_dry_run(commands: Commands) -> None:
    text = "estimate a profile: every experiment, GPU hours, disk, what is missing and how to get it"
    dry_run = add_command(commands, "dry-run", _dry_run, text)
    add_profile_argument(dry_run)
    dry_run.add_argument("--csv", type=Path, help="table to write, one row a training or evaluation")


def _dry_run(arguments: argparse.Namespace) -> int:
    from ..core import files, outputs
    from . import dry_run

    if arguments.csv:
        outputs.require_file(arguments.csv, endings=outputs.TABLES)
    outlook = dry_run.look_ahead(arguments.profile)
    print(dry_run.in_words(outlook))
    if arguments.csv:
        files.write(outlook.steps, arguments.csv)
    return 0


def _add_convert(commands: Commands) -> None:
    convert = add_command(commands, "convert", _convert, "write the labeled cases of any data set as a raw data set of nnU-Net")
    convert.add_argument("dataset")
    convert.add_argument("--to", type=Path, required=True, help="new folder, named like nnUNet_raw/Dataset006_Lung")
    convert.add_argument("--root", type=Path, help="where the data set lies (default: data/cache/DATASET)")


def _convert(arguments: argparse.Namespace) -> int:
    from .. import registry
    from ..core import project
    from ..data import accounts, used_files
    from .to_nnunet import to_nnunet

    root = arguments.root or project.cache_root() / arguments.dataset
    with used_files.recording() as used:
        written = to_nnunet(arguments.dataset, root, arguments.to)
        found = registry.dataset(arguments.dataset).cases(root)
    print(f"{len(written)} cases, without {len(found) - len(written)} that have no reference or are excluded: {arguments.to}")
    print(accounts.of_dataset(arguments.dataset, root, used).in_words())
    return 0


def _add_efficiency(commands: Commands) -> None:
    text = "measure the cost of the full-size architectures, with random weights"
    efficiency = add_command(commands, "efficiency", _efficiency, text)
    efficiency.add_argument("--models", nargs="+", default=[], help="of costs.subjects (default: those of a default run)")
    efficiency.add_argument("--repeats", type=int, default=3, help="timed runs of each stage")
    efficiency.add_argument("--threads", type=int, default=0, help="threads of the processor (default: all cores)")
    efficiency.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    efficiency.add_argument("--out", type=Path, help="table to write (default: data/results/efficiency_DEVICE.csv)")
    efficiency.add_argument("--again", action="store_true", help="measure again what is there from the same commit")


def _efficiency(arguments: argparse.Namespace) -> int:
    from ..core import outputs, project
    from ..networks.training import choose_device
    from .costs import measure, subjects

    chosen, device = subjects.choose(arguments.models), choose_device(arguments.device).type
    out = arguments.out or project.project_root() / "data" / "results" / f"efficiency_{device}.csv"
    outputs.require_file(out, endings=outputs.TABLES)
    failed = measure.measure(chosen, out, arguments.repeats, arguments.threads, device, arguments.again)
    print(f"failed: {', '.join(failed)}" if failed else f"table: {out}")
    return 1 if failed else 0


def _add_steps(commands: Commands) -> None:
    text = "measure the development phantoms and store their properties in data/results/calibration"
    add_command(commands, "calibrate", _calibrate, text)

    phantoms = add_command(commands, "phantoms", _phantoms, "draw the phantoms that a profile needs (a step of the workflow)")
    phantoms.add_argument("dataset")
    add_profile_argument(phantoms)
    phantoms.add_argument("--workers", type=int, default=2)

    pretrain = add_command(commands, "pretrain", _pretrain, "make the first weights of a stand-in (a step of the workflow)")
    pretrain.add_argument("name", help="e.g. sam_stand_in__ct_like")
    add_profile_argument(pretrain)

    export = add_command(commands, "export", _export, "store small tables of what a profile ran in data/results, to be committed")
    add_profile_argument(export)


def _calibrate(_arguments: argparse.Namespace) -> int:
    from ..core import project, provenance
    from . import phantom_calibration

    commit = provenance.commit(project.project_root())
    for dataset in phantom_calibration.SETTINGS:
        print(f"{dataset}: {len(phantom_calibration.measure(dataset, commit))} phantoms measured")
    return 0


def _phantoms(arguments: argparse.Namespace) -> int:
    from . import cohorts, config

    print(f"== phantoms of {arguments.dataset}, profile {arguments.profile}", flush=True)
    profile = config.load().profile(arguments.profile)
    patients = cohorts.patients_to_test(arguments.dataset, profile)
    for fold in profile.folds if arguments.dataset in config.load().trained_on(arguments.profile) else ():
        patients += [p for part in cohorts.training_patients(arguments.dataset, profile, fold) for p in part if p not in patients]
    cohorts.ensure_phantoms(arguments.dataset, profile, patients, workers=arguments.workers)
    return 0


def _pretrain(arguments: argparse.Namespace) -> int:
    from . import grid

    print(f"== stand-in {arguments.name}, profile {arguments.profile}", flush=True)
    grid.pretrain(arguments.name, arguments.profile)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from . import grid

    print(grid.export(arguments.profile))
    return 0
