"""The real sample CTs: voxel for voxel against SimpleITK, the official IBSI mask and documented counts."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungseg_utils import geometry, types
from lungseg_utils.data import exclusions, images, nifti, rtstruct, samples
from lungseg_utils.datasets import ibsi_ct_phantom, lidc_idri, lung_4d, nsclc_radiomics
from lungseg_utils.experiments import draws, planning
from lungseg_utils.prompts import sources

# Rasterized with scikit-image by z plane, even-odd; the IBSI count is that of the official NIfTI mask.
GTV_VOXELS = {"LUNG1-001": 54_449, "LUNG1-002": 125_204}
IBSI_VOXELS = 125_256
# Inside the outlines of at least two of four readers, outlines excluded.
LIDC_CONSENSUS_VOXELS = {"LIDC-IDRI-0001": 5_428, "LIDC-IDRI-0002": 932}
LIDC_READER_VOXELS = {"LIDC-IDRI-0001": (5905, 4613, 4955, 5498), "LIDC-IDRI-0002": (1086, 1133, 0, 0)}
LIDC_SLICES = {"LIDC-IDRI-0001": 133, "LIDC-IDRI-0002": 12}  # a whole CT and a slab


@pytest.fixture(scope="session")
def nsclc(real_data):
    return {case.case_id: (case, nsclc_radiomics.load(case)) for case in nsclc_radiomics.cases(real_data)}


@pytest.fixture(scope="session")
def ibsi(real_data):
    (case,) = ibsi_ct_phantom.cases(real_data)
    return case, ibsi_ct_phantom.load(case)


@pytest.fixture(scope="session")
def lidc(real_data):
    return {case.case_id: lidc_idri.load(case) for case in lidc_idri.cases(real_data)}


def _simpleitk_series(folder):
    reader = sitk.ImageSeriesReader()
    series = [reader.GetGDCMSeriesFileNames(str(folder), uid) for uid in reader.GetGDCMSeriesIDs(str(folder))]
    reader.SetFileNames(max(series, key=len))  # the others are single files of plan, dose and contours
    return reader.Execute()


def test_the_registry_counts_what_is_there(real_data):
    for name in samples.names():
        assert samples.available(name, real_data)
        size = sum(path.stat().st_size for path in (real_data / name).rglob("*") if path.is_file())
        assert samples._size_bytes(name) == size


@pytest.mark.parametrize("case_id", ["LUNG1-001", "LUNG1-002"])
def test_a_whole_series_equals_simpleitk_in_every_voxel_and_in_place(nsclc, case_id):
    case, study = nsclc[case_id]
    oracle = _simpleitk_series(case.image_path)
    expected = np.clip(sitk.GetArrayFromImage(oracle), -1024, 3071)
    assert np.array_equal(geometry.unstack_axial(study.image.array), expected)
    x, y, z = oracle.TransformIndexToPhysicalPoint([511, 511, 0])
    assert study.image.affine[:3, 3] == pytest.approx([-x, -y, z], abs=1e-3)
    assert study.image.spacing_mm == pytest.approx(oracle.GetSpacing(), abs=1e-6)


@pytest.mark.parametrize("case_id", ["LUNG1-001", "LUNG1-002"])
def test_the_tumor_has_the_documented_number_of_voxels(nsclc, case_id):
    _, study = nsclc[case_id]
    assert int(study.references["GTV-1"].array.sum()) == GTV_VOXELS[case_id]
    assert study.ignore is None  # no nodes were drawn


def _closed_regions(contours):
    """Contours of each region that outlines a volume, by slice of the file: {name: {z_mm: [points (n, 2), ...]}}."""
    names = {int(item.ROINumber): str(item.ROIName).strip() for item in contours.file.StructureSetROISequence}
    found = {}
    for group in contours.file.ROIContourSequence:
        for contour in group.get("ContourSequence", ()):
            if contour.ContourGeometricType == "CLOSED_PLANAR":
                points = np.array(contour.ContourData, float).reshape(-1, 3)
                found.setdefault(names[group.ReferencedROINumber], {}).setdefault(points[0, 2], []).append(points[:, :2])
    return found


# Where XOR lost outlines that are stored an even number of times: slices and voxels of the whole region now.
DOUBLED = {("LUNG1-001", "1,SUV_primair"): (46, 43_494), ("LUNG1-002", "Lung L"): (88, 686_332)}


@pytest.mark.parametrize("case_id", ["LUNG1-001", "LUNG1-002"])
def test_every_region_is_full_on_every_slice_that_it_was_outlined_on(nsclc, case_id):
    case, study = nsclc[case_id]
    regions = _closed_regions(rtstruct.open_rtstruct(case.reference_paths[0]))
    contours = rtstruct.open_rtstruct(case.reference_paths[0])  # reads the bytes that the other one has made numbers of
    assert len(regions) >= 8
    z_mm = study.image.affine[2, 3] + study.image.spacing_mm[2] * np.arange(study.image.shape[2])
    for name, planes in regions.items():
        mask = contours.mask(name, study.image)
        slices = {int(np.abs(z_mm - z).argmin()): outlines for z, outlines in planes.items()}
        for index, outlines in slices.items():
            # a hole may take a part of the largest outline off, a copy of it never all
            area_mm2 = mask.array[:, :, index].sum() * np.prod(study.image.spacing_mm[:2])
            assert area_mm2 > 0.5 * max(map(_area_mm2, outlines)) - 5, (name, index)
        if (case_id, name) in DOUBLED:
            assert (len(slices), int(mask.array.sum())) == DOUBLED[case_id, name]


def _area_mm2(points):
    x, y = points.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def test_nobody_is_excluded_from_the_sample(real_data):
    assert exclusions.find("nsclc_radiomics", real_data).empty


def test_the_phase_of_4d_lung_equals_simpleitk_and_holds_its_whole_tumor(real_data):
    (case,) = lung_4d.cases(real_data)
    study = lung_4d.load(case)
    oracle = _simpleitk_series(case.image_path)
    assert np.array_equal(geometry.unstack_axial(study.image.array), np.clip(sitk.GetArrayFromImage(oracle), -1024, 3071))
    assert (case.patient_id, study.image.shape) == ("113_HM10395", (512, 512, 99))
    assert study.image.spacing_mm == pytest.approx((0.9766, 0.9766, 3.0), abs=1e-4)
    tumor = study.references["tumor"]
    assert int(tumor.array.sum()) == 23_611
    assert tumor.volume_ml == pytest.approx(67.6, abs=0.1)
    assert np.count_nonzero(tumor.array.any(axis=(0, 1))) == 28
    assert not (study.ignore.array & tumor.array).any()
    # soft tissue in lung, not elsewhere: the outline lies on the tumor
    assert -100 < study.image.array[tumor.array].mean() < 50


def test_the_ibsi_contours_give_exactly_the_official_mask(real_data, ibsi):
    _, study = ibsi
    folder = real_data / "ibsi_ct_phantom" / "nifti"
    official_image = images.read_image(folder / "image" / "phantom.nii.gz")
    official = nifti.read_mask(folder / "mask" / "mask.nii.gz", study.image)
    assert geometry.same_grid(study.image, official_image)
    assert np.array_equal(study.image.array, official_image.array)
    assert np.array_equal(study.references["GTV-1"].array, official.array)
    assert int(official.array.sum()) == IBSI_VOXELS


def test_the_ibsi_phantom_is_a_crop_of_its_patient(nsclc, ibsi):
    (phantom_case, phantom), (patient_case, patient) = ibsi, nsclc["LUNG1-002"]
    assert phantom_case.patient_id == patient_case.patient_id
    first = np.array([231, 136, 11])
    # its makers moved it by half a voxel in plane, so positions of the two cannot be compared closer than that
    moved = geometry.world_to_ijk(phantom.image.affine[:3, 3][None], patient.image.affine)[0] - first
    assert moved == pytest.approx([-0.5, 0.5, 0.0], abs=1e-4)
    part = patient.image.array[tuple(slice(a, a + n) for a, n in zip(first, phantom.image.shape, strict=True))]
    inside = phantom.image.array > -1000
    assert np.array_equal(part[inside], phantom.image.array[inside])


@pytest.mark.parametrize("case_id", ["LIDC-IDRI-0001", "LIDC-IDRI-0002"])
def test_lidc_readers_and_consensus(lidc, case_id):
    study = lidc[case_id]
    counts = [int(mask.array.sum()) for mask in study.references.values()]
    assert counts == [LIDC_CONSENSUS_VOXELS[case_id], *LIDC_READER_VOXELS[case_id]]
    assert lidc_idri.votes(study).max() == (4 if case_id.endswith("1") else 2)
    assert study.image.shape == (512, 512, LIDC_SLICES[case_id])
    assert study.ignore is None  # at least two readers outlined each nodule


def test_every_reader_of_a_whole_chest_draws_and_is_judged_by_the_others(lidc):
    study = lidc["LIDC-IDRI-0001"]
    case = types.Case("lidc_idri", "LIDC-IDRI-0001", "LIDC-IDRI-0001", Path())
    keys = {"experiment": "e", "test_dataset": "lidc_idri", "case_id": "LIDC-IDRI-0001", "patient_id": "LIDC-IDRI-0001"}
    keys |= {"prompter": "box_one_slice", "source": sources.ANOTHER_READER, "jitter": 0.0}
    question = planning.Question("box_one_slice", source=sources.ANOTHER_READER)
    found = []
    for drawn, score_it in draws.draws_of(question, case, study, lambda: None):
        rows = score_it(keys, drawn, False)
        found.append({row["reader"]: row["value"] for row in rows if row["metric"] == "dsc"})
    assert len(found) == 4
    assert all(0.8 < values["other readers"] < 1 for values in found)


def test_the_second_lidc_nodule_is_cut_by_its_slab(lidc):
    assert not lidc_idri.touches_end(lidc["LIDC-IDRI-0001"].references["consensus"])
    assert lidc_idri.touches_end(lidc["LIDC-IDRI-0002"].references["consensus"])


def test_a_written_mask_lies_on_the_original_nifti(tmp_path, real_data, ibsi):
    folder = real_data / "ibsi_ct_phantom" / "nifti"
    image_path, mask_path = folder / "image" / "phantom.nii.gz", folder / "mask" / "mask.nii.gz"
    nifti.write_mask(ibsi[1].references["GTV-1"], tmp_path / "m.nii.gz", like_path=image_path)
    ours, official = (sitk.ReadImage(str(path)) for path in (tmp_path / "m.nii.gz", mask_path))
    assert np.array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(official) > 0)
    assert ours.GetOrigin() == pytest.approx(official.GetOrigin(), abs=1e-4)
    assert ours.GetDirection() == pytest.approx(official.GetDirection(), abs=1e-6)


def test_contours_cut_off_in_the_middle_are_refused(tmp_path, real_data, ibsi):
    case, study = ibsi
    data = case.reference_paths[0].read_bytes()
    (tmp_path / "rs.dcm").write_bytes(data[: len(data) // 2])
    with pytest.raises(types.InputError, match="cannot be read"):
        rtstruct.read_rtstruct(tmp_path / "rs.dcm", study.image)
