"""LiteMedSAM with its published weights on a cube of a real nodule: encoder and prompts, against its classes as packaged."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lungseg_utils import geometry, registry
from lungseg_utils.data import splits
from lungseg_utils.datasets import lidc_nodules
from lungseg_utils.experiments import initial_weights
from lungseg_utils.experiments.costs.meter import count_flops
from lungseg_utils.experiments.interaction import run_interaction
from lungseg_utils.networks import litemedsam, training
from lungseg_utils.networks.embedding_cache import EmbeddingCache, EmbeddingFolder
from lungseg_utils.networks.litemedsam import LiteMedSamSegmenter
from lungseg_utils.prompts.ladder import PROMPT_SETTINGS
from lungseg_utils.types import SlicePrompt, Study

from ..networks import least_dice, weight_bytes
from ..row import Agreement, Setting, Work, row
from .readers import cubes

MODEL = "litemedsam"
SHARES, DRAWS = (0.0, 0.1, 0.2), 10  # of boxes drawn wrongly; those without error are drawn once
_LEAST_DICE = 0.99


@row(work="LiteMedSAM's encoder, one slice", against="its classes as packaged, fp32", goal=3.0, pairs=9)
def litemedsam_encoder(setting: Setting) -> Work:
    """In full precision, as every experiment runs it on a processor."""
    return compare_encoder("fp32")


@row(work="LiteMedSAM's encoder, one slice, precision bf16", against="its classes as packaged, fp32", goal=5.0, pairs=9)
def litemedsam_encoder_bf16(setting: Setting) -> Work:
    """A choice of the experiment, never the default."""
    return compare_encoder("bf16")


def compare_encoder(precision: str) -> Work:
    """Both encoders on the middle slice of a nodule; they agree in the masks of its box."""
    segmenter, packaged, study = segmenter_of(precision), packaged_network(), real_nodule()
    middle = int(np.median(np.flatnonzero(study.reference.array.any(axis=(0, 1)))))
    box = geometry.plane_box(study.reference.array[:, :, middle], middle)
    window = geometry.whole_plane(study.image.shape)
    picture = torch.from_numpy(segmenter.view.picture(study.image.array, window, middle))[None, None]
    corners = torch.from_numpy(np.floor(geometry.box_to_pixels(box, window, segmenter.view.canvas))).float().reshape(1, 2, 2)

    @torch.inference_mode()
    def fast() -> torch.Tensor:
        with training.autocast(segmenter.device, precision):
            return segmenter.network.encode(picture)

    @torch.inference_mode()
    def check(found: torch.Tensor, expected: torch.Tensor) -> Agreement:
        masks = [(segmenter.network.decode(e.float(), corners, torch.tensor([[2, 3]])) > 0).numpy() for e in (found, expected)]
        return Agreement("dice", least_dice(*masks), _LEAST_DICE)

    plain = _plain_encode(packaged)
    operations = float(count_flops(lambda: plain(picture)))
    return Work(fast, lambda: plain(picture), check, operations, weight_bytes(packaged.image_encoder), precision)


@row(
    work="LiteMedSAM, all its prompt settings on one cube, boxes drawn exactly once and wrongly twenty times, embeddings on disk",
    against="its classes as packaged, the image set for each prompt on each slice",
    goal=40.0,
    pairs=5,
    warm=False,
)
def litemedsam_ladder(setting: Setting) -> Work:
    """Boxes of the consensus, exact and wrong, on a cube whose embeddings an earlier run left on disk."""
    return compare_ladder(real_nodule())


def compare_ladder(study: Study) -> Work:
    """The comparison on any study; the plain script answers the exact prompts only, and its time is scaled."""
    folder = tempfile.TemporaryDirectory()  # as long as the work itself
    fast_segmenter, plain_segmenter, packaged = segmenter_of(), segmenter_of(), packaged_network()
    fast_segmenter.folder = EmbeddingFolder(Path(folder.name))
    plain_segmenter.folder, plain_segmenter.cache = None, EmbeddingCache(0.0)
    plain_segmenter.network.encode = _plain_encode(packaged)
    plain_segmenter.network.decode = _plain_decode(packaged)

    def fast() -> list[np.ndarray]:
        fast_segmenter.cache.clear()
        return [plane for share in SHARES for plane in ask(fast_segmenter, study, share, DRAWS if share else 1)]

    def plain() -> list[np.ndarray]:
        return ask(plain_segmenter, study, 0.0, 1)

    def check(found: list[np.ndarray], expected: list[np.ndarray]) -> Agreement:
        return Agreement("dice", least_dice(np.array(found[: len(expected)]), np.array(expected)), _LEAST_DICE)

    fast_segmenter.set_image(study.image)
    for index in range(study.image.shape[2]):
        fast_segmenter.make_ready((fast_segmenter.view.window_for(SlicePrompt(index), study.image), index))
    moved = float(sum(path.stat().st_size for path in Path(folder.name).rglob("*") if path.is_file()))
    return Work(fast, plain, check, operations=0.0, bytes=moved, plain_share=1 / sum(DRAWS if share else 1 for share in SHARES))


def ask(segmenter: LiteMedSamSegmenter, study: Study, error: float, draws: int) -> list[np.ndarray]:
    """Masks of every prompt setting that gives boxes, each drawn `draws` times with this error."""
    settings = [name for name, s in PROMPT_SETTINGS.items() if s.kind == "box" and s.looks == 1 and not s.from_detector]
    return [
        run_interaction(segmenter, study, study.reference, name, np.random.default_rng(draw), error)[0].mask.array
        for draw in range(draws)
        for name in settings
    ]


def segmenter_of(precision: str = "fp32") -> LiteMedSamSegmenter:
    """The published weights with the options of the card."""
    options = {**registry.model(MODEL).CARD.options, "device": "cpu", "precision": precision}
    segmenter = initial_weights.build_from(initial_weights.initial_weights(MODEL, options), MODEL, options, 0)
    segmenter.network.eval()
    return segmenter


def packaged_network() -> torch.nn.Module:
    """The published weights in the package's own class."""
    network = litemedsam.packaged_classes().build_lite_medsam()
    network.load_state_dict(segmenter_of().network.state_dict())
    return network.eval()


def _plain_encode(packaged: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    @torch.inference_mode()
    def encode(pictures: torch.Tensor) -> torch.Tensor:
        return torch.cat([packaged.image_encoder(picture[None].expand(-1, 3, -1, -1)) for picture in pictures])

    return encode


def _plain_decode(packaged: torch.nn.Module) -> Callable[..., torch.Tensor]:
    @torch.inference_mode()
    def decode(embeddings: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        place = packaged.prompt_encoder.get_dense_pe()
        logits = []
        for embedding, corners in zip(embeddings, positions, strict=True):
            sparse, dense = packaged.prompt_encoder(points=None, boxes=corners.reshape(1, 4), masks=None)
            logits.append(packaged.mask_decoder(embedding[None], place, sparse, dense, multimask_output=False)[0])
        return torch.cat(logits)

    return decode


def real_nodule() -> Study:
    """A training patient of LIDC nodules; InputError if the cubes are not at hand."""
    held_out = splits.held_out_patients("lidc_nodules", 0)
    return lidc_nodules.load(next(case for case in lidc_nodules.cases(cubes()) if case.patient_id not in held_out))
