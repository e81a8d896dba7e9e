"""experiments.yml: what is in it holds, and every fault is named with its place."""

import json
import shutil

import pytest

from lungseg_utils import registry
from lungseg_utils.book import inputs
from lungseg_utils.core import project, provenance
from lungseg_utils.data import splits
from lungseg_utils.experiments import cohorts, config, detector, planning
from lungseg_utils.phantoms.store import generator_hash
from lungseg_utils.reporting import wording
from lungseg_utils.types import Experiment, InputError

PUBLISHED = registry.published()
STAND_INS = config.load().profile("smoke").stand_ins
SHARE_A_STAND_IN = {model: next(n for n, s in STAND_INS.items() if s == stand_in) for model, stand_in in STAND_INS.items()}  # one row


def _changed(tmp_path, old, new):
    text = (project.project_root() / "experiments.yml").read_text()
    assert old in text
    (tmp_path / "experiments.yml").write_text(text.replace(old, new, 1))
    return tmp_path / "experiments.yml"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("grid: small", "grid: huge", "profiles/smoke/phantoms/grid"),
        ("train: 6", "train: 0", "profiles/smoke/phantoms/train"),
        ("seeds: [0]", "seed: [0]", "profiles/smoke"),
        ("model: unet\n", "model: vnet\n", "not among the models"),
        ("paradigm: full", "paradigm: magic", "not among the paradigms"),
        ("notebook: medsam_zero_shot,", "notebook: medsam_zero_shot, prompters: [telepathy],", "telepathy"),
        ("notebook: medsam_zero_shot,", "notebook: medsam_zero_shot, prompters: [click],", "does not take"),
        ("prompters: [box_every_slice, box_one_slice, none]", "prompters: [telepathy]", "prompt setting telepathy"),
        ("jitter: {prompters: [box_one_slice]", "jitter: {prompters: [telepathy]", "prompt setting telepathy"),
        ("shares: [0.2]", "shares: [0]", "profiles/smoke/jitter/shares"),
        ("full: unet_full}", "full: sam_zero_shot}", "full has no automatic notebook"),
        ("full: unet_full}", "half: unet_full}", "full has no automatic notebook"),
        ("train_dataset: phantom_nsclc", "train_dataset: atlantis", "not among the datasets"),
        ("steps: 60", "stepz: 60", "no option stepz"),
        ("steps: 60", "steps: many", "option steps of unet is 'many'"),
        ("notebook: baselines_zero_shot", "notebook: unet_full", "listed twice"),
        ("k: [2]", "k: [0]", "profiles/smoke/k"),
        ("sam: {model: sam_stand_in, options: {pretraining: shapes}}", "sam: {model: unet}", "cannot stand in"),
        ("sam: {model: sam_stand_in", "sammy: {model: sam_stand_in", "sammy"),
        ("{pretraining: shapes}}", "{pretrained: shapes}}", "no option pretrained"),
        ("sam_zero_shot: [{pretraining: random}]", "sam_zero: [{pretraining: random}]", "sam_zero is not among the experiments"),
        ("sam_zero_shot: [{pretraining: random}]", "sam_zero_shot: [{rule: filled}]", "no option rule"),
        ("train_datasets: [phantom_nsclc, phantom_msd]", "train_datasets: [phantom_nsclc, atlantis]", "atlantis"),
        ("    test_datasets: [phantom_nsclc, phantom_msd]\n    real", "    test_datasets: [atlantis]\n    real", "atlantis"),
        ("profiles:", "profiles: [", "cannot be read"),
    ],
)
def test_each_fault_is_named(tmp_path, old, new, message):
    path = _changed(tmp_path, old, new)
    with pytest.raises(InputError, match=message) as caught:
        config.load(path)
    assert "experiments.yml" in str(caught.value)


def test_every_line_has_its_notebook_and_every_plan_a_name_of_its_own():
    loaded = config.load()
    for notebook in loaded.experiments:
        assert inputs.notebook(notebook).is_file()
    for profile, size in loaded.profiles.items():
        planned = {line.notebook: planning.make_experiment(line.notebook, profile).name for line in loaded.lines(profile)}
        alike = {name: name.replace(line.model, SHARE_A_STAND_IN.get(line.model, line.model)) for name, line in loaded.experiments.items()}
        rows = {alike[name] if size.stand_ins else name for name in planned}
        assert len(set(planned.values())) == len(rows)
        assert all(planned[name] == planned.get(alike[name], planned[name]) for name in planned if size.stand_ins)
        assert all(name.startswith(f"{profile}__") for name in planned.values())


def test_stand_ins_take_the_place_and_the_name_of_published_models_and_share_a_row_where_they_would_share_weights():
    ours, theirs = planning.make_experiment("medsam2_zero_shot", "phantoms"), planning.make_experiment("medical_sam2_zero_shot", "phantoms")
    assert ours == theirs
    assert ours.model == "sam2_stand_in"
    published = [registry.card("models", name).title for name in PUBLISHED]
    for line in config.load().notebooks("phantoms"):
        for experiment in planning.planned_runs(line, "phantoms"):
            assert not any(name in planning.experiment_title(experiment) or name in experiment.name for name in published)
            assert not set(PUBLISHED) & set(experiment.name.split("__"))
    note = wording.what_runs_here(ours, "medical_sam2_zero_shot")
    assert "no number on this page is a result of Medical SAM 2" in note


def test_the_paper_profile_is_the_published_models_by_their_own_recipe_trained_in_both_directions_and_never_on_rider():
    planned, size = planning.all_planned("paper"), config.load().profile("paper")
    assert not size.stand_ins
    assert config.load().trained_on("paper") == {"nsclc_radiomics", "msd_lung"}
    for experiment in planned:
        module, options = registry.plugin("models", experiment.model), config.resolve_options(experiment, size)
        if hasattr(module, "initial_weights"):
            assert module.initial_weights(options) in module.CHECKPOINTS
        if experiment.model == "nnunet":  # without any addition to the name: nothing is less than nnU-Net's recipe
            assert planning.experiment_title(experiment).startswith("nnU-Net, ")
        if experiment.k is not None:
            assert experiment.fold == 0
    runs = {(e.train_dataset, e.fold) for e in planned if (e.model, e.paradigm) == ("nnunet", "full")}
    assert runs == {(name, fold) for name in ("nsclc_radiomics", "msd_lung") for fold in range(5)}  # five runs of each method
    draws = {(e.train_dataset, e.k, e.draw) for e in planned if (e.model, e.paradigm) == ("medsam", "few_shot")}
    assert len(draws) == 2 * 3 * 10
    assert planning.make_experiment("medsam_few_shot", "paper").k == 5


def test_published_promptable_models_have_a_row_in_each_of_two_windows_in_the_paper_profile():
    titles = {}
    for line in config.load().lines("paper"):
        if "window_hu" in registry.card("models", line.model).options and line.model in PUBLISHED:
            runs = planning.planned_runs(line.notebook, "paper")
            assert all(hash(experiment) for experiment in runs)
            titles[line.notebook] = {planning.model_title(experiment) for experiment in runs}
    assert titles["litemedsam_zero_shot"] == {"LiteMedSAM, W400 L40", "LiteMedSAM, W1500 L-160"}
    for notebook, found in titles.items():
        assert {title.rpartition(", ")[0] for title in found if title.endswith(", W400 L40")} == {
            title.rpartition(", ")[0] for title in found if title.endswith(", W1500 L-160")
        }, notebook
        assert all(title.endswith((", W400 L40", ", W1500 L-160")) for title in found)


def test_zero_shot_is_planned_once_and_few_shot_for_every_k_and_draw(tmp_path, monkeypatch):
    path = _changed(tmp_path, "seeds: [0]", "seeds: [0, 1]")
    path.write_text(path.read_text().replace("k: [2]", "k: [1, 2]", 1).replace("draws: [0]", "draws: [0, 1, 2]", 1))
    loaded = config.load(path)
    monkeypatch.setattr(config, "load", lambda: loaded)
    assert len(planning.planned_runs("medsam_zero_shot", "smoke")) == 1
    assert len(planning.planned_runs("sam_zero_shot", "smoke")) == 2  # and its control
    assert len(planning.planned_runs("medsam_few_shot", "smoke")) == 2 * 2 * 3
    assert len(planning.planned_runs("unet_full", "smoke")) == 2
    assert planning.make_experiment("medsam_few_shot", "smoke").k == 1


def test_a_profile_with_two_training_sets_trains_each_model_on_both_and_says_so_in_its_titles():
    both = ["phantom_nsclc", "phantom_msd"]
    full, few = planning.planned_runs("unet_full", "standard"), planning.planned_runs("medsam_few_shot", "standard")
    assert [e.train_dataset for e in full] == [e.train_dataset for e in few] == both
    assert planning.make_experiment("unet_full", "standard") == full[0]
    assert [planning.experiment_title(e) for e in full] == [
        "U-Net, full training on Phantom NSCLC",
        "U-Net, full training on Phantom MSD Lung",
    ]
    assert planning.experiment_title(few[1]).endswith("few-shot on Phantom MSD Lung, k = 5")
    assert planning.experiment_title(planning.make_experiment("unet_full", "phantoms")) == "U-Net, full training"
    zero_shot = planning.planned_runs("medsam_zero_shot", "standard")
    assert [e.train_dataset for e in zero_shot] == ["none"]
    # boxes come from the detector that was trained on the same patients; those of a zero-shot model from one of another data set
    assert [detector.detector_of(e, "phantom_nsclc") for e in planning.planned_runs("medsam_fine_tuned", "standard")] == full
    assert [detector.detector_of(zero_shot[0], name) for name in (*both, "lidc_idri")] == [full[1], full[0], full[0]]
    assert all(detector.applies(zero_shot[0], name) for name in both)
    assert not detector.applies(planning.make_experiment("medsam_zero_shot", "phantoms"), "phantom_nsclc")  # which trains on nothing else


def test_few_shot_draws_are_nested_differ_and_have_no_validation_patient():
    profile = config.load().profile("smoke")
    small, large = (cohorts.few_shot_patients("phantom_nsclc", profile, 0, k, draw=3) for k in (2, 5))
    assert large[:2] == small
    assert len(set(large)) == 5
    assert {tuple(cohorts.few_shot_patients("phantom_nsclc", profile, 0, 3, draw)) for draw in range(4)} != {tuple(large[:3])}
    train, validation = cohorts.training_patients("phantom_nsclc", profile, 0)
    assert set(large) <= set(train)
    assert not set(large) & set(validation)
    with pytest.raises(InputError, match=r"k = 7.*6 training patients"):
        cohorts.few_shot_patients("phantom_nsclc", profile, 0, 7, draw=0)


def test_names_of_experiments_are_a_function_of_their_fields():
    base = Experiment("phantoms", "d", "unet", "full", options=(("steps", 5),))
    assert base.name == Experiment("phantoms", "d", "unet", "full", options=(("steps", 5),)).name
    others = [
        Experiment("phantoms", "d", "unet", "full", options=(("steps", 6),)),
        Experiment("phantoms", "d", "unet", "full", seed=1, options=(("steps", 5),)),
        Experiment("phantoms", "d", "unet", "full", k=5, options=(("steps", 5),)),
        Experiment("phantoms", "d", "unet", "full", fold=1, options=(("steps", 5),)),
    ]
    assert len({base.name, *(e.name for e in others)}) == 5


def test_options_of_an_experiment_are_checked_and_win_over_the_profile():
    experiment = planning.make_experiment("unet_full", "smoke", options={"steps": 7})
    assert config.resolve_options(experiment, config.load().profile("smoke"))["steps"] == 7
    with pytest.raises(InputError, match="no option"):
        planning.make_experiment("unet_full", "smoke", options={"steqs": 7})
    with pytest.raises(InputError, match="Choose one of"):
        planning.make_experiment("unet_full", "gigantic")


@pytest.mark.parametrize("seed", ["1", 1.0, True, None, -1, 2**32])
def test_a_seed_is_a_whole_number_that_all_generators_take(seed):
    with pytest.raises(InputError, match=r"unet_full: seed is .*\. Give a whole number from 0 to 4294967295"):
        planning.make_experiment("unet_full", "smoke", seed=seed)
    assert planning.make_experiment("unet_full", "smoke", seed=2**32 - 1).seed == 2**32 - 1


@pytest.mark.parametrize("dataset", ["phantom_nsclc", "phantom_msd"])
def test_splits_keep_patients_apart_in_every_profile_and_fold(dataset):
    for profile in config.load().profiles.values():
        tested = cohorts.patients_to_test(dataset, profile)
        assert len(tested) == profile.phantoms.test + profile.phantoms.tumor_free
        validated = []
        for fold in range(5):
            train, validation = cohorts.training_patients(dataset, profile, fold)
            assert len(train) == len(set(train)) == profile.phantoms.train
            assert not set(train) & set(validation)
            assert not (set(train) | set(validation)) & set(tested)
            validated += validation
        assert len(set(validated)) == len(validated)  # folds rotate


def test_a_split_with_a_patient_on_two_lines_is_refused(tmp_path, monkeypatch):
    for part in ("experiments.yml", "data/splits/phantom_nsclc.csv"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project.project_root() / part, tmp_path / part)
    monkeypatch.setenv("LUNGSEG_ROOT", str(tmp_path))
    path = tmp_path / "data/splits/phantom_nsclc.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(InputError, match="stands twice"):
        splits.read_splits("phantom_nsclc")
    with pytest.raises(InputError, match="the table does not exist"):
        splits.read_splits("phantom_msd")


def test_asking_for_more_patients_than_there_are_is_refused(tmp_path, monkeypatch):
    path = _changed(tmp_path, "test: 3", "test: 300")
    with pytest.raises(InputError, match="300 asked for"):
        cohorts.patients_to_test("phantom_nsclc", config.load(path).profile("smoke"))


def test_test_phantoms_need_the_frozen_generator(tmp_path, monkeypatch):
    monkeypatch.setattr(cohorts, "FROZEN_FILE", tmp_path / "frozen.json")
    (tmp_path / "frozen.json").write_text('{"phantom_generator_sha256": "another"}')
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path / "cache")
    with pytest.raises(InputError, match="frozen generator"):
        cohorts.ensure_phantoms("phantom_nsclc", config.load().profile("phantoms"), ["PN-90000"])
    assert not (tmp_path / "cache").exists()


def test_a_root_without_a_grid_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGSEG_ROOT", str(tmp_path))
    with pytest.raises(InputError, match=r"no experiments\.yml"):
        project.project_root()


def test_generator_and_settings_are_those_that_were_frozen_before_test_phantoms_were_drawn():
    frozen = json.loads((project.project_root() / cohorts.FROZEN_FILE).read_text())
    assert frozen["phantom_generator_sha256"] == generator_hash()
    profile, trained = config.load().profile("phantoms"), set()
    for experiment in (e for line in config.load().lines("phantoms") for e in planning.planned_runs(line.notebook, "phantoms")):
        trained |= {experiment.model} if registry.card("models", experiment.model).options else set()
    assert set(frozen["options_sha256"]) == trained - {"trivial"}
    for model, expected in frozen["options_sha256"].items():
        options = config.resolve_options(Experiment("phantoms", "none", model, "zero_shot"), profile)
        assert provenance.sha256_of_json(options) == expected, f"the options of {model} changed after the freeze: say so as a deviation"
