"""Medical SAM 2 (Zhu et al. 2024): SAM 2, first version, fine-tuned on medical volumes treated as videos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import ct_windows
from ..types import Checkpoint, InputError, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.sam2 import Sam2Segmenter


CARD = ModelCard(
    title="Medical SAM 2 (Hiera-T)",
    summary="SAM 2, first version, trained further on medical images; whole slices at 1024. Mask decoder and memory are fine-tuned.",
    reference="Zhu et al., Medical SAM 2: Segment medical images as video via Segment Anything Model 2, 2024",
    doi="10.48550/arXiv.2408.00874",
    license="GPL, by the badge of its repository; no code of it is used here",
    paradigms=("zero_shot", "few_shot", "fine_tuned"),
    prompts=("box", "points"),
    reads="a video of slices",
    pretraining="medical images",
    architecture="sam2_hiera_t",
    options={
        "checkpoint": "MedSAM2_pretrain.pth",
        "canvas": 1024,
        "window_hu": ct_windows.SOFT_TISSUE_HU,  # its authors start from pictures that are windowed already; soft tissue, as for SAM
        "eight_bit": True,
        "cubic": True,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "steps": 5000,
        "batch_size": 1,
        "learning_rate": 1e-4,
        "validate_every": 500,
        "box_jitter": 0.1,
        "trainable": "decoder",  # their train_3d.py: mask decoder at 1e-4, memory at 1e-8; here both at one rate
        "loss": "dice_bce_per_image",
        "clip_slices": 2,
        "device": "auto",
        "precision": "by_device",  # or fp32, or bf16: on a processor a choice whose effect has to be shown
    },
)
_META = "https://dl.fbaipublicfiles.com/segment_anything_2/072824"
_META_CITATION = "Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024, arXiv:2408.00714"
CHECKPOINTS = (
    Checkpoint(
        file="MedSAM2_pretrain.pth",
        url="https://huggingface.co/jiayuanz3/MedSAM2_pretrain/resolve/main/MedSAM2_pretrain.pth",
        size=78_078_138,
        sha256="059572b072eff2e41975bf85b0dcca96bc58889db60a89e9f5b1f075236735d7",
        license="GPL, by the badge of its repository",
        citation="Zhu et al., Medical SAM 2: Segment medical images as video via Segment Anything Model 2, 2024, arXiv:2408.00874",
    ),
    Checkpoint(
        file="sam2_hiera_tiny.pt",
        url=f"{_META}/sam2_hiera_tiny.pt",
        size=155_906_050,
        sha256="65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        license="Apache-2.0",
        citation=_META_CITATION,
    ),
    Checkpoint(
        file="sam2_hiera_small.pt",
        url=f"{_META}/sam2_hiera_small.pt",
        size=184_309_650,
        sha256="95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        license="Apache-2.0",
        citation=_META_CITATION,
    ),
)
_BY_FILE = {checkpoint.file: checkpoint for checkpoint in CHECKPOINTS}
_CONFIGS = {"MedSAM2_pretrain.pth": "sam2_hiera_t", "sam2_hiera_tiny.pt": "sam2_hiera_t", "sam2_hiera_small.pt": "sam2_hiera_s"}
# what its authors train from, under the name of those who trained it
_TITLES = {
    "MedSAM2_pretrain.pth": "Medical SAM 2 (Hiera-T)",
    "sam2_hiera_tiny.pt": "SAM 2 (Hiera-T), fine-tuning of Medical SAM 2",
    "sam2_hiera_small.pt": "SAM 2 (Hiera-S), fine-tuning of Medical SAM 2",
}


def title(options: Options) -> str:
    """What it is called beside a number."""
    return ct_windows.titled(_TITLES[initial_weights(options).file], options)


def initial_weights(options: Options) -> Checkpoint:
    """The published file: that of its authors, or one of Meta's from which they start."""
    file = options["checkpoint"]
    if file not in _BY_FILE:
        raise InputError(f"checkpoint {file}", "not among those of Medical SAM 2", f"Choose one of {', '.join(_BY_FILE)}.")
    return _BY_FILE[file]


def build(options: Options, seed: int = 0) -> Sam2Segmenter:
    """The network that belongs to the checkpoint, with random weights drawn from `seed`; `options` as in CARD.options."""
    from ..networks.sam2 import build_segmenter

    return build_segmenter({"config": _CONFIGS[initial_weights(options).file], **options}, seed)
