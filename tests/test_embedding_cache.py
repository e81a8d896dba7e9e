"""Kept embeddings: the masks that would be found without them, within a limit of bytes, and nothing of another slice, window or image."""

import numpy as np
import pytest
import torch
from sample_playground import corners, largest_slice, sample_study, small_segmenter, train_for_a_moment

from lungseg_utils.geometry import AxialWindow
from lungseg_utils.networks.embedding_cache import EmbeddingCache, KeptEmbeddings
from lungseg_utils.types import Box, Points, Prompt, SlicePrompt

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
    KeptEmbeddings(kept, cache)
    for seed in (0, 1):
        study = sample_study(seed)
        kept.set_image(study.image)
        for prompt in questions(study.references["reference"]):
            plain.set_image(sample_study(seed).image)  # another object: what it knew is forgotten
            wanted, found = plain.predict([prompt]), kept.predict([prompt])
            assert np.array_equal(found.mask.array, wanted.mask.array)
            assert np.abs(found.probability - wanted.probability).max() < 1e-5
            assert wanted.mask.array.any()
        assert cache.mb <= max_mb


@pytest.mark.parametrize("model", MODELS)
def test_a_second_prompt_in_a_window_does_not_ask_the_encoder(model, monkeypatch):
    segmenter, study = small_segmenter(model), sample_study()
    KeptEmbeddings(segmenter, EmbeddingCache(100))
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
    kept = KeptEmbeddings(segmenter, EmbeddingCache(100))
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    segmenter.set_image(study.image)
    prompt = box_prompt(reference, k)
    answer = segmenter.predict([prompt])
    ahead = kept.places_ahead([prompt], answer.mask.array, k)
    assert ahead
    for place in ahead:
        kept.make_ready(place)
    asked = []
    kept.watch = asked.extend
    encoded = []
    encode = segmenter.network.encode
    monkeypatch.setattr(segmenter.network, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    segmenter.predict([box_prompt(reference, k, find_ends=True)])
    near = {index for _, index in ahead}
    assert near <= set(asked)
    assert sum(encoded) == len(set(asked) - near - {k})


@pytest.mark.parametrize("model", MODELS)
def test_a_network_of_whole_slices_encodes_each_slice_once_and_its_neighbours_ahead(model, monkeypatch):
    segmenter, study = small_segmenter(model, field_mm=0.0), sample_study()
    kept = KeptEmbeddings(segmenter, EmbeddingCache(100))
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    segmenter.set_image(study.image)
    encoded = []
    encode = segmenter.network.encode
    monkeypatch.setattr(segmenter.network, "encode", lambda pictures: encoded.append(len(pictures)) or encode(pictures))
    for grow in range(4):  # another box each time, and the same picture
        answer = segmenter.predict([box_prompt(reference, k, grow=grow)])
    assert encoded == [1]
    ahead = kept.places_ahead([], answer.mask.array, k)
    assert [index for _, index in ahead] == [k, k + 1, k - 1, k + 2, k - 2]
    for place in ahead:
        kept.make_ready(place)
    assert encoded == [1] * 5
    segmenter.predict([box_prompt(reference, k + 2)])
    assert encoded == [1] * 5
    assert [index for _, index in kept.places_ahead([], answer.mask.array, 0)] == [0, 1, 2]


def test_the_least_recently_used_is_dropped_first_and_the_limit_is_in_bytes():
    cache = EmbeddingCache(max_mb=0.0012)
    maps = {name: torch.zeros(100) for name in "abc"}  # 400 bytes each
    for name, tensor in maps.items():
        cache.put(name, tensor)
    assert (len(cache), cache.mb) == (3, pytest.approx(0.0012))
    assert cache.get("a") is maps["a"]
    cache.put("d", [torch.zeros(50), torch.zeros(50)])
    assert [name for name in "abcd" if cache.get(name) is not None] == ["a", "c", "d"]
    cache.put("large", torch.zeros(1000))
    assert (len(cache), cache.mb) == (0, 0)


def test_a_window_and_a_slice_are_part_of_the_key():
    segmenter, study = small_segmenter(), sample_study()
    cache = EmbeddingCache(100)
    kept = KeptEmbeddings(segmenter, cache)
    segmenter.set_image(study.image)
    for window in (AxialWindow(10, 40, 10, 40), AxialWindow(11, 41, 10, 40)):
        for index in (3, 4):
            kept.make_ready((window, index))
            kept.make_ready((window, index))
    assert len(cache) == 4


def test_a_prediction_that_is_stopped_leaves_everything_usable():
    segmenter, study = small_segmenter(), sample_study()
    kept = KeptEmbeddings(segmenter, EmbeddingCache(100))
    reference, k = study.references["reference"], largest_slice(study.references["reference"])
    segmenter.set_image(study.image)
    before = segmenter.predict([box_prompt(reference, k)]).mask.array

    def stop(indices):
        raise KeyError("enough")

    kept.watch = stop
    with pytest.raises(KeyError, match="enough"):
        segmenter.predict([box_prompt(reference, k, find_ends=True)])
    kept.watch = None
    assert np.array_equal(segmenter.predict([box_prompt(reference, k)]).mask.array, before)
