"""Own cases: a folder in nnU-Net's raw form, or a CSV table.

Folder: imagesTr/NAME_0000.nii.gz with labelsTr/NAME.nii.gz, and imagesTs/NAME_0000.nii.gz without reference.
CSV: columns case_id, image, reference and, optionally, patient_id; relative paths start at the CSV file's folder;
`image` is a NIfTI file or a folder with a CT series, `reference` a NIfTI mask or empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..core import text_tables
from ..data import images, nifti
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
_CHANNEL = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})\.nii(\.gz)?", re.IGNORECASE)


def cases(root: Path) -> list[Case]:
    """All cases of a CSV file or of a folder in nnU-Net's raw form, sorted; files are checked to be there."""
    root = Path(root)
    found = list(_from_csv(root) if root.is_file() else _from_folder(root))
    if not found:
        raise InputError(root, "no case in it", "Put images into imagesTr/NAME_0000.nii.gz, or give a CSV table.")
    names = [case.case_id for case in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(root, f"these cases come twice: {', '.join(doubled)}", "Give every case a name of its own.")
    return sorted(found, key=lambda case: case.case_id)


def load(case: Case) -> Study:
    """Read a case: one reference, "reference", or none. Raises `InputError` for anything that does not fit together."""
    image = images.read_image(case.image_path)
    return Study(image, {"reference": nifti.read_mask(case.reference_paths[0], image)} if case.reference_paths else {})


def _from_folder(root: Path) -> Iterator[Case]:
    for part in ("imagesTr", "imagesTs"):
        for path in sorted((root / part).glob("*")):
            match = _CHANNEL.fullmatch(path.name)
            if match is None or path.name.startswith("."):
                continue
            if match["channel"] != "0000":
                raise InputError(path, "a second channel", "A CT has one: keep NAME_0000.nii.gz only.")
            reference = _reference_of(root, match["name"]) if part == "imagesTr" else None
            yield _case(match["name"], "", path, reference)


def _reference_of(root: Path, name: str) -> Path:
    labels = root / "labelsTr"
    for path in sorted(labels.iterdir()) if labels.is_dir() else ():
        if nifti.is_nifti(path) and nifti.name_without_ending(path) == name:
            return path
    raise InputError(root / "labelsTr" / f"{name}.nii.gz", "no such file", "Add it, or move the image to imagesTs.")


def _from_csv(path: Path) -> Iterator[Case]:
    for row in text_tables.read_rows(path, _COLUMNS):
        files = [text_tables.resolve_path(row.cells[name], path.parent, row.where) for name in ("image", "reference") if row.cells[name]]
        if not row.cells["image"]:
            raise InputError(row.where, "no image", "Give a NIfTI file or a folder with a CT series.")
        yield _case(
            row.cells["case_id"], row.cells.get("patient_id", ""), files[0], files[1] if row.cells["reference"] else None, row.where
        )


def _case(case_id: str, patient_id: str, image: Path, reference: Path | None, where: object = None) -> Case:
    try:
        return Case("folder", case_id, patient_id or case_id, image, (reference,) if reference else ())
    except InputError as error:  # its name is no usable one: that stands in a line of the table
        raise InputError(where or error.where, error.problem, error.remedy) from error
