"""Metrics against values derived by hand, closed forms, and two independent implementations."""

import gc
import weakref

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lungseg_utils.core import masks
from lungseg_utils.evaluation import lesions, metrics, shapes, surfaces
from lungseg_utils.types import InputError, Mask

SPACING = (1.0, 2.0, 5.0)


def _mask(array, spacing=SPACING):
    return Mask(np.asarray(array, bool), np.diag([*spacing, 1.0]))


def _box(shape, low, high):
    array = np.zeros(shape, bool)
    array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return array


def _ball(radius_mm, spacing, centre_mm=(0, 0, 0), half=40):
    axes = [np.arange(-half, half + 1e-9, s) - c for s, c in zip(spacing, centre_mm, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= radius_mm**2


def _blob(seed, shape=(24, 20, 12)):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return noise > np.quantile(noise, 0.85)


def test_overlap_of_two_boxes_by_hand():
    a, b = _box((4, 4, 4), (0, 0, 0), (2, 2, 2)), _box((4, 4, 4), (1, 0, 0), (3, 2, 2))
    assert masks.dsc(a, b) == pytest.approx(2 * 4 / 16)
    assert metrics.iou(a, b) == pytest.approx(4 / 12)


def test_one_voxel_shifted_along_each_axis_is_one_spacing_away():
    # every surface element of a single voxel has a twin exactly one voxel further, or is the twin's nearest at less
    for axis, step in enumerate(SPACING):
        a = _box((6, 6, 6), (2, 2, 2), (3, 3, 3))
        b = np.roll(a, 1, axis)
        distances = surfaces.surface_distances(a, b, SPACING)
        # the four corners on the far side are `step` away from the other voxel's corners, the near four coincide
        assert sorted(distances.reference_to_prediction_mm) == pytest.approx([0] * 4 + [step] * 4)
        assert distances.hd95() == pytest.approx(step)
        assert distances.assd() == pytest.approx(step / 2)
        assert distances.nsd(step) == 1.0
        assert distances.nsd(step * 0.99) == pytest.approx(0.5)


def test_parallel_slabs_are_as_far_apart_as_their_shift():
    a, b = _box((8, 8, 30), (0, 0, 5), (8, 8, 15)), _box((8, 8, 30), (0, 0, 7), (8, 8, 17))
    distances = surfaces.surface_distances(a, b, SPACING)
    assert distances.hd95() == pytest.approx(2 * SPACING[2])


def test_two_balls_with_one_center_are_apart_by_the_difference_of_their_radii():
    spacing = (1.0, 1.0, 1.0)
    distances = surfaces.surface_distances(_ball(20, spacing), _ball(15, spacing), spacing)
    # surface elements sit on a band of corners up to half a voxel to either side of the true surface
    assert distances.assd() == pytest.approx(5, abs=0.6)
    assert distances.hd95() == pytest.approx(5, abs=0.8)
    assert masks.dsc(_ball(20, spacing), _ball(15, spacing)) == pytest.approx(2 * 15**3 / (15**3 + 20**3), abs=0.01)


def test_area_of_a_ball_is_near_four_pi_r_squared_whatever_the_grid():
    # a staircase of surface elements is known to overestimate the area of a curved surface, by less than a fifth
    for spacing in ((1.0, 1.0, 1.0), (0.8, 0.8, 2.5)):
        distances = surfaces.surface_distances(_ball(20, spacing), _ball(20, spacing), spacing)
        assert distances.reference_areas_mm2.sum() == pytest.approx(4 * np.pi * 20**2, rel=0.2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (2.25, 2.25, 3.0), SPACING]))
def test_surfaces_agree_with_the_package_surface_distance(seed, spacing):
    a, b = _blob(seed), _blob(seed + 1)
    ours = surfaces.surface_distances(a, b, spacing)
    theirs = surface_distance.compute_surface_distances(a, b, spacing)
    for tolerance in metrics.NSD_TOLERANCES_MM:
        assert ours.nsd(tolerance) == pytest.approx(surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance), abs=1e-6)
    assert ours.hd95() == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 95), abs=1e-6)
    mean_reference, mean_prediction = surface_distance.compute_average_surface_distance(theirs)
    areas = ours.reference_areas_mm2.sum(), ours.prediction_areas_mm2.sum()
    assert ours.assd() == pytest.approx(np.average([mean_reference, mean_prediction], weights=areas), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_monai_agrees_within_a_voxel_diagonal(seed):
    """MONAI measures between surface voxels without areas, so that it may differ by up to one voxel's diagonal."""
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_hausdorff_distance, compute_iou

    a, b = _blob(seed), _blob(seed + 1)
    one_hot = [torch.from_numpy(m)[None, None].float() for m in (a, b)]
    theirs = float(compute_hausdorff_distance(one_hot[1], one_hot[0], include_background=True, percentile=95, spacing=list(SPACING)))
    assert surfaces.surface_distances(a, b, SPACING).hd95() == pytest.approx(theirs, abs=float(np.linalg.norm(SPACING)))
    assert metrics.iou(a, b) == pytest.approx(float(compute_iou(one_hot[1], one_hot[0])), abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_symmetry_and_flips_change_nothing(seed):
    a, b = _blob(seed), _blob(seed + 1)
    forth, back = surfaces.surface_distances(a, b, SPACING), surfaces.surface_distances(b, a, SPACING)
    flipped = surfaces.surface_distances(a[::-1, :, ::-1], b[::-1, :, ::-1], SPACING)
    for name in ("hd95", "assd"):
        assert getattr(forth, name)() == pytest.approx(getattr(back, name)())
        assert getattr(forth, name)() == pytest.approx(getattr(flipped, name)())
    assert surfaces.surface_distances(a, a, SPACING).nsd(0) == 1.0


def test_a_lesion_at_the_edge_of_the_volume_has_a_closed_surface_unless_the_end_is_open():
    a, b = _box((6, 6, 4), (2, 2, 0), (4, 4, 2)), _box((6, 6, 4), (2, 2, 0), (4, 4, 3))
    closed = surfaces.surface_distances(a, b, SPACING)
    opened = surfaces.surface_distances(a, b, SPACING, open_ends=(True, True))
    assert closed.nsd(1) > opened.nsd(1)  # the shared cut at the end flatters
    assert len(opened.reference_areas_mm2) < len(closed.reference_areas_mm2)


def _scores(reference, prediction, **more):
    return metrics.score_case(_mask(reference), _mask(prediction), **more)


SHAPE = (8, 8, 8)
EMPTY = np.zeros(SHAPE, bool)
LESION = _box(SHAPE, (1, 1, 1), (4, 4, 4))


def test_both_empty_is_a_correct_rejection_and_defines_no_overlap():
    values = _scores(EMPTY, EMPTY)
    assert values["false_positive_volume"] == 0
    for name in ("dsc", "iou", "nsd_2mm", "hd95", "assd", "lesion_sensitivity", "lesion_precision", "lesion_f1", "volume_error_relative"):
        assert np.isnan(values[name]), name


def test_prediction_in_a_tumor_free_scan_is_false_positive_volume_only():
    values = _scores(EMPTY, LESION)
    assert values["false_positive_volume"] == pytest.approx(27 * 10 / 1000)
    assert values["lesions_predicted"] == 1
    for name in ("dsc", "iou", "nsd_2mm", "hd95", "assd", "lesion_precision", "lesion_f1"):
        assert np.isnan(values[name]), name


def test_a_missed_lesion_is_zero_overlap_and_infinitely_far():
    values = _scores(LESION, EMPTY)
    assert [values[n] for n in ("dsc", "iou", "nsd_1mm", "nsd_5mm", "lesion_sensitivity", "lesion_f1")] == [0] * 6
    assert values["hd95"] == values["assd"] == np.inf
    assert values["volume_error_relative"] == -100
    assert np.isnan(values["lesion_precision"])


def test_neither_empty_gives_finite_values():
    values = _scores(LESION, np.roll(LESION, 1, 0))
    assert all(np.isfinite(v) for v in values.values())
    assert values["dsc"] == pytest.approx(2 * 18 / 54)


def test_every_metric_has_a_unit_and_every_unit_a_metric():
    assert set(_scores(LESION, LESION)) == set(metrics.UNITS)


def test_the_ignore_region_is_no_false_positive_and_no_surface():
    node = _box(SHAPE, (5, 5, 5), (8, 8, 8))
    without = _scores(LESION, LESION | node)
    with_ignore = _scores(LESION, LESION | node, ignore=_mask(node))
    assert without["false_positive_volume"] > 0
    assert with_ignore["false_positive_volume"] == 0
    assert with_ignore["dsc"] == with_ignore["nsd_1mm"] == with_ignore["lesion_precision"] == 1
    assert with_ignore["hd95"] == 0


def test_an_ignore_region_over_the_target_does_not_hide_the_target():
    assert _scores(LESION, EMPTY, ignore=_mask(LESION))["dsc"] == 0
    assert _scores(LESION, LESION, ignore=_mask(np.ones(SHAPE, bool)))["dsc"] == 1


def test_other_grids_are_refused():
    with pytest.raises(InputError, match="grid"):
        _scores(LESION, np.zeros((8, 8, 7), bool))


def test_components_of_two_voxels_are_no_lesions_and_diagonals_connect():
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    mask[6, 6, 6] = mask[6, 6, 7] = True
    assert masks.label_lesions(mask).max() == 1


def test_small_predicted_components_that_touch_no_lesion_are_dropped_before_matching():
    speck = np.zeros(SHAPE, bool)
    speck[6, 6, 6] = speck[6, 6, 7] = True  # 2 x 0.01 ml
    assert _scores(LESION, LESION | speck)["lesions_predicted"] == 1
    speck[6, 7, 7] = True  # 3 x 0.01 ml reaches the bound
    assert _scores(LESION, LESION | speck)["lesions_predicted"] == 2


def test_a_nodule_below_the_bound_of_specks_is_found_by_its_own_mask_and_by_a_part_of_it():
    nodule = _box((12, 4, 4), (0, 0, 0), (5, 1, 1))  # 5 x 0.005 ml, below 0.03 ml
    match = lesions.match_lesions(nodule, nodule, 0.005)
    assert (match.sensitivity, match.precision, match.pairs) == (1.0, 1.0, {1: (1, 1.0)})
    part, apart = _box((12, 4, 4), (4, 0, 0), (6, 1, 1)), _box((12, 4, 4), (8, 2, 2), (11, 3, 3))
    match = lesions.match_lesions(nodule, part | apart, 0.005)  # one voxel of six is common; what lies apart is a speck
    assert (match.pairs, match.n_predicted) == ({1: (1, pytest.approx(1 / 6))}, 1)
    unlabeled = _box((12, 4, 4), (0, 0, 0), (2, 1, 1))  # two voxels are no lesion, so nothing is exempt
    assert lesions.match_lesions(unlabeled, unlabeled, 0.005).n_predicted == 0


def test_a_split_lesion_is_hit_once_by_its_best_part():
    reference = _box((12, 4, 4), (1, 0, 0), (11, 4, 4))
    prediction = _box((12, 4, 4), (1, 0, 0), (7, 4, 4)) | _box((12, 4, 4), (8, 0, 0), (11, 4, 4))
    match = lesions.match_lesions(reference, prediction, 0.01)
    assert match.pairs == {1: (1, pytest.approx(0.6))}
    assert (match.n_split, match.n_merged) == (1, 0)
    assert match.precision == 0.5


def test_a_merge_hits_one_lesion_only():
    shape = (12, 4, 4)
    reference = _box(shape, (0, 0, 0), (6, 4, 4)) | _box(shape, (8, 0, 0), (12, 4, 4))
    match = lesions.match_lesions(reference, np.ones(shape, bool), 0.01)
    assert list(match.pairs) == [1]
    assert (match.n_split, match.n_merged) == (0, 1)
    assert match.sensitivity == 0.5


def test_overlap_below_the_hit_threshold_is_a_miss_and_a_false_alarm():
    shape = (20, 4, 4)
    match = lesions.match_lesions(_box(shape, (0, 0, 0), (10, 4, 4)), _box(shape, (9, 0, 0), (19, 4, 4)), 0.01)
    assert match.pairs == {}
    assert match.f1 == 0


def test_each_lesion_has_its_own_row():
    shape = (12, 4, 4)
    reference = _box(shape, (0, 0, 0), (4, 4, 4)) | _box(shape, (6, 0, 0), (8, 4, 4))
    rows = metrics.lesion_values(metrics.Comparison(_mask(reference), _mask(_box(shape, (0, 0, 0), (4, 4, 4)))))
    assert rows[1] == {"lesion_hit": 1, "lesion_volume": pytest.approx(0.64), "lesion_dsc": 1}
    assert rows[2] == {"lesion_hit": 0, "lesion_volume": pytest.approx(0.32), "lesion_dsc": 0}


def _cube_beside_an_ignore_region(far):
    """A cube of 6 voxels a side, its answer one voxel smaller, an ignore region on one face; with `far` a distant false positive too."""
    reference, answer, ignore = (np.zeros((30, 20, 20), bool) for _ in range(3))
    reference[5:11, 5:11, 5:11] = answer[5:10, 5:11, 5:11] = True
    ignore[11:14, 4:12, 4:12] = True
    if far:
        answer[26:28, 16:18, 16:18] = True
    return reference, answer, ignore


def test_what_is_ignored_beside_a_lesion_does_not_depend_on_answers_far_away():
    areas = []
    for far in (False, True):
        reference, answer, ignore = _cube_beside_an_ignore_region(far)
        areas.append(surfaces.surface_distances(reference, answer, (1.0, 1.0, 1.0), ignore).reference_areas_mm2.sum())
    assert areas[0] == pytest.approx(areas[1])
    whole = surfaces.surface_distances(*_cube_beside_an_ignore_region(False)[:2], (1.0, 1.0, 1.0)).reference_areas_mm2.sum()
    assert areas[0] < whole - 30  # a face of 36 mm2, less its rounded rim


def test_where_no_surface_is_left_to_be_judged_distances_are_undefined_and_overlap_is_not():
    reference = np.zeros((12, 12, 12), bool)
    reference[4:8, 4:8, 4:8] = True
    ignore = ~reference
    values = metrics.score_case(*(Mask(a, np.eye(4)) for a in (reference, reference, ignore)))
    assert values["dsc"] == 1
    assert all(np.isnan(values[name]) for name in ("hd95", "assd", "nsd_1mm", "nsd_5mm"))
    half = reference.copy()
    half[6:] = False
    one_sided = metrics.score_case(*(Mask(a, np.eye(4)) for a in (reference, half, ignore)))
    assert np.isfinite(one_sided["hd95"])  # the answer's own surface is judged


def test_a_prediction_that_many_readers_judge_has_the_values_of_each_alone():
    prediction, ignored = _blob(3), _blob(9)
    readers = [_blob(seed) for seed in (4, 5, 6)]
    ends = [(True, False), (False, True), (False, False)]
    for ignore in (None, _mask(ignored), _mask(ignored & ~prediction)):
        shared = _mask(prediction)
        together = [metrics.score_case(_mask(reader), shared, ignore, end) for reader, end in zip(readers, ends, strict=True)]
        alone = [metrics.score_case(_mask(reader), _mask(prediction), ignore, end) for reader, end in zip(readers, ends, strict=True)]
        assert together == alone
        assert together[0] != together[1]


def test_what_was_computed_of_a_mask_is_given_up_with_it():
    reference, prediction = _mask(_blob(3)), _mask(_blob(4))
    metrics.score_case(reference, prediction)
    surface = weakref.ref(shapes.of(prediction).surface)
    assert shapes.of(prediction).surface is surface()
    del prediction
    gc.collect()
    assert surface() is None
