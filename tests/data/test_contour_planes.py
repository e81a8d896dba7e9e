"""What the outlines of a region say together, and regions and segments that share a name."""

import numpy as np
import pydicom
import pytest

from lungseg_utils.data import dicom_seg, dicom_series, images, radiotherapy
from lungseg_utils.data.rtstruct import open_rtstruct, read_rtstruct
from lungseg_utils.datasets import lung_4d, nsclc_radiomics, nsclc_radiomics_interobserver1, rider_lung_ct
from lungseg_utils.types import InputError, Mask


def _box(x0, x1, y0, y1, z):
    """Outline round the centres x0 to x1 and y0 to y1 (inclusive) of a slice, in mm = voxels."""
    left, right, front, back = x0 - 0.5, x1 + 0.5, y0 - 0.5, y1 + 0.5
    return [(left, front, z), (right, front, z), (right, back, z), (left, back, z)]


@pytest.fixture
def ct(tmp_path, dicom):
    """14 slices of 20 x 20 voxels of 1 mm: folder and image."""
    dicom.ct_series(tmp_path / "P1" / "ct", np.full((14, 20, 20), 1064, np.int16), patient_id="P1")
    return tmp_path / "P1" / "ct", images.read_image(tmp_path / "P1" / "ct")


@pytest.fixture
def drawn(tmp_path, dicom, ct):
    """`drawn(contours, **more)`: a file with the region GTV-1; `counts(...)`: the voxels of it on each slice that has some."""

    def write(contours, **more):
        return dicom.rtstruct(tmp_path / "P1" / "rs.dcm", {"GTV-1": contours}, **more)

    def counts(contours, **more):
        whole = read_rtstruct(write(contours, **more), ct[1]).array.sum(axis=(0, 1))
        return {int(index): int(whole[index]) for index in np.flatnonzero(whole)}

    write.counts = counts
    return write


# --- slices without an outline -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "missing"),
    [
        ([3, 5, 7, 9], "3 slices inside it have no outline (4, 6, 8)"),  # drawn on every second slice
        ([2, 5, 8], "4 slices inside it have no outline (3, 4, 6, 7)"),
        ([3, 5], "1 slices inside it have no outline (4)"),
        ([3, 4, 6, 7, 8], "1 slices inside it have no outline (5)"),  # one was forgotten
        ([2, 3, 4, 8, 9], "3 slices inside it have no outline (5, 6, 7)"),
    ],
)
def test_slices_inside_a_region_that_nobody_outlined_are_named(drawn, ct, levels, missing):
    with pytest.raises(InputError) as caught:
        read_rtstruct(drawn([_box(4, 9, 4, 9, z) for z in levels]), ct[1])
    assert caught.value.problem == missing
    assert "rs.dcm, GTV-1" in caught.value.where


def test_a_leaning_region_on_every_second_slice_is_found_although_its_outlines_do_not_overlap(drawn, ct):
    with pytest.raises(InputError, match=r"4 slices inside it have no outline \(3, 5, 7, 9\)"):
        read_rtstruct(drawn([_box(z, z + 1, 4, 6, float(z)) for z in (2, 4, 6, 8, 10)]), ct[1])


def test_two_lesions_one_above_the_other_are_no_gap(drawn):
    assert drawn.counts([_box(2, 4, 2, 4, 2), _box(12, 14, 12, 14, 4)]) == {2: 9, 4: 9}  # beside each other
    assert drawn.counts([_box(4, 6, 4, 6, 0), _box(4, 6, 4, 6, 1), _box(4, 6, 4, 6, 13)]) == {0: 9, 1: 9, 13: 9}  # 11 mm between


def test_the_same_distance_is_a_gap_or_none_by_its_millimeters(tmp_path, dicom):
    for spacing, refused in ((1.0, True), (4.0, False)):
        folder = tmp_path / f"{spacing}"
        dicom.ct_series(folder / "ct", np.full((12, 12, 12), 1064, np.int16), spacing=(1.0, 1.0, spacing))
        contours = [_box(4, 6, 4, 6, spacing * k) for k in (2, 3, 7, 8)]
        path, image = dicom.rtstruct(folder / "rs.dcm", {"GTV-1": contours}), images.read_image(folder / "ct")
        if refused:
            with pytest.raises(InputError, match=r"3 slices inside it have no outline"):
                read_rtstruct(path, image)
        else:
            assert read_rtstruct(path, image).array.sum() == 4 * 9


# --- outlines of one slice -----------------------------------------------------------------------------------------


def test_holes_in_holes_are_legal(drawn):
    nested = [_box(1, 18, 1, 18, 3), _box(4, 15, 4, 15, 3), _box(7, 12, 7, 12, 3)]
    assert drawn.counts(nested) == {3: 18**2 - 12**2 + 6**2}
    assert drawn.counts([*nested, nested[1], nested[1], nested[0]]) == {3: 18**2 - 12**2 + 6**2}


def test_outlines_that_touch_are_apart(drawn):
    assert drawn.counts([_box(2, 5, 2, 9, 3), _box(6, 9, 2, 9, 3)]) == {3: 64}


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (_box(6, 13, 4, 11, 3), "cross each other (64 and 64 voxels, 32 in both)"),
        (_box(4, 11, 8, 15, 3), "cross each other (64 and 64 voxels, 24 in both)"),
        (_box(2, 9, 5, 11, 3), "are nearly the same (64 and 56 voxels, 56 in both)"),  # drawn again, a voxel less at one side
        ([(x + 0.4, y + 0.6, z) for x, y, z in _box(2, 9, 4, 11, 3)], "cross each other (64 and 64 voxels, 56 in both)"),  # moved
    ],
)
def test_outlines_that_cross_or_repeat_each_other_roughly_are_refused(drawn, ct, second, words):
    first = _box(2, 9, 4, 11, 3)
    with pytest.raises(InputError) as caught:
        read_rtstruct(drawn([first, second]), ct[1])
    assert words in caught.value.problem
    assert "GTV-1, slice 3 of 14" in caught.value.where


def test_a_file_that_asks_for_exclusive_or_gets_it(drawn):
    assert drawn.counts([_box(2, 9, 4, 11, 3), _box(6, 13, 4, 11, 3)], kind="CLOSEDPLANAR_XOR") == {3: 64}


# --- one name, several things --------------------------------------------------------------------------------------


def _renamed(path, names):
    file = pydicom.dcmread(path)
    for item, name in zip(file.StructureSetROISequence, names, strict=True):
        item.ROIName = name
    file.save_as(path)
    return path


def test_regions_of_one_name_are_told_apart_by_number(tmp_path, dicom, ct):
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"a": [_box(2, 4, 2, 4, 3)], "b": [_box(8, 9, 8, 9, 3)]})
    opened = open_rtstruct(_renamed(path, ["GTV-1", "GTV-1"]))
    assert opened.names() == ["GTV-1", "GTV-1"]
    with pytest.raises(InputError, match=r"more than one region for 'GTV-1' \(numbers 1, 2\).*by its number"):
        opened.mask("GTV-1", ct[1])
    assert [int(opened.mask(number, ct[1]).array.sum()) for number in (1, 2)] == [9, 4]
    assert read_rtstruct(path, ct[1], 2).array.sum() == 4
    with pytest.raises(InputError, match="no region for 3"):
        read_rtstruct(path, ct[1], 3)


def test_regions_that_share_a_number_are_refused(tmp_path, dicom, ct):
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"GTV-1": [_box(2, 4, 2, 4, 3)], "Lung": [_box(8, 9, 8, 9, 3)]})
    file = pydicom.dcmread(path)
    file.StructureSetROISequence[1].ROINumber = 1
    file.save_as(path)
    with pytest.raises(InputError, match=r"2 regions have the number 1 \(GTV-1, Lung\)"):
        read_rtstruct(path, ct[1])


def _two_segments(dicom, path, ct_folder, labels):
    slices = [pydicom.dcmread(file) for file in sorted(ct_folder.iterdir())]
    slices.sort(key=lambda item: float(item.ImagePositionPatient[2]))
    pixels = np.zeros((14, 20, 20), np.uint8)
    pixels[3, 2:5, 2:5], pixels[4, 8:10, 8:10] = 1, 2
    return dicom.seg(path, slices, pixels, labels=labels)


def test_segments_of_one_label_are_told_apart_by_number(tmp_path, dicom, ct):
    path = _two_segments(dicom, tmp_path / "seg.dcm", ct[0], ("GTV-1", "GTV-1"))
    opened = dicom_seg.open_dicom_seg(path)
    assert opened.names() == ["GTV-1", "GTV-1"]
    with pytest.raises(InputError, match=r"seg\.dcm: more than one segment for 'GTV-1' \(numbers 1, 2\)"):
        opened.mask("GTV-1", ct[1])
    assert [int(dicom_seg.read_dicom_seg(path, ct[1], number, ct[0]).array.sum()) for number in (1, 2)] == [9, 4]


def test_a_patient_with_two_segments_named_like_the_tumor_is_refused(tmp_path, dicom, ct):
    _two_segments(dicom, tmp_path / "P1" / "seg.dcm", ct[0], ("GTV-1", "GTV-1"))
    (case,) = nsclc_radiomics.cases(tmp_path)
    with pytest.raises(InputError, match=r"2 regions for 'GTV-1'.*GTV-1 \(number 1\), GTV-1 \(number 2\)"):
        nsclc_radiomics.load(case)


@pytest.mark.parametrize("tag", ["SegmentAlgorithmType", "SegmentedPropertyTypeCodeSequence", "SegmentLabel"])
def test_a_segmentation_need_not_say_how_it_was_drawn(tmp_path, dicom, ct, tag):
    path = _two_segments(dicom, tmp_path / "seg.dcm", ct[0], ("Tumor", "Node"))
    file = pydicom.dcmread(path)
    del file.SegmentSequence[0][tag]
    file.save_as(path)
    assert dicom_seg.read_dicom_seg(path, ct[1], 1).array.sum() == 9
    assert dicom_seg.open_dicom_seg(path).names()[1] == "Node"


@pytest.mark.parametrize("tag", ["SegmentationType", "PerFrameFunctionalGroupsSequence", "Rows"])
def test_a_segmentation_that_lacks_what_places_its_voxels_says_so(tmp_path, dicom, ct, tag):
    path = _two_segments(dicom, tmp_path / "seg.dcm", ct[0], ("Tumor", "Node"))
    file = pydicom.dcmread(path)
    del file[tag]
    file.save_as(path)
    with pytest.raises(InputError, match=f"it lacks {tag}"):
        dicom_seg.read_dicom_seg(path, ct[1], 1)


# --- a node beside a good tumor ------------------------------------------------------------------------------------

TUMOR = [_box(4, 9, 4, 9, z) for z in (3.0, 4.0, 5.0)]
NODE = [_box(14, 15, 14, 15, z) for z in (3.0, 4.0)]


def _node_region(module, tmp_path):
    (case,) = module.cases(tmp_path)
    study = module.load(case)
    (reference,) = study.references.values()
    assert reference.array.sum() == 3 * 36
    return study.ignore


def _without_contours(path, number, kind=""):
    file = pydicom.dcmread(path)
    group = file.ROIContourSequence[number - 1]
    if kind:
        for contour in group.ContourSequence:
            contour.ContourGeometricType = kind
    else:
        del group.ContourSequence
    file.save_as(path)


@pytest.mark.parametrize(
    ("module", "tumor", "node"), [(nsclc_radiomics, "GTV-1", "GTV-2"), (lung_4d, "Tumor_c40", "LN_c40")], ids=["nsclc", "lung_4d"]
)
@pytest.mark.parametrize("kind", ["", "POINT"])
def test_a_node_that_outlines_nothing_ignores_nothing(tmp_path, dicom, ct, module, tumor, node, kind):
    path = dicom.rtstruct(tmp_path / "P1" / "rs.dcm", {tumor: TUMOR, node: NODE}, refers_to=[dicom.series])
    assert _node_region(module, tmp_path).array.any()
    _without_contours(path, 2, kind)
    assert _node_region(module, tmp_path) is None
    nearly_nothing = [[(14.2, 14.2, 3.0), (14.4, 14.2, 3.0), (14.4, 14.4, 3.0)]]
    dicom.rtstruct(path, {tumor: TUMOR, node: nearly_nothing}, refers_to=[dicom.series])
    assert _node_region(module, tmp_path) is None


@pytest.mark.parametrize(
    ("module", "tumor", "node"), [(nsclc_radiomics, "GTV-1", "GTV-2"), (lung_4d, "Tumor_c40", "LN_c40")], ids=["nsclc", "lung_4d"]
)
def test_nodes_of_one_name_are_joined(tmp_path, dicom, ct, module, tumor, node):
    other = [_box(15, 16, 2, 3, 8.0)]
    path = dicom.rtstruct(tmp_path / "P1" / "rs.dcm", {tumor: TUMOR, "x": NODE, "y": other}, refers_to=[dicom.series])
    assert _node_region(module, tmp_path) is None
    _renamed(path, [tumor, node, node])
    joined = _node_region(module, tmp_path)
    alone = []
    for contours in (NODE, other):
        dicom.rtstruct(path, {tumor: TUMOR, node: contours}, refers_to=[dicom.series])
        alone.append(_node_region(module, tmp_path).array)
    assert np.array_equal(joined.array, alone[0] | alone[1])


def test_a_node_may_lack_a_slice_but_the_tumor_may_not(tmp_path, dicom, ct):
    path = dicom.rtstruct(tmp_path / "P1" / "rs.dcm", {"GTV-1": TUMOR, "GTV-2": [_box(14, 15, 14, 15, z) for z in (3, 5)]})
    assert _node_region(nsclc_radiomics, tmp_path).array[:, :, 4].any()  # grown by 5 mm, it has none left out
    dicom.rtstruct(path, {"GTV-1": TUMOR[::2]})
    (case,) = nsclc_radiomics.cases(tmp_path)
    with pytest.raises(InputError, match=r"1 slices inside it have no outline \(4\)"):
        nsclc_radiomics.load(case)


# --- the series that was chosen ------------------------------------------------------------------------------------


@pytest.fixture
def two_series(tmp_path, dicom):
    """A clinical export: two series of one patient in one flat folder, of 40 and 50 HU."""
    for uid, hu in (("5.1", 40), ("5.2", 50)):
        slices = dicom.ct_series(tmp_path / "all" / uid, np.full((8, 20, 20), 1024 + hu, np.int16), series_uid=uid)
        for path in (tmp_path / "all" / uid).iterdir():
            path.rename(tmp_path / "all" / f"{uid}-{path.name}")
        assert len(slices) == 8
    for folder in ("5.1", "5.2"):
        (tmp_path / "all" / folder).rmdir()
    return tmp_path / "all"


@pytest.mark.parametrize(
    ("module", "names", "description"),
    [
        (nsclc_radiomics, ["GTV-1"], ""),
        (nsclc_radiomics_interobserver1, ["GTV-1vis-1", "GTV-1vis-2"], ""),
        (lung_4d, ["Tumor_c40"], ""),
        (rider_lung_ct, ["GTVp_test_man"], "test"),
    ],
)
@pytest.mark.parametrize("uid", ["5.1", "5.2"])
def test_of_two_series_in_a_folder_the_one_that_the_contours_name_is_read(two_series, dicom, module, names, description, uid):
    dicom.rtstruct(two_series / "rs.dcm", dict.fromkeys(names, TUMOR), refers_to=[uid], description=description)
    (case,) = module.cases(two_series)
    study = module.load(case)
    assert np.unique(study.image.array).tolist() == [40 if uid == "5.1" else 50]
    assert next(iter(study.references.values())).array.sum() == 3 * 36


def test_the_frame_of_reference_is_that_of_the_series_that_the_contours_name(two_series, dicom):
    path = dicom.rtstruct(two_series / "rs.dcm", {"GTV-1": TUMOR}, refers_to=["5.2"])
    image = images.read_image(two_series, series_uid="5.2")
    assert read_rtstruct(path, image, series_folder=two_series).array.sum() == 3 * 36
    dicom.rtstruct(path, {"GTV-1": TUMOR}, refers_to=["5.3"])
    with pytest.raises(InputError, match=r"no CT series 5\.3"):
        read_rtstruct(path, image, series_folder=two_series)


def test_a_mask_is_written_for_the_series_that_was_chosen(two_series, tmp_path):
    image = images.read_image(two_series, series_uid="5.2")
    dicom_seg.write_dicom_seg(Mask(image.array > 0, image.affine), tmp_path / "seg.dcm", two_series, "Tumor", "x", series_uid="5.2")
    opened = dicom_seg.open_dicom_seg(tmp_path / "seg.dcm")
    assert opened.drawn_on()[1] == ("5.2",)
    assert dicom_seg.read_dicom_seg(tmp_path / "seg.dcm", image, "Tumor", series_folder=two_series).array.all()


@pytest.mark.parametrize("kind", ["RTSTRUCT", "SEG"])
def test_contours_of_a_series_that_is_not_there_are_refused_although_the_frame_is_the_same(tmp_path, dicom, ct, kind):
    if kind == "SEG":
        elsewhere = dicom.ct_series(tmp_path / "elsewhere", np.full((14, 20, 20), 1064, np.int16), series_uid="5.7")
        dicom.seg(tmp_path / "P1" / "seg.dcm", elsewhere, np.ones((14, 20, 20), np.uint8), labels=("GTV-1",))
    else:
        dicom.rtstruct(tmp_path / "P1" / "rs.dcm", {"GTV-1": TUMOR}, refers_to=["5.7"])
    (case,) = nsclc_radiomics.cases(tmp_path / "P1")
    with pytest.raises(InputError, match=r"no CT series 5\.7.*Contours of another series do not fit"):
        nsclc_radiomics.load(case)


def test_contours_that_name_several_series_of_which_one_is_there_are_read(tmp_path, dicom, ct):
    dicom.rtstruct(tmp_path / "P1" / "rs.dcm", {"GTV-1": TUMOR}, refers_to=["5.7", dicom.series])
    (case,) = nsclc_radiomics.cases(tmp_path)
    assert radiotherapy.read_ct(case, open_rtstruct(case.reference_paths[0])).uid == dicom.series


def test_two_equal_files_in_two_folders_are_named_with_their_folders(tmp_path, dicom):
    for name in ("first", "second"):
        dicom.ct_series(tmp_path / name)
    with pytest.raises(InputError, match=r"two slices at the same position: (first|second).3\.dcm and (first|second).3\.dcm"):
        dicom_series.read_series(tmp_path)
