"""A bundle that MONAI's own tool made: the answer is what MONAI's own run of its inference saves."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import init_bundle, run

from lungseg_utils.core.masks import dsc
from lungseg_utils.data import nifti
from lungseg_utils.experiments import config, initial_weights
from lungseg_utils.types import InputError
from tests.support import trained_nnunet

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 1,
}
INFERENCE = {
    "imports": ["$import glob"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "dataset_dir": "/data",
    "device": "$torch.device('cpu')",
    "network_def": NETWORK,
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [2.0, 2.0, 2.0], "mode": "bilinear"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1, "clip": True},
        ],
    },
    "dataset": {
        "_target_": "Dataset",
        "data": "$[{'image': i} for i in glob.glob(@dataset_dir + '/*.nii.gz')]",
        "transform": "@preprocessing",
    },
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2, "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "resample": False, "print_log": False},
        ],
    },
    "handlers": [
        {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/model.pt'", "load_dict": {"model": "@network"}},
    ],
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
    },
    "run": ["$@evaluator.run()"],
}
METADATA = {
    "version": "0.0.1",
    "network_data_format": {
        "inputs": {"image": {"type": "image", "num_channels": 1}},
        "outputs": {"pred": {"type": "image", "num_channels": 2, "channel_def": {"0": "background", "1": "tumor"}}},
    },
}


def _bundle(folder, inference=None, metadata=None):
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    network = UNet(**{name: value for name, value in NETWORK.items() if name != "_target_"})
    init_bundle(folder, network=network, metadata_str=metadata or METADATA, inference_str=inference or INFERENCE)
    return folder


def _load(path, **more):
    options = config.model_options("own_monai", {"path": str(path), "trained_on": "nothing", "device": "cpu", "trusted": True, **more})
    return initial_weights.build_from(initial_weights.initial_weights("own_monai", options), "own_monai", options, 0)


@pytest.mark.parametrize("axes", ["RAS", "LPS"])
def test_the_answer_is_what_monai_saves_for_the_same_file(tmp_path, axes):
    bundle, study = _bundle(tmp_path / "bundle"), trained_nnunet.ball(3)
    given = trained_nnunet.save(study.image.array.astype(np.int16), study.image.affine, tmp_path / "in" / "case.nii.gz", axes)
    configs = {"config_file": str(bundle / "configs" / "inference.json"), "meta_file": str(bundle / "configs" / "metadata.json")}
    run(bundle_root=str(bundle), dataset_dir=str(given.parent), output_dir=str(tmp_path / "out"), **configs)
    (saved,) = (tmp_path / "out").rglob("*.nii.gz")
    theirs = nib.as_closest_canonical(nib.load(saved)).get_fdata() == 1
    assert 0.02 < theirs.mean() < 0.98
    segmenter = _load(bundle)
    for _ in range(2):  # one network answers scan after scan
        segmenter.set_image(nifti.read_image(given))
        ours = segmenter.predict()
        assert dsc(theirs, ours.mask.array) >= 0.999
    assert segmenter.parameters()["parameters"] > 0
    assert not (bundle / "eval").exists()  # nothing is written into the bundle


def _changed(**parts):
    changed = json.loads(json.dumps(METADATA))
    changed["network_data_format"]["outputs"]["pred"]["channel_def"] |= parts.get("outputs", {})
    changed["network_data_format"]["inputs"]["image"]["num_channels"] = parts.get("channels", 1)
    return changed


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(InputError, match=r"metadata\.json: no such file"):
        _load(tmp_path)
    with pytest.raises(InputError, match="its network takes 2 channels"):
        _load(_bundle(tmp_path / "two", metadata=_changed(channels=2)))
    several = _bundle(tmp_path / "several", metadata=_changed(outputs={"2": "lung"}))
    with pytest.raises(InputError, match="which output is the tumor; its outputs: tumor, lung"):
        _load(several)
    assert _load(several, label="lung")._parts.label == 2
    with pytest.raises(InputError, match=r"no such file; weights of the bundle: models/model\.pt"):
        _load(several, weights="models/best.pt")
    without = {name: part for name, part in INFERENCE.items() if name != "inferer"}
    with pytest.raises(InputError, match="defines no 'inferer'"):
        _load(_bundle(tmp_path / "without", inference=without))


def test_a_configuration_is_code_and_runs_only_if_somebody_says_so(tmp_path):
    spoiled = INFERENCE | {"network_def": "$open(@bundle_root + '/was_run', 'w')"}
    bundle = _bundle(tmp_path / "bundle", inference=spoiled)
    with pytest.raises(InputError, match=r"configuration of a bundle is code.*trusted=true"):
        _load(bundle, trusted=False)
    assert not (bundle / "was_run").exists()


def test_an_answer_on_another_grid_is_refused(tmp_path):
    without = json.loads(json.dumps(INFERENCE))
    del without["postprocessing"]["transforms"][0]
    segmenter = _load(_bundle(tmp_path / "bundle", inference=without))
    segmenter.set_image(trained_nnunet.ball(3).image)
    with pytest.raises(InputError, match=r"not on the grid of the CT.*Invertd"):
        segmenter.predict()
