"""The measuring functions against shapes and noise that are known, and the gates on a few development phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungseg_utils.datasets import phantom_msd, phantom_nsclc
from lungseg_utils.phantoms.acquisition import Scanner, noise_patch
from lungseg_utils.phantoms.calibration import gates, properties, realism, trivial
from lungseg_utils.phantoms.cohort import MSD, NSCLC
from lungseg_utils.phantoms.fields import Grid
from lungseg_utils.types import Image, InputError, Mask, Study

SCANNER = Scanner(noise_hu=17.0, peak_per_mm=0.19, slice_correlation=0.3, blur_mm=0.7)


def _affine(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    return np.diag([*spacing_mm, 1.0])


def _ball(radius: int, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Mask:
    size = 2 * radius + 11
    grid = np.indices((size, size, size)) - size // 2
    return Mask((grid**2).sum(0) <= radius**2, _affine(spacing_mm))


def test_shape_of_a_ball() -> None:
    shape = properties.tumor_shape(_ball(20))
    assert shape["volume_ml"] == pytest.approx(4 / 3 * np.pi * 20**3 / 1000, rel=0.02)
    assert shape["diameter_mm"] == pytest.approx(40, abs=0.1)
    assert shape["flatness"] == pytest.approx(1, abs=0.02)
    assert 0.85 < shape["sphericity"] <= 1


def test_trivial_answers_on_a_ball() -> None:
    """A ball fills pi / 6 of its box: DSC 2 (pi / 6) / (1 + pi / 6) = 0.69; its inscribed ellipses and its RECIST ball are itself."""
    scores = trivial.trivial_dsc(_ball(20))
    assert scores["box_3d_dsc"] == pytest.approx(2 * (np.pi / 6) / (1 + np.pi / 6), abs=0.04)  # 41 voxels wide, not 40.6
    assert scores["box_per_slice_dsc"] == pytest.approx(2 * (np.pi / 4) / (1 + np.pi / 4), abs=0.04)
    for name in ("ellipse_per_slice_dsc", "ellipsoid_3d_dsc", "one_slice_ellipsoid_dsc", "recist_ball_dsc"):
        assert scores[name] > 0.95, name


def test_tumor_hu_of_a_layered_ball() -> None:
    """Core 50 HU, the outermost voxels -300, outside -850: each is read where it lies."""
    mask = _ball(12)
    grid = np.indices(mask.shape) - mask.shape[0] // 2
    hu = np.where((grid**2).sum(0) <= 8**2, 50.0, np.where(mask.array, -300.0, -850.0))
    values = properties.tumor_hu(Image(hu, mask.affine), mask, np.zeros(mask.shape, bool))
    assert values["core_median_hu"] == 50
    assert values["rim_hu"] == -300
    assert values["shell_lung_share"] == 1


@pytest.mark.parametrize("spacing_mm", [(0.8, 0.8, 3.0), (2.25, 2.25, 3.0)])
def test_noise_is_found_as_planted(spacing_mm: tuple[float, float, float]) -> None:
    """Noise in a block of water-like tissue: its SD and slice correlation come back on fine and on coarse pixels."""
    grid = Grid((96, 96, 16), spacing_mm)
    noise = SCANNER.noise_hu * noise_patch(np.random.default_rng(3), grid, SCANNER)
    values = properties.noise_values(Image(noise + 60, _affine(spacing_mm)))
    # The quietest quarter of patches is used, and detrending takes the lowest frequencies: a few per cent low.
    assert values["noise_hu"] == pytest.approx(SCANNER.noise_hu, rel=0.12)
    assert values["slice_correlation"] == pytest.approx(SCANNER.slice_correlation, abs=0.12)


def test_mean_frequency_of_white_noise() -> None:
    """White noise: the mean of |f| over the square of frequencies up to 0.5 per mm is 0.3826."""
    patches = np.random.default_rng(0).standard_normal((200, 32, 32))
    assert properties.mean_frequency(patches, (1.0, 1.0)) == pytest.approx(0.3826, abs=0.01)


def test_lung_is_found_between_wall_and_mediastinum() -> None:
    hu = np.full((120, 80, 12), -1000.0)
    hu[10:110, 10:70] = 40
    hu[20:50, 20:60] = -860
    hu[70:100, 20:60] = -860
    lung = properties.lung_mask(Image(hu, _affine((3.0, 3.0, 5.0))))
    assert lung[35, 40, 6]
    assert lung[85, 40, 6]
    assert not lung[:8].any()
    assert not lung[60].any()


def _noise_study(seed: int, level: float) -> Study:
    rng = np.random.default_rng(seed)
    hu = np.where(np.indices((48, 40, 12)).min(0) >= 0, level, 0) + 20 * rng.standard_normal((48, 40, 12))
    reference = np.zeros(hu.shape, bool)
    reference[15:33, 12:28, 3:9] = True
    affine = _affine((2.25, 2.25, 3.0))
    return Study(Image(hu, affine), {"reference": Mask(reference, affine)})


def test_classifier_tells_apart_only_what_differs() -> None:
    same = {str(i): _noise_study(i, 40) for i in range(3)}, {str(i): _noise_study(10 + i, 40) for i in range(6)}
    different = same[0], {str(i): _noise_study(20 + i, 140) for i in range(6)}
    assert abs(realism.classifier_auc(*same) - 0.5) < 0.25
    assert realism.classifier_auc(*different) > 0.95
    assert np.isnan(realism.classifier_auc({}, same[1]))


@pytest.mark.slow
@pytest.mark.parametrize(("module", "settings", "prefix"), [(phantom_nsclc, NSCLC, "PN"), (phantom_msd, MSD, "PM")])
def test_gates_hold_on_development_phantoms(module, settings, prefix: str, tmp_path: Path) -> None:
    """The medians of eight development phantoms, a fixed sample; the calibration page shows those of a whole cohort."""
    patients = [f"{prefix}-{number:05d}" for number in range(1016, 1024)]
    module.generate(tmp_path, patients, module.MINI)
    table = gates.gate_table(gates.measure_phantoms(module, tmp_path, settings, patients))
    assert table["met"].all(), table[["median", "low", "high"]]
    assert list(table.index) == list(gates.GATES)


def test_the_stored_calibration_is_refused_for_another_generator(monkeypatch):
    from lungseg_utils.experiments import phantom_calibration

    for dataset in phantom_calibration.SETTINGS:
        table = phantom_calibration.read(dataset)
        assert len(table) == 50
        assert set(gates.GATES) <= set(table.columns)
    monkeypatch.setattr(phantom_calibration, "generator_hash", lambda: "another")
    with pytest.raises(InputError, match="another generator"):
        phantom_calibration.read("phantom_nsclc")
