"""How a detector's probabilities become boxes, on maps drawn by hand."""

import numpy as np
import pytest

from lungseg_utils.experiments import detector
from lungseg_utils.experiments.detector import Rule, choose_rule, findings
from lungseg_utils.experiments.planning import make_experiment
from lungseg_utils.types import Mask

VOXEL_ML = 0.01


def _map(*blocks):
    """Blocks of (slices of the three axes, probability)."""
    result = np.zeros((30, 30, 10), np.float32)
    for where, value in blocks:
        result[where] = value
    return result


LARGE, MIDDLE, SMALL = np.s_[2:8, 2:8, 2:6], np.s_[15:19, 15:19, 2:5], np.s_[25:27, 25:27, 8]  # 1.44, 0.48 and 0.04 ml


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Rule(0.5, 0.03, 10), [LARGE, MIDDLE, SMALL]),
        (Rule(0.5, 0.04, 10), [LARGE, MIDDLE, SMALL]),
        (Rule(0.5, 0.05, 10), [LARGE, MIDDLE]),
        (Rule(0.5, 0.03, 1), [LARGE]),
        (Rule(0.7, 0.03, 2), [MIDDLE, SMALL]),
        (Rule(0.95, 0.03, 2), []),
    ],
)
def test_a_rule_keeps_the_largest_likely_findings(rule, kept):
    probability = _map((LARGE, 0.6), (MIDDLE, 0.9), (SMALL, 0.9))
    expected = np.zeros(probability.shape, bool)
    for where in kept:
        expected[where] = True
    assert np.array_equal(findings(probability, rule, VOXEL_ML), expected)


def test_the_rule_of_highest_mean_f1_is_found_and_the_first_of_equals_stays():
    affine = np.diag([1.0, 1.0, 10.0, 1.0])  # voxels of 0.01 ml
    reference = Mask(_map((MIDDLE, 1)) > 0, affine)
    scores = choose_rule([(reference, _map((LARGE, 0.6), (MIDDLE, 0.9)))] * 2)
    assert scores[Rule(0.7, 0.03, 1)] == 1
    assert scores[Rule(0.5, 0.03, 10)] == pytest.approx(2 / 3)
    assert scores[Rule(0.5, 0.03, 1)] == 0
    assert max(scores, key=scores.get) == Rule(0.7, 0.03, 1)


def test_each_paradigm_has_the_detector_that_saw_no_more_than_it_did():
    few = detector.detector_of(make_experiment("medsam_few_shot", "phantoms", seed=0, k=5, draw=3), "phantom_msd")
    assert (few.model, few.paradigm, few.k, few.draw) == ("unet", "few_shot", 5, 3)
    assert dict(few.options) == {"steps": 760}
    tuned = detector.detector_of(make_experiment("medsam_fine_tuned", "phantoms", seed=2, fold=1), "phantom_msd")
    assert (tuned.paradigm, tuned.seed, tuned.fold, tuned.k) == ("full", 2, 1, None)
    zero = make_experiment("medsam_zero_shot", "phantoms")
    assert not detector.applies(zero, "phantom_nsclc")
    assert detector.applies(zero, "phantom_msd")
    assert detector.applies(make_experiment("medsam_few_shot", "phantoms"), "phantom_nsclc")
