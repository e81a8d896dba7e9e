"""Counts that a stranger published give the same Dice by this project's metrics, and methods are compared scan by scan."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lungseg_utils.core import files
from lungseg_utils.evaluation import metrics, published_counts, tables
from lungseg_utils.types import InputError, Mask

LUNG_006 = {"TP": 6614, "FP": 1439, "FN": 436}


def _masks(tp, fp, fn):
    """A reference and a prediction with so many voxels in common, and in one of the two alone."""
    labels = np.repeat([3, 1, 2], [tp, fp, fn])  # bit 1: predicted, bit 2: of the reference
    volume = np.zeros(30 * 30 * 12, np.uint8)
    volume[: len(labels)] = labels
    volume = volume.reshape(30, 30, 12)
    affine = np.diag([0.8, 0.8, 1.5, 1.0])
    return Mask((volume & 2) > 0, affine), Mask((volume & 1) > 0, affine)


def test_our_metrics_give_the_published_dice_of_the_published_counts():
    (row,) = published_counts.read().to_dict("records")
    reference, prediction = _masks(row["tp"], row["fp"], row["fn"])
    assert (reference.array & prediction.array).sum() == LUNG_006["TP"]
    values = metrics.case_values(metrics.Comparison(reference, prediction))
    assert values["dsc"] == pytest.approx(row["dsc"], abs=published_counts.ROUNDING)
    # by hand: 2 x 6614 / (2 x 6614 + 1439 + 436)
    assert values["dsc"] == pytest.approx(13228 / 15103)
    assert metrics.iou(reference.array, prediction.array) == pytest.approx(6614 / 8489)


def _entry(name, tp, fp, fn):
    total = 2 * tp + fp + fn
    counted = {"TP": tp, "FP": fp, "FN": fn, "TN": 10**6, "Dice": 2 * tp / total if total else float("nan"), "IoU": 0.0}
    return {"metrics": {"1": counted}, "prediction_file": f"/any/where/{name}.nii.gz", "reference_file": f"/x/{name}.nii.gz"}


@pytest.fixture
def summary(tmp_path):
    """As nnunetv2 writes it: scans of one large and one small tumor, a missed one, and the published one."""
    entries = [_entry("lung_006", 6614, 1439, 436), _entry("lung_010", 90, 10, 10), _entry("lung_016", 0, 0, 40)]
    path = tmp_path / "validation_summary.json"
    path.write_text(json.dumps({"foreground_mean": {}, "mean": {}, "metric_per_case": entries}))
    return path


def test_a_summary_of_nnunet_is_read_scan_by_scan(summary):
    counts = published_counts.read_summary(summary)
    assert counts["case_id"].tolist() == ["lung_006", "lung_010", "lung_016"]
    assert counts[["tp", "fp", "fn"]].to_numpy().tolist() == [[6614, 1439, 436], [90, 10, 10], [0, 0, 40]]
    assert published_counts.dsc_of(counts) == pytest.approx([13228 / 15103, 0.9, 0.0])
    # per scan the small tumors count as much as the large one, pooled they do not
    assert np.mean(published_counts.dsc_of(counts)) == pytest.approx((13228 / 15103 + 0.9) / 3)
    assert published_counts.pooled_dsc(counts) == pytest.approx(2 * 6704 / (2 * 6704 + 1449 + 486))


def test_nnunets_own_evaluation_writes_what_is_read(tmp_path):
    """Masks that the command of nnunetv2 has counted."""
    import SimpleITK as sitk

    cases = {"lung_006": (400, 30, 50), "lung_010": (20, 5, 0)}
    for name, counts in cases.items():
        for folder, mask in zip(("reference", "prediction"), _masks(*counts), strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(mask.array.astype(np.uint8)), str(tmp_path / folder / f"{name}.nii.gz"))
    command = [str(Path(sys.executable).with_name("nnUNetv2_evaluate_simple")), "reference", "prediction", "-l", "1", "-np", "1"]
    done = subprocess.run([*command, "-o", "summary.json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = published_counts.read_summary(tmp_path / "summary.json").set_index("case_id")
    assert {name: tuple(counts.loc[name, ["tp", "fp", "fn"]].astype(int)) for name in cases} == cases
    for name, (tp, fp, fn) in cases.items():
        values = metrics.case_values(metrics.Comparison(*_masks(tp, fp, fn)))
        assert counts.loc[name, "dsc"] == pytest.approx(values["dsc"], abs=1e-12)


def test_faults_are_named(tmp_path, summary):
    with pytest.raises(InputError, match="label 2"):
        published_counts.read_summary(summary, "2")
    with pytest.raises(InputError, match=r"none\.json"):
        published_counts.read_summary(tmp_path / "none.json")
    summary.write_text(summary.read_text().replace("1439", "1440"))
    with pytest.raises(InputError, match=r"lung_006: 6614 true, 1440 false positive and 436 false negative voxels are no Dice of 0\.87"):
        published_counts.read_summary(summary)
    summary.write_text(json.dumps({"metric_per_case": [_entry("a", 1, 0, 0), _entry("a", 1, 0, 0)]}))
    with pytest.raises(InputError, match="a stands there twice"):
        published_counts.read_summary(summary)
    summary.write_text('{"metric_per_case": []}')
    with pytest.raises(InputError, match="no case"):
        published_counts.read_summary(summary)
    table = published_counts.read()
    files.write(table.rename(columns={"tp": "hits"}), tmp_path / "counts.csv")
    with pytest.raises(InputError, match="columns"):
        published_counts.read(tmp_path / "counts.csv")
    files.write(table.assign(dsc=0.9), tmp_path / "counts.csv")
    with pytest.raises(InputError, match=r"lung_006.*no Dice of 0\.9"):
        published_counts.read(tmp_path / "counts.csv")


def _results(path, values):
    shared = {"experiment": "e", "test_dataset": "msd_lung", "prompter": "none", "jitter": 0.0}
    rows = []
    for name, value in values.items():
        own = shared | {"patient_id": name, "case_id": name}
        rows += tables.result_rows(own, "reference", dict.fromkeys(metrics.UNITS, value), {}, failed=False)
    files.write(tables.results_frame(rows), path)
    return path


def test_the_same_thirteen_scans_are_compared_in_pairs(tmp_path):
    names = [f"lung_{number:03d}" for number in range(13)]
    counts = pd.DataFrame({"case_id": names, "tp": 50, "fp": [2 * n for n in range(13)], "fn": 0})
    theirs = dict(zip(names, published_counts.dsc_of(counts), strict=True))
    ours = {name: value - 0.1 for name, value in theirs.items()} | {"lung_099": 1.0}  # which they did not count
    contrast = published_counts.compare_with_published(_results(tmp_path / "results.csv", ours), counts, "msd_lung")
    assert contrast.n == 13
    assert contrast.difference == pytest.approx(-0.1)
    assert contrast.low <= -0.1 + 1e-9
    assert contrast.p == pytest.approx(2 / 2**13)  # all thirteen signs agree
    with pytest.raises(InputError, match=r"no scan of msd_lung that was counted there \(lung_000"):
        published_counts.compare_with_published(_results(tmp_path / "other.csv", {"lung_099": 1.0}), counts, "msd_lung")
