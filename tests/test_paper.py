"""The profile paper from bare data sets to tables: their real layouts, a handful of tiny patients each, and small networks."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import yaml

from lungseg_utils import __main__ as command_line
from lungseg_utils import cohorts, config, dry_run, exclusions, run, stored, workflow

SHAPE, SPACING_MM = (10, 24, 24), (4.0, 4.0, 5.0)  # (slices, rows, columns); x, y, z
LUNG1 = [f"LUNG1-{number:03d}" for number in range(3, 11)]
MSD = [f"lung_{number:03d}" for number in range(1, 11)]
RIDER = ["RIDER-1", "RIDER-2"]
SMALL = {"unet": {"spacing_mm": [4.0, 4.0, 5.0], "patch": [8, 16, 16], "widths": [4, 8], "steps": 2, "validate_every": 1}}


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
        labelled = case in MSD
        (root / ("imagesTr" if labelled else "imagesTs")).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(hu, affine), root / ("imagesTr" if labelled else "imagesTs") / f"{case}.nii.gz")
        if labelled:
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
    grid = yaml.safe_load((config.project_root() / "experiments.yml").read_text())
    grid["profiles"]["paper"] |= {"model_options": SMALL, "folds": [0, 1], "k": [2], "draws": [0], "variants": {}}
    grid["profiles"]["paper"] |= {"experiments": ["unet_full", "unet_few_shot", "baselines_zero_shot"]}
    grid["profiles"]["paper"] |= {"prompters": ["box_every_slice", "detector_box", "none"]}
    (root / "experiments.yml").write_text(yaml.safe_dump(grid))
    (root / "data").mkdir()
    (root / "data" / "frozen.json").write_text("{}")
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
    return list(workflow.run_all("paper"))


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
    assert len(finished) == len(run.all_planned("paper")) == 2 * 2 + 2 + 1  # two folds on two data sets, a draw on each, the trivial one
    for row in steps[steps["dataset"] != "rider_lung_ct"].itertuples():  # of which the published number stands in its card
        patients = run.open_result(next(r.experiment for r in finished if r.experiment.name == row.experiment)).provenance["patients"]
        expected = patients["train"] + patients["validation"] if row.kind == "training" else patients[row.dataset]
        assert row.patients == len(expected), (row.experiment, row.dataset)


@pytest.mark.slow
def test_nobody_is_trained_on_and_tested_and_the_folds_of_msd_are_tested_by_the_training_that_left_them_out(finished):
    fold = cohorts.read_splits("msd_lung").set_index("patient_id")["fold"]
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
            assert (len(patients["train"]), len(patients["validation"])) == (2, 0)


@pytest.mark.slow
def test_answers_are_scored_against_the_outlines_and_small_tables_can_be_stored(finished, project):
    (trivial,) = [r for r in finished if r.experiment.model == "trivial"]
    dsc = trivial.asked("box_every_slice").query("metric == 'dsc' and lesion_id == ''")
    assert set(dsc["test_dataset"]) == {"nsclc_radiomics", "msd_lung", "rider_lung_ct"}
    assert dsc["value"].between(0.8, 1).all()  # an ellipse in the box of a square, on all three
    # boxes for a zero-shot answer come from a detector that was trained on the other data set
    assert set(trivial.asked("detector_box")["test_dataset"]) == {"nsclc_radiomics", "msd_lung", "rider_lung_ct"}
    finders = [f"paper__unet__full__{name}__fold0__seed0" for name in ("msd_lung", "nsclc_radiomics")]
    assert trivial.provenance["detector"] == ", ".join(finders)
    assert workflow.runs_before(trivial.experiment.name, "paper") == sorted(finders)
    assert command_line.main(["export", "--profile", "paper"]) == 0
    assert all(stored.holds("paper", r.experiment.name) for r in finished)
