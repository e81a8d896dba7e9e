"""Weights in the layouts in which others publish them, of tiny networks with random weights."""

import json
from functools import partial

import numpy as np
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

CONFIGURATION = "3d_fullres"


def plans(patch=(8, 16, 16), spacing=(2.0, 2.0, 2.0), features=(4, 8)):
    """Plans as nnunetv2 writes them, of a network of two stages."""
    network = {
        "n_stages": 2,
        "features_per_stage": list(features),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [24.0, 36.0, 40.0],
        "spacing": list(spacing),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": network,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    intensities = {"max": 1000.0, "mean": -400.0, "median": -500.0, "min": -1000.0, "std": 400.0}
    return {
        "dataset_name": "Dataset001_Test",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing),
        "original_median_shape_after_transp": [24, 36, 40],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": intensities | {"percentile_00_5": -1000.0, "percentile_99_5": 500.0},
        },
    }


DESCRIPTION = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumor": 1}, "numTraining": 2, "file_ending": ".nii.gz"}


def _checkpoint(made, channels, trainer, seed, **more):
    torch.manual_seed(seed)
    kind = made["configurations"][CONFIGURATION]["architecture"]
    network = get_network_from_plans(
        kind["network_class_name"], kind["arch_kwargs"], kind["_kw_requires_import"], channels, 2, deep_supervision=False
    )
    arguments = {"plans": made, "configuration": CONFIGURATION, "fold": 0, "dataset_json": DESCRIPTION, "device": torch.device("cpu")}
    return {"network_weights": network.state_dict(), "trainer_name": trainer, "init_args": arguments, **more}


def nninteractive(folder, seed=0, boxes_in_3d=False, side=16):
    """A folder of nnInteractive, as its session reads it: one channel of CT and seven of interactions.

    A network that zooms out needs a side of over 48 voxels: the session leaves out 24 at each side of a refined patch.
    """
    made = plans((side, side, side), features=(2, 4))
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(made))
    (folder / "dataset.json").write_text(json.dumps(DESCRIPTION))
    known = {"point_radius": 2, "preferred_scribble_thickness": [1, 2, 2], "interaction_decay": 0.9, "pad_mode_image": "constant"}
    if boxes_in_3d:
        (folder / "inference_info.json").write_text(json.dumps(known | {"supported_interactions": {"bbox3d": True}}))
    else:
        (folder / "inference_session_class.json").write_text(json.dumps(known))
    torch.save(_checkpoint(made, 1 + 7, "nnInteractiveTrainer_stub", seed), folder / "fold_0" / "checkpoint_final.pth")
    return folder


def trained_by_nnunet(path, seed=0):
    """A checkpoint as nnunetv2's trainer saves it, with numbers of numpy in its log; returns the folder that belongs to it."""
    made, folder = plans(), path.parent / f"{path.stem}_folder"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(made))
    (folder / "dataset.json").write_text(json.dumps(DESCRIPTION))
    more = {"logging": {"ema_fg_dice": [np.float32(0.8)]}, "_best_ema": np.float64(0.8), "current_epoch": 755}
    content = _checkpoint(made, 1, "nnUNetTrainer", seed, **more, inference_allowed_mirroring_axes=(0, 1, 2), optimizer_state={})
    torch.save(content, path)
    torch.save(content, folder / "fold_0" / "checkpoint_best.pth")
    return folder


def total_segmentator(folder):
    """The folder that the package's own command fills: the networks for nodules and for lungs."""
    for name in ("Dataset913_lung_nodules", "Dataset298_TotalSegmentator_total_6mm_1559subj"):
        fold = folder / "nnunet" / "results" / name / "nnUNetTrainer__nnUNetPlans__3d_fullres" / "fold_0"
        fold.mkdir(parents=True)
        torch.save(_checkpoint(plans(), 1, "nnUNetTrainer", 0), fold / "checkpoint_final.pth")
    return folder


def cln_segmenter(path):
    """The checkpoint alone."""
    trained_by_nnunet(path)
    return path


# model -> the package that it needs, and what writes weights for it
WEIGHTS = {
    "nninteractive": ("nnInteractive", partial(nninteractive, side=24)),  # all prompts of the contract fit into it
    "cln_segmenter": ("nnunetv2", cln_segmenter),
    "total_lung_nodules": ("totalsegmentator", total_segmentator),
}
OPTIONS = {"nninteractive": {"autozoom": False}}  # which takes seconds for each prompt
