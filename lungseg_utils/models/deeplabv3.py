"""DeepLabV3 of torchvision, on the slices of a working grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import InputError, ModelCard, Options

if TYPE_CHECKING:
    import torch

    from ..networks.automatic import AutomaticSegmenter


# torchvision's MobileNet changes its running averages by 0.01 a step, which takes far more steps than a CPU has time for
BATCH_NORM_MOMENTUM = 0.1
BACKBONES = ("mobilenet_v3_large", "resnet101")  # for a CPU; the paper's, for a GPU
OUTPUT_STRIDES = (8, 16)
CARD = ModelCard(
    title="DeepLabV3",
    summary="DeepLabV3 of torchvision, slice by slice on a working grid, from scratch; channels are two CT windows of adjacent slices.",
    reference="Chen et al. 2017, arXiv:1706.05587; implementation: torchvision",
    doi="10.48550/arXiv.1706.05587",
    license="BSD-3-Clause",
    paradigms=("full", "few_shot"),
    prompts=("box", "points", "none"),
    reads="slices with neighbors",
    options={
        "backbone": "mobilenet_v3_large",
        "width": 0.5,
        "output_stride": 8,
        "atrous_rates": (1, 2, 3),
        "head_width": 64,
        "neighbours": 1,  # spelled as in the options that were frozen before any test (data/frozen.json)
        "spacing_mm": (3.0, 3.0, 3.0),
        "windows_hu": ((-1000.0, 400.0), (-160.0, 240.0)),
        "patch": (2, 64, 64),
        "batch_size": 3,
        "steps": 740,
        "learning_rate": 3e-3,
        "validate_every": 185,
        "foreground_share": 0.6,
        "slab": 16,
        "loss": "dice_ce",
        "device": "auto",
    },
)


def build(options: Options, seed: int = 0) -> AutomaticSegmenter:
    """An untrained DeepLabV3 inside its segmenter; `options` as in CARD.options, first weights drawn from `seed`.

    `output_stride`: voxels per cell of the last feature map, 8 or 16; `atrous_rates` count its cells (the paper, with images of 513
    pixels: 12, 24, 36 at stride 8). `width` scales the channels of the MobileNet, `head_width` is that of the head (the paper: 256).
    """
    import torch

    from ..networks.automatic import AutomaticSegmenter, Settings
    from ..networks.initialization import expect_rare_foreground
    from ..networks.slicewise import SliceWise

    torch.manual_seed(seed)
    neighbors = int(options["neighbours"])
    if neighbors < 0:
        raise InputError("neighbours", f"{neighbors} slices on each side", "Give 0 or more.")
    settings = Settings.from_options({**options, "size_multiple": 1, "slab_overlap": neighbors})
    if settings.batch_size * settings.patch[0] < 2:
        raise InputError("batch_size", "one slice at a time cannot be normalized over the batch", "Give two slices or more in a step.")
    network = _network(options, len(settings.windows_hu) * (2 * neighbors + 1))
    expect_rare_foreground(network)
    return AutomaticSegmenter(SliceWise(network, neighbors, multiple=16), settings, str(options["device"]))


def _network(options: Options, channels: int) -> torch.nn.Module:
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.deeplabv3 import DeepLabV3

    features, last, width = _features(options, channels)
    head = _head(width, int(options["head_width"]), tuple(options["atrous_rates"]))
    network = DeepLabV3(IntermediateLayerGetter(features, return_layers={last: "out"}), head)
    for module in network.modules():
        if hasattr(module, "running_mean"):
            module.momentum = BATCH_NORM_MOMENTUM
    return network


def _head(channels: int, width: int, atrous_rates: tuple[int, ...]) -> torch.nn.Module:
    """torchvision's DeepLabHead for one class, whose width is not fixed: with 256 it takes nine tenths of the work of a step."""
    from torch import nn
    from torchvision.models.segmentation.deeplabv3 import ASPP

    last = [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 1, 1)]
    return nn.Sequential(ASPP(channels, atrous_rates, width), *last)


def _features(options: Options, channels: int) -> tuple[torch.nn.Module, str, int]:
    """The convolutions of a backbone, dilated for the output stride; the name of the last one, and its channels."""
    from torchvision.models import mobilenet_v3_large, resnet101

    backbone, stride = options["backbone"], options["output_stride"]
    if stride not in OUTPUT_STRIDES:
        raise InputError("output_stride", f"{stride!r} is not possible", "Choose 8 or 16.")
    if backbone == "mobilenet_v3_large":
        features = mobilenet_v3_large(dilated=True, width_mult=float(options["width"])).features
        # dilated, it has 16; half of that is reached at its first convolution, which then does not halve the image
        features[0][0] = _first_convolution(features[0][0], channels, stride=1 if stride == 8 else 2)
        return features, str(len(features) - 1), features[-1].out_channels
    if backbone == "resnet101":
        features = resnet101(replace_stride_with_dilation=[False, stride == 8, True])
        features.conv1 = _first_convolution(features.conv1, channels, stride=2)
        return features, "layer4", 2048
    raise InputError("backbone", f"{backbone!r} is unknown", f"Choose one of {', '.join(BACKBONES)}.")


def _first_convolution(original: torch.nn.Conv2d, channels: int, stride: int) -> torch.nn.Conv2d:
    """One that takes `channels` instead of the three of a photograph."""
    import torch

    replacement = torch.nn.Conv2d(channels, original.out_channels, original.kernel_size, stride, original.padding, bias=False)
    torch.nn.init.kaiming_normal_(replacement.weight, mode="fan_out", nonlinearity="relu")
    return replacement
