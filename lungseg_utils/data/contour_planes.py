"""Turn the outlines of one region into a mask, after a look at what they say together.

Outlines of one plane are cut out of each other (XOR), so a hole is an outline inside another one, and an island an outline inside a hole.
Three things make nonsense of that rule and are looked for first: outlines stored more than once, outlines that cross, and slices between
outlined ones that have none. The first says nothing new and is left out. The others have more than one meaning, so they are refused:
filling a slice would invent an outline that nobody drew, and leaving it empty would make stripes of a tumor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from ..types import InputError

# Files round positions, so copies of an outline differ by up to 0.07 voxels (LUNG1-002). No reader draws a ring as thin as this.
_COPY_VOXELS = 0.25
# Two outlines of nearly the same area, nowhere farther apart than this, are one outline drawn twice: no wall is thinner than a voxel.
_REDRAWN_VOXELS, _REDRAWN_OVERLAP = 1.0, 0.8
# Shares of the smaller outline. Outlines that touch share a few voxels: up to 2.5 % in `contrast` of LUNG1-002, whose parts are separate.
_APART, _INSIDE = 0.05, 0.95
_SHARED_VOXELS = 2  # on edges; fewer decide nothing
LONGEST_GAP_MM = 10.0
"""Slices without an outline over a longer way than this may lie between two lesions, one above the other."""
_POINTS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class _Piece:
    """One outline on its slice: points (n, 2) in voxels, and the voxels inside, a bool array (x, y) whose first voxel is `first`."""

    points: np.ndarray
    first: np.ndarray
    inside: np.ndarray

    @property
    def box(self) -> tuple[slice, slice]:
        last = self.first + self.inside.shape
        return slice(int(self.first[0]), int(last[0])), slice(int(self.first[1]), int(last[1]))


def rasterize(
    contours: Sequence[np.ndarray],
    shape: Sequence[int],
    slice_mm: float,
    where: str,
    may_cross: bool = False,
    may_lack_slices: bool = False,
) -> np.ndarray:
    """Voxels inside the outlines of one region: bool (x, y, z).

    Args:
        contours: Closed outlines in voxels (n, 3), each within one slice.
        shape: Of the volume.
        slice_mm: Distance of slices.
        where: File and region, for messages.
        may_cross: Outlines of one slice may cross: XOR is what the file asks for.
        may_lack_slices: Slices between outlined ones may have none.

    Raises:
        InputError: for an outline that is not on a slice of the volume, and for outlines that contradict each other.
    """
    planes: dict[int, list[_Piece]] = {}
    for contour in _without_copies(contours):
        plane = _plane_of(contour, shape, slice_mm, where)
        planes.setdefault(plane, []).append(_piece(contour[:, :2], shape, plane, where))
    for plane, pieces in planes.items() if not may_cross else ():
        _refuse_unclear_pairs(pieces, f"{where}, slice {plane} of {shape[2]}")
    if not may_lack_slices:
        _refuse_gaps(planes, slice_mm, where)
    array = np.zeros(tuple(shape), bool, order="F")
    for plane, pieces in planes.items():
        for piece in pieces:
            array[(*piece.box, plane)] ^= piece.inside
    return array


def _without_copies(contours: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The contours (n, 3), in voxels, without those that repeat another one: XOR would cancel what is stored twice."""
    kept: list[np.ndarray] = []
    boxes = np.empty((0, 6))
    for contour in contours:
        box = np.concatenate([contour.min(axis=0), contour.max(axis=0)])
        with np.errstate(invalid="ignore"):  # points that are no numbers are refused where they are drawn
            near = np.flatnonzero(np.abs(boxes - box).max(axis=1) <= _COPY_VOXELS)
        if not any(_same(contour, kept[i], _COPY_VOXELS) for i in near):
            kept.append(contour)
            boxes = np.vstack([boxes, box])
    return kept


def _same(a: np.ndarray, b: np.ndarray, voxels: float) -> bool:
    return _follows(a, b, voxels) and _follows(b, a, voxels)


def _follows(points: np.ndarray, polygon: np.ndarray, voxels: float) -> bool:
    """True if all points (n, d) lie within `voxels` of the outline of a closed polygon (m, d)."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    squared = np.maximum((edges**2).sum(axis=1), np.finfo(float).tiny)
    for start in range(0, len(points), _POINTS_AT_ONCE):
        offsets = points[start : start + _POINTS_AT_ONCE, None] - polygon
        along = np.clip((offsets * edges).sum(axis=2) / squared, 0, 1)
        distances = np.linalg.norm(offsets - along[..., None] * edges, axis=2)
        if not (distances.min(axis=1) <= voxels).all():
            return False
    return True


def _plane_of(ijk: np.ndarray, shape: Sequence[int], slice_mm: float, where: str) -> int:
    """The slice that a contour (n, 3) lies on."""
    if not np.isfinite(ijk).all():
        raise InputError(where, "a contour has points that are no numbers", "Export the file again.")
    plane = round(float(ijk[:, 2].mean()))
    off_mm = np.abs(ijk[:, 2] - plane).max() * slice_mm
    if not 0 <= plane < shape[2]:
        raise InputError(where, f"a contour lies outside the volume (slice {plane} of {shape[2]})", "Give the CT that it was drawn on.")
    if off_mm > max(0.1 * slice_mm, 0.05):
        raise InputError(where, f"a contour lies {off_mm:.2f} mm off the nearest slice", "Give the CT that it was drawn on.")
    return plane


def _piece(points: np.ndarray, shape: Sequence[int], plane: int, where: str) -> _Piece:
    from skimage.draw import polygon2mask

    low, high = points.min(axis=0), points.max(axis=0)
    if (low < -1).any() or (high > np.array(shape[:2])).any():
        raise InputError(where, f"a contour leaves the image in plane (slice {plane})", "Give the CT that it was drawn on.")
    # Only the box round the contour: the test of each pixel is what costs.
    first = np.maximum(np.floor(low).astype(int), 0)
    last = np.minimum(np.ceil(high).astype(int) + 1, shape[:2])
    return _Piece(points, first, polygon2mask(tuple(last - first), points - first))


def _shared(a: _Piece, b: _Piece) -> int:
    """Number of voxels inside both."""
    low = np.maximum(a.first, b.first)
    high = np.minimum(a.first + a.inside.shape, b.first + b.inside.shape)
    if (high <= low).any():
        return 0
    parts = [piece.inside[tuple(slice(m, n) for m, n in zip(low - piece.first, high - piece.first, strict=True))] for piece in (a, b)]
    return int(np.count_nonzero(parts[0] & parts[1]))


def _refuse_unclear_pairs(pieces: Sequence[_Piece], where: str) -> None:
    """Two outlines of a slice must lie apart or one inside the other; else XOR takes off what both enclose."""
    for a, b in combinations(pieces, 2):
        shared, areas = _shared(a, b), [int(np.count_nonzero(piece.inside)) for piece in (a, b)]
        small = min(areas)
        if shared <= max(_APART * small, _SHARED_VOXELS):
            continue
        redrawn = shared > _REDRAWN_OVERLAP * (sum(areas) - shared) and _same(a.points, b.points, _REDRAWN_VOXELS)
        if redrawn or small - shared > max((1 - _INSIDE) * small, _SHARED_VOXELS):
            what = "are nearly the same" if redrawn else "cross each other"
            problem = (
                f"two of its outlines {what} ({areas[0]} and {areas[1]} voxels, {shared} in both), so a hole cannot be told from an area"
            )
            raise InputError(where, problem, "Keep one of them, or join them, and export the file again.")


def _refuse_gaps(planes: Mapping[int, Sequence[_Piece]], slice_mm: float, where: str) -> None:
    missing = [plane for low, high in _gaps(planes, slice_mm) for plane in range(low + 1, high)]
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        problem = f"{len(missing)} slices inside it have no outline ({shown})"
        raise InputError(where, problem, "Interpolate the region on every slice where it was drawn, and export the file again.")


def _gaps(planes: Mapping[int, Sequence[_Piece]], slice_mm: float) -> Iterator[tuple[int, int]]:
    """Outlined slices with slices between them that must belong to the region, although they have no outline.

    These are slices within `LONGEST_GAP_MM` whose neighbors' outlines overlap, and all of a region that is drawn on every n-th slice.
    """
    levels = sorted(planes)
    steps = Counter(high - low for low, high in pairwise(levels))
    usual, times = steps.most_common(1)[0] if steps else (1, 0)
    sparse = usual if times > 1 and 2 * times > steps.total() else 1
    for low, high in pairwise(levels):
        near = (high - low - 1) * slice_mm <= LONGEST_GAP_MM and any(_shared(a, b) for a in planes[low] for b in planes[high])
        if high - low > 1 and (near or high - low == sparse):
            yield low, high
