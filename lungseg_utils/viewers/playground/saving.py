"""Save a playground session, which can be replayed, and its masks as files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ...data import dicom_seg, nifti, radiotherapy
from ...prompts import sessions
from ...types import Case, Image, InputError, Mask, Prompt
from .session import LoadedModel, OfferedModel, ScoredPrediction

SEGMENT = "Lung tumor"
Predictions = Mapping[str, ScoredPrediction]  # by name of the experiment


class SessionLog:
    """What a person did on one case since it was shown, and what models answered. `saw_scores` and `saw_reference`: whether ever."""

    def __init__(self, case: Case, image: Image, reference: Mask | None, saw_scores: bool, saw_reference: bool):
        self.case, self.image, self.reference = case, image, reference
        self.saw_scores, self.saw_reference = saw_scores, saw_reference
        self._looks: list[sessions.Interaction] = []
        self._started, self._clock = datetime.now(UTC), time.monotonic()

    def add(self, action: str, prompts: tuple[Prompt, ...]) -> int:
        """Note an action and the prompts that stand after it; returns its number."""
        self._looks.append(sessions.Interaction(action, round(time.monotonic() - self._clock, 3), prompts))
        return len(self._looks) - 1

    def add_answers(self, number: int, predictions: Predictions) -> None:
        """Note what models answered to the prompts after action `number`."""
        answers = tuple(_recorded(name, prediction) for name, prediction in predictions.items())
        self._looks[number] = replace(self._looks[number], answers=answers)

    def resumed(self, session: sessions.Session) -> SessionLog:
        """A log that goes on where a session on this case and grid ended; InputError for a session on another one."""
        sessions.require_case(session, self.case.dataset, self.case.case_id, self.image)
        saw = self.saw_scores or session.saw_scores, self.saw_reference or session.saw_reference
        log = SessionLog(self.case, self.image, self.reference, *saw)
        log._looks = list(session.looks)
        log._started, log._clock = datetime.fromisoformat(session.started), time.monotonic() - session.seconds
        return log

    def session(self, offers: Sequence[OfferedModel], loaded: Mapping[str, LoadedModel]) -> sessions.Session:
        """Everything so far, as it is written to files; what is being answered just now is without its answers."""
        asked = {answer.experiment for look in self._looks for answer in look.answers}
        models = [
            sessions.AskedModel(offer.title, offer.experiment, loaded[offer.experiment].weights_sha256)
            for offer in offers
            if offer.experiment in asked
        ]
        return sessions.Session(
            dataset=self.case.dataset,
            case_id=self.case.case_id,
            shape=tuple(self.image.shape),
            affine=tuple(tuple(float(v) for v in row) for row in self.image.affine),
            reference_sha256=sessions.sha256_of_mask(self.reference) if self.reference is not None else None,
            started=self._started.isoformat(timespec="seconds"),
            saw_scores=self.saw_scores and self.reference is not None,
            saw_reference=self.saw_reference,
            models=tuple(models),
            looks=tuple(self._looks),
        )


def _recorded(name: str, prediction: ScoredPrediction) -> sessions.RecordedPrediction:
    score = None if np.isnan(prediction.dsc) else prediction.dsc
    return sessions.RecordedPrediction(name, round(prediction.seconds * 1000, 3), score, sessions.sha256_of_mask(prediction.mask))


def compare_replay(session: sessions.Session, predictions: Predictions) -> tuple[str, bool]:
    """Whether the predictions for what stood at the end are those that were recorded: a sentence, and whether it tells of a problem."""
    last = session.looks[-1].answers if session.looks else ()
    now = {name: sessions.sha256_of_mask(prediction.mask) for name, prediction in predictions.items()}
    differing = [answer for answer in last if now.get(answer.experiment) != answer.mask_sha256]
    replayed = f"Replayed {len(session.looks)} steps of {session.seconds:.0f} s."
    if not differing:
        same = "All masks are those that were recorded." if last else "No prediction was recorded at its end."
        return f"{replayed} {same}", False
    titles = {model.experiment: model.title for model in session.models}
    names = ", ".join(titles[answer.experiment] for answer in differing)
    return f"{replayed} Not the mask that was recorded: {names}. Its weights are others, or it is not offered here.", True


def write_session(session: sessions.Session, case: Case, folder: Path) -> list[Path]:
    """Write a session below `folder`; returns the file."""
    path = _path(folder, case, "session", ".json")
    sessions.write(session, path)
    return [path]


def write_nifti(predictions: Predictions, case: Case, folder: Path) -> list[Path]:
    """Write each mask on the grid of the original image, in its own order of axes; returns the files. InputError without any mask."""
    like = case.image_path if case.image_path.is_file() else None
    paths = {name: _path(folder, case, name, ".nii.gz") for name in _some(predictions)}
    for name, path in paths.items():
        nifti.write_mask(predictions[name].mask, path, like_path=like)
    return list(paths.values())


def write_dicom_seg(predictions: Predictions, titles: Mapping[str, str], case: Case, folder: Path) -> list[Path]:
    """Write each mask as a DICOM SEG file that refers to the slices of the case; returns the files. InputError without any mask."""
    paths = {name: _path(folder, case, name, ".dcm") for name in _some(predictions)}
    series = radiotherapy.series_named(case)
    for name, path in paths.items():
        dicom_seg.write_dicom_seg(predictions[name].mask, path, case.image_path, SEGMENT, titles[name], series)
    return list(paths.values())


def _some(predictions: Predictions) -> Predictions:
    if not predictions:
        raise InputError("export", "there is no mask yet", "Draw a prompt first.")
    return predictions


def _path(folder: Path, case: Case, name: str, ending: str) -> Path:
    time_stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return folder / case.dataset / case.case_id / f"{time_stamp}__{name}{ending}"
