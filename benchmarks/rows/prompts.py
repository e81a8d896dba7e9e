"""Prompts of SAM on slices of a real lesion: embeddings computed once, against a script that sets the image for each prompt.

That script, `ask` on `packaged_sam`, uses SAM as published inference scripts do, and decodes one prompt at a time.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import MaskDecoder, Sam, TwoWayTransformer
from torch.nn import functional

from lungseg_utils import geometry, registry
from lungseg_utils.core import project
from lungseg_utils.datasets import lidc_idri
from lungseg_utils.geometry import plane_box
from lungseg_utils.networks.embedding_cache import EmbeddingFolder
from lungseg_utils.networks.promptable import prompt_tokens
from lungseg_utils.networks.sam import PromptedSam, SamSegmenter, Size, packaged_encoder
from lungseg_utils.networks.view import View
from lungseg_utils.prompts.jitter import perturb
from lungseg_utils.types import Image, Mask, Points, Prompt, SlicePrompt

from ..networks import draw_places, encoder_operations, least_dice, weight_bytes
from ..row import Agreement, Setting, Work, fetched, row

SHARES, DRAWS = (0.05, 0.1, 0.2), 10  # of boxes; and as many clicks
FEW_SLICES, PLAIN_PROMPTS = 2, 3
SLAB = slice(83, 99)  # of the whole CT: the slices that stored rows were measured on
AGAINST = "segment_anything's classes, the image set for each prompt"


@row(
    work="ViT-B at 1024, 40 prompts on each slice of a real CT (two slices; all with --full)",
    against=AGAINST,
    goal=25.0,
    pairs=3,
    warm=False,
)
def ladder_vit_b(setting: Setting) -> Work:
    """MedSAM's preprocessing, random weights, the slices of a real lesion."""
    image, lesion = real_lesion(None if setting.full else FEW_SLICES)
    return compare_prompts(segmenter_of({}), Size(), image, ladder_prompts(image, lesion), PLAIN_PROMPTS)


def segmenter_of(options: dict) -> SamSegmenter:
    """MedSAM as its card has it, with changes."""
    module = registry.plugin("models", "medsam")
    segmenter = module.build({**module.CARD.options, "device": "cpu", **options})
    draw_places(segmenter.network)
    return segmenter


def real_lesion(most: int | None = None) -> tuple[Image, Mask]:
    """A slab of LIDC-IDRI and one reader's lesion, on its first `most` slices only (None: all); InputError if it is not at hand."""
    fetched("lidc_idri", "the sample CTs", "make data")
    study = lidc_idri.load(lidc_idri.cases(project.cache_root())[0])
    largest = max(study.references.values(), key=lambda mask: mask.array.sum())
    image, reference = (geometry.crop(volume, (0, 0, SLAB.start), (*volume.shape[:2], SLAB.stop)) for volume in (study.image, largest))
    lesion = reference.array.copy()
    lesion[:, :, np.flatnonzero(lesion.any(axis=(0, 1)))[most:] if most else []] = False
    return image, Mask(lesion, reference.affine)


def ladder_prompts(image: Image, lesion: Mask) -> list[Prompt]:
    """Boxes on all slices of the lesion, drawn wrongly by each share, and a click on each; every one `DRAWS` times."""
    slices = [int(k) for k in np.flatnonzero(lesion.array.any(axis=(0, 1)))]
    box = Prompt(1, tuple(SlicePrompt(k, box=plane_box(lesion.array[:, :, k], k)) for k in slices))
    click = Prompt(1, tuple(SlicePrompt(k, points=Points((_centre(lesion.array[:, :, k], k),), (1,))) for k in slices))
    drawn = []
    for draw in range(DRAWS):
        for n, (prompt, share) in enumerate([*((box, share) for share in SHARES), (click, SHARES[-1])]):
            drawn += perturb([prompt], share, np.random.default_rng([draw, n]), image.shape, image.spacing_mm)
    return drawn


def _centre(plane: np.ndarray, index: int) -> tuple[int, int, int]:
    i, j = np.argwhere(plane).mean(axis=0).round().astype(int).tolist()
    return i, j, index


def compare_prompts(segmenter: SamSegmenter, size: Size, image: Image, prompts: Sequence[Prompt], plain_prompts: int) -> Work:
    """All prompts by the segmenter; the last `plain_prompts` of them (boxes, and a click at the end) by the plain script, scaled."""
    sam, view, chosen = packaged_sam(segmenter.network, size), segmenter.view, prompts[-plain_prompts:]
    slices = len({slice_prompt.index for prompt in prompts for slice_prompt in prompt.slices})

    def fast() -> list[np.ndarray]:
        segmenter.cache.clear()
        segmenter.set_image(image)
        answers = [segmenter.predict([prompt]).mask.array for prompt in prompts]
        return _planes(answers[-plain_prompts:], chosen)

    def plain() -> list[np.ndarray]:
        return [ask(sam, view, image, slice_prompt) for prompt in chosen for slice_prompt in prompt.slices]

    def check(fast_planes: list[np.ndarray], plain_planes: list[np.ndarray]) -> Agreement:
        return Agreement("dice", least_dice(np.array(fast_planes), np.array(plain_planes)), 0.99)

    asked, all_asked = (sum(len(prompt.slices) for prompt in some) for some in (chosen, prompts))
    operations = encoder_operations(size, view.canvas, slices)
    return Work(fast, plain, check, operations, weight_bytes(sam), segmenter.precision.replace("by_device", "fp32"), asked / all_asked)


def _planes(masks: Sequence[np.ndarray], prompts: Sequence[Prompt]) -> list[np.ndarray]:
    return [mask[:, :, slice_prompt.index] for mask, prompt in zip(masks, prompts, strict=True) for slice_prompt in prompt.slices]


@row(work="ViT-B at 1024, one box a slice of a real CT (one slice; all with --full)", against=AGAINST, goal=2.0, warm=False)
def box_vit_b(setting: Setting) -> Work:
    """In full precision, as by default on a processor."""
    return compare_boxes({}, setting)


def compare_boxes(options: dict, setting: Setting) -> Work:
    """The comparison with changed options of the segmenter."""
    image, lesion = real_lesion(None if setting.full else 1)
    return compare_prompts(segmenter_of(options), Size(), image, ladder_prompts(image, lesion)[:1], 1)


@row(
    work="ViT-B at 1024, one box a slice of a real CT, precision bf16 (one slice; all with --full)",
    against=f"{AGAINST}, fp32",
    goal=2.0,
    pairs=3,
    warm=False,
)
def box_vit_b_bf16(setting: Setting) -> Work:
    """A choice of the experiment, never the default."""
    return compare_boxes({"precision": "bf16"}, setting)


@row(
    work="ViT-B at 1024, a box on one slice whose embedding an earlier run left on disk",
    against="the same without the file",
    goal=math.nan,  # "no time in the encoder" is counted in the tests
    warm=False,
)
def embeddings_on_disk(setting: Setting) -> Work:
    """MedSAM's preprocessing, random weights, one slice of a real lesion."""
    image, lesion = real_lesion(1)
    return compare_runs(segmenter_of({}), Size(), image, ladder_prompts(image, lesion)[-1])


def compare_runs(segmenter: SamSegmenter, size: Size, image: Image, prompt: Prompt) -> Work:
    """The comparison for any network; the folder is filled before."""
    folder = tempfile.TemporaryDirectory()  # as long as the work itself

    def predict(kept: bool) -> np.ndarray:
        segmenter.cache.clear()
        segmenter.folder = EmbeddingFolder(Path(folder.name)) if kept else None
        segmenter.set_image(image)
        return segmenter.predict([prompt]).mask.array

    def check(fast: np.ndarray, plain: np.ndarray) -> Agreement:
        return Agreement("dice", least_dice(fast[None], plain[None]), 1.0)

    predict(kept=True)
    embedding = 4.0 * len(prompt.slices) * size.prompt_width * (segmenter.view.canvas // size.patch) ** 2
    moved = embedding + weight_bytes(segmenter.network.mask_decoder)
    return Work(lambda: predict(kept=True), lambda: predict(kept=False), check, operations=0.0, bytes=moved)


def packaged_sam(network: PromptedSam, size: Size) -> Sam:
    """segment-anything's own classes, with the weights of this project's network."""
    sam = Sam(packaged_encoder(size, network.view.canvas), deepcopy(network.prompt_encoder), _packaged_decoder(size)).eval()
    sam.load_state_dict(network.state_dict())
    return sam


def _packaged_decoder(size: Size) -> torch.nn.Module:
    transformer = TwoWayTransformer(depth=2, embedding_dim=size.prompt_width, mlp_dim=size.decoder_width, num_heads=8)
    return MaskDecoder(transformer_dim=size.prompt_width, transformer=transformer, num_multimask_outputs=3)


@torch.inference_mode()
def ask(sam: Sam, view: View, image: Image, slice_prompt: SlicePrompt) -> np.ndarray:
    """Mask (x, y) of one prompt on one slice, from the picture on."""
    window = geometry.whole_plane(image.shape)
    picture = torch.from_numpy(view.picture(image.array, window, slice_prompt.index).copy())[None, None]
    embedding = sam.image_encoder(view.normalize(picture.expand(-1, 3, -1, -1)))
    positions, labels = (torch.from_numpy(part)[None] for part in prompt_tokens(slice_prompt, window, view.canvas))
    positions = positions - 0.5  # the package adds it, since it expects indices of pixels
    box = positions.flatten(1) if slice_prompt.box is not None else None
    sparse, dense = sam.prompt_encoder(points=None if slice_prompt.box is not None else (positions, labels), boxes=box, masks=None)
    logits, _ = sam.mask_decoder(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    size = (window.rows, window.columns)
    probability = functional.interpolate(torch.sigmoid(logits), size, mode="bilinear", align_corners=False)[0, 0].numpy()
    plane = np.zeros(image.shape[:2], dtype=np.float32)
    geometry.paste_window(probability, window, plane)
    return plane > 0.5
