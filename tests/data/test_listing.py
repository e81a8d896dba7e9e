"""Every file that a listing sees is used, named as foreign, or a fault; and DICOM files of older software and of archives are read."""

import shutil

import imagecodecs
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite

from lungseg_utils import __main__ as command_line
from lungseg_utils.core import masks
from lungseg_utils.data import check, grids, images, listing, nnunet_listing, used_files
from lungseg_utils.data.rtstruct import read_rtstruct
from lungseg_utils.datasets import folder, nsclc_radiomics
from lungseg_utils.types import InputError, Mask


def _chest(seed=0):
    hu = np.random.default_rng(seed).integers(-900, -800, (12, 12, 8)).astype(np.int16)
    hu[:, :6] = 40
    return hu


def _tumor(levels=(3, 4)):
    array = np.zeros((12, 12, 8), np.uint8)
    array[2:5, 2:5, list(levels)] = 1
    return array


def _save(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("temporary.nii.gz")  # whatever the ending is to be
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1.0, 2.0, 1.0]) if affine is None else affine), plain)
    plain.rename(path)


def _pair(root, name, seed=0, image="_0000.nii.gz", label=".nii.gz", mask=None):
    _save(root / "imagesTr" / f"{name}{image}", _chest(seed))
    _save(root / "labelsTr" / f"{name}{label}", _tumor() if mask is None else mask)


# --- nnU-Net's raw form --------------------------------------------------------------------------------------------


def test_each_file_that_makes_no_case_is_one_fault(tmp_path, capsys):
    _pair(tmp_path, "right", 0)
    _pair(tmp_path, "plain", 1, image=".nii.gz")
    _pair(tmp_path, "shout", 2, image="_0000.NII.GZ")
    _pair(tmp_path, "slicer", 3, image="_0000.nrrd", label=".nrrd")
    _pair(tmp_path, "alone", 4)
    (tmp_path / "imagesTr" / "alone_0000.nii.gz").unlink()
    (tmp_path / "notes.txt").write_text("seen by nobody")
    assert command_line.main(["data", "check", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "1 cases, 1 patients, 4 faults" in shown
    for words in (
        "plain.nii.gz: an image without a channel number in its name. Name it plain_0000.nii.gz.",
        "shout_0000.NII.GZ: its ending is .NII.GZ",
        "slicer_0000.nrrd: an image of another format (.nrrd)",
        "labelsTr/alone.nii.gz: a label without an image imagesTr/alone_0000.nii.gz",
    ):
        assert sum(words in line for line in shown.splitlines()) == 1
    last = shown.splitlines()[-1]
    assert last.startswith("files: 10 seen, 2 used, 8 passed over: ")
    assert "1 no image (notes.txt)" in last
    assert "4 named as a fault" in last


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "labelsTr" / "a.nii.gz").rename(root / "labelsTr" / "a.nrrd"), "a.nrrd: an image of another format"),
        (lambda root: (root / "labelsTr" / "a.nii.gz").rename(root / "labelsTr" / "a.NII.GZ"), "its ending is .NII.GZ"),
        (lambda root: shutil.copy(root / "labelsTr" / "a.nii.gz", root / "labelsTr" / "a.nii"), "a.nii.gz lies beside it"),
        (lambda root: shutil.copytree(root / "imagesTr", root / "imagesTr" / "more"), "it lies in a folder below imagesTr"),
        (lambda root: (root / "labelsTr" / "a.nii.gz").unlink(), "no such file"),
        (lambda root: (root / "imagesTr" / "a_0000.nii.gz").rename(root / "imagesTr" / "a_0001.nii.gz"), "a second channel (0001)"),
    ],
)
def test_other_files_without_a_partner(tmp_path, change, words):
    _pair(tmp_path, "a")
    change(tmp_path)
    _, faults = nnunet_listing.pairs(tmp_path)
    assert [words in str(fault) for fault in faults] == [True]


def test_a_number_at_the_end_of_a_name_is_no_channel(tmp_path):
    _pair(tmp_path, "lung_0012", image=".nii.gz")
    _pair(tmp_path, "lung_0013")
    found, faults = nnunet_listing.pairs(tmp_path)
    assert [pair.name for pair in found] == ["lung_0013"]
    assert [fault.remedy for fault in faults] == ["Name it lung_0012_0000.nii.gz."]


def test_all_faults_of_a_table_are_named_and_its_sound_case_is_checked(tmp_path):
    _save(tmp_path / "ct.nii.gz", _chest())
    _save(tmp_path / "two.nii.gz", _tumor() * 2)
    _save(tmp_path / "m.nii.gz", _tumor())
    lines = ["a,ct.nii.gz,two.nii.gz", "b,x.nii.gz,y.nii.gz", "c,ct.nii.gz,z.nii.gz", "d,,", "e,ct.nii.gz,m.nii.gz"]
    (tmp_path / "t.csv").write_text("\n".join(["case_id,image,reference", *lines]) + "\n")
    with pytest.raises(listing.ListingError) as caught:
        folder.cases(tmp_path / "t.csv")
    assert [fault.where.rpartition("line ")[2] for fault in caught.value.faults] == ["3", "3", "4", "5"]
    assert all(str(fault) in str(caught.value) for fault in caught.value.faults)
    assert [case.case_id for case in caught.value.cases] == ["a", "e"]
    report = check.check(["folder"], tmp_path / "t.csv")
    assert report.faults["case_id"].tolist() == ["", "", "", "", "a"]
    assert report.cases["case_id"].tolist() == ["", "a", "e"]
    told = check.table(report).set_index("case_id")["faults"]
    assert all(name in told[""] for name in ("x.nii.gz", "y.nii.gz", "z.nii.gz", "no image"))


def test_a_label_of_zeros_is_a_case_without_a_lesion(tmp_path, capsys):
    _pair(tmp_path, "with", 0)
    _pair(tmp_path, "without", 1, mask=_tumor() * 0)
    assert command_line.main(["data", "check", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "cases without a lesion: 1 (without)" in shown
    assert shown.splitlines()[-1] == "files: 4 seen, 4 used, 0 passed over"


# --- references that lack slices -----------------------------------------------------------------------------------


def test_a_striped_reference_of_any_format_is_a_fault(tmp_path):
    _pair(tmp_path, "striped", mask=_tumor((1, 3, 4, 6)))
    (problem,) = check.check(["folder"], tmp_path).faults["problem"]
    assert problem == "the reference reference is empty on slices between slices of the same lesion: 2, 5"


def test_slices_left_out_are_looked_for_part_by_part():
    def missing(array, spacing=2.0, longest_mm=10.0):
        return masks.slices_left_out(Mask(array.astype(bool), np.diag([1.0, 1.0, spacing, 1.0])), longest_mm)

    assert missing(_tumor((2, 3, 4))) == []
    assert missing(_tumor((1, 5))) == [2, 3, 4]
    assert missing(_tumor((1, 5)), longest_mm=5.0) == []
    beside = _tumor((1, 3))
    beside[8:11, 8:11, 1:6] = 1  # another lesion has the slice that this one lacks
    assert missing(beside) == [2]
    beside[2:5, 2, 2] = 1  # it is thinner there, and does not end
    assert missing(beside) == []
    hollow = _tumor((1, 2, 3))  # a bite out of one side
    hollow[2:4, 2:5, 2] = 0
    assert missing(hollow) == []
    assert missing(np.zeros((3, 3, 3))) == []


# --- DICOM ---------------------------------------------------------------------------------------------------------


def _without_preamble(path, implicit, little=True):
    file = pydicom.dcmread(path)
    plain = pydicom.Dataset()
    plain.update(file)
    dcmwrite(path, plain, implicit_vr=implicit, little_endian=little, enforce_file_format=False)


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True)])
@pytest.mark.parametrize("ending", [".dcm", ""])
def test_slices_and_contours_without_a_preamble_are_read(tmp_path, dicom, implicit, little, ending):
    stored = np.random.default_rng(0).integers(0, 3000, (6, 8, 8)).astype(np.int16)
    dicom.ct_series(tmp_path / "ct", stored, patient_id="P1")
    whole = images.read_image(tmp_path / "ct").array
    path = dicom.rtstruct(tmp_path / "rs.dcm", {"GTV-1": [[(1.5, 1.5, 1.0), (4.5, 1.5, 1.0), (4.5, 4.5, 1.0), (1.5, 4.5, 1.0)]]})
    for file in [path, *sorted((tmp_path / "ct").iterdir())[-2:]]:
        _without_preamble(file, implicit, little)
        file.rename(file.with_suffix(ending))
    path = path.with_suffix(ending)
    image = images.read_image(tmp_path / "ct")
    assert np.array_equal(image.array, whole)
    assert read_rtstruct(path, image).array.sum() == 9
    (case,) = nsclc_radiomics.cases(tmp_path)
    assert case.reference_paths == (path,)


def test_text_that_begins_like_a_tag_is_no_dicom_file(tmp_path, dicom):
    dicom.ct_series(tmp_path / "ct")
    (tmp_path / "ct" / "notes").write_bytes(b"\x08\x00 some bytes that nobody wrote as elements" * 20)
    assert images.read_image(tmp_path / "ct").shape == (8, 8, 4)


@pytest.mark.parametrize(("signed", "bits"), [(0, 12), (0, 16), (1, 12), (1, 16)])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_jpeg_lossless_is_decoded_to_the_same_voxels(tmp_path, dicom, signed, bits, syntax):
    lowest = -1000 if signed else 0
    stored = np.random.default_rng(0).integers(lowest, lowest + 2000, (3, 16, 12)).astype(np.int16)
    dicom.ct_series(tmp_path, stored)
    for path in tmp_path.iterdir():
        file = pydicom.dcmread(path)
        coded = (file.pixel_array.astype(np.int64) % 2**bits).astype(np.uint16)
        file.BitsStored, file.HighBit, file.PixelRepresentation = bits, bits - 1, signed
        file.PixelData = encapsulate([imagecodecs.ljpeg_encode(coded, bitspersample=bits)])
        file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
        file.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        file.save_as(path)
    array = images.read_image(tmp_path).array
    assert np.array_equal(array[::-1, ::-1].transpose(2, 1, 0), np.clip(stored - 1024.0, -1024, 3071))


def test_a_transfer_syntax_that_nothing_here_decodes_is_named(tmp_path, dicom):
    for dataset in dicom.ct_series(tmp_path):
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51 no codestream "])
        dataset["PixelData"].is_undefined_length = True
        dicom.save(dataset, tmp_path / f"{(7 * (dataset.InstanceNumber - 1) + 3) % 101}.dcm")
    with pytest.raises(InputError, match="High-Throughput JPEG 2000"):
        images.read_image(tmp_path)


def test_every_damaged_file_of_a_collection_is_named_and_its_other_patients_are_checked(tmp_path, dicom):
    pixels = np.full((9, 16, 16), 1064, np.int16)
    pixels[:, :8] = 24
    square = [[(3.5, 3.5, 4.0), (6.5, 3.5, 4.0), (6.5, 6.5, 4.0), (3.5, 6.5, 4.0)]]
    for number in (1, 2, 3):
        dicom.ct_series(tmp_path / f"P{number}" / "ct", pixels + number, series_uid=f"1.{number}", patient_id=f"P{number}")
        dicom.rtstruct(tmp_path / f"P{number}" / "rs.dcm", {"GTV-1": square}, patient_id=f"P{number}")
    for number in (1, 2):
        (tmp_path / f"P{number}" / "ct" / "3.dcm").write_bytes(b"cut")
    (tmp_path / "P3" / "plan").write_bytes(b"text")
    (tmp_path / "P3" / ".hidden").write_bytes(b"text")
    report = check.check(["nsclc_radiomics"], tmp_path)
    assert report.faults["case_id"].tolist() == ["P1", "P2"]  # once each: the listing and the reading meet the same file
    assert report.cases.set_index("case_id")["readable"].to_dict() == {"P1": False, "P2": False, "P3": True}
    account = report.accounts["nsclc_radiomics"]
    assert account.passed_over["P3/plan"] == "no image"
    assert account.passed_over["P3/.hidden"] == "hidden"
    assert account.passed_over["P1/ct/3.dcm"] == "named as a fault"
    assert account.used == 9 + 3  # the series of P3, and the contours of all


# --- accounts of other commands, and grids -------------------------------------------------------------------------


def test_report_and_convert_end_with_an_account(tmp_path, capsys):
    for name, seed in (("a", 0), ("b", 1)):
        _pair(tmp_path / "set", name, seed)
        for part in ("ref", "pred"):
            _save(tmp_path / part / f"{name}.nii.gz", _tumor())
    (tmp_path / "pred" / "log.txt").write_text("x")
    (tmp_path / "ref" / "older" / "deep").mkdir(parents=True)
    _save(tmp_path / "ref" / "older" / "deep" / "a.nii.gz", _tumor())
    arguments = ["--predictions", str(tmp_path / "pred"), "--references", str(tmp_path / "ref"), "--out", str(tmp_path / "out")]
    assert command_line.main(["report", *arguments]) == 0
    expected = "files: 6 seen, 4 used, 2 passed over: 1 NIfTI that was not read (ref/older/deep/a.nii.gz); 1 no image (pred/log.txt)"
    assert expected in capsys.readouterr().out
    (tmp_path / "set" / "dataset.json").write_text("{}")
    assert command_line.main(["convert", "folder", "--root", str(tmp_path / "set"), "--to", str(tmp_path / "Dataset001_Own")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "files: 5 seen, 4 used, 1 passed over: 1 no image (dataset.json)"


def test_notes_outside_a_recording_are_not_kept(tmp_path):
    used_files.note_used(tmp_path / "a")
    with used_files.recording() as used:
        used_files.note_used(tmp_path / "b", str(tmp_path / "c"))
    assert {path.name for path in used} == {"b", "c"}


@pytest.mark.parametrize(
    ("affine", "shape", "words", "remedy"),
    [
        ((0.9766, 0.9766, 3), (512, 512, 10), r"voxel \(511, 0, 0\) lies 0.0192 mm apart along x, at 499.0426 and 499.0234 mm", "rounded"),
        ((0.9765625, 0.9765625, 3.5), (512, 512, 10), r"voxel \(0, 0, 9\) lies 4.5 mm apart along z", "Export both on the same grid"),
        ((0.9765625, 0.9765625, 3), (512, 511, 9), "511 and 512 voxels along y, 9 and 10 voxels along z", "Export both"),
    ],
)
def test_grids_say_where_they_differ_and_are_never_printed_alike(affine, shape, words, remedy):
    like = grids.empty_grid((512, 512, 10), np.diag([0.9765625, 0.9765625, 3, 1]), "ct")
    other = grids.empty_grid(shape, np.diag([*affine, 1]), "mask")
    with pytest.raises(InputError, match=words) as caught:
        grids.refuse_other_grid(other, like, "mask.nii", "ct.nii")
    assert remedy in caught.value.remedy
    assert len(set(str(caught.value).split("its grid (")[1].split(") mm from"))) > 1
    first, second = str(caught.value).split(") is not that of ct.nii (")
    assert first.rpartition("its grid (")[2] != second.partition("): ")[0]
