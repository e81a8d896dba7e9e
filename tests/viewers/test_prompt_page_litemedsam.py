"""LiteMedSAM in the page: its decoder as a file, embeddings of a real CT, and a browser that must give the masks that Python gives."""

import dataclasses
import gzip
import json
from types import SimpleNamespace

import nibabel
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.core import ct_windows
from lungseg_utils.core.masks import dsc
from lungseg_utils.datasets import lidc_idri
from lungseg_utils.experiments import initial_weights, planning
from lungseg_utils.models import litemedsam as model
from lungseg_utils.networks import onnx_litemedsam
from lungseg_utils.networks.litemedsam import LiteMedSamSegmenter
from lungseg_utils.prompts.ladder import first_prompts
from lungseg_utils.types import Box, Prompt, SlicePrompt
from lungseg_utils.viewers import prompt_page
from tests.support.prompt_site import DATA, PAGE, after, choose_setting, click, drag, mask_of, opened_page, tool, write_site

CASE, SLICES = "LIDC-IDRI-0001", range(83, 97)
MOST_BYTES_OF_DECODER, MOST_BYTES_OF_EMBEDDING = 9e6, 1e6
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case(real_data):
    """The whole CT that may be passed on."""
    return next(case for case in lidc_idri.cases(real_data) if case.case_id == CASE)


@pytest.fixture(scope="module")
def study(case):
    return lidc_idri.load(case)


@pytest.fixture(scope="module")
def networks():
    """Experiment -> the published network in its CT window."""
    first = model.build({**model.CARD.options, "device": "cpu"})
    first.load_pretrained(initial_weights.initial_weights("litemedsam", model.CARD.options))
    lung = dataclasses.replace(first.view, window_hu=ct_windows.LUNG_HU)
    second = LiteMedSamSegmenter(first.network, lung, first.settings, "cpu")
    return dict(zip(planning.planned_runs("litemedsam_zero_shot", "patients"), (first, second), strict=True))


def _results(networks, case):
    frames = [
        {"experiment": experiment.name, "test_dataset": "lidc_idri", "prompter": "box_one_slice", "jitter": 0.0, "patient_id": CASE}
        | {"case_id": CASE, "lesion_id": "", "reader": "consensus", "metric": "dsc", "value": 0.5, "unit": "1", "status": "ok"}
        for experiment in networks
    ]
    return [
        SimpleNamespace(
            experiment=experiment,
            provenance={"sha256": {"weights": "none", "initial weights": "0" * 64}},
            asked=lambda *settings, row=row: pd.DataFrame([row] if "box_one_slice" in settings else [], columns=list(row)),
            cases=lambda dataset: [case],
        )
        for experiment, row in zip(networks, frames, strict=True)
    ]


def _write(networks, case, folder, public):
    titles = {experiment.name: planning.experiment_title(experiment) for experiment in networks}
    prompt_page.write(_results(networks, case), titles, list(networks.values()), folder, public, ["lidc_idri"])


@pytest.fixture(scope="module")
def site(tmp_path_factory, networks, case, study):
    """A site whose page asks that network in both windows about that case, in the public edition."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lidc_idri, "load", lambda _: study)  # what is known of its slices is kept for this image
        _write(networks, case, folder / DATA, public=True)
    return write_site(folder)


@pytest.fixture
def page(site, chromium):
    with opened_page(site, chromium) as opened:
        yield opened


@pytest.fixture
def as_stored(site, networks, study, monkeypatch):
    """Asks Python by the embeddings that the site holds: `as_stored(experiment, prompts)` is a mask."""
    stored = json.loads((site / DATA / f"lidc_idri__{CASE}.json").read_text())

    def ask(experiment, prompts):
        folder, segmenter = site / DATA / stored["embeddings"][experiment.name]["folder"], networks[experiment]

        def embed(places):
            found = [onnx_litemedsam.from_bytes((folder / f"{index}.bin").read_bytes()) for _, index in places]
            return [[torch.from_numpy(embedding)[None]] for embedding in found]

        with monkeypatch.context() as patch:
            patch.setattr(segmenter, "_embed", embed)
            segmenter.set_image(study.image)
            return segmenter.predict(prompts).mask.array

    return ask


def _box(study, index, grow=0):
    where = np.argwhere(study.reference.array[:, :, index])
    (i0, j0), (i1, j1) = where.min(0) - grow, where.max(0) + grow
    return Box((int(i0), int(j0), index), (int(i1) + 1, int(j1) + 1, index + 1))


def test_both_windows_are_rows_that_share_a_small_decoder(site):
    index = json.loads((site / DATA / "index.json").read_text())
    first, second = index["networks"]
    assert (first["title"], second["title"]) == ("LiteMedSAM, W400 L40, zero-shot", "LiteMedSAM, W1500 L-160, zero-shot")
    assert first["decoder"] == second["decoder"]
    assert {path.name for path in (site / DATA).glob("*.onnx")} == {first["decoder"], first["encoder"]}
    assert (site / DATA / first["decoder"]).stat().st_size <= MOST_BYTES_OF_DECODER
    assert first["seen"]["LIDC-IDRI"] == "these images were trained on, with these outlines, so a score here is an upper bound"


def test_weights_are_halves_and_products_are_not(site):
    graph = onnx.load_model(next((site / DATA).glob("*_decoder.onnx"))).graph
    large = [weight for weight in graph.initializer if np.prod(weight.dims) >= 64 and weight.data_type != onnx.TensorProto.INT64]
    assert large
    assert {weight.data_type for weight in large} == {onnx.TensorProto.FLOAT16}
    cast = {node.input[0] for node in graph.node if node.op_type == "Cast"}
    assert {weight.name for weight in large} <= cast


def test_slices_of_the_lesion_and_three_beyond_have_an_embedding(site, networks, study):
    stored = json.loads((site / DATA / f"lidc_idri__{CASE}.json").read_text())
    lesion = np.flatnonzero(study.reference.array.any(axis=(0, 1)))
    assert (lesion[0] - 3, lesion[-1] + 3) == (SLICES[0], SLICES[-1])
    for experiment in networks:
        found = stored["embeddings"][experiment.name]
        assert found["slices"] == list(SLICES)
        files = sorted((site / DATA / found["folder"]).iterdir())
        assert [path.name for path in files] == sorted(f"{index}.bin" for index in SLICES)
        assert max(path.stat().st_size for path in files) <= MOST_BYTES_OF_EMBEDDING


def test_stored_embeddings_and_decoder_give_the_masks_of_full_precision(site, networks, study, case, as_stored):
    session = onnxruntime.InferenceSession(next((site / DATA).glob("*_decoder.onnx")))
    prompts = first_prompts(case, study.reference, "box_every_slice")
    for experiment, segmenter in networks.items():
        segmenter.set_image(study.image)
        wanted = segmenter.predict(prompts).mask.array
        assert wanted.sum() > 1000
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segmenter.network, "decode", lambda *said: _decoded(session, *said))
            found = as_stored(experiment, prompts)
        assert dsc(wanted, found) >= 0.99


def _decoded(session, embeddings, positions, labels):
    found = []
    for embedding, corners in zip(embeddings.numpy(), positions.numpy(), strict=True):
        inputs = {"embedding": embedding[None], "box": corners.reshape(1, 4), "cells": np.arange(64 * 64)}
        tiles = session.run(None, inputs)[0].reshape(64, 64, 4, 4)
        found.append(tiles.transpose(0, 2, 1, 3).reshape(1, 256, 256))
    return torch.from_numpy(np.stack(found))


def test_an_embedding_survives_in_a_byte_a_value():
    embedding = np.random.default_rng(0).normal(size=(256, 64, 64)).astype(np.float32)
    embedding[3] = 0
    again = onnx_litemedsam.from_bytes(onnx_litemedsam.to_bytes(embedding))
    assert np.abs(again - embedding).max() <= np.abs(embedding).max() / 254 + 1e-6
    assert np.array_equal(again[3], embedding[3])
    assert len(gzip.decompress(onnx_litemedsam.to_bytes(embedding))) == 256 * (4 + 64 * 64)


def test_of_a_case_that_may_not_be_passed_on_nothing_is_written(networks, case, tmp_path, monkeypatch):
    plugin = registry.plugin("datasets", "lidc_idri")
    monkeypatch.setattr(plugin, "CARD", dataclasses.replace(plugin.CARD, redistributable=False))
    for part in ("write_decoder", "write_encoder"):
        monkeypatch.setattr(onnx_litemedsam, part, lambda network, path: path.write_bytes(b""))
    (tmp_path / "data").mkdir()
    _write(networks, case, tmp_path / "data", public=True)
    assert sorted(path.suffix for path in (tmp_path / "data").rglob("*") if path.is_file()) == [".json", ".onnx", ".onnx"]
    (entry,) = json.loads((tmp_path / "data" / "index.json").read_text())["cases"]
    assert "withheld" in entry
    assert "file" not in entry


def _choose_network(page, n):
    after(page, lambda: page.select_option("select[aria-label='Network']", str(n)))


@pytest.mark.browser
@pytest.mark.parametrize("window", [0, 1])
@pytest.mark.parametrize("setting", ["box_every_slice", "box_one_slice"])
def test_the_page_gives_the_masks_of_python(page, networks, study, case, as_stored, setting, window):
    _choose_network(page, window)
    choose_setting(page, setting)
    experiment = list(networks)[window]
    wanted = as_stored(experiment, first_prompts(case, study.reference, setting))
    assert wanted.sum() > 500
    assert dsc(mask_of(page, "prediction", wanted.shape), wanted) >= 0.999
    assert abs(float(page.evaluate(f"{PAGE}.dataset.dice")) - dsc(study.reference.array, wanted)) < 0.001


@pytest.mark.browser
def test_a_drawn_box_is_answered_on_its_slice(page, networks, study, as_stored):
    _choose_network(page, 1)
    index = page.evaluate(f"{PAGE}.promptPage.view.slice + {PAGE}.promptPage.view.case.voxel[2][0]")
    box = _box(study, index, grow=2)
    (i0, j0, _), (i1, j1, _) = box.ijk_min, box.ijk_max
    after(page, lambda: drag(page, (i1 - 1, j1 - 1), (i0, j0)))
    wanted = as_stored(list(networks)[1], [Prompt(1, (SlicePrompt(index, box=box),))])
    assert wanted.sum() > 100
    assert dsc(mask_of(page, "prediction", wanted.shape), wanted) >= 0.999


@pytest.mark.browser
def test_what_cannot_be_answered_is_said(page, study):
    about = page.inner_text(".lp-about")
    assert "published model" in about
    assert "LIDC-IDRI in its training: these images were trained on, with these outlines, so a score" in about
    assert "no medical device" in about
    tool(page, "click inside")
    i, j = page.evaluate(f"{PAGE}.promptPage.tools.middle()")
    after(page, lambda: click(page, (i, j)))
    page.get_by_text("This network takes boxes only").wait_for()
    assert not mask_of(page, "prediction", study.image.shape).any()
    after(page, lambda: page.get_by_role("button", name="Undo").click())
    tool(page, "box")
    page.evaluate(f"{PAGE}.promptPage.view.go(0)")
    page.wait_for_function(f"{PAGE}.dataset.slice === '0'")
    after(page, lambda: drag(page, (i - 8, j - 8), (i + 8, j + 8)))
    page.get_by_text(f"slices {SLICES[0] + 1} to {SLICES[-1] + 1}").wait_for()


@pytest.mark.browser
def test_a_lesion_is_followed_as_far_as_slices_are_known(page):
    """A large box around the chest wall has no end there."""
    _choose_network(page, 1)
    page.get_by_label("follow the lesion through the slices").check()
    voxel, rows, columns = page.evaluate(f"(() => {{ const c = {PAGE}.promptPage.view.case; return [c.voxel, c.rows, c.columns]; }})()")
    first = [voxel[0][0] - 2, voxel[1][0] - 2]
    last = [voxel[0][0] - columns + 3, voxel[1][0] - rows + 3]
    after(page, lambda: drag(page, first, last))
    page.get_by_text("holds no embedding of").wait_for()


@pytest.fixture
def own_ct(study, tmp_path):
    """Three slices of the CT as a file of a reader, and the middle one's number in the CT."""
    index = SLICES[6]
    part = nibabel.Nifti1Image(study.image.array[:, :, index - 1 : index + 2].astype(np.int16), study.image.affine)
    nibabel.save(part, tmp_path / "own.nii.gz")
    return tmp_path / "own.nii.gz", index


def _open_own(page, path):
    _choose_network(page, 1)
    after(page, lambda: page.set_input_files("input[type=file]", path))
    page.get_by_text("Each slice takes about").wait_for(timeout=60_000)
    page.wait_for_function(f"{PAGE}.dataset.slice === '1'")


def _drawn_and_wanted(page, networks, study, index):
    """Draw a box on an own CT; the mask of the page, and what the Python package says to the same box."""
    box = _box(study, index, grow=2)
    (i0, j0, _), (i1, j1, _) = box.ijk_min, box.ijk_max
    after(page, lambda: drag(page, (i1 - 1, j1 - 1), (i0, j0)))
    assert page.locator(".lp-progress").is_hidden()
    segmenter = list(networks.values())[1]
    segmenter.set_image(study.image)
    drawn = page.evaluate(f"{PAGE}.promptPage.prompts[0].slices[0].box")  # a page of whole slices has fewer pixels than the CT
    box = Box((drawn[0], drawn[2], index), (drawn[1], drawn[3], index + 1))
    wanted = segmenter.predict([Prompt(1, (SlicePrompt(index, box=box),))]).mask.array[:, :, index]
    assert wanted.sum() > 100
    return mask_of(page, "prediction", (*wanted.shape, 3))[:, :, 1], wanted


@pytest.mark.browser
def test_an_own_ct_is_encoded_in_the_page(page, networks, study, own_ct):
    path, index = own_ct
    _open_own(page, path)
    page.set_default_timeout(120_000)
    assert dsc(*_drawn_and_wanted(page, networks, study, index)) >= 0.99
    assert page.evaluate(f"{PAGE}.promptPage.ownSlices.by") == "wasm"


@pytest.mark.browser
def test_a_graphics_processor_is_named_with_its_time(site, chromium_with_webgpu, own_ct):
    with opened_page(site, chromium_with_webgpu) as page:
        _open_own(page, own_ct[0])
        page.get_by_text("Each slice takes about 1 s on this computer's graphics processor.").wait_for()


@pytest.mark.browser
def test_encoding_can_be_cancelled(page, study, own_ct):
    path, index = own_ct
    _open_own(page, path)
    box = _box(study, index, grow=2)
    before = int(page.evaluate(f"+{PAGE}.dataset.answers"))
    drag(page, box.ijk_max[:2], box.ijk_min[:2])
    page.get_by_text("Encoding slice 2: about").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled").wait_for()
    assert int(page.evaluate(f"+{PAGE}.dataset.answers")) == before + 1
    assert not mask_of(page, "prediction", (512, 512, 3)).any()
