"""The playground without a browser: prompts as they are drawn, answers and spreads, sessions, exports, and what goes wrong."""

import base64
import gzip
import json
import threading
import time
from datetime import UTC, datetime

import nibabel
import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.core import progress, project
from lungseg_utils.core.masks import dsc
from lungseg_utils.data import dicom_seg, images, nifti
from lungseg_utils.prompts import json_form, sessions
from lungseg_utils.prompts.jitter import perturb
from lungseg_utils.prompts.ladder import prompt_rng
from lungseg_utils.types import Box, Case, InputError, Points, Prompt, SlicePrompt
from lungseg_utils.viewers import playground as playgrounds
from lungseg_utils.viewers.playground.controls import colors_for
from lungseg_utils.viewers.playground.drawing import DrawnPrompt, can_be_predicted
from lungseg_utils.viewers.playground.offers import cases
from lungseg_utils.viewers.playground.session import CaseSession, OfferedModel, Worker, filled_planes
from lungseg_utils.viewers.playground.widget import PromptCanvas
from tests.support.sample_playground import (
    NETWORK,
    NO_WEIGHTS,
    TRIVIAL,
    corners,
    fill,
    largest_slice,
    loaded,
    offers,
    open_playground,
    sample_study,
    trivial,
    write_case,
)

# --- drawing ------------------------------------------------------------------------------------------------------------


def test_steps_are_taken_back_and_done_again():
    drawn = DrawnPrompt((20, 20, 5))
    drawn.box((8, 3), (4, 6), 2)  # dragged from the other side
    drawn.click((5, 4), 2, inside=False)
    drawn.set_follow(True)
    slice_prompt = SlicePrompt(2, box=Box((4, 3, 2), (9, 7, 3)), points=Points(((5, 4, 2),), (0,)))
    assert drawn.prompts == (Prompt(1, (slice_prompt,), find_ends=True, actions=2),)
    drawn.undo()
    assert (drawn.prompts[0].find_ends, drawn.follow) == (False, False)
    drawn.undo()
    drawn.undo()
    assert drawn.prompts == ()
    assert not drawn.can_undo
    for _ in range(3):
        drawn.redo()
    assert drawn.prompts == (Prompt(1, (slice_prompt,), find_ends=True, actions=2),)
    drawn.undo()
    drawn.click((5, 5), 3, inside=True)
    assert not drawn.can_redo
    assert [h.index for h in drawn.prompts[0].slices] == [2, 3]
    drawn.clear()
    assert drawn.prompts == ()
    drawn.undo()
    assert drawn.prompts[0].actions == 3


def test_a_second_box_on_a_slice_takes_the_place_of_the_first():
    drawn = DrawnPrompt((20, 20, 5))
    drawn.box((1, 1), (3, 3), 2)
    drawn.box((5, 5), (8, 8), 2)
    assert drawn.prompts == (Prompt(1, (SlicePrompt(2, box=Box((5, 5, 2), (9, 9, 3))),), actions=1),)


@pytest.mark.parametrize(
    ("draw", "fault"),
    [
        (lambda d: d.box((4, 4), (4, 9), 2), "smaller than two voxels"),
        (lambda d: d.box((4, 4), (4, 4), 2), "smaller than two voxels"),
        (lambda d: d.box((4, 4), (20, 9), 2), "outside an image"),
        (lambda d: d.box((-1, 4), (3, 9), 2), "outside an image"),
        (lambda d: d.box((4, 4), (8, 9), 5), "outside an image"),
        (lambda d: d.click((4, 20), 2, inside=True), "outside an image"),
        (lambda d: (d.undo(), d.undo()), "nothing to take back"),
        (lambda d: d.redo(), "nothing was taken back"),
    ],
)
def test_a_refused_step_leaves_everything_as_it_was(draw, fault):
    drawn = DrawnPrompt((20, 20, 5))
    drawn.box((1, 1), (3, 3), 2)
    before = drawn.prompts
    with pytest.raises(InputError, match=fault):
        draw(drawn)
    assert drawn.prompts in (before, ())  # the one that was undone is gone, as it should be


def test_clicks_outside_alone_cannot_be_answered():
    outside, inside = (Prompt(1, (SlicePrompt(0, points=Points(((1, 1, 0),), (label,))),)) for label in (0, 1))
    assert not can_be_predicted(())
    assert not can_be_predicted((outside,))
    assert can_be_predicted((inside,))


# --- asking -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("playground")
    fill(path)
    return path


@pytest.fixture(scope="module")
def network(folder):
    return loaded(folder / "weights.pt")


@pytest.fixture(scope="module")
def study():
    return sample_study()


@pytest.fixture(scope="module")
def reference(study):
    return study.references["reference"]


def box_prompt(reference, find_ends=False):
    k = largest_slice(reference)
    (i0, j0), (i1, j1) = corners(reference, k)
    return Prompt(1, (SlicePrompt(k, box=Box((i0, j0, k), (i1 + 1, j1 + 1, k + 1))),), find_ends=find_ends, actions=1)


def case_of(folder) -> Case:
    return Case("folder", "chest-LPS", "chest-LPS", folder / "chest.nii.gz", (folder / "reference.nii.gz",))


def test_answers_and_scores_are_those_of_plain_calls(folder, network, study, reference):
    session = CaseSession(cache_mb=100)
    session.open(case_of(folder), study)
    prompts = (box_prompt(reference, find_ends=True),)
    answer = session.predict(network, prompts)
    plain = loaded(folder / "weights.pt").segmenter
    plain.set_image(study.image)
    wanted = plain.predict(prompts).mask
    k = largest_slice(reference)
    assert np.array_equal(answer.mask.array, wanted.array)
    assert answer.dsc == dsc(reference.array, wanted.array)
    assert answer.slice_dsc(k) == dsc(reference.array[:, :, k], wanted.array[:, :, k])
    assert answer.volume_ml == wanted.volume_ml
    assert wanted.array.any(axis=(0, 1)).sum() > 3


def test_a_spread_is_what_the_benchmarks_own_errors_lead_to(folder, network, study, reference):
    session = CaseSession(cache_mb=100)
    session.open(case_of(folder), study)
    prompts, told = (box_prompt(reference),), []
    spread = session.spread(network, prompts, 0.2, 4, drawn=told.append)
    masks = []
    for draw in range(4):
        rng = prompt_rng("folder", "chest-LPS", "recorded__jitter0.2", draw)
        network.segmenter.set_image(study.image)
        masks.append(network.segmenter.predict(perturb(prompts, 0.2, rng, study.image.shape, study.image.spacing_mm)).mask)
    assert np.array_equal(spread.counts, sum(m.array.astype(int) for m in masks))
    assert spread.dsc == tuple(dsc(reference.array, m.array) for m in masks)
    assert spread.volume_ml == tuple(m.volume_ml for m in masks)
    assert told == [1, 2, 3, 4]
    assert len(set(spread.dsc)) > 1


def test_planes_are_packed_as_pictures_show_them():
    array = np.zeros((3, 4, 6), bool)
    array[2, 3, 2] = array[0, 1, 4] = True  # the corner at upper left of slice 2; right column, third row of slice 4
    first, planes = filled_planes(array)
    assert first == 2
    assert planes.shape == (3, 4, 3)
    assert np.argwhere(planes).tolist() == [[0, 0, 0], [2, 2, 2]]
    assert filled_planes(np.zeros((3, 4, 6), bool))[1].shape == (0, 4, 3)


def test_a_worker_does_what_is_asked_in_order_and_goes_on_ahead_only_when_idle():
    worker, done = Worker(pytest.fail), []
    gate = threading.Event()

    def steps():
        for n in range(3):
            done.append(f"ahead {n}")
            yield

    worker.submit(lambda: (gate.wait(), worker.prefetch(steps()), done.append("first")))
    worker.submit(lambda: done.append("second"))
    gate.set()
    worker.wait()
    worker.close()
    assert done[:2] == ["first", "second"]
    assert done[2:] in ([], ["ahead 0"], ["ahead 0", "ahead 1"], ["ahead 0", "ahead 1", "ahead 2"])


def test_a_step_ahead_that_fails_ends_there_and_questions_go_on(caplog):
    worker, done = Worker(pytest.fail), []

    def steps():
        yield
        raise MemoryError

    worker.submit(lambda: worker.prefetch(steps()))
    worker.wait()
    worker.submit(lambda: done.append(1))
    worker.close()
    assert done == [1]


def test_a_question_that_raises_is_told_and_further_ones_are_done():
    problems, done = [], []
    worker = Worker(problems.append)
    worker.submit(lambda: [][0])
    worker.submit(lambda: done.append(1))
    worker.close()
    assert [type(problem) for problem in problems] == [IndexError]
    assert done == [1]


# --- the widget ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def playground(folder, tmp_path):
    made = open_playground(folder)
    made.folder = tmp_path / "sessions"
    yield made
    made.stop()


def draw(playground, kind, **content):
    """A gesture as the script sends it; waits for the answer."""
    playground._gesture({"kind": kind, "id": "g1", **content})
    playground._worker.wait()


def draw_box(playground, reference):
    k = largest_slice(reference)
    first, last = corners(reference, k)
    draw(playground, "box", **{"from": last, "to": first, "index": k})


def shown_mask(playground, name, shape) -> np.ndarray:
    """A mask as the script puts it together, back in (x, y, z)."""
    answer = next(a for a in playground.canvas.answers if a["name"] == name)
    planes = np.unpackbits(np.frombuffer(gzip.decompress(base64.b64decode(answer["bits"])), np.uint8))
    rows, columns = shape[1], shape[0]
    planes = planes[: answer["count"] * rows * columns].reshape(answer["count"], rows, columns).astype(bool)
    result = np.zeros(shape, bool)
    result[:, :, answer["first"] : answer["first"] + answer["count"]] = planes[:, ::-1, ::-1].transpose(2, 1, 0)
    return result


def test_a_box_is_answered_with_mask_and_scores(playground, folder, reference, study):
    draw_box(playground, reference)
    plain = loaded(folder / "weights.pt").segmenter
    plain.set_image(study.image)
    wanted = plain.predict([box_prompt(reference)]).mask
    assert playground.canvas.heard == "g1"
    assert playground.canvas.answered == 1
    assert np.array_equal(shown_mask(playground, NETWORK, wanted.shape), wanted.array)
    k = largest_slice(reference)
    for text in (
        f"{dsc(reference.array, wanted.array):.3f}",
        f"{dsc(reference.array[:, :, k], wanted.array[:, :, k]):.3f}",
        f"{wanted.volume_ml:.1f}",
    ):
        assert text in playground.controls.scores.value
    assert [json_form.from_json(p) for p in playground.canvas.prompts] == [box_prompt(reference)]


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SLA", "AIR"])
def test_voxels_of_the_picture_are_those_of_the_image_however_its_axes_run(tmp_path, axes, study):
    case = write_case(tmp_path, axes)
    made = playgrounds.playground(case, OfferedModel("trivial", TRIVIAL, trivial), tmp_path)
    stored = made.canvas.case
    assert stored["size"] == [96, 90, 24]
    assert stored["voxel"] == [[95, -1], [89, -1], [0, 1]]
    assert stored["spacing"] == pytest.approx([2.25, 1.8])
    draw_box(made, study.references["reference"])
    assert [json_form.from_json(p) for p in made.canvas.prompts] == [box_prompt(study.references["reference"])]
    made.stop()


def test_the_slice_that_is_shown_is_the_one_that_is_scored(playground, reference):
    draw_box(playground, reference)
    before = playground.controls.scores.value
    playground.canvas.slice = 0
    assert playground.controls.scores.value != before
    playground.canvas.slice = largest_slice(reference)
    assert playground.controls.scores.value == before


def test_several_models_answer_the_same_prompt_and_one_without_weights_says_so(playground, reference, study):
    playground.controls.models[TRIVIAL].value = True
    playground.controls.models[NO_WEIGHTS].value = True
    draw_box(playground, reference)
    assert [a["name"] for a in playground.canvas.answers] == [NETWORK, TRIVIAL]
    assert "no such file" in playground.controls.scores.value
    assert playground.canvas.message["problem"]
    assert "a model without weights" in playground.canvas.message["text"]
    segmenter = trivial().segmenter
    segmenter.set_image(study.image)
    wanted = segmenter.predict([box_prompt(reference)]).mask.array
    assert np.array_equal(shown_mask(playground, TRIVIAL, wanted.shape), wanted)
    playground.controls.models[NO_WEIGHTS].value = False
    playground._worker.wait()
    assert playground.canvas.message == {"text": "", "problem": False}


def test_a_model_keeps_its_color_and_shares_it_with_no_other_one():
    first = colors_for(["a", "b", "c"], {})
    assert len(set(first.values())) == 3
    second = colors_for(["d", "c", "a"], first)
    assert (second["a"], second["c"]) == (first["a"], first["c"])
    assert len(set(second.values())) == 3
    assert set(colors_for([str(n) for n in range(9)], {})) == {str(n) for n in range(9)}


def test_jitter_shows_a_range_and_how_often_each_voxel_is_inside(playground, reference):
    draw_box(playground, reference)
    playground.controls.draws.value = 3
    playground.controls.jitter.value = 0.2
    playground._worker.wait()
    spread = playground.canvas.answers[0]["spread"]
    counts = np.frombuffer(gzip.decompress(base64.b64decode(spread["bytes"])), np.uint8)
    assert spread["draws"] == 3
    assert 1 <= counts.max() <= 3
    assert "3 draws" in playground.controls.scores.value
    playground.controls.jitter.value = 0
    playground._worker.wait()
    assert playground.canvas.answers[0]["spread"] is None


@pytest.mark.parametrize(
    ("gesture", "fault"),
    [
        ({"kind": "box", "from": [5, 5], "to": [5, 5], "index": 3}, "smaller than two voxels"),
        ({"kind": "box", "from": [5, 5], "to": [500, 9], "index": 3}, "outside an image"),
        ({"kind": "click", "place": [5, 5], "index": 99, "inside": True}, "outside an image"),
        ({"kind": "redo"}, "nothing was taken back"),
    ],
)
def test_a_bad_gesture_is_explained_and_changes_nothing(playground, reference, gesture, fault):
    draw_box(playground, reference)
    before = playground.canvas.prompts, playground.canvas.answers, playground.canvas.answered
    draw(playground, **gesture)
    assert playground.canvas.message["problem"]
    assert fault in playground.canvas.message["text"]
    assert (playground.canvas.prompts, playground.canvas.answers, playground.canvas.answered) == before


def test_clicks_outside_alone_are_explained(playground):
    draw(playground, "click", place=[5, 5], index=3, inside=False)
    assert "Clicks outside alone" in playground.canvas.message["text"]
    assert playground.canvas.answers == []


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_out_of_memory_in_the_encoder_is_said_and_survived(playground, reference, monkeypatch, error):
    draw_box(playground, reference)
    encoder = playground._loaded[NETWORK].segmenter.network
    first = playground.canvas.answers
    k = largest_slice(reference)

    def fail(pictures):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(encoder, "encode", fail)
        draw(playground, "box", **{"from": [20, 20], "to": [40, 40], "index": k - 1})
        assert "Out of memory" in playground.controls.scores.value
        assert playground.canvas.message["problem"]
        assert len(playground._case_session._cache) == 0
    draw(playground, "undo")
    assert playground.canvas.answers == first
    assert not playground.canvas.message["problem"]


def test_following_can_be_canceled_and_the_masks_before_it_stay(playground, reference, monkeypatch):
    draw_box(playground, reference)
    first = playground.canvas.answers
    show = playground.controls.show_progress

    def cancel_at_three(done, most):
        show(done, most)
        if done == 3:
            assert playground.controls.cancel.layout.visibility == "visible"
            playground.controls.cancel.click()

    monkeypatch.setattr(playground.controls, "show_progress", cancel_at_three)
    playground.controls.follow.value = True
    playground._worker.wait()
    assert playground.canvas.message["text"].startswith("Stopped at 3 of at most 24")
    assert playground.canvas.answers == first
    assert playground.canvas.prompts[0]["find_ends"]
    assert playground.controls.cancel.layout.visibility == "hidden"
    monkeypatch.setattr(playground.controls, "show_progress", show)
    draw(playground, "undo")
    assert not playground.controls.follow.value
    playground.controls.follow.value = True
    playground._worker.wait()
    assert playground.canvas.answers != first


def test_loading_and_following_are_each_called_by_their_name(playground, reference, monkeypatch):
    show, said = playground.controls.show_progress, []

    def note(done, most):
        said.append(playground.canvas.message["text"])
        show(done, most)

    monkeypatch.setattr(playground.controls, "show_progress", note)
    draw_box(playground, reference)
    playground.controls.follow.value = True
    playground._worker.wait()
    title = playground.canvas.models[0]["title"]
    assert set(said) == {f"{title} looks at slice after slice …"}
    assert playground.canvas.message["text"] == ""


def test_a_pretraining_is_shown_and_canceled_and_goes_on_when_it_is_asked_again(tmp_path, reference):
    case, done = write_case(tmp_path), []

    def pretrained():
        for step in range(len(done), 50):
            progress.report_progress("training", step, 50)
            done.append(step)
        return trivial()

    made = playgrounds.playground(case, OfferedModel("a stand-in that is not there yet", "stand_in", pretrained), tmp_path)
    show = made.controls.show_progress

    def cancel_at_twenty(step, most):
        assert made.canvas.message["text"] == "Pretraining the stand-in, which is not there yet: training …"
        show(step, most)
        if step == 20:
            made.controls.cancel.click()

    made.controls.show_progress = cancel_at_twenty
    draw_box(made, reference)
    assert made.canvas.message["text"].startswith("Stopped at 20 of at most 50")
    assert not made.canvas.answers
    made.controls.show_progress = show
    draw(made, "undo")
    draw_box(made, reference)
    assert len(made.canvas.answers) == 1
    assert done == list(range(50))
    made.stop()


def test_a_newer_prompt_ends_an_older_question(playground, reference):
    draw_box(playground, reference)
    answered, gate = playground.canvas.answered, threading.Event()
    playground._worker.submit(gate.wait)
    k = largest_slice(reference)
    playground._gesture({"kind": "box", "id": "old", "from": [20, 20], "to": [30, 30], "index": k})
    playground._gesture({"kind": "box", "id": "new", "from": [20, 20], "to": [40, 40], "index": k})
    assert playground.canvas.heard == "new"
    looks = playground.session.looks
    assert [(look.action, len(look.answers)) for look in looks] == [("box", 1), ("box", 0), ("box", 0)]  # nothing is lost meanwhile
    gate.set()
    playground._worker.wait()
    assert playground.canvas.answered == answered + 1
    assert [len(look.answers) for look in playground.session.looks] == [1, 0, 1]


def test_neighboring_slices_are_encoded_while_nobody_asks(playground, reference):
    draw_box(playground, reference)
    deadline = time.monotonic() + 20
    while len(playground._case_session._cache) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(playground._case_session._cache) == 3  # the slice itself, and the windows that following would ask for next to it


# --- sessions and exports --------------------------------------------------------------------------------------------------


def upload(playground, content: bytes, name: str = "s.json") -> None:
    """A file as the browser hands it over; waits until it was replayed."""
    file = {"name": name, "type": "application/json", "size": len(content), "content": memoryview(content)}
    playground.controls.replay.value = (file | {"last_modified": datetime.now(UTC)},)
    playground._worker.wait()


def saved_files(playground, ending):
    return sorted(p for p in playground.folder.rglob(f"*{ending}") if p.is_file())


def test_a_session_is_saved_and_replayed_to_the_same_masks(playground, folder, reference, tmp_path):
    k = largest_slice(reference)
    draw_box(playground, reference)
    draw(playground, "click", place=corners(reference, k)[0], index=k, inside=False)
    playground.controls.follow.value = True
    playground._worker.wait()
    playground.controls.save.click()
    (path,) = saved_files(playground, ".json")
    session = sessions.read(path)
    assert [look.action for look in session.looks] == ["box", "click", "follow"]
    assert session.prompts == playground._drawn.prompts
    assert session.models[0].weights_sha256 == "0" * 64
    assert (session.saw_scores, session.saw_reference) == (True, False)
    times = [look.seconds for look in session.looks]
    assert times == sorted(times)
    assert "data:application" in playground.controls.saved.value

    other = open_playground(folder)
    other.controls.models[NETWORK].value = False
    other.controls.models[TRIVIAL].value = True
    upload(other, path.read_bytes())
    assert "All masks are those that were recorded" in other.canvas.message["text"]
    assert other.canvas.answers == playground.canvas.answers
    assert other.session.looks == session.looks
    other.controls.undo.click()
    other._worker.wait()
    assert other._drawn.prompts == session.looks[1].prompts
    other.stop()


def test_another_answer_than_the_recorded_one_is_said(playground, reference):
    draw_box(playground, reference)
    record = sessions.to_json(playground.session)
    record["looks"][0]["answers"][0]["mask_sha256"] = "0" * 64
    upload(playground, json.dumps(record).encode())
    assert "Not the mask that was recorded" in playground.canvas.message["text"]


@pytest.mark.parametrize(("edit", "fault"), [({"case_id": "other"}, "not on folder/chest-LPS"), ({"shape": [96, 90, 23]}, "another grid")])
def test_a_session_of_another_case_or_grid_is_refused_and_nothing_changes(playground, reference, edit, fault):
    draw_box(playground, reference)
    record, before = sessions.to_json(playground.session) | edit, playground.canvas.answers
    upload(playground, json.dumps(record).encode())
    assert fault in playground.canvas.message["text"]
    assert playground.canvas.answers == before
    upload(playground, b"\x89PNG", "holiday.json")
    assert "holiday.json: not JSON" in playground.canvas.message["text"]


def test_the_session_knows_whether_scores_and_reference_were_seen(playground, reference):
    playground.controls.show_scores.value = False
    assert "Dice" not in playground.controls.scores.value
    playground.canvas.shows_reference = True
    playground.canvas.shows_reference = False
    assert (playground.session.saw_scores, playground.session.saw_reference) == (True, True)
    playground._open(playground.cases[0])
    assert (playground.session.saw_scores, playground.session.saw_reference) == (False, False)


def test_a_mask_is_exported_on_the_grid_of_the_original_file(playground, folder, reference):
    playground.controls.to_nifti.click()
    assert "Draw a prompt first" in playground.canvas.message["text"]
    draw_box(playground, reference)
    playground.controls.to_nifti.click()
    (path,) = saved_files(playground, ".nii.gz")
    original, mask = nibabel.load(folder / "chest.nii.gz"), nibabel.load(path)
    assert mask.shape == original.shape
    assert np.array_equal(mask.affine, original.affine)
    assert nibabel.aff2axcodes(mask.affine) == ("L", "P", "S")
    image = images.read_image(folder / "chest.nii.gz")
    assert np.array_equal(nifti.read_mask(path, like=image).array, shown_mask(playground, NETWORK, image.shape))
    assert playground.controls.to_seg.disabled


def test_a_mask_of_a_dicom_case_is_exported_as_seg(dicom, tmp_path, study, reference, monkeypatch, folder):
    stored = (study.image.array[::-1, ::-1].transpose(2, 1, 0) + 1024).astype(np.int16)
    origin = [-v for v in (study.image.affine @ [95, 89, 0, 1])[:2]] + [float(study.image.affine[2, 3])]
    dicom.ct_series(tmp_path / "ct", stored, origin=origin, spacing=(2.25, 1.8, 3.0))
    nifti.write_mask(reference, tmp_path / "reference.nii.gz")
    case = Case("folder", "series", "series", tmp_path / "ct", (tmp_path / "reference.nii.gz",))
    made = playgrounds.playground(case, offers(folder / "weights.pt"), tmp_path / "out")
    draw_box(made, reference)
    made.controls.to_seg.click()
    (path,) = saved_files(made, ".dcm")
    back = dicom_seg.read_dicom_seg(path, images.read_image(tmp_path / "ct"), "Lung tumor", series_folder=tmp_path / "ct")
    assert np.array_equal(back.array, made._predictions[NETWORK].mask.array)
    assert np.array_equal(back.array, shown_mask(made, NETWORK, back.shape))
    made.stop()


# --- what is put together ---------------------------------------------------------------------------------------------------


def test_the_widgets_script_is_one_module_without_imports():
    lines = str(PromptCanvas._esm).splitlines()
    assert not [line for line in lines if line.startswith("import")]
    assert [line for line in lines if line.startswith("export default")] == ["export default {"]


def test_it_wants_a_case_and_a_model(folder):
    with pytest.raises(InputError, match="no case"):
        playgrounds.playground([], offers(folder / "weights.pt"))
    with pytest.raises(InputError, match="no case, or no model"):
        playgrounds.playground(case_of(folder), [])


def test_a_case_that_cannot_be_read_leaves_the_one_that_is_shown(folder, tmp_path, reference):
    broken = Case("folder", "broken", "broken", tmp_path / "nothing.nii.gz", ())
    made = playgrounds.playground([case_of(folder), broken], offers(folder / "weights.pt"), tmp_path)
    draw_box(made, reference)
    before = made.canvas.answers
    made.controls.case_choice.value = 1
    assert "no such file" in made.canvas.message["text"]
    assert made.controls.case_choice.value == 0
    assert made.canvas.answers == before
    made.stop()


def test_the_notebook_opens_it_with_what_the_smoke_profile_has(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path)  # phantoms are drawn anew; real CTs are not there
    cells = json.loads((project.project_root() / "notebooks" / "prompt_playground.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = {}
    for source in code[:-1]:
        exec(source, names)
    made = eval(code[-1], names | {"profile": "smoke"})
    assert {case.dataset for case in made.cases} == {"phantom_nsclc", "phantom_msd"}
    assert made.canvas.message["text"].startswith("A phantom")
    reference = made._case_session.reference
    draw_box(made, reference)
    assert len(made.canvas.answers) == 1
    assert not made.controls.to_seg.disabled
    made.stop()


def test_the_default_profile_offers_phantoms_and_the_real_cases_that_are_here(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path)  # also data sets that nobody can fetch are asked for
    assert [case.dataset for case in cases("phantoms", most=1)] == ["phantom_nsclc", "phantom_msd"]


def test_another_case_starts_anew(folder, tmp_path, reference):
    other = write_case(tmp_path, "RAS", seed=2)
    made = playgrounds.playground([case_of(folder), other], offers(folder / "weights.pt"), tmp_path)
    draw_box(made, reference)
    made.controls.case_choice.value = 1
    assert made.canvas.case["title"] == "chest-RAS"
    assert (made.canvas.answers, made.canvas.prompts) == ([], [])
    assert made.session.looks == ()
    draw_box(made, reference)
    study = registry.plugin("datasets", "folder").load(other)
    plain = loaded(folder / "weights.pt").segmenter
    plain.set_image(study.image)
    assert np.array_equal(shown_mask(made, NETWORK, study.image.shape), plain.predict([box_prompt(reference)]).mask.array)
    made.stop()
