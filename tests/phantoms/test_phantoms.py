"""The phantom cohorts: deterministic, resumable, readable by the project's own readers, and right about what is a tumor."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lungseg_utils.core.masks import dsc
from lungseg_utils.data import images, rtstruct
from lungseg_utils.datasets import phantom_msd, phantom_nsclc
from lungseg_utils.phantoms import cohort, store
from lungseg_utils.phantoms.fields import Grid, capsule, coverage, curve, scaled, smooth_field
from lungseg_utils.types import InputError

SPLITS = Path(__file__).resolve().parents[2] / "data" / "splits"
WITH_TUMOR, TUMOR_FREE = "PN-05000", "PN-05008"


def _hashes(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.suffix in (".dcm", ".gz"))
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def nsclc_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms") / "nsclc"
    phantom_nsclc.generate(root, [WITH_TUMOR, TUMOR_FREE], phantom_nsclc.SMALL)
    return root


@pytest.fixture(scope="module")
def msd_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms") / "msd"
    phantom_msd.generate(root, ["PM-05000", "PM-05008"], phantom_msd.SMALL)
    return root


@pytest.fixture(scope="module")
def patient() -> cohort.Patient:
    return cohort.draw_patient(cohort.NSCLC, WITH_TUMOR, phantom_nsclc.MINI)


def test_same_patient_has_same_bytes(nsclc_root: Path, msd_root: Path, tmp_path: Path) -> None:
    phantom_nsclc.generate(tmp_path / "n", [WITH_TUMOR, TUMOR_FREE], phantom_nsclc.SMALL)
    phantom_msd.generate(tmp_path / "m", ["PM-05000", "PM-05008"], phantom_msd.SMALL)
    assert _hashes(tmp_path / "n") == _hashes(nsclc_root)
    assert _hashes(tmp_path / "m") == _hashes(msd_root)


def test_patients_and_cohorts_differ() -> None:
    grid = phantom_nsclc.SMALL
    one, other = (cohort.draw_patient(cohort.NSCLC, p, grid).hu for p in ("PN-05000", "PN-05001"))
    abroad = cohort.draw_patient(cohort.MSD, "PM-05000", grid).hu
    assert (one != other).mean() > 0.5
    assert (one != abroad).mean() > 0.5


def test_series_holds_the_drawn_voxels_and_place(nsclc_root: Path) -> None:
    drawn = cohort.draw_patient(cohort.NSCLC, WITH_TUMOR, phantom_nsclc.SMALL)
    image = images.read_image(nsclc_root / WITH_TUMOR)
    np.testing.assert_array_equal(image.array, drawn.hu)
    np.testing.assert_allclose(image.affine, drawn.affine, atol=1e-3)


def test_one_slice_reads_as_the_standard_says(nsclc_root: Path) -> None:
    """Independent of the reader: slope, intercept and position taken from the tags, the right-most column is patient left."""
    drawn = cohort.draw_patient(cohort.NSCLC, WITH_TUMOR, phantom_nsclc.SMALL)
    ds = pydicom.dcmread(nsclc_root / WITH_TUMOR / "CT_005.dcm")
    hu = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    np.testing.assert_array_equal(hu, drawn.hu[::-1, ::-1, 5].T)
    right_anterior = drawn.affine @ [drawn.hu.shape[0] - 1, drawn.hu.shape[1] - 1, 5, 1]
    np.testing.assert_allclose(np.array(ds.ImagePositionPatient, dtype=float), right_anterior[:3] * [-1, -1, 1], atol=1e-3)


def test_contours_give_back_the_intended_reference(patient: cohort.Patient, tmp_path: Path) -> None:
    from lungseg_utils.phantoms.writers import write_dicom_patient

    write_dicom_patient(patient, tmp_path)
    image = images.read_image(tmp_path)
    assert set(rtstruct.open_rtstruct(tmp_path / "RS.dcm").names()) >= {"GTV-1", "Lung-Left", "Lung-Right"}
    for roi, distance in {"GTV-1": patient.tumor_mm, **patient.lung_mm}.items():
        assert dsc(distance > 0, rtstruct.read_rtstruct(tmp_path / "RS.dcm", image, roi).array) > 0.97, roi


@pytest.mark.slow
def test_a_slice_between_two_lesions_has_no_outline_and_the_patient_is_read(tmp_path: Path) -> None:
    """In a patient's file a slice without an outline between two that overlap is refused; the generator loses none."""
    phantom_nsclc.generate(tmp_path, ["PN-01006"])
    (case,) = phantom_nsclc.cases(tmp_path)
    reference = phantom_nsclc.load(case).references["reference"].array
    outlined = np.flatnonzero(reference.any(axis=(0, 1)))
    (gap,) = set(range(outlined[0], outlined[-1] + 1)) - set(outlined.tolist())
    assert (reference[:, :, gap - 1] & reference[:, :, gap + 1]).any()


def test_contours_refer_to_the_slices_of_the_series(nsclc_root: Path) -> None:
    folder = nsclc_root / WITH_TUMOR
    positions = {ds.SOPInstanceUID: float(ds.ImagePositionPatient[2]) for ds in map(pydicom.dcmread, folder.glob("CT_*.dcm"))}
    structures = pydicom.dcmread(folder / "RS.dcm")
    frames = {str(roi.ReferencedFrameOfReferenceUID) for roi in structures.StructureSetROISequence}
    assert frames == {str(pydicom.dcmread(folder / "CT_000.dcm").FrameOfReferenceUID)}
    for contour in structures.ROIContourSequence[0].ContourSequence:
        z = positions[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        np.testing.assert_allclose(np.array(contour.ContourData, dtype=float)[2::3], z, atol=0.006)


def test_left_lung_lies_on_the_left(patient: cohort.Patient) -> None:
    for name, sign in (("Lung-Right", 1), ("Lung-Left", -1)):
        i = np.argwhere(patient.lung_mm[name] > 0)[:, 0].mean()
        assert sign * (patient.affine @ [i, 0, 0, 1])[0] > 30


def test_tumor_free_patients_have_empty_references(nsclc_root: Path, msd_root: Path) -> None:
    for module, root, patient_id in ((phantom_nsclc, nsclc_root, TUMOR_FREE), (phantom_msd, msd_root, "PM-05008")):
        case = next(c for c in module.cases(root) if c.patient_id == patient_id)
        assert case.attributes["tumor_free"] == "1"
        assert case.attributes["volume_ml"] == ""
        assert not module.load(case).references["reference"].array.any()
    assert "GTV-1" not in rtstruct.open_rtstruct(nsclc_root / TUMOR_FREE / "RS.dcm").names()


def test_splits_say_who_is_tumor_free() -> None:
    for name, prefix in (("phantom_nsclc", "PN"), ("phantom_msd", "PM")):
        with (SPLITS / f"{name}.csv").open() as handle:
            rows = list(csv.DictReader(handle))
        assert len({r["patient_id"] for r in rows}) == len(rows)
        assert all(r["patient_id"].startswith(prefix) for r in rows)
        assert all(cohort.is_tumor_free(r["patient_id"]) == (r["tumor_free"] == "1") for r in rows)
        for fold in "01234":
            assert sum(r["split"] == "development" and r["fold"] == fold for r in rows) == 10


def test_look_alikes_are_not_in_the_reference() -> None:
    """Atelectasis and benign nodules lie outside the true tumor; a reader's error takes at most a seam of them."""
    seen_atelectasis = seen_benign = False
    for number in range(5010, 5022):
        found = cohort.draw_patient(cohort.NSCLC, f"PN-{number:05d}", phantom_nsclc.SMALL)
        if found.confounder_mm is None:
            continue
        confounder = found.confounder_mm > 0
        assert not (confounder & (found.true_tumor_mm > 0)).any()
        deep = found.confounder_mm > 5.0
        assert (deep & (found.tumor_mm > 0)).sum() <= 0.05 * max(deep.sum(), 1)
        seen_atelectasis |= found.facts["atelectasis"] == "1"
        seen_benign |= found.facts["n_benign"] != "0"
    assert seen_atelectasis
    assert seen_benign


def test_reference_lies_in_the_body_and_errs_by_a_millimeter(patient: cohort.Patient) -> None:
    reference = patient.tumor_mm > 0
    assert (patient.hu[reference] > -990).mean() > 0.97
    surface = np.abs(patient.true_tumor_mm) < 0.5
    error = (patient.tumor_mm - patient.true_tumor_mm)[surface]
    assert 0.4 < error.std() < 2.0
    assert dsc(reference, patient.true_tumor_mm > 0) < 0.99


def test_nodes_are_ignored_with_a_margin(tmp_path: Path) -> None:
    with_nodes = next(
        p
        for p in (f"PN-{n:05d}" for n in range(5000, 5008))
        if cohort.draw_patient(cohort.NSCLC, p, phantom_nsclc.SMALL).node_mm is not None
    )
    phantom_nsclc.generate(tmp_path, [with_nodes], phantom_nsclc.SMALL)
    case = phantom_nsclc.cases(tmp_path)[0]
    study = phantom_nsclc.load(case)
    nodes = rtstruct.read_rtstruct(case.reference_paths[0], study.image, "GTV-2")
    reference = study.references["reference"].array
    assert (study.ignore.array | reference)[nodes.array].all()
    assert not (study.ignore.array & reference).any()
    assert study.ignore.volume_ml > nodes.volume_ml


def test_finished_patients_are_kept_and_unfinished_ones_redone(tmp_path: Path) -> None:
    phantom_nsclc.generate(tmp_path, ["PN-05002"], phantom_nsclc.SMALL)
    before = (tmp_path / "PN-05002" / "CT_000.dcm").stat().st_mtime_ns
    (tmp_path / ".PN-05003.tmp").mkdir()  # what a killed run leaves behind
    (tmp_path / ".PN-05003.tmp" / "CT_000.dcm").write_bytes(b"half a file")
    (tmp_path / "PN-05004").mkdir()
    phantom_nsclc.generate(tmp_path, ["PN-05002", "PN-05003", "PN-05004"], phantom_nsclc.SMALL)
    assert (tmp_path / "PN-05002" / "CT_000.dcm").stat().st_mtime_ns == before
    assert [c.patient_id for c in phantom_nsclc.cases(tmp_path)] == ["PN-05002", "PN-05003", "PN-05004"]
    assert images.read_image(tmp_path / "PN-05004").shape == phantom_nsclc.SMALL.shape
    assert not list(tmp_path.glob("*.tmp"))


def test_another_generator_or_grid_makes_patients_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = scaled(phantom_nsclc.MINI, 3.0)
    phantom_nsclc.generate(tmp_path, ["PN-05002"], coarse)
    stamp = (tmp_path / "PN-05002" / "CT_000.dcm").stat().st_mtime_ns
    monkeypatch.setattr(store, "generator_hash", lambda: "another")
    phantom_nsclc.generate(tmp_path, ["PN-05002"], coarse)
    again = (tmp_path / "PN-05002" / "CT_000.dcm").stat().st_mtime_ns
    assert again != stamp
    assert json.loads((tmp_path / "generator.json").read_text())["generator_sha256"] == "another"
    phantom_nsclc.generate(tmp_path, ["PN-05002"], scaled(phantom_nsclc.MINI, 3.2))
    assert (tmp_path / "PN-05002" / "CT_000.dcm").stat().st_mtime_ns != again


def test_msd_folder_looks_like_task06(msd_root: Path) -> None:
    description = json.loads((msd_root / "dataset.json").read_text())
    assert list(description) == [
        "name", "description", "reference", "license", "release", "tensorImageSize", "modality", "labels", "numTraining", "numTest",
        "training", "test",
    ]  # fmt: skip
    assert description["modality"] == {"0": "CT"}
    assert description["labels"] == {"0": "background", "1": "cancer"}
    assert description["numTraining"] == len(description["training"]) == 2
    assert description["numTest"] == len(description["test"]) == len(phantom_msd.UNLABELED_NUMBERS)
    for entry in description["training"]:
        assert (msd_root / entry["image"]).is_file()
        assert (msd_root / entry["label"]).is_file()
    assert all((msd_root / name).is_file() for name in description["test"])


def test_facts_agree_with_the_reference(nsclc_root: Path) -> None:
    case = next(c for c in phantom_nsclc.cases(nsclc_root) if c.patient_id == WITH_TUMOR)
    volumes = [float(v) for v in case.attributes["volume_ml"].split(";")]
    assert sum(volumes) == pytest.approx(phantom_nsclc.load(case).references["reference"].volume_ml, rel=0.03)
    assert all(isinstance(v, str) for v in case.attributes.values())


@pytest.mark.parametrize("module", [phantom_nsclc, phantom_msd])
def test_empty_folder_is_an_input_error(module, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no phantom patients"):
        module.cases(tmp_path)


def test_anatomy_does_not_depend_on_the_grid() -> None:
    """The same patient on two grids: lung volume and tumor volume agree."""
    grids = (phantom_nsclc.MINI, phantom_nsclc.SMALL)
    drawn = [cohort.draw_patient(cohort.NSCLC, "PN-05001", g) for g in grids]
    for take in (lambda p: p.lung_mm["Lung-Right"] > 0, lambda p: p.tumor_mm > 0):
        fine, coarse = (int(take(p).sum()) * g.voxel_ml for p, g in zip(drawn, grids, strict=True))
        assert coarse == pytest.approx(fine, rel=0.15)


def test_smooth_field_has_unit_spread_and_no_grid() -> None:
    axes = tuple(np.linspace(-200, 200, n).astype(np.float32) for n in (64, 48, 56))
    values = smooth_field(np.random.default_rng(0), axes, 12.0, (-220.0, 220.0))
    assert values.std() == pytest.approx(1, abs=0.05)
    coarse = smooth_field(np.random.default_rng(0), tuple(a[::2] for a in axes), 12.0, (-220.0, 220.0))
    np.testing.assert_allclose(coarse, values[::2, ::2, ::2], atol=1e-4)


def test_coverage_and_capsule_by_hand() -> None:
    # A voxel 2 mm wide whose centre lies 0.5 mm inside a plane is covered to three quarters.
    np.testing.assert_allclose(coverage(np.array([-1.0, 0.0, 0.5, 3.0]), 2.0), [0, 0.5, 0.75, 1])
    points = tuple(np.array([v], dtype=np.float32) for v in (5.0, 3.0, 0.0))
    # Halfway along a 10 mm capsule tapering from 4 to 2 mm the radius is 3 mm: a point 3 mm off the axis is on its surface.
    assert capsule(points, np.zeros(3), np.array([10.0, 0, 0]), 4.0, 2.0)[0] == pytest.approx(0, abs=1e-5)
    line = curve(np.array([[0, 0, 0, 1], [10, 0, 0, 3]], dtype=float))
    np.testing.assert_allclose(line[[0, -1]], [[0, 0, 0, 1], [10, 0, 0, 3]])


def test_grid_is_centered() -> None:
    grid = Grid((4, 4, 2), (2.0, 2.0, 5.0))
    np.testing.assert_allclose(grid.affine((10.0, 0.0, 0.0))[:3, 3], [7.0, -3.0, -2.5])
