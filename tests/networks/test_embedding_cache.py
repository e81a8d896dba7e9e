"""Kept embeddings: the masks that would be found without them, within a limit of bytes, and nothing of another slice, window or image."""

import multiprocessing
import os
import time

import numpy as np
import pytest
import torch

from lungseg_utils.geometry import AxialWindow
from lungseg_utils.networks.embedding_cache import Embedding, EmbeddingCache, EmbeddingFolder, folder_from_environment
from lungseg_utils.networks.prefetch import places_ahead
from lungseg_utils.types import Box, Points, Prompt, SlicePrompt
from tests.support.sample_playground import corners, largest_slice, sample_study, small_segmenter, train_for_a_moment

MODELS = ("sam_stand_in", "sam2_stand_in")


def box_prompt(reference, index, find_ends=False, grow=0):
    (i0, j0), (i1, j1) = corners(reference, index)
    box = Box((i0 - grow, j0 - grow, index), (i1 + 1 + grow, j1 + 1 + grow, index + 1))
    return Prompt(1, (SlicePrompt(index, box=box),), find_ends=find_ends)


def questions(reference):
    """Boxes and clicks in turn, so that windows come again and others come between."""
    k = largest_slice(reference)
    (i0, j0), (i1, j1) = corners(reference, k)
    click = Prompt(1, (SlicePrompt(k, points=Points((((i0 + i1) // 2, (j0 + j1) // 2, k), (i0, j0, k)), (1, 0))),))
    one = box_prompt(reference, k)
    both = Prompt(1, tuple(box_prompt(reference, n).slices[0] for n in (k - 1, k, k + 1)))
    return [one, click, one, box_prompt(reference, k + 1), both, box_prompt(reference, k, True), box_prompt(reference, k, True), both]


@pytest.fixture(scope="module", params=MODELS)
def weights(request, tmp_path_factory):
    """A model, and weights of a moment's training: a batch of other slices moves the last bit of a probability, so masks need edges."""
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    train_for_a_moment(small_segmenter(request.param), [sample_study(seed) for seed in (0, 1)], steps=40).save(path, {})
    return request.param, path


def restored(model, path):
    segmenter = small_segmenter(model)
    segmenter.load(path)
    return segmenter


@pytest.mark.parametrize("max_mb", [1000.0, 0.05, 0.0])
def test_masks_are_those_without_a_cache(weights, max_mb):
    plain, kept = restored(*weights), restored(*weights)
    cache = EmbeddingCache(max_mb)
    kept.cache = cache
    for seed in (0, 1):
        study = sample_study(seed)
        kept.set_image(study.image)
        for prompt in questions(study.references["reference"]):
            plain.set_image(sample_study(seed).image)  # another object: what it knew is forgotten
            wanted, found = plain.predict([prompt]), kept.predict([prompt])
            assert np.array_equal(found.mask.array, wanted.mask.array)
            assert np.abs(found.probability - wanted.probability).max() < 1e-5
            assert wanted.mask.array.any()


@pytest.mark.parametrize("model", MODELS)
def test_a_second_prompt_in_a_window_does_not_ask_the_encoder(model, monkeypatch):
    segmenter, study = small_segmenter(model), sample_study()
    encoded = []
    encode = segmenter.network.encode
    monkeypatch.setattr(segmenter.network, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    segmenter.set_image(study.image)
    first = segmenter.predict([box_prompt(reference, k)])
    assert encoded == [1]
    clicked = SlicePrompt(k, box=box_prompt(reference, k).slices[0].box, points=Points(((*corners(reference, k)[0], k),), (0,)))
    segmenter.predict([Prompt(1, (clicked,))])
    assert encoded == [1]
    segmenter.predict([box_prompt(reference, k + 1)])
    assert encoded == [1, 1]
    other = sample_study(1)
    segmenter.set_image(other.image)
    segmenter.predict([box_prompt(reference, k)])
    assert encoded == [1, 1, 1]
    segmenter.set_image(study.image)
    again = segmenter.predict([box_prompt(reference, k)])
    assert encoded == [1, 1, 1]
    assert np.array_equal(again.mask.array, first.mask.array)


def test_what_is_encoded_ahead_is_what_following_asks_for(weights, monkeypatch):
    segmenter, study = restored(*weights), sample_study()
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    segmenter.set_image(study.image)
    prompt = box_prompt(reference, k)
    answer = segmenter.predict([prompt])
    ahead = places_ahead(segmenter, [prompt], answer.mask.array, k)
    assert ahead
    for place in ahead:
        segmenter.make_ready(place)
    asked = []
    segmenter.watch = asked.extend
    encoded = []
    encode = segmenter.network.encode
    monkeypatch.setattr(segmenter.network, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    segmenter.predict([box_prompt(reference, k, find_ends=True)])
    near = {index for _, index in ahead}
    assert near <= set(asked)
    assert sum(encoded) == len(set(asked) - near - {k})


@pytest.mark.parametrize("model", MODELS)
def test_a_network_of_whole_slices_encodes_each_slice_once_and_its_neighbors_ahead(model, monkeypatch):
    segmenter, study = small_segmenter(model, field_mm=0.0), sample_study()
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    segmenter.set_image(study.image)
    encoded = []
    encode = segmenter.network.encode
    monkeypatch.setattr(segmenter.network, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    for grow in range(4):  # another box each time, and the same picture
        answer = segmenter.predict([box_prompt(reference, k, grow=grow)])
    assert encoded == [1]
    ahead = places_ahead(segmenter, [], answer.mask.array, k)
    assert [index for _, index in ahead] == [k, k + 1, k - 1, k + 2, k - 2]
    for place in ahead:
        segmenter.make_ready(place)
    assert encoded == [1] * 5
    segmenter.predict([box_prompt(reference, k + 2)])
    assert encoded == [1] * 5
    assert [index for _, index in places_ahead(segmenter, [], answer.mask.array, 0)] == [0, 1, 2]


def test_the_least_recently_used_is_dropped_first_and_the_limit_is_in_bytes():
    cache = EmbeddingCache(max_mb=0.0012)
    maps = {name: Embedding([torch.zeros(100)]) for name in "abc"}  # 400 bytes each
    for name, tensor in maps.items():
        cache.put(name, tensor)
    assert len(cache) == 3
    assert cache.get("a") is maps["a"]
    cache.put("d", Embedding([torch.zeros(50), torch.zeros(50)]))
    assert [name for name in "abcd" if cache.get(name) is not None] == ["a", "c", "d"]
    cache.put("large", Embedding([torch.zeros(1000)]))
    assert cache.get("large") is None
    assert len(cache) == 3  # what fits stays


def test_a_window_and_a_slice_are_part_of_the_key():
    segmenter, study = small_segmenter(), sample_study()
    cache = EmbeddingCache(100)
    segmenter.cache = cache
    segmenter.set_image(study.image)
    for window in (AxialWindow(10, 40, 10, 40), AxialWindow(11, 41, 10, 40)):
        for index in (3, 4):
            segmenter.make_ready((window, index))
            segmenter.make_ready((window, index))
    assert len(cache) == 4


def test_a_prediction_that_is_stopped_leaves_everything_usable():
    segmenter, study = small_segmenter(), sample_study()
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    segmenter.set_image(study.image)
    before = segmenter.predict([box_prompt(reference, k)]).mask.array

    def stop(indices):
        raise KeyError("enough")

    segmenter.watch = stop
    with pytest.raises(KeyError, match="enough"):
        segmenter.predict([box_prompt(reference, k, find_ends=True)])
    segmenter.watch = None
    assert np.array_equal(segmenter.predict([box_prompt(reference, k)]).mask.array, before)


# --- as files ---------------------------------------------------------------------------------------------------------


def _with_folder(segmenter, folder):
    segmenter.folder = EmbeddingFolder(folder)
    encoded = []
    encode = segmenter.network.encode
    segmenter.network.encode = lambda pictures: encoded.append(len(pictures)) or encode(pictures)
    return segmenter, encoded


@pytest.mark.parametrize("model", MODELS)
def test_a_second_run_finds_embeddings_as_files_and_answers_bit_by_bit_alike(model, tmp_path):
    study = sample_study()
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    answers = []
    for run in range(2):
        segmenter, encoded = _with_folder(small_segmenter(model), tmp_path)
        segmenter.set_image(sample_study().image)  # equal, and another object
        answers.append(segmenter.predict([box_prompt(reference, k, find_ends=True)]))
        assert bool(encoded) == (run == 0)
    assert np.array_equal(answers[0].probability, answers[1].probability)


def test_a_prediction_tells_what_kept_embeddings_had_cost(tmp_path):
    """The cost of a first prediction does not depend on what was asked before, nor on files of earlier runs."""
    study = sample_study()
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    one, two = box_prompt(reference, k), Prompt(1, tuple(box_prompt(reference, n).slices[0] for n in (k, k + 1)))
    for run in range(2):
        segmenter = small_segmenter(field_mm=0.0)
        segmenter.folder = EmbeddingFolder(tmp_path)
        encode = segmenter.network.encode
        segmenter.network.encode = lambda pictures, encode=encode: time.sleep(0.2 * len(pictures)) or encode(pictures)
        segmenter.set_image(study.image)
        answers = [segmenter.predict([prompt]) for prompt in (one, one, two)]
        spared = [0.2 if run else 0.0, 0.2, 0.4 if run else 0.2]
        for answer, at_least in zip(answers, spared, strict=True):
            assert at_least <= answer.spared_seconds < at_least + 0.15
            assert (answer.seconds > 0.2) == (at_least == 0.0 or (run == 0 and answer is answers[2]))


@pytest.mark.parametrize("changes", [{"seed": 1}, {"mean": (0.4, 0.4, 0.4)}, {"precision": "bf16"}, {"window_hu": (-500.0, 500.0)}])
def test_other_weights_preprocessing_or_precision_find_nothing(changes, tmp_path):
    study = sample_study()
    prompt = box_prompt(study.references["reference"], largest_slice(study.references["reference"]))
    for options in ({}, changes):
        segmenter, encoded = _with_folder(small_segmenter(**options), tmp_path)
        segmenter.set_image(study.image)
        segmenter.predict([prompt])
        assert encoded == [1]
    assert len(list(tmp_path.iterdir())) == 2


def test_weights_that_move_are_not_confused_with_those_before(tmp_path):
    study = sample_study()
    prompt = box_prompt(study.references["reference"], largest_slice(study.references["reference"]))
    small_segmenter(seed=1).save(tmp_path / "other.pt", {})
    segmenter, encoded = _with_folder(small_segmenter(), tmp_path / "kept")
    segmenter.set_image(study.image)
    before = segmenter.predict([prompt]).probability
    segmenter.load(tmp_path / "other.pt")
    after = segmenter.predict([prompt]).probability
    assert encoded == [1, 1]
    assert not np.array_equal(before, after)


def _pictures(*values):
    return [np.full((4, 4), value, np.float32) for value in values]


def _double(pictures):
    return [Embedding([torch.from_numpy(picture)[None] * 2], 3.0) for picture in pictures]


def test_the_files_least_recently_used_are_removed_first(tmp_path):
    folder = EmbeddingFolder(tmp_path)
    folder.complete("x", _pictures(0, 1, 2), _double)
    paths = [folder._path("x", picture) for picture in _pictures(0, 1, 2)]
    for age, path in enumerate(paths):
        os.utime(path, (1e9 + age, 1e9 + age))
    folder.complete("x", _pictures(0), _double)  # used now
    EmbeddingFolder(tmp_path, 3.5 * paths[0].stat().st_size / 1e9).complete("x", _pictures(3, 4), _double)
    assert [path.exists() for path in paths] == [True, False, False]
    assert len(list(tmp_path.iterdir())) == 3


def _hammer(folder, seconds):
    """Ask for the same few embeddings again and again, of which the folder only holds some; exit status 1 if any is wrong."""
    rng, end = np.random.default_rng(), time.monotonic() + seconds
    while time.monotonic() < end:
        pictures = _pictures(*rng.integers(8, size=3))
        for picture, found in zip(pictures, folder.complete("x", pictures, _double), strict=True):
            if found.seconds != 3.0 or not np.array_equal(found.levels[0][0].numpy(), 2 * picture):
                raise SystemExit(1)


def test_two_processes_that_write_and_remove_the_same_files_read_whole_ones(tmp_path):
    folder = EmbeddingFolder(tmp_path, max_gb=6e-6)
    processes = [multiprocessing.get_context("fork").Process(target=_hammer, args=(folder, 2.0)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    files = list(tmp_path.iterdir())
    assert files
    assert sum(path.stat().st_size for path in files) <= 6000 + max(path.stat().st_size for path in files)


def test_a_folder_is_kept_where_the_environment_names_one(tmp_path, monkeypatch):
    monkeypatch.delenv("LUNGSEG_EMBEDDINGS", raising=False)
    assert folder_from_environment() is None
    assert small_segmenter().folder is None
    monkeypatch.setenv("LUNGSEG_EMBEDDINGS", str(tmp_path))
    monkeypatch.setenv("LUNGSEG_EMBEDDINGS_GB", "3")
    assert (folder_from_environment().folder, folder_from_environment().max_gb) == (tmp_path, 3.0)
