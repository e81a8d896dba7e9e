"""Convert a data set to nnU-Net's raw form: images, references and dataset.json.

The way back needs no code: `datasets.folder` reads such a folder, or the table `cases.csv` in it, which also keeps the patients.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .. import registry
from ..core import files, outputs
from ..data import exclusions
from ..data.cases import Studies
from ..networks import nnunet_steps
from ..types import Case, InputError


def to_nnunet(dataset: str, root: Path, to: Path) -> list[Case]:
    """Write the labeled cases of a data set below `root` into the new folder `to`, whole or not at all; returns the cases.

    With several readers the first reference is used, which is their consensus if the data set has one. Cases listed in `data/exclusions`
    are left out.

    Raises:
        InputError: if the folder exists, cannot be written or is not named as nnU-Net wants, if the data set has no labeled case, or if a
            case cannot be read.
    """
    to, module = Path(to), registry.dataset(dataset)
    if not re.fullmatch(r"Dataset\d{3}_\w+", to.name):
        raise InputError(to, "not a name of a raw data set of nnU-Net", "Name it like Dataset006_Lung.")
    if os.path.lexists(to):
        raise InputError(to, "the folder is there already", "Remove it first, or choose another name.")
    outputs.require_folder(to, [Path(root)])
    excluded = set(exclusions.read([dataset])["case_id"])
    cases = [case for case in module.cases(Path(root)) if case.reference_paths and case.case_id not in excluded]
    if not cases:
        raise InputError(root, "no case with a reference in it", "Give the folder of a labeled data set.")
    temporary = to.with_name(f".{secrets.token_hex(4)}.tmp.{to.name}")
    try:
        numbered = nnunet_steps.write_raw(Studies(cases), temporary)
        written = temporary / "nnUNet_raw" / nnunet_steps.DATASET
        _name_by_case(written, numbered, cases)
        written.rename(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return cases


def _name_by_case(folder: Path, numbered: Sequence[str], cases: Sequence[Case]) -> None:
    rows = []
    for number, case in zip(numbered, cases, strict=True):
        image, reference = f"imagesTr/{case.case_id}_0000.nii", f"labelsTr/{case.case_id}.nii"
        (folder / "imagesTr" / f"{number}_0000.nii").rename(folder / image)
        (folder / "labelsTr" / f"{number}.nii").rename(folder / reference)
        rows.append((case.case_id, image, reference, case.patient_id))
    files.write(pd.DataFrame(rows, columns=["case_id", "image", "reference", "patient_id"]), folder / "cases.csv")
