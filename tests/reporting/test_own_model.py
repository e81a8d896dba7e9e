"""The command `evaluate`: what is refused before any work, and the table beside what was asked the same."""

import pytest

from lungseg_utils import __main__
from lungseg_utils.core import project
from lungseg_utils.experiments import config, planning, run
from lungseg_utils.reporting import own_model
from lungseg_utils.types import InputError
from tests.support.sample_results import result_of, values_around
from tests.support.worked_examples import block


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"weights")
    return tmp_path / "mine.pth"


def _request(checkpoint, **more):
    given = {"dataset": "phantom_nsclc", "trained_on": "unknown", "prompters": ["box_one_slice"], "profile": "phantoms"}
    return own_model.request(f"medsam:{checkpoint}", **given | more)


def test_every_kind_of_the_registry_can_be_asked():
    assert {"nnunet", "monai", "sam", "medsam", "sam2", "litemedsam"} <= set(own_model.kinds())


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("vnet:{}", {}, "KIND is one of .*nnunet"),
        ("{}", {}, "no model of the form KIND:PATH"),
        ("medsam:{}.gone", {}, r"mine\.pth\.gone: no such file"),
        ("medsam:{}", {"dataset": "atlantis"}, "atlantis"),
        ("medsam:{}", {"prompters": ["telepathy"]}, "telepathy"),
        ("medsam:{}", {"prompters": ["click"]}, "does not take this prompt setting"),
        ("medsam:{}", {"trained_on": " "}, "not said what this model was trained on"),
        ("medsam:{}", {"options": ["window"]}, "NAME=VALUE"),
        ("medsam:{}", {"options": ["windows=3"]}, "no option windows"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(checkpoint, model, changes, message, monkeypatch):
    monkeypatch.setattr(run, "run", lambda *_, **__: pytest.fail("something was run"))
    given = {"dataset": "phantom_nsclc", "trained_on": "balls", "prompters": ["box_one_slice"], "profile": "phantoms"} | changes
    with pytest.raises(InputError, match=message):
        own_model.request(model.format(checkpoint), **given)


def test_a_row_says_what_its_owner_says_and_that_unknown_data_may_hold_the_test_patients(checkpoint):
    said = planning.experiment_title(
        _request(checkpoint, trained_on="MSD Task06", name="Ours", options=["window_hu=[-910, 590]"]).experiment
    )
    assert said == "Ours (own MedSAM), W1500 L-160, trained elsewhere on MSD Task06"
    unknown = planning.experiment_title(_request(checkpoint).experiment)
    assert unknown == "mine.pth (own MedSAM), W400 L40, trained elsewhere on unknown data (it may have seen the test patients)"


def test_the_table_pairs_the_model_with_the_best_rule_and_all_that_was_asked_the_same(checkpoint):
    asked = _request(checkpoint)
    own = _of(asked.experiment, 0.70)
    rules = [_of(e, mean) for e, mean in zip(planning.planned_runs("baselines_zero_shot", "phantoms"), (0.55, 0.60), strict=True)]
    medsam = _of(planning.make_experiment("medsam_zero_shot", "phantoms"), 0.80)
    table = own_model.comparison(own, [*rules, medsam], asked)
    assert table["role"].tolist() == [own_model.OWN, "", own_model.BEST_TRIVIAL, ""]
    assert table["method"].iloc[2] == "trivial: Otsu threshold"
    assert set(table["n"]) == {len(values_around(0.5))}
    assert table["difference"].tolist() == pytest.approx([0, -0.10, 0.10, 0.15], abs=1e-9)
    assert (table["dsc_low"] < table["dsc"]).all()
    shown = own_model.in_words(table)
    assert "best answer without a network" in shown
    assert "it may have seen the test patients" in shown


def _of(experiment, mean):
    return result_of(experiment, {("box_one_slice", 0.0): values_around(mean)})


def test_the_line_of_the_page_is_an_experiment_and_a_wrong_option_is_named(tmp_path, checkpoint):
    text, line = (project.project_root() / "experiments.yml").read_text(), block("extend.md", "own-line")
    (tmp_path / "experiments.yml").write_text(text + line)
    grid = config.load(tmp_path / "experiments.yml")
    assert grid.experiment("my_nnunet").options["trained_on"] == "MSD Task06"
    (tmp_path / "wrong.yml").write_text(text + line.replace("path:", "pat:"))
    with pytest.raises(InputError, match="own_nnunet has no option pat"):
        config.load(tmp_path / "wrong.yml")


def test_the_command_says_what_is_wrong(checkpoint, capsys):
    command = ["evaluate", "--model", "vnet:x", "--trained-on", "x", "--dataset", "phantom_nsclc"]
    assert __main__.main(command) == 2
    assert "KIND is one of" in capsys.readouterr().err
