"""Every closed region of every real patient with contours, voxel by voxel against a rasterizer that shares nothing with the reader."""

import numpy as np
import pydicom
import pytest

from lungseg_utils.data import dicom_series
from lungseg_utils.data.grids import empty_grid
from lungseg_utils.data.rtstruct import open_rtstruct

# Regions with closed contours, and slices on which outlines are stored more than once (most of them one or two voxels large).
PATIENTS = {
    "nsclc_radiomics/LUNG1-001": (8, 46),
    "nsclc_radiomics/LUNG1-002": (10, 10),
    "lung_4d/113_HM10395": (4, 0),
    "ibsi_ct_phantom/dicom": (1, 0),
}
ON_THE_EDGE = 1e-3  # voxels: a centre this near to an outline may count as inside or outside, as floats are rounded
COPY = 0.1  # voxels: files round the points of copies by up to 0.07


@pytest.mark.parametrize("folder", PATIENTS)
def test_every_region_equals_an_even_odd_rule_in_every_voxel(real_data, folder):
    contours = next(open_rtstruct(file.path) for file in dicom_series.list_dicom(real_data / folder) if file.modality == "RTSTRUCT")
    series = dicom_series.read_series(real_data / folder, contours.drawn_on()[1])
    image = empty_grid(series.shape, series.stored_affine, folder)
    regions, copies = _closed_regions(contours.path), 0
    for number, outlines in regions.items():
        by_slice, doubled = _by_slice(outlines, series.stored_affine)
        copies += len(doubled)
        ours = contours.mask(number, image).array[::-1, ::-1]  # the files are stored as LPS: columns and rows run the other way
        for k in range(series.shape[2]):
            expected, near = _even_odd(by_slice.get(k, []), ours.shape[:2])
            assert not ((ours[:, :, k] != expected) & ~near).any(), (number, k)
    assert (len(regions), copies) == PATIENTS[folder]


def _closed_regions(path):
    """{number: [points (n, 3) in LPS mm]}, by pydicom alone."""
    found = {}
    for group in pydicom.dcmread(path).ROIContourSequence:
        own = [np.array(item.ContourData, float).reshape(-1, 3) for item in group.ContourSequence if "CLOSED" in item.ContourGeometricType]
        if own:
            found[int(group.ReferencedROINumber)] = own
    return found


def _by_slice(outlines, stored_affine):
    """{slice: [points (n, 2) in columns and rows, without copies]}, and the slices that have copies."""
    to_voxel = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ stored_affine)
    by_slice, doubled = {}, set()
    for points in outlines:
        voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        own = by_slice.setdefault(round(voxels[0, 2]), [])
        if any(_copy(voxels[:, :2], other) for other in own):
            doubled.add(round(voxels[0, 2]))
        else:
            own.append(voxels[:, :2])
    return by_slice, doubled


def _copy(points, other):
    """A copy may have points more or less, start elsewhere and run the other way: it has the same extent and the same area."""
    extent = np.abs(np.concatenate([points.min(0) - other.min(0), points.max(0) - other.max(0)])).max()
    return extent < COPY and abs(_area(points) - _area(other)) < COPY * np.linalg.norm(np.diff(points, axis=0), axis=1).sum()


def _area(points):
    x, y = points.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _even_odd(outlines, shape):
    """Centres (columns, rows) from which a ray along the columns crosses outlines an odd number of times; and those on an edge."""
    inside, near = np.zeros(shape, bool), np.zeros(shape, bool)
    for points in outlines:
        first = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
        last = np.minimum(np.ceil(points.max(0)).astype(int) + 2, shape)
        x, y = np.arange(first[0], last[0])[:, None], np.arange(first[1], last[1])[None]
        odd, edge = np.zeros((x.size, y.size), bool), np.zeros((x.size, y.size), bool)
        for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
            rows = slice(*np.searchsorted(y[0], [min(ay, by) - ON_THE_EDGE, max(ay, by) + ON_THE_EDGE]))
            part = y[:, rows]
            if ay != by:
                crossing = ax + (part - ay) * (bx - ax) / (by - ay)
                odd[:, rows] ^= ((ay > part) != (by > part)) & (x < crossing)
            length = max(np.hypot(bx - ax, by - ay), 1e-12)
            along = np.clip(((x - ax) * (bx - ax) + (part - ay) * (by - ay)) / length**2, 0, 1)
            edge[:, rows] |= np.hypot(x - ax - along * (bx - ax), part - ay - along * (by - ay)) < ON_THE_EDGE
        box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        inside[box] ^= odd
        near[box] |= edge
    return inside, near
