"""The folder of a trained nnU-Net: what a prediction needs is found, and what is missing or unclear is listed."""

import pytest

from lungseg_utils.data import nnunet_results
from lungseg_utils.types import InputError

FINAL = "checkpoint_final.pth"


def _trained(folder, *checkpoints):
    for name in ("plans.json", "dataset.json", *checkpoints):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_all_numbered_folds_are_averaged_and_only_files_of_the_prediction_are_named(tmp_path):
    folder = _trained(
        tmp_path / "a", f"fold_0/{FINAL}", f"fold_1/{FINAL}", "fold_1/checkpoint_best.pth", f"fold_all/{FINAL}", "fold_0/progress.png"
    )
    found = nnunet_results.find(folder, FINAL)
    assert found.folds == ("0", "1")
    assert [str(path.relative_to(folder)) for path in found.files] == ["plans.json", "dataset.json", f"fold_0/{FINAL}", f"fold_1/{FINAL}"]
    assert nnunet_results.find(folder, FINAL, ["all"]).folds == ("all",)
    assert nnunet_results.find(_trained(tmp_path / "b", f"fold_all/{FINAL}"), FINAL).folds == ("all",)


def test_the_only_configuration_below_a_folder_is_taken_and_several_are_listed(tmp_path):
    first = _trained(tmp_path / "Dataset006" / "nnUNetTrainer__nnUNetPlans__2d", f"fold_0/{FINAL}")
    assert nnunet_results.find(tmp_path, FINAL).folder == first
    _trained(tmp_path / "Dataset006" / "nnUNetTrainer__nnUNetPlans__3d_fullres", f"fold_0/{FINAL}")
    with pytest.raises(InputError, match=r"several trained nnU-Nets: .*__2d, .*__3d_fullres"):
        nnunet_results.find(tmp_path / "Dataset006", FINAL)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no plans\.json"):
        nnunet_results.find(tmp_path, FINAL)
    folder = _trained(tmp_path / "a", "fold_0/checkpoint_best.pth")
    with pytest.raises(InputError, match=r"it holds fold_0/checkpoint_best\.pth"):
        nnunet_results.find(folder, FINAL)
    with pytest.raises(InputError, match="of fold 3"):
        nnunet_results.find(folder, "checkpoint_best.pth", ["3"])
    (folder / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"holds no dataset\.json"):
        nnunet_results.find(folder, "checkpoint_best.pth")
    with pytest.raises(InputError, match="no folder"):
        nnunet_results.find(folder / "plans.json", FINAL)
