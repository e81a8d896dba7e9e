"""DICOM SEG out: read back by two readers, in the right place whatever the orientation of the series, and without a name."""

import highdicom
import numpy as np
import pydicom
import pytest

from lungseg_utils.data import dicom_seg, images
from lungseg_utils.types import InputError, Mask

STORED = (5, 7, 9)  # slices, rows, columns
SPACING = (0.8, 0.7, 2.5)
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "feet first": (-1, 0, 0, 0, 1, 0),
    "face down": (-1, 0, 0, 0, -1, 0),
    "rows run sideways": (0, 1, 0, 1, 0, 0),
}


@pytest.fixture
def series(dicom, tmp_path):
    def make(cosines=(1, 0, 0, 0, 1, 0), edit=None):
        rng = np.random.default_rng(0)
        stored = rng.integers(0, 2000, STORED).astype(np.int16)
        return dicom.ct_series(
            tmp_path / "ct", stored, origin=(-12.0, 30.0, 5.5), cosines=cosines, spacing=SPACING, patient_id="P-7", edit=edit
        )

    return make, tmp_path / "ct"


def lopsided(image) -> Mask:
    """A mask that no mirroring or turning leaves as it is, on slices that are not next to each other."""
    array = np.zeros(image.shape, bool)
    array[1, 2, 0] = array[2, 2, 0] = array[1, 3, 3] = array[0, 0, 3] = True
    return Mask(array, image.affine)


@pytest.mark.parametrize("cosines", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_it_is_read_back_in_the_same_place(series, tmp_path, cosines):
    make, folder = series
    make(cosines)
    image = images.read_image(folder)
    mask, path = lopsided(image), tmp_path / "out" / "seg.dcm"
    dicom_seg.write_dicom_seg(mask, path, folder, "Lung tumor", "SAM-type stand-in")
    assert dicom_seg.open_dicom_seg(path).names() == ["Lung tumor"]
    back = dicom_seg.read_dicom_seg(path, image, "Lung tumor", series_folder=folder)
    assert np.array_equal(back.array, mask.array)


def test_geometry_and_references_are_those_of_the_series_by_pydicom_alone(series, tmp_path):
    make, folder = series
    make()
    image = images.read_image(folder)
    path = tmp_path / "seg.dcm"
    dicom_seg.write_dicom_seg(lopsided(image), path, folder, "Lung tumor", "SAM-type stand-in")
    file = pydicom.dcmread(path)
    slices = {str(s.SOPInstanceUID): s for s in (pydicom.dcmread(p) for p in folder.glob("*.dcm"))}
    first = next(iter(slices.values()))
    for tag in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert file[tag].value == first[tag].value
    assert file.SeriesInstanceUID != first.SeriesInstanceUID
    referenced = file.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == first.SeriesInstanceUID
    assert {str(item.ReferencedSOPInstanceUID) for item in referenced.ReferencedInstanceSequence} == set(slices)
    measures = file.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(v) for v in measures.PixelSpacing] == [SPACING[1], SPACING[0]]
    for frame, group in zip(file.pixel_array, file.PerFrameFunctionalGroupsSequence, strict=True):
        source = slices[str(group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)]
        assert group.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
        assert frame.any()
    identity = file.SegmentSequence[0]
    assert (identity.SegmentLabel, identity.SegmentAlgorithmType, identity.SegmentAlgorithmName) == (
        "Lung tumor",
        "SEMIAUTOMATIC",
        "SAM-type stand-in",
    )
    assert highdicom.seg.segread(path).number_of_segments == 1


@pytest.mark.parametrize("edit", [lambda d, n: delattr(d, "SliceThickness"), lambda d, n: setattr(d, "SliceThickness", None)])
def test_a_series_that_tells_no_slice_thickness_gets_the_distance_of_its_slices(series, tmp_path, edit):
    make, folder = series
    make(edit=edit)
    image, path = images.read_image(folder), tmp_path / "seg.dcm"
    dicom_seg.write_dicom_seg(lopsided(image), path, folder, "Lung tumor", "x")
    assert np.array_equal(dicom_seg.read_dicom_seg(path, image, "Lung tumor", series_folder=folder).array, lopsided(image).array)
    assert float(pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) == SPACING[2]


def test_no_name_comes_along(series, tmp_path):
    make, folder = series
    make()
    path = tmp_path / "seg.dcm"
    dicom_seg.write_dicom_seg(lopsided(images.read_image(folder)), path, folder, "Lung tumor", "x")
    assert b"Secret" in next(folder.glob("*.dcm")).read_bytes()
    assert b"Secret" not in path.read_bytes()


def test_slices_of_several_frames_of_reference_are_refused(series, tmp_path):
    make, folder = series
    make(edit=lambda dataset, index: setattr(dataset, "FrameOfReferenceUID", f"1.2.3.{index % 2}"))
    with pytest.raises(InputError, match=r"ct: its slices have 2 frames of reference.*export NIfTI"):
        dicom_seg.write_dicom_seg(lopsided(images.read_image(folder)), tmp_path / "seg.dcm", folder, "Lung tumor", "x")
    assert not (tmp_path / "seg.dcm").exists()


def test_an_empty_mask_another_grid_and_a_series_without_identifiers_are_refused_and_leave_nothing(series, tmp_path):
    make, folder = series
    make()
    image, path = images.read_image(folder), tmp_path / "seg.dcm"
    with pytest.raises(InputError, match="empty"):
        dicom_seg.write_dicom_seg(Mask(np.zeros(image.shape, bool), image.affine), path, folder, "t", "x")
    moved = image.affine.copy()
    moved[0, 3] += 1
    with pytest.raises(InputError, match="grid"):
        dicom_seg.write_dicom_seg(Mask(lopsided(image).array, moved), path, folder, "t", "x")

    def without_frame(dataset, index):
        del dataset.FrameOfReferenceUID

    make(edit=without_frame)
    with pytest.raises(InputError, match="lacks FrameOfReferenceUID"):
        dicom_seg.write_dicom_seg(lopsided(image), path, folder, "t", "x")
    assert not path.exists()
