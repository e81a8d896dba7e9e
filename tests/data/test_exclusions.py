"""Cases that cannot be used: found by reading, kept with reasons, left out only if listed."""

import nibabel as nib
import numpy as np
import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils.core import project
from lungseg_utils.data import exclusions
from lungseg_utils.experiments import cohorts, config
from lungseg_utils.types import InputError

SQUARE = [[(3.5, 3.5, 4.0), (5.5, 3.5, 4.0), (5.5, 5.5, 4.0), (3.5, 5.5, 4.0)]]
OUTSIDE = [[(3.5, 3.5, 90.0), (5.5, 3.5, 90.0), (5.5, 5.5, 90.0), (3.5, 5.5, 90.0)]]


def _half_air():
    """Stored values of nine slices: 0 HU, and air."""
    stored = np.full((9, 16, 16), 1024, np.int16)
    stored[:, 8:] = 100
    return stored


@pytest.fixture
def here(tmp_path, monkeypatch, dicom):
    """A project whose NSCLC-Radiomics has one usable patient, and three that are not."""
    root = tmp_path / "cache" / "nsclc_radiomics"
    blank = _half_air()
    for patient, uid in {"LUNG1-001": "1.1", "LUNG1-007": "1.7", "LUNG1-128": "1.28"}.items():
        dicom.ct_series(root / patient / "ct", blank, series_uid=uid, patient_id=patient)
    dicom.rtstruct(root / "LUNG1-001" / "rs.dcm", {"GTV-1": SQUARE}, patient_id="LUNG1-001")
    dicom.rtstruct(root / "LUNG1-007" / "rs.dcm", {"GTV-1": OUTSIDE}, patient_id="LUNG1-007")
    dicom.rtstruct(root / "LUNG1-200" / "rs.dcm", {"GTV-1": SQUARE}, patient_id="LUNG1-200")
    monkeypatch.setattr(exclusions, "path", lambda dataset: tmp_path / "exclusions" / f"{dataset}.csv")
    monkeypatch.setattr(project, "cache_root", lambda: tmp_path / "cache")
    return tmp_path


def _tested():
    return [case.case_id for case in cohorts.cases_to_test("nsclc_radiomics", config.load().profile("phantoms"))]


def test_without_a_list_nothing_is_left_out_and_a_case_without_reference_is_named(here):
    with pytest.raises(InputError, match=r"nsclc_radiomics: 1 cases have no reference.*LUNG1-128 first.*exclusions nsclc_radiomics"):
        _tested()
    (here / "cache" / "nsclc_radiomics" / "LUNG1-128").rename(here / "elsewhere")
    assert _tested() == ["LUNG1-001", "LUNG1-007", "LUNG1-200"]  # the last two are met when they are read
    assert exclusions.read(["nsclc_radiomics"]).empty
    assert list(exclusions.read([]).columns) == exclusions.COLUMNS


def test_scans_that_come_without_reference_are_listed_with_that_reason(tmp_path):
    for folder, name in (("imagesTr", "a"), ("labelsTr", "a"), ("imagesTs", "b")):
        path = tmp_path / folder / (f"{name}.nii.gz" if folder == "labelsTr" else f"{name}_0000.nii.gz")
        path.parent.mkdir(exist_ok=True)
        array = np.zeros((4, 4, 4), np.int16)
        array[1:3, 1:3, 1:3] = 1 if folder == "labelsTr" else -900
        nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    assert exclusions.find("folder", tmp_path).to_numpy().tolist() == [["folder", "b", "no reference"]]


def test_they_are_found_by_reading_written_with_their_reasons_and_left_out(here, capsys):
    assert command_line.main(["exclusions", "nsclc_radiomics"]) == 0
    table = exclusions.read(["nsclc_radiomics", "lidc_idri"])
    assert dict(zip(table["case_id"], table["reason"], strict=True)) == {
        "LUNG1-007": "a contour lies outside the volume (slice 90 of 9)",
        "LUNG1-128": "0 files with contours, one is needed",
        "LUNG1-200": "no CT image in it (found: RTSTRUCT)",
    }
    shown = capsys.readouterr().out
    assert "LUNG1-128" in shown
    assert "0 files with contours" in shown
    assert _tested() == ["LUNG1-001"]


def test_a_data_set_without_a_search_of_its_own_is_read_case_by_case(tmp_path, dicom):
    blank = _half_air()
    for patient, uid, names in (("a", "2.1", ("GTV-1vis-1", "GTV-1vis-2")), ("b", "2.2", ("GTV-1vis-1",))):
        dicom.ct_series(tmp_path / patient / "ct", blank, series_uid=uid, patient_id=patient)
        dicom.rtstruct(tmp_path / patient / "rs.dcm", dict.fromkeys(names, SQUARE), patient_id=patient)
    found = exclusions.find("nsclc_radiomics_interobserver1", tmp_path)
    assert found.to_numpy().tolist() == [["nsclc_radiomics_interobserver1", "b", "1 outlines by hand of 1 readers"]]


def test_none_is_written_too(here, capsys):
    for patient in ("LUNG1-007", "LUNG1-128", "LUNG1-200"):
        for path in (here / "cache" / "nsclc_radiomics" / patient).rglob("*.dcm"):
            path.unlink()
    assert command_line.main(["exclusions", "nsclc_radiomics"]) == 0
    assert "no case is excluded" in capsys.readouterr().out
    assert exclusions.path("nsclc_radiomics").read_text() == "dataset,case_id,reason\n"
    assert exclusions.read(["nsclc_radiomics"]).empty


@pytest.mark.parametrize("text", ["case_id,reason\nx,y\n", "dataset,case_id,reason\nd,x,\n", "dataset,case_id,reason\nd,x,y\nd,x,z\n"])
def test_a_list_without_reasons_or_with_a_case_twice_is_refused(here, text):
    path = exclusions.path("nsclc_radiomics")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InputError, match=r"nsclc_radiomics\.csv: not a table"):
        _tested()


def test_every_committed_list_is_of_a_real_data_set_and_readable():
    for path in sorted((project.project_root() / "data" / "exclusions").glob("*.csv")):
        assert set(exclusions.read([path.stem])["dataset"]) <= {path.stem}
