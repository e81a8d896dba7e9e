"""How far prompts drawn with errors moved, in mm."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.experiments.planning import Question
from lungseg_utils.reporting import drawing_shifts, values
from lungseg_utils.types import Box, Case, Mask, Points, Prompt, SlicePrompt

SPACING = (2.0, 1.0, 3.0)
CASE = Case("phantom_nsclc", "P", "P", Path("P.nii.gz"), (), {})


def _boxes(*places, find_ends=False):
    """On slices: (index, low x, low y, high x, high y)."""
    slices = tuple(SlicePrompt(k, box=Box((x0, y0, k), (x1, y1, k + 1))) for k, x0, y0, x1, y1 in places)
    return Prompt(1, slices, find_ends=find_ends)


def _lesion(width):
    """A square of so many voxels of 1 mm a side on five slices."""
    array = np.zeros((64, 64, 12), bool)
    array[20 : 20 + width, 20 : 20 + width, 3:8] = True
    return Mask(array, np.eye(4))


def test_sides_are_counted_in_mm_on_the_slices_that_both_hold():
    exact = _boxes((4, 10, 10, 20, 20), (5, 10, 10, 20, 20))
    drawn = _boxes((5, 9, 10, 20, 23), (6, 0, 0, 1, 1))  # on slice 5: 1 voxel of 2 mm, 0, 0, 3 voxels of 1 mm
    assert drawing_shifts.prompt_shift_mm(exact, drawn, SPACING) == pytest.approx((2 + 0 + 0 + 3) / 4)
    assert drawing_shifts.prompt_shift_mm(exact, exact, SPACING) == 0.0


def test_a_box_on_another_slice_is_compared_all_the_same():
    assert drawing_shifts.prompt_shift_mm(_boxes((4, 10, 10, 20, 20)), _boxes((6, 11, 10, 20, 20)), SPACING) == pytest.approx(2 / 4)


def test_boxes_in_3d_count_six_sides_and_clicks_their_distance():
    exact, drawn = (Prompt(1, (), box_3d=Box((0, 0, 0), high)) for high in ((4, 4, 4), (4, 4, 6)))
    assert drawing_shifts.prompt_shift_mm(exact, drawn, SPACING) == pytest.approx(6 / 6)  # two slices of 3 mm on one of six sides
    exact, drawn = (Prompt(1, (SlicePrompt(4, points=Points((place,), (1,))),)) for place in ((5, 5, 4), (7, 8, 4)))
    assert drawing_shifts.prompt_shift_mm(exact, drawn, SPACING) == pytest.approx(5.0)  # 4 mm and 3 mm


def test_the_floor_of_one_voxel_makes_small_errors_on_a_small_lesion_equal():
    asked = [Question("box_3d", share, draws=20) for share in (0.05, 0.1, 0.4)]
    found = drawing_shifts.mean_shifts([(CASE, _lesion(10))], asked).set_index("jitter")["shift_mm"]
    assert found[0.05] == found[0.1] == 1.0  # half a voxel and a whole one: each side moves by one
    assert found[0.4] > 1.3  # up to four voxels, two in the mean of the three axes, less along five slices
    large = drawing_shifts.mean_shifts([(CASE, _lesion(40))], asked[:2]).set_index("jitter")["shift_mm"]
    assert large[0.05] < large[0.1]


def test_patients_weigh_alike_and_tumor_free_ones_do_not():
    asked = [Question("click", 0.2, draws=4)]
    one = drawing_shifts.mean_shifts([(CASE, _lesion(20))], asked)
    empty = Mask(np.zeros((8, 8, 8), bool), np.eye(4))
    both = drawing_shifts.mean_shifts([(CASE, _lesion(20)), (CASE, empty)], asked)
    assert (one["n"][0], both["n"][0]) == (1, 1)
    assert one["shift_mm"][0] == both["shift_mm"][0] > 0


def test_an_error_is_named_by_its_shift_where_that_is_known():
    table = drawing_shifts.mean_shifts([(CASE, _lesion(10))], [Question("box_3d", 0.05, draws=3)])
    assert drawing_shifts.label(table, "box_3d", 0.05) == "1.0 mm (5 %)"
    assert drawing_shifts.label(table, "box_3d", 0.0) == "0 mm"
    assert drawing_shifts.label(table, "click", 0.05) == "5 %"


def test_patients_that_are_not_on_disk_are_neither_drawn_nor_guessed(tmp_path, monkeypatch):
    rows = pd.DataFrame({"test_dataset": ["phantom_nsclc"], "jitter": [0.1], "prompter": ["box_one_slice"], "patient_id": ["PN-1"]})
    result = SimpleNamespace(results=rows, experiment=SimpleNamespace(profile="robustness"))
    monkeypatch.setattr(values.cohorts, "dataset_root", lambda *_: tmp_path / "nothing")
    table = drawing_shifts.shifts([result], "phantom_nsclc")
    assert list(table.columns) == drawing_shifts.COLUMNS
    assert table.empty
    assert not (tmp_path / "nothing").exists()
    assert "does not know" in drawing_shifts.note(table)
    assert drawing_shifts.label(table, "box_one_slice", 0.1) == "10 %"
