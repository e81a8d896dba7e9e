"""Masks of several models against the same references: paired differences, ranks, files; NRRD and DICOM SEG beside NIfTI."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK

from lungseg_utils import __main__
from lungseg_utils.data import dicom_seg, images, mask_files
from lungseg_utils.evaluation import comparisons
from lungseg_utils.reporting.own_masks import scoring, several
from lungseg_utils.types import InputError, Mask

SHAPE, AFFINE = (24, 20, 10), np.diag([1.5, 1.5, 2.5, 1.0])


def _box(width):
    mask = np.zeros(SHAPE, bool)
    mask[2 : 2 + width, 3:13, 2:8] = True
    return mask


def _save(mask, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), path)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Twelve patients: the reference is 12 wide, `good` misses 1 or 2 of it, `fair` one more, and `poor` four more than that."""
    root = tmp_path_factory.mktemp("models")
    for number in range(12):
        missed = 1 + number % 2
        _save(_box(12), root / "references" / f"p{number:02d}.nii.gz")
        for name, more in (("good", 0), ("fair", 1), ("poor", 5)):
            _save(_box(12 - missed - more), root / name / f"p{number:02d}.nii.gz")
    return root


def _dsc(width):
    return 2 * width / (12 + width)


def test_differences_are_those_of_the_dice_by_hand_with_the_projects_own_interval_and_test(three):
    scored = [scoring.score_folders(three / name, three / "references", name=name) for name in ("good", "fair", "poor")]
    compared = several.compare(scored)
    row = compared["differences"].query("quantity == 'dsc' and first == 'good' and second == 'fair'").iloc[0]
    expected = np.array([_dsc(12 - 1 - n % 2) - _dsc(12 - 2 - n % 2) for n in range(12)])
    assert row["difference"] == pytest.approx(expected.mean())
    assert row["low"] < expected.mean() < row["high"]
    assert row["p"] == pytest.approx(comparisons.sign_flip_test(expected)) == 2 / 2**12
    assert row["p_holm"] == pytest.approx(3 * row["p"])  # three pairs, all equally clear
    assert row["said"] == "the first is higher (no claim: 12 patients)"
    ranks = compared["ranks"].query("quantity == 'dsc'")
    assert list(ranks["model"]) == ["good", "fair", "poor"]
    assert ranks["p_best"].tolist() == [1, 0, 0]
    assert compared["ranks"].query("quantity == 'hd95'")["model"].tolist()[0] == "good"


def test_the_command_writes_page_tables_and_latex_and_one_folder_is_scored_as_before(three, tmp_path, capsys):
    models = [f"--predictions={name}={three / name}" for name in ("good", "fair", "poor & \\cheap")]
    (three / "poor & \\cheap").exists() or (three / "poor").rename(three / "poor & \\cheap")
    try:
        assert __main__.main(["report", *models, f"--references={three / 'references'}", f"--out={tmp_path / 'out'}"]) == 0
    finally:
        (three / "poor & \\cheap").rename(three / "poor")
    assert "the first is higher" in capsys.readouterr().out
    out = tmp_path / "out"
    page = (out / "comparison.html").read_text()
    assert "poor &amp; \\cheap" in page
    assert "http" not in page.replace("http-equiv", "")
    tex = (out / "differences.tex").read_text()
    assert r"poor \& \textbackslash cheap" in tex
    assert r"\toprule" in tex
    assert tex.isascii()
    assert len(pd.read_csv(out / "differences.csv")) == 6
    assert sorted(path.name for path in out.iterdir() if path.is_dir())[:2] == ["fair", "good"]
    assert (out / "good" / "report.html").is_file()
    assert (
        __main__.main(["report", f"--predictions={three / 'good'}", f"--references={three / 'references'}", f"--out={tmp_path / 'one'}"])
        == 0
    )
    assert (tmp_path / "one" / "report.html").is_file()
    assert not (tmp_path / "one" / "comparison.html").exists()


def test_names_must_differ_and_one_name_does_not_name_several(three, capsys):
    common = [f"--references={three / 'references'}"]
    assert __main__.main(["report", f"--predictions=a={three / 'good'}", f"--predictions=a={three / 'fair'}", *common]) == 2
    assert "two models have one name" in capsys.readouterr().err
    assert __main__.main(["report", f"--predictions={three / 'good'}", f"--predictions={three / 'fair'}", "--name=x", *common]) == 2
    assert "--predictions NAME=DIR" in capsys.readouterr().err


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR"])
def test_a_mask_as_nrrd_is_that_of_nifti_whatever_the_order_of_axes(axes, tmp_path):
    rng = np.random.default_rng(0)
    array, affine = rng.random(SHAPE) > 0.5, AFFINE.copy()
    affine[:3, 3] = (-12.0, 30.0, 5.0)
    image = nib.Nifti1Image(array.astype(np.uint8), affine)
    change = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(axes))
    nib.save(image.as_reoriented(change), tmp_path / "a.nii.gz")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / "a.nii.gz")), str(tmp_path / "b.seg.nrrd"))
    grid = mask_files.read_grid(tmp_path / "b.seg.nrrd")
    assert grid.shape == SHAPE
    np.testing.assert_allclose(grid.affine, affine, atol=1e-5)
    read = [mask_files.read_mask(tmp_path / name, grid).array for name in ("a.nii.gz", "b.seg.nrrd")]
    assert np.array_equal(read[0], array)
    assert np.array_equal(read[1], array)
    assert mask_files.name_without_ending(tmp_path / "b.seg.nrrd") == "b"


def test_dicom_seg_is_scored_on_the_grid_of_the_scan(dicom, tmp_path):
    stored = np.full((10, 20, 24), 1024, np.int16)
    dicom.ct_series(tmp_path / "ct" / "p1", stored, origin=(-12.0, 30.0, 5.5), spacing=(1.5, 1.5, 2.5))
    image = images.read_image(tmp_path / "ct" / "p1")
    masks = {"references": _box(12), "predictions": _box(6)}
    for folder, array in masks.items():
        dicom_seg.write_dicom_seg(Mask(array, image.affine), tmp_path / folder / "p1.dcm", tmp_path / "ct" / "p1", "Tumor", "test")
    with pytest.raises(InputError, match=r"on which grid.*--images"):
        scoring.score_folders(tmp_path / "predictions", tmp_path / "references")
    scores = scoring.score_folders(tmp_path / "predictions", tmp_path / "references", images=tmp_path / "ct")
    found = scores.results.query("metric == 'dsc' and lesion_id == ''")["value"].item()
    assert found == pytest.approx(_dsc(6))
    labeled = scoring.score_folders(tmp_path / "predictions", tmp_path / "references", images=tmp_path / "ct", label=1)
    assert labeled.results["value"].equals(scores.results["value"])


def test_a_damaged_nrrd_is_named(three, tmp_path):
    _save(_box(12), tmp_path / "references" / "a.nii.gz")
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "a.nrrd").write_bytes(b"NRRD0005\nno header")
    with pytest.raises(InputError, match=r"a\.nrrd: it cannot be read as NRRD"):
        scoring.score_folders(tmp_path / "predictions", tmp_path / "references")
