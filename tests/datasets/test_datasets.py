"""The data-set plug-ins on tiny synthetic copies of what they read."""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from lungseg_utils import registry
from lungseg_utils.core import masks
from lungseg_utils.datasets import folder, ibsi_ct_phantom, lung_4d, msd_lung, nsclc_radiomics, nsclc_radiomics_interobserver1
from lungseg_utils.types import DatasetCard, InputError

SPLITS = Path(__file__).resolve().parents[2] / "data" / "splits"
REAL = [
    "folder",
    "ibsi_ct_phantom",
    "lidc_idri",
    "lung_4d",
    "msd_lung",
    "nsclc_radiomics",
    "nsclc_radiomics_interobserver1",
    "rider_lung_ct",
]


def _nifti(path, value=0, shape=(6, 6, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.int16)
    array[2:4, 2:4, 2:4] = value
    nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return path


def _square(low, high, z):
    return [(low, low, z), (high, low, z), (high, high, z), (low, high, z)]


@pytest.mark.parametrize("name", REAL)
def test_every_card_is_complete(name):
    card = registry.card("datasets", name)
    assert isinstance(card, DatasetCard)
    assert all([card.title, card.summary, card.target, card.license, card.citation, card.source])
    assert card.phantom is False


def test_cards_load_without_torch_highdicom_or_scikit_image():
    code = (
        "import sys; from lungseg_utils import registry\n"
        f"for n in {REAL}: registry.card('datasets', n)\n"
        "print([m for m in ('torch', 'highdicom', 'skimage', 'pooch') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.strip() == "[]"


# --- one patient, one split ----------------------------------------------------------------------------------------


def test_the_ibsi_phantom_is_patient_lung1_002(tmp_path, dicom):
    dicom.ct_series(tmp_path / "ibsi_ct_phantom" / "dicom", patient_id="1")
    dicom.ct_series(tmp_path / "nsclc_radiomics" / "x", patient_id="LUNG1-002")
    (phantom,), (patient,) = ibsi_ct_phantom.cases(tmp_path), nsclc_radiomics.cases(tmp_path)
    assert phantom.patient_id == patient.patient_id == "LUNG1-002"
    with pytest.raises(InputError, match="one is needed"):
        ibsi_ct_phantom.load(phantom)


def test_no_patient_stands_in_two_splits():
    places = {}
    for path in sorted(SPLITS.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                places.setdefault(row["patient_id"], set()).add(row["split"])
    assert len(places) > 100
    assert {patient: found for patient, found in places.items() if len(found) > 1} == {}


# --- MSD -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def msd(tmp_path):
    root = tmp_path / "Task06_Lung"
    for name in ("lung_010", "lung_002"):
        _nifti(root / "imagesTr" / f"{name}.nii.gz", -500)
        _nifti(root / "labelsTr" / f"{name}.nii.gz", 1)
    _nifti(root / "imagesTs" / "lung_001.nii.gz", -500)
    (root / "imagesTr" / "._lung_002.nii.gz").write_bytes(b"macOS")
    training = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in ("lung_010", "lung_002", "._lung_002")]
    (root / "dataset.json").write_text(json.dumps({"training": training, "test": ["./imagesTs/lung_001.nii.gz"]}))
    return root


def test_msd_lists_sorted_cases_without_macos_files(msd):
    for root in (msd, msd.parent):
        found = msd_lung.cases(root)
        assert [case.case_id for case in found] == ["lung_001", "lung_002", "lung_010"]
        assert [len(case.reference_paths) for case in found] == [0, 1, 1]
        assert all(case.patient_id == case.case_id for case in found)


def test_msd_test_scans_stay_without_reference(msd):
    unlabeled, labeled, _ = map(msd_lung.load, msd_lung.cases(msd))
    assert dict(unlabeled.references) == {}
    assert labeled.references["tumor"].array.sum() == 8
    assert labeled.references["tumor"].volume_ml == pytest.approx(8 * 2 / 1000)


def test_msd_refuses_what_is_incomplete_or_empty(msd):
    _nifti(msd / "labelsTr" / "lung_002.nii.gz", 0)
    with pytest.raises(InputError, match=r"lung_002\.nii\.gz: the mask is empty"):
        msd_lung.load(msd_lung.cases(msd)[1])
    (msd / "labelsTr" / "lung_010.nii.gz").unlink()
    with pytest.raises(InputError, match=r"lung_010\.nii\.gz.*missing"):
        msd_lung.cases(msd)
    (msd / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        msd_lung.cases(msd)
    (msd / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"no dataset\.json"):
        msd_lung.cases(msd)


# --- NSCLC-Radiomics -----------------------------------------------------------------------------------------------


@pytest.fixture
def nsclc(tmp_path, dicom):
    """Four patients in different nestings: with a node, without GTV-1, without contours, without CT."""
    gtv, node = [_square(3.5, 5.5, 4.0)], [_square(7.5, 8.5, 4.0)]
    blank = np.full((9, 16, 16), 1024, np.int16)
    for patient, uid in {"LUNG1-001": "1.1", "LUNG1-003": "1.3", "LUNG1-128": "1.28"}.items():
        dicom.ct_series(tmp_path / patient / "study" / "ct", blank, series_uid=uid, patient_id=patient)
    dicom.rtstruct(tmp_path / "LUNG1-001" / "study" / "rs" / "1-1.dcm", {"Lung": gtv, "GTV-1": gtv, "GTV-2": node}, patient_id="LUNG1-001")
    dicom.rtstruct(tmp_path / "LUNG1-003" / "study" / "ct" / "rs.dcm", {"Lung": gtv, "gtv": gtv}, patient_id="LUNG1-003")
    dicom.rtstruct(tmp_path / "LUNG1-004" / "rs.dcm", {"GTV-1": gtv}, patient_id="LUNG1-004")
    return tmp_path


def test_nsclc_finds_patients_by_header_in_any_nesting(nsclc):
    found = nsclc_radiomics.cases(nsclc)
    assert [case.case_id for case in found] == ["LUNG1-001", "LUNG1-003", "LUNG1-004", "LUNG1-128"]
    assert [len(case.reference_paths) for case in found] == [1, 1, 1, 0]
    assert all(not case.attributes for case in found)


def test_nsclc_target_and_the_nodes_grown_by_5_mm(nsclc):
    study = nsclc_radiomics.load(nsclc_radiomics.cases(nsclc)[0])
    assert study.references["GTV-1"].array.sum() == 4  # centres 4 and 5 squared
    node = np.zeros(study.image.shape, bool)
    # LPS voxel (8, 8, 4): the arrays run the other way along x and y
    node[15 - 8, 15 - 8, 4] = True
    offsets = np.indices(node.shape) - np.array([7, 7, 4]).reshape(3, 1, 1, 1)
    ball = np.sqrt((offsets**2).sum(axis=0)) <= 5
    assert np.array_equal(study.ignore.array, ball & ~study.references["GTV-1"].array)
    assert (ball & study.references["GTV-1"].array).any()  # so that the subtraction is seen


def test_nsclc_growth_is_euclidean_in_millimeters():
    array = np.zeros((9, 9, 9), bool)
    array[4, 4, 4] = True
    grown = masks.grow_mm(array, (1.0, 2.0, 3.0), 3.0)
    distance = np.sqrt(((np.indices(array.shape) - 4) ** 2 * np.array([1.0, 4.0, 9.0]).reshape(3, 1, 1, 1)).sum(axis=0))
    assert np.array_equal(grown, distance <= 3.0)
    assert not masks.grow_mm(np.zeros((3, 3, 3), bool), (1, 1, 1), 3.0).any()


def test_nsclc_refuses_each_patient_that_lacks_something_by_name(nsclc):
    reasons = {}
    for case in nsclc_radiomics.cases(nsclc)[1:]:
        with pytest.raises(InputError) as caught:
            nsclc_radiomics.load(case)
        reasons[case.case_id] = caught.value.problem
    assert reasons == {
        "LUNG1-003": "0 regions for 'GTV-1', one is needed",
        "LUNG1-004": "no CT image in it (found: RTSTRUCT)",
        "LUNG1-128": "0 files with contours, one is needed",
    }
    assert nsclc_radiomics.load(nsclc_radiomics.cases(nsclc)[1], target="(?i)gtv(-1)?").references["GTV-1"].array.any()


def test_the_readers_of_interobserver1_are_those_who_drew_by_hand(tmp_path, dicom):
    blank = np.full((9, 16, 16), 1024, np.int16)
    outlines = {f"GTV-1vis-{n}": [_square(3.5, 4.5 + n, 4.0)] for n in (10, 2, 3)}  # squares of 11, 3 and 4 voxels a side
    outlines["GTV-1auto-1"] = [_square(0.5, 14.5, 4.0)]
    root = tmp_path / "nsclc_radiomics_interobserver1"
    dicom.ct_series(root / "interobs05" / "ct", blank, series_uid="2.1", patient_id="interobs05")
    dicom.rtstruct(root / "interobs05" / "rs" / "1-1.dcm", outlines, patient_id="interobs05")
    (case,) = nsclc_radiomics_interobserver1.cases(tmp_path)
    assert (case.dataset, case.case_id) == ("nsclc_radiomics_interobserver1", "interobs05")
    study = nsclc_radiomics_interobserver1.load(case)
    assert list(study.references) == ["majority", "reader-2", "reader-3", "reader-10"]
    assert [int(mask.array.sum()) for mask in study.references.values()] == [16, 9, 16, 121]


@pytest.mark.parametrize("names", [["GTV-1vis-1", "GTV-1auto-1"], ["GTV-1vis-1", "gtv1vis-1"], ["GTV-1"]])
def test_interobserver1_refuses_a_case_without_two_different_readers(tmp_path, dicom, names):
    dicom.ct_series(tmp_path / "ct", np.full((9, 16, 16), 1024, np.int16), patient_id="interobs06")
    dicom.rtstruct(tmp_path / "rs.dcm", {name: [_square(3.5, 5.5, 4.0)] for name in names}, patient_id="interobs06")
    (case,) = nsclc_radiomics_interobserver1.cases(tmp_path)
    with pytest.raises(InputError, match=r"rs\.dcm: \d outlines by hand"):
        nsclc_radiomics_interobserver1.load(case)


def test_nsclc_reads_a_segmentation_where_there_are_no_contours(tmp_path, dicom):
    datasets = dicom.ct_series(tmp_path / "ct", patient_id="LUNG1-005")
    pixels = np.zeros((4, 8, 8), np.uint8)
    pixels[1, 2:5, 2:4] = 1
    dicom.seg(tmp_path / "seg.dcm", datasets, pixels, labels=("GTV-1",))
    (case,) = nsclc_radiomics.cases(tmp_path)
    study = nsclc_radiomics.load(case)
    assert study.references["GTV-1"].array.sum() == 6
    assert study.ignore is None


# --- 4D-Lung -------------------------------------------------------------------------------------------------------


@pytest.fixture
def phases(tmp_path, dicom):
    """Two phases of one patient in folders with blanks in their names, and the contours of the second."""

    def make(regions, refers_to=("4.2",)):
        blank = np.full((9, 16, 16), 1024, np.int16)
        for uid in ("4.1", "4.2"):
            shift = 0.0 if uid == "4.2" else 3.0  # another phase
            dicom.ct_series(tmp_path / "lung_4d" / "P 1" / f"Gated {uid} %B", blank, (0.0, 0.0, shift), series_uid=uid, patient_id="P1")
        dicom.rtstruct(tmp_path / "lung_4d" / "P 1" / "1-1.dcm", regions, patient_id="P1", refers_to=refers_to)
        (case,) = lung_4d.cases(tmp_path)
        return case

    return make


def test_4d_lung_reads_the_phase_that_its_contours_name(phases):
    tumor, node = [_square(3.5, 5.5, 4.0)], [_square(9.5, 11.5, 4.0)]
    study = lung_4d.load(phases({"Tumor_c40": tumor, "LN_c40": node, "Carina_c40": node}))
    assert {name: int(mask.array.sum()) for name, mask in study.references.items()} == {"tumor": 4}
    assert study.image.affine[2, 3] == 0
    expected = np.zeros(study.image.shape, bool)
    expected[4:6, 4:6, 4] = True  # LPS pixels 10 and 11 of 16, turned round
    assert np.array_equal(study.ignore.array, masks.grow_mm(expected, (1.0, 1.0, 1.0), 5.0) & ~study.references["tumor"].array)
    assert lung_4d.load(phases({"Tumor_c40": tumor})).ignore is None


@pytest.mark.parametrize(
    ("regions", "refers_to", "words"),
    [
        (["Tumor_c40"], (), r"1-1\.dcm: it refers to 0 series"),
        (["Tumor_c40"], ("4.1", "4.2"), r"1-1\.dcm: it refers to 2 series"),
        (["Tumor_c40"], ("4.3",), r"no CT series 4\.3"),
        (["LN_c40"], ("4.2",), r"1-1\.dcm: 0 tumors, one is needed\. It has: LN_c40"),
        (["Tumor_c40", "Tumor_c50"], ("4.2",), "2 tumors"),
    ],
)
def test_4d_lung_refuses_contours_of_no_phase_that_is_here(phases, regions, refers_to, words):
    case = phases({name: [_square(3.5, 5.5, 4.0)] for name in regions}, refers_to)
    with pytest.raises(InputError, match=words):
        lung_4d.load(case)


# --- your own cases ------------------------------------------------------------------------------------------------


def test_a_folder_in_nnunet_form(tmp_path):
    _nifti(tmp_path / "imagesTr" / "b_0000.nii.gz", -500)
    _nifti(tmp_path / "labelsTr" / "b.nii.gz", 1)
    _nifti(tmp_path / "imagesTs" / "a_0000.nii.gz", -500)
    (tmp_path / "imagesTr" / "._b_0000.nii.gz").write_bytes(b"macOS")
    first, second = folder.cases(tmp_path)
    assert (first.case_id, first.patient_id, first.reference_paths) == ("a", "a", ())
    assert dict(folder.load(first).references) == {}
    assert folder.load(second).references["reference"].array.sum() == 8
    _nifti(tmp_path / "imagesTr" / "b_0001.nii.gz", -500)
    with pytest.raises(InputError, match="second channel"):
        folder.cases(tmp_path)
    (tmp_path / "imagesTr" / "b_0001.nii.gz").unlink()
    (tmp_path / "labelsTr" / "b.nii.gz").unlink()
    with pytest.raises(InputError, match=r"labelsTr/b\.nii\.gz: no such file"):
        folder.cases(tmp_path)


def test_a_table_with_a_series_a_patient_and_no_reference(tmp_path, dicom):
    dicom.ct_series(tmp_path / "data" / "ct")
    _nifti(tmp_path / "data" / "x.nii.gz", -500)
    _nifti(tmp_path / "data" / "m.nii.gz", 1)
    table = tmp_path / "cases.csv"
    text = f"case_id,image,reference,patient_id\nb,{tmp_path / 'data' / 'x.nii.gz'},data/m.nii.gz,P7\na,data/ct,,\n"
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())  # as spreadsheet programs save it
    first, second = folder.cases(table)
    assert (first.case_id, first.patient_id, second.patient_id) == ("a", "a", "P7")
    assert folder.load(first).image.shape == (8, 8, 4)
    assert folder.load(second).references["reference"].array.sum() == 8


def test_blanks_round_a_name_and_rows_without_text_are_nothing(tmp_path):
    _nifti(tmp_path / "x.nii.gz", -500)
    (tmp_path / "cases.csv").write_text("case_id,image,reference,patient_id\n a , x.nii.gz ,,P1\n,,,\nb,x.nii.gz,, P1 \n")
    assert [(case.case_id, case.patient_id) for case in folder.cases(tmp_path / "cases.csv")] == [("a", "P1"), ("b", "P1")]


def test_endings_in_capitals_are_read_where_a_table_names_the_files(tmp_path):
    """In a folder in nnU-Net's form they are a fault: nnU-Net itself would pass over them."""
    _nifti(tmp_path / "scan.nii.gz", -500).rename(tmp_path / "scan.NII.GZ")
    _nifti(tmp_path / "mask.nii.gz", 1).rename(tmp_path / "mask.Nii.Gz")
    (tmp_path / "cases.csv").write_text("case_id,image,reference\na,scan.NII.GZ,mask.Nii.Gz\n")
    (case,) = folder.cases(tmp_path / "cases.csv")
    assert (case.case_id, folder.load(case).references["reference"].array.sum()) == ("a", 8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_id,image\na,x.nii.gz\n", "column reference is missing"),
        ("case_id;image;reference\na;x.nii.gz;\n", "case_id, image, reference is missing"),
        ("case_id,image,reference\na,nowhere.nii.gz,\n", r"line 2: .*nowhere\.nii\.gz does not exist"),
        ("case_id,image,reference\na,,\n", "line 2: no image"),
        ("case_id,image,reference\na,x.nii.gz,\na,x.nii.gz,\n", "come twice: a"),
        ("case_id,image,reference\n../a,x.nii.gz,\n", "no usable case name"),
        ("case_id,image,reference\n,x.nii.gz,\n", "no usable case name"),
        (f"case_id,image,reference\n{'x' * 300},x.nii.gz,\n", "line 2: .*no usable case name"),
        ("case_id,image,reference\na,~nobody-of-this-name/x.nii.gz,\n", "line 2: .* is no path"),
        (f"case_id,image,reference\na,{'x' * 300}.nii.gz,\n", "line 2: .* is no path"),
        ("case_id,image,reference\n", "no case in it"),
        ("", "is missing"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(tmp_path, text, words):
    _nifti(tmp_path / "x.nii.gz", -500)
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        folder.cases(tmp_path / "cases.csv")


def test_a_mask_that_does_not_fit_its_image_is_refused_on_loading(tmp_path):
    _nifti(tmp_path / "imagesTr" / "a_0000.nii.gz", -500)
    _nifti(tmp_path / "labelsTr" / "a.nii.gz", 1, shape=(6, 6, 7))
    with pytest.raises(InputError, match="grid"):
        folder.load(folder.cases(tmp_path)[0])


# --- each file once ------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch):
    """How often pydicom opens each file from here on, by its name."""
    counts, read = Counter(), pydicom.dcmread

    def counting(path, *args, **kwargs):
        counts[Path(path).name] += 1
        return read(path, *args, **kwargs)

    monkeypatch.setattr(pydicom, "dcmread", counting)
    return counts


@pytest.mark.parametrize("place", ["rs/contours.dcm", "ct/contours.dcm"])
@pytest.mark.parametrize("kind", ["RTSTRUCT", "SEG"])
def test_loading_a_patient_of_three_regions_opens_each_file_once(tmp_path, dicom, opened, place, kind):
    slices = dicom.ct_series(tmp_path / "ct", np.full((9, 16, 16), 1024, np.int16), patient_id="LUNG1-009")
    names = ("GTV-1", "GTV-2", "GTV-3")
    if kind == "SEG":
        pixels = np.zeros((9, 16, 16), np.uint8)
        pixels[4, 4, 4:7] = (1, 2, 3)
        (tmp_path / place).parent.mkdir(exist_ok=True)
        for dataset in slices:
            dataset.PatientID = "LUNG1-009"
        dicom.seg(tmp_path / place, slices, pixels, labels=names)
    else:
        dicom.rtstruct(tmp_path / place, {name: [_square(3.5, 5.5, 4.0)] for name in names}, patient_id="LUNG1-009")
    (case,) = nsclc_radiomics.cases(tmp_path)
    opened.clear()
    study = nsclc_radiomics.load(case)
    assert study.references["GTV-1"].array.any()
    assert study.ignore is not None
    assert opened == {path.name: 1 for path in (*(tmp_path / "ct").iterdir(), tmp_path / place)}
