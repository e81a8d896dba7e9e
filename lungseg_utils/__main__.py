"""Command line: python -m lungseg_utils list | fetch | run | predict | report | workflow | serve. Imports happen inside each command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .types import Experiment, InputError


def _list(arguments: argparse.Namespace) -> int:
    from . import registry

    for kind in registry.KINDS:
        print(f"{kind}:")
        for name in registry.names(kind):
            print(f"  {name:<20} {registry.title(kind, name)}")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from . import cohorts, published

    if not arguments.names:
        print(published.overview())
    for name in arguments.names:
        print(published.fetch(name, arguments.to or cohorts.cache_root(), arguments.all, arguments.yes))
    return 0


def _exclusions(arguments: argparse.Namespace) -> int:
    from . import cohorts, exclusions

    found = exclusions.write(arguments.dataset, arguments.root or cohorts.cache_root() / arguments.dataset)
    print(found.to_string(index=False) if len(found) else "no case is excluded")
    print(f"table: {exclusions.path(arguments.dataset)}")
    return 0


def _split(arguments: argparse.Namespace) -> int:
    from . import cohorts, exclusions

    cases = exclusions.usable(arguments.dataset, arguments.root or cohorts.cache_root() / arguments.dataset)
    patients = sorted({case.patient_id for case in cases})
    table = cohorts.write_splits(arguments.dataset, patients, arguments.test, arguments.set_aside)
    print(table.groupby(["split", "fold"], dropna=False).size().to_string())
    return 0


def _data_check(arguments: argparse.Namespace) -> int:
    from . import data_check, tables

    report = data_check.check(arguments.dataset, arguments.root)
    print(data_check.in_words(report))
    if arguments.csv:
        tables.write(data_check.table(report), arguments.csv)
    return 1 if len(report.faults) else 0


def _convert(arguments: argparse.Namespace) -> int:
    from . import cohorts, convert, registry

    root = arguments.root or cohorts.cache_root() / arguments.dataset
    found, written = registry.plugin("datasets", arguments.dataset).cases(root), convert.to_nnunet(arguments.dataset, root, arguments.to)
    print(f"{len(written)} cases, without {len(found) - len(written)} that have no reference or are excluded: {arguments.to}")
    return 0


def _dry_run(arguments: argparse.Namespace) -> int:
    from . import dry_run, tables

    outlook = dry_run.look_ahead(arguments.profile)
    print(dry_run.in_words(outlook))
    if arguments.csv:
        tables.write(outlook.steps, arguments.csv)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from . import config, processes, run, workflow

    if processes.started() > 1 and arguments.experiment == "all":
        raise InputError("run all", "several processes train one experiment together", "Name one, or start it without torchrun.")
    if processes.helps():
        run.help_to_train(_experiment(arguments))
        return 0
    if arguments.experiment == "all":
        for result in workflow.run_all(arguments.profile, arguments.missing):
            print(f"{run.title(result.experiment)}: {result.folder}", flush=True)
        return 0
    if arguments.experiment not in config.load().experiments:
        result = workflow.run_by_name(arguments.experiment, arguments.profile)
        print(f"{run.title(result.experiment)}: {result.folder}", flush=True)
        return 0
    tests = arguments.test or workflow.datasets_to_test(arguments.experiment, arguments.profile)
    experiment = _experiment(arguments)
    result = run.run(experiment, tests, workflow.rungs(experiment), workers=arguments.workers)
    print(run.title(experiment))
    dsc = result.results.query("metric == 'dsc' and lesion_id == '' and status != 'undefined'")
    print(dsc.groupby(["test_dataset", "prompter", "reader"])["value"].agg(["mean", "median", "count"]).to_string())
    print(f"\ntables: {result.folder}")
    return 0


def _experiment(arguments: argparse.Namespace) -> Experiment:
    from . import config, run, workflow

    if arguments.experiment not in config.load().experiments:
        return workflow.planned_run(arguments.experiment, arguments.profile)[1]
    return run.plan(arguments.experiment, arguments.profile, arguments.seed, arguments.fold, arguments.k, arguments.draw)


def _predict(arguments: argparse.Namespace) -> int:
    from . import predict

    prediction = predict.predict_file(arguments.model, arguments.image, arguments.out, arguments.profile, arguments.seed)
    print(f"{arguments.out}: {prediction.mask.volume_ml:.2f} ml in {prediction.seconds:.1f} s")
    return 0


def _notebook(arguments: argparse.Namespace) -> int:
    from . import config, pages, workflow

    page = workflow.page(arguments.name, arguments.profile)
    print(f"== page {arguments.name}: notebook {page.notebook}, profile {page.profile}", flush=True)
    root = config.project_root()
    notebook = root / "notebooks" / f"{page.notebook}.ipynb"
    parameters = {"profile": page.profile, "public": arguments.public} | pages.read_parameters(notebook, dict(arguments.parameter))
    pages.execute(notebook, arguments.out, parameters, cwd=root, title=page.title)
    return 0


def _pretrain(arguments: argparse.Namespace) -> int:
    from . import workflow

    print(f"== stand-in {arguments.name}, profile {arguments.profile}", flush=True)
    workflow.pretrain(arguments.name, arguments.profile)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from . import workflow

    print(*workflow.export(arguments.profile), sep="\n")
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


def _calibrate(arguments: argparse.Namespace) -> int:
    from . import calibrate, config, tables

    commit = tables.commit(config.project_root())
    for dataset in calibrate.SETTINGS:
        print(f"{dataset}: {len(calibrate.measure(dataset, commit))} phantoms measured")
    return 0


def _efficiency(arguments: argparse.Namespace) -> int:
    from . import config, full_size, training

    subjects = full_size.choose(arguments.models)
    device = training.choose_device(arguments.device).type
    out = arguments.out or config.project_root() / "data" / "results" / f"efficiency_{device}.csv"
    failed = full_size.measure(subjects, out, arguments.repeats, arguments.threads, device, arguments.again)
    print(f"failed: {', '.join(failed)}" if failed else f"table: {out}")
    return 1 if failed else 0


def _report(arguments: argparse.Namespace) -> int:
    from . import report

    options = ("prompter", "name", "label", "prediction_label", "missing", "workers")
    given = {name: getattr(arguments, name) for name in options}
    scores = report.score_folders(arguments.predictions, arguments.references, arguments.ignore, **given)
    print(report.headline(scores))
    print(f"report: {report.write(scores, arguments.out)}")
    return 0


def _workflow(arguments: argparse.Namespace) -> int:
    from . import workflow

    return workflow.run_workflow(arguments.profile, arguments.cores, arguments.public, tuple(arguments.targets), arguments.cluster)


def _page_data(arguments: argparse.Namespace) -> int:
    from . import page_data

    print(f"== data of the interactive pages, profile {arguments.profile}", flush=True)
    page_data.write(arguments.profile, arguments.out, arguments.public)
    return 0


def _book(arguments: argparse.Namespace) -> int:
    from . import book, config, workflow

    print(f"== the book, profile {arguments.profile}", flush=True)
    root = config.project_root()
    workflow.write_build_info(arguments.profile, arguments.public, arguments.notebooks / "build_info.json")
    left_out = config.load().experiments.keys() - {*config.load().notebooks(arguments.profile)}
    book.build(root, arguments.out, executed=arguments.notebooks, page_data=arguments.page_data, left_out=left_out)
    return 0


def _vendor(_arguments: argparse.Namespace) -> int:
    from . import book, config

    book.vendor(config.project_root())
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from . import book

    book.serve(arguments.html, arguments.port)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lungseg_utils", description="Benchmark of lung-tumor segmentation on CT.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def add(name: str, function, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        return command

    add("list", _list, "models, data sets and paradigms that exist")

    fetch = add("fetch", _fetch, "download samples, whole data sets and published weights, checked; without names: what there is")
    fetch.add_argument("names", nargs="*")
    fetch.add_argument("--to", type=Path, help="folder (default: data/cache)")
    fetch.add_argument("--all", action="store_true", help="the whole data set, where without it only samples come")
    fetch.add_argument("--yes", action="store_true", help="accept the licences without being asked")

    exclusions = add(
        "exclusions", _exclusions, "read every case of a real data set, and list those that cannot be used, with their reasons"
    )
    exclusions.add_argument("dataset")
    exclusions.add_argument("--root", type=Path, help="where it lies (default: data/cache/DATASET)")

    split = add("split", _split, "write the split of a real data set, by patient, once and before any result")
    split.add_argument("dataset")
    split.add_argument("--test", type=float, required=True, metavar="SHARE", help="of the patients; 0: tested out of fold")
    split.add_argument("--set-aside", nargs="+", default=[], metavar="PATIENT", help="neither trained on nor tested")
    split.add_argument("--root", type=Path, help="where it lies (default: data/cache/DATASET)")

    data = commands.add_parser("data", help="look at data before anything is computed with it")
    check = data.add_subparsers(required=True, metavar="command").add_parser(
        "check", help="report every fault; exit status 1 if there is one"
    )
    check.set_defaults(function=_data_check)
    check.add_argument("root", type=Path, metavar="DIR", help="folder, or the CSV table of a data set of your own")
    check.add_argument(
        "--dataset", nargs="+", default=["folder"], help="whose layout it has, several below a data root (default: folder, your own cases)"
    )
    check.add_argument("--csv", type=Path, help="table to write, one row a case and reader")

    convert = add("convert", _convert, "write the labelled cases of any data set as a raw data set of nnU-Net")
    convert.add_argument("dataset")
    convert.add_argument("--to", type=Path, required=True, help="new folder, named like nnUNet_raw/Dataset006_Lung")
    convert.add_argument("--root", type=Path, help="where the data set lies (default: data/cache/DATASET)")

    dry_run = add("dry-run", _dry_run, "what a profile would take: every experiment, GPU hours, disk, what is missing and how to get it")
    _profile_argument(dry_run)
    dry_run.add_argument("--csv", type=Path, help="table to write, one row a training or evaluation")

    run = add("run", _run, "train and evaluate one experiment of experiments.yml")
    run.add_argument(
        "experiment",
        help="its notebook's name, e.g. unet_full; its full name, as below results/; or all, for everything that the profile plans",
    )
    _profile_argument(run)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--fold", type=int, default=0)
    run.add_argument("--k", type=int, default=0, help="few-shot: labelled patients (default: the profile's first)")
    run.add_argument("--draw", type=int, default=0, help="few-shot: which draw of the k patients")
    run.add_argument("--test", nargs="+", help="data sets to test on (default: those of experiments.yml that are here)")
    run.add_argument("--missing", action="store_true", help="with all: only what is not stored in data/results yet")
    run.add_argument("--workers", type=int, default=2, help="processes that draw phantoms")

    predict = add("predict", _predict, "segment one CT with a trained model")
    predict.add_argument("--model", required=True, help="e.g. unet")
    predict.add_argument("--image", type=Path, required=True, help="NIfTI file or folder with one DICOM CT series")
    predict.add_argument("--out", type=Path, required=True, help="mask to write, .nii.gz")
    _profile_argument(predict)
    predict.add_argument("--seed", type=int, default=0)

    add("calibrate", _calibrate, "measure the development phantoms and store what they are like in data/results/calibration")

    efficiency = add("efficiency", _efficiency, "measure what the full-size architectures cost, with random weights")
    efficiency.add_argument("--models", nargs="+", default=[], help="of full_size.SUBJECTS (default: those of a default run)")
    efficiency.add_argument("--repeats", type=int, default=3, help="timed runs of each stage")
    efficiency.add_argument("--threads", type=int, default=0, help="threads of the processor (default: all cores)")
    efficiency.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    efficiency.add_argument("--out", type=Path, help="table to write (default: data/results/efficiency_DEVICE.csv)")
    efficiency.add_argument("--again", action="store_true", help="measure again what is there from the same commit")

    report = add("report", _report, "score a folder of NIfTI predictions against a folder of references; writes one HTML page and tables")
    report.add_argument("--predictions", type=Path, required=True, help="folder with NAME.nii.gz or NAME.nii")
    report.add_argument(
        "--references", type=Path, required=True, help="the same names; or one subfolder per reader; patients.csv may lie here"
    )
    report.add_argument("--ignore", type=Path, help="folder with regions, by name, in which nothing is judged")
    report.add_argument("--prompter", help="rung of the prompt ladder that the model was given, e.g. box_one_slice, or none")
    report.add_argument("--name", help="of the model, for the title (default: name of the predictions' folder)")
    report.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: report)")
    report.add_argument("--label", type=int, metavar="N", help="value of the tumor in multi-label files")
    report.add_argument("--prediction-label", type=int, metavar="N", help="the same in predictions, if it is another one")
    report.add_argument("--missing", choices=("error", "failed"), default="error", help="what a reference without prediction is")
    report.add_argument("--workers", type=int, default=1, help="processes that read and score")

    workflow = add("workflow", _workflow, "bring results and book of a profile up to date (make book, make quick)")
    _profile_argument(workflow)
    workflow.add_argument("--cores", type=int, default=2)
    workflow.add_argument("--cluster", type=Path, metavar="DIR", help="submit jobs as DIR/config.yaml says, e.g. profiles/slurm")
    workflow.add_argument("--public", action="store_true", help="leave out voxels that may not be redistributed")
    workflow.add_argument("targets", nargs="*")

    serve = add("serve", _serve, "serve a built book, gzipped")
    serve.add_argument("html", type=Path)
    serve.add_argument("--port", type=int, default=8000)

    notebook = add("notebook", _notebook, "execute the notebook of one page strictly (a step of the workflow)")
    notebook.add_argument("name", help="of the page: the notebook's, or one of those that show a larger profile's stored tables")
    notebook.add_argument("out", type=Path)
    notebook.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="e.g. -p seed 1")
    _profile_argument(notebook)
    notebook.add_argument("--public", action="store_true")

    phantoms = add("phantoms", _phantoms, "draw the phantoms that a profile needs (a step of the workflow)")
    phantoms.add_argument("dataset")
    _profile_argument(phantoms)
    phantoms.add_argument("--workers", type=int, default=2)

    pretrain = add("pretrain", _pretrain, "make the first weights of a stand-in (a step of the workflow)")
    pretrain.add_argument("name", help="e.g. sam_stand_in__ct_like")
    _profile_argument(pretrain)

    export = add("export", _export, "store small tables of what a profile ran in data/results, to be committed")
    _profile_argument(export)

    page_data = add("page-data", _page_data, "write what the book's interactive pages load (a step of the workflow)")
    page_data.add_argument("out", type=Path)
    _profile_argument(page_data)
    page_data.add_argument("--public", action="store_true")

    add("vendor", _vendor, "bring the JavaScript packages that the book holds (a step of make setup)")

    book = add("book", _book, "build the book from executed notebooks (a step of the workflow)")
    book.add_argument("notebooks", type=Path)
    book.add_argument("out", type=Path)
    book.add_argument("--page-data", type=Path, help="what the interactive pages load, as page-data wrote it")
    _profile_argument(book)
    book.add_argument("--public", action="store_true")
    return parser


def _profile_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", default="mini", help="size of the benchmark, from experiments.yml (default: mini)")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; bad input ends with its message and exit status 2."""
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.function(parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
