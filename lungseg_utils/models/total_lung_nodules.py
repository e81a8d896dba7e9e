"""TotalSegmentator's task lung_nodules (Wasserthal et al.): the automatic baseline that many already run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import Checkpoint, ModelCard, Options

if TYPE_CHECKING:
    from ..networks.totalsegmentator import TotalSegmentatorSegmenter


CARD = ModelCard(
    title="TotalSegmentator (lung nodules)",
    summary="An nnU-Net without a prompt, on 1.5 mm voxels inside the lungs that a coarse network finds; by its own package.",
    reference="Wasserthal et al., Radiology: Artificial Intelligence 2023; task lung_nodules",
    doi="10.1148/ryai.230024",
    license="Apache-2.0",
    paradigms=("zero_shot",),
    prompts=("box", "points", "none"),
    reads="3-D patches inside the lungs",
    pretraining="1353 subjects, LIDC-IDRI among them",
    about="""TotalSegmentator finds organs in CT. Its task *lung_nodules* finds the lungs on voxels of 6 mm, and
nodules inside them on voxels of 1.5 mm. The package's own function runs here, without its reports to a
server. **Its makers say that it was trained on "1353 subjects, partly from LIDC-IDRI"; which ones is not
published.** Its numbers on LIDC-IDRI are an upper bound. A nodule is not a tumor that was outlined for
radiotherapy. The package is optional (`pip install --no-deps TotalSegmentator==2.18.0`).""",
    options={"device": "auto"},
)
CHECKPOINTS = (
    Checkpoint(
        file="TotalSegmentator_lung_nodules",
        url="https://github.com/wasserth/TotalSegmentator",
        size=0,
        sha256="",
        license="Apache-2.0",
        citation="Wasserthal et al., Radiology: Artificial Intelligence 2023, doi:10.1148/ryai.230024",
        content=(
            "nnunet/results/Dataset913_lung_nodules/*/fold_*/checkpoint_final.pth",
            "nnunet/results/Dataset298_*/*/fold_*/checkpoint_final.pth",  # finds the lungs
        ),
        command="TOTALSEG_HOME_DIR={place} .venv/bin/totalseg_download_weights -t lung_nodules, then the same with -t total_fast",
    ),
)


def initial_weights(options: Options) -> Checkpoint:
    """The folder of weights."""
    return CHECKPOINTS[0]


def build(options: Options, seed: int = 0) -> TotalSegmentatorSegmenter:
    """The segmenter, without weights before `load_pretrained`; nothing about it is random."""
    from ..networks.totalsegmentator import TotalSegmentatorSegmenter

    return TotalSegmentatorSegmenter(options)
