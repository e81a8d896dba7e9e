"""One case with a prediction of each model of a page: who chooses it, whose run is shown, and what a public edition may show."""

import numpy as np
import pytest

from lungseg_utils.datasets import lidc_nodules
from lungseg_utils.evaluation import judges
from lungseg_utils.experiments.results import RunResult
from lungseg_utils.reporting import case_pictures, model_pictures
from lungseg_utils.types import Case, Image, Mask, Study
from tests.support.results_by_readers import PATIENTS, PROFILE, finished_experiment

AFFINE = np.eye(4)


def _ball(radius):
    x, y, z = np.ogrid[:40, :40, :40]
    return Mask((x - 20) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 < radius**2, AFFINE)


def _finished(notebook, settings):
    means = [("reference", "consensus", 0.8), ("another_reader", judges.OTHERS, 0.7)]
    return finished_experiment(notebook, means, settings)


@pytest.fixture
def asked(monkeypatch):
    """Predictions that are there, of one study; which were looked at."""
    seen = []

    def prediction(run, dataset, setting, case_id, study):
        seen.append((f"{run.experiment.model}_{run.experiment.paradigm}", setting, case_id))
        return _ball(8)

    study = Study(Image(np.zeros((40, 40, 40), np.float32), AFFINE), {"consensus": _ball(9), "reader-1": _ball(10)})
    monkeypatch.setattr(case_pictures, "is_here", lambda run: True)
    monkeypatch.setattr(RunResult, "prediction", prediction)
    monkeypatch.setattr(RunResult, "cases", lambda run, dataset: [Case(dataset, p, p, None) for p in PATIENTS])
    monkeypatch.setattr(lidc_nodules, "load", lambda case: study)
    return seen


@pytest.fixture
def ran():
    prompted = ("box_one_slice", "box_every_slice")
    runs = {name: _finished(f"litemedsam_{name}", prompted) for name in ("zero_shot", "fine_tuned")}
    runs["unet"] = _finished("unet_full", ("none", *prompted))
    for name, run in runs.items():
        run.provenance["patients"] = {**run.provenance["patients"], "train": [] if name == "zero_shot" else list(PATIENTS)}
    return {"unet": [runs["unet"]], "litemedsam": [runs["zero_shot"], runs["fine_tuned"]]}


def test_each_model_is_shown_by_its_run_with_most_labels_on_the_case_that_nobody_chose(ran, asked):
    figure, said = model_pictures.strip(ran, PROFILE)
    expected = [("unet_full", "none"), ("litemedsam_fine_tuned", "box_every_slice")]
    assert [(notebook, setting) for notebook, setting, _ in asked] == expected
    (case,) = {case for *_, case in asked}
    assert f"the case of median Dice of U-Net ({case})" in said
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    dice = 2 * _ball(8).array.sum() / (_ball(8).array.sum() + _ball(9).array.sum())
    assert titles[0] == "prompt:\na box"
    assert titles[1:3] == [f"U-Net\n{dice:.2f}", f"LiteMedSAM\n{dice:.2f}"]
    assert titles[3].startswith("one reader\n")


def test_a_public_edition_shows_no_image_that_may_not_be_passed_on(ran, asked):
    figure, said = model_pictures.strip(ran, PROFILE, public=True)
    assert "licenses" in said
    assert not figure.axes
    assert not asked


def test_where_no_prediction_is_here_a_sentence_says_so(ran):
    figure, said = model_pictures.strip(ran, PROFILE)
    assert "no picture" in said
    assert not figure.axes
