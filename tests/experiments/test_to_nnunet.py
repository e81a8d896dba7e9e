"""Any data set to nnU-Net's raw form and back, held against nnU-Net's own check and the voxels."""

import json
import sys

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils import geometry
from lungseg_utils.data import exclusions
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
