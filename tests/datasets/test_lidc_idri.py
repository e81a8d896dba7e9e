"""LIDC-IDRI on small series: readers from the database's outlines, what few readers saw, and every kind of bad input."""

import shutil

import numpy as np
import pytest

from lungseg_utils.core import masks
from lungseg_utils.data import lidc_database, lidc_scans
from lungseg_utils.data.lidc_database import Annotation, Outline, Scan
from lungseg_utils.datasets import lidc_idri
from lungseg_utils.experiments import draws, planning
from lungseg_utils.prompts import sources
from lungseg_utils.types import Case, Image, InputError, Mask, Study


def _square(low, high, z, is_hole=False):
    """An outline on columns and rows low to high: what it encloses lies between."""
    return Outline(float(z), np.array([(low, low), (high, low), (high, high), (low, high)], float), is_hole)


@pytest.fixture
def outlined(monkeypatch):
    """`outlined({uid: [outlines of an annotation, ...]})`: what the database knows, of series with slices at 0, 1, 2, 3 mm."""

    def know(by_series, z_mm=(0.0, 1.0, 2.0, 3.0)):
        ids, annotations = {}, {}
        for uid, parts in by_series.items():
            scan = Scan(uid, "x", 1.0, 1.0, np.array(z_mm))
            ids[uid] = tuple(range(len(annotations), len(annotations) + len(parts)))
            annotations |= {number: Annotation(number, scan, 5, 3, tuple(part)) for number, part in zip(ids[uid], parts, strict=True)}
        monkeypatch.setattr(lidc_scans, "annotations_by_series", lambda: ids)
        monkeypatch.setattr(lidc_database, "read", lambda numbers: [annotations[number] for number in numbers])

    return know


def _sums(study):
    return {name: int(mask.array.sum()) for name, mask in study.references.items()}


def test_series_are_found_by_their_uid_in_any_nesting(tmp_path, dicom, outlined):
    for place, uid, patient in (("b", "1.2", "0002"), ("a/x", "1.1", "0001"), ("c", "1.3", "0002"), ("d", "1.4", "0009")):
        dicom.ct_series(tmp_path / place, series_uid=uid, patient_id=f"LIDC-IDRI-{patient}")
    (tmp_path / "a" / "readers.xml").write_text("<LidcReadMessage/>")  # as the archive has it: nobody needs it
    readers = [[_square(1, 5, 1), _square(1, 5, 2)], [_square(1, 5, 1)]]
    outlined({"1.1": readers, "1.2": [[_square(1, 5, 0)]] * 4, "1.3": []})
    found = lidc_idri.cases(tmp_path)
    assert [(case.case_id, case.patient_id) for case in found] == [
        ("LIDC-IDRI-0001", "LIDC-IDRI-0001"),
        ("LIDC-IDRI-0002-scan-1", "LIDC-IDRI-0002"),
        ("LIDC-IDRI-0002-scan-2", "LIDC-IDRI-0002"),
        ("LIDC-IDRI-0009", "LIDC-IDRI-0009"),
    ]
    study = lidc_idri.load(found[0])
    assert _sums(study) == {"consensus": 9, "reader-1": 18, "reader-2": 9, "reader-3": 0, "reader-4": 0}
    assert np.bincount(lidc_idri.votes(study).ravel()).tolist() == [4 * 64 - 18, 9, 9]
    # columns and rows run against RAS, slices along it
    assert np.argwhere(study.reference.array).min(0).tolist() == [3, 3, 1]
    assert np.argwhere(study.reference.array).max(0).tolist() == [5, 5, 1]
    assert study.ignore is None  # one reader saw more of the same nodule, which is no other nodule
    assert lidc_idri.touches_end(lidc_idri.load(found[1]).reference)
    nothing = lidc_idri.load(found[2])
    assert set(_sums(nothing).values()) == {0}
    assert len(nothing.references) == 5
    assert not found[3].reference_paths


def test_two_scans_of_a_patient_in_one_flat_folder_are_two_cases(tmp_path, dicom, outlined):
    for uid, hu in (("1.1", 40), ("1.2", 50)):
        dicom.ct_series(tmp_path / uid, np.full((4, 8, 8), 1024 + hu, np.int16), series_uid=uid, patient_id="LIDC-IDRI-0132")
        for path in (tmp_path / uid).iterdir():
            path.rename(tmp_path / f"{uid}-{path.name}")
        (tmp_path / uid).rmdir()
    outlined({"1.1": [[_square(1, 5, 1)]] * 2, "1.2": [[_square(1, 4, 1)]] * 2})
    studies = {case.case_id: lidc_idri.load(case) for case in lidc_idri.cases(tmp_path)}
    assert {name: np.unique(study.image.array).tolist() for name, study in studies.items()} == {
        "LIDC-IDRI-0132-scan-1": [40],
        "LIDC-IDRI-0132-scan-2": [50],
    }
    assert [_sums(study)["consensus"] for study in studies.values()] == [9, 4]


def test_the_database_lists_every_series_once_and_in_order():
    found = lidc_scans.annotations_by_series()
    assert len(found) == 1018
    assert sum(map(len, found.values())) == 6859
    assert sum(not ids for ids in found.values()) == 135
    assert found["1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"] == (84, 85, 86, 87)


def test_a_hole_is_no_nodule_and_a_nodule_of_one_reader_is_not_judged(tmp_path, dicom, outlined):
    dicom.ct_series(tmp_path, np.full((4, 40, 40), 1024, np.int16), series_uid="1.1", patient_id="P")
    seen_by_both = [[_square(1, 7, 1), _square(2, 4, 1, is_hole=True)], [_square(1, 7, 1)]]
    outlined({"1.1": [seen_by_both[0], [_square(20, 24, 2)], seen_by_both[1], [_square(1, 7, 1)]]})
    study = lidc_idri.load(lidc_idri.cases(tmp_path)[0])
    # the second annotation overlaps nothing: it is of the first reader
    assert _sums(study) == {"consensus": 25, "reader-1": 24 + 9, "reader-2": 25, "reader-3": 25, "reader-4": 0}
    alone = lidc_idri.votes(study) == 1
    assert np.array_equal(study.ignore.array, masks.grow_mm(alone, (1.0, 1.0, 1.0), 5.0) & ~study.reference.array)
    assert int(alone.sum()) == 9


def test_a_new_reader_begins_where_outlines_overlap(tmp_path, dicom, outlined):
    dicom.ct_series(tmp_path, np.full((4, 20, 20), 1024, np.int16), series_uid="1.1", patient_id="P")
    near, far = [_square(1, 5, 1)], [_square(10, 14, 1)]
    outlined({"1.1": [near, far, far, near, near]})
    assert list(_sums(lidc_idri.load(lidc_idri.cases(tmp_path)[0])).values()) == [18, 18, 18, 9, 0]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ([[_square(1, 5, 1)]] * 5, "as those of 5 readers would, but 4 read each scan"),
        ([[_square(1, 5, 7)]], r"no slice at z = 7 mm, where annotation 0 has an outline\. Fetch all 4 slices again; here are 4"),
        ([[_square(1, 5, 1.5)]], r"no slice at z = 1\.5 mm"),
        ([[_square(1, 5, 1), _square(1, 5, -1)]], "no slice at z = -1 mm"),
        ([[_square(1, 5, 1)], [_square(2, 3, 1)]], "annotation 1 encloses no voxel, so its reader is empty there"),
        ([[_square(2, 2, 1)]], "annotation 0 encloses no voxel"),
        ([[_square(5, 8, 1)]], "an outline of annotation 0 leaves the image"),
        ([[_square(-1, 3, 1)]], "an outline of annotation 0 leaves the image"),
    ],
)
def test_outlines_that_do_not_fit_the_series_are_refused_by_its_folder(tmp_path, dicom, outlined, annotations, words):
    dicom.ct_series(tmp_path / "ct", series_uid="1.1", patient_id="P")
    outlined({"1.1": annotations})
    with pytest.raises(InputError, match=rf"ct: .*{words}"):
        lidc_idri.load(lidc_idri.cases(tmp_path)[0])


def test_a_series_of_another_collection_is_refused(tmp_path, dicom, outlined):
    dicom.ct_series(tmp_path / "ct", series_uid="1.9", patient_id="P")
    outlined({"1.1": []})
    with pytest.raises(InputError, match="no DICOM CT series of LIDC-IDRI"):
        lidc_idri.cases(tmp_path)
    with pytest.raises(InputError, match=r"ct: the database of LIDC's outlines has no series 1\.9"):
        lidc_idri.load(Case("lidc_idri", "P", "P", tmp_path / "ct"))


def test_doubled_and_missing_slices_are_refused(tmp_path, dicom, outlined):
    """Five series of the collection hold two slices at one position: those of patients 0085, 0146, 0418, 0572 and 0979."""
    folder = tmp_path / "ct"
    dicom.ct_series(folder, series_uid="1.1", patient_id="LIDC-IDRI-0085")
    outlined({"1.1": [[_square(1, 5, 1)]]})
    (case,) = lidc_idri.cases(tmp_path)
    slices = sorted(folder.iterdir())
    shutil.copy(slices[1], folder / "again.dcm")
    with pytest.raises(InputError, match=rf"ct: two slices at the same position: .*{slices[1].name}"):
        lidc_idri.load(case)
    (folder / "again.dcm").unlink()
    slices[1].unlink()
    with pytest.raises(InputError, match=r"ct: (uneven slice positions|no slice at z)"):
        lidc_idri.load(case)


def test_only_the_slab_of_the_samples_may_lack_slices(tmp_path, dicom, outlined, monkeypatch):
    dicom.ct_series(tmp_path / "ct", series_uid="1.1", patient_id="P")
    outlined({"1.1": [[_square(1, 5, 3), _square(1, 5, 4)], [_square(1, 5, 9)]]})
    (case,) = lidc_idri.cases(tmp_path)
    with pytest.raises(InputError, match="no slice at z = 4 mm"):
        lidc_idri.load(case)
    monkeypatch.setattr(lidc_idri, "_SLABS", {"1.1": 5})
    with pytest.raises(InputError, match="no slice at z = 4 mm"):
        lidc_idri.load(case)
    monkeypatch.setattr(lidc_idri, "_SLABS", {"1.1": 4})
    study = lidc_idri.load(case)
    assert list(_sums(study).values()) == [0, 9, 0, 0, 0]
    assert lidc_idri.touches_end(study.references["reader-1"])


@pytest.mark.parametrize(("index", "expected"), [(0, True), (1, False), (3, True)])
def test_touches_end_looks_at_the_first_and_the_last_slice(index, expected):
    array = np.zeros((2, 2, 4), bool)
    array[0, 0, index] = True
    assert lidc_idri.touches_end(Mask(array, np.eye(4))) is expected


def test_a_reader_who_outlined_nothing_draws_no_prompt_but_judges():
    array = np.zeros((6, 6, 3), bool)
    array[2:4, 2:4, 1] = True
    full, empty = Mask(array, np.eye(4)), Mask(np.zeros_like(array), np.eye(4))
    study = Study(Image(np.zeros(array.shape), np.eye(4)), {"consensus": full, "reader-1": full, "reader-2": empty, "reader-3": full})
    question = planning.Question("box_one_slice", source=sources.ANOTHER_READER)
    drawn = [mask for mask, _ in draws.draws_of(question, Case("lidc_idri", "P", "P", None), study, lambda: None)]
    assert len(drawn) == 2
    assert all(mask.array.any() for mask in drawn)
