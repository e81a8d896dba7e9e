"""Labels used for settings: counted from the records of the models and the committed splits."""

import pytest

from lungseg_utils import registry
from lungseg_utils.experiments import config, planning
from lungseg_utils.reporting import settings_labels
from lungseg_utils.types import Experiment, InputError

PHANTOMS = 50 + 24  # development phantoms in five folds, and those that judged settings
PATIENTS = 41 + 41 + 41 + 41 + 40  # development patients of LIDC nodules, in five folds


def _count(notebook, profile, setting, dataset="lidc_nodules"):
    return settings_labels.count(planning.make_experiment(notebook, profile), dataset, setting)


@pytest.mark.parametrize(
    ("notebook", "profile", "setting", "labels"),
    [
        ("unet_full", "phantoms", "none", PHANTOMS),
        ("unet_full", "patients", "none", PHANTOMS + PATIENTS),
        ("unet_prompted_full", "phantoms", "box_one_slice", PHANTOMS + PATIENTS),
        ("nnunet_full", "paper", "none", 0),
        ("nnunet_full", "paper", "click", 40),  # its fallback is a ball
        ("litemedsam_zero_shot", "patients", "box_one_slice", 0),
        ("litemedsam_fine_tuned", "patients", "box_one_slice", PATIENTS),
        ("medsam_zero_shot", "phantoms", "box_one_slice", PHANTOMS),  # a stand-in, not the published weights
        ("baselines_zero_shot", "phantoms", "box_one_slice", 0),
        ("baselines_zero_shot", "phantoms", "recist_points", 0),  # the line gives the size of the ball
        ("baselines_zero_shot", "phantoms", "click", 40),  # training phantoms of fold 0
        ("baselines_zero_shot", "patients", "click", 163),
        ("litemedsam_zero_shot", "paper", "detector_box", PHANTOMS),  # those of the U-Net that finds the boxes
    ],
)
def test_labels_are_counted_by_method_profile_and_prompt(notebook, profile, setting, labels):
    assert _count(notebook, profile, setting) == labels


def test_every_model_of_the_grid_declares_its_labels_at_every_prompt_setting():
    for profile in config.load().profiles:
        for experiment in planning.all_planned(profile):
            assert settings_labels.declared(experiment, "none"), experiment.name
    assert {record["model"] for record in settings_labels.read()} <= set(registry.names("models"))


def test_a_model_that_declares_nothing_is_not_called_zero():
    experiment = Experiment("phantoms", "none", "new_model", "zero_shot")
    assert settings_labels.count(experiment, "phantom_nsclc", "none") == settings_labels.NOT_DECLARED


def test_records_with_other_columns_are_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("model,labels\nunet,0\n")
    with pytest.raises(InputError, match="columns"):
        settings_labels.read(path)
