"""Recorded sessions: the prompts that a person gave on a case, as JSON (`session.schema.json`) and as a prompt setting of the ladder.

On the ladder only the prompts at the end of a session count. Earlier ones are kept for their times and for replay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import geometry
from ..core import files, schema
from ..types import Image, InputError, Mask, Prompt, Record
from . import json_form
from .ladder import PROMPT_SETTINGS, Prompter, PromptSetting

RECORDED = "recorded"
_FORMAT = 1
_SCHEMA = Path(__file__).with_name("session.schema.json")


@dataclass(frozen=True)
class AskedModel:
    """A model as it stood in a session: what it was called, the name of its experiment, and the hash of its weights ("none" without)."""

    title: str
    experiment: str
    weights_sha256: str


@dataclass(frozen=True)
class RecordedPrediction:
    """What a model answered at one look: in how many milliseconds, its 3-D DSC (None where undefined), and the hash of its mask."""

    experiment: str
    milliseconds: float
    dsc: float | None
    mask_sha256: str


@dataclass(frozen=True)
class Interaction:
    """All that had been said after one `action` of the person, `seconds` after the case was shown."""

    action: str
    seconds: float
    prompts: tuple[Prompt, ...]
    answers: tuple[RecordedPrediction, ...] = ()


@dataclass(frozen=True)
class Session:
    """One person, one case. `shape` and `affine` (4 x 4, RAS+ mm) are the grid of the image that the prompts' voxels count on."""

    dataset: str
    case_id: str
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    reference_sha256: str | None
    started: str
    saw_scores: bool
    saw_reference: bool
    models: tuple[AskedModel, ...]
    looks: tuple[Interaction, ...]

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """What stood at the end."""
        return self.looks[-1].prompts if self.looks else ()

    @property
    def seconds(self) -> float:
        """From the case being shown to the last action."""
        return self.looks[-1].seconds if self.looks else 0.0


def write(session: Session, path: Path) -> None:
    """Write a session as JSON, whole or not at all."""
    files.write_json(to_json(session), path)


def read(path: Path) -> Session:
    """Read a session; InputError names the file and its first fault."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "Give a file that the playground saved.") from error
    return from_text(text, path)


def from_text(text: str | bytes, where: object = "session") -> Session:
    """A session from what such a file holds; InputError, with `where` as the place, for anything else."""
    try:
        record = json.loads(text)
    except ValueError as error:
        raise InputError(where, "not JSON", "Give a file that the playground saved.") from error
    return from_json(record, where)


def to_json(session: Session) -> Record:
    """A session as numbers, lists and dictionaries."""
    looks = [asdict(look) | {"prompts": [json_form.to_json(prompt) for prompt in look.prompts]} for look in session.looks]
    return {"format": _FORMAT, **asdict(session), "looks": looks}


def from_json(record: object, where: object = "session") -> Session:
    """Undo `to_json`; InputError, with `where` as the place, for what the schema does not describe."""
    plain = json.loads(json.dumps(record))
    if fault := schema.fault(plain, _SCHEMA):
        raise InputError(where, f"not a recorded session, {fault}", "Give a file that the playground saved.")
    fields = {name: value for name, value in plain.items() if name != "format"}
    fields["shape"], fields["affine"] = tuple(fields["shape"]), tuple(tuple(row) for row in fields["affine"])
    fields["models"] = tuple(AskedModel(**model) for model in fields["models"])
    fields["looks"] = tuple(_look(look, f"{where}, look {n}") for n, look in enumerate(fields["looks"], 1))
    return Session(**fields)


def _look(record: Record, where: str) -> Interaction:
    prompts = tuple(json_form.from_json(prompt, where) for prompt in record["prompts"])
    return Interaction(record["action"], record["seconds"], prompts, tuple(RecordedPrediction(**answer) for answer in record["answers"]))


def sha256_of_mask(mask: Mask) -> str:
    """Hash of a mask's voxels and of its grid, to a tenth of a micrometre."""
    grid = json.dumps([mask.shape, np.round(mask.affine, 4).tolist()])
    return hashlib.sha256(grid.encode() + np.packbits(mask.array).tobytes()).hexdigest()


def require_case(session: Session, dataset: str, case_id: str, volume: Image | Mask) -> None:
    """InputError unless the session was recorded on this case, and on the grid of `volume`."""
    if (session.dataset, session.case_id) != (dataset, case_id):
        here = f"it was recorded on {session.dataset}/{session.case_id}, not on {dataset}/{case_id}"
        raise InputError("recorded session", here, "Open the case that it belongs to.")
    if not geometry.same_grid(_grid_of(session), volume):
        there = f"it was recorded on {session.shape} voxels, and the image has another grid ({volume.shape})"
        raise InputError("recorded session", there, "Voxel indices of one grid mean nothing on another: use the image as it was.")


def _grid_of(session: Session) -> Mask:
    return Mask(np.broadcast_to(np.False_, session.shape), np.array(session.affine), "recorded session")


def card(sessions: Sequence[Session]) -> PromptSetting:
    """The prompt setting of people: what each of them had said at the end, one session per case. It finds the session by the reference."""
    by_reference = {session.reference_sha256: session for session in sessions}
    if len(by_reference) < len(sessions):
        raise InputError("recorded sessions", "two of them are of one case", "Give one session per case, and another person's apart.")
    seen = [text for text, saw in (("scores", "saw_scores"), ("the reference", "saw_reference")) if any(getattr(s, saw) for s in sessions)]
    leaks = "what a person sees in the image" + (f"; {' and '.join(seen)} were shown" if seen else "")

    def make(mask: Mask, rng: np.random.Generator) -> Prompter:
        session = by_reference.get(sha256_of_mask(mask))
        if session is None:
            there = ", ".join(f"{s.dataset}/{s.case_id}" for s in sessions) or "none"
            raise InputError("recorded", f"no session was recorded on this case and grid (there are: {there})", "Record one first.")
        yield session.prompts

    return PromptSetting("prompts of a person", "recorded", leaks, "box or click", make)


@contextmanager
def on_the_ladder(sessions: Sequence[Session]) -> Iterator[None]:
    """Within the block "recorded" is a prompt setting like any other: it can be asked and jittered, and stands in tables of the ladder."""
    PROMPT_SETTINGS[RECORDED] = card(sessions)
    try:
        yield
    finally:
        del PROMPT_SETTINGS[RECORDED]
