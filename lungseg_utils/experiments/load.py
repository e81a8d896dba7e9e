"""Load finished experiments as segmenters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import registry
from ..types import (
    Box,
    Experiment,
    Image,
    InputError,
    Mask,
    Points,
    PretrainedSegmenter,
    Prompt,
    Record,
    Segmenter,
    SlicePrompt,
    trainable,
)
from . import config, initial_weights, store


class PromptedModel:
    """A model that predicts from prompts of your own. `segmenter` is the model itself, of the protocol `types.Segmenter`."""

    def __init__(self, segmenter: Segmenter):
        self.segmenter = segmenter
        self._image: Image | None = None

    def predict(
        self,
        image: Image,
        box: tuple[tuple[int, int], tuple[int, int]] | None = None,
        points: Sequence[tuple[int, int]] = (),
        slice: int | None = None,
        labels: Sequence[int] = (),
        follow: bool = True,
        prompts: Sequence[Prompt] = (),
    ) -> Mask:
        """Predict one lesion from a box or points on one axial slice, or several from `prompts`; a model that needs no prompt takes none.

        Args:
            image: The CT. The next call with the same image uses what is known of it.
            box: First and last corner (i, j) in voxels; the last one lies outside of the box.
            points: Clicks (i, j) in voxels.
            slice: Index k of their axial slice.
            labels: 1 inside the lesion, 0 outside, one for each point; by default all inside.
            follow: Whether the lesion may go on beyond that slice.
            prompts: Prompts as `lungseg_utils.prompts` draws them, in the place of box and points.

        Returns:
            The mask, on the grid of the image.

        Raises:
            InputError: A box or points without a slice, outside of the image, or beside `prompts`.
        """
        if prompts and (box is not None or points):
            raise InputError("predict", "prompts were given beside a box or points", "Give one of the two.")
        if image is not self._image:
            self.segmenter.set_image(image)
            self._image = image
        if box is None and not points:
            return self.segmenter.predict(tuple(prompts)).mask
        if slice is None or not 0 <= slice < image.shape[2]:
            raise InputError("predict", f"the slice is {slice}", f"Give slice=0 to {image.shape[2] - 1}.")
        slice_prompt = SlicePrompt(slice, _box(box, slice, image), _points(points, labels, slice, image))
        return self.segmenter.predict((Prompt(1, (slice_prompt,), find_ends=follow, actions=1),)).mask


def _box(box: tuple[tuple[int, int], tuple[int, int]] | None, index: int, image: Image) -> Box | None:
    if box is None:
        return None
    (i0, j0), (i1, j1) = box
    if min(i0, j0) < 0 or i1 > image.shape[0] or j1 > image.shape[1]:
        raise InputError("predict", f"the box {box} leaves the image of {image.shape[:2]} voxels", "Give voxel indices (i, j).")
    return Box((i0, j0, index), (i1, j1, index + 1))


def _points(points: Sequence[tuple[int, int]], labels: Sequence[int], index: int, image: Image) -> Points | None:
    for i, j in points:
        if not (0 <= i < image.shape[0] and 0 <= j < image.shape[1]):
            raise InputError("predict", f"the point {(i, j)} lies outside of the image", "Give voxel indices (i, j).")
    marks = tuple(labels) or (1,) * len(points)
    return Points(tuple((i, j, index) for i, j in points), marks) if points else None


def load_model(model: str, weights: Path | str | None = None, **options: object) -> PromptedModel:
    """A model by the name of its file in `models/`.

    Args:
        model: E.g. "medsam", "sam2", "unet", "trivial".
        weights: File of its weights: for a published model as its authors give it, for any other as a training here saves it. Without
            it a network has random weights.
        options: Options of the model's card that are to differ.

    Raises:
        InputError: An unknown model or option, or weights that do not fit.
    """
    segmenter = registry.model(model).build(config.model_options(model, options), 0)
    if weights is not None:
        path = Path(weights)
        if not path.exists():
            raise InputError(path, "no such file or folder", "Check the path; `python -m lungseg_utils fetch` brings published weights.")
        if registry.checkpoints(model) and isinstance(segmenter, PretrainedSegmenter):
            segmenter.load_pretrained(path)
        else:
            trainable(segmenter).load(path)
    return PromptedModel(segmenter)


def segmenter_of(experiment: Experiment, progress: bool = False) -> Segmenter:
    """The segmenter with the final weights of the experiment; InputError if it should be trained and is not finished.

    An untrained experiment has its initial weights: a published checkpoint or a stand-in's pretraining.
    """
    first, last = weights_files(experiment, progress)
    segmenter = initial_weights.build_from(first, experiment.model, _options(experiment), experiment.seed)
    if last:
        trainable(segmenter).load(last)
    return segmenter


def weights_files(experiment: Experiment, progress: bool = False) -> tuple[Path | None, Path | None]:
    """Files of initial and final weights, None where there is none; InputError as in `segmenter_of`."""
    folder = store.results_folder(experiment)
    if registry.card("paradigms", experiment.paradigm).uses_target_labels and not (folder / "experiment.json").is_file():
        raise InputError(folder, "this experiment is not finished", "Run its notebook first, or `python -m lungseg_utils run`.")
    first = initial_weights.initial_weights(experiment.model, _options(experiment), progress, experiment.seed)
    weights = folder / "weights.pt"
    return first, weights if weights.is_file() else None


def _options(experiment: Experiment) -> Record:
    return config.resolve_options(experiment, config.load().profile(experiment.profile))
