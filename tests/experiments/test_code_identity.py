"""What a result depends on is found by following imports."""

import shutil

import pytest

from lungseg_utils import registry
from lungseg_utils.experiments import code_identity


def _names(modules, without=()):
    return {str(p.relative_to(code_identity._PACKAGE)) for p in code_identity.closure(modules, without)}


def test_a_model_depends_on_what_it_imports_also_inside_functions_and_on_no_other_model():
    found = _names(["models.unet"])
    assert {"models/unet.py", "networks/automatic.py", "networks/losses.py", "networks/training.py", "types.py", "geometry.py"} <= found
    assert "networks/__init__.py" in found  # runs when anything in networks is imported
    assert not {name for name in found if name.startswith(("models/", "datasets/", "viewers/"))} - {"models/unet.py", "models/__init__.py"}
    assert not {"networks/sam.py", "evaluation/metrics.py", "experiments/run.py"} & found


@pytest.mark.parametrize("model", registry.names("models"))
def test_results_of_a_model_do_not_depend_on_another_model_or_on_how_they_are_shown(model):
    found = _names([f"models.{model}", "paradigms.full", "experiments.run"], without=("phantoms",))
    assert {name for name in found if name.startswith("models/")} == {"models/__init__.py", f"models/{model}.py"}
    assert {"evaluation/metrics.py", "prompts/ladder.py", "experiments/run.py", "evaluation/tables.py"} <= found
    assert not {name for name in found if name.startswith(("book/", "reporting/", "viewers/", "phantoms/", "__main__"))}


@pytest.mark.parametrize(("dataset", "besides"), [("msd_lung", {"data/listing.py"}), ("phantom_msd", set())])
def test_who_trains_on_nifti_files_does_not_depend_on_the_readers_of_dicom(dataset, besides):
    found = _names(["models.unet", "paradigms.full", f"datasets.{dataset}"])
    readers = {f"data/{name}.py" for name in ("__init__", "grids", "nifti", "used_files")}
    assert {name for name in found if name.startswith("data/")} == readers | besides


@pytest.mark.parametrize(
    ("dataset", "others"), [("phantom_nsclc", "dicom_seg lidc_scans nifti"), ("lidc_idri", "dicom_seg rtstruct nifti")]
)
def test_a_data_set_depends_on_the_readers_of_its_own_formats_only(dataset, others):
    found = _names([f"datasets.{dataset}"])
    assert "data/dicom_series.py" in found
    assert not {f"data/{name}.py" for name in others.split()} & found


def test_a_package_left_out_takes_its_modules_along():
    assert "phantoms/lesions.py" in _names(["datasets.phantom_nsclc"])
    assert not {n for n in _names(["datasets.phantom_nsclc"], without=["phantoms"]) if n.startswith("phantoms/")}


@pytest.fixture
def change(monkeypatch, tmp_path):
    """`change(file, old, new)` edits a copy of the package, whose code is hashed from then on."""
    package = tmp_path / "lungseg_utils"
    shutil.copytree(code_identity._PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_identity, "_PACKAGE", package)

    def edit(file, old, new):
        text = (package / file).read_text()
        assert old in text
        (package / file).write_text(text.replace(old, new, 1))
        code_identity._imports.cache_clear()

    code_identity._imports.cache_clear()
    yield edit
    code_identity._imports.cache_clear()


def test_the_hash_changes_with_a_file_of_the_closure_and_with_no_other(change):
    first = code_identity.sha256(["models.unet"])
    change("models/trivial.py", '"""', '"""Changed. ')
    assert code_identity.sha256(["models.unet"]) == first
    change("networks/losses.py", '"""', '"""Changed. ')
    assert code_identity.sha256(["models.unet"]) != first


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("datasets/nsclc_radiomics.py", 'TARGET = "GTV-1"', 'TARGET = "GTV-2"'),  # another region is the tumor
        ("data/radiotherapy.py", 'of_kind["RTSTRUCT"] or of_kind["SEG"]', 'of_kind["SEG"] or of_kind["RTSTRUCT"]'),  # another file is read
        ("data/dicom_pixels.py", "intercept) <= _FARTHEST", "intercept) < _FARTHEST"),  # another series is refused
        ("data/contour_planes.py", "^= piece.inside", "|= piece.inside"),  # a hole is filled
    ],
)
def test_another_reading_of_the_training_data_trains_again(change, file, old, new):
    def identity():
        return code_identity.of_training("unet", "full", ["nsclc_radiomics"])

    first, elsewhere = identity(), code_identity.of_training("unet", "full", ["msd_lung"])
    change(file, old, new)
    assert identity() != first
    assert code_identity.of_training("unet", "full", ["msd_lung"]) == elsewhere  # who never saw that data set


TRAINED_ON = ("nsclc_radiomics", "msd_lung", "phantom_nsclc")
NOBODY, EVERYBODY, OF_CONTOURS = set(), set(TRAINED_ON), {"nsclc_radiomics"}


@pytest.mark.parametrize(
    ("file", "old", "new", "who"),
    [
        ("datasets/nsclc_radiomics.py", 'TARGET = "GTV-1"', 'TARGET = "GTV-2"', OF_CONTOURS),
        ("data/radiotherapy.py", 'of_kind["RTSTRUCT"] or of_kind["SEG"]', 'of_kind["SEG"] or of_kind["RTSTRUCT"]', OF_CONTOURS),
        ("data/dicom_seg.py", '"""', '"""Changed. ', OF_CONTOURS),  # its contours may lie in either format
        ("data/nifti.py", '"""', '"""Changed. ', {"msd_lung"}),
        ("networks/losses.py", '"""', '"""Changed. ', EVERYBODY),
        ("evaluation/metrics.py", "METRICS: tuple", "# one more\nMETRICS: tuple", NOBODY),
        ("prompts/ladder.py", '"box_3d": PromptSetting("one 3-D box"', '"box_3d": PromptSetting("a 3-D box"', NOBODY),
        ("core/measure.py", '"""', '"""Changed. ', NOBODY),  # a blank in the cost meter
        ("data/lidc_scans.py", '"""', '"""Changed. ', NOBODY),  # a comment in another format's reader
        ("models/deeplabv3.py", '"""', '"""Changed. ', NOBODY),
        ("experiments/run.py", '"""', '"""Changed. ', NOBODY),
        ("phantoms/store.py", '"""', '"""Changed. ', NOBODY),
        ("reporting/labels.py", '"""', '"""Changed. ', NOBODY),
        ("__init__.py", '"""', '"""Changed. ', NOBODY),
    ],
)
def test_what_a_change_trains_again(change, file, old, new, who):
    def identities():
        return {name: code_identity.of_training("unet", "full", [name]) for name in TRAINED_ON}

    before = identities()
    change(file, old, new)
    after = identities()
    assert {name for name in TRAINED_ON if before[name] != after[name]} == who


@pytest.mark.parametrize(
    ("file", "asked_again"),
    [("evaluation/metrics.py", True), ("prompts/ladder.py", True), ("reporting/labels.py", False), ("evaluation/intervals.py", False)],
)
def test_what_a_change_asks_again(change, file, asked_again):
    before = code_identity.of_evaluation("unet", "full", ["msd_lung"])
    change(file, '"""', '"""Changed. ')
    assert (code_identity.of_evaluation("unet", "full", ["msd_lung"]) != before) == asked_again


def test_a_module_that_is_not_there_is_no_silent_gap():
    with pytest.raises(ValueError, match=r"no module evaluation\.judging"):
        code_identity.closure(["models.unet"], without=["evaluation.judging"])
