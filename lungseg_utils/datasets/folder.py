"""Own cases: a folder in nnU-Net's raw form, or a CSV table.

Folder: imagesTr/NAME_0000.nii.gz with labelsTr/NAME.nii.gz, and imagesTs/NAME_0000.nii.gz without reference.
CSV: columns case_id, image, reference and, optionally, patient_id; relative paths start at the CSV file's folder;
`image` is a NIfTI file or a folder with a CT series, `reference` a NIfTI mask or empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..core import text_tables
from ..data import images, nifti, nnunet_listing
from ..data.listing import collecting, complete
from ..data.used_files import note_used
from ..types import Case, DatasetCard, InputError, Study

CARD = DatasetCard(
    title="Your own cases",
    summary="A folder in nnU-Net's raw form, or a CSV table of images and references.",
    target="what your reference masks outline",
    license="yours",
    redistributable=False,
    phantom=False,
    citation="none",
    doi="",
    source="data/README.md",
)
_COLUMNS = ("case_id", "image", "reference")


def cases(root: Path) -> list[Case]:
    """All cases of a CSV file or of a folder in nnU-Net's raw form, sorted; files are checked to be there.

    Raises `ListingError` with every fault: files that make no case, lines of the table that cannot be used, names that come twice.
    """
    root = Path(root)
    faults: list[InputError] = []
    found = list(_from_csv(root, faults) if root.is_file() else _from_folder(root, faults))
    if not found and not faults:
        raise InputError(root, "no case in it", "Put images into imagesTr/NAME_0000.nii.gz, or give a CSV table.")
    names = [case.case_id for case in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        faults.append(InputError(root, f"these cases come twice: {', '.join(doubled)}", "Give every case a name of its own."))
    single = sorted((case for case in found if case.case_id not in doubled), key=lambda case: case.case_id)
    return complete(root, single, faults)


def load(case: Case) -> Study:
    """Read a case: one reference, "reference", or none. A mask of zeros is the reference of a scan without a tumor.

    Raises `InputError` for anything that does not fit together.
    """
    image = images.read_image(case.image_path)
    if not case.reference_paths:
        return Study(image, {})
    return Study(image, {"reference": nifti.read_mask(case.reference_paths[0], image, allow_empty=True)})


def _from_folder(root: Path, faults: list[InputError]) -> Iterator[Case]:
    found, without_partner = nnunet_listing.pairs(root)
    faults += without_partner
    for pair in found:
        with collecting(faults):
            yield _case(pair.name, "", pair.image, pair.label)


def _from_csv(path: Path, faults: list[InputError]) -> Iterator[Case]:
    note_used(path)
    for row in text_tables.read_rows(path, _COLUMNS):
        yield from _of_row(path, row, faults)


def _of_row(table: Path, row: text_tables.TableRow, faults: list[InputError]) -> Iterator[Case]:
    """The case of one row of a table, or none and its faults: an image and a reference may both be missing."""
    paths: list[Path | None] = []
    for name in ("image", "reference"):
        with collecting(faults):
            cell = row.cells[name]
            paths.append(text_tables.resolve_path(cell, table.parent, row.where) if cell else None)
    if len(paths) == 2:
        image, reference = paths
        with collecting(faults):
            if image is None:
                raise InputError(row.where, "no image", "Give a NIfTI file or a folder with a CT series.")
            yield _case(row.cells["case_id"], row.cells.get("patient_id", ""), image, reference, row.where)


def _case(case_id: str, patient_id: str, image: Path, reference: Path | None, where: object = None) -> Case:
    try:
        return Case("folder", case_id, patient_id or case_id, image, (reference,) if reference else ())
    except InputError as error:  # its name is no usable one: that stands in a line of the table
        raise InputError(where or error.where, error.problem, error.remedy) from error
