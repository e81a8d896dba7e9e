"""Which profile's results answer a question of a book."""

import pytest

from lungseg_utils.experiments import config, evidence, store
from lungseg_utils.types import InputError


@pytest.mark.parametrize(
    ("question", "profile", "answer"),
    [
        ("drawing errors", "smoke", "smoke"),  # which draws wrong prompts too
        ("drawing errors", "phantoms", "robustness"),
        ("repeated training", "seeds", "seeds"),
        ("all prompts", "phantoms", "ladder"),
        ("all prompts", "paper", "paper"),
        ("external test set", "patients", "ladder"),  # it tests cubes: whole chests are those of phantoms
        ("external test set", "quick", "ladder"),
        ("external test set", "phantoms", "phantoms"),
        ("external test set", "paper", "paper"),
        ("losses", "patients", "losses"),
        ("on a GPU", "paper", "standard"),
    ],
)
def test_a_larger_profile_answers_only_where_a_profile_has_no_answer(question, profile, answer, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "folder", lambda name: tmp_path / name)
    assert evidence.profile_for(question, profile) == answer


def test_a_book_on_patients_shows_larger_results_of_the_same_patients_as_soon_as_they_are_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "folder", lambda name: tmp_path / name)
    assert evidence.profile_for("number of labels", "patients") == "few_shot"
    (tmp_path / "claims_few_shot").mkdir()
    (tmp_path / "claims_few_shot" / "experiments.json").write_text("{}")
    assert evidence.profile_for("number of labels", "patients") == "claims_few_shot"
    assert evidence.profile_for("number of labels", "phantoms") == "few_shot"  # never other patients than its own
    assert evidence.profile_for("repeated training", "patients") == "seeds"


def test_every_profile_that_may_answer_exists():
    named = {name for asked in evidence.QUESTIONS.values() for name in (asked.on_phantoms, asked.on_patients) if name}
    assert named <= set(config.load().profiles)


def test_an_unknown_question_is_an_error():
    with pytest.raises(InputError, match="drawing errors"):
        evidence.profile_for("weather", "phantoms")
