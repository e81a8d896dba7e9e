"""nnInteractive: the adapter's masks are those of the package's own session that is called by hand with the same prompts."""

import sys
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch

from lungseg_utils import registry
from lungseg_utils.core import project
from lungseg_utils.experiments import initial_weights
from lungseg_utils.prompts import ladder
from lungseg_utils.types import Image, InputError, Mask, PretrainedSegmenter
from tests.support import published_folders

session_module = pytest.importorskip("nnInteractive.inference.inference_session", reason="nninteractive is not installed")
MODEL = registry.model("nninteractive")
OPTIONS = {**MODEL.CARD.options, "device": "cpu", "autozoom": False}  # which takes seconds; one test zooms
SHAPE, SPACING = (30, 26, 14), (2.0, 2.0, 2.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return published_folders.nninteractive(tmp_path_factory.mktemp("weights") / "nnInteractive_v1.0")


@pytest.fixture(scope="module")
def scan():
    """A bright body off the middle of every axis, so that a turned or exchanged axis shows."""
    inside = np.zeros(SHAPE, bool)
    inside[4:12, 14:19, 3:8] = True
    hu = np.where(inside, 60.0, -750.0) + np.random.default_rng(0).normal(0, 40, SHAPE)
    affine = np.diag([*SPACING, 1.0])
    return Image(hu, affine), Mask(inside, affine)


def _segmenter(folder, **options):
    segmenter = MODEL.build({**OPTIONS, **options})
    segmenter.load_pretrained(folder)
    return segmenter


def _stored(array):
    """(x, y, z) in RAS+ as SimpleITK reads a common CT (LPS): written out here, not taken from the package."""
    return np.ascontiguousarray(np.transpose(array[::-1, ::-1, :], (2, 1, 0)))


def _by_hand(folder, image, *interactions, zooms=False):
    """The session's own answer to some calls of it, (x, y, z)."""
    np.random.seed(0)  # noqa: NPY002  # the session draws from numpy's global generator
    with redirect_stdout(StringIO()):
        session = session_module.nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=1, do_autozoom=zooms)
        session.initialize_from_trained_model_folder(str(folder))
        session.set_image(_stored(image.array)[None])
        target = torch.zeros(SHAPE[::-1], dtype=torch.uint8)
        session.set_target_buffer(target)
        for method, place, *inside in interactions:
            getattr(session, method)(place, *(inside or [True]))
    return np.transpose(target.numpy() > 0, (2, 1, 0))[::-1, ::-1, :]


def _ask(segmenter, image, mask, setting):
    segmenter.set_image(image)
    prompts = next(ladder.prompt_setting(setting).make(mask, np.random.default_rng(0)))
    return prompts, segmenter.predict(prompts)


def test_a_box_on_a_slice_is_the_sessions_box(folder, scan):
    prompts, answer = _ask(_segmenter(folder), *scan, "box_one_slice")
    index = prompts[0].slices[0].index
    by_hand = _by_hand(folder, scan[0], ("add_bbox_interaction", [[index, index + 1], [26 - 19, 26 - 14], [30 - 12, 30 - 4]]))
    assert by_hand.any()
    assert not by_hand.all()
    assert np.array_equal(answer.mask.array, by_hand)
    assert answer.probability is None
    assert answer.seconds > 0


def test_it_zooms_out_as_the_session_does_with_the_same_draws(tmp_path, scan, monkeypatch):
    monkeypatch.setattr(session_module.nnInteractiveInferenceSession, "MAX_AUTOZOOM_FACTOR", 1.5)  # of 4, which takes half a minute
    folder = published_folders.nninteractive(tmp_path / "zooms", side=56)
    segmenter = _segmenter(folder, autozoom=True)
    np.random.seed(7)  # noqa: NPY002
    prompts, answer = _ask(segmenter, *scan, "box_one_slice")
    went_on = np.random.randint(10**6)  # noqa: NPY002
    assert went_on == np.random.RandomState(7).randint(10**6)  # where it was before the answer
    index = prompts[0].slices[0].index
    by_hand = _by_hand(folder, scan[0], ("add_bbox_interaction", [[index, index + 1], [7, 12], [18, 26]]), zooms=True)
    assert np.array_equal(answer.mask.array, by_hand)


def test_boxes_on_all_slices_are_given_in_turn_and_cut_the_answer_to_what_they_span(folder, scan):
    prompts, answer = _ask(_segmenter(folder), *scan, "box_every_slice")
    assert [slice_prompt.index for slice_prompt in prompts[0].slices] == [3, 4, 5, 6, 7]
    boxes = [("add_bbox_interaction", [[k, k + 1], [7, 12], [18, 26]]) for k in range(3, 8)]
    by_hand = _by_hand(folder, scan[0], *boxes)
    assert by_hand[:, :, :3].any()
    assert np.array_equal(answer.mask.array[:, :, 3:8], by_hand[:, :, 3:8])
    assert not answer.mask.array[:, :, :3].any()
    assert not answer.mask.array[:, :, 8:].any()


def test_a_click_is_a_point_and_a_further_one_outside_excludes(folder, scan):
    image, mask = scan
    segmenter = _segmenter(folder)
    prompts, answer = _ask(segmenter, image, mask, "click")
    (i, j, k), *_ = prompts[0].slices[0].points.ijk
    first = ("add_point_interaction", (k, 25 - j, 29 - i))
    assert np.array_equal(answer.mask.array, _by_hand(folder, image, first))
    prompter = ladder.prompt_setting("clicks_2").make(mask, np.random.default_rng(0))
    next(prompter)
    more = prompter.send(answer)
    points = [(ijk, label) for part in more[0].slices for ijk, label in zip(part.points.ijk, part.points.labels, strict=True)]
    assert len(points) == 2
    again = segmenter.predict(more).mask.array
    both = [("add_point_interaction", (k, 25 - j, 29 - i), bool(label)) for (i, j, k), label in points]
    assert np.array_equal(again, _by_hand(folder, image, *both))


def test_a_line_is_a_scribble_on_its_slice_or_three_points(folder, scan):
    image, mask = scan
    prompts, answer = _ask(_segmenter(folder), image, mask, "recist_points")
    (first, last, middle), index = prompts[0].slices[0].points.ijk, prompts[0].slices[0].index
    drawn = np.zeros(SHAPE, np.uint8)
    for share in np.linspace(0, 1, 400):  # all voxels whose center is within one voxel of the line: it is two thick
        at = np.array(first[:2]) + share * (np.array(last[:2]) - first[:2])
        near = np.linalg.norm(np.stack(np.indices(SHAPE[:2]), -1) - at, axis=-1) <= 1.0
        drawn[:, :, index] |= near.astype(np.uint8)
    assert np.array_equal(answer.mask.array, _by_hand(folder, image, ("add_scribble_interaction", _stored(drawn))))
    _, by_points = _ask(_segmenter(folder, lines="points"), image, mask, "recist_points")
    clicks = [("add_point_interaction", (k, 25 - j, 29 - i)) for i, j, k in (first, last, middle)]
    assert np.array_equal(by_points.mask.array, _by_hand(folder, image, *clicks))
    assert not np.array_equal(by_points.mask.array, answer.mask.array)


def test_a_box_in_3d_is_its_middle_for_weights_that_take_none_else_the_box(folder, scan, tmp_path):
    _, answer = _ask(_segmenter(folder), *scan, "box_3d")
    middle = _by_hand(folder, scan[0], ("add_bbox_interaction", [[5, 6], [7, 12], [18, 26]]))
    assert np.array_equal(answer.mask.array[:, :, 3:8], middle[:, :, 3:8])
    assert not answer.mask.array[:, :, 8:].any()
    able = published_folders.nninteractive(tmp_path / "able", boxes_in_3d=True)
    _, answer = _ask(_segmenter(able), *scan, "box_3d")
    whole = _by_hand(able, scan[0], ("add_bbox_interaction", [[3, 8], [7, 12], [18, 26]]))
    assert np.array_equal(answer.mask.array[:, :, 3:8], whole[:, :, 3:8])


def test_an_answer_does_not_depend_on_what_was_asked_before_and_two_lesions_are_united(folder, scan):
    image, mask = scan
    segmenter = _segmenter(folder)
    _, alone = _ask(segmenter, image, mask, "click")
    _ask(segmenter, image, mask, "box_one_slice")
    assert np.array_equal(_ask(segmenter, image, mask, "click")[1].mask.array, alone.mask.array)
    two = mask.array.copy()
    two[22:26, 3:7, 9:12] = True
    prompts, both = _ask(segmenter, image, Mask(two, mask.affine), "click")
    parts = [segmenter.predict((prompt,)).mask.array for prompt in prompts]
    assert len(parts) == 2
    assert np.array_equal(both.mask.array, parts[0] | parts[1])
    assert not segmenter.predict(()).mask.array.any()


def test_the_session_gets_hu_without_a_window_and_the_number_of_threads_stays(folder, scan, monkeypatch):
    image, mask = scan
    given, threads = [], torch.get_num_threads()
    own = session_module.nnInteractiveInferenceSession.set_image
    monkeypatch.setattr(
        session_module.nnInteractiveInferenceSession,
        "set_image",
        lambda self, array, *more: (given.append(array.copy()), own(self, array, *more)),
    )
    _ask(_segmenter(folder), image, mask, "click")
    assert np.array_equal(given[0][0], _stored(image.array))
    assert torch.get_num_threads() == threads


def test_it_is_a_row_with_its_license_and_counts_its_parameters(folder):
    segmenter = _segmenter(folder)
    assert isinstance(segmenter, PretrainedSegmenter)
    numbers = segmenter.parameters()
    assert numbers["parameters"] == sum(p.numel() for p in segmenter._session.network.parameters())
    assert numbers["parameters_trained"] == 0
    assert "CC BY-NC-SA 4.0" in MODEL.CARD.license
    assert MODEL.CHECKPOINTS[0].license == "CC BY-NC-SA 4.0"


def test_weights_that_are_not_here_or_not_whole_say_where_to_get_them(tmp_path, monkeypatch, folder):
    (tmp_path / "experiments.yml").touch()  # a project without weights
    monkeypatch.setenv("LUNGSEG_ROOT", str(tmp_path))
    with pytest.raises(InputError, match=r"not here \(CC BY-NC-SA 4\.0.*huggingface\.co/MIC-DKFZ/nnInteractive.*into \S+weights"):
        initial_weights.initial_weights("nninteractive", OPTIONS)
    placed = initial_weights.place(MODEL.CHECKPOINTS[0])
    placed.mkdir(parents=True)
    with pytest.raises(InputError, match=r"lacks plans\.json, dataset\.json"):
        initial_weights.initial_weights("nninteractive", OPTIONS)
    placed.rmdir()
    placed.symlink_to(folder)
    assert initial_weights.initial_weights("nninteractive", OPTIONS) == placed
    before = initial_weights.sha256("nninteractive", OPTIONS, placed)
    other = published_folders.nninteractive(tmp_path / "other", seed=1)
    placed.unlink()
    placed.symlink_to(other)
    assert initial_weights.sha256("nninteractive", OPTIONS, placed) != before
    assert str(project.cache_root()) in str(placed)


def test_a_folder_that_is_none_and_a_missing_package_are_named(tmp_path, folder, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: nnInteractive cannot load it \(FileNotFoundError"):
        _segmenter(tmp_path / "empty")
    harmful = published_folders.nninteractive(tmp_path / "harmful")
    torch.save({"network_weights": Harm()}, harmful / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(InputError, match="UnpicklingError"):
        _segmenter(harmful)
    with pytest.raises(InputError, match="Choose one of scribble"):
        MODEL.build({**OPTIONS, "lines": "lasso"})
    untold = MODEL.build(OPTIONS)
    untold.set_image(Image(np.zeros((4, 4, 4)), np.eye(4)))
    with pytest.raises(InputError, match="no weights yet"):
        untold.predict(())
    monkeypatch.setitem(sys.modules, "nnInteractive.inference.inference_session", None)
    with pytest.raises(InputError, match=r"not installed.*--no-deps nninteractive==2\.6\.0"):
        _segmenter(folder)


class Harm:
    """A pickle of it would run code when it is read."""

    def __reduce__(self):
        return (print, ("code was run",))
