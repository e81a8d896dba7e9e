"""One experiment end to end on tiny phantoms, in a project folder of its own: resume, faults, locks, reproducibility."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

from lungseg_utils import __main__, registry
from lungseg_utils.core import progress
from lungseg_utils.core.project import project_root
from lungseg_utils.data import images, nifti, splits
from lungseg_utils.data.cases import load_study
from lungseg_utils.evaluation import tables
from lungseg_utils.experiments import cohorts, config, interaction, load, planning, predict, results, run
from lungseg_utils.networks import patches, training
from lungseg_utils.prompts import ladder
from lungseg_utils.types import InputError

ROOT = project_root()
TESTS = ["phantom_nsclc"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project root with the real splits and a profile even smaller than smoke; phantoms are drawn once."""
    root = tmp_path_factory.mktemp("project")
    text = (ROOT / "experiments.yml").read_text()
    text = text.replace("train: 6, validation: 2, test: 3", "train: 2, validation: 1, test: 2").replace(
        "steps: 60, validate_every: 30", "steps: 6, validate_every: 3"
    )
    text = text.replace("pretraining_steps: 40", "pretraining_steps: 3")
    (root / "experiments.yml").write_text(text)
    shutil.copytree(ROOT / "data" / "splits", root / "data" / "splits")
    shutil.copy(ROOT / "data" / "frozen.json", root / "data")
    return root


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.setenv("LUNGSEG_ROOT", str(project))
    shutil.rmtree(project / "results", ignore_errors=True)
    return project


def _run(seed=0, **more):
    return run.run(planning.make_experiment("unet_full", "smoke", seed), TESTS, ["none"], progress=False, **more)


def test_tables_provenance_and_predictions_are_complete(here):
    result = _run()
    assert set(result.results["case_id"]) == set(cohorts.patients_to_test("phantom_nsclc", config.load().profile("smoke")))
    again = results.open_result(result.experiment)
    assert again.results.equals(result.results)
    provenance = json.loads((result.folder / "experiment.json").read_text())
    assert provenance["patients"]["train"] == [
        c.patient_id for c in cohorts.training_cohort("phantom_nsclc", config.load().profile("smoke"), 0).train
    ]
    assert len(provenance["sha256"]["weights"]) == len(provenance["sha256"]["data"]["phantom_nsclc"]) == 64
    assert provenance["options"]["steps"] == 6
    assert set(result.costs["quantity"]) >= {"prediction", "peak memory"}
    case = result.cases("phantom_nsclc")[0]
    study = load_study(case)
    assert result.prediction("phantom_nsclc", "none", case.case_id, study).shape == study.image.shape
    text = (result.folder / "experiment.json").read_text() + (result.folder / "results.csv").read_text()
    assert str(here) not in text


def test_a_second_run_trains_and_predicts_nothing_and_gives_the_same(here, monkeypatch):
    first = _run()
    monkeypatch.setattr(run, "load_study", lambda case: pytest.fail(f"{case.case_id} was read again"))
    assert _run().results.equals(first.results)


def test_the_same_seed_gives_the_same_table_and_another_seed_another(here):
    first = _run()
    weights = (first.folder / "weights.pt").stat().st_size
    shutil.rmtree(here / "results")
    second = _run()
    assert second.results.equals(first.results)
    assert (second.folder / "weights.pt").stat().st_size == weights
    assert _sha(second) == _sha(first)
    assert _sha(_run(seed=1)) != _sha(first)


def _sha(result):
    return result.provenance["sha256"]["weights"]


def test_another_number_of_threads_changes_the_tables_by_no_more_than_the_page_on_running_it_says(here):
    """Threads change the order of sums, which training enlarges. Measured with five seeds: 3e-4 of the sixth loss, 0.018 of a DSC.

    Random numbers drawn otherwise would show in the very first loss, which no training has enlarged.
    """
    first_loss, sixth_loss, largest_dsc = 1e-6, 1e-3, 0.05
    tables_of, threads_before = {}, torch.get_num_threads()
    experiment = planning.make_experiment(
        "unet_full", "smoke", options={"steps": 15, "learning_rate": 0.02, "foreground_share": 1.0, "validate_every": 15}
    )
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            tables_of[threads] = run.run(experiment, TESTS, ["none", "box_every_slice"], progress=False)
            shutil.rmtree(here / "results")
    finally:
        torch.set_num_threads(threads_before)
    losses = [r.history.query("quantity == 'training loss'")["value"] for r in tables_of.values()]
    np.testing.assert_allclose(losses[0][:1], losses[1][:1], rtol=first_loss)
    np.testing.assert_allclose(losses[0][:6], losses[1][:6], rtol=sixth_loss)
    one, two = (r.results for r in tables_of.values())
    assert one.drop(columns="value").equals(two.drop(columns="value"))
    dsc = one["metric"] == "dsc"
    assert one.loc[dsc, "value"].max() > 0.3
    np.testing.assert_allclose(one.loc[dsc, "value"], two.loc[dsc, "value"], atol=largest_dsc)
    page = (ROOT / "book" / "run_it.md").read_text()
    assert f"by at most {largest_dsc}" in page


def test_other_options_train_again(here):
    first = _run()
    other = run.run(planning.make_experiment("unet_full", "smoke", options={"steps": 4}), TESTS, ["none"], progress=False)
    assert other.folder != first.folder
    assert other.history["step"].max() == 4


def test_a_run_that_was_stopped_in_its_training_goes_on_from_the_checkpoint_to_the_same_weights(here):
    def preempted(what, done, total):
        seen.append(done)
        if done == 110 and len(seen) > 100:
            raise KeyboardInterrupt

    experiment = planning.make_experiment("unet_full", "smoke", options={"steps": 120, "validate_every": 60})
    undisturbed = _sha(run.run(experiment, TESTS, ["none"], progress=False))
    shutil.rmtree(here / "results")
    seen = []
    with progress.progress_callback(preempted), pytest.raises(KeyboardInterrupt):
        run.run(experiment, TESTS, ["none"], progress=False)
    seen = []
    with progress.progress_callback(preempted):
        again = run.run(experiment, TESTS, ["none"], progress=False)
    assert seen == list(range(100, 120))
    assert _sha(again) == undisturbed


def test_changed_training_data_trains_again_from_the_start(here, monkeypatch):
    """The weights of an outdated training must not be where the next one begins."""
    first = _run()
    trained = []
    monkeypatch.setattr(training, "train", _spy(training.train, trained))
    case = cohorts.training_cohort("phantom_nsclc", config.load().profile("smoke"), 0).train[0]
    files = {path: path.read_bytes() for path in case.image_path.rglob("*.dcm")}
    try:
        for path in files:  # another intercept makes other values of the same pixels
            header = pydicom.dcmread(path)
            if header.Modality == "CT":
                header.RescaleIntercept = float(header.RescaleIntercept) + 200
                header.save_as(path)
        again = _run()
    finally:
        for path, data in files.items():
            path.write_bytes(data)
    assert trained == [True]
    losses = [r.history.query("quantity == 'training loss'")["value"].tolist() for r in (first, again)]
    assert losses[0] != losses[1]
    assert _sha(_run()) == _sha(first)


def test_weights_of_an_earlier_network_do_not_block_a_changed_one(here):
    first = _run()
    (first.folder / "weights.pt").write_bytes(b"of another architecture")
    (first.folder / "trained.json").write_text('{"identity": "outdated"}')
    assert _sha(_run()) == _sha(first)


def _spy(function, calls):
    def wrapped(*args, **kwargs):
        calls.append(True)
        return function(*args, **kwargs)

    return wrapped


def test_a_model_that_fails_on_a_case_is_scored_as_empty_and_said_so(here, monkeypatch):
    segmenter = registry.plugin("models", "unet").build(registry.card("models", "unet").options).__class__
    true_predict, calls = segmenter.predict, []

    def fail_on_first(self, prompts=()):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return true_predict(self, prompts)

    monkeypatch.setattr(segmenter, "predict", fail_on_first)
    result = _run()
    failed = result.results[result.results["status"] == "failed"]
    assert failed["case_id"].nunique() == 1
    values = failed.set_index("metric")["value"]
    assert values["dsc"] == 0
    assert values["hd95"] == np.inf
    assert "out of memory" in next(c["failure"] for c in result.provenance["cases"])
    assert result.results[result.results["metric"] == "dsc"]["case_id"].nunique() == 3  # n has not become smaller


def test_a_damaged_case_stops_before_any_result(here):
    profile = config.load().profile("smoke")
    case = cohorts.cases_to_test("phantom_nsclc", profile)[0]
    victim = sorted(case.image_path.glob("*.dcm"))[3]
    original = victim.read_bytes()
    try:
        victim.write_bytes(original[: len(original) // 2])
        with pytest.raises(InputError, match=case.case_id):
            _run()
        assert not list((here / "results").rglob("results.csv"))
    finally:
        victim.write_bytes(original)


def test_a_training_that_diverges_is_kept_and_its_cases_are_failures_not_missing(here, monkeypatch):
    monkeypatch.setattr(patches, "build_loss", lambda name: lambda logits, targets: logits.mean() * np.nan)
    result = _run()
    assert set(result.results["status"]) <= {"failed", "undefined"}
    assert result.provenance["training_failure"].startswith("TrainingDiverged: the loss is nan at step 1")
    dsc = result.results[result.results["metric"] == "dsc"]
    assert dsc["case_id"].nunique() == 3
    assert (dsc["value"].dropna() == 0).all()
    trained = []
    monkeypatch.setattr(training, "train", _spy(training.train, trained))
    assert _run().results.equals(result.results)  # and it is not tried again in vain
    assert trained == []


def test_few_shot_uses_k_patients_and_none_to_validate_on(here):
    experiment = planning.make_experiment("unet_few_shot", "smoke", k=1)
    result = run.run(experiment, TESTS, ["none"], progress=False)
    profile = config.load().profile("smoke")
    assert result.provenance["patients"]["train"] == cohorts.few_shot_patients("phantom_nsclc", profile, 0, 1, 0)
    assert result.provenance["patients"]["validation"] == []
    assert set(result.history["quantity"]) == {"training loss", "seconds"}
    with pytest.raises(InputError, match="Choose k from 1 to 2"):
        run.run(planning.make_experiment("unet_few_shot", "smoke", k=3), TESTS, ["none"], progress=False)


def test_a_stand_in_starts_from_its_pretraining_and_says_so(here):
    result = run.run(planning.make_experiment("medsam_zero_shot", "smoke"), TESTS, ["box_every_slice", "box_one_slice"], progress=False)
    assert result.provenance["title"] == "SAM-type stand-in, CT-like pretraining, zero-shot"
    assert len(result.provenance["sha256"]["initial weights"]) == 64
    assert result.provenance["sha256"]["weights"] == "none"  # nothing was trained on patients
    control = run.run(
        planning.make_experiment("sam_zero_shot", "smoke", options={"pretraining": "random"}), TESTS, ["box_every_slice"], progress=False
    )
    assert control.provenance["sha256"]["initial weights"] == "none"
    names = {path.name.split("__")[1] for path in (here / "results" / "stand_ins").iterdir()}
    assert names == {"ct_like"}


def test_a_training_that_another_profile_did_is_not_done_again(here, monkeypatch):
    first = _run()
    (here / "results" / "smoke").rename(here / "results" / "another")
    monkeypatch.setattr(run, "_train", lambda *_: pytest.fail("it was trained again"))
    again = _run()
    assert again.results.equals(first.results)
    assert again.history["value"].tolist() == first.history["value"].tolist()
    assert again.provenance["sha256"] == first.provenance["sha256"]


def test_two_runs_of_one_experiment_at_once_are_refused_after_some_patience(here, hold_lock, monkeypatch):
    monkeypatch.setattr(run, "PATIENCE_SECONDS", 0.7)
    folder = here / "results" / "smoke" / planning.make_experiment("unet_full", "smoke").name
    with hold_lock(folder / ".lock"), pytest.raises(InputError, match="another process"):
        _run()
    _run()  # the lock died with its process


def test_a_patient_on_both_sides_is_refused(here):
    cases = cohorts.cases_to_test("phantom_nsclc", config.load().profile("smoke"))
    with pytest.raises(InputError, match="both trained on and tested on"):
        splits.require_apart(cases[:1], cases)


def test_the_ellipse_baseline_runs_by_its_boxes_and_reads_no_training_data(here):
    result = run.run(planning.make_experiment("baselines_zero_shot", "smoke"), TESTS, ["box_every_slice"], progress=False)
    dsc = tables.case_values(result.results, "dsc")["value"]
    assert 0.5 < dsc.mean() < 1
    assert result.provenance["patients"]["train"] == []
    assert result.provenance["sha256"]["weights"] == "none"
    with pytest.raises(InputError, match="unknown"):
        run.run(planning.make_experiment("baselines_zero_shot", "smoke"), TESTS, ["telepathy"], progress=False)


def test_a_prediction_is_the_models_own_on_the_original_grid(here):
    result = _run()
    case = result.cases("phantom_nsclc")[0]
    study = load_study(case)
    segmenter = registry.plugin("models", "unet").build(result.provenance["options"])
    segmenter.load(result.folder / "weights.pt")
    expected = interaction.run_interaction(segmenter, study, study.references["reference"], "none", np.random.default_rng(0))[0]
    stored = result.prediction("phantom_nsclc", "none", case.case_id, study)
    assert np.array_equal(expected.mask.array, stored.array)


def test_predict_on_the_command_line_writes_a_mask_on_the_image(here, tmp_path):
    _run()
    case = cohorts.cases_to_test("phantom_nsclc", config.load().profile("smoke"))[0]
    image = images.read_image(case.image_path)
    nifti.write_image(image, tmp_path / "ct.nii.gz")
    command = [sys.executable, "-m", "lungseg_utils", "predict", "--model", "unet", "--profile", "smoke"]
    command += ["--image", str(tmp_path / "ct.nii.gz"), "--out", str(tmp_path / "mask.nii.gz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert nifti.read_mask(tmp_path / "mask.nii.gz", like=image, allow_empty=True).shape == image.shape


@pytest.mark.parametrize("name", ["HU + 1024", "voxels of 800 m"])
def test_predict_asks_no_model_about_what_is_no_ct(tmp_path, monkeypatch, name):
    array = np.random.default_rng(0).integers(-1000, 1000, (24, 24, 8)).astype(np.int16)
    side = 800000.0 if name != "HU + 1024" else 1.0
    nib.save(nib.Nifti1Image(array + (1024 if side == 1 else 0), np.diag([side, side, side, 1.0])), tmp_path / "ct.nii")
    monkeypatch.setattr(predict, "_trained", lambda *_: None)
    monkeypatch.setattr(load, "segmenter_of", lambda _: pytest.fail("asked"))
    with pytest.raises(InputError, match="no chest CT in HU" if side == 1 else "its voxels are 800000"):
        predict.predict_file("unet", tmp_path / "ct.nii", tmp_path / "mask.nii.gz")
    assert not (tmp_path / "mask.nii.gz").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "medsam", "--image", "ct.nii.gz", "--out", "m.nii.gz"], "answers prompts only"),
        (["--model", "unet", "--image", "ct.nii.gz", "--out", "m.png"], "Let the name end in .nii.gz"),
        (["--model", "unet", "--image", "ct.nii.gz", "--out", "ct.nii.gz"], "it is read, as ct.nii.gz, and would be overwritten"),
        (["--model", "unet", "--image", "ct.nii.gz", "--out", "/proc/m.nii.gz"], "it cannot be written"),
        (["--model", "unet", "--image", "ct.nii.gz", "--out", "m.nii.gz"], "not trained under profile"),
        (["--model", "vnet", "--image", "ct.nii.gz", "--out", "m.nii.gz"], "not among the models"),
    ],
)
def test_predict_names_what_is_wrong_and_ends_with_2(here, more, message):
    done = subprocess.run([sys.executable, "-m", "lungseg_utils", "predict", *more], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["unet_few_shot", "--k", "-1"], "unet_few_shot: k is -1. Give a whole number from 0"),
        (
            ["unet_few_shot", "--k", "3"],
            "k = 3: phantom_nsclc has 2 training patients with a tumor under profile smoke. Choose k from 1 to 2",
        ),
        (["unet_few_shot", "--draw", "-2"], "draw is -2"),
        (["unet_full", "--seed", "-1"], "seed is -1. Give a whole number from 0 to 4294967295"),
        (["unet_full", "--fold", "5"], "fold is 5. Give a whole number from 0 to 4"),
        (["unet_full", "--k", "5"], "unet_full: k is 5 and draw 0, but it is not few-shot"),
        (["unet_full", "--profile", "gigantic"], "profile gigantic: not in experiments.yml. Choose one of smoke"),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_written(here, monkeypatch, capsys, more, message):
    monkeypatch.setattr(cohorts, "ensure_phantoms", lambda *a, **k: pytest.fail("phantoms were drawn"))
    assert __main__.main(["run", "--profile", "smoke", *more]) == 2
    assert message in capsys.readouterr().err
    assert not (here / "results").exists()


def test_a_seed_that_is_no_number_is_refused_by_name(capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(["run", "unet_full", "--seed", "x"])
    assert ended.value.code == 2
    assert "argument --seed: invalid int value: 'x'" in capsys.readouterr().err


def test_a_prompter_may_look_at_the_answer_and_speak_again(here, monkeypatch):
    heard = []

    def twice(reference, rng):
        heard.append((yield ()))
        heard.append((yield ()))

    card = ladder.PromptSetting("two looks", "none", "nothing", "none", twice, looks=2)
    monkeypatch.setattr(ladder, "PROMPT_SETTINGS", {**ladder.PROMPT_SETTINGS, "twice": card})
    case = cohorts.cases_to_test("phantom_nsclc", config.load().profile("smoke"))[0]
    study = load_study(case)
    segmenter = registry.plugin("models", "trivial").build({"rule": "ellipse", "median_diameter_mm": 20.0})
    last = interaction.run_interaction(segmenter, study, study.references["reference"], "twice", np.random.default_rng(0))[0]
    assert len(heard) == 2
    assert heard[-1] is last


def test_list_prints_every_plugin():
    done = subprocess.run([sys.executable, "-m", "lungseg_utils", "list"], capture_output=True, text=True, check=True)
    for kind in registry.KINDS:
        for name in registry.names(kind):
            assert name in done.stdout


def test_notebooks_are_thin_and_stored_without_outputs():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        code = [c for c in cells if c["cell_type"] == "code"]
        assert len(code) <= 12, path
        for cell in code:
            source = "".join(cell["source"])
            assert cell["outputs"] == [], path
            assert cell["execution_count"] is None, path
            assert len(source.splitlines()) <= 12, (path, source)
            assert "def " not in source, path
            assert "sys.path" not in source, path
            assert str(Path.home()) not in source, path


def test_a_trained_model_is_its_own_control_on_prompted_settings_and_gives_the_detectors_boxes(here):
    settings = ["box_one_slice", "detector_box", "none"]
    control = run.run(planning.make_experiment("unet_full", "smoke"), TESTS, settings, progress=False)
    asked = control.results.query("metric == 'prediction_volume' and lesion_id == ''")
    volumes = asked.pivot_table(index="case_id", columns=["prompter", "jitter"], values="value")
    assert set(volumes.columns) == {("box_one_slice", 0.0), ("box_one_slice", 0.2), ("detector_box", 0.0), ("none", 0.0)}
    shares = control.costs.query("quantity == 'fallback' and jitter == 0").pivot_table(index="case_id", columns="prompter", values="value")
    assert "none" not in shares
    fell_back = shares["box_one_slice"].reindex(volumes.index, fill_value=0) > 0  # a case without a lesion has no prompt
    assert (volumes["box_one_slice", 0.0] <= volumes["none", 0.0])[~fell_back].all()
    assert (volumes["box_one_slice", 0.0] > 0)[fell_back].all()
    actions = control.costs.query("quantity == 'actions' and jitter == 0").groupby("prompter")["value"].sum()
    assert actions["none"] == actions["detector_box"] == 0
    assert actions["box_one_slice"] >= 2
    rule = json.loads(next((control.folder / "detections").rglob("rule.json")).read_text())
    drawn_by = {"weights": control.provenance["sha256"]["weights"], "rule": rule["rule"]}
    assert control.provenance["detectors"] == {control.experiment.name: drawn_by}
    assert rule["chosen_on"] == control.provenance["patients"]["validation"]


def test_a_zero_shot_answer_takes_no_boxes_from_a_detector_of_the_same_data_set(here):
    run.run(planning.make_experiment("unet_full", "smoke"), TESTS, ["none"], progress=False)
    tests = ["phantom_nsclc", "phantom_msd"]
    found = run.run(
        planning.make_experiment("baselines_zero_shot", "smoke"), tests, ["box_one_slice", "detector_box"], progress=False
    ).results
    assert set(found[found["prompter"] == "detector_box"]["test_dataset"]) == {"phantom_msd"}
    assert set(found[found["prompter"] == "box_one_slice"]["test_dataset"]) == set(tests)


def test_boxes_of_a_detector_that_is_not_trained_are_refused_by_name(here):
    with pytest.raises(InputError, match=r"smoke__unet__full.*not trained"):
        run.run(planning.make_experiment("baselines_zero_shot", "smoke"), ["phantom_msd"], ["detector_box"], progress=False)
