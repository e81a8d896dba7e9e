"""A cohort: how scanner, patients and tumors are distributed, and one patient drawn from it.

Sizes of the NSCLC cohort follow the gross tumor volumes of NSCLC-Radiomics; those of the MSD cohort, and all lesion counts,
are assumed (no published figures were found). A patient's id gives the seed: equal ids make equal patients on a machine.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from .acquisition import Scanner, acquire
from .anatomy import draw_build, draw_chest
from .fields import Grid, make_space
from .lesions import CONTACTS, SOLIDITIES, Burden, Lesion, LesionPlan, add_benign, add_nodes, add_tumor

# NSCLC-Radiomics GTV-1, 145 patients (doi:10.1038/ncomms5006): volume in ml by share of patients. The 5, 25, 50, 75 and
# 95 % quantiles are published (mean 3.38 and SD 1.60 of the logarithm, with more small tumors than a log-normal law);
# the two ends are assumed.
NSCLC_VOLUME_ML = ((0.0, 0.9), (0.05, 1.4), (0.25, 8.7), (0.50, 39.8), (0.75, 100.0), (0.95, 306.0), (1.0, 360.0))
# Assumed: log-normal with mean 1.9 and SD 1.25 of the logarithm, cut at 0.35 and 120 ml.
MSD_VOLUME_ML = ((0.0, 0.35), (0.05, 0.86), (0.25, 2.9), (0.50, 6.7), (0.75, 15.5), (0.95, 52.0), (1.0, 120.0))
ASSUMED_LESION_COUNTS = {1: 0.90, 2: 0.08, 3: 0.02}
TUMOR_FREE_NUMBERS = ((1046, 1049), (3020, 3023), (90060, 90079), (5008, 5009))


@dataclass(frozen=True)
class CohortSettings:
    """How patients of one cohort are distributed. Pairs are ranges unless said otherwise."""

    name: str
    prefix: str
    stream: int  # keeps equal numbers of two cohorts apart
    hemithorax: bool
    volume_ml: tuple[tuple[float, float], ...]  # (share of patients, volume), interpolated on the logarithm
    reader_outward_mm: float  # how far outside the surface readers draw on average
    contact_shares: tuple[float, float, float]  # CONTACTS
    solidity_shares: tuple[float, float, float, float]  # SOLIDITIES
    atelectasis_share: float
    node_share: float
    noise_hu: tuple[float, float]
    peak_per_mm: tuple[float, float]
    slice_correlation: tuple[float, float]
    blur_mm: tuple[float, float]
    contrast_share: float
    contrast_hu: tuple[float, float]
    centre_z_mm: tuple[float, float]
    couch: bool


NSCLC = CohortSettings(
    name="phantom_nsclc", prefix="PN", stream=11, hemithorax=False,
    volume_ml=NSCLC_VOLUME_ML, reader_outward_mm=0.65,
    contact_shares=(0.22, 0.42, 0.36), solidity_shares=(0.48, 0.15, 0.30, 0.07),
    atelectasis_share=0.30, node_share=0.45,
    noise_hu=(14.5, 20.5), peak_per_mm=(0.165, 0.215), slice_correlation=(0.18, 0.42), blur_mm=(0.6, 0.9),
    contrast_share=0.6, contrast_hu=(80, 170), centre_z_mm=(-18.0, -10.0), couch=True,
)  # fmt: skip
MSD = CohortSettings(
    name="phantom_msd", prefix="PM", stream=12, hemithorax=True,
    volume_ml=MSD_VOLUME_ML, reader_outward_mm=0.2,
    contact_shares=(0.42, 0.38, 0.20), solidity_shares=(0.62, 0.14, 0.16, 0.08),
    atelectasis_share=0.12, node_share=0.30,
    noise_hu=(15.5, 20.5), peak_per_mm=(0.18, 0.23), slice_correlation=(0.25, 0.44), blur_mm=(0.5, 0.8),
    contrast_share=0.75, contrast_hu=(110, 230), centre_z_mm=(-45.0, 25.0), couch=False,
)  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """A finished phantom: int16 HU, distances of what will be outlined (mm, positive inside), and its facts."""

    patient_id: str
    affine: np.ndarray
    hu: np.ndarray
    tumor_mm: np.ndarray
    node_mm: np.ndarray | None
    lung_mm: dict[str, np.ndarray]
    true_tumor_mm: np.ndarray
    confounder_mm: np.ndarray | None
    facts: dict[str, str]


def patient_number(patient_id: str) -> int:
    """The number in an id such as PN-01000."""
    return int(patient_id.split("-")[1])


def is_tumor_free(patient_id: str) -> bool:
    """Tumor-free patients have numbers of their own, the last of each split."""
    number = patient_number(patient_id)
    return any(low <= number <= high for low, high in TUMOR_FREE_NUMBERS)


def _draw_plans(settings: CohortSettings, rng: np.random.Generator) -> list[LesionPlan]:
    count = int(rng.choice(list(ASSUMED_LESION_COUNTS), p=list(ASSUMED_LESION_COUNTS.values())))
    plans = []
    for index in range(count):
        shares, volumes = np.transpose(settings.volume_ml)
        volume = float(np.exp(np.interp(rng.random(), shares, np.log(volumes))))
        volume = volume if index == 0 else max(volumes[0], volume * rng.uniform(0.05, 0.3))
        contact = str(rng.choice(CONTACTS, p=settings.contact_shares))
        solidity = str(rng.choice(SOLIDITIES, p=settings.solidity_shares))
        if (solidity in ("necrotic", "cavitary") and volume < 6) or (solidity == "part_solid" and volume > 60):
            solidity = "solid"
        spicules = int(rng.integers(8, 26)) if rng.random() < 0.5 else 0
        plans.append(LesionPlan(volume, contact, solidity, index == 0 and rng.random() < settings.atelectasis_share, spicules))
    return sorted(plans, key=lambda p: -p.volume_ml)


def _centre(settings: CohortSettings, rng: np.random.Generator) -> tuple[float, float, float]:
    side = rng.choice([-1.0, 1.0])
    z = float(np.round(rng.uniform(*settings.centre_z_mm), 1))
    return (float(side * 66.0) if settings.hemithorax else 0.0, -4.0, z)


def diameter_mm(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> float:
    """Longest in-slice distance between voxel centres of a mask, on the slice where it is longest."""
    best = 0.0
    for k in np.flatnonzero(mask.any((0, 1))):
        points = np.argwhere(mask[:, :, k]) * np.asarray(spacing_mm[:2])
        if len(points) > 8:
            with suppress(QhullError):  # all on one line: no hull, and no need of one
                points = points[ConvexHull(points).vertices]
        best = max(best, float(pdist(points).max()) if len(points) > 1 else 0.0)
    return best


def _facts(patient_id: str, tumors: list[Lesion], burden: Burden, grid: Grid) -> dict[str, str]:
    volumes = [int((t.drawn_mm > 0).sum()) * grid.voxel_ml for t in tumors]
    diameters = [diameter_mm(t.drawn_mm > 0, grid.spacing_mm) for t in tumors]
    return {
        "patient_id": patient_id,
        "n_lesions": str(len(tumors)),
        "contact": ";".join(t.contact for t in tumors),
        "solidity": ";".join(t.plan.solidity for t in tumors),
        "spiculated": ";".join(str(int(t.plan.spicules > 0)) for t in tumors),
        "diameter_mm": ";".join(f"{d:.1f}" for d in diameters),
        "volume_ml": ";".join(f"{v:.2f}" for v in volumes),
        "tumor_free": str(int(not tumors)),
        "n_benign": str(len(burden.benign_centres_mm)),
        "n_nodes": str(len(burden.nodes_mm)),
        "atelectasis": str(int(burden.atelectasis)),
    }


def _streams(settings: CohortSettings, patient_id: str) -> list[np.random.Generator]:
    """One generator per step, so that a change in one step leaves the draws of the others as they were."""
    seeds = np.random.SeedSequence([settings.stream, patient_number(patient_id)]).spawn(6)
    return [np.random.default_rng(s) for s in seeds]


def draw_scanner(settings: CohortSettings, rng: np.random.Generator) -> Scanner:
    """Scanner settings of one patient."""
    return Scanner(
        *(float(rng.uniform(*r)) for r in (settings.noise_hu, settings.peak_per_mm, settings.slice_correlation, settings.blur_mm))
    )


def scanner_of(settings: CohortSettings, patient_id: str) -> Scanner:
    """The scanner that a patient was drawn with."""
    return draw_scanner(settings, _streams(settings, patient_id)[4])


def draw_patient(settings: CohortSettings, patient_id: str, grid: Grid) -> Patient:
    """Draw one patient of a cohort on a grid; deterministic in `patient_id` and `grid`."""
    plan_rng, body_rng, chest_rng, lesion_rng, scan_rng, noise_rng = _streams(settings, patient_id)
    plans = [] if is_tumor_free(patient_id) else _draw_plans(settings, plan_rng)
    build = draw_build(body_rng, settings.contrast_share, settings.contrast_hu)
    centre = _centre(settings, body_rng)
    space = make_space(body_rng, grid, centre, (4.0, 1.2), build.scale)
    chest = draw_chest(space, build, chest_rng, settings.couch)
    burden = Burden()
    if plan_rng.random() < settings.node_share:
        add_nodes(chest, int(plan_rng.integers(1, 4)), burden, lesion_rng)
    for plan in plans:
        add_tumor(chest, plan, burden, settings.reader_outward_mm, lesion_rng)
    add_benign(chest, int(plan_rng.poisson(0.9)), burden, lesion_rng)
    hu = acquire(chest.hu, chest.body_mm, grid, draw_scanner(settings, scan_rng), noise_rng)
    return _finish(patient_id, grid.affine(centre), hu, chest, burden, grid)


def _union(distances: list[np.ndarray], like: np.ndarray) -> np.ndarray:
    return np.maximum.reduce(distances) if distances else np.full_like(like, -60.0)


def _finish(patient_id: str, affine: np.ndarray, hu: np.ndarray, chest, burden: Burden, grid: Grid) -> Patient:
    tumors = [t for t in burden.tumors if (t.drawn_mm > 0).sum() >= 3]
    tumor = _union([t.drawn_mm for t in tumors], chest.hu)
    true = _union([t.true_mm for t in tumors], chest.hu)
    node = np.minimum(_union(burden.nodes_mm, chest.hu), -tumor) if burden.nodes_mm else None
    lung = np.minimum(chest.lung_mm, -true)
    middle = chest.space.warped[0] + 4
    lungs = {"Lung-Right": np.minimum(lung, middle), "Lung-Left": np.minimum(lung, -middle)}
    return Patient(patient_id, affine, hu, tumor, node, lungs, true, burden.confounder_mm, _facts(patient_id, tumors, burden, grid))
