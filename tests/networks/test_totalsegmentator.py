"""TotalSegmentator's lung nodules: what the package's function is given, what is taken of its answer, and what is said without it."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from lungseg_utils import registry
from lungseg_utils.experiments import initial_weights
from lungseg_utils.types import Image, InputError
from tests.support import published_folders

MODEL = registry.model("total_lung_nodules")
OPTIONS = {**MODEL.CARD.options, "device": "cpu"}


@pytest.fixture
def package(monkeypatch):
    """The package's function, in the place of the package: lung below 0 HU, a nodule above."""
    calls = []

    def totalsegmentator(image, output, **options):
        config = json.loads(Path(os.environ["TOTALSEG_HOME_DIR"], "config.json").read_text())
        calls.append({"image": image, "output": output, "config": config, **options})
        hu = np.asanyarray(image.dataobj)
        return nib.Nifti1Image(np.where(hu > 0, 2, 1).astype(np.uint8), image.affine)

    api = ModuleType("totalsegmentator.python_api")
    api.totalsegmentator = totalsegmentator
    monkeypatch.setitem(sys.modules, "totalsegmentator", ModuleType("totalsegmentator"))
    monkeypatch.setitem(sys.modules, "totalsegmentator.python_api", api)
    return calls


def _image():
    hu = np.full((9, 8, 7), -800.0, np.float32)
    hu[2:5, 1:4, 3:6] = 40
    return Image(hu, np.diag([2.0, 2.0, 3.0, 1.0]))


def test_the_package_gets_hu_and_its_affine_and_label_two_is_the_answer(package, tmp_path):
    segmenter, image = MODEL.build(OPTIONS), _image()
    segmenter.load_pretrained(published_folders.total_segmentator(tmp_path / "weights"))
    segmenter.set_image(image)
    answer = segmenter.predict(())
    assert np.array_equal(answer.mask.array, image.array > 0)
    (call,) = package
    assert (call["task"], call["ml"], call["device"], call["output"]) == ("lung_nodules", True, "cpu", None)
    assert np.array_equal(np.asanyarray(call["image"].dataobj), image.array)
    assert np.array_equal(call["image"].affine, image.affine)
    assert call["config"]["send_usage_stats"] is False  # nothing is reported to its makers
    assert "TOTALSEG_HOME_DIR" not in os.environ
    assert segmenter.parameters()["parameters"] > 1000


def test_without_the_package_or_its_weights_the_way_to_get_them_is_said(package, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no weights of TotalSegmentator in it"):
        MODEL.build(OPTIONS).load_pretrained(tmp_path)
    (tmp_path / "experiments.yml").touch()  # a project without weights
    monkeypatch.setenv("LUNGSEG_ROOT", str(tmp_path))
    with pytest.raises(InputError, match=r"not here \(Apache-2\.0.*TOTALSEG_HOME_DIR=\S+ \S+totalseg_download_weights -t lung_nodules"):
        initial_weights.initial_weights("total_lung_nodules", OPTIONS)
    placed = published_folders.total_segmentator(initial_weights.place(MODEL.CHECKPOINTS[0]))
    assert initial_weights.initial_weights("total_lung_nodules", OPTIONS) == placed
    monkeypatch.setitem(sys.modules, "totalsegmentator.python_api", None)
    with pytest.raises(InputError, match=r"not installed.*--no-deps TotalSegmentator==2\.18\.0"):
        MODEL.build(OPTIONS).load_pretrained(placed)


def test_its_row_says_that_it_had_seen_scans_of_lidc():
    from lungseg_utils.reporting import contamination

    assert contamination.level("TotalSegmentator_lung_nodules", "lidc_idri") == contamination.SAME_IMAGES
    assert "partly from LIDC-IDRI" in MODEL.CARD.about
