"""Run models on one case: predictions, their scores, and their spread under errors in drawing. No widgets here."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ... import geometry
from ...core.masks import dsc
from ...prompts import sessions
from ...prompts.jitter import perturb
from ...prompts.ladder import prompt_rng
from ...types import CachesEmbeddings, Case, Mask, Prompt, Segmenter, Study

if TYPE_CHECKING:
    from ...networks.embedding_cache import EmbeddingCache


log = logging.getLogger(__name__)
MOST_DRAWS = 50


@dataclass(frozen=True)
class LoadedModel:
    """A segmenter that can be asked, and the hash of the file of weights that it has ("none" for one without)."""

    segmenter: Segmenter
    weights_sha256: str


@dataclass(frozen=True)
class OfferedModel:
    """A model to choose: what stands beside its numbers, the name of its experiment, and what loads it.

    `load` raises InputError where it cannot be had, e.g. without its weights; it is called when the model is first asked. `wait` says
    what that takes, in a few words, where it is not there yet.
    """

    title: str
    experiment: str
    load: Callable[[], LoadedModel]
    wait: str = ""


class Interrupted(Exception):
    """A prediction was stopped: by the person, or by a newer question."""


@dataclass(frozen=True, eq=False)
class ScoredPrediction:
    """The mask of a model, the seconds that it took, and 3-D DSC and volume in ml (DSC NaN without a reference)."""

    mask: Mask
    seconds: float
    dsc: float
    volume_ml: float
    reference: Mask | None = field(repr=False, default=None)

    def slice_dsc(self, index: int) -> float:
        """DSC on one axial slice."""
        return dsc(self.reference.array[:, :, index], self.mask.array[:, :, index]) if self.reference else np.nan


@dataclass(frozen=True, eq=False)
class Spread:
    """Predictions for a prompt drawn wrongly several times: how many of them hold each voxel (x, y, z), and their DSC and ml."""

    counts: np.ndarray
    dsc: tuple[float, ...]
    volume_ml: tuple[float, ...]


class CaseSession:
    """Questions to models about one case at a time. Image embeddings, also those of earlier cases, take at most `cache_mb` together."""

    def __init__(self, cache_mb: float):
        self._cache_mb = cache_mb
        self._cache: EmbeddingCache | None = None

    def open(self, case: Case, study: Study) -> None:
        """Ask about this case from now on; predictions are scored against the first of its references."""
        self.case, self.study = case, study
        self.reference = study.reference if study.references else None

    def predict(
        self, model: LoadedModel, prompts: Sequence[Prompt], watch: Callable[[Sequence[int]], None] | None = None
    ) -> ScoredPrediction:
        """The prediction for prompts. `watch(indices)` hears of slices before they are looked at, and may raise to end it."""
        segmenter = model.segmenter
        segmenter.set_image(self.study.image)
        keeps = self._keep_embeddings(segmenter)
        try:
            if keeps:
                segmenter.watch = watch
            prediction = segmenter.predict(prompts)
        finally:
            if keeps:
                segmenter.watch = None
        mask = prediction.mask
        score = dsc(self.reference.array, mask.array) if self.reference else np.nan
        return ScoredPrediction(mask, prediction.seconds, score, mask.volume_ml, self.reference)

    def spread(
        self,
        model: LoadedModel,
        prompts: Sequence[Prompt],
        share: float,
        draws: int,
        watch: Callable[[Sequence[int]], None] | None = None,
        drawn: Callable[[int], None] = lambda count: None,
    ) -> Spread:
        """Predictions for the prompts as the benchmark's own `perturb` draws them wrongly by up to `share` of the lesion's size.

        `watch` as in `predict`; `drawn(count)` hears how many draws are done.
        """
        image, counts, scores, volumes = self.study.image, np.zeros(self.study.image.shape, np.uint8), [], []
        for draw in range(min(draws, MOST_DRAWS)):
            rng = prompt_rng(self.case.dataset, self.case.case_id, f"{sessions.RECORDED}__jitter{share:g}", draw)
            prediction = self.predict(model, perturb(prompts, share, rng, image.shape, image.spacing_mm), watch)
            counts += prediction.mask.array
            scores.append(prediction.dsc)
            volumes.append(prediction.volume_ml)
            drawn(draw + 1)
        return Spread(counts, tuple(scores), tuple(volumes))

    def prefetch(self, model: LoadedModel, prompts: Sequence[Prompt], prediction: ScoredPrediction, index: int) -> Iterator[None]:
        """Encode, one step at a time, what will probably be asked for after slice `index`."""
        segmenter = model.segmenter
        if not self._keep_embeddings(segmenter):
            return
        from ...networks.prefetch import places_ahead

        segmenter.set_image(self.study.image)
        for place in places_ahead(segmenter, prompts, prediction.mask.array, index):
            segmenter.set_image(self.study.image)  # others may have been asked between two steps
            segmenter.make_ready(place)
            yield

    def drop_embeddings(self) -> None:
        """Give back the memory of all kept embeddings."""
        if self._cache is not None:
            self._cache.clear()

    def _keep_embeddings(self, segmenter: Segmenter) -> bool:
        """Give a segmenter that has an image encoder of slices the common cache; False for another one."""
        if not isinstance(segmenter, CachesEmbeddings):
            return False
        if self._cache is None:
            from ...networks.embedding_cache import EmbeddingCache  # torch: only with a model that needs it

            self._cache = EmbeddingCache(self._cache_mb)
        segmenter.cache = self._cache
        return True


def filled_planes(array: np.ndarray) -> tuple[int, np.ndarray]:
    """The slices of an (x, y, z) array from the first to the last one that holds anything, as a picture shows them.

    Returns the index of the first slice, and (slices, rows, columns); no slice if the array is empty.
    """
    used = np.flatnonzero(array.any(axis=(0, 1)))
    if not len(used):
        return 0, np.zeros((0, array.shape[1], array.shape[0]), array.dtype)
    first, last = int(used[0]), int(used[-1])
    return first, geometry.unstack_axial(array[:, :, first : last + 1])


class Worker:
    """One thread for all questions, in their order; when idle, it prefetches step by step.

    `failed` hears of a question that raised; the thread goes on.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._prefetching: Iterator[None] = iter(())
        self._thread = threading.Thread(target=self._run, name="playground", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Do this after what was submitted before it."""
        self._jobs.put(job)

    def prefetch(self, steps: Iterator[None]) -> None:
        """From within a job: go on with these steps whenever there is nothing else to do, in the place of earlier ones."""
        self._prefetching = steps

    def wait(self) -> None:
        """Until all that was submitted is done."""
        done = threading.Event()
        self.submit(done.set)
        done.wait()

    def close(self) -> None:
        """End the thread after what was submitted."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            if self._jobs.empty() and self._prefetch_step():
                continue
            job = self._jobs.get()
            if job is None:
                return
            try:
                job()
            except Exception as problem:
                self._failed(problem)

    def _prefetch_step(self) -> bool:
        """One step; False if there is none left, or it fails: the question itself will say why."""
        try:
            next(self._prefetching)
        except StopIteration:
            return False
        except Exception:
            log.exception("an image could not be encoded ahead")
            self._prefetching = iter(())
            return False
        return True
