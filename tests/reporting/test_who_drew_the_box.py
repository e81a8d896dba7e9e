"""Page "Who drew the box?": published totals, the table measured by other programs, and a nodule by hand."""

import numpy as np
import pytest

from lungseg_utils.core.masks import dsc
from lungseg_utils.data import lidc_outlines
from lungseg_utils.data.lidc_database import Annotation, Outline, Scan
from lungseg_utils.data.lidc_outlines import Nodule
from lungseg_utils.evaluation import judges
from lungseg_utils.reporting import who_drew_the_box as who

SCAN = Scan("1.2", "P", 0.5, 2.0, np.arange(0.0, 40.0, 2.0))
# mean DSC over patients judged by the drawer, another reader, two of the others; measured beforehand by three other programs
MEASURED = {
    who.READER: (1, 0.774, 0.808),
    who.ELLIPSES: (0.870, 0.744, 0.771),
    who.FILLED: (0.823, 0.707, 0.728),
    "box_3d": (0.746, 0.686, 0.707),
    "box_one_slice": (0.700, 0.649, 0.668),
    "recist_points": (0.617, 0.588, 0.596),
    "click": (0.463, 0.454, 0.462),
}


@pytest.fixture(scope="module")
def nodules():
    return lidc_outlines.nodules()


def _square(low: int, high: int, *levels: float) -> Annotation:
    points = np.array([(low, low), (high, low), (high, high), (low, high)], dtype=float)
    return Annotation(low, SCAN, 5, 3, tuple(Outline(z, points, False) for z in levels))


def test_nodules_add_up_to_the_published_totals(nodules):
    """Fedorov et al. 2020, doi:10.1002/mp.14445."""
    assert len(nodules) == 2651
    assert sum(len(nodule.annotations) for nodule in nodules) == 6859
    assert len({nodule.scan.patient_id for nodule in nodules}) == 875
    of_four = who.with_readers(nodules, 4)
    assert (len(of_four), len({nodule.scan.patient_id for nodule in of_four})) == (896, 554)


def test_the_table_equals_that_of_other_programs(nodules):
    of_four = who.with_readers(nodules, 4)
    frame = who.measured(of_four, list(MEASURED), who.median_diameter_mm(of_four))
    for answer, expected in MEASURED.items():
        for estimand, value in zip(judges.ESTIMANDS, expected, strict=True):
            assert who.by_patient(frame, answer, estimand).mean() == pytest.approx(value, abs=0.0025), (answer, estimand)
    found = who.contrasts(frame)
    assert next(iter(found.values())).mean() == pytest.approx(0.126, abs=0.001)
    assert who.summary_text(who.by_patient(frame, who.READER, judges.ANOTHER)) == "0.774 [0.767, 0.780]"
    large = who.sizes(frame)["15 mm and more"]
    assert large["nodule"].nunique() == 118
    assert next(iter(who.contrasts(large).values())).mean() == pytest.approx(0.068, abs=0.001)


def test_masks_of_a_nodule_by_hand():
    nodule = Nodule((_square(10, 14, 4.0, 6.0), _square(10, 16, 6.0)))
    first, second = nodule.masks()
    assert (first.array.sum(), second.array.sum()) == (2 * 9, 25)  # strictly inside: 3 x 3 on two slices, 5 x 5 on one
    assert first.spacing_mm == (0.5, 0.5, 2.0)
    inside = nodule.masks(outline_inside=True)
    assert inside[0].array.sum() == 2 * (9 + 4)  # the four corners are the outline's only points
    volumes_mm3 = np.array([18, 25]) * 0.5
    assert nodule.diameter_mm == pytest.approx(np.median((6 * volumes_mm3 / np.pi) ** (1 / 3)))
    assert nodule.extent_mm == 3.0


def test_a_box_that_is_filled_is_perfect_for_its_own_reader_and_not_for_the_other():
    nodule = Nodule((_square(10, 14, 4.0), _square(10, 16, 4.0)))
    rows = who.agreement(nodule, [who.FILLED, who.READER], 3.0)
    values = {(row["answer"], row["estimand"]): row["value"] for row in rows}
    assert values == pytest.approx(
        {
            (who.FILLED, judges.SELF): 1.0,
            (who.FILLED, judges.ANOTHER): 18 / 34,
            (who.READER, judges.SELF): 1.0,
            (who.READER, judges.ANOTHER): 18 / 34,
        }
    )
    assert {row["patient_id"] for row in rows} == {"P"}


def test_a_wider_margin_changes_no_value(nodules):
    """What a rule fills beyond the outlines is not cut off."""
    nodule = next(n for n in who.with_readers(nodules, 4) if n.diameter_mm > 12)
    wide = nodule.masks(3 * nodule.extent_mm)
    for name in who.answers():
        values = [judges.estimates(wide, who.predictions(wide, name, 8.0), lambda a, b: dsc(a.array, b))[judges.ANOTHER]]
        values += [row["value"] for row in who.agreement(nodule, [name], 8.0) if row["estimand"] == judges.ANOTHER]
        if name != "click_random":  # drawn by place in the array
            assert values[0] == pytest.approx(values[1]), name


def test_the_answer_gives_each_number_with_its_interval_and_n(nodules):
    frame = who.measured(who.nodules_shown("smoke")[:60], [who.READER, who.ELLIPSES], 8.0)
    four = frame[frame["readers"] == 4]
    text = who.answer(four)
    assert f"n = {four['patient_id'].nunique()} patients" in text
    assert who.summary_text(who.by_patient(four, who.ELLIPSES, judges.SELF)) in text
