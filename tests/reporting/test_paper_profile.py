"""The profile paper from bare data sets to tables: their real layouts, a handful of tiny patients each, and small networks."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from lungseg_utils import __main__ as command_line
from lungseg_utils.book import page_data
from lungseg_utils.core.project import project_root
from lungseg_utils.data import exclusions, splits
from lungseg_utils.experiments import dry_run, planning, results, store
from lungseg_utils.experiments.grid import run_all, runs_before
from lungseg_utils.reporting import results as results_page
from tests.support.executed_pages import execute_here

SHAPE, SPACING_MM = (10, 24, 24), (4.0, 4.0, 5.0)  # (slices, rows, columns); x, y, z
LUNG1 = [f"LUNG1-{number:03d}" for number in range(3, 11)]
MSD = [f"lung_{number:03d}" for number in range(1, 11)]
RIDER = ["RIDER-1", "RIDER-2"]
SMALL = {"unet": {"spacing_mm": [4.0, 4.0, 5.0], "patch": [8, 16, 16], "widths": [4, 8], "steps": 40, "validate_every": 20}}


def _chest(seed):
    stored_values = np.random.default_rng(seed).integers(124, 224, SHAPE).astype(np.int16)  # HU + 1024
    stored_values[3:6, 8:13, 8:13] = 1064
    return stored_values


def _outline(name):
    corners = [(30.0, 30.0), (50.0, 30.0), (50.0, 50.0), (30.0, 50.0)]  # centres of 8 to 12, 4 mm apart
    return {name: [[(x, y, z) for x, y in corners] for z in (15.0, 20.0, 25.0)]}


def _nsclc(root, dicom):
    for number, patient in enumerate([*LUNG1, "LUNG1-128"]):
        study = root / patient / "1.2.3"
        dicom.ct_series(study / f"CT_1.{number}", _chest(number), spacing=SPACING_MM, series_uid=f"1.{number}", patient_id=patient)
        target = "GTV-1" if patient != "LUNG1-128" else "Lung"
        dicom.rtstruct(study / f"RTSTRUCT_8.{number}" / "c.dcm", _outline(target), patient_id=patient)
    (root / "whole.json").write_text("{}")


def _msd(root):
    affine = np.diag([*SPACING_MM, 1.0])
    for number, case in enumerate([*MSD, "lung_090"]):
        hu = np.moveaxis(_chest(100 + number), 0, 2) - 1024
        labeled = case in MSD
        (root / ("imagesTr" if labeled else "imagesTs")).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(hu, affine), root / ("imagesTr" if labeled else "imagesTs") / f"{case}.nii.gz")
        if labeled:
            (root / "labelsTr").mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image((hu > 0).astype(np.uint8), affine), root / "labelsTr" / f"{case}.nii.gz")
    training = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in MSD]
    (root / "dataset.json").write_text(json.dumps({"training": training, "test": ["./imagesTs/lung_090.nii.gz"]}))


def _rider(root, dicom):
    for number, patient in enumerate([*RIDER, "RIDER-3"]):
        for series in ("1", "2"):
            folder = root / patient / "1.2.4" / f"CT_5.{number}.{series}"
            dicom.ct_series(folder, _chest(200 + number), spacing=SPACING_MM, series_uid=f"5.{number}.{series}", patient_id=patient)
        if patient in RIDER:
            path = root / patient / "1.2.4" / "RTSTRUCT_9" / "c.dcm"
            said = {"refers_to": [f"5.{number}.2"], "description": "TEST"}
            dicom.rtstruct(path, _outline("GTVp_test_man"), patient_id=patient, **said)
    (root / "whole.json").write_text("{}")


@pytest.fixture(scope="module")
def project(tmp_path_factory, dicom):
    """A project with the grid of `paper`, less what takes a GPU, whose data sets have just been fetched."""
    root = tmp_path_factory.mktemp("project")
    grid = yaml.safe_load((project_root() / "experiments.yml").read_text())
    grid["profiles"]["paper"] |= {"model_options": SMALL, "k": [2, 1], "draws": [0, 1]}
    grid["profiles"]["paper"] |= {"experiments": ["unet_full", "unet_few_shot", "baselines_zero_shot"], "folds": [0, 1, 2, 3, 4]}
    grid["profiles"]["paper"] |= {"variants": {"baselines_zero_shot": [{"rule": "filled"}]}}
    grid["profiles"]["paper"] |= {"prompters": ["box_every_slice", "box_one_slice", "detector_box", "none"]}
    (root / "experiments.yml").write_text(yaml.safe_dump(grid))
    (root / "data").mkdir()
    (root / "data" / "frozen.json").write_text("{}")
    for name in ("analysis_plan.yml", "data/results/efficiency_cpu.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((project_root() / name).read_bytes())
    cache = root / "data" / "cache"
    _nsclc(cache / "nsclc_radiomics", dicom)
    _msd(cache / "msd_lung")
    _rider(cache / "rider_lung_ct", dicom)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGSEG_ROOT", str(root))
        yield SimpleNamespace(root=root)


@pytest.fixture(scope="module")
def finished(project):
    """What the printed commands lead to: exclusions, splits, and every experiment."""
    for dataset in ("nsclc_radiomics", "msd_lung", "rider_lung_ct"):
        assert command_line.main(["exclusions", dataset]) == 0
    assert command_line.main(["split", "nsclc_radiomics", "--test", "0.25"]) == 0
    assert command_line.main(["split", "msd_lung", "--test", "0"]) == 0
    assert dry_run.look_ahead("paper").missing == ()
    return list(run_all("paper"))


@pytest.mark.slow
def test_what_cannot_be_used_is_listed_and_nobody_else_is_left_out(finished):
    listed = exclusions.read(["nsclc_radiomics", "msd_lung", "rider_lung_ct"])
    assert [tuple(row) for row in listed.to_numpy()] == [
        ("nsclc_radiomics", "LUNG1-128", "0 regions for 'GTV-1', one is needed"),
        ("msd_lung", "lung_090", "no reference"),
        ("rider_lung_ct", "RIDER-3", "0 files with contours, one is needed"),
    ]
    for result in finished:
        assert set(result.provenance["patients"]["rider_lung_ct"]) == set(RIDER)


@pytest.mark.slow
def test_every_planned_experiment_ran_as_the_dry_run_said(finished):
    steps = dry_run.look_ahead("paper").steps
    assert steps["finished"].all()
    assert (
        len(finished) == len(planning.all_planned("paper")) == 5 * 2 + 2 * 2 * 2 + 2
    )  # five folds on two data sets, two draws of 2 and 1 on each, two trivial ones
    for row in steps[steps["dataset"] != "rider_lung_ct"].itertuples():  # of which the published number stands in its card
        patients = results.open_result(next(r.experiment for r in finished if r.experiment.name == row.experiment)).provenance["patients"]
        expected = patients["train"] + patients["validation"] if row.kind == "training" else patients[row.dataset]
        assert row.patients == len(expected), (row.experiment, row.dataset)


@pytest.mark.slow
def test_nobody_is_trained_on_and_tested_and_the_folds_of_msd_are_tested_by_the_training_that_left_them_out(finished):
    fold = splits.read_splits("msd_lung").set_index("patient_id")["fold"]
    for result in finished:
        patients, experiment = result.provenance["patients"], result.experiment
        learnt_from = {*patients["train"], *patients["validation"]}
        assert not learnt_from & {*patients["nsclc_radiomics"], *patients["msd_lung"], *RIDER}
        assert len(patients["nsclc_radiomics"]) == 2  # the same quarter, whoever answers
        if experiment.train_dataset == "msd_lung":
            assert set(fold[patients["msd_lung"]]) == {experiment.fold}
        else:
            assert sorted(patients["msd_lung"]) == MSD
        if experiment.k is not None:
            assert (len(patients["train"]), len(patients["validation"])) == (experiment.k, 0)


@pytest.mark.slow
def test_answers_are_scored_against_the_outlines_and_small_tables_can_be_stored(finished, project):
    trivial = next(r for r in finished if r.experiment.model == "trivial")
    dsc = trivial.asked("box_every_slice").query("metric == 'dsc' and lesion_id == ''")
    assert set(dsc["test_dataset"]) == {"nsclc_radiomics", "msd_lung", "rider_lung_ct"}
    assert dsc["value"].between(0.8, 1).all()  # an ellipse in the box of a square, on all three
    # boxes for a zero-shot answer come from a detector that was trained on the other data set
    assert set(trivial.asked("detector_box")["test_dataset"]) == {"nsclc_radiomics", "msd_lung", "rider_lung_ct"}
    finders = [f"paper__unet__full__{name}__fold0__seed0" for name in ("msd_lung", "nsclc_radiomics")]
    assert sorted(trivial.provenance["detectors"]) == finders
    trained = {r.experiment.name: r.provenance["sha256"]["weights"] for r in finished}
    assert all(found["weights"] == trained[name] for name, found in trivial.provenance["detectors"].items())
    assert runs_before(trivial.experiment.name, "paper") == sorted(finders)
    assert command_line.main(["export", "--profile", "paper"]) == 0
    assert all(store.holds("paper", r.experiment.name) for r in finished)


# --- the pages ---------------------------------------------------------------------------------------------------------

ELLIPSE = 2 * 21 / (25 + 21)  # in the box around 5 x 5 voxels an ellipse leaves the 4 corners out
UNET, FEW = "U-Net, full training on", "U-Net, few-shot on"
NSCLC_TITLE, MSD_TITLE = "NSCLC-Radiomics (Lung1)", "MSD Task06 Lung"


def _dsc(finished, dataset, setting="none", **facts):
    """Patient -> DSC of some experiments, straight from their tables; a patient whom several have tested has several rows."""
    chosen = [r for r in finished if all(getattr(r.experiment, name) == value for name, value in facts.items())]
    rows = pd.concat([r.results for r in chosen])
    rows = rows[(rows["metric"] == "dsc") & (rows["lesion_id"] == "") & (rows["test_dataset"] == dataset) & (rows["prompter"] == setting)]
    return rows.set_index("patient_id")["value"]


@pytest.fixture(scope="module")
def board(finished):
    """The leaderboard with all columns of its file, of what was asked without a prompt: test set -> rows by method."""
    found = results_page.board({"paper": finished}, "paper")
    rows = pd.concat([found.shown, found.more], axis=1).query("prompt == 'no prompt'").to_dict("records")
    return lambda dataset: {row["method"]: row for row in rows if row["test set"] == f"{dataset} (real)"}


@pytest.mark.slow
def test_the_leaderboard_has_a_row_per_method_and_direction_and_joins_the_folds_of_msd(board, finished):
    rows = board("MSD Task06 Lung")
    assert len(rows) == 2 + 2 * 3  # two trivial baselines; of each direction full training and two numbers of patients
    joined, folds = rows[f"{UNET} {MSD_TITLE}"], _dsc(finished, "msd_lung", model="unet", paradigm="full", train_dataset="msd_lung")
    assert sorted(folds.index) == MSD  # each patient once
    assert (joined["n"], joined["runs"], joined["trained on"], joined["labels"]) == (10, 1, "target", "8")
    assert joined["Dice"].startswith(f"{folds.mean():.2f} [")
    assert joined["Dice, the method"] == "no claim: one run"
    external = rows[f"{UNET} {NSCLC_TITLE}"]
    runs = _dsc(finished, "msd_lung", model="unet", paradigm="full", train_dataset="nsclc_radiomics")
    assert len(runs) == 5 * 10
    assert (external["n"], external["runs"], external["trained on"], external["labels"]) == (10, 5, "external", "0 + other")
    assert external["Dice"].startswith(f"{runs.mean():.2f} [")
    assert external["Dice, the method"].startswith(f"{runs.mean():.2f} [")
    few = rows[f"{FEW} {MSD_TITLE}, k = 2"]
    assert (few["n"], few["runs"], few["labels"]) == (2, 2, "2")  # two draws, both tested on the fold that is left out


@pytest.mark.slow
def test_the_same_patients_of_nsclc_radiomics_are_tested_by_five_runs(board, finished):
    runs = _dsc(finished, "nsclc_radiomics", model="unet", paradigm="full", train_dataset="nsclc_radiomics")
    own = board("NSCLC-Radiomics")[f"{UNET} {NSCLC_TITLE}"]
    assert len(runs) == 5 * 2
    assert (own["n"], own["runs"], own["labels"]) == (2, 5, "6")
    assert own["Dice"] == own["Dice, the method"] == f"{runs.mean():.2f}"  # two patients: no interval


@pytest.mark.slow
def test_prompts_and_errors_in_drawing_are_said_of_patients(finished):
    page = execute_here("prompts", profile="paper")
    assert "**These are results on patients**" in page.said
    assert "MSD Task06 Lung has no fixed test part" in page.said
    assert "All 20 planned runs are here." in page.said
    assert "hantom" not in page.said
    internal = _dsc(finished, "nsclc_radiomics", model="unet", paradigm="full", train_dataset="nsclc_radiomics").mean()
    assert page.glued["front_alone"].endswith(f"Dice of {internal:.2f} on 2 patients of NSCLC-Radiomics.")
    page = execute_here("box_accuracy", profile="paper")
    assert "gives no answer" in page.said


@pytest.mark.slow
def test_contrasts_compare_what_was_trained_on_the_tested_data_set_on_the_patients_of_both_sides(finished):
    page = execute_here("comparisons", profile="paper")
    few, full = (
        _dsc(finished, "msd_lung", model="unet", train_dataset="msd_lung", paradigm=paradigm, k=k)
        for paradigm, k in (("few_shot", 2), ("full", None))
    )

    def five_patients(dataset):
        return next(r for r in page.table(dataset, "what is compared") if r["contrast"] == "five patients against all")

    row = five_patients("Patients of MSD Task06 Lung")
    assert row["what is compared"] == f"{FEW} {MSD_TITLE}, k = 2, no prompt minus {UNET} {MSD_TITLE}, no prompt"
    both = few.groupby(level=0).mean()
    assert row["n"] == str(len(both)) == "2"
    assert float(row["difference, DSC"]) == pytest.approx((both - full[both.index]).mean(), abs=0.006)
    assert five_patients("Patients of RIDER Lung CT")["what is compared"].count(NSCLC_TITLE) == 2
    assert "can test 0 on patients of NSCLC-Radiomics (n = 2)" in page.sentence("comparisons")  # two patients give no p


@pytest.mark.slow
def test_curves_and_runs_are_those_of_each_target(finished):
    page = execute_here("labels_or_prompts", profile="paper")
    rows = {row["k"]: row for row in page.table("Patients of MSD Task06 Lung", "no prompt", "lowest to highest run")}
    assert {k: (row["runs"], row["n"]) for k, row in rows.items()} == {"1": ("2", "2"), "2": ("2", "2"), "all": ("1", "10")}
    assert "does not hold these runs" in page.glued["losses_answer"]
    draws = [_dsc(finished, "msd_lung", train_dataset="msd_lung", k=1, draw=draw).mean() for draw in (0, 1)]
    assert rows["1"]["lowest to highest run"] == f"{min(draws):.2f} to {max(draws):.2f}"
    page = execute_here("seeds", profile="paper")
    rows = {(row["method"], row["prompt"]): row for row in page.table("Patients of MSD Task06 Lung", "SD of runs")}
    assert rows[f"{UNET} {NSCLC_TITLE}", "no prompt"]["runs"] == "5"
    assert (f"{UNET} {MSD_TITLE}", "no prompt") not in rows  # a cross-validation is one run
    assert "random-effects t interval" in " ".join(caption for caption, _ in page.tables)


@pytest.mark.slow
def test_results_strata_and_failures_count_every_run(finished):
    page = execute_here("results", profile="paper")
    folds = _dsc(finished, "msd_lung", paradigm="full", train_dataset="msd_lung")
    rows = page.table("Mean 3-D Dice", "architecture", "drawn by")
    own = [row for row in rows if (row["test set"], row["prompt"], row["labels"]) == ("MSD Task06 Lung (real)", "no prompt", "8")]
    assert [row["Dice"].split(" [")[0] for row in own] == [f"{folds.mean():.2f}"]
    assert f"**{ELLIPSE:.2f}, n = 2** without looking at the CT" in page.said
    page = execute_here("strata", profile="paper")
    runs = _dsc(finished, "nsclc_radiomics", paradigm="full", train_dataset="nsclc_radiomics")
    assert f"is {runs.mean():.2f} on the 2 patients" in page.sentence("strata")
    page = execute_here("failures", profile="paper")
    rows = pd.concat([r.results for r in finished])
    empty = rows[(rows["metric"] == "prediction_volume") & (rows["lesion_id"] == "") & (rows["value"] == 0)]
    assert page.glued["failures_empty"] == len(empty) > 0
    assert page.glued["failures_empty_prompted"] == (empty["prompter"] != "none").sum()


@pytest.mark.slow
def test_other_pages_speak_of_patients_too(finished):
    page = execute_here("external_validation", profile="paper")
    internal, external = (
        _dsc(finished, name, paradigm="full", train_dataset="nsclc_radiomics") for name in ("nsclc_radiomics", "msd_lung")
    )
    assert float(page.glued["drop"].split()[0]) == pytest.approx(internal.mean() - external.mean(), abs=0.006)
    rows = {
        row["method"]: row
        for row in page.table("Patients of NSCLC-Radiomics, and patients of RIDER Lung CT")
        if row["prompt"] == "no prompt"
    }
    assert f"{UNET} {MSD_TITLE}" in rows
    page = execute_here("protocol_trap", profile="paper")
    assert page.glued["trap_own"] == f"{internal.mean():.2f}"
    assert "on the same 2 patients" in page.sentence("protocol_trap")
    page = execute_here("patient_flow", profile="paper")
    said = page.sentence("patient_flow")
    assert "Of 20 patients 16 served training and validation and 14 were tested; 0 did both in one experiment" in said
    page = execute_here("models", profile="paper")
    shown = pd.concat([r.results for r in finished if r.experiment.model == "unet" and r.experiment.k in (None, 2)])  # its first k
    assert page.glued["unet_predictions"] == ((shown["metric"] == "dsc") & (shown["lesion_id"] == "")).sum()
    page = execute_here("unet_few_shot", profile="paper")
    assert "one training (fold 0, k = 2, draw 0, on NSCLC-Radiomics (real)) of the 8 that are planned" in page.said


@pytest.mark.slow
def test_every_case_can_be_looked_at_with_the_answers_of_the_fold_that_left_it_out(finished, tmp_path):
    page_data.write("paper", tmp_path / "data")
    cases = tmp_path / "data" / "cases"
    index = json.loads((cases / "index.json").read_text())
    cohort = next(cohort for cohort in index["cohorts"] if cohort["key"] == "msd_lung")
    assert sorted(case["id"] for case in cohort["cases"]) == MSD
    full, few = (f"paper__unet__{how}__msd_lung__" for how in ("full", "few_shot"))
    folds = pd.concat([r.results for r in finished if r.experiment.name.startswith(full)])
    expected = folds.query("test_dataset == 'msd_lung' and prompter == 'none' and metric == 'dsc' and lesion_id == ''")
    own, shots = (next(key for key in cohort["dsc"] if key.startswith(name) and key.endswith("/none")) for name in (full, few))
    scores = dict(zip([case["id"] for case in cohort["cases"]], cohort["dsc"][own], strict=True))
    assert scores == pytest.approx(dict(zip(expected["case_id"], expected["value"], strict=True)), abs=1e-6)
    answers = {name: json.loads((cases / "msd_lung" / f"{name}.json").read_text())["values"] for name in MSD}
    split = splits.read_splits("msd_lung")
    asked = [name for name in MSD if "not_asked" not in answers[name][shots]]
    assert asked == sorted(split.loc[split["fold"] == 0, "patient_id"])  # few-shot training leaves out one fold
    for values in answers.values():
        assert "not_asked" not in values[own]
        assert values[shots]["reference_volume"] == values[own]["reference_volume"] > 0
    assert json.loads((tmp_path / "data" / "prompting" / "index.json").read_text())["networks"] == []


@pytest.mark.slow
def test_a_fold_that_is_not_run_yet_is_named_and_no_patient_is_missing_without_a_word(finished, project):
    lacking = next(r for r in finished if (r.experiment.train_dataset, r.experiment.paradigm, r.experiment.fold) == ("msd_lung", "full", 3))
    record = project.root / "results" / "paper" / lacking.experiment.name / "experiment.json"
    stored_record = project.root / "data" / "results" / "paper" / "experiments.json"  # all others are here as they were run
    kept = {path: path.read_bytes() for path in (record, stored_record) if path.is_file()}
    for path in kept:
        path.unlink()
    try:
        page = execute_here("results", profile="paper")
        assert f"{UNET} {MSD_TITLE} (0 of 5 runs are here)" in page.said
        assert "4 of them are finished folds that are shown when all folds of their cross-validation are" in page.said
        rows = page.table("Mean 3-D Dice", "architecture", "drawn by")
        msd = [row for row in rows if (row["test set"], row["prompt"]) == ("MSD Task06 Lung (real)", "no prompt")]
        assert "8" not in {row["labels"] for row in msd}
        assert "0 + other" in {row["labels"] for row in msd}
    finally:
        for path, text in kept.items():
            path.write_bytes(text)
