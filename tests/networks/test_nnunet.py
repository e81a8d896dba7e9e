"""nnU-Net in process: it learns, repeats by seed, keeps its answer through a file, knows spacing and sides, and leaks nothing."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.networks import nnunet, training
from lungseg_utils.types import InputError, Mask, TrainingDiverged, TrainingRun
from tests.support.trained_nnunet import ball

MODEL = registry.plugin("models", "nnunet")
SPACING = (1.5, 2.0, 3.0)
TINY = {
    **MODEL.CARD.options,
    "spacing_mm": SPACING,
    "patch": (8, 24, 24),
    "features_per_stage": (8, 16, 32),
    "epochs": 5,
    "iterations_per_epoch": 15,
    "device": "cpu",
}
TINY_2D = TINY | {"configuration": "2d", "patch": (24, 24), "batch_size": 8}
SHORT = TINY | {"epochs": 1, "iterations_per_epoch": 3}


def _study(seed, shape=(40, 28, 14), spacing=SPACING):
    return ball(seed, shape, spacing, radius=9, margins=(10, 10))


def _fit(options, folder, train, validation=(), seed=0):
    segmenter = MODEL.build(options)
    history = segmenter.fit(train, validation, TrainingRun(seed, folder, "x", progress=False))
    return segmenter, history


def _dsc(segmenter, study):
    segmenter.set_image(study.image)
    answer, reference = segmenter.predict(()).mask.array, study.references["reference"].array
    return 2 * (answer & reference).sum() / (answer.sum() + reference.sum())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(segmenter, history, folder) of a 3-D nnU-Net that was trained for some seconds."""
    folder = tmp_path_factory.mktemp("nnunet")
    return *_fit(TINY, folder, [_study(s) for s in range(4)], [_study(9)]), folder


def test_in_3d_it_learns_a_ball_and_puts_it_back_where_it_is(trained):
    segmenter, history, _ = trained
    assert _dsc(segmenter, _study(20)) > 0.8
    losses = history.query("quantity == 'training loss'")
    assert losses["step"].tolist() == list(range(1, 76))
    assert losses["value"][-15:].mean() < losses["value"][:15].mean() - 0.5
    assert history.query("quantity == 'pseudo Dice'")["step"].tolist() == [15, 30, 45, 60, 75]
    assert history.query("quantity == 'validation DSC'")["value"].item() == pytest.approx(_dsc(segmenter, _study(9)))


def test_an_image_of_another_spacing_is_answered_on_its_own_grid(trained):
    for spacing, shape in (((2.5, 1.0, 2.0), (26, 60, 22)), ((1.0, 1.2, 5.0), (64, 44, 10))):
        assert _dsc(trained[0], _study(21, shape, spacing)) > 0.7


def test_in_2d_it_learns_too(tmp_path):
    segmenter, _ = _fit(TINY_2D, tmp_path, [_study(s) for s in range(4)])
    assert _dsc(segmenter, _study(20)) > 0.7
    assert _dsc(segmenter, _study(21, (26, 60, 22), (2.5, 1.0, 2.0))) > 0.6


def test_the_file_holds_all_that_is_needed_for_the_same_answer(trained, tmp_path):
    segmenter, study = trained[0], _study(20)
    segmenter.save(tmp_path / "a.pt", {"identity": "here"})
    again = MODEL.build(TINY)
    assert again.load(tmp_path / "a.pt") == {"identity": "here"}
    answers = []
    for each in (segmenter, again):
        each.set_image(study.image)
        answers.append(each.predict(()))
    assert np.array_equal(answers[0].probability, answers[1].probability)
    assert np.array_equal(answers[0].mask.array, answers[1].mask.array)
    assert answers[0].probability.dtype == np.float32
    assert np.array_equal(answers[0].mask.array, answers[0].probability > 0.5)
    again.save(tmp_path / "b.pt", {"identity": "here"})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert again.parameters() == segmenter.parameters()


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path):
    files = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        segmenter, _ = _fit(SHORT, tmp_path / name, [_study(0), _study(1)], seed=seed)
        segmenter.save(tmp_path / f"{name}.pt", {})
        files.append((tmp_path / f"{name}.pt").read_bytes())
    assert files[0] == files[1] != files[2]


def test_few_shot_sees_its_own_patients_only(tmp_path, monkeypatch):
    from lungseg_utils.networks import nnunet_steps

    seen = []

    def spy(folder, plans, split, *more, made=nnunet_steps.trainer):
        seen.append((split, sorted(p.name for p in folder.rglob("*.nii"))))
        return made(folder, plans, split, *more)

    monkeypatch.setattr(nnunet_steps, "trainer", spy)
    _, history = _fit(SHORT, tmp_path, [_study(0)])
    assert seen[0][0] == (["case_0000"], ["case_0000"])
    assert set(seen[0][1]) == {"case_0000.nii", "case_0000_0000.nii"}
    assert set(history["quantity"]) == {"training loss"}
    _, history = _fit(SHORT, tmp_path, [_study(0)], [_study(1)])
    assert seen[1][0] == (["case_0000"], ["case_0001"])
    assert {"pseudo Dice", "validation DSC"} < set(history["quantity"])


def test_what_nnunet_writes_lies_in_its_folder_and_the_environment_is_as_before(trained):
    _, _, folder = trained
    assert [p.name for p in folder.iterdir()] == ["nnunet"]
    assert "Dataset001_LungTumor" in (folder / "nnunet" / "log.txt").read_text()
    assert sorted(p.name for p in (folder / "nnunet").iterdir()) == ["log.txt", "nnUNet_results"]  # copies of the data are gone
    assert not [name for name in os.environ if name.startswith("nnUNet_")]


def test_the_plans_hold_what_was_asked_for_and_leave_the_rest_to_nnunet(trained, tmp_path):
    changed = trained[0]._planned.plans["configurations"]["benchmark"]
    assert changed["inherits_from"] == "3d_fullres"
    assert changed["patch_size"] == [8, 24, 24]
    assert changed["architecture"]["arch_kwargs"]["features_per_stage"] == [8, 16, 32]
    own = dict.fromkeys(MODEL._SIZES) | {"batch_dice": False}
    segmenter, _ = _fit(SHORT | {"iterations_per_epoch": 1} | own, tmp_path, [_study(0), _study(1)])
    plans = segmenter._planned.plans
    assert plans["configurations"]["benchmark"] == {"inherits_from": "3d_fullres"}
    assert plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"][0] == 32
    assert plans["original_median_spacing_after_transp"] == [3.0, 2.0, 1.5]


def test_the_ceiling_is_one_on_its_own_grid_and_lower_on_a_finer_one(trained):
    assert trained[0].resolution_ceiling(_study(3).references["reference"]) == 1.0
    fine = _study(3, (120, 90, 60), (0.5, 0.6, 0.7)).references["reference"]
    assert 0.8 < trained[0].resolution_ceiling(fine) < 1.0
    assert np.isnan(MODEL.build(TINY).resolution_ceiling(fine))


def test_a_loss_that_is_not_finite_stops_training(tmp_path, monkeypatch):
    from lungseg_utils.networks import nnunet_steps

    step = nnunet_steps.nnUNetTrainer.train_step
    calls = []

    def poisoned(self, batch):
        calls.append(1)
        return step(self, batch | {"data": batch["data"] * (float("nan") if len(calls) == 2 else 1.0)})

    monkeypatch.setattr(nnunet_steps.nnUNetTrainer, "train_step", poisoned)
    segmenter = MODEL.build(SHORT)
    with pytest.raises(TrainingDiverged, match="step 2") as caught:
        segmenter.fit([_study(0)], [], TrainingRun(0, tmp_path, "x", progress=False))
    assert len(caught.value.history) == 1


def test_before_training_it_says_so(tmp_path):
    segmenter = MODEL.build(TINY)
    assert segmenter.parameters() == {"parameters": 0, "parameters_trained": 0}
    segmenter.set_image(_study(0).image)
    with pytest.raises(InputError, match="not trained"):
        segmenter.predict(())
    with pytest.raises(InputError, match="not trained"):
        segmenter.save(tmp_path / "w.pt", {})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"configuration": "3d_lowres"}, "configuration"),
        ({"patch": (24, 24)}, "patch"),
        ({"patch": (4, 24, 24)}, "patch"),
        ({"spacing_mm": (1.0, -1.0, 1.0)}, "spacing_mm"),
        ({"epochs": -1}, "epochs"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"features_per_stage": (8, 0, 8)}, "features_per_stage"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(change, named):
    with pytest.raises(InputError, match=named):
        MODEL.build(TINY | change)


def test_stages_that_do_not_fit_the_patch_and_patients_without_tumor_are_refused(tmp_path):
    with pytest.raises(InputError, match="features_per_stage"):
        _fit(SHORT | {"features_per_stage": (8, 16, 32, 64, 64, 64)}, tmp_path, [_study(0)])
    study = _study(0)
    empty = replace(study, references={"reference": Mask(np.zeros(study.image.shape, bool), study.image.affine)})
    with pytest.raises(InputError, match="tumor"):
        _fit(SHORT, tmp_path, [empty])


def test_weights_of_another_kind_are_refused(trained, tmp_path):
    trained[0].save(tmp_path / "3d.pt", {})
    with pytest.raises(InputError, match="not a 2d"):
        MODEL.build(TINY_2D).load(tmp_path / "3d.pt")
    training.save_weights(torch.nn.Linear(2, 2), tmp_path / "other.pt", {"identity": "x"})
    with pytest.raises(InputError, match="plans"):
        MODEL.build(TINY).load(tmp_path / "other.pt")


def test_only_the_full_recipe_bears_the_name_alone():
    full = {**MODEL.CARD.options} | dict.fromkeys(MODEL._SIZES) | {"epochs": None, "iterations_per_epoch": None}
    assert MODEL.title(full) == "nnU-Net"
    assert MODEL.title(full | {"epochs": 1000, "iterations_per_epoch": 250}) == "nnU-Net"
    assert MODEL.title(full | {"epochs": 50, "iterations_per_epoch": 0}) == "nnU-Net (50 epochs)"
    assert MODEL.title(full | {"patch": (8, 24, 24)}) == "nnU-Net (own sizes)"
    assert MODEL.title(TINY) == "nnU-Net (5 epochs of 15 steps, own sizes)"
    assert MODEL.CARD.title == MODEL.title(MODEL.CARD.options) != "nnU-Net"
    assert (MODEL.FULL_EPOCHS, MODEL.FULL_ITERATIONS) == (nnunet.EPOCHS, nnunet.ITERATIONS_PER_EPOCH)
    own = nnunet.Settings.from_options(full)
    assert own.schedule(validates=True) == {"epochs": 1000, "iterations": 250, "validation_iterations": 50}
