"""Base of all promptable networks: from a CT slice to their input, from their output to the slice, and through the prompts of a volume.

Such a network sees one slice, or a stack of slices, inside a window of the axial plane, resized to a square canvas. Published models see
the whole slice. Small ones see a window around the prompt, because a small canvas over a whole chest would blur the lesion away.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import torch

from .. import geometry
from ..core.masks import dsc, label_lesions
from ..core.measure import count_parameters, measure
from ..geometry import AxialWindow
from ..prompts import boxes
from ..types import (
    Image,
    InputError,
    Mask,
    Options,
    Prediction,
    PretrainedSegmenter,
    Prompt,
    SlicePrompt,
    Study,
    TrainingRun,
)
from . import training
from .checkpoints import load_checkpoint
from .embedding_cache import Embedding, EmbeddingCache, folder_from_environment
from .losses import build_loss
from .prompted_training import TrainingSettings, free_parts
from .propagation import propagate
from .training_volumes import LesionVolume, drawn_volumes, lesion_volumes
from .view import View

PRETRAINING_OBJECTS = 400  # each drawn in several slices and seen many times; drawing takes longer than a training step
# of pictures that a network takes in one go: as many as memory allows on a GPU; a processor is slower by half where they leave its cache
_PIXELS_AT_ONCE, _PIXELS_IN_CACHE = 4 * 1024 * 1024, 256 * 1024
_MOST_AT_ONCE = 16
_CACHED_MB = 512.0
Place = tuple[AxialWindow, int]  # what an image encoder sees: a window of a slice


class PromptableSegmenter(PretrainedSegmenter, ABC):
    """A segmenter that answers prompts; what the network does with one slice or one stack of slices is the subclass's part.

    The answer to several lesions is their union. Prompts without `find_ends` are answered on their own slices only.
    """

    trained_parts: tuple[str, ...]  # names of submodules that fine-tuning moves: the image encoder first
    attention_layers: tuple[str, ...]  # names of the linear layers in it that low-rank updates go to

    device: torch.device
    shares_batches = True  # several processes can train it together
    drawers: int | None = None  # processes that draw batches ahead, as `training.train` has it

    def __init__(
        self, network: torch.nn.Module, view: View, settings: TrainingSettings, device: str = "auto", precision: str = training.BY_DEVICE
    ):
        self.device, self.precision = training.choose_device(device), precision
        self.network = network.to(self.device)
        self.view = view
        self.settings = settings
        self.image: Image | None = None

    def set_image(self, image: Image) -> None:
        """Take a CT, to be asked about."""
        self.image = image

    @abstractmethod
    def _forget(self) -> None:
        """Drop what was computed by other weights."""

    @torch.inference_mode()
    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """Segment what the prompts point at; without prompts nothing."""
        if self.image is None:
            raise InputError("predict", "no image was set", "Call set_image first.")
        self.network.eval()
        # one block around all that is asked: within it weights are cast to a lower precision once, not for each slice anew
        with measure() as cost, training.autocast(self.device, self.precision):
            # slice after slice in memory, as images are; slices that nothing is said of are never touched
            probability, inside = (np.zeros(self.image.shape, kind, order="F") for kind in (np.float32, bool))
            for prompt in prompts:
                self._check(prompt)
                for index, plane in self._predict_lesion(prompt).items():
                    np.maximum(probability[:, :, index], plane, out=probability[:, :, index])
                    inside[:, :, index] = probability[:, :, index] > self.settings.threshold
        return Prediction(Mask(inside, self.image.affine), probability, cost.seconds, cost.peak_memory_mb)

    def _check(self, prompt: Prompt) -> None:
        if not prompt.slices or any(
            slice_prompt.box is None and not _clicks_inside(slice_prompt) for slice_prompt in prompt.slices if not prompt.find_ends
        ):
            raise InputError("prompt", f"lesion {prompt.lesion_id} has a slice without box and click inside", "Give one of them.")
        if not any(slice_prompt.box is not None or _clicks_inside(slice_prompt) for slice_prompt in prompt.slices):
            raise InputError("prompt", f"lesion {prompt.lesion_id} has clicks outside only", "Give a box or a click inside.")
        outside = [h.index for h in prompt.slices if not 0 <= h.index < self.image.shape[2]]
        if outside:
            raise InputError("prompt", f"slice {outside[0]} is not in an image of {self.image.shape[2]} slices", "Give an index inside.")

    @abstractmethod
    def _predict_lesion(self, prompt: Prompt) -> dict[int, np.ndarray]:
        """Probability planes (x, y) of the lesion by slice index."""

    def _put_back(self, picture: np.ndarray, window: AxialWindow) -> np.ndarray:
        """A square probability picture of the window to a plane (x, y) of the image; zero beyond the window."""
        return _put_back(picture, window, self.image.shape)

    def resolution_ceiling(self, reference: Mask) -> float:
        """DSC of a perfect prediction on the canvas, put back, with a box on every slice (NaN for an empty reference)."""
        if not reference.array.any():
            return np.nan
        prediction = np.zeros(reference.shape, dtype=bool)
        for index in np.flatnonzero(reference.array.any(axis=(0, 1))):
            slice_prompt = SlicePrompt(int(index), box=geometry.plane_box(reference.array[:, :, index], int(index)))
            window = self.view.window_for(slice_prompt, reference)
            prediction[:, :, index] = _put_back(self.view.target(reference.array, window, int(index)), window, reference.shape) > 0.5
        return dsc(reference.array, prediction)

    def load_pretrained(self, path: Path) -> None:
        """Start from weights that were trained elsewhere: a stand-in's pretraining or a published checkpoint."""
        load_checkpoint(self.network, path)
        self._forget()

    def pretrain(
        self, kind: str, plan: training.Schedule, batch_size: int, folder: Path, identity: str, progress: bool = True
    ) -> pd.DataFrame:
        """Train every parameter on objects of the source domain `kind`; returns the history (step, quantity, value)."""
        count = min(PRETRAINING_OBJECTS, plan.steps * batch_size)
        volumes = drawn_volumes(kind, count, plan.seed, self.view.window_hu, progress)
        self._forget()
        sampler = self._sampler(volumes, batch_size)
        return training.train(self.network, sampler, self._loss(), plan, folder, identity=identity, progress=progress)

    def _sampler(self, volumes: Sequence[LesionVolume], batch_size: int) -> training.Sampler:
        return lambda rng: self._batch([volumes[rng.integers(len(volumes))] for _ in range(batch_size)], rng)

    def fit(self, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> pd.DataFrame:
        """Fine-tune on the lesions of whole studies; with validation studies the best checkpoint is kept, else the last one.

        Returns the history (step, quantity, value). The validation DSC is the mean 3-D DSC over both ways of asking: with a box on
        every slice, and with one on a single slice.
        """
        volumes = lesion_volumes(train, beyond=self.settings.clip_slices)
        if not volumes:
            raise InputError("training patients", "none of them has a lesion", "Train on patients with a tumor.")
        settings = self.settings
        free_parts(self.network, self.trained_parts, self.attention_layers, settings.trainable)
        plan = training.Schedule(settings.steps, settings.learning_rate, run.seed, validate_every=settings.validate_every)
        history = training.train(
            self.network,
            self._sampler(volumes, settings.batch_size),
            self._loss(),
            plan,
            run.folder,
            validate=(lambda: self._validation_dsc(validation)) if validation else None,
            identity=run.identity,
            progress=run.progress,
            drawers=self.drawers,
        )
        self._forget()
        return history

    def _loss(self) -> Callable[..., torch.Tensor]:
        return build_loss(self.settings.loss)

    def _validation_dsc(self, studies: Sequence[Study]) -> float:
        self._forget()  # the weights have moved since the last time
        scores = []
        for study in studies:
            reference = study.reference
            labels = label_lesions(reference.array)
            for draw in (boxes.every_slice, boxes.one_slice) if labels.any() else ():
                self.set_image(study.image)
                prompts = [draw(labels == lesion, lesion) for lesion in range(1, int(labels.max()) + 1)]
                scores.append(dsc(reference.array, self.predict(prompts).mask.array))
        return float(np.mean(scores))

    @abstractmethod
    def _batch(self, volumes: Sequence[LesionVolume], rng: np.random.Generator) -> tuple[training.Tensors, training.Tensors]:
        """One training sample of each volume: the arguments of the network, and the targets."""

    def save(self, path: Path, description: Mapping[str, object]) -> None:
        """Write the weights and what they belong to."""
        training.save_weights(self.network, path, description)

    def load(self, path: Path) -> dict[str, object]:
        """Read weights that `save` wrote; refuses those of another network. Returns their description."""
        free_parts(self.network, self.trained_parts, self.attention_layers, self.settings.trainable)
        self._forget()
        return training.load_weights(self.network, path)

    def parameters(self) -> dict[str, int]:
        """Number of parameters, all and trained."""
        return count_parameters(self.network)


class SlicewiseSegmenter(PromptableSegmenter):
    """Answers slice by slice; a lesion that was prompted on few slices is followed from each of them by the shared propagation rule.

    What the image encoder says of a window of a slice is kept in `cache`, by image and weights, so that a further prompt there costs the
    decoder only; several segmenters may share one cache, one thread at a time. With a `folder` it is kept for later runs as well.
    `watch(indices)` hears of slices before they are looked at; what it raises ends the prediction.
    """

    follows_in_one_window = False  # from a prompt on a few slices; else every slice has a window of its own
    encoding_part = ""  # name of the submodule that embeddings depend on; "" is the whole network

    def __init__(
        self, network: torch.nn.Module, view: View, settings: TrainingSettings, device: str = "auto", precision: str = training.BY_DEVICE
    ):
        super().__init__(network, view, settings, device, precision)
        pixels = _PIXELS_IN_CACHE if self.device.type == "cpu" else _PIXELS_AT_ONCE
        self.batch_size = max(1, min(_MOST_AT_ONCE, pixels // view.canvas**2))
        self.cache = EmbeddingCache(_CACHED_MB)
        self.folder = folder_from_environment()
        self.watch: Callable[[Sequence[int]], None] | None = None
        self._needed: dict[Place, float] = {}  # of one prediction: seconds that each window takes to encode
        self._encoded_seconds = 0.0  # of these, those that went by
        self._images: WeakKeyDictionary[Image, int] = WeakKeyDictionary()
        self._numbers = itertools.count()  # never given twice, unlike addresses
        self._identity = ""

    def _forget(self) -> None:
        self.cache.clear()
        self._identity = ""

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """As the base has it; `spared_seconds` are those that kept embeddings took when they were made."""
        self._needed, self._encoded_seconds = {}, 0.0
        prediction = super().predict(prompts)
        return replace(prediction, spared_seconds=max(0.0, sum(self._needed.values()) - self._encoded_seconds))

    @torch.inference_mode()
    def make_ready(self, place: Place) -> None:
        """Encode a window of a slice of the image, if it is not kept."""
        self.network.eval()
        self._embed([place])

    def _embed(self, places: Sequence[Place]) -> list[list[torch.Tensor]]:
        """What the encoder says of each window of a slice (its levels), kept or computed now."""
        if self.watch:
            self.watch([index for _, index in places])
        known = {place: self.cache.get(self._key(place)) for place in dict.fromkeys(places)}
        missing = [place for place, embedding in known.items() if embedding is None]
        for start in range(0, len(missing), self.batch_size):
            part = missing[start : start + self.batch_size]
            for place, embedding in zip(part, self._encode(part), strict=True):
                known[place] = embedding
                self.cache.put(self._key(place), embedding)
        self._needed |= {place: embedding.seconds for place, embedding in known.items()}
        return [known[place].levels for place in places]

    def _key(self, place: Place) -> tuple[object, ...]:
        if self.image not in self._images:
            self._images[self.image] = next(self._numbers)
        return (self, self._images[self.image], *place)

    def _encode(self, places: Sequence[Place]) -> list[Embedding]:
        return self._embed_pictures([self.view.picture(self.image.array, *place) for place in places])

    def _embed_pictures(self, pictures: Sequence[np.ndarray]) -> list[Embedding]:
        """What the encoder says of each picture, found in files or computed now."""
        if self.folder is None:
            return self._encode_pictures(pictures)
        self._identity = self._identity or self._describe_encoder()
        found = self.folder.complete(self._identity, pictures, self._encode_pictures)
        return [Embedding([level.to(self.device) for level in embedding.levels], embedding.seconds) for embedding in found]

    def _encode_pictures(self, pictures: Sequence[np.ndarray]) -> list[Embedding]:
        start = time.perf_counter()
        with training.autocast(self.device, self.precision):
            said = self.network.encode(torch.from_numpy(np.stack(pictures)[:, None]).to(self.device))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # else these would be the seconds of asking
        seconds = time.perf_counter() - start
        self._encoded_seconds += seconds
        levels = [said] if isinstance(said, torch.Tensor) else said
        # a row of a batch would hold the memory of the whole batch
        return [Embedding([level[n : n + 1].clone() for level in levels], seconds / len(pictures)) for n in range(len(pictures))]

    def _describe_encoder(self) -> str:
        """All that an embedding depends on besides its picture: weights, normalization, precision and device, and torch itself."""
        weights = hashlib.sha256()
        for name, tensor in self.network.get_submodule(self.encoding_part).state_dict().items():
            weights.update(f"{name} {tuple(tensor.shape)}".encode())
            weights.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
        rest = (self.view.mean, self.view.std, self.precision, self.device.type, torch.__version__)
        return f"{weights.hexdigest()} {rest}"

    def _predict_lesion(self, prompt: Prompt) -> dict[int, np.ndarray]:
        if not prompt.find_ends:
            return self._predict_slices(prompt.slices)
        planes: dict[int, np.ndarray] = {}
        clicks = {slice_prompt.index: slice_prompt.points for slice_prompt in prompt.slices if slice_prompt.points is not None}
        count, slice_mm = self.image.shape[2], self.image.spacing_mm[2]
        for seed in prompt.slices:
            if seed.box is not None or _clicks_inside(seed):
                _unite(
                    planes,
                    propagate(seed, lambda slice_prompt: self._predict_slices([slice_prompt])[slice_prompt.index], count, slice_mm, clicks),
                )
        return planes

    def _predict_slices(self, slice_prompts: Sequence[SlicePrompt]) -> dict[int, np.ndarray]:
        planes: dict[int, np.ndarray] = {}
        for part in _batches_of_one_form(slice_prompts, self.batch_size):
            windows = [self.view.window_for(slice_prompt, self.image) for slice_prompt in part]
            pictures = self._probabilities(part, windows)
            for slice_prompt, window, picture in zip(part, windows, pictures, strict=True):
                _unite(planes, {slice_prompt.index: self._put_back(picture, window)})
        return planes

    @abstractmethod
    def _probabilities(self, slice_prompts: Sequence[SlicePrompt], windows: Sequence[AxialWindow]) -> np.ndarray:
        """Probability pictures, float32 (n, side, side), one per prompted slice; all slice prompts have as many points."""

    def _tokens(self, slice_prompts: Sequence[SlicePrompt], windows: Sequence[AxialWindow]) -> tuple[torch.Tensor, torch.Tensor]:
        """The prompts as the network takes them: positions (n, m, 2) and labels (n, m); see `prompt_tokens`."""
        tokens = [
            prompt_tokens(slice_prompt, window, self.view.canvas) for slice_prompt, window in zip(slice_prompts, windows, strict=True)
        ]
        return tuple(torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*tokens, strict=True))


def where(options: Options) -> dict[str, str]:
    """The options of a model that say where it computes and in which precision (`training.autocast`)."""
    return {"device": str(options["device"]), "precision": str(options.get("precision", training.BY_DEVICE))}


def prompt_tokens(slice_prompt: SlicePrompt, window: AxialWindow, canvas: int) -> tuple[np.ndarray, np.ndarray]:
    """A prompt as SAM 2 writes it: positions, float32 (m, 2), x and y in canvas pixels counted from edges, and labels, int32 (m).

    The corners of a box come first, with labels 2 and 3; then clicks outside (0) and inside (1).
    """
    positions, labels = [np.zeros((0, 2))], []
    if slice_prompt.box is not None:
        positions.append(np.reshape(geometry.box_to_pixels(slice_prompt.box, window, canvas), (2, 2)))
        labels += [2, 3]
    if slice_prompt.points is not None:
        positions.append(geometry.points_to_pixels(slice_prompt.points, window, canvas))
        labels += slice_prompt.points.labels
    return np.concatenate(positions).astype(np.float32), np.array(labels, dtype=np.int32)


def _clicks_inside(slice_prompt: SlicePrompt) -> bool:
    return slice_prompt.points is not None and 1 in slice_prompt.points.labels


def _batches_of_one_form(slice_prompts: Sequence[SlicePrompt], size: int) -> list[list[SlicePrompt]]:
    forms: dict[tuple[bool, int], list[SlicePrompt]] = {}
    for slice_prompt in slice_prompts:
        forms.setdefault((slice_prompt.box is not None, len(slice_prompt.points.labels) if slice_prompt.points else 0), []).append(
            slice_prompt
        )
    return [part[start : start + size] for part in forms.values() for start in range(0, len(part), size)]


def _put_back(picture: np.ndarray, window: AxialWindow, shape: tuple[int, ...]) -> np.ndarray:
    plane = np.zeros(shape[:2], dtype=np.float32)
    geometry.paste_window(geometry.resample(picture, (window.rows, window.columns)), window, plane)
    return plane


def _unite(planes: dict[int, np.ndarray], more: Mapping[int, np.ndarray]) -> None:
    for index, plane in more.items():
        planes[index] = np.maximum(planes[index], plane) if index in planes else plane
