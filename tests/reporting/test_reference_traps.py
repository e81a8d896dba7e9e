"""Traps of the reference on nodules by hand, and the numbers measured beforehand by other programs."""

import numpy as np
import pytest

from lungseg_utils.data.lidc_database import Annotation, Outline, Scan
from lungseg_utils.data.lidc_outlines import Nodule
from lungseg_utils.reporting import reference_traps as traps
from lungseg_utils.reporting import who_drew_the_box as who

SCAN = Scan("1.2", "P", 0.5, 2.0, np.arange(0.0, 40.0, 2.0))


def _square(low: int, high: int) -> Annotation:
    """Outlined along all pixels of its border, so that its inside has two pixels fewer a side."""
    side = range(low, high)
    points = [(x, low) for x in side] + [(high, y) for y in side] + [(x, high) for x in reversed(range(low + 1, high + 1))]
    points += [(low, y) for y in reversed(range(low, high + 1))]
    return Annotation(low, SCAN, 5, 3, (Outline(4.0, np.array(points, dtype=float), False),))


def test_one_nodule_by_hand():
    row = traps.measure(Nodule((_square(10, 14), _square(10, 16))))  # 3 x 3 and 5 x 5 pixels, with their outlines 5 x 5 and 7 x 7
    assert row[traps.OUTLINE_OUT] == pytest.approx(2 * 9 / (9 + 25))
    assert row[traps.OUTLINE_IN] == pytest.approx(2 * 25 / (25 + 49))
    assert row[traps.BOTH_READINGS] == pytest.approx((2 * 9 / (9 + 25) + 2 * 25 / (25 + 49)) / 2)
    assert (row["reader_overlap"], row["reader_total"]) == (2 * 9, 2 * (9 + 25))
    assert row[traps.SAME_JUDGE] > row[traps.ELLIPSE]
    assert row["patient_id"] == "P"


def test_pooling_lets_a_large_nodule_decide_and_patients_weigh_alike():
    frame = traps.measured([Nodule((_square(10, 14), _square(10, 16))), Nodule((_square(10, 40), _square(10, 40)))], workers=1)
    frame["patient_id"] = ["small", "large"]
    table = traps.printable(frame).set_index(["trap", "what is scored"])
    pooled = table.loc[("voxels are pooled over patients", "a reader's outline, judged by another")]
    small, large = 18 / 34, 1.0
    assert pooled["Dice, this project"] == f"{(small + large) / 2:.3f}"
    assert pooled["Dice, the trap"] == f"{2 * (18 + 2 * 29**2) / (68 + 4 * 29**2):.3f}"
    assert pooled["n"] == 2


def test_readings_of_the_collection_as_measured_by_other_programs():
    """A tenth of the nodules, so the values are near those of all of them: 0.81, 0.774 to 0.799, and 0.744 to 0.870."""
    table = traps.printable(traps.measured(who.with_readers(who.nodules_shown("smoke"), 4)))
    found = table[["Dice, this project", "Dice, the trap"]].astype(float).to_numpy()
    assert found[0] == pytest.approx([1, 0.81], abs=0.02)
    assert found[1] == pytest.approx([0.774, 0.799], abs=0.02)
    assert found[2] == pytest.approx([0.744, 0.870], abs=0.02)
