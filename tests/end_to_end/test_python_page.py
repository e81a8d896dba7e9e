"""The snippets on the use from Python run as they are written, on files of the names that they use."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import lungseg_utils as ls
from lungseg_utils.evaluation import tables
from lungseg_utils.networks import propagation
from lungseg_utils.networks.torchvision_cpu import ensure_torchvision
from tests.support.sample_results import PATIENTS, values_around

PAGE = Path(__file__).resolve().parents[2] / "book" / "extend.md"
SLICES, SLICE_MM = 64, 10.0  # as thick as a slice may be


@pytest.fixture
def folder(tmp_path, monkeypatch, dicom):
    """A folder with a CT, contours, two masks, two result tables and weights of MedSAM's layout (random ones)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(propagation, "REACH_MM", SLICE_MM)  # a lesion is followed over few slices: the network is a large one
    stored = np.full((SLICES, 300, 300), 200, np.int16)
    stored[60:64, 190:230, 220:250] = 1074
    dicom.ct_series(tmp_path / "ct", stored, spacing=(0.8, 0.8, SLICE_MM))
    image = ls.read_image(tmp_path / "ct")
    corners = np.array([[220, 190], [250, 190], [250, 230], [220, 230]]) * 0.8
    outlines = [np.c_[corners, np.full(4, k * SLICE_MM)] for k in range(60, 64)]
    dicom.rtstruct(tmp_path / "RS.dcm", {"GTV-1": outlines})
    for name, low in (("reference", 4), ("prediction", 6)):
        array = np.zeros((20, 20, 8), bool)
        array[low : low + 4, 4:8, 2:6] = True
        ls.write_mask(ls.Mask(array, np.diag([0.8, 0.8, 2.5, 1.0])), tmp_path / f"{name}.nii.gz")
    for name, mean in (("a", 0.7), ("b", 0.6)):
        tables_of(tmp_path / name / "results.csv", mean)
    torch.manual_seed(0)
    ensure_torchvision()
    from segment_anything import sam_model_registry

    torch.save(sam_model_registry["vit_b"]().state_dict(), tmp_path / "medsam_vit_b.pth")
    return image


def tables_of(path, mean):
    from lungseg_utils.core import files
    from lungseg_utils.evaluation import metrics

    rows = []
    for patient, value in zip(PATIENTS, values_around(mean, int(10 * mean)), strict=True):
        keys = {"experiment": path.parent.name, "test_dataset": "phantom_nsclc", "prompter": "none", "jitter": 0.0}
        values = dict.fromkeys(metrics.UNITS, 1.0) | {"dsc": value}
        rows += tables.result_rows(keys | {"patient_id": patient, "case_id": patient}, "reference", values, {}, False)
    files.write(tables.results_frame(rows), path)


@pytest.mark.slow
def test_the_snippets_of_the_page_run_as_they_are_written(folder):
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(snippets) == 6
    found = {}
    for snippet in snippets:
        exec(snippet, found)
    assert found["table"].set_index("metric").loc["dsc", "value"] == 0.5
    assert found["box"].ijk_min[2] == found["prompts"][0].slices[0].index
    assert found["contrast"].difference == pytest.approx(0.1)
    assert found["contrast"].n == len(PATIENTS)
    assert found["gtv"].array.sum() == pytest.approx(40 * 30 * 4, rel=0.05)
    assert np.array_equal(ls.read_mask("gtv.nii.gz", found["image"]).array, found["gtv"].array)
    assert found["tumor"].shape == folder.shape
