"""nnInteractive (Isensee et al. 2025) behind the interface of every other segmenter: prompts become interactions of its own session.

The session (`nnInteractive.inference.inference_session`, version 2.6) is used by its public methods alone. It normalizes the CT itself, so
it is given HU without a window. It sees arrays as SimpleITK reads a common CT: slices from the feet up, rows from front to back, columns
from the patient's right to the left. Boxes are half-open, one voxel thick on one axis unless the weights take boxes in 3-D.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..core.measure import count_parameters, measure
from ..geometry import stack_axial, unstack_axial, unstacked_box
from ..prompts.lines import drawn_line
from ..types import Box, Image, InputError, Mask, Options, Prediction, Prompt, SlicePrompt
from . import training
from .nnunet import backend_kept
from .trained_elsewhere import NotTrainedHere

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    Interaction = Callable[[nnInteractiveInferenceSession], object]

LINES = ("scribble", "points")
_BOX_3D = "bbox3d"  # the session's name for boxes that are thicker than a voxel on all axes
_SEED = 0
_INSTALL = "Install it: .venv/bin/python -m pip install --no-deps nninteractive==2.6.0"


class NnInteractiveSegmenter(NotTrainedHere):
    """Answers by nnInteractive's own session, on the image's own grid, without a probability.

    Each answer starts anew: the CT is given to a session without interactions, each lesion gets all its prompts in their order (boxes and
    lines, then clicks, slice by slice), and the network predicts after each of them, as it does when a person draws. Boxes that tell where
    a lesion ends (`find_ends` is false) cut the answer to the slices that they span. A box in 3-D is given as one, or, to weights that
    take none, as its section in the middle.
    """

    def __init__(self, options: Options):
        if options["lines"] not in LINES:
            raise InputError("lines", f"{options['lines']!r} is unknown", f"Choose one of {', '.join(LINES)}.")
        self.device = training.choose_device(options["device"])
        self._lines, self._zooms = options["lines"], bool(options["autozoom"])
        self._session: nnInteractiveInferenceSession | None = None
        self._image: Image | None = None

    def load_pretrained(self, path: Path) -> None:
        """Take the weights of a folder as its authors publish it; InputError if the session cannot use it."""
        session = _new_session(self.device, self._zooms)
        with redirect_stdout(StringIO()), training.only_weights():
            try:
                session.initialize_from_trained_model_folder(str(path))
            except Exception as error:  # of many types, from torch and two packages: a missing file, other keys, a pickle with code
                said = str(error).splitlines()[0][:200] if str(error) else ""
                remedy = "Give the folder as published: plans.json, dataset.json, and fold_X/checkpoint_final.pth."
                raise InputError(path, f"nnInteractive cannot load it ({type(error).__name__}: {said})", remedy) from error
        self._session = session

    def set_image(self, image: Image) -> None:
        """Take a CT, to be asked about."""
        self._image = image

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """The union of the answers to the prompts, each a lesion of its own; empty without any."""
        if self._image is None:
            raise InputError("predict", "no image was set", "Call set_image first.")
        if self._session is None:
            raise InputError("predict", "nnInteractive has no weights yet", "Call load_pretrained first.")
        found = np.zeros(self._image.shape, dtype=bool)
        with measure() as cost, redirect_stdout(StringIO()), _same_draws():
            stored = np.ascontiguousarray(unstack_axial(self._image.array))
            target = torch.zeros(stored.shape, dtype=torch.uint8)
            self._session.set_image(stored[None])
            self._session.set_target_buffer(target)
            for prompt in prompts:
                found |= self._answer(prompt, self._session, target)
        return Prediction(Mask(found, self._image.affine), None, cost.seconds, cost.peak_memory_mb)

    def _answer(self, prompt: Prompt, session: nnInteractiveInferenceSession, target: torch.Tensor) -> np.ndarray:
        """What the session says to one lesion's prompts, bool (x, y, z); `target` is the session's buffer."""
        session.reset_interactions()
        for interact in self._interactions(prompt, session):
            interact(session)
        answer = stack_axial(target.numpy() > 0).copy()
        if not prompt.find_ends:
            spanned = [slice_prompt.index for slice_prompt in prompt.slices]
            answer[:, :, : min(spanned)] = answer[:, :, max(spanned) + 1 :] = False
        return answer

    def _interactions(self, prompt: Prompt, session: nnInteractiveInferenceSession) -> Iterator[Interaction]:
        shape, line = self._image.shape, drawn_line(prompt)
        if line is not None and self._lines == "scribble":
            yield _scribble(line, shape, float(session.preferred_scribble_thickness[-1]))
            return
        for box in _boxes(prompt, bool(session.supported_interactions[_BOX_3D])):
            yield _bounded(unstacked_box(box, shape))
        for slice_prompt in prompt.slices:
            yield from _clicks(slice_prompt, shape)

    def parameters(self) -> dict[str, int]:
        """Number of parameters; 0 before there are weights. None is trained here."""
        if self._session is None:
            return {"parameters": 0, "parameters_trained": 0}
        return count_parameters(self._session.network) | {"parameters_trained": 0}


def _new_session(device: torch.device, zooms: bool) -> nnInteractiveInferenceSession:
    """A session without weights. It is not compiled: on a processor nothing is gained by it, and masks would depend on the compiler."""
    try:
        with backend_kept():
            from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
    except ImportError as error:
        raise InputError("nnInteractive", f"the package is not installed ({error})", _INSTALL) from error
    with redirect_stdout(StringIO()):
        return nnInteractiveInferenceSession(
            device=device,
            use_torch_compile=False,
            torch_n_threads=torch.get_num_threads(),  # it sets the number for the whole process
            do_autozoom=zooms,
            enable_undo=False,
        )


@contextmanager
def _same_draws() -> Iterator[None]:
    """For this block numpy's global generator starts anew: the session draws places from it when it refines. Answers must not differ."""
    before = np.random.get_state()  # noqa: NPY002  # the session's own is the global one
    np.random.seed(_SEED)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _boxes(prompt: Prompt, in_3d: bool) -> list[Box]:
    if prompt.box_3d is None:
        return [slice_prompt.box for slice_prompt in prompt.slices if slice_prompt.box is not None]
    if in_3d:
        return [prompt.box_3d]
    (i, j, k), (i_end, j_end, k_end) = prompt.box_3d.ijk_min, prompt.box_3d.ijk_max
    middle = (k + k_end) // 2
    return [Box((i, j, middle), (i_end, j_end, middle + 1))]


def _bounded(sides: list[list[int]]) -> Interaction:
    return lambda session: session.add_bbox_interaction(sides, include_interaction=True)


def _clicks(slice_prompt: SlicePrompt, shape: tuple[int, int, int]) -> Iterator[Interaction]:
    if slice_prompt.points is None:
        return
    for ijk, label in zip(slice_prompt.points.ijk, slice_prompt.points.labels, strict=True):
        yield partial(_click, _unstacked(ijk, shape), bool(label))


def _click(place: tuple[int, int, int], inside: bool, session: nnInteractiveInferenceSession) -> object:
    return session.add_point_interaction(place, include_interaction=inside)


def _scribble(ends: tuple[tuple[int, int, int], tuple[int, int, int]], shape: tuple[int, int, int], thickness: float) -> Interaction:
    """A line on its slice, drawn as wide as the network learned it: all voxels no farther from it than half the thickness."""
    first, last = (np.array(_unstacked(end, shape)) for end in ends)
    rows, columns = np.indices((shape[1], shape[0]), dtype=float)
    start, along = first[1:].astype(float), (last - first)[1:].astype(float)
    offset = np.stack([rows - start[0], columns - start[1]], axis=-1)
    share = np.clip(offset @ along / max(float(along @ along), 1.0), 0, 1)
    drawn = np.linalg.norm(offset - share[..., None] * along, axis=-1) <= thickness / 2
    where = [[int(first[0]), int(first[0]) + 1], [0, shape[1]], [0, shape[0]]]
    return lambda session: session.add_scribble_interaction(drawn[None].astype(np.uint8), include_interaction=True, interaction_bbox=where)


def _unstacked(ijk: tuple[int, int, int], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Slice, row and column of a voxel, as the session counts them."""
    (k, _), (row, _), (column, _) = unstacked_box(Box(ijk, (ijk[0] + 1, ijk[1] + 1, ijk[2] + 1)), shape)
    return k, row, column
