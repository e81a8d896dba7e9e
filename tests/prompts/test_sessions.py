"""What people said: sessions as JSON, refused on another case or grid, and as a prompt setting beside the simulated ones."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lungseg_utils import registry
from lungseg_utils.core import project
from lungseg_utils.core.masks import dsc
from lungseg_utils.evaluation import tables
from lungseg_utils.experiments import interaction, load, recorded_sessions, results
from lungseg_utils.prompts import ladder, sessions
from lungseg_utils.prompts.sessions import AskedModel, Interaction, RecordedPrediction, Session
from lungseg_utils.reporting.ladder import ladder_figure, ladder_table, printable_settings
from lungseg_utils.types import Box, Experiment, InputError, Mask, Points, Prompt, SlicePrompt
from lungseg_utils.viewers.playground.offers import models
from tests.support.sample_playground import corners, largest_slice, sample_study, small_segmenter, trivial, write_case


@pytest.fixture(scope="module")
def study():
    return sample_study()


@pytest.fixture(scope="module")
def reference(study):
    return study.references["reference"]


@pytest.fixture(scope="module")
def session(reference) -> Session:
    k = largest_slice(reference)
    (i0, j0), (i1, j1) = corners(reference, k)
    box = SlicePrompt(k, box=Box((i0, j0, k), (i1 + 1, j1 + 1, k + 1)))
    first = Prompt(1, (box,), actions=1)
    second = Prompt(1, (replace(box, points=Points(((i0, j0, k),), (0,))),), find_ends=True, actions=2)
    answer = RecordedPrediction("trivial", 1.5, 0.8, "a" * 64)
    return Session(
        dataset="folder",
        case_id="chest-LPS",
        shape=tuple(reference.shape),
        affine=tuple(tuple(float(v) for v in row) for row in reference.affine),
        reference_sha256=sessions.sha256_of_mask(reference),
        started="2026-01-31T10:00:00+00:00",
        saw_scores=True,
        saw_reference=False,
        models=(AskedModel("trivial: ellipse or ball", "trivial", "none"),),
        looks=(
            Interaction("box", 2.5, (first,), (answer,)),
            Interaction("clear", 3.0, ()),
            Interaction("click", 9.25, (second,), (answer,)),
        ),
    )


def test_a_session_survives_as_a_file(session, tmp_path):
    sessions.write(session, tmp_path / "s" / "session.json")
    back = sessions.read(tmp_path / "s" / "session.json")
    assert back == session
    assert back.prompts == session.looks[-1].prompts
    assert back.seconds == 9.25


def test_the_schema_is_one_and_describes_every_field(session):
    from jsonschema import Draft202012Validator

    schema = json.loads(Path(sessions.__file__).with_name("session.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(sessions.to_json(session)) == set(schema["required"])


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (lambda r: r.pop("affine"), "affine"),
        (lambda r: r.update(format=2), "format"),
        (lambda r: r.update(extra=1), "extra"),
        (lambda r: r["looks"][0].update(seconds=-1), "looks/0/seconds"),
        (lambda r: r["looks"][0].update(action="jump"), "looks/0/action"),
        (lambda r: r["looks"][2]["prompts"][0].pop("slices"), "look 3"),
        (lambda r: r["looks"][2]["prompts"][0]["slices"][0].update(box=[5, 5, 1, 2]), "look 3"),
        (lambda r: r.update(shape=[1, 2]), "shape"),
    ],
)
def test_what_is_no_session_is_refused_with_the_place(session, tmp_path, edit, fault):
    record = json.loads(json.dumps(sessions.to_json(session)))
    edit(record)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=fault) as caught:
        sessions.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json"):
        sessions.read(tmp_path / "x.json")
    with pytest.raises(InputError, match="cannot be read"):
        sessions.read(tmp_path / "none.json")


def test_another_case_and_another_grid_are_refused(session, study):
    image = study.image
    sessions.require_case(session, "folder", "chest-LPS", image)
    with pytest.raises(InputError, match="folder/chest-LPS, not on folder/other"):
        sessions.require_case(session, "folder", "other", image)
    with pytest.raises(InputError, match="another grid"):
        sessions.require_case(replace(session, shape=(96, 90, 23)), "folder", "chest-LPS", image)
    moved = np.array(session.affine)
    moved[2, 3] += 0.5
    with pytest.raises(InputError, match="another grid"):
        sessions.require_case(replace(session, affine=tuple(map(tuple, moved))), "folder", "chest-LPS", image)


def test_the_hash_of_a_mask_knows_voxels_and_grid(reference):
    here = sessions.sha256_of_mask(reference)
    assert here == sessions.sha256_of_mask(Mask(reference.array.copy(order="F"), reference.affine))
    other = reference.array.copy()
    other[0, 0, 0] = True
    moved = reference.affine.copy()
    moved[0, 3] += 0.01
    assert len({here, sessions.sha256_of_mask(Mask(other, reference.affine)), sessions.sha256_of_mask(Mask(reference.array, moved))}) == 3


# --- the prompt setting ---------------------------------------------------------------------------------------------------------


def test_a_person_stands_on_the_ladder_like_any_prompter(session, study, reference):
    segmenter = trivial().segmenter
    with sessions.on_the_ladder([session]):
        prediction, actions = interaction.run_interaction(segmenter, study, reference, "recorded", np.random.default_rng(0))
        jittered, _ = interaction.run_interaction(segmenter, study, reference, "recorded", np.random.default_rng(0), jitter=0.2)
        card = ladder.prompt_setting("recorded")
    segmenter.set_image(study.image)
    assert np.array_equal(prediction.mask.array, segmenter.predict(session.prompts).mask.array)
    assert actions == 2
    assert not np.array_equal(jittered.mask.array, prediction.mask.array)
    assert "scores were shown" in card.leaks
    with pytest.raises(InputError, match="unknown"):
        ladder.prompt_setting("recorded")


def test_a_case_without_a_session_is_named(session, study):
    other = Mask(np.roll(study.references["reference"].array, 1, axis=0), study.image.affine)
    with sessions.on_the_ladder([session]), pytest.raises(InputError, match="folder/chest-LPS"):
        interaction.run_interaction(trivial().segmenter, study, other, "recorded", np.random.default_rng(0))


def test_two_sessions_of_one_case_are_refused(session):
    with pytest.raises(InputError, match="one session per case"):
        sessions.card([session, replace(session, started="2026-02-01T10:00:00+00:00")])


@pytest.fixture
def result(tmp_path, monkeypatch):
    """A finished experiment, as far as it is needed, and its data set on disk."""
    write_case(tmp_path)
    table = tmp_path / "cases.csv"
    table.write_text("case_id,image,reference\nchest-LPS,chest.nii.gz,reference.nii.gz\n")
    monkeypatch.setattr(recorded_sessions.cohorts, "dataset_root", lambda dataset, size: table)
    monkeypatch.setattr(load, "segmenter_of", lambda experiment: small_segmenter())
    empty = tables.results_frame([]), tables.costs_frame([])
    experiment = Experiment("smoke", "none", "sam_stand_in", "zero_shot", options=(("pretraining", "random"),))
    provenance = {"patients": {"train": [], "validation": []}}
    return results.RunResult(experiment, tmp_path, *empty, pd.DataFrame(), provenance)


def test_sessions_become_rows_like_those_of_other_settings(result, session, reference):
    more = recorded_sessions.with_sessions(result, [session])
    tables.validate(more.results)
    keys = {"experiment": result.experiment.name, "test_dataset": "folder", "prompter": "recorded", "source": "recorded"}
    tables.require_complete(more.results, [keys | {"jitter": 0.0, "case_id": "chest-LPS"}])
    segmenter = small_segmenter()
    segmenter.set_image(sample_study().image)
    wanted = dsc(reference.array, segmenter.predict(session.prompts).mask.array)
    assert tables.case_values(more.asked("recorded"), "dsc")["value"].tolist() == [wanted]
    costs = more.costs.set_index("quantity")["value"]
    assert (costs["actions"], costs["drawing"]) == (2, 9.25)
    assert len(result.results) == 0


def test_tables_and_figures_of_the_ladder_show_the_setting(result, session):
    more = recorded_sessions.with_sessions(result, [session])
    with sessions.on_the_ladder([session]):
        table = ladder_table([more], "folder")
        ladder_figure(table, [more.experiment.name])
        printed = printable_settings(table)
    assert table["setting"].tolist() == ["recorded"]
    assert table["dsc"].tolist() == tables.case_values(more.asked("recorded"), "dsc")["value"].tolist()
    assert "prompts of a person" in printed.to_string()


def test_a_session_of_a_case_that_is_not_there_or_has_changed_is_refused(result, session):
    with pytest.raises(InputError, match="folder/other is not among"):
        recorded_sessions.with_sessions(result, [replace(session, case_id="other")])
    with pytest.raises(InputError, match="another grid"):
        recorded_sessions.with_sessions(result, [replace(session, shape=(96, 90, 23))])
    assert "recorded" not in ladder.PROMPT_SETTINGS


# --- what a playground offers -------------------------------------------------------------------------------------------


def test_what_is_offered_has_the_titles_that_stand_beside_numbers_and_no_published_name():
    offers = models("phantoms")
    experiments = {offer.experiment for offer in offers}
    assert len(experiments) == len(offers)
    titles = [offer.title for offer in offers]
    assert any(title.startswith("SAM-type stand-in") for title in titles)
    assert any(title.startswith("trivial") for title in titles)
    for offer in offers:
        model = offer.experiment.split("__")[1]
        assert offer.title.startswith(("trivial: ", registry.card("models", model).title))
        assert model in ("sam_stand_in", "sam2_stand_in", "trivial", "unet_prompted")


def test_a_model_that_is_not_trained_says_so_when_it_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "project_root", lambda: tmp_path)
    experiment = SimpleNamespace(profile="phantoms", name="never", model="sam_stand_in", paradigm="fine_tuned", options=())
    with pytest.raises(InputError, match="not finished"):
        load.segmenter_of(experiment)
