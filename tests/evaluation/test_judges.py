"""Estimands S, X and H by hand."""

import numpy as np
import pytest

from lungseg_utils.core.masks import dsc
from lungseg_utils.evaluation import judges, scoring, tables
from lungseg_utils.types import Mask


def _mask(*voxels: int) -> Mask:
    array = np.zeros((6, 1, 1), dtype=bool)
    array[list(voxels)] = True
    return Mask(array, np.eye(4))


def _dsc(reference: Mask, prediction: np.ndarray) -> float:
    return dsc(reference.array, prediction)


def test_own_outlines_of_two_readers_by_hand():
    readers = [_mask(0, 1), _mask(1, 2, 3)]
    found = judges.estimates(readers, [mask.array for mask in readers], _dsc)
    assert found == pytest.approx({judges.SELF: 1.0, judges.ANOTHER: 2 / 5})  # no H: there is no second other reader


def test_predictions_of_three_readers_by_hand():
    readers = [_mask(0, 1), _mask(1, 2), _mask(1, 2, 3)]
    predictions = [_mask(0, 1, 2).array, _mask(1).array, _mask(3).array]
    found = judges.estimates(readers, predictions, _dsc)
    own = [4 / 5, 2 / 3, 2 / 4]
    another = [(4 / 5 + 4 / 6) / 2, (2 / 3 + 2 / 4) / 2, (0 + 0) / 2]
    others = [4 / 5, 2 / 2, 0]  # consensus of the two others: {1, 2}, {1}, {1}
    assert found == pytest.approx({judges.SELF: np.mean(own), judges.ANOTHER: np.mean(another), judges.OTHERS: np.mean(others)})


def test_others_who_agree_nowhere_judge_nothing():
    readers = [_mask(0), _mask(1), _mask(2)]
    assert set(judges.estimates(readers, [mask.array for mask in readers], _dsc)) == {judges.SELF, judges.ANOTHER}
    assert [j.estimand for j in judges.judgments(readers)] == [judges.SELF, judges.ANOTHER] * 3
    assert set(judges.estimates(readers[:1], [readers[0].array], _dsc)) == {judges.SELF}


def test_scores_by_others_have_a_row_for_each_estimand_and_no_lesions():
    readers = [_mask(0, 1), _mask(1, 2, 3), _mask(1, 2)]
    given = [judgment for judgment in judges.judgments_of(readers, 0) if judgment.estimand != judges.SELF]
    keys = {"experiment": "e", "test_dataset": "d", "prompter": "none", "source": "another_reader", "jitter": 0.0}
    rows = scoring.score_judgments(keys | {"patient_id": "p", "case_id": "c"}, given, _mask(1, 2))
    found = {row["reader"]: row["value"] for row in rows if row["metric"] == "dsc"}
    assert found == pytest.approx({judges.ANOTHER: (4 / 5 + 1) / 2, judges.OTHERS: 1.0})
    assert {row["lesion_id"] for row in rows} == {""}
    tables.results_frame(rows)
