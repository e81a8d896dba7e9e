"""Own cases: a folder in nnU-Net's raw form, or a CSV table.

Folder: imagesTr/NAME_0000.nii.gz with labelsTr/NAME.nii.gz, and imagesTs/NAME_0000.nii.gz without reference.
CSV: columns case_id, image, reference and, optionally, patient_id; relative paths start at the CSV file's folder;
`image` is a NIfTI file or a folder with a CT series, `reference` a NIfTI mask or empty.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..data import images, nifti, nnunet_listing
from ..data.accounts import note_used
from ..data.listing import collecting, complete
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
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheet programs write a byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "it cannot be read as UTF-8 text", "Save it as CSV in UTF-8.") from error
    note_used(path)
    table = csv.DictReader(text.splitlines())
    lacking = [column for column in _COLUMNS if column not in (table.fieldnames or ())]
    if lacking:
        raise InputError(path, f"the column {', '.join(lacking)} is missing", f"Give columns {', '.join(_COLUMNS)}, commas between.")
    for row in table:
        cells = {name: (value or "").strip() for name, value in row.items() if isinstance(name, str) and not isinstance(value, list)}
        where = f"{path}, line {table.line_num}"
        yield from _of_line(path, cells, where, faults)


def _of_line(table: Path, cells: Mapping[str, str], where: str, faults: list[InputError]) -> Iterator[Case]:
    """The case of one line of a table, or none and its faults: an image and a reference may both be missing."""
    paths: list[Path | None] = []
    for name in ("image", "reference"):
        with collecting(faults):
            paths.append(_resolve(table, cells[name], where))
    if len(paths) == 2:
        image, reference = paths
        with collecting(faults):
            if image is None:
                raise InputError(where, "no image", "Give a NIfTI file or a folder with a CT series.")
            yield _case(cells["case_id"], cells.get("patient_id", ""), image, reference, where)


def _resolve(table: Path, cell: str, where: str) -> Path | None:
    if not cell:
        return None
    path = table.parent / Path(cell).expanduser()
    if not path.exists():
        raise InputError(where, f"{path} does not exist", "Paths are absolute, or start at the folder of the CSV file.")
    return path


def _case(case_id: str, patient_id: str, image: Path, reference: Path | None, where: object = None) -> Case:
    if not re.fullmatch(r"\w[\w.-]*", case_id):  # it becomes a file name
        raise InputError(where or image, f"{case_id!r} is no usable case name", "Use letters, digits, points, - and _.")
    return Case("folder", case_id, patient_id or case_id, image, (reference,) if reference else ())
