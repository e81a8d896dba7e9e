"""The records of the benchmark: small frozen dataclasses that every other module uses.

Frames. Every array in memory has axes (x, y, z) in RAS+ order: index i grows towards the patient's right, j towards
anterior, k towards superior. `affine` maps voxel indices (center of a voxel) to world millimeters, RAS+. The order in
which a file stored its axes is undone on reading and redone on writing (`data`); neither ever interpolates voxels.

The module is long because all rooms import it: the records and the types of the contract have one home below them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_Value = TypeVar("_Value")
Row = Mapping[str, Any]
"""Plain values by name, to be read: a row of a table, an object of a JSON file."""
Record = dict[str, Any]
"""The same, to be made."""
Options = Mapping[str, Any]
"""Options of a model by name: plain values of `experiments.yml` and of the model's card. The model's own settings check them."""
# Direction cosines of hand-edited or float32 headers are off by about 1e-4; a gantry tilt is off by more than 1e-2.
_ORTHOGONALITY_TOLERANCE = 1e-3
# A case's name becomes names of files and folders, with endings: it must not lead out of its folder. `core.names.safe_name` makes one.
_CASE_NAME, _LONGEST_NAME_BYTES = re.compile(r"\w[\w.-]*"), 120


class InputError(ValueError):
    """Input that cannot be used. Its message names the file or argument, what is wrong with it, and what to do."""

    def __init__(self, where: object, problem: str, remedy: str):
        super().__init__(f"{where}: {problem.rstrip('.')}. {remedy}")
        self.where, self.problem, self.remedy = str(where), problem, remedy


class TrainingDiverged(RuntimeError):
    """A loss became NaN or infinite. `history` (step, quantity, value) tells how it came to it; the last good state is kept."""

    def __init__(self, message: str, history: pd.DataFrame):
        super().__init__(message)
        self.history = history


def _check_affine(affine: np.ndarray, where: object) -> np.ndarray:
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(where, "the affine is not a finite 4 x 4 matrix", "Repair the header of the file.")
    columns = affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if (lengths < 1e-6).any():
        raise InputError(where, "the affine has an axis of zero length", "Repair the header of the file.")
    cosines = (columns / lengths).T @ (columns / lengths)
    if np.abs(cosines - np.eye(3)).max() > _ORTHOGONALITY_TOLERANCE:
        raise InputError(
            where, "the voxel axes are not at right angles (gantry tilt or shear)", "Resample the image to a rectangular grid first."
        )
    dominant = np.argmax(np.abs(columns), axis=0)
    if tuple(dominant) != (0, 1, 2) or (np.diag(columns) <= 0).any():
        raise InputError(where, "the voxel axes are not in RAS+ order", "Build it through read_image or geometry.to_ras.")
    return affine


def _freeze(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class _Volume:
    array: np.ndarray
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        return self.array.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along x, y, z, derived from the affine."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0


class Image(_Volume):
    """CT volume: float32 (x, y, z) in HU and its affine (4, 4), RAS+ mm. Refuses NaN, shear and other axis orders."""

    def __init__(self, array: np.ndarray, affine: np.ndarray, where: object = "image"):
        array = np.asarray(array, dtype=np.float32)
        if array.ndim != 3 or 0 in array.shape:
            raise InputError(where, f"a CT volume has three axes, this has shape {array.shape}", "Give one 3-D volume per file.")
        if not np.isfinite(array).all():
            raise InputError(where, "it holds NaN or infinite voxels", "Export the CT again in Hounsfield units.")
        object.__setattr__(self, "array", _freeze(array))
        object.__setattr__(self, "affine", _freeze(_check_affine(affine, where)))


class Mask(_Volume):
    """Binary volume: bool (x, y, z) on the grid of its image."""

    def __init__(self, array: np.ndarray, affine: np.ndarray, where: object = "mask"):
        array = np.asarray(array)
        if array.ndim != 3 or array.dtype != np.bool_:
            raise InputError(where, f"a mask is a 3-D bool array, this is {array.dtype} {array.shape}", "Threshold it first.")
        object.__setattr__(self, "array", _freeze(array))
        object.__setattr__(self, "affine", _freeze(_check_affine(affine, where)))

    @property
    def volume_ml(self) -> float:
        """Volume of the true voxels in millilitres."""
        return np.count_nonzero(self.array) * self.voxel_ml


@dataclass(frozen=True)
class Points:
    """Clicks: voxel indices (i, j, k) of the original image, and labels (1 inside the lesion, 0 outside)."""

    ijk: tuple[tuple[int, int, int], ...]
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.ijk) != len(self.labels) or not set(self.labels) <= {0, 1}:
            raise InputError("points", "every point needs one label, 0 or 1", "Give as many labels as points.")


@dataclass(frozen=True)
class Box:
    """Axis-parallel box in voxel indices of the original image, half-open: ijk_min is inside, ijk_max is not."""

    ijk_min: tuple[int, int, int]
    ijk_max: tuple[int, int, int]

    def __post_init__(self) -> None:
        if any(high <= low for low, high in zip(self.ijk_min, self.ijk_max, strict=True)):
            raise InputError("box", f"{self.ijk_min} to {self.ijk_max} is empty", "ijk_max must exceed ijk_min on every axis.")

    @property
    def voxels(self) -> tuple[slice, slice, slice]:
        """The box as an index into an (x, y, z) array."""
        i, j, k = (slice(low, high) for low, high in zip(self.ijk_min, self.ijk_max, strict=True))
        return i, j, k


@dataclass(frozen=True)
class SlicePrompt:
    """What is known about a lesion on one axial slice `index`: a box one slice thick, or points on it."""

    index: int
    box: Box | None = None
    points: Points | None = None


@dataclass(frozen=True)
class Prompt:
    """All slice prompts of one lesion. `find_ends`: the lesion may reach beyond the prompted slices; else only those are answered.

    With `box_3d` the slices hold its sections. `actions`: boxes, lines or clicks that a person would have made for it.
    """

    lesion_id: int
    slices: tuple[SlicePrompt, ...] = ()
    box_3d: Box | None = None
    find_ends: bool = False
    actions: int = 0


def _frozen_mapping(value: Mapping[str, _Value]) -> Mapping[str, _Value]:
    return MappingProxyType(dict(value))


@dataclass(frozen=True, eq=False)
class Case:
    """One scan of a data set, by path only. `case_id` is a safe name of files.

    `attributes` are facts that the data set gives (strings), e.g. contact.
    """

    dataset: str
    case_id: str
    patient_id: str
    image_path: Path
    reference_paths: tuple[Path, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _CASE_NAME.fullmatch(self.case_id) or len(self.case_id.encode()) > _LONGEST_NAME_BYTES:
            where = self.case_id if len(self.case_id) <= _LONGEST_NAME_BYTES else f"{self.case_id[:60]}..."
            remedy = f"Use letters, digits, points, - and _, at most {_LONGEST_NAME_BYTES} bytes."
            raise InputError(self.image_path, f"{where!r} is no usable case name", remedy)
        object.__setattr__(self, "attributes", _frozen_mapping(self.attributes))


@dataclass(frozen=True, eq=False)
class Study:
    """A case read into memory: the image, one reference mask per reader (none if unlabeled), and where not to judge."""

    image: Image
    references: Mapping[str, Mask]
    ignore: Mask | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "references", _frozen_mapping(self.references))

    @property
    def reference(self) -> Mask:
        """The data set's own reference, from which prompts are drawn: the first of `references`. InputError if there is none."""
        if not self.references:
            raise InputError("study", "it has no reference", "Leave the case out of the test set.")
        return next(iter(self.references.values()))


@dataclass(frozen=True, eq=False)
class Prediction:
    """A segmenter's answer on the image's own grid; `probability` is float32 (x, y, z) in [0, 1] or None.

    `spared_seconds`: what embeddings that were kept from earlier took when they were made. With `seconds` they are the cost of a first
    prediction, whatever was asked before. `fallback_share`: of the prompts, how many an automatic model answered without its network (NaN:
    no such model, or no prompt).
    """

    mask: Mask
    probability: np.ndarray | None
    seconds: float
    peak_memory_mb: float
    fallback_share: float = math.nan
    spared_seconds: float = 0.0


@dataclass(frozen=True)
class Experiment:
    """What is trained, once. Its name is a function of its fields, and names the weights and the result tables."""

    profile: str
    train_dataset: str
    model: str
    paradigm: str
    k: int | None = None
    draw: int = 0
    seed: int = 0
    fold: int = 0
    options: tuple[tuple[str, object], ...] = ()

    @property
    def name(self) -> str:
        """Deterministic, readable, and unique: options enter as a hash of their sorted JSON."""
        parts = [self.profile, self.model, self.paradigm, self.train_dataset]
        parts += [f"k{self.k}", f"draw{self.draw}"] if self.k is not None else []
        parts += [f"fold{self.fold}", f"seed{self.seed}"]
        if self.options:
            text = json.dumps(sorted(self.options), default=list)
            parts.append(hashlib.sha256(text.encode()).hexdigest()[:8])
        return "__".join(parts)

    def as_dict(self) -> Record:
        """All fields as plain values, options as a dictionary."""
        return asdict(self) | {"options": dict(self.options)}


@dataclass(frozen=True)
class ModelCard:
    """What a model file says of itself without importing torch. `learns`: a paradigm means something for it.

    `prompts`: the kinds that it takes, of "box", "points" and "none". Every prompt setting of these kinds can be asked of it.
    For its pages: `reads`, what it takes a CT as; `pretraining`, what its first weights learned from; `architecture`, the image encoder of
    its full size, where that is measured as a promptable network of slices; `about`, how it works, in Markdown, with {option} for an
    option. `about` stands where no text of the model is written elsewhere.
    """

    title: str
    summary: str
    reference: str
    doi: str
    license: str
    paradigms: tuple[str, ...]
    prompts: tuple[str, ...]
    options: Options = field(default_factory=dict)
    learns: bool = True
    reads: str = ""
    pretraining: str = "none"
    architecture: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _frozen_mapping(self.options))

    @property
    def is_automatic(self) -> bool:
        """A trained model that needs no prompt. Its own mask gives the boxes of a detector, so it is never asked with them."""
        return self.learns and "none" in self.prompts


@dataclass(frozen=True)
class Checkpoint:
    """A published file of weights. `size` in bytes and `sha256` are 0 and "" where their authors give none: recorded at first download.

    `package`: the requirement ("name==version") of the package that brings the file when it is installed; "" for one that is fetched.
    `content`: if `file` is a folder, patterns of the files in it, each of which has to be there. A folder is brought by hand, or by
    `command`, in which {place} is the folder.
    """

    file: str
    url: str
    size: int
    sha256: str
    license: str
    citation: str
    package: str = ""
    content: tuple[str, ...] = ()
    command: str = ""

    @property
    def name(self) -> str:
        """Without the ending of a file: how tables call the weights."""
        return self.file if self.content else Path(self.file).stem


@dataclass(frozen=True)
class Pretraining:
    """How a stand-in was prepared on the source domain `kind`, in the place of published weights."""

    kind: str
    steps: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class OwnWeights:
    """A model of the reader's own, trained elsewhere: `path` is its file or folder, `files()` all that its answers depend on.

    `files` looks on the disk, so tables of results need no weights; it raises InputError where something is missing.
    """

    path: Path
    files: Callable[[], Sequence[Path]]


@dataclass(frozen=True)
class DatasetCard:
    """What a data-set file says of itself. `redistributable`: may voxels appear in a published book?

    `labeled_patients`: as published; 0 where that is not one number. `short_title`: for tables, by default the title; of phantoms
    what they are like ("NSCLC-like"). `several_readers`: references "reader-1" and so on are in each study. `part_of`: the data set
    whose files and exclusions it shares, of which it is some of the patients.
    """

    title: str
    summary: str
    target: str
    license: str
    redistributable: bool
    phantom: bool
    citation: str
    doi: str
    source: str
    labeled_patients: int = 0
    short_title: str = ""
    several_readers: bool = False
    part_of: str = ""

    @property
    def label(self) -> str:
        """Name in tables and figures: "phantoms, NSCLC-like", or "RIDER Lung CT"."""
        short = self.short_title or self.title
        return f"phantoms, {short}" if self.phantom else short

    @property
    def patients(self) -> str:
        """Its patients, in a sentence: "NSCLC-like phantoms", or "patients of RIDER Lung CT"."""
        short = self.short_title or self.title
        return f"{short} phantoms" if self.phantom else f"patients of {short}"


@dataclass(frozen=True)
class ParadigmCard:
    """What a paradigm file says of itself. `few_shot`: it is run for every k and draw of a profile, and has no validation patients."""

    title: str
    summary: str
    uses_target_labels: bool
    few_shot: bool = False


@dataclass(frozen=True)
class TrainingRun:
    """One training beside its model and its patients: `folder` for its state, and `identity`, the hash of all that it depends on."""

    seed: int
    folder: Path
    identity: str
    progress: bool = True


class Segmenter(Protocol):
    """Takes an image, and answers prompts on the image's own grid. A class that names this one as its base has the defaults below."""

    shares_batches: bool = False
    """Several processes can train it together."""
    device: object = "cpu"
    """Where it computes."""

    def set_image(self, image: Image) -> None:
        """Take a CT, to be asked about."""

    def predict(self, prompts: Sequence[Prompt] = ()) -> Prediction:
        """The answer to these prompts; InputError before there is an image."""
        ...

    def parameters(self) -> dict[str, int]:
        """Number of `parameters` and of `parameters_trained`."""
        ...

    def resolution_ceiling(self, reference: Mask) -> float:
        """DSC of a perfect prediction on the segmenter's own grid; NaN where it works on the image's."""
        return math.nan


@runtime_checkable
class TrainableSegmenter(Segmenter, Protocol):
    """A segmenter that learns from labeled studies."""

    def fit(self, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun) -> pd.DataFrame:
        """Train, and return the history (step, quantity, value). With validation studies the best checkpoint counts, else the last."""
        ...

    def save(self, path: Path, description: Mapping[str, object]) -> None:
        """Write the weights and what they belong to."""

    def load(self, path: Path) -> dict[str, object]:
        """Read weights that `save` wrote; refuses those of another network. Returns their description."""
        ...


@runtime_checkable
class PretrainedSegmenter(TrainableSegmenter, Protocol):
    """A segmenter that starts from weights of elsewhere."""

    def load_pretrained(self, path: Path) -> None:
        """Start from a published checkpoint, or from a stand-in's pretraining."""


@runtime_checkable
class CachesEmbeddings(Protocol):
    """A segmenter that keeps what its image encoder said, in a cache that several may share."""

    cache: object


def trainable(segmenter: Segmenter) -> TrainableSegmenter:
    """The same segmenter, to be trained; InputError if it has not what that takes."""
    if not isinstance(segmenter, TrainableSegmenter):
        raise InputError(type(segmenter).__name__, "this segmenter cannot be trained", "Give it fit, save and load, or use zero_shot.")
    return segmenter


class ModelModule(Protocol):
    """What a file in `models/` holds. It may hold more, see `registry.model_title`, `checkpoints` and `initial_weights`."""

    CARD: ModelCard

    def build(self, options: Options, seed: int = 0) -> Segmenter:
        """The segmenter of these options (all that CARD.options names); random weights are drawn from `seed`."""
        ...


class DatasetModule(Protocol):
    """What a file in `datasets/` holds."""

    CARD: DatasetCard

    def cases(self, root: Path) -> list[Case]:
        """All cases below a folder, sorted; InputError if there is none."""
        ...

    def load(self, case: Case) -> Study:
        """Read a case; InputError for one that cannot be used."""
        ...


Progress = Callable[[Iterable[Any]], Iterable[Any]]
"""What wraps the items of a loop and shows how far it is, like tqdm."""


class VoxelGrid(Protocol):
    """Number of voxels, and their size in mm."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Along x, y, z."""
        ...

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Along x, y, z."""
        ...


class PhantomModule(DatasetModule, Protocol):
    """What the file of a data set holds that is drawn: also the grids that a profile may name, and what draws patients."""

    GRIDS: Mapping[str, VoxelGrid]

    def generate(self, root: Path, patient_ids: Sequence[str], grid: VoxelGrid, workers: int = 1, progress: Progress | None = None) -> None:
        """Draw the patients that `root` lacks."""


class ParadigmModule(Protocol):
    """What a file in `paradigms/` holds."""

    CARD: ParadigmCard

    def prepare(
        self, segmenter: Segmenter, train: Sequence[Study], validation: Sequence[Study], run: TrainingRun
    ) -> tuple[Segmenter, pd.DataFrame]:
        """Make a segmenter ready to be tested; returns it with its history (step, quantity, value), empty if nothing was trained."""
        ...
