"""Medical Segmentation Decathlon, Task06_Lung: CT of non-small-cell lung cancer from TCIA, tumors outlined in 3-D.

Expects the unpacked folder: dataset.json, imagesTr, labelsTr, imagesTs. The test volumes come without reference.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..data import nifti
from ..data.listing import collecting, complete
from ..data.used_files import note_used
from ..types import Case, DatasetCard, InputError, Study

CARD = DatasetCard(
    title="MSD Task06 Lung",
    summary="96 CT scans of non-small-cell lung cancer; 63 of them with the tumor's reference mask.",
    target="primary lung tumor",
    license="CC BY-SA 4.0",
    redistributable=True,
    phantom=False,
    citation="Antonelli M et al. (2022) The Medical Segmentation Decathlon, Nature Communications 13:4128",
    doi="10.1038/s41467-022-30695-9",
    source="http://medicaldecathlon.com",
    labeled_patients=63,
)


def cases(root: Path) -> list[Case]:
    """All scans that dataset.json lists, sorted; `root` is the data root or the folder with dataset.json.

    patient_id = case_id. Scans without a reference have no reference_paths. Files of macOS (`._*`) are passed over.
    """
    folder = _folder(Path(root))
    listing = _listing(folder / "dataset.json")
    pairs = [(item["image"], item["label"]) for item in listing.get("training", [])]
    pairs += [(item["image"] if isinstance(item, dict) else item, None) for item in listing.get("test", [])]
    found: list[Case] = []
    faults: list[InputError] = []
    for image, reference in pairs:
        if not _is_of_macos(image):
            with collecting(faults):
                found.append(_case(folder, image, reference))
    return complete(folder, sorted(found, key=lambda case: case.case_id), faults)


def load(case: Case) -> Study:
    """Read a case: reference "tumor", none for the test scans. Raises `InputError` for an empty or damaged mask."""
    image = nifti.read_image(case.image_path)
    return Study(image, {"tumor": nifti.read_mask(case.reference_paths[0], image)} if case.reference_paths else {})


def _folder(root: Path) -> Path:
    for folder in (root / "msd_lung", root / "msd_lung" / "Task06_Lung", root / "Task06_Lung", root):
        if (folder / "dataset.json").is_file():
            return folder
    raise InputError(root, "no dataset.json in it", "Unpack Task06_Lung.tar there; data/README.md tells where to get it.")


def _listing(path: Path) -> dict:
    note_used(path)
    try:
        listing = json.loads(path.read_text(encoding="utf-8"))
        usable = all(isinstance(item, dict) and {"image", "label"} <= set(item) for item in listing.get("training", []))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(path, "it cannot be read", "Unpack the archive again.") from error
    if not usable:
        raise InputError(path, "its training list has no pairs of image and label", "Unpack the archive again.")
    return listing


def _is_of_macos(name: str) -> bool:
    return Path(name).name.startswith("._")


def _case(folder: Path, image: str, reference: str | None) -> Case:
    paths = [folder / name for name in (image, reference) if name]
    for path in paths:
        if not path.is_file():
            raise InputError(path, "dataset.json lists it, but it is missing", "Unpack the archive again.")
    case_id = nifti.name_without_ending(image)
    return Case("msd_lung", case_id, case_id, paths[0], tuple(paths[1:]))
