"""Protocols: each value is derived by hand from boxes of a few voxels."""

import numpy as np
import pytest

from lungseg_utils.core import masks
from lungseg_utils.evaluation import protocols
from lungseg_utils.evaluation.protocols import CaseMasks
from lungseg_utils.types import InputError


def _boxes(shape, *boxes):
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        mask[tuple(slice(*side) for side in box)] = True
    return mask


# Two patients, 10 slices of 8 x 8 each, areas of 4 voxels (2 x 2) or 8 (4 x 2).
#
#   slice        0 1 2 3 4 5 6 7 8 9
#   A reference  . 4 4 4 4 . . . . .    |R| = 16
#   A prediction . . 4 4 8 4 . . . .    |P| = 20, |R∩P| = 12
#     DSC        1 0 1 1 ⅔ 0 1 1 1 1    of the slice: 2·4 / (4 + 8) = ⅔
#   B reference  . . . . . 8 . . . .    |R| = 8
#   B prediction . . . . . . . . . .    missed
#     DSC        1 1 1 1 1 0 1 1 1 1
SHAPE = (8, 8, 10)
A = CaseMasks(
    "A",
    _boxes(SHAPE, ((2, 4), (2, 4), (1, 5))),
    (_boxes(SHAPE, ((2, 4), (2, 4), (2, 6)), ((4, 6), (2, 4), (4, 5))),),
)
B = CaseMasks("B", _boxes(SHAPE, ((2, 6), (2, 4), (5, 6))), (_boxes(SHAPE),))
TUMOR_FREE = CaseMasks("C", _boxes(SHAPE), (_boxes(SHAPE, ((0, 8), (0, 8), (0, 5))),))
DSC_A = 2 * 12 / (16 + 20)


@pytest.mark.parametrize(
    ("protocol", "value", "n", "unit", "share"),
    [
        (protocols.volume, (DSC_A + 0) / 2, 2, "patients", 1),
        (protocols.nothing_ignored, (DSC_A + 0) / 2, 2, "patients", 1),
        # A's slices 1 to 4 and B's slice 5: 0, 1, 1, 2/3 and 0
        (protocols.tumor_slices, (8 / 3) / 5, 5, "slices", 5 / 20),
        (protocols.tumor_slices_by_patient, ((8 / 3) / 4 + 0) / 2, 2, "patients", 5 / 20),
        # A: slices 0 and 6 to 9 are empty on both sides; B: nine slices are
        (protocols.all_slices, (5 + 8 / 3 + 9) / 20, 20, "slices", 1),
        (protocols.all_slices_by_patient, ((5 + 8 / 3) / 10 + 9 / 10) / 2, 2, "patients", 1),
        (protocols.pooled_voxels, 2 * 12 / (16 + 8 + 20), 2, "patients", 1),
        (protocols.detected_only, DSC_A, 1, "patients", 1 / 2),
        (protocols.answered_only, DSC_A, 1, "patients", 1 / 2),
        # no area has 100 pixels and no lesion 1000 voxels
        (protocols.large_areas, np.nan, 0, "slices", 0),
        (protocols.large_lesions, np.nan, 0, "patients", 0),
        # 256 is 32 times 8: every pixel becomes 1024 equal ones
        (protocols.resized_grid, DSC_A / 2, 2, "patients", 1),
        # A without its slice 5: |P| = 16
        (protocols.cropped_to_reference, (2 * 12 / (16 + 16) + 0) / 2, 2, "patients", 5 / 20),
        (protocols.best_of_several, DSC_A / 2, 2, "patients", 1),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_value_n_and_slices_by_hand(protocol, value, n, unit, share):
    found = protocol([A, TUMOR_FREE, B])
    assert found.value == pytest.approx(value, nan_ok=True)
    assert (found.n, found.unit_of_n) == (n, unit)
    assert found.slices_scored_share == pytest.approx(share)


def test_every_protocol_is_tested_above_and_has_a_name_and_a_formula_of_its_own():
    marks = test_value_n_and_slices_by_hand.pytestmark
    assert {row[0] for mark in marks for row in mark.args[1]} == set(protocols.PROTOCOLS)
    values = [protocol([A]) for protocol in protocols.PROTOCOLS]
    assert len({v.name for v in values}) == len({v.formula for v in values}) == len(protocols.PROTOCOLS)
    assert all(v.formula and "\n" not in v.formula for v in values)


def test_our_own_protocol_alone_knows_the_ignore_region():
    ignore = _boxes(SHAPE, ((4, 6), (2, 4), (4, 6)), ((2, 4), (2, 4), (4, 5)))  # 8 voxels, and 4 that are target
    case = CaseMasks("A", A.reference, A.predictions, ignore)
    found = {value.name: value for value in protocols.all_protocols([case])}
    own = protocols.volume([case])
    assert own.value == pytest.approx(2 * 12 / (16 + 16))  # of P's 20 voxels the 4 beside the tumor in slice 4 are not judged
    assert next(iter(found)) == own.name
    assert protocols.nothing_ignored([case]).value == found["voxels of all patients pooled"].value == pytest.approx(DSC_A)
    assert "3-D, nothing is ignored" not in {value.name for value in protocols.all_protocols([A])}
    with pytest.raises(InputError, match="A: "):
        CaseMasks("A", A.reference, A.predictions, ignore[:4])


def test_several_cases_of_a_patient_are_one_patient():
    # patient A has A's DSC and 0: mean 1/3; pooling slices does not care whose they are
    again = CaseMasks("A", B.reference, B.predictions)
    assert protocols.volume([A, again, B]).value == pytest.approx((DSC_A / 2 + 0) / 2)
    assert protocols.volume([A, again, B]).n == 2
    assert protocols.tumor_slices([A, again]).value == protocols.tumor_slices([A, B]).value
    assert protocols.tumor_slices_by_patient([A, again]).value == pytest.approx((8 / 3) / 5)


def test_an_answer_that_misses_is_answered_but_not_detected():
    beside = CaseMasks("B", B.reference, (_boxes(SHAPE, ((6, 8), (6, 8), (5, 6))),))
    assert (protocols.detected_only([A, beside]).n, protocols.answered_only([A, beside]).n) == (1, 2)
    assert protocols.answered_only([A, beside]).value == pytest.approx(DSC_A / 2)


def test_small_lesions_are_left_out_with_what_was_predicted_for_them_alone():
    # reference: one lesion of 10³ = 1000 voxels, one of 3³ = 27; prediction: half of the large one, all and more of the small one (4³),
    # and an island of 8 voxels that touches neither and stays a false positive
    shape = (30, 12, 12)
    reference = _boxes(shape, ((0, 10), (0, 10), (0, 10)), ((20, 23), (0, 3), (0, 3)))
    answer = _boxes(shape, ((0, 10), (0, 10), (0, 5)), ((20, 24), (0, 4), (0, 4)), ((26, 28), (8, 10), (8, 10)))
    large = protocols.large_lesions([CaseMasks("p", reference, (answer,))])
    assert large.value == pytest.approx(2 * 500 / (1000 + 508))
    one_less = reference.copy()
    one_less[0, 0, 0] = False  # 999 voxels
    assert protocols.large_lesions([CaseMasks("p", one_less, (answer,))]).n == 0
    # an answer that reaches over both stays, without the 27 voxels of the small one: |P| = 20 * 10 * 10
    both = _boxes(shape, ((0, 20), (0, 10), (0, 10)), ((20, 23), (0, 3), (0, 3)))
    assert protocols.large_lesions([CaseMasks("p", reference, (both,))]).value == pytest.approx(2 * 1000 / (1000 + 2000))


def test_small_areas_are_left_out_slice_by_slice():
    # slice 0: 10 x 10 = 100 pixels, half answered; slice 1: 99 pixels; slice 2: 100 pixels and, apart, 4 that are answered
    shape = (30, 12, 3)
    reference = _boxes(shape, ((0, 10), (0, 10), (0, 3)), ((20, 22), (0, 2), (2, 3)))
    reference[0, 0, 1] = False
    answer = _boxes(shape, ((0, 5), (0, 10), (0, 3)), ((20, 22), (0, 2), (2, 3)))
    found = protocols.large_areas([CaseMasks("p", reference, (answer,))])
    assert found.value == pytest.approx(2 * 50 / 150)
    assert (found.n, found.slices_scored_share) == (2, pytest.approx(2 / 3))
    assert protocols.tumor_slices([CaseMasks("p", reference, (answer,))]).n == 3


def test_areas_that_touch_across_slices_only_are_apart():
    reference = _boxes((12, 12, 2), ((0, 10), (0, 10), (0, 1)), ((0, 9), (0, 9), (1, 2)))  # 100 pixels over 81
    assert protocols.large_areas([CaseMasks("p", reference, (reference,))]).n == 1


def test_a_finer_grid_loses_voxels_when_resized():
    # 512 -> 256 takes voxel 2i + 1 of each pair: columns 1 of (0, 1), 3 of (2, 3)
    shape = (512, 512, 1)
    reference, answer = _boxes(shape, ((0, 4), (0, 4), (0, 1))), _boxes(shape, ((1, 3), (0, 4), (0, 1)))
    # reference: 2 x 2 of 4 x 4 stay; answer: column 1 alone stays of columns 1 and 2, 1 x 2
    assert protocols.resized_grid([CaseMasks("p", reference, (answer,))]).value == pytest.approx(2 * 2 / (4 + 2))
    assert protocols.volume([CaseMasks("p", reference, (answer,))]).value == pytest.approx(2 * 8 / (16 + 8))
    lost = _boxes(shape, ((0, 1), (0, 1), (0, 1)))  # column 0 is never taken
    assert protocols.resized_grid([CaseMasks("p", lost, (lost,))]).n == 0


def test_the_box_around_the_masks_changes_nothing():
    rng = np.random.default_rng(0)
    small = [rng.random((12, 9, 5)) < 0.3 for _ in range(2)]
    wide = [np.pad(mask, ((30, 38), (20, 51), (4, 2))) for mask in small]
    found = {p.name: p.value for p in protocols.all_protocols([CaseMasks("p", wide[0], (wide[1],))])}
    assert found[protocols.volume([A]).name] == pytest.approx(masks.dsc(*wide))
    nearest = [((np.arange(256) + 0.5) * n / 256).astype(int) for n in wide[0].shape[:2]]
    resized = [mask[np.ix_(*nearest)] for mask in wide]
    assert found[protocols.resized_grid([A]).name] == pytest.approx(masks.dsc(*resized))


def test_the_best_of_several_answers_is_the_best_by_the_reference_and_the_answer_is_the_first():
    several = CaseMasks("A", A.reference, (B.predictions[0], A.predictions[0], ~A.reference))
    assert protocols.best_of_several([several]).value == pytest.approx(DSC_A)
    assert protocols.volume([several]).value == 0
    assert protocols.all_protocols([several])[-1].name == protocols.best_of_several([several]).name
    with pytest.raises(InputError, match="more of them than others"):
        protocols.best_of_several([several, B])


def test_all_protocols_read_an_iterable_once_and_begin_with_the_projects_own():
    values = protocols.all_protocols(case for case in (A, TUMOR_FREE, B))
    assert values[0] == protocols.volume([A, B])
    assert len(values) == len(protocols.PROTOCOLS) - 2  # one answer per case, and no ignore region
    again = protocols.all_protocols([protocols.measure(case) for case in (A, TUMOR_FREE, B)])
    assert [v.value for v in again] == pytest.approx([v.value for v in values], nan_ok=True)


def test_without_a_tumor_there_is_no_value_and_no_warning():
    for value in protocols.all_protocols([TUMOR_FREE]):
        assert value.n == 0
        assert np.isnan(value.value)
        assert np.isnan(value.slices_scored_share)


@pytest.mark.parametrize(
    "predictions", [(), (np.zeros((8, 8, 9), bool),), (np.zeros(SHAPE, np.uint8),)], ids=["none", "other grid", "not bool"]
)
def test_masks_that_do_not_belong_together_are_refused(predictions):
    with pytest.raises(InputError, match="p: "):
        CaseMasks("p", A.reference, predictions)
