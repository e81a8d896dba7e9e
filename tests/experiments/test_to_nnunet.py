"""Any data set to nnU-Net's raw form and back, held against nnU-Net's own check and the voxels."""

import json
import sys
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils import geometry
from lungseg_utils.data import check, exclusions
from lungseg_utils.datasets import folder, nsclc_radiomics
from lungseg_utils.experiments import to_nnunet
from lungseg_utils.types import InputError

SQUARE = [[(3.5, 3.5, 4.0), (6.5, 3.5, 4.0), (6.5, 7.5, 4.0), (3.5, 7.5, 4.0)]]


@pytest.fixture
def root(tmp_path, dicom):
    """Two patients as DICOM, no side or axis like another; a third without contours."""
    root = tmp_path / "nsclc"
    for number, patient in enumerate(("LUNG1-001", "LUNG1-002", "LUNG1-128")):
        pixels = np.random.default_rng(number).integers(0, 2000, (9, 16, 14)).astype(np.int16)
        dicom.ct_series(root / patient / "ct", pixels, spacing=(1.0, 1.0, 1.0), series_uid=f"1.{number}", patient_id=patient)
        if number < 2:
            dicom.rtstruct(root / patient / "rs.dcm", {"GTV-1": SQUARE}, patient_id=patient)
    return root


def test_there_and_back_every_voxel_stays_in_its_place(root, tmp_path, capsys):
    to = tmp_path / "nnUNet_raw" / "Dataset007_Lung"
    assert command_line.main(["convert", "nsclc_radiomics", "--root", str(root), "--to", str(to)]) == 0
    assert "2 cases" in capsys.readouterr().out
    assert {p.name for p in to.parent.iterdir()} == {"Dataset007_Lung"}
    before = [nsclc_radiomics.load(case) for case in nsclc_radiomics.cases(root)[:2]]
    for source in (to, to / "cases.csv"):
        cases = folder.cases(source)
        assert [case.case_id for case in cases] == ["LUNG1-001", "LUNG1-002"]
        for study, again in zip(before, map(folder.load, cases), strict=True):
            assert np.array_equal(again.image.array, study.image.array)
            assert geometry.same_grid(again.image, study.image)
            assert np.array_equal(again.references["reference"].array, study.references["GTV-1"].array)
    assert json.loads((to / "dataset.json").read_text())["numTraining"] == 2


@pytest.mark.parametrize("patient", ["KL/17-4", "../../gone", "../../../../outside", "Jürg", "x" * 64, "a\nb"])
def test_no_name_of_a_patient_leads_out_of_the_new_folder(tmp_path, dicom, patient):
    root, place = tmp_path / "in", tmp_path / "deep" / "er" / "Dataset007_Lung"
    pixels = np.random.default_rng(0).integers(0, 2000, (9, 16, 14)).astype(np.int16)

    def edit(dataset, index):
        dataset.SpecificCharacterSet, dataset.PatientID = "ISO_IR 192", patient

    with warnings.catch_warnings(action="ignore"):  # pydicom says that one of them is no valid name
        dicom.ct_series(root / "ct", pixels, edit=edit)
        dicom.rtstruct(root / "rs.dcm", {"GTV-1": SQUARE})
        rtstruct = pydicom.dcmread(root / "rs.dcm")
        edit(rtstruct, 0)
        dicom.save(rtstruct, root / "rs.dcm")
        assert len(check.check(["nsclc_radiomics"], root).faults) == 0
        before = set(tmp_path.rglob("*"))
        (case,) = to_nnunet.to_nnunet("nsclc_radiomics", root, place)
    assert case.patient_id == patient
    written = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert {path.parent.relative_to(place).as_posix() for path in written} == {"imagesTr", "labelsTr", "."}
    (again,) = folder.cases(place)
    assert again.case_id == case.case_id


def test_an_output_that_cannot_be_written_is_found_before_anything_is_read(root, tmp_path, monkeypatch):
    monkeypatch.setattr(to_nnunet, "Studies", lambda cases: pytest.fail("read"))
    (tmp_path / "file").touch()
    (tmp_path / "Dataset007_Dangling").symlink_to(tmp_path / "nowhere")
    for to, words in (
        (tmp_path / "file" / "Dataset007_Lung", "is no folder"),
        (tmp_path / "Dataset007_Dangling", "there already"),
        (tmp_path / f"Dataset007_{'x' * 300}", "longer than"),
    ):
        with pytest.raises(InputError, match=words):
            to_nnunet.to_nnunet("nsclc_radiomics", root, to)


def test_nnunet_itself_accepts_it(root, tmp_path, monkeypatch):
    # the main module of a worker of pytest has none, which Python 3.11.2 asks for when nnU-Net starts a process
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    to = tmp_path / "Dataset007_Lung"
    to_nnunet.to_nnunet("nsclc_radiomics", root, to)
    verify_dataset_integrity(str(to), num_processes=1)
    path = to / "labelsTr" / "LUNG1-001.nii"
    file = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(file.dataobj) * 2, file.affine), path)  # the check is one that can fail
    with pytest.raises(RuntimeError):
        verify_dataset_integrity(str(to), num_processes=1)


def test_scans_of_one_patient_stay_together_and_the_excluded_stay_out(tmp_path, monkeypatch, root):
    table = tmp_path / "exclusions.csv"
    table.write_text("dataset,case_id,reason\nfolder,LUNG1-002,because\n")
    to_nnunet.to_nnunet("nsclc_radiomics", root, tmp_path / "Dataset001_A")
    written = pd.read_csv(tmp_path / "Dataset001_A" / "cases.csv").assign(patient_id="P1")
    written.to_csv(tmp_path / "Dataset001_A" / "cases.csv", index=False)
    again = to_nnunet.to_nnunet("folder", tmp_path / "Dataset001_A" / "cases.csv", tmp_path / "Dataset002_B")
    assert [case.patient_id for case in folder.cases(tmp_path / "Dataset002_B" / "cases.csv")] == ["P1", "P1"]
    assert len(again) == 2
    monkeypatch.setattr(exclusions, "path", lambda dataset: table)
    left = to_nnunet.to_nnunet("folder", tmp_path / "Dataset001_A", tmp_path / "Dataset003_C")
    assert [case.case_id for case in left] == ["LUNG1-001"]


def test_a_case_that_cannot_be_read_leaves_nothing(root, tmp_path, dicom):
    dicom.rtstruct(root / "LUNG1-002" / "rs.dcm", {"Lung": SQUARE}, patient_id="LUNG1-002")
    to = tmp_path / "out" / "Dataset007_Lung"
    with pytest.raises(InputError, match="0 regions for 'GTV-1'"):
        to_nnunet.to_nnunet("nsclc_radiomics", root, to)
    assert list(to.parent.iterdir()) == []


@pytest.mark.parametrize(("name", "words"), [("Lung", "not a name"), ("Dataset001_There", "there already")])
def test_a_name_that_nnunet_does_not_know_or_that_is_taken_is_refused(root, tmp_path, name, words):
    (tmp_path / "Dataset001_There").mkdir()
    with pytest.raises(InputError, match=words):
        to_nnunet.to_nnunet("nsclc_radiomics", root, tmp_path / name)


def test_a_data_set_without_references_is_refused(root, tmp_path):
    with pytest.raises(InputError, match="no case with a reference"):
        to_nnunet.to_nnunet("nsclc_radiomics", root / "LUNG1-128", tmp_path / "Dataset001_X")
