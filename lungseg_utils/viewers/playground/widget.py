"""The playground as a widget for people with a running kernel (JupyterLab, voila): draw prompts on a case, see predictions at once.

The picture is `PromptCanvas`, whose script is that of the book's viewers; the controls around it are ipywidgets. They exchange:

| trait of `PromptCanvas` | from | value |
|---|---|---|
| `case` | Python | the case as `slice_viewer.embed` packs it, whole (gzipped CT values of 4 HU, reference as bits) |
| `palette` | Python | the colors of all viewers |
| `windows` | Python | the CT windows of all viewers |
| `models` | Python | [{name, title, color}] of the selected models |
| `answers` | Python | [{name, first, count, bits, spread}], one prediction per model |
| `prompts` | Python | the present prompts, as `prompts.json_form` writes them |
| `message` | Python | {text, problem} |
| `answered` | Python | how many times models have predicted |
| `heard` | Python | id of the last gesture that arrived |
| `slice` | both | the slice that is shown (k) |
| `shows_reference` | script | whether the reference is drawn |

A mask is empty except on the slices `first` to `first + count`, which come as gzipped `bits` (slices, rows, columns). `spread` is null or
{first, count, bytes, draws}: in how many of the draws each voxel was inside, as gzipped bytes.

Gestures are messages, because each of them counts and values of a trait may be skipped: {kind, id} and, for a "box", {from, to, index}
(voxels (i, j), both inside, and k), for a "click" {place, index, inside}; "undo" and "redo" have no further fields.

The module is long because one class holds the state of the page; its parts (controls, drawing, offers, saving) have modules of their own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets

from ... import registry
from ...core import progress
from ...core.project import project_root
from ...data.cases import load_study
from ...prompts import json_form, sessions
from ...reporting.style import OKABE_ITO, WINDOWS_HU
from ...types import Case, Image, InputError, Mask, Prompt, Row
from ..assets import script, style
from ..slice_viewer import ViewerCase, embed, packed
from . import saving
from .controls import Controls, colors_for, file_link, score_table
from .drawing import DrawnPrompt, can_be_predicted
from .session import CaseSession, Interrupted, LoadedModel, OfferedModel, ScoredPrediction, Spread, Worker, filled_planes

_logger = logging.getLogger(__name__)
_STYLES = ("slice_viewer.css", "prompt_page.css", "playground.css")
Prompts = tuple[Prompt, ...]


class PromptCanvas(anywidget.AnyWidget):
    """The picture, and what is drawn on it; see the module's description for its traits."""

    _esm = script("playground/playground.js")
    _css = "\n".join(style(name) for name in _STYLES)
    case = traitlets.Dict().tag(sync=True)
    palette = traitlets.List(list(OKABE_ITO)).tag(sync=True)
    windows = traitlets.Dict(WINDOWS_HU).tag(sync=True)
    models = traitlets.List().tag(sync=True)
    answers = traitlets.List().tag(sync=True)
    prompts = traitlets.List().tag(sync=True)
    message = traitlets.Dict({"text": "", "problem": False}).tag(sync=True)
    answered = traitlets.Int().tag(sync=True)
    heard = traitlets.Unicode().tag(sync=True)
    slice = traitlets.Int().tag(sync=True)
    shows_reference = traitlets.Bool(False).tag(sync=True)


class Playground(ipywidgets.VBox):
    """Controls around a `PromptCanvas`, and the questions to models behind them. All questions are asked in one thread of its own."""

    def __init__(self, cases: Case | Sequence[Case], models: OfferedModel | Sequence[OfferedModel], folder: Path | None, cache_mb: float):
        self.cases = (cases,) if isinstance(cases, Case) else tuple(cases)
        self.offers = (models,) if isinstance(models, OfferedModel) else tuple(models)
        if not self.cases or not self.offers:
            raise InputError("playground", "there is no case, or no model", "Give at least one of each.")
        self.folder = Path(folder) if folder else project_root() / "data" / "sessions"
        self._case_session, self._worker = CaseSession(cache_mb), Worker(self._failed_itself)
        self._loaded: dict[str, LoadedModel] = {}
        self._colors: dict[str, str] = {}
        self._cancel = threading.Event()
        self._turn = 0  # of the latest question: what is older is not worth finishing
        self.canvas = PromptCanvas(layout={"flex": "1 1 24rem", "min_width": "16rem", "max_width": "56rem"})
        self.controls = Controls([f"{registry.card('datasets', case.dataset).title}: {case.case_id}" for case in self.cases], self.offers)
        beside = {"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "0 1.5rem"}
        super().__init__([self.controls.head, ipywidgets.HBox([self.canvas, self.controls.panel], layout=beside)])
        self._open(self.cases[0])
        self._listen()

    def stop(self) -> None:
        """End the thread of questions, after those that were asked; for programs that make many playgrounds."""
        self._worker.close()

    def _listen(self) -> None:
        controls = self.controls
        self.canvas.on_msg(lambda _widget, content, _buffers: self._gesture(content))
        for widget, name, act in (
            (self.canvas, "slice", lambda change: self._turned()),
            (self.canvas, "shows_reference", self._reference_toggled),
            (controls.case_choice, "value", lambda change: self._case_chosen(change["new"])),
            *((box, "value", lambda change: self._models_chosen()) for box in controls.models.values()),
            (controls.follow, "value", lambda change: self._step("follow", lambda: self._drawn.set_follow(change["new"]))),
            (controls.show_scores, "value", self._scores_toggled),
            (controls.jitter, "value", lambda change: self._ask()),
            (controls.draws, "value", lambda change: controls.jitter.value and self._ask()),
            (controls.replay, "value", self._uploaded),
        ):
            widget.observe(act, name)
        for button, act in (
            (controls.undo, lambda: self._step("undo", self._drawn.undo)),
            (controls.redo, lambda: self._step("redo", self._drawn.redo)),
            (controls.clear, lambda: self._step("clear", self._drawn.clear)),
            (controls.cancel, self._cancel.set),
            (controls.save, lambda: self._guarded(self._save)),
            (controls.to_nifti, lambda: self._guarded(self._export_nifti)),
            (controls.to_seg, lambda: self._guarded(self._export_seg)),
        ):
            button.on_click(lambda _button, act=act: act())

    # --- what a person sees ------------------------------------------------------------------------------------------

    def _say(self, text: str, problem: bool = False) -> None:
        self.canvas.message = {"text": text, "problem": problem}

    def _guarded(self, act: Callable[[], object]) -> None:
        """Do something that may be refused; the reason is shown, and everything stays as it was."""
        try:
            act()
        except InputError as problem:
            self._say(str(problem), problem=True)

    def _describe(self) -> None:
        """The table of scores, for the slice that is shown."""
        reference = self._case_session.reference if self.controls.show_scores.value else None
        reference_ml = reference.volume_ml if reference is not None else None
        self.controls.scores.value = score_table(
            self.canvas.models, self._predictions, self._spreads, self._failed, self.canvas.slice, reference_ml
        )

    # --- the case ----------------------------------------------------------------------------------------------------

    def _case_chosen(self, number: int) -> None:
        if self.cases[number] is not self._case:
            self._guarded(lambda: self._open(self.cases[number]))
            self.controls.case_choice.value = self.cases.index(self._case)  # the one before, if this one cannot be read

    def _open(self, case: Case) -> None:
        self._say("Reading the case …")
        study = load_study(case)
        self._turn += 1  # whatever is being asked about the case before ends
        self._cancel.set()
        self._worker.wait()
        self._case, self._drawn = case, DrawnPrompt(study.image.shape)
        self._case_session.open(case, study)
        self._predictions: dict[str, ScoredPrediction] = {}
        self._spreads: dict[str, Spread] = {}
        self._failed: dict[str, str] = {}
        saw = self.controls.show_scores.value, self.canvas.shows_reference
        self._log = saving.SessionLog(case, study.image, self._case_session.reference, *saw)
        self.controls.saved.value = ""
        self.controls.to_seg.disabled = not case.image_path.is_dir()
        self.controls.to_seg.tooltip = (
            "" if case.image_path.is_dir() else "The image of this case is no DICOM series that a SEG file could refer to."
        )
        with self.canvas.hold_sync():
            self.canvas.case = _packed_case(case, study.image, self._case_session.reference)
            self.canvas.slice = self.canvas.case["start"]
            self.canvas.answers = []
            self._show_models()
        self._show_prompts()
        phantom = "A phantom: computer-generated, no patient. " if registry.card("datasets", case.dataset).phantom else ""
        self._say(f"{phantom}Draw a box around the tumor, or click into it. Wheel or arrow keys turn the slices.")
        self._describe()

    def _show_prompts(self) -> None:
        self.canvas.prompts = [json_form.to_json(prompt) for prompt in self._drawn.prompts]
        self.controls.undo.disabled, self.controls.redo.disabled = not self._drawn.can_undo, not self._drawn.can_redo
        self.controls.clear.disabled = not self._drawn.prompts
        if self.controls.follow.value != self._drawn.follow:
            self.controls.follow.value = self._drawn.follow  # comes back as a step that changes nothing

    # --- what a person does ------------------------------------------------------------------------------------------

    def _gesture(self, content: Row) -> None:
        """What was drawn on the picture. It says that it was heard before anything is done."""
        self.canvas.heard = str(content.get("id", ""))
        kind = content.get("kind")
        if kind == "box":
            self._step("box", lambda: self._drawn.box(content["from"], content["to"], int(content["index"])))
        elif kind == "click":
            self._step("click", lambda: self._drawn.click(content["place"], int(content["index"]), bool(content["inside"])))
        elif kind in ("undo", "redo"):
            self._step(kind, getattr(self._drawn, kind))

    def _step(self, action: str, draw: Callable[[], object]) -> None:
        """Change the prompt, then ask the models; a step that is refused, or changes nothing, asks nobody."""
        before = self._drawn.prompts
        self._guarded(draw)
        if self._drawn.prompts == before:
            return
        self._show_prompts()
        self._ask(action)

    def _turned(self) -> None:
        """Another slice is shown: its scores, and what will be asked for there."""
        self._describe()
        ahead = self._prefetch_steps(self._turn, self._chosen(), self._drawn.prompts)
        self._worker.submit(lambda: self._worker.prefetch(ahead))

    def _models_chosen(self) -> None:
        self._show_models()
        self._ask("models" if self._drawn.prompts else None)

    def _show_models(self) -> None:
        chosen = self._chosen()
        self._colors = colors_for([offer.experiment for offer in chosen], self._colors)
        self.canvas.models = [{"name": o.experiment, "title": o.title, "color": self._colors[o.experiment]} for o in chosen]

    def _chosen(self) -> list[OfferedModel]:
        return [offer for offer in self.offers if self.controls.models[offer.experiment].value]

    def _scores_toggled(self, change: Row) -> None:
        self._log.saw_scores |= change["new"]
        self._describe()

    def _reference_toggled(self, change: Row) -> None:
        self._log.saw_reference |= change["new"]

    # --- questions, in the thread of the worker ----------------------------------------------------------------------

    def _ask(self, action: str | None = None) -> None:
        """Ask all chosen models about what stands now; a question that is still being answered is given up.

        What the person did (`action`) is remembered at once, the answers to it when they come.
        """
        self._turn += 1
        self._cancel.clear()
        turn, prompts, chosen, log = self._turn, self._drawn.prompts, self._chosen(), self._log
        number = log.add(action, prompts) if action else None
        self._worker.submit(lambda: self._predict(turn, prompts, chosen, log, number))

    def _predict(self, turn: int, prompts: Prompts, chosen: Sequence[OfferedModel], log: saving.SessionLog, number: int | None) -> None:
        predictions: dict[str, ScoredPrediction] = {}
        spreads: dict[str, Spread] = {}
        failed: dict[str, str] = {}
        try:
            for offer in chosen if can_be_predicted(prompts) else ():
                try:
                    self._predict_one(turn, prompts, offer, predictions, spreads)
                except Interrupted:
                    raise
                except Exception as problem:  # one model that fails must not take the others along; its reason stands in its place
                    failed[offer.experiment] = self._reason(offer, problem)
                if offer is not chosen[-1]:
                    self._publish(prompts, predictions, spreads, failed)
            self._go_on(turn)
        except Interrupted:
            if self._cancel.is_set():
                done = f"{self.controls.progress.value} of at most {self.controls.progress.max}"
                self._say(f"Stopped at {done}. The masks are those that were ready.")
            return
        finally:
            self.controls.hide_progress()
        if number is not None:
            log.add_answers(number, predictions)
        self._publish(prompts, predictions, spreads, failed)
        self._worker.prefetch(self._prefetch_steps(turn, chosen, prompts))

    def _publish(
        self, prompts: Prompts, predictions: dict[str, ScoredPrediction], spreads: dict[str, Spread], failed: dict[str, str]
    ) -> None:
        """Show what there is: each model's prediction as it comes."""
        self._predictions, self._spreads, self._failed = dict(predictions), dict(spreads), dict(failed)
        self._show(prompts)

    def _predict_one(
        self,
        turn: int,
        prompts: Prompts,
        offer: OfferedModel,
        predictions: dict[str, ScoredPrediction],
        spreads: dict[str, Spread],
    ) -> None:
        self._go_on(turn)
        model = self._load(offer)
        seen: set[int] = set()

        def watch(indices: Sequence[int]) -> None:
            self._go_on(turn)
            seen.update(indices)
            if len(seen) > 1:  # a single slice is answered before anybody could read it
                self._say(f"{offer.title} looks at slice after slice …")
                self.controls.show_progress(len(seen), self._drawn.shape[2])

        predictions[offer.experiment] = self._case_session.predict(model, prompts, watch)
        if self.controls.jitter.value:
            spreads[offer.experiment] = self._case_session.spread(
                model,
                prompts,
                self.controls.jitter.value,
                self.controls.draws.value,
                lambda indices: self._go_on(turn),
                lambda count: self.controls.show_progress(count, self.controls.draws.value),
            )

    def _go_on(self, turn: int) -> None:
        """Ends a question that was canceled, or that a newer one waits for."""
        if self._cancel.is_set() or turn != self._turn:
            raise Interrupted

    def _load(self, offer: OfferedModel) -> LoadedModel:
        if offer.experiment not in self._loaded:
            self._say(f"Loading {offer.title} …")
            with progress.progress_callback(self._pretraining):
                self._loaded[offer.experiment] = offer.load()
        return self._loaded[offer.experiment]

    def _pretraining(self, what: str, done: int, total: int) -> None:
        """A newer prompt waits for it, since it would need the same weights; only the person ends it."""
        if self._cancel.is_set():
            raise Interrupted
        self._say(f"Pretraining the stand-in, which is not there yet: {what} …")
        self.controls.show_progress(done, total)

    def _reason(self, offer: OfferedModel, problem: Exception) -> str:
        if isinstance(problem, InputError):
            return str(problem)
        _logger.error("%s failed", offer.title, exc_info=problem)
        if isinstance(problem, MemoryError) or "memory" in str(problem).lower():
            self._case_session.drop_embeddings()
            return "Out of memory. What was kept of earlier slices was dropped: try again, or choose a smaller model."
        return f"It failed: {type(problem).__name__}: {problem}"

    def _failed_itself(self, problem: Exception) -> None:
        """A fault of the playground and not of a model: it is said, and further questions are answered."""
        _logger.error("the playground failed", exc_info=problem)
        self._say(f"The playground failed: {type(problem).__name__}: {problem}", problem=True)

    def _show(self, prompts: Prompts) -> None:
        self.canvas.answers = [
            _packed_prediction(name, prediction, self._spreads.get(name)) for name, prediction in self._predictions.items()
        ]
        if self._failed:
            titles = [offer.title for offer in self.offers if offer.experiment in self._failed]
            self._say(f"No prediction from {', '.join(titles)}: see the table.", problem=True)
        elif prompts and not can_be_predicted(prompts):
            self._say("Clicks outside alone say nothing: add a click inside, or a box.")
        else:
            self._say("")
        self._describe()
        self.canvas.answered += 1

    def _prefetch_steps(self, turn: int, chosen: Sequence[OfferedModel], prompts: Prompts) -> Iterator[None]:
        """What will probably be asked for next, one slice after the other, until there is a newer question."""
        for offer in chosen:
            if prediction := self._predictions.get(offer.experiment):
                for step in self._case_session.prefetch(self._loaded[offer.experiment], prompts, prediction, self.canvas.slice):
                    if turn != self._turn:
                        return
                    yield step

    # --- sessions and masks ------------------------------------------------------------------------------------------

    @property
    def session(self) -> sessions.Session:
        """Everything since the case was shown; what is being answered just now is without its answers."""
        return self._log.session(self.offers, self._loaded)

    def _save(self) -> None:
        self._offer_files(saving.write_session(self.session, self._case, self.folder))

    def _export_nifti(self) -> None:
        self._offer_files(saving.write_nifti(self._predictions, self._case, self.folder))

    def _export_seg(self) -> None:
        titles = {offer.experiment: offer.title for offer in self.offers}
        self._offer_files(saving.write_dicom_seg(self._predictions, titles, self._case, self.folder))

    def _offer_files(self, paths: Sequence[Path]) -> None:
        """Say where files were written, and let the page take them."""
        self.controls.saved.value = "<br>".join(file_link(path) for path in paths)
        self._say(f"Saved in {paths[0].parent}.")

    def _uploaded(self, change: Row) -> None:
        if change["new"]:
            file = change["new"][0]
            self._guarded(lambda: self._replay(sessions.from_text(bytes(file["content"]), file["name"])))
            self.controls.replay.value = ()

    def _replay(self, session: sessions.Session) -> None:
        """Do again what was recorded: step by step, so that it can be undone, and with what was chosen to answer then."""
        log = self._log.resumed(session)
        asked = {model.experiment for model in session.models}
        for name, box in self.controls.models.items():
            box.value = name in asked if asked & set(self.controls.models) else box.value
        self._drawn = DrawnPrompt(self._drawn.shape)
        for look in session.looks:
            self._drawn.set(look.prompts)
        self._show_prompts()
        self._log = log
        self._ask()
        self._worker.submit(lambda: self._say(*saving.compare_replay(session, self._predictions)))


def _packed_case(case: Case, image: Image, reference: Mask | None) -> dict[str, object]:
    """The whole case as the book's viewers take it; it opens where the reference is largest."""
    whole = Mask(np.ones(image.shape, dtype=bool), image.affine)
    masks = {"reference": reference} if reference is not None else {}
    stored = embed(ViewerCase(case.case_id, image, masks, around=whole), public=False, margin_mm=0, factor=1)
    stored.pop("still")
    return stored


def _packed_prediction(name: str, prediction: ScoredPrediction, spread: Spread | None) -> dict[str, object]:
    first, planes = filled_planes(prediction.mask.array)
    stored = {"name": name, "first": first, "count": len(planes), "bits": packed(np.packbits(planes)), "spread": None}
    if spread is not None:
        first, counts = filled_planes(spread.counts)
        stored["spread"] = {"first": first, "count": len(counts), "bytes": packed(counts.tobytes()), "draws": len(spread.volume_ml)}
    return stored
