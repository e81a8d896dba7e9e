"""Reading and writing: values by hand, SimpleITK as oracle, and every refusal."""

import contextlib
import errno
import gzip
import itertools
import os
import re
import subprocess
import sys
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lungseg_utils import geometry
from lungseg_utils.core import files
from lungseg_utils.data import dicom_files, dicom_seg, dicom_series, images, metaimage, nifti
from lungseg_utils.data.rtstruct import open_rtstruct, read_rtstruct
from lungseg_utils.types import Image, InputError, Mask

ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def _affine(permutation=(0, 1, 2), signs=(1, 1, 1), spacing=(1.0, 2.0, 4.0), origin=(7.0, -8.0, 9.0), angle=0.0):
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(permutation)] * np.asarray(signs) * np.asarray(spacing)
    affine[:3, 3] = origin
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine


def _save(path, array, affine=None):
    file = nib.Nifti1Image(array, _affine() if affine is None else affine)
    file.header.set_xyzt_units("mm")
    nib.save(file, path)
    return path


def _image(shape=(4, 5, 6)):
    return Image(np.zeros(shape, np.float32), _affine())


def _leftovers(folder):
    return [p.name for p in folder.iterdir() if ".tmp." in p.name]


# --- NIfTI round trips ---------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5.0)] * 3),
    angle=st.floats(-0.5, 0.5),
    seed=st.integers(0, 2**16),
)
def test_a_mask_written_like_its_image_lies_on_it_voxel_by_voxel(tmp_path, orientation, shape, spacing, angle, seed):
    stored = np.random.default_rng(seed).integers(-900, 900, shape).astype(np.int16)
    path = _save(tmp_path / "ct.nii", stored, _affine(*orientation, spacing=spacing, angle=angle))
    image = images.read_image(path)
    nifti.write_mask(Mask(image.array > 0, image.affine), tmp_path / "mask.nii", like_path=path)
    written = nib.load(tmp_path / "mask.nii")
    assert np.array_equal(np.asarray(written.dataobj), stored > 0)
    assert np.array_equal(written.affine, nib.load(path).affine)
    if (stored > 0).any():
        assert np.array_equal(nifti.read_mask(tmp_path / "mask.nii", image).array, image.array > 0)
    nifti.write_image(image, tmp_path / "again.nii", like_path=path)
    assert np.array_equal(np.asarray(nib.load(tmp_path / "again.nii").dataobj), stored)


@pytest.mark.parametrize(("permutation", "signs"), ORIENTATIONS)
def test_every_orientation_puts_voxels_where_simpleitk_sees_them(tmp_path, permutation, signs):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = _save(tmp_path / "ct.nii.gz", stored, _affine(permutation, signs))
    image = images.read_image(path)
    nifti.write_mask(Mask(image.array == 17, image.affine), tmp_path / "mask.nii.gz", like_path=path)
    for file, value in ((path, 17), (tmp_path / "mask.nii.gz", 1)):
        oracle = sitk.ReadImage(str(file))
        z, y, x = np.argwhere(sitk.GetArrayFromImage(oracle) == value)[0]
        lps = oracle.TransformIndexToPhysicalPoint([int(x), int(y), int(z)])
        ours = geometry.ijk_to_world(np.argwhere(image.array == 17), image.affine)[0]
        assert ours == pytest.approx([-lps[0], -lps[1], lps[2]], abs=1e-4)
    assert all(step > 0 for step in image.array.strides)


def test_qform_and_sform_are_both_set_and_agree(tmp_path):
    nifti.write_mask(Mask(np.ones((3, 4, 5), bool), _affine(angle=0.2)), tmp_path / "m.nii.gz")
    header = nib.load(tmp_path / "m.nii.gz").header
    assert (header["sform_code"], header["qform_code"], header.get_data_dtype()) == (1, 1, np.uint8)
    assert np.allclose(header.get_sform(), header.get_qform(), atol=1e-5)
    assert header.get_xyzt_units()[0] == "mm"


def test_equal_masks_make_equal_files(tmp_path):
    mask = Mask(np.ones((3, 4, 5), bool), _affine())
    nifti.write_mask(mask, tmp_path / "a.nii.gz")
    nifti.write_mask(mask, tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_values_outside_the_field_of_view_are_clipped_and_fractions_survive(tmp_path):
    stored = np.array([[[-3024.0, -1024.0, 0.25, 3071.0, 5000.0]]], np.float32)
    image = images.read_image(_save(tmp_path / "ct.nii", stored))
    assert image.array.ravel().tolist() == [-1024.0, -1024.0, 0.25, 3071.0, 3071.0]
    nifti.write_image(image, tmp_path / "back.nii.gz")
    assert images.read_image(tmp_path / "back.nii.gz").array.ravel().tolist() == image.array.ravel().tolist()


def test_rounding_noise_is_binary_and_a_label_can_be_chosen(tmp_path):
    noisy = np.zeros((4, 5, 6), np.float32)
    noisy[1, 1, 1], noisy[2, 2, 2] = 0.99999, 1e-6
    assert np.argwhere(nifti.read_mask(_save(tmp_path / "a.nii", noisy), _image()).array).tolist() == [[1, 1, 1]]
    several = np.zeros((4, 5, 6), np.uint8)
    several[0, 0, 0], several[3, 4, 5] = 1, 7
    path = _save(tmp_path / "b.nii", several)
    assert np.argwhere(nifti.read_mask(path, _image(), label=7).array).tolist() == [[3, 4, 5]]
    with pytest.raises(InputError, match="values 0, 1, 7"):
        nifti.read_mask(path, _image())


def test_an_empty_mask_passes_only_when_asked_for(tmp_path):
    path = _save(tmp_path / "m.nii", np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(InputError, match="empty"):
        nifti.read_mask(path, _image())
    assert not nifti.read_mask(path, _image(), allow_empty=True).array.any()


# --- NIfTI refusals ------------------------------------------------------------------------------------------------


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-200])


def _without_checksum(path):
    path.write_bytes(path.read_bytes()[:-8])


def _with_wrong_checksum(path):
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(bytes(data))


def _text(path):
    path.write_bytes(b"this is no gzip file")


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncated, _without_checksum, _with_wrong_checksum, _text, _empty])
def test_a_damaged_gzip_file_is_refused(tmp_path, damage):
    array = np.random.default_rng(0).integers(-1000, 1000, (8, 8, 8)).astype(np.int16)
    path = _save(tmp_path / "ct.nii.gz", array)
    damage(path)
    with pytest.raises(InputError, match=r"ct\.nii\.gz.*(damaged|cut off)"):
        images.read_image(path)


def test_a_cut_off_plain_file_is_refused(tmp_path):
    path = _save(tmp_path / "ct.nii", np.zeros((8, 8, 8), np.int16))
    _truncated(path)
    with pytest.raises(InputError, match="cut off"):
        images.read_image(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_claims_terabytes_is_refused_before_any_memory_is_taken(tmp_path, suffix):
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_sform(_affine(), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    data = header.binaryblock + bytes(100_000)
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
    tracemalloc.start()
    with pytest.raises(InputError, match="claims"):
        images.read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_gzip_bomb_behind_an_honest_header_is_refused(tmp_path):
    path = _save(tmp_path / "ct.nii.gz", np.zeros((4, 4, 4), np.int16))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(50_000_000)))
    with pytest.raises(InputError, match="cut off or damaged"):
        images.read_image(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_refused(tmp_path, bad):
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = bad
    with pytest.raises(InputError, match=r"ct\.nii.*NaN or infinite"):
        images.read_image(_save(tmp_path / "ct.nii", array))


def test_four_axes_are_refused_unless_the_fourth_is_one(tmp_path):
    with pytest.raises(InputError, match=r"three axes.*\(3, 3, 3, 2\)"):
        images.read_image(_save(tmp_path / "a.nii", np.zeros((3, 3, 3, 2), np.int16)))
    assert images.read_image(_save(tmp_path / "b.nii", np.zeros((3, 3, 3, 1), np.int16))).shape == (3, 3, 3)
    with pytest.raises(InputError, match="three axes"):
        images.read_image(_save(tmp_path / "c.nii", np.zeros((3, 3), np.int16)))


def test_shear_color_and_unknown_orientation_are_refused(tmp_path):
    shear = _affine()
    shear[0, 2] = 1.0
    with pytest.raises(InputError, match="right angles"):
        images.read_image(_save(tmp_path / "a.nii", np.zeros((3, 3, 3), np.int16), shear))
    with pytest.raises(InputError, match="color"):
        images.read_image(_save(tmp_path / "b.nii", np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])))
    file = nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), _affine())
    file.set_sform(None, 0)
    file.set_qform(None, 0)
    nib.save(file, tmp_path / "c.nii")
    with pytest.raises(InputError, match="left"):
        images.read_image(tmp_path / "c.nii")
    file.set_sform(_affine(), 1)
    file.header.set_xyzt_units("meter")
    nib.save(file, tmp_path / "d.nii")
    with pytest.raises(InputError, match="millimeters"):
        images.read_image(tmp_path / "d.nii")


@pytest.mark.parametrize(
    ("sform", "qform", "pixdim", "words"),
    [
        ((1, 1, 5), (1, 1, 3), None, r"its affine has voxels of 1, 1, 5 mm, its pixdim of 1, 1, 3 mm"),
        ((1, 1, 5), None, (1, 1, 3), r"its affine has voxels of 1, 1, 5 mm, its pixdim of 1, 1, 3 mm"),
        ((-1, -1, 3), (1, 1, 3), None, r"sform and qform place its voxels up to 6 mm apart"),
        ((1, 1, 3.00001), (1, 1, 3), None, ""),
        ((0.9765625, 1, 3), (0.9766, 1, 3), None, ""),
        (None, (1, 1, 3), None, ""),
    ],
)
@pytest.mark.parametrize("reader", [images.read_image, nifti.read_grid, lambda path: nifti.read_mask(path, allow_empty=True)])
def test_a_header_that_contradicts_itself_is_refused(tmp_path, reader, sform, qform, pixdim, words):
    file = nib.Nifti1Image(np.zeros((4, 4, 3), np.int16), np.eye(4))
    for set_form, sides in ((file.set_sform, sform), (file.set_qform, qform)):
        set_form(None if sides is None else np.diag([*sides, 1.0]), int(sides is not None))
    if pixdim:
        file.header["pixdim"][1:4] = pixdim
    nib.save(file, tmp_path / "a.nii")
    with pytest.raises(InputError, match=rf"contradicts itself: {words}\. .*which is right") if words else contextlib.nullcontext():
        reader(tmp_path / "a.nii")


@pytest.mark.parametrize(("side", "shown"), [(800000.0, "800000.0"), (10.1, "10.1"), (0.0008, "0.0008")])
def test_voxels_that_no_ct_has_are_refused_in_every_format(tmp_path, dicom, side, shown):
    path = _save(tmp_path / "a.nii", np.zeros((3, 3, 3), np.int16), np.diag([1.0, 1.0, side, 1.0]))
    dicom.ct_series(tmp_path / "ct", spacing=(side, side, 1.0))
    volume = sitk.GetImageFromArray(np.zeros((3, 3, 3), np.int16))
    volume.SetSpacing((1.0, side, 1.0))
    sitk.WriteImage(volume, tmp_path / "a.mha")
    readers = [(images.read_image, path), (nifti.read_grid, path), (nifti.read_mask, path), (images.read_image, tmp_path / "ct")]
    for read, place in [*readers, (metaimage.read_image, tmp_path / "a.mha")]:
        with pytest.raises(InputError, match=rf"its voxels are {re.escape(shown)} mm long\. 0\.05 to 10 mm is sensible"):
            read(place)


@pytest.mark.parametrize("name", ["A.NII.GZ", "A.Nii", "a.nii.GZ"])
def test_an_ending_in_capitals_is_one(tmp_path, name):
    image = Image(np.arange(60, dtype=np.float32).reshape(3, 4, 5), _affine())
    nifti.write_image(image, tmp_path / name)
    assert (tmp_path / name).read_bytes()[:2] == b"\x1f\x8b" or name == "A.Nii"
    assert np.array_equal(images.read_image(tmp_path / name).array, image.array)
    mask = Mask(image.array > 30, image.affine)
    nifti.write_mask(mask, tmp_path / f"m{name}", like_path=tmp_path / name)
    assert np.array_equal(nifti.read_mask(tmp_path / f"m{name}", image).array, mask.array)


def test_probabilities_are_no_labels_and_labels_are_told(tmp_path):
    array = np.zeros((3, 3, 3), np.float32)
    array[0], array[1, 1, 1] = 255, 2.0004
    path = _save(tmp_path / "a.nii", array)
    assert nifti.labels_in(path).tolist() == [2, 255]
    assert nifti.read_mask(path, label=255).array.sum() == 9
    array[2] = 0.37
    with pytest.raises(InputError, match=r"between labels, e\.g\. 0\.37\. Threshold"):
        nifti.read_mask(_save(tmp_path / "b.nii", array), label=1)


@pytest.mark.parametrize("change", [{"shape": (4, 5, 7)}, {"origin": (7.5, -8.0, 9.0)}, {"spacing": (1.0, 2.0, 4.1)}])
def test_a_mask_on_another_grid_is_refused_with_both_grids_named(tmp_path, change):
    shape = change.pop("shape", (4, 5, 6))
    path = _save(tmp_path / "m.nii", np.ones(shape, np.uint8), _affine(**change))
    with pytest.raises(InputError, match=r"its grid .* is not that of"):
        nifti.read_mask(path, _image())


def test_writing_like_a_file_with_another_grid_or_a_wrong_name_is_refused(tmp_path):
    path = _save(tmp_path / "ct.nii", np.zeros((4, 5, 7), np.int16))
    with pytest.raises(InputError, match="grid"):
        nifti.write_mask(Mask(np.ones((4, 5, 6), bool), _affine()), tmp_path / "m.nii.gz", like_path=path)
    with pytest.raises(InputError, match="not a NIfTI file name"):
        nifti.write_mask(Mask(np.ones((4, 5, 6), bool), _affine()), tmp_path / "m.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct.nii"]


def test_a_mask_of_a_folder_or_of_another_format_is_stored_in_ras_order(tmp_path):
    (tmp_path / "series.nii").mkdir()  # DICOM folders may be called anything
    (tmp_path / "cube.mha").write_bytes(b"")
    mask = Mask(np.ones((4, 5, 6), bool), _affine())
    for like_path in (tmp_path / "series.nii", tmp_path / "cube.mha"):
        nifti.write_mask(mask, tmp_path / "m.nii.gz", like_path=like_path)
        assert nib.load(tmp_path / "m.nii.gz").affine == pytest.approx(mask.affine)


def test_what_is_not_there_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        images.read_image(tmp_path / "none.nii")
    with pytest.raises(InputError, match="no such file"):
        nifti.read_mask(tmp_path / "none.nii", _image())
    (tmp_path / "ct.mha").write_bytes(b"x")
    with pytest.raises(InputError, match="neither NIfTI nor a folder"):
        images.read_image(tmp_path / "ct.mha")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 351), value=st.integers(0, 255))
def test_any_byte_of_the_header_may_be_wrong_and_only_input_errors_come_out(tmp_path, position, value):
    path = _save(tmp_path / "ct.nii", np.zeros((4, 4, 4), np.int16))
    data = bytearray(path.read_bytes())
    data[position] = value
    path.write_bytes(bytes(data))
    with contextlib.suppress(InputError):
        assert np.isfinite(images.read_image(path).array).all()


# --- atomic writing ------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.atomic_path(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (path.parent, ".txt")
        temporary.write_text("old")

    def stop_halfway():
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    def fill_up():
        with files.atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("start")
            with open("/dev/full", "wb", buffering=0) as full:  # a real ENOSPC from the system
                full.write(b"x")

    with pytest.raises(InputError, match="disk is full"):
        fill_up()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_at_the_flush_leaves_the_old_mask(tmp_path, monkeypatch):
    mask = Mask(np.ones((3, 4, 5), bool), _affine())
    nifti.write_mask(mask, tmp_path / "m.nii.gz")
    before = (tmp_path / "m.nii.gz").read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="disk is full"):
        nifti.write_mask(Mask(~mask.array, mask.affine), tmp_path / "m.nii.gz")
    assert (tmp_path / "m.nii.gz").read_bytes() == before
    assert _leftovers(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from lungseg_utils.core import files\n"
        "with files.atomic_path(sys.argv[1]) as t: t.write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path), os.getcwd()], check=False).returncode == 9
    assert path.read_text() == "old"


# --- DICOM CT series -----------------------------------------------------------------------------------------------


def _stored(shape=(4, 5, 6), seed=0):
    return np.random.default_rng(seed).integers(0, 3000, shape).astype(np.int16)


def test_a_series_by_hand(tmp_path, dicom):
    stored = np.zeros((3, 4, 5), np.int16)
    stored[2, 1, 4] = 1124  # third slice, second row, fifth column: 100 HU
    stored[0, 0, 0] = -2000  # -3024 HU: outside the field of view
    dicom.ct_series(tmp_path, stored, origin=(10, 20, 30), spacing=(0.5, 2.0, 3.0))
    image = images.read_image(tmp_path)
    assert image.shape == (5, 4, 3)
    assert image.spacing_mm == pytest.approx((0.5, 2.0, 3.0))
    where = np.argwhere(image.array == 100)
    # LPS: x = 10 + 4 * 0.5 = 12, y = 20 + 1 * 2 = 22, z = 30 + 2 * 3 = 36; RAS turns the first two round
    assert geometry.ijk_to_world(where, image.affine).tolist() == [[-12.0, -22.0, 36.0]]
    assert image.array.min() == -1024
    assert image.array.dtype == np.float32


@pytest.mark.parametrize(
    ("representation", "vr", "value", "limit"),
    [
        (0, "US", 63536, None),  # not signed: 62512 HU by its slope
        (1, "US", 63536, None),  # the bits of -2000, as some scanners write them
        (1, "SS", -2000, None),
        (0, "US", 65535, 63000),  # a range, from either end
        (0, "US", 63000, 65535),
        (1, "SS", 1124, None),  # 100 HU would be tissue; the header says that it is no image
    ],
)
def test_padding_is_no_image_but_air(tmp_path, dicom, representation, vr, value, limit):
    stored = np.full((3, 4, 5), 1074, np.int16)  # 50 HU
    padded = value if limit is None else 63536
    stored[:, 0] = padded - 65536 if padded > 32767 else padded

    def edit(dataset, index):
        dataset.PixelRepresentation = representation
        dataset.add_new("PixelPaddingValue", vr, value)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", vr, limit)

    dicom.ct_series(tmp_path, stored, edit=edit)
    array = images.read_image(tmp_path).array
    assert (array[:, -1] == -1024).all()  # rows run from anterior: the first is the last in RAS
    assert (array[:, :-1] == 50).all()


def test_slices_in_linked_folders_are_read_once(tmp_path, dicom):
    dicom.ct_series(tmp_path / "elsewhere")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "ct").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "root")
    assert images.read_image(tmp_path / "root").shape[2] == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_may_not_be_read_is_refused(tmp_path, dicom):
    dicom.ct_series(tmp_path / "ct")
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(InputError, match="closed: it cannot be read"):
        images.read_image(tmp_path)


@pytest.mark.parametrize(
    "cosines",
    [
        (1, 0, 0, 0, 1, 0),
        (1, 0, 0, 0, -1, 0),
        (0, 1, 0, 0, 0, -1),
        (1, 0, 0, 0, 0, -1),
        (-1, 0, 0, 0, -1, 0),
        (0.96, 0.28, 0, -0.28, 0.96, 0),
    ],
)
def test_a_series_in_any_orientation_agrees_with_simpleitk(tmp_path, dicom, cosines):
    dicom.ct_series(tmp_path, _stored(), (3, 4, 5), cosines, (0.7, 0.9, 2.5))
    image = images.read_image(tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    oracle = reader.Execute()
    for index in itertools.product(range(6), range(5), range(4)):
        lps = np.array(oracle.TransformIndexToPhysicalPoint(index))
        ijk = geometry.world_to_ijk((lps * [-1, -1, 1])[None], image.affine)[0]
        assert np.abs(ijk - np.rint(ijk)).max() < 1e-3
        assert image.array[tuple(np.rint(ijk).astype(int))] == oracle[index]


def test_slope_and_intercept_may_differ_from_slice_to_slice(tmp_path, dicom):
    def edit(dataset, index):
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5 + index, -10

    dicom.ct_series(tmp_path, np.full((3, 2, 2), 10, np.int16), edit=edit)
    assert images.read_image(tmp_path).array[0, 0].tolist() == [-5.0, 5.0, 15.0]


def test_other_modalities_scouts_and_other_files_are_ignored_at_any_depth(tmp_path, dicom):
    dicom.ct_series(tmp_path / "a" / "b", _stored())
    dicom.rtstruct(tmp_path / "a" / "rs.dcm", {"GTV-1": []})
    scout = {"series_uid": "9.9", "edit": lambda d, _: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"])}
    dicom.ct_series(tmp_path / "scout", _stored((1, 5, 6)), **scout)
    (tmp_path / "LICENSE.txt").write_text("text")
    (tmp_path / "a" / "._hidden.dcm").write_bytes(b"macOS")
    assert images.read_image(tmp_path).shape == (6, 5, 4)
    assert sorted({file.modality for file in dicom_series.list_dicom(tmp_path)}) == ["CT", "RTSTRUCT"]


def test_of_two_series_one_must_be_chosen(tmp_path, dicom):
    dicom.ct_series(tmp_path / "a", _stored((3, 5, 6)), series_uid="1.1")
    dicom.ct_series(tmp_path / "b", _stored((4, 5, 6)), series_uid="1.2")
    with pytest.raises(InputError, match=r"1\.1 \(3 slices\); 1\.2 \(4 slices\)"):
        images.read_image(tmp_path)
    assert images.read_image(tmp_path, series_uid="1.2").shape[2] == 4
    with pytest.raises(InputError, match=r"no CT series 1\.3"):
        images.read_image(tmp_path, series_uid="1.3")


def _set(**values):
    def edit(dataset, index):
        if index == 1:
            for name, value in values.items():
                setattr(dataset, name, value)

    return edit


def _all(**values):
    def edit(dataset, _index):
        for name, value in values.items():
            setattr(dataset, name, value)

    return edit


def _tilt(dataset, index):
    dataset.ImagePositionPatient = [0, 0.3 * index, index]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda _, index: index != 1, "uneven slice positions: 2.000 mm at 0.00 mm"),
        (_set(ImagePositionPatient=[0, 0, 2.0]), "two slices at the same position"),
        (_set(ImagePositionPatient=[0, 0, 1.3]), "uneven slice positions"),
        (_set(ImagePositionPatient=[4.0, 0, 1.0]), "uneven slice positions"),
        (_set(ImageOrientationPatient=[0, 1, 0, 0, 0, 1]), "orientation differs"),
        (_set(PixelSpacing=[2, 2]), "pixel spacing differs"),
        (_set(PixelSpacing=[1, 0]), "makes no sense"),
        (_set(ImageOrientationPatient=[1, 0, 0, 0, 5, 0]), "makes no sense"),
        (_set(ImagePositionPatient=None), "lacks ImagePositionPatient"),
        (_set(PixelData=b"\0\0"), "cannot be decoded"),
        (_set(NumberOfFrames=2), "multi-frame"),
        (_set(SamplesPerPixel=3, PhotometricInterpretation="RGB"), "color"),
        (_set(RescaleSlope=None), "lacks RescaleSlope"),
        (_set(RescaleSlope=0), "slope 0 and intercept -1024 make no Hounsfield units"),
        (_set(RescaleSlope="1e308"), r"slope 1e\+308 .* make no Hounsfield units"),
        (_set(RescaleIntercept=-99999), "make no Hounsfield units"),
        (_all(SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1"), "multi-frame"),
        (_all(Modality="MR"), "no CT image in it .found: MR"),
        (_tilt, "right angles"),
        (lambda _, index: index == 0, "a single CT slice"),
    ],
)
def test_a_series_that_is_not_one_whole_volume_is_refused(tmp_path, dicom, edit, words):
    dicom.ct_series(tmp_path, _stored(), edit=edit)
    with pytest.raises(InputError, match=words):
        images.read_image(tmp_path)


def test_an_empty_folder_and_a_slice_of_another_size_are_refused(tmp_path, dicom):
    with pytest.raises(InputError, match="no DICOM file"):
        images.read_image(tmp_path)
    dicom.ct_series(tmp_path, _stored())
    other = dicom.ct_series(tmp_path / "more", _stored((1, 7, 7)), origin=(0, 0, 4))
    assert len(other) == 1
    with pytest.raises(InputError, match="size or pixel spacing differs"):
        images.read_image(tmp_path)


def test_a_compressed_series_without_a_decoder_is_refused_with_its_syntax_named(tmp_path, dicom):
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    for dataset in dicom.ct_series(tmp_path, _stored()):
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51 no codestream "])
        dataset["PixelData"].is_undefined_length = True
        dicom.save(dataset, next(p for p in tmp_path.iterdir() if dicom_files.read_header(p).SOPInstanceUID == dataset.SOPInstanceUID))
    with pytest.raises(InputError, match=r"JPEG 2000.*decompress"):
        images.read_image(tmp_path)


def test_run_length_encoding_is_read(tmp_path, dicom):
    from pydicom.uid import RLELossless

    stored = _stored()
    for dataset in dicom.ct_series(tmp_path, stored):
        path = next(p for p in tmp_path.iterdir() if dicom_files.read_header(p).SOPInstanceUID == dataset.SOPInstanceUID)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dicom.save(dataset, path)
    array = images.read_image(tmp_path).array
    assert np.array_equal(geometry.unstack_axial(array), np.clip(stored - 1024.0, -1024, 3071))


@pytest.mark.parametrize("keep", [0, 60, 200, 600])
def test_a_damaged_slice_is_refused_by_name(tmp_path, dicom, keep):
    dicom.ct_series(tmp_path, _stored())
    path = tmp_path / "10.dcm"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError):
        images.read_image(tmp_path)


def test_no_name_of_the_patient_is_kept(tmp_path, dicom):
    dicom.ct_series(tmp_path, _stored())
    header = dicom_files.read_header(tmp_path / "3.dcm")
    assert "PatientName" not in header
    assert "PatientBirthDate" not in header
    assert "Secret" not in repr(dicom_series.list_dicom(tmp_path)) + repr(header)


# --- RTSTRUCT ------------------------------------------------------------------------------------------------------


def _square(low, high, z):
    return [(low, low, z), (high, low, z), (high, high, z), (low, high, z)]


@pytest.fixture
def series(tmp_path, dicom):
    """A folder with 4 slices of 8 x 8 voxels of 1 mm (LPS origin 0), and its image."""
    dicom.ct_series(tmp_path / "ct")
    return tmp_path / "ct", images.read_image(tmp_path / "ct")


def _lps(mask):
    """World positions (LPS mm) of the true voxels, sorted."""
    world = geometry.ijk_to_world(np.argwhere(mask.array), mask.affine) * [-1, -1, 1]
    return sorted(map(tuple, np.rint(world).astype(int).tolist()))


def test_contours_by_hand(tmp_path, dicom, series):
    # 1.5 to 4.5 mm encloses the centres 2, 3, 4; a hole from 2.5 to 3.5 takes out the middle one on slice 2
    contours = [_square(1.5, 4.5, 1.0), _square(1.5, 4.5, 2.0), _square(2.5, 3.5, 2.0)]
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"Lung": [_square(0.5, 6.5, 0.0)], "GTV-1": contours})
    mask = read_rtstruct(path, series[1], series_folder=series[0])
    full = set(itertools.product((2, 3, 4), (2, 3, 4), (1, 2)))
    assert _lps(mask) == sorted(full - {(3, 3, 2)})
    assert open_rtstruct(path).names() == ["Lung", "GTV-1"]
    assert np.array_equal(read_rtstruct(path, series[1], r"(?i)gtv.?1", exact=False).array, mask.array)


@pytest.mark.parametrize("copies", [2, 3, 6])
def test_an_outline_that_is_stored_more_than_once_counts_once(tmp_path, dicom, series, copies):
    once = [_square(1.5, 4.5, 1.0), _square(1.5, 4.5, 2.0), _square(2.5, 3.5, 2.0)]
    with_a_point_more = [(1.5, 3.0, 2.0), *_square(1.54, 4.46, 2.0), (3.0, 1.5, 2.0)]  # rounded otherwise, too
    with_a_point_more = [with_a_point_more[i] for i in (1, 5, 2, 3, 4, 0)]
    turned = once[2][2:] + once[2][:2]
    doubled = [*once, *[once[0]] * (copies - 1), with_a_point_more, *[turned[::-1]] * (copies - 1)]
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"GTV-1": doubled, "GTV-2": once})
    assert np.array_equal(read_rtstruct(path, series[1]).array, read_rtstruct(path, series[1], "GTV-2").array)


def test_a_hole_near_its_outline_is_no_copy(tmp_path, dicom, series):
    # a wall of 0.6 voxels, and a notch that only one of two outlines has
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"GTV-1": [_square(0.7, 6.3, 1.0), _square(1.3, 5.7, 1.0)]})
    assert int(read_rtstruct(path, series[1]).array.sum()) == 6 * 6 - 4 * 4
    notched = [(1.5, 1.5, 1.0), (4.5, 1.5, 1.0), (4.5, 2.5, 1.0), (2.5, 2.5, 1.0), (2.5, 3.5, 1.0), (4.5, 3.5, 1.0)]
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"GTV-1": [_square(1.5, 4.5, 1.0), [*notched, (4.5, 4.5, 1.0), (1.5, 4.5, 1.0)]]})
    assert _lps(read_rtstruct(path, series[1])) == [(3, 3, 1), (4, 3, 1)]


def test_numbers_of_contours_in_every_form_that_dicom_allows(tmp_path, dicom, series):
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"GTV-1": [_square(1.5, 4.5, 1.0)]})
    plain = read_rtstruct(path, series[1])
    first, last = b"1.5\\1.5\\1.0", b"\\1.5\\4.5\\1.0"
    stored = path.read_bytes()
    assert stored.count(first) == stored.count(last) == 1

    def rewritten(old, new):
        assert len(old) == len(new)
        (tmp_path / "other.dcm").write_bytes(stored.replace(old, new))
        return read_rtstruct(tmp_path / "other.dcm", series[1])

    for new in (b"15e-1\\1.5\\1", b" 1.5\\1.50\\1"):
        assert np.array_equal(rewritten(first, new).array, plain.array)
    for padding in (b"\0\0", b"  "):
        assert np.array_equal(rewritten(last, last[:-2] + padding).array, plain.array)
    with pytest.raises(InputError, match="the contours of 'GTV-1' cannot be read"):
        rewritten(first, b"1.x\\1.5\\1.0")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(low=st.floats(-0.4, 3.0), high=st.floats(3.6, 7.4), angle=st.floats(0, 6.28))
def test_a_voxel_is_inside_if_its_center_is(tmp_path, dicom, low, high, angle):
    # a triangle in the corner of the square, tested by half-planes
    centre, radius = (low + high) / 2, (high - low) / 2
    points = [(centre + radius * np.cos(angle + a), centre + radius * np.sin(angle + a), 1.0) for a in (0.0, 2.0, 4.0)]
    affine = geometry.LPS_TO_RAS @ np.eye(4)
    array, affine = geometry.to_ras(np.zeros((8, 8, 3), np.float32), affine)
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"T": [points]})
    x, y = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    sides = []
    for (ax, ay, _), (bx, by, _) in zip(points, points[1:] + points[:1], strict=True):
        sides.append((bx - ax) * (y - ay) - (by - ay) * (x - ax))
    if min(np.abs(side).min() for side in sides) < 1e-6:
        return  # a centre on an edge: either answer will do
    expected = np.all([side > 0 for side in sides], axis=0)
    if not expected.any():
        with pytest.raises(InputError, match="no voxel centre"):
            read_rtstruct(path, Image(array, affine), "T")
        return
    mask = read_rtstruct(path, Image(array, affine), "T")
    assert _lps(mask) == sorted((int(a), int(b), 1) for a, b in np.argwhere(expected))


@pytest.mark.parametrize(
    ("contours", "words"),
    [
        ([_square(1.5, 4.5, 9.0)], "outside the volume"),
        ([_square(1.5, 4.5, -1.0)], "outside the volume"),
        ([_square(1.5, 4.5, 1.4)], "0.40 mm off the nearest slice"),
        ([_square(1.5, 40.0, 1.0)], "leaves the image in plane"),
        ([_square(1.2, 1.8, 1.0)], "covers no voxel centre"),
        ([[(1, 1, 1), (4, 4, np.nan), (4, 1, 1)]], "no numbers"),
        ([], "not made of closed contours"),
    ],
)
def test_contours_that_do_not_fit_are_refused(tmp_path, dicom, series, contours, words):
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"GTV-1": contours})
    with pytest.raises(InputError, match=words):
        read_rtstruct(path, series[1])


def test_a_wrong_region_kind_frame_or_file_is_refused(tmp_path, dicom, series):
    folder, image = series
    square = [_square(1.5, 4.5, 1.0)]
    path = dicom.rtstruct(tmp_path / "a.dcm", {"GTV-1": square, "GTV-2": square}, frame="1.9.9")
    with pytest.raises(InputError, match=r"no region for 'GTV-3'.*GTV-1, GTV-2"):
        read_rtstruct(path, image, "GTV-3")
    with pytest.raises(InputError, match="more than one region"):
        read_rtstruct(path, image, "GTV.*", exact=False)
    with pytest.raises(InputError, match=r"frame of reference 1\.9\.9 is not that of the CT"):
        read_rtstruct(path, image, series_folder=folder)
    assert read_rtstruct(path, image).array.sum() == 9  # nothing to compare with
    assert read_rtstruct(dicom.rtstruct(tmp_path / "b.dcm", {"GTV-1": square}, frame=None), image, series_folder=folder).array.any()
    point = dicom.rtstruct(tmp_path / "c.dcm", {"GTV-1": [[(1, 1, 1)]]}, kind="POINT")
    with pytest.raises(InputError, match="found: POINT"):
        read_rtstruct(point, image)
    with pytest.raises(InputError, match=r"not an RTSTRUCT file \(modality CT\)"):
        read_rtstruct(folder / "3.dcm", image)
    (tmp_path / "d.dcm").write_bytes(path.read_bytes()[:400])
    with pytest.raises(InputError):
        read_rtstruct(tmp_path / "d.dcm", image)
    with pytest.raises(InputError, match="no such file"):
        read_rtstruct(tmp_path / "none.dcm", image)


# --- DICOM SEG -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)])
def test_a_segment_comes_back_where_it_was_put(tmp_path, dicom, kind, cosines):
    stored = np.zeros((4, 6, 5), np.int16)
    stored[1, 2:5, 1:3] = stored[3, 0, 0] = 1500  # slices 1 and 3: the file skips the empty ones
    datasets = dicom.ct_series(tmp_path / "ct", stored, cosines=cosines, spacing=(0.5, 0.5, 2.0))
    pixels = (stored > 0).astype(float if kind == "FRACTIONAL" else np.uint8)
    path = dicom.seg(tmp_path / "seg.dcm", datasets, pixels, kind)
    image = images.read_image(tmp_path / "ct")
    mask = dicom_seg.read_dicom_seg(path, image, "Tumor", series_folder=tmp_path / "ct")
    assert np.array_equal(mask.array, image.array > 0)
    assert mask.array.sum() == 7


def test_of_two_segments_the_named_one_is_read(tmp_path, dicom):
    datasets = dicom.ct_series(tmp_path / "ct")
    pixels = np.zeros((4, 8, 8), np.uint8)
    pixels[0, 0, 0], pixels[2, 3:5, 3:5] = 1, 2
    path = dicom.seg(tmp_path / "seg.dcm", datasets, pixels, labels=("Lung", "Tumor"))
    image = images.read_image(tmp_path / "ct")
    assert dicom_seg.open_dicom_seg(path).names() == ["Lung", "Tumor"]
    assert dicom_seg.read_dicom_seg(path, image, "Tumor").array.sum() == 4
    with pytest.raises(InputError, match=r"no segment 'GTV'.*Lung, Tumor"):
        dicom_seg.read_dicom_seg(path, image, "GTV")


def test_a_segmentation_of_another_ct_or_another_kind_is_refused(tmp_path, dicom):
    datasets = dicom.ct_series(tmp_path / "ct")
    path = dicom.seg(tmp_path / "seg.dcm", datasets, np.ones((4, 8, 8), np.uint8))
    for name, change in {
        "moved": {"origin": (0.4, 0, 0)},
        "finer": {"spacing": (0.9, 1.0, 1.0)},
        "short": {"stored": _stored((3, 8, 8))},
    }.items():
        dicom.ct_series(tmp_path / name, **change)
        with pytest.raises(InputError, match="does not fall on voxels"):
            dicom_seg.read_dicom_seg(path, images.read_image(tmp_path / name), "Tumor")
    with pytest.raises(InputError, match="not a DICOM SEG file"):
        dicom_seg.read_dicom_seg(tmp_path / "ct" / "3.dcm", images.read_image(tmp_path / "ct"), "Tumor")

    dicom.ct_series(tmp_path / "other", edit=_all(FrameOfReferenceUID="1.8.8"))
    with pytest.raises(InputError, match="frame of reference"):
        dicom_seg.read_dicom_seg(path, images.read_image(tmp_path / "other"), "Tumor", series_folder=tmp_path / "other")


# --- any damage at all ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def intact(tmp_path_factory, dicom):
    """Bytes of one small file of each kind, and the image that they belong to."""
    folder = tmp_path_factory.mktemp("intact")
    datasets = dicom.ct_series(folder / "ct")
    square = [_square(1.5, 4.5, 1.0), _square(1.5, 4.5, 2.0)]
    rtstruct = dicom.rtstruct(folder / "rs.dcm", {"A": square, "GTV-1": square}).read_bytes()
    seg = dicom.seg(folder / "seg.dcm", datasets, np.ones((4, 8, 8), np.uint8)).read_bytes()
    slices = {path.name: path.read_bytes() for path in (folder / "ct").iterdir()}
    return images.read_image(folder / "ct"), {"rtstruct": rtstruct, "seg": seg, "ct": slices["10.dcm"]}, slices


def _read_any(kind, data, folder, intact):
    image, _, slices = intact
    path = folder / "10.dcm"
    if kind == "ct":
        for name, content in slices.items():
            (folder / name).write_bytes(content)
    path.write_bytes(data)
    if kind == "ct":
        return images.read_image(folder).array.shape
    return int((read_rtstruct(path, image) if kind == "rtstruct" else dicom_seg.read_dicom_seg(path, image, "Tumor")).array.sum())


@pytest.mark.parametrize("kind", ["ct", "rtstruct", "seg"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), value=st.integers(0, 255))
@pytest.mark.filterwarnings("ignore")
def test_any_byte_of_a_dicom_file_may_be_wrong_and_only_input_errors_come_out(tmp_path, intact, kind, where, value):
    data = bytearray(intact[1][kind])
    data[128 + int(where * (len(data) - 129))] = value
    with contextlib.suppress(InputError):
        _read_any(kind, bytes(data), tmp_path, intact)


@pytest.mark.parametrize("kind", ["ct", "rtstruct", "seg"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1))
@pytest.mark.filterwarnings("ignore")
def test_a_dicom_file_cut_off_anywhere_never_reads_as_something_else(tmp_path, intact, kind, where):
    data = intact[1][kind]
    whole = _read_any(kind, data, tmp_path, intact)
    with contextlib.suppress(InputError):
        assert _read_any(kind, data[: int(where * (len(data) - 1))], tmp_path, intact) == whole
