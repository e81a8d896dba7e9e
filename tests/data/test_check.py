"""The check of a data set: every fault with its file, and one bad case does not end it."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils.data import check, exclusions
from lungseg_utils.data.cases import load_study
from lungseg_utils.datasets import folder as own_cases
from lungseg_utils.types import InputError

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])  # as scanners write: LPS


def _chest(seed=0):
    hu = np.random.default_rng(seed).integers(-900, -800, (12, 12, 8)).astype(np.int16)
    hu[:, :6] = 40
    return hu


def _reference(side=3):
    array = np.zeros((12, 12, 8), np.uint8)
    array[2 : 2 + side, 2 : 2 + side, 3] = 1
    return array


@pytest.fixture
def add(tmp_path):
    """`add(name, image, reference, affine)` writes a case of one's own below `add.root`."""

    def write(name, image, reference, affine=AFFINE):
        for folder, file, array in (("imagesTr", f"{name}_0000.nii.gz", image), ("labelsTr", f"{name}.nii.gz", reference)):
            (write.root / folder).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), write.root / folder / file)

    write.root = tmp_path / "mydata"
    return write


def _problems(add):
    return check.check(["folder"], add.root).faults[["case_id", "problem"]].to_numpy().tolist()


def test_a_sound_data_set_has_no_fault_and_is_described(add, capsys, tmp_path):
    add("a", _chest(0), _reference(3))
    add("b", _chest(1), _reference(4))
    assert command_line.main(["data", "check", str(add.root), "--csv", str(tmp_path / "report.csv")]) == 0
    assert "2 cases, 2 patients, 0 faults" in capsys.readouterr().out
    first, second = pd.read_csv(tmp_path / "report.csv", keep_default_na=False).to_dict("records")
    assert (first["case_id"], first["reader"], first["axes"], first["faults"]) == ("a", "reference", "LPS", "")
    assert (first["size_x"], first["spacing_z_mm"], first["lesions"]) == (12, 2.0, 1)
    assert first["volume_ml"] == pytest.approx(9 * 2 / 1000)
    assert second["diameter_mm"] == pytest.approx(3 * 2**0.5 + 1)  # the diagonal of 4 x 4 centres, and a voxel


def test_every_fault_names_file_problem_and_remedy_and_none_ends_the_check(add, capsys, tmp_path):
    add("gray", _chest(1), _reference() * 3)
    add("other_grid", _chest(2), _reference()[:, :, :5])
    add("sheared", _chest(3), _reference(), np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]]))
    add("sound", _chest(4), _reference())
    add("speck", _chest(5), _reference(1))
    assert command_line.main(["data", "check", str(add.root), "--csv", str(tmp_path / "report.csv")]) == 1
    shown = capsys.readouterr().out
    assert "5 cases, 5 patients, 4 faults" in shown
    for name, words in {
        "gray": "not a binary mask, it holds the values 0, 3",
        "other_grid": "its grid",
        "sheared": "not at right angles",
        "speck": "no component of 3 voxels",
    }.items():
        (line,) = [line for line in shown.splitlines() if line.startswith(f"{name}: ")]
        assert words in line
        assert f"{name}" in line.split(": ")[1]
    table = pd.read_csv(tmp_path / "report.csv", keep_default_na=False).set_index("case_id")
    assert list(table.index[table["faults"] == ""]) == ["sound"]
    assert not table.loc["gray", "readable"]


def test_values_that_are_no_hu_and_slices_that_are_too_thick_are_found(add):
    add("eight_bit", ((_chest() + 1024) / 8).astype(np.uint8), _reference())
    add("thick", _chest(1), _reference(), np.diag([1.0, 1.0, 25.0, 1.0]))
    assert _problems(add) == [
        ["eight_bit", "no chest CT in HU: 0% of its voxels below -700, 100% above -200"],
        ["thick", "its voxels are 25.0 mm long"],
    ]


NOT_HU = {
    "HU + 1024": lambda hu: (hu + 1024).astype(np.uint16),
    "0 to 1": lambda hu: ((hu + 1000) / 1400).clip(0, 1).astype(np.float32),
    "one value": lambda hu: np.full_like(hu, -1000),
    "padding as metal": lambda hu: np.where(np.arange(8) == 7, 30000, hu).astype(np.int16),
}


@pytest.mark.parametrize("change", NOT_HU.values(), ids=NOT_HU)
@pytest.mark.parametrize("side_mm", [1.0, 9.0])  # a cube, and the width of a chest, of which more tissue is asked
def test_values_that_are_no_hu_are_refused_wherever_cases_are_loaded(add, tmp_path, change, side_mm):
    affine = np.diag([side_mm * 2, side_mm * 2, 2.0, 1.0]) if side_mm == 1 else np.diag([9.0, 9.0, 2.0, 1.0])
    enlarge = (lambda a: a) if side_mm == 1 else (lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1))
    add("a", enlarge(change(_chest())), enlarge(_reference()), affine)
    ((_, problem),) = _problems(add)
    assert problem.startswith("no chest CT in HU: ")
    (case,) = own_cases.cases(add.root)
    with pytest.raises(InputError, match="no chest CT in HU"):
        load_study(case)
    assert exclusions.find("folder", add.root)["reason"].tolist() == [problem]
    assert command_line.main(["convert", "folder", "--root", str(add.root), "--to", str(tmp_path / "Dataset001_X")]) == 2
    assert not (tmp_path / "Dataset001_X").exists()


def test_equal_voxels_are_found_whatever_the_file_and_the_name(add):
    add("a", _chest(0), _reference())
    add("b", _chest(0)[::-1, ::-1].astype(np.float32), _reference()[::-1, ::-1].copy(), np.diag([1.0, 1.0, 2.0, 1.0]))  # stored as RAS
    add("c", _chest(1), _reference())
    assert _problems(add) == [["b", f"its voxels are those of a of folder, {add.root}/imagesTr/a_0000.nii.gz (another patient, a and b)"]]


def test_equal_voxels_of_one_patient_are_called_so(add):
    add("a", _chest(0), _reference())
    add("b", _chest(0), _reference())
    rows = [f"{n},imagesTr/{n}_0000.nii.gz,labelsTr/{n}.nii.gz,P1" for n in ("a", "b")]
    (add.root / "cases.csv").write_text("\n".join(["case_id,image,reference,patient_id", *rows]) + "\n")
    report = check.check(["folder"], add.root / "cases.csv")
    assert report.faults["problem"].tolist() == [
        f"its voxels are those of a of folder, {add.root}/imagesTr/a_0000.nii.gz (the same patient)"
    ]


def test_other_layouts_are_checked_by_their_plug_in(tmp_path, dicom):
    pixels = np.full((9, 16, 16), 1064, np.int16)
    pixels[:, :8] = 150
    square = [[(3.5, 3.5, 4.0), (6.5, 3.5, 4.0), (6.5, 6.5, 4.0), (3.5, 6.5, 4.0)]]
    for patient, uid in (("LUNG1-001", "1.1"), ("LUNG1-128", "1.28")):
        dicom.ct_series(tmp_path / patient / "ct", pixels, series_uid=uid, patient_id=patient)
    dicom.rtstruct(tmp_path / "LUNG1-001" / "rs.dcm", {"GTV-1": square}, patient_id="LUNG1-001")
    report = check.check(["nsclc_radiomics"], tmp_path)
    assert report.faults[["case_id", "problem"]].to_numpy().tolist() == [["LUNG1-128", "0 files with contours, one is needed"]]
    assert report.cases["axes"].tolist()[0] == "DICOM"


def test_a_data_set_whose_cases_cannot_be_listed_is_a_fault_and_the_others_are_checked(tmp_path, dicom, capsys):
    pixels = np.full((9, 16, 16), 1064, np.int16)
    pixels[:, :8] = 150
    square = [[(3.5, 3.5, 4.0), (6.5, 3.5, 4.0), (6.5, 6.5, 4.0), (3.5, 6.5, 4.0)]]
    dicom.ct_series(tmp_path / "nsclc_radiomics" / "ct", pixels, patient_id="LUNG1-001")
    dicom.rtstruct(tmp_path / "nsclc_radiomics" / "rs.dcm", {"GTV-1": square}, patient_id="LUNG1-001")
    (tmp_path / "msd_lung").mkdir()
    names = ["msd_lung", "nsclc_radiomics", "rider_lung_ct"]  # the last of which does not take others' patients for its own
    assert command_line.main(["data", "check", str(tmp_path), "--dataset", *names, "--csv", str(tmp_path / "report.csv")]) == 1
    shown = capsys.readouterr().out
    assert "1 cases, 1 patients, 2 faults" in shown
    assert f"msd_lung: {tmp_path / 'msd_lung'}: no dataset.json in it" in shown
    assert f"rider_lung_ct: {tmp_path / 'rider_lung_ct'}: no such folder" in shown
    table = pd.read_csv(tmp_path / "report.csv", keep_default_na=False)
    assert table["dataset"].tolist() == names
    assert table["case_id"].tolist() == ["", "LUNG1-001", ""]
    assert table["readable"].tolist() == [False, True, False]
    assert "no dataset.json" in table["faults"][0]
    assert table["faults"][1] == ""


def test_a_folder_without_cases_is_a_fault(tmp_path, capsys):
    assert command_line.main(["data", "check", str(tmp_path)]) == 1
    assert f"folder: {tmp_path}: no case in it" in capsys.readouterr().out
