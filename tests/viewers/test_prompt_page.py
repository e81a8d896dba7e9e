"""Prompting in the page: the networks as ONNX files, the cases, and a browser that must give the masks that Python gives."""

import threading
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.core.masks import dsc
from lungseg_utils.data import images, nifti
from lungseg_utils.networks import onnx_files
from lungseg_utils.prompts import json_form
from lungseg_utils.prompts.ladder import first_prompts, prompt_setting
from lungseg_utils.types import Box, Case, InputError, Points, Prompt, SlicePrompt, Study
from lungseg_utils.viewers import prompt_page
from tests.support.prompt_site import (
    DATA,
    PAGE,
    after,
    choose_setting,
    click,
    drag,
    mask_of,
    opened_page,
    served,
    shown_case,
    tool,
    write_site,
)
from tests.support.sample_playground import sample_study, small_segmenter, train_for_a_moment

CASES = ("PN-1", "PN-2", "PN-3")


@pytest.fixture(scope="module")
def studies() -> dict[str, Study]:
    return {name: sample_study(seed) for seed, name in enumerate(CASES)}


@pytest.fixture(scope="module")
def network(studies):
    return train_for_a_moment(small_segmenter(), studies.values())


@pytest.fixture(scope="module")
def site(tmp_path_factory, network, studies):
    """Address of a page with that network and three cases, and its folder."""
    folder = tmp_path_factory.mktemp("site")
    written = folder / DATA
    frame = pd.DataFrame(
        [
            {"experiment": "tiny", "test_dataset": "phantom_nsclc", "prompter": setting, "jitter": 0.0, "patient_id": name, "case_id": name}
            | {"lesion_id": "", "reader": "reference", "metric": "dsc", "value": value, "unit": "1", "status": "ok"}
            for setting in ("box_one_slice", "box_every_slice")
            for name, value in zip(CASES, (-1.0, 0.0, 0.8), strict=True)  # a page must show a zero too
        ]
    )
    cases = [Case("phantom_nsclc", name, name, Path(f"/nowhere/{name}.nii.gz")) for name in CASES]
    result = SimpleNamespace(
        experiment=SimpleNamespace(name="tiny"),
        provenance={"sha256": {"weights": "0" * 64}},
        asked=lambda *settings: frame[frame["prompter"].isin(settings)],
        cases=lambda dataset: cases,
    )
    plugin = registry.plugin("datasets", "phantom_nsclc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugin, "load", lambda case: studies[case.case_id])
        patch.setattr(prompt_page, "MARGIN_MM", 500.0)  # this network's answers run far beyond the lesion
        prompt_page.write([result], {"tiny": "SAM-type stand-in, tiny"}, [network], written, public=False)
    return write_site(folder)


@pytest.fixture
def page(site, chromium):
    with opened_page(site, chromium) as opened:
        yield opened


@pytest.mark.parametrize(("clicks", "boxed"), [(0, True), (1, True), (4, True), (1, False), (2, False), (5, False)])
def test_onnx_files_give_the_logits_of_the_network(network, tmp_path_factory, clicks, boxed):
    folder = tmp_path_factory.getbasetemp() / "onnx"
    if not folder.is_dir():
        onnx_files.write(network.network, folder / "encoder.onnx", folder / "decoder.onnx")
    encoder, decoder = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("encoder", "decoder"))
    rng = np.random.default_rng(10 * clicks + boxed)
    canvas = network.view.canvas
    for _ in range(5):
        picture = rng.random((1, 1, canvas, canvas), dtype=np.float32)
        positions, labels = rng.uniform(0, canvas, (clicks, 2)), rng.integers(0, 2, clicks)
        if boxed:
            positions = np.concatenate([np.sort(rng.uniform(0, canvas, (2, 2)), axis=0), positions])
            labels = np.concatenate([[2, 3], labels])
        positions, labels = positions[None].astype(np.float32), labels[None].astype(np.int32)
        with torch.inference_mode():
            embedding = network.network.encode(torch.from_numpy(picture))
            wanted = network.network.decode(embedding, torch.from_numpy(positions), torch.from_numpy(labels)).numpy()
        if not boxed:
            positions = np.concatenate([positions, np.zeros((1, 1, 2), np.float32)], axis=1)
            labels = np.concatenate([labels, [[-1]]], axis=1).astype(np.int32)
        found = encoder.run(None, {"picture": picture})[0]
        assert np.abs(found - embedding.numpy()).max() < 1e-3
        assert np.abs(decoder.run(None, {"embedding": found, "positions": positions, "labels": labels})[0] - wanted).max() < 1e-3


def test_onnx_files_name_no_place_of_this_machine(site):
    for path in (site / "_static" / "data").rglob("*.onnx"):
        assert b".py" not in path.read_bytes()


def test_prompts_survive_as_json():
    box = SlicePrompt(4, box=Box((1, 2, 4), (5, 7, 5)), points=Points(((2, 3, 4), (0, 0, 4)), (1, 0)))
    prompt = Prompt(3, (box, SlicePrompt(5, points=Points(((2, 2, 5),), (1,)))), find_ends=True, actions=4)
    assert json_form.from_json(json_form.to_json(prompt)) == prompt
    volume = Prompt(1, (), box_3d=Box((0, 0, 0), (2, 3, 4)), actions=1)
    assert json_form.from_json(json_form.to_json(volume)) == volume
    with pytest.raises(InputError, match="session 7"):
        json_form.from_json(json_form.to_json(prompt) | {"slices": [{"index": 1}]}, "session 7")


def test_index_names_what_is_there(site):
    import json

    written = site / DATA
    index = json.loads((written / "index.json").read_text())
    assert [item["title"] for item in index["cases"]] == ["worst: PN-1", "median: PN-2", "best: PN-3"]
    assert all((written / item["file"]).is_file() for item in index["cases"])
    assert index["networks"][0]["title"] == "SAM-type stand-in, tiny"
    assert index["propagation"] == {"grow": 0.05, "least_area": 0.1, "reach_mm": 150.0}
    assert index["ball_mm"] == 31.0


@pytest.mark.browser
@pytest.mark.parametrize("setting", prompt_page.SETTINGS)
def test_every_setting_gives_the_masks_of_python(page, network, studies, setting):
    choose_setting(page, setting)
    name = shown_case(page)
    study = studies[name]
    reference = study.references["reference"]
    prompts = first_prompts(Case("phantom_nsclc", name, name, Path("x")), reference, setting)
    network.set_image(study.image)
    wanted = network.predict(prompts).mask.array
    assert wanted.sum() > 20
    assert dsc(mask_of(page, "prediction", wanted.shape), wanted) >= 0.99
    trivial = registry.plugin("models", "trivial").build({"rule": "ellipse", "median_diameter_mm": 31.0}, 0)
    trivial.set_image(study.image)
    assert dsc(mask_of(page, "trivial", wanted.shape), trivial.predict(prompts).mask.array) >= 0.999
    assert abs(float(page.evaluate(f"{PAGE}.dataset.dice")) - dsc(reference.array, wanted)) < 0.01
    asked_by_the_profile = setting in ("box_one_slice", "box_every_slice")
    assert ("in this book's tables" in page.inner_text(".lp-scores")) == asked_by_the_profile


@pytest.mark.browser
def test_drawn_prompts_are_those_that_python_answers(page, network, studies):
    study = studies[shown_case(page)]
    reference = study.references["reference"].array
    k = page.evaluate(f"{PAGE}.promptPage.view.slice + {PAGE}.promptPage.view.case.voxel[2][0]")
    where = np.argwhere(reference[:, :, k])
    (i0, j0), (i1, j1) = where.min(0), where.max(0)
    network.set_image(study.image)

    def wanted(*slice_prompts, find_ends=False):
        return network.predict([Prompt(1, slice_prompts, find_ends=find_ends)]).mask.array

    box = Box((int(i0), int(j0), k), (int(i1) + 1, int(j1) + 1, k + 1))
    after(page, lambda: drag(page, (i1, j1), (i0, j0)))
    assert dsc(mask_of(page, "prediction", reference.shape), wanted(SlicePrompt(k, box=box))) >= 0.99
    one = mask_of(page, "prediction", reference.shape)

    tool(page, "click outside")
    outside = (int(i0), int(j0))
    after(page, lambda: click(page, outside))
    both = SlicePrompt(k, box=box, points=Points(((*outside, k),), (0,)))
    assert dsc(mask_of(page, "prediction", reference.shape), wanted(both)) >= 0.99
    after(page, lambda: page.get_by_role("button", name="Undo").click())
    assert np.array_equal(mask_of(page, "prediction", reference.shape), one)

    after(page, lambda: page.get_by_label("follow the lesion through the slices").check())
    assert dsc(mask_of(page, "prediction", reference.shape), wanted(SlicePrompt(k, box=box), find_ends=True)) >= 0.99

    after(page, lambda: page.get_by_role("button", name="Clear").click())
    assert not mask_of(page, "prediction", reference.shape).any()
    tool(page, "click inside")
    center = tuple(int(v) for v in where[len(where) // 2])
    after(page, lambda: click(page, center))
    found = wanted(SlicePrompt(k, points=Points(((*center, k),), (1,))), find_ends=True)
    assert dsc(mask_of(page, "prediction", reference.shape), found) >= 0.99


@pytest.mark.browser
def test_keys_alone_draw_a_box_and_take_it_back(page):
    canvas = page.locator("canvas.lp-canvas")
    canvas.focus()
    for key in ["Shift+ArrowLeft"] * 3 + ["Enter"] + ["Shift+ArrowRight"] * 8 + ["Shift+ArrowDown"] * 8:
        page.keyboard.press(key)
    after(page, lambda: page.keyboard.press("Enter"))
    prompts = page.evaluate(f"{PAGE}.promptPage.prompts")
    low_i, high_i, low_j, high_j = prompts[0]["slices"][0]["box"]
    assert (high_i - low_i, high_j - low_j) == (9, 9)
    after(page, lambda: page.keyboard.press("Backspace"))
    assert page.evaluate(f"{PAGE}.promptPage.prompts") == []
    before = page.evaluate(f"{PAGE}.dataset.slice")
    page.keyboard.press("ArrowUp")
    page.wait_for_function(f"{PAGE}.dataset.slice !== '{before}'")


@pytest.mark.browser
def test_too_small_a_box_and_clicks_outside_alone_are_explained(page):
    i, j = page.evaluate(f"{PAGE}.promptPage.tools.middle()")
    drag(page, (i, j), (i, j))
    page.get_by_text("smaller than two voxels").wait_for()
    tool(page, "click outside")
    after(page, lambda: click(page, (i, j)))
    page.get_by_text("Clicks outside alone").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize("axes", ["RAS", "LPS", "SLA"])
def test_an_own_ct_is_read_and_answered(page, network, studies, tmp_path, axes):
    study = studies["PN-2"]
    image = nibabel.Nifti1Image(study.image.array.astype(np.int16), study.image.affine)
    turned = image.as_reoriented(nibabel.io_orientation(image.affine)) if axes == "RAS" else None
    if turned is None:
        target = nibabel.orientations.axcodes2ornt(tuple(axes))
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), target))
    turned.header["descrip"] = b"Doe^Jane"
    path = tmp_path / "own.nii.gz"
    nibabel.save(turned, path)
    after(page, lambda: page.set_input_files("input[type=file]", path))
    assert page.evaluate(f"{PAGE}.promptPage.view.case.size") == list(study.image.shape)
    reference = study.references["reference"].array
    k = int(np.argmax(reference.sum((0, 1))))
    page.evaluate(f"{PAGE}.promptPage.view.go({k})")
    where = np.argwhere(reference[:, :, k])
    (i0, j0), (i1, j1) = where.min(0), where.max(0)
    page.wait_for_function(f"{PAGE}.dataset.slice === '{k}'")
    after(page, lambda: drag(page, (i1, j1), (i0, j0)))
    network.set_image(images.read_image(path))
    box = Box((int(i0), int(j0), k), (int(i1) + 1, int(j1) + 1, k + 1))
    assert dsc(mask_of(page, "prediction", reference.shape), network.predict([Prompt(1, (SlicePrompt(k, box=box),))]).mask.array) >= 0.99
    assert "Doe" not in page.content()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save mask").click()
    download.value.save_as(tmp_path / "mask.nii.gz")
    saved, own = nifti.read_mask(tmp_path / "mask.nii.gz"), images.read_image(path)
    assert np.array_equal(saved.array, mask_of(page, "prediction", own.shape))
    assert np.allclose(saved.affine, own.affine, atol=1e-4)


def _drawn_round_reference(page, study, margin=0):
    """Draw a box around the reference on the slice that is shown; returns the slice."""
    k = page.evaluate(f"{PAGE}.promptPage.view.slice + {PAGE}.promptPage.view.case.voxel[2][0]")
    where = np.argwhere(study.references["reference"].array[:, :, k])
    (i0, j0), (i1, j1) = where.min(0) - margin, where.max(0) + margin
    after(page, lambda: drag(page, (i1, j1), (i0, j0)))
    return k


@pytest.mark.browser
def test_the_reference_is_hidden_until_the_first_answer_and_then_compared(page, studies):
    study = studies[shown_case(page)]
    seen = f"{PAGE}.promptPage.view.overlays.find((item) => item.name === 'reference').shown"
    assert page.evaluate(seen) is False
    assert page.get_by_role("group", name="reference").count() == 0
    page.get_by_text("The reference is shown after your first box").wait_for()
    k = _drawn_round_reference(page, study, margin=2)
    page.wait_for_function(f"{PAGE}.dataset.compared === {PAGE}.dataset.answers")
    assert page.evaluate(seen) is True
    assert page.get_by_role("group", name="reference").count() == 1
    reference = study.references["reference"].array
    said = page.get_by_role("status").inner_text()
    for name, mask in {"you": "prediction", "ellipse or ball": "trivial", "box from the reference": "tight"}.items():
        score = dsc(mask_of(page, mask, reference.shape)[:, :, k], reference[:, :, k])
        assert f"{name} {score:.2f}" in said
        assert f"{score:.3f}" in page.inner_text(".lp-scores")


@pytest.mark.browser
def test_the_mask_is_saved_on_the_grid_of_the_scan(page, studies, tmp_path):
    study = studies[shown_case(page)]
    page.get_by_role("button", name="Save mask").click()
    page.get_by_text("There is no prediction to save").wait_for()
    _drawn_round_reference(page, study)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save mask").click()
    assert download.value.suggested_filename.endswith("_prediction.nii.gz")
    download.value.save_as(tmp_path / "mask.nii.gz")
    saved = nifti.read_mask(tmp_path / "mask.nii.gz")
    assert np.array_equal(saved.array, mask_of(page, "prediction", study.image.shape))
    assert np.allclose(saved.affine, study.image.affine, atol=1e-4)


@pytest.mark.browser
def test_a_link_opens_the_same_case_with_the_same_prompt(page, site, studies):
    page.get_by_label("Case", exact=True).select_option(index=2)
    page.wait_for_function(f"{PAGE}.promptPage.view.case.title.includes('PN-3')")
    k = _drawn_round_reference(page, studies["PN-3"])
    mask = mask_of(page, "prediction", studies["PN-3"].image.shape)
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_function("location.hash.includes('prompt=')")
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_function(f"+{PAGE}.dataset.answers > 1")
    assert "PN-3" in other.evaluate(f"{PAGE}.promptPage.view.case.title")
    assert other.evaluate(f"{PAGE}.promptPage.view.slice + {PAGE}.promptPage.view.case.voxel[2][0]") == k
    assert np.array_equal(mask_of(other, "prediction", mask.shape), mask)


@pytest.mark.browser
@pytest.mark.parametrize(
    "link", ["#case=phantom_nsclc__PN-9", "#case=phantom_nsclc__PN-1&network=other", "#case=phantom_nsclc__PN-1&prompt=%7B"]
)
def test_a_link_that_cannot_be_followed_shows_no_other_patient(page, link):
    other = page.context.new_page()
    other.goto(page.url.split("#")[0] + link)
    other.locator(".lp-problem").wait_for()
    assert not other.locator("canvas.lp-canvas").is_visible()
    other.get_by_label("Case", exact=True).select_option(index=1)
    other.wait_for_function(f"{PAGE}.promptPage.view.case?.title.includes('PN-2')")
    assert other.locator("canvas.lp-canvas").is_visible()


@pytest.mark.browser
def test_a_file_that_is_not_in_hu_is_named(page, studies, tmp_path):
    study = studies["PN-1"]
    nibabel.save(nibabel.Nifti1Image((study.image.array + 2000).astype(np.int16), study.image.affine), tmp_path / "raw.nii.gz")
    page.set_input_files("input[type=file]", tmp_path / "raw.nii.gz")
    page.locator(".lp-problem", has_text="do not look like Hounsfield units").wait_for()


@pytest.mark.browser
def test_an_unusable_file_is_named_and_the_case_stays(page, tmp_path):
    before = page.evaluate(f"{PAGE}.promptPage.view.case.title")
    (tmp_path / "holiday.nii").write_bytes(b"\x89PNG" + bytes(400))
    page.set_input_files("input[type=file]", tmp_path / "holiday.nii")
    page.get_by_text("holiday.nii: This is no NIfTI-1 file").wait_for()
    assert page.evaluate(f"{PAGE}.promptPage.view.case.title") == before


@pytest.mark.browser
def test_without_webassembly_there_is_a_clear_text(site, chromium):
    with served(site) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        context = chromium.new_context()
        context.add_init_script("delete window.WebAssembly")
        opened = context.new_page()
        opened.goto(f"http://127.0.0.1:{running.server_port}/book/page.html")
        opened.get_by_text("no WebAssembly").wait_for()
        context.close()
        running.shutdown()


@pytest.mark.browser
def test_answers_are_quick(page):
    """Timings are not judged here, only that the page keeps them; latency is reported by hand."""
    i, j = page.evaluate(f"{PAGE}.promptPage.tools.middle()")
    for n in range(3):
        after(page, lambda n=n: drag(page, (i - 8 - n, j - 8), (i + 8, j + 8)))
    assert len(page.evaluate(f"{PAGE}.promptPage.times")) == 3
    assert "median of 3 predictions" in page.inner_text(".lp-time")


def test_ladder_settings_of_the_page_exist():
    assert all(prompt_setting(name) for name in prompt_page.SETTINGS)
