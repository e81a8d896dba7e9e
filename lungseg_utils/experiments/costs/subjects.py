"""Full-size architectures whose costs are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ... import registry
from ...evaluation import plan
from ...types import InputError, Options
from .. import config

# The reference volume: a chest CT of common size with one round lesion.
SHAPE = (512, 512, 120)  # x, y, z
SPACING_MM = (0.8, 0.8, 2.5)
LESION_MM = 30.0
TUMOR_SLICES = round(LESION_MM / SPACING_MM[2])
ENDS_LOOKED_AT = 1  # slices beyond each end that the propagation rule asks about before it stops (networks.propagation)
ABSENT_SLICES = 3  # the same for SAM 2's memory (networks.sam2)
# A person's seconds for a box: by clicking the four extreme points, and by dragging it as ImageNet's annotators did; natural images.
# Papadopoulos et al., ICCV 2017, doi:10.1109/ICCV.2017.528, arXiv:1708.02750
HUMAN_SECONDS_PER_BOX = plan.read().seconds_per_action["box"]


@dataclass(frozen=True)
class Subject:
    """One architecture: a model file of this project, and what differs from its card's options.

    `whole_volume`: the reference volume is run as a whole; else it is extrapolated from one input. `by_default`: part of a run that
    names no models.
    """

    name: str
    title: str
    model: str
    configuration: str
    options: Options = field(default_factory=dict)
    whole_volume: bool = False
    by_default: bool = True


# Whole slices of the reference volume, voxel by voxel: what "512 x 512" means for networks on a working grid.
_OWN_GRID = {"spacing_mm": SPACING_MM}
# torchvision's DeepLabV3 as its authors have it (arXiv:1706.05587): rates 12, 24, 36 and a head of 256 channels
_PAPER_HEAD = {"atrous_rates": (12, 24, 36), "head_width": 256}
_TRAINED_HERE: tuple[Subject, ...] = (
    Subject("unet", "U-Net, as trained here", "unet", "3-D, 16 to 128 channels, 3 mm voxels", whole_volume=True),
    Subject(
        "unet_wide",
        "U-Net, published width",
        "unet",
        "3-D, 32 to 512 channels (doi:10.1007/978-3-319-46723-8_49), voxels of the scan",
        {**_OWN_GRID, "widths": (32, 64, 128, 256, 512)},
        whole_volume=True,
    ),
    Subject("deeplabv3_small", "DeepLabV3, as trained here", "deeplabv3", "MobileNetV3-Large, half width, 3 mm voxels", whole_volume=True),
    Subject(
        "deeplabv3_mobilenet",
        "DeepLabV3 (MobileNetV3-L)",
        "deeplabv3",
        "MobileNetV3-Large, output stride 16",
        {**_OWN_GRID, **_PAPER_HEAD, "width": 1.0, "output_stride": 16},
    ),
    Subject(
        "deeplabv3_resnet101",
        "DeepLabV3 (ResNet-101)",
        "deeplabv3",
        "ResNet-101, output stride 8",
        {**_OWN_GRID, **_PAPER_HEAD, "backbone": "resnet101"},
    ),
    Subject("nnunet_2d", "nnU-Net 2d", "nnunet", "2d, as nnunetv2 plans it for MSD Task06 Lung", {"configuration": "2d"}),
    Subject(
        "nnunet_3d",
        "nnU-Net 3d_fullres",
        "nnunet",
        "3d_fullres, as nnunetv2 plans it for MSD Task06 Lung",
        {"configuration": "3d_fullres"},
    ),
    Subject(
        "nnunet_3d_resenc_l",
        "nnU-Net 3d_fullres, ResEnc L",
        "nnunet",
        "3d_fullres, as nnunetv2's ResEnc L planner has it for MSD Task06 Lung",
        {"configuration": "3d_fullres", "planner": "nnUNetPlannerResEncL"},
        by_default=False,
    ),
)
_FURTHER = (Subject("sam2_small", "SAM 2.1 (Hiera-S)", "sam2", "sam2.1_hiera_s", {"config": "sam2.1_hiera_s"}, by_default=False),)


def subjects() -> tuple[Subject, ...]:
    """All, in the order of every table: networks that are trained here, then models of the grid whose card names their architecture."""
    models = dict.fromkeys(line.model for line in config.load().experiments.values())
    cards = {name: registry.card("models", name) for name in models}
    published = [Subject(name, card.title, name, card.architecture) for name, card in cards.items() if card.architecture]
    return (*_TRAINED_HERE, *published, *_FURTHER)


def choose(names: Sequence[str] = ()) -> list[Subject]:
    """The subjects of these names, in the order of `subjects`; without names those of a default run."""
    known = [subject.name for subject in subjects()]
    for name in names:
        if name not in known:
            raise InputError(f"model {name}", "not among those whose full size is measured", f"Choose among {', '.join(known)}.")
    return [subject for subject in subjects() if (subject.name in names if names else subject.by_default)]


# options that say what a network is, and not on which grid, of which picture and for how long it is trained
_ARCHITECTURE = (
    *("widths", "residual_units", "backbone", "width", "output_stride", "atrous_rates", "head_width", "neighbors"),
    *("canvas", "config"),
)
_NNUNET_SIZES = ("spacing_mm", "patch", "batch_size", "features_per_stage", "convolutions_per_stage")  # nnU-Net's own where empty


def subject_of(model: str, options: Options) -> Subject | None:
    """The subject whose network a model is under these (resolved) options; None if that network is none of them."""
    card = registry.card("models", model)
    for subject in (s for s in subjects() if s.model == model):
        theirs = {**card.options, **subject.options}
        same = all(_plain_value(options[name]) == _plain_value(theirs[name]) for name in _ARCHITECTURE if name in options)
        if model == "nnunet":
            same = options["configuration"] == theirs["configuration"] and not any(options[name] for name in _NNUNET_SIZES)
        if same:
            return subject
    return None


def _plain_value(value: object) -> object:
    return [_plain_value(v) for v in value] if isinstance(value, list | tuple) else value


def build(subject: Subject, device: str = "cpu") -> Any:
    """The project's own segmenter of a subject, with random weights."""
    module = registry.model(subject.model)
    return module.build({**module.CARD.options, **subject.options, "device": device})
