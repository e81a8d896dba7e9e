"""RIDER Lung CT in its public layout: many series a patient, and contours that alone say which one they were drawn on."""

import numpy as np
import pytest

from lungseg_utils.data import exclusions
from lungseg_utils.datasets import rider_lung_ct
from lungseg_utils.types import InputError

SMALL = [(3.5, 3.5, 2.0), (5.5, 3.5, 2.0), (5.5, 5.5, 2.0), (3.5, 5.5, 2.0)]  # centres 4 and 5 squared: 4 voxels
LARGE = [(1.5, 1.5, 2.0), (6.5, 1.5, 2.0), (6.5, 6.5, 2.0), (1.5, 6.5, 2.0)]  # centres 2 to 6 squared: 25 voxels


@pytest.fixture
def rider(tmp_path, dicom):
    """Writers of one patient's files as the client lays them out: PATIENT/STUDY/MODALITY_SERIES/FILE.dcm."""

    class Rider:
        root = tmp_path / "rider_lung_ct"

        def series(self, patient, uid, hu=0, study="study"):
            stored = np.full((5, 9, 9), hu + 1024, np.int16)
            stored[:, -1] = 24  # air
            dicom.ct_series(self.root / patient / study / f"CT_{uid}", stored, series_uid=uid, patient_id=patient)

        def contours(self, patient, uid, refers_to, description, outlines, study="study"):
            path = self.root / patient / study / f"RTSTRUCT_{uid}" / f"{uid}.dcm"
            contours = {name: [points] for name, points in outlines.items()}
            dicom.rtstruct(path, contours, patient_id=patient, refers_to=refers_to, description=description)
            return path

        def loaded(self):
            (case,) = rider_lung_ct.cases(tmp_path)
            return rider_lung_ct.load(case)

    return Rider()


def test_of_many_series_the_one_that_the_contours_refer_to_is_read_and_the_outline_by_hand_is_the_reference(rider):
    for number in range(16):  # two scans, each reconstructed several times, in two studies
        rider.series("RIDER-1", f"1.{number}", hu=-number, study=f"study-{number % 2}")
    rider.contours("RIDER-1", "9.1", ["1.11"], "TEST", {"GTVp_test_man": SMALL, "GTVp_test_auto": LARGE}, study="study-1")
    rider.contours("RIDER-1", "9.2", ["1.4"], "RETEST", {"GTVp_retest_auto": LARGE, "GTVp_retest_man": SMALL}, study="study-0")
    (case,) = rider_lung_ct.cases(rider.root.parent)
    assert (case.dataset, case.case_id, case.patient_id) == ("rider_lung_ct", "RIDER-1", "RIDER-1")
    assert (case.image_path.name, dict(case.attributes)) == ("CT_1.11", {"scan": "test"})
    study = rider_lung_ct.load(case)
    assert np.unique(study.image.array).tolist() == [-1000, -11]
    assert {name: int(mask.array.sum()) for name, mask in study.references.items()} == {"GTVp": 4}


def test_the_second_scan_is_used_and_said_to_be_only_where_the_first_was_not_outlined(rider):
    for uid in ("1.1", "1.2"):
        rider.series("RIDER-2", uid)
    rider.contours("RIDER-2", "9.2", ["1.2"], "retest", {"GTVp_retest_man": LARGE})
    (case,) = rider_lung_ct.cases(rider.root)  # the data set's own folder will do too
    assert (case.image_path.name, dict(case.attributes)) == ("CT_1.2", {"scan": "retest"})
    assert rider_lung_ct.load(case).references["GTVp"].array.sum() == 25


def test_a_series_that_is_not_here_is_named_and_no_other_one_takes_its_place(rider):
    rider.series("RIDER-3", "1.1")
    rider.contours("RIDER-3", "9.1", ["1.7"], "test", {"GTVp_test_man": SMALL})
    rider.contours("RIDER-3", "9.2", ["1.1"], "retest", {"GTVp_retest_man": SMALL})
    with pytest.raises(InputError, match=r"RIDER-3.*no CT series 1\.7"):
        rider.loaded()


def test_two_sets_of_contours_of_one_scan_are_refused(rider):
    rider.series("RIDER-4", "1.1")
    for uid in ("9.1", "9.2"):
        rider.contours("RIDER-4", uid, ["1.1"], "test", {"GTVp_test_man": SMALL})
    with pytest.raises(InputError, match="2 files with contours"):
        rider.loaded()


@pytest.mark.parametrize(
    ("description", "refers_to", "names", "words"),
    [
        ("test", ["1.1"], ["GTVp_test_auto"], "0 outlines by hand of the test scan.*It has: GTVp_test_auto"),
        ("test", ["1.1"], ["GTVp_retest_man"], "0 outlines by hand of the test scan"),
        ("test", ["1.1"], ["GTVp_test_man", "gtvp_TEST_man"], "2 outlines by hand"),
        ("", ["1.1"], ["GTVp_test_man"], "neither test nor retest"),
        ("lesion", ["1.1"], ["GTVp_test_man"], "'lesion' is neither test nor retest"),
        ("test", [], ["GTVp_test_man"], "refers to 0 series"),
        ("test", ["1.1", "1.2"], ["GTVp_test_man"], "refers to 2 series"),
    ],
)
def test_contours_that_do_not_say_what_they_are_of_are_refused_by_name(rider, description, refers_to, names, words):
    for uid in ("1.1", "1.2"):
        rider.series("RIDER-5", uid)
    rider.contours("RIDER-5", "9.1", refers_to, description, dict.fromkeys(names, SMALL))
    with pytest.raises(InputError, match=rf"RTSTRUCT_9\.1.9\.1\.dcm: .*{words}"):
        rider.loaded()


def test_a_damaged_file_of_contours_does_not_end_the_listing_and_is_named_on_loading(rider):
    for patient in ("RIDER-6", "RIDER-7"):
        rider.series(patient, "1.1")
    path = rider.contours("RIDER-6", "9.1", ["1.1"], "test", {"GTVp_test_man": SMALL})
    rider.contours("RIDER-7", "9.1", ["1.1"], "test", {"GTVp_test_man": SMALL})
    path.write_bytes(path.read_bytes()[:-300])
    damaged, sound = rider_lung_ct.cases(rider.root)
    with pytest.raises(InputError, match=r"9\.1\.dcm"):
        rider_lung_ct.load(damaged)
    assert rider_lung_ct.load(sound).references["GTVp"].array.sum() == 4


def test_every_patient_that_cannot_be_used_is_listed_with_its_reason(rider, dicom):
    for patient in ("RIDER-1", "RIDER-2", "RIDER-3"):
        rider.series(patient, "1.1")
    rider.contours("RIDER-1", "9.1", ["1.1"], "test", {"GTVp_test_man": SMALL})
    rider.contours("RIDER-2", "9.1", ["1.9"], "test", {"GTVp_test_man": SMALL})
    # RIDER-3 has what others segmented, whose segments do not say who drew them
    slices = dicom.ct_series(rider.root / "RIDER-3" / "study" / "CT_1.2", series_uid="1.2", patient_id="RIDER-3")
    dicom.seg(rider.root / "RIDER-3" / "study" / "8.1.dcm", slices, np.ones((4, 8, 8), np.uint8))
    rider.contours("RIDER-4", "9.1", ["1.1"], "test", {"GTVp_test_man": SMALL})  # and this one has no CT
    found = exclusions.find("rider_lung_ct", rider.root)
    assert [tuple(row) for row in found[["case_id", "reason"]].to_numpy()] == [
        ("RIDER-2", "no CT series 1.9"),
        ("RIDER-3", "0 files with contours, one is needed"),
        ("RIDER-4", "no CT image in it (found: RTSTRUCT)"),
    ]
