"""Readers, names and outputs: each is used, or refused by the project's own error; nothing hangs, nothing fills the memory.

LUNGSEG_FUZZ files of each kind (a few here; `make torture` takes more), every one a real or well-formed file with a few changes that
are drawn from its number, so that a failure names the number that makes it again.
"""

import csv
import gzip
import json
import os
import resource
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
import yaml
from pydicom.dataset import Dataset

from lungseg_utils import geometry
from lungseg_utils.core import outputs, project, text_tables
from lungseg_utils.core.files import write, write_text
from lungseg_utils.core.names import safe_name
from lungseg_utils.data import dicom_seg, dicom_series, download, grids, images, mask_files, nifti, rtstruct, splits
from lungseg_utils.datasets import folder as own_cases
from lungseg_utils.evaluation import tables
from lungseg_utils.experiments import config
from lungseg_utils.prompts import json_form, sessions
from lungseg_utils.reporting import contamination
from lungseg_utils.types import Box, InputError, Mask, Prompt, SlicePrompt
from tests.support.sample_results import sample_results

COUNT = int(os.environ.get("LUNGSEG_FUZZ", "30"))
PATIENCE_SECONDS = 20
ROOM_BYTES = 3 * 2**30  # over what the test process has already
NUMBERS = (0, -1, 1, 2, 255, 2**31 - 1, -(2**31), 2**63, 1e308, -1e308, float("nan"), float("inf"), 1e-320)
VALUES = (*NUMBERS, None, True, "", "\0", "nan", "../../../etc/passwd", "x" * 5000, [], {}, [[]], {"x": None}, "٣", "&#0;")


# --- changes ---------------------------------------------------------------------------------------------------------


def change_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes of any place: bits, stretches of bytes lost, doubled or overwritten, and the end cut off."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 65))
        kind = rng.integers(5)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length]
        elif kind == 3:
            data[at : at + length] = bytes(rng.choice([0, 255, 127, 128, 32], length).astype(np.uint8))
        elif rng.random() < 0.2:
            del data[at:]
    return bytes(data)


def change_tree(value, rng: np.random.Generator, odds: float = 0.5):
    """One place of nested lists and dictionaries changed: another value, an entry less, or one twice."""
    inner = isinstance(value, dict | list) and len(value) and (isinstance(value, dict) or value) and rng.random() > odds / 4
    if not inner:
        return VALUES[rng.integers(len(VALUES))]
    changed = value.copy()
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[rng.integers(len(keys))]
    kind = rng.random()
    if kind < 0.1:
        changed.pop(key)
    elif kind < 0.2 and isinstance(changed, list):
        changed.append(changed[key])
    elif kind < 0.2:
        changed[str(VALUES[rng.integers(len(VALUES))])] = changed[key]
    else:
        changed[key] = change_tree(value[key], rng, odds)
    return changed


def change_dicom(path: Path, rng: np.random.Generator) -> None:
    """An element of the file, at any depth, lost or with another value; or its bytes changed."""
    if rng.random() < 0.4:
        path.write_bytes(change_bytes(path.read_bytes(), rng))
        return
    file = pydicom.dcmread(path)
    owner, element = _any_element(file, rng)
    kind = rng.random()
    if kind < 0.25:
        del owner[element.tag]
    elif kind < 0.5 and isinstance(element.value, pydicom.multival.MultiValue):
        element._value = pydicom.multival.MultiValue(str, [*map(str, element.value)][: rng.integers(len(element.value))])
    else:
        texts = ("", "0", "-1", "1e308", "nan", "99999999999", "1.2", "x" * 200, "1\\2\\3", "-0.0000001", "CT", "\udcff")
        element.VR, element._value = "UN", texts[rng.integers(len(texts))].encode(errors="ignore")
    file.save_as(path, enforce_file_format=True)


def _any_element(dataset: Dataset, rng: np.random.Generator):
    elements = [e for e in dataset if e.tag.group > 2 and e.keyword != "SpecificCharacterSet"]  # pydicom could not write it back
    element = elements[rng.integers(len(elements))]
    if element.VR == "SQ" and len(element.value) and rng.random() < 0.8:
        inside = element.value[rng.integers(len(element.value))]
        return _any_element(inside, rng) if len(inside) else (dataset, element)
    return dataset, element


def change_nifti(path: Path, rng: np.random.Generator) -> None:
    """A field of the header with another value, or bytes changed, plain or gzipped."""
    data = path.read_bytes()
    plain = gzip.decompress(data) if path.suffix == ".gz" else data
    if rng.random() < 0.6:
        header = np.frombuffer(bytearray(plain[:348]), dtype=nibabel.nifti1.header_dtype, count=1).copy()
        name = header.dtype.names[rng.integers(len(header.dtype.names))]
        field = header[name].reshape(-1)
        with np.errstate(all="ignore"):
            if field.dtype.kind in "iu":
                limits = np.iinfo(field.dtype)
                field[rng.integers(field.size)] = rng.choice([0, 1, 2, 4, limits.max, limits.min, limits.max // 2])
            elif field.dtype.kind == "f":
                field[rng.integers(field.size)] = NUMBERS[rng.integers(len(NUMBERS))]
        header[name] = field.reshape(header[name].shape)
        plain = header.tobytes() + plain[348:]
    else:
        plain = change_bytes(plain, rng)
    packed = gzip.compress(plain) if path.suffix == ".gz" else plain
    path.write_bytes(change_bytes(packed, rng) if rng.random() < 0.2 else packed)


# --- readers ---------------------------------------------------------------------------------------------------------


@contextmanager
def bounded():
    """Within it a reader has so much time and memory and no more."""

    def too_long(*_):
        raise TimeoutError(f"not read within {PATIENCE_SECONDS} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, hard))
    signal.alarm(PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def require_read_or_refused(read, number: int) -> bool:
    """Whether the changed file was read; anything but an answer or an InputError that says what to do fails."""
    fault = None
    try:
        with bounded():
            read()
    except InputError as refused:
        fault = refused
    assert fault is None or (fault.problem and fault.remedy), number
    return fault is None


def fuzz(make, read, count: int = COUNT) -> None:
    """Change a file `count` times and read it each time; some are refused, or the changes do nothing."""
    refused = 0
    for number in range(count):
        rng = np.random.default_rng([20250501, number])
        make(rng)
        try:
            refused += not require_read_or_refused(read, number)
        except Exception as error:
            raise AssertionError(f"file {number}: {type(error).__name__}: {error}") from error
    assert refused > 0


@pytest.fixture
def volume() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(-1000, 1000, (12, 10, 4)).astype(np.int16), np.diag([-1.0, -1.0, 3.0, 1.0])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti(tmp_path, volume, ending):
    path = tmp_path / f"ct{ending}"
    nibabel.save(nibabel.Nifti1Image(*volume), path)
    like = images.read_image(path)

    def make(rng):
        nibabel.save(nibabel.Nifti1Image(*volume), path)
        change_nifti(path, rng)

    fuzz(make, lambda: (images.read_image(path), nifti.read_mask(path, like, label=5, allow_empty=True)))


@pytest.fixture
def series(tmp_path, dicom, request) -> Path:
    """A folder with four slices: of a real CT where one is here, else made up."""
    folder = tmp_path / "ct"
    if os.environ.get(download.MIRROR_VARIABLE):
        root = request.getfixturevalue("real_data")
        found = dicom_series.read_series(root / "lidc_idri" / "LIDC-IDRI-0002").slices[:4]
        for number, file in enumerate(pydicom.dcmread(header.filename) for header in found):
            corner = np.ascontiguousarray(file.pixel_array[:64, :64])  # small enough to write thousands of them
            file.PixelData, file.Rows, file.Columns = corner.tobytes(), 64, 64
            dicom.save(file, folder / f"{number}.dcm")
    else:
        dicom.ct_series(folder, np.random.default_rng(0).integers(0, 2000, (4, 64, 64)).astype(np.int16))
    return folder


def test_dicom_series(series):
    files = {path: path.read_bytes() for path in sorted(series.iterdir())}

    def make(rng):
        for path, data in files.items():
            path.write_bytes(data)
        change_dicom(sorted(files)[rng.integers(len(files))], rng)

    fuzz(make, lambda: images.read_image(series))


def test_rtstruct(tmp_path, series, dicom):
    image = images.read_image(series)
    corners = np.array([[10, 10], [40, 12], [38, 41], [12, 38]])
    world = [np.c_[corners, np.full(4, k), np.ones(4)] @ image.affine.T @ geometry.LPS_TO_RAS.T for k in range(image.shape[2])]
    frame = dicom_series.frame_of_reference_uid(series)
    path = dicom.rtstruct(tmp_path / "rt.dcm", {"GTV-1": [points[:, :3] for points in world]}, frame=frame)
    whole = path.read_bytes()
    assert rtstruct.read_rtstruct(path, image, series_folder=series).array.any()

    def make(rng):
        path.write_bytes(whole)
        change_dicom(path, rng)

    fuzz(make, lambda: (rtstruct.open_rtstruct(path).names(), rtstruct.read_rtstruct(path, image, series_folder=series)))


def test_dicom_seg(tmp_path, series, dicom):
    image = images.read_image(series)
    datasets = sorted((pydicom.dcmread(path) for path in series.iterdir()), key=lambda d: float(d.ImagePositionPatient[2]))
    pixels = np.zeros((len(datasets), 64, 64), np.uint8)
    pixels[1:3, 20:40, 18:36] = 1
    path = dicom.seg(tmp_path / "seg.dcm", datasets, pixels)
    whole = path.read_bytes()
    assert dicom_seg.read_dicom_seg(path, image, "Tumor", series_folder=series).array.any()

    def make(rng):
        path.write_bytes(whole)
        change_dicom(path, rng)

    fuzz(make, lambda: (dicom_seg.open_dicom_seg(path).names(), dicom_seg.read_dicom_seg(path, image, "Tumor", series_folder=series)))


def test_masks_that_are_scored_as_dicom_seg(tmp_path, series, dicom):
    datasets = sorted((pydicom.dcmread(path) for path in series.iterdir()), key=lambda d: float(d.ImagePositionPatient[2]))
    pixels = np.zeros((len(datasets), 64, 64), np.uint8)
    pixels[1:3, 20:40, 18:36] = 1
    path = dicom.seg(tmp_path / "seg.dcm", datasets, pixels)
    whole, like = path.read_bytes(), mask_files.read_grid(series)
    assert mask_files.read_mask(path, like).array.any()

    def make(rng):
        path.write_bytes(whole)
        change_dicom(path, rng)

    fuzz(make, lambda: (mask_files.labels_in(path), mask_files.read_mask(path, like, label=1)))


@pytest.mark.parametrize("packed", [False, True])
def test_masks_that_are_scored_as_nrrd(tmp_path, volume, packed):
    path, (array, _) = tmp_path / "mask.seg.nrrd", volume
    image = SimpleITK.GetImageFromArray((array > 0).astype(np.uint8).T)
    image.SetSpacing((1.0, 1.0, 3.0))
    SimpleITK.WriteImage(image, str(path), packed)
    whole, like = path.read_bytes(), mask_files.read_grid(path)
    assert mask_files.read_mask(path, like).array.any()

    def make(rng):
        path.write_bytes(change_nrrd(whole, rng))

    fuzz(make, lambda: (mask_files.read_grid(path), mask_files.labels_in(path), mask_files.read_mask(path, like, label=1)))


def change_nrrd(data: bytes, rng: np.random.Generator) -> bytes:
    """A value of the header, a line of it, or any bytes."""
    header, _, voxels = data.partition(b"\n\n")
    lines, kind = header.split(b"\n"), rng.random()
    at = int(rng.integers(1, len(lines)))
    if kind < 0.6:
        words = lines[at].split(b" ")
        words[rng.integers(1, len(words))] = str(VALUES[rng.integers(len(VALUES))]).encode()
        lines[at] = b" ".join(words)
    elif kind < 0.75:
        del lines[at]
    return b"\n".join(lines) + b"\n\n" + (change_bytes(voxels, rng) if kind > 0.75 else voxels)


def test_a_header_that_claims_terabytes_is_refused_at_once(tmp_path, volume):
    path = tmp_path / "ct.nii"
    file = nibabel.Nifti1Image(*volume)
    nibabel.save(file, path)
    data = bytearray(path.read_bytes())
    data[40:56] = np.array([3, 32767, 32767, 32767, 1, 1, 1, 1], np.int16).tobytes()
    path.write_bytes(bytes(data))
    with bounded(), pytest.raises(InputError, match="its header claims"):
        images.read_image(path)


def change_csv(text: str, rng: np.random.Generator) -> bytes:
    """A cell, a row or a column changed, or any bytes."""
    if rng.random() < 0.4:
        return change_bytes(text.encode(), rng)
    rows = list(csv.reader(text.splitlines()))
    at, kind = int(rng.integers(len(rows))), rng.random()
    if kind < 0.7:
        rows[at][rng.integers(len(rows[at]))] = str(VALUES[rng.integers(len(VALUES))])
    elif kind < 0.85:
        rows.insert(at, rows[int(rng.integers(len(rows)))])
    else:
        rows[at] = rows[at][: rng.integers(len(rows[at]))]
    return "\n".join(",".join(row) for row in rows).encode(errors="replace")


def test_tables_of_results(tmp_path):
    path = tmp_path / "results.csv"
    write(sample_results(tmp_path / "made")[0].results.head(60), path)
    text = path.read_text()
    fuzz(lambda rng: path.write_bytes(change_csv(text, rng)), lambda: tables.read_results(path))


def test_splits(tmp_path, monkeypatch):
    text = "\n".join((project.project_root() / "data" / "splits" / "phantom_nsclc.csv").read_text().splitlines()[:40])
    path = tmp_path / "phantom_nsclc.csv"
    monkeypatch.setattr(splits, "_split_path", lambda dataset: path)
    fuzz(lambda rng: path.write_bytes(change_csv(text, rng)), lambda: splits.read_splits("phantom_nsclc"))


def test_levels_of_contamination(tmp_path):
    text, path = (project.project_root() / "data" / "contamination.csv").read_text(), tmp_path / "contamination.csv"
    fuzz(lambda rng: path.write_bytes(change_csv(text, rng)), lambda: contamination.read(path))


def test_recorded_sessions(tmp_path):
    path = tmp_path / "session.json"
    look = {
        "action": "box",
        "seconds": 1.5,
        "prompts": [json_form.to_json(Prompt(1, (SlicePrompt(2, box=Box((1, 2, 2), (5, 6, 3))),), actions=1))],
        "answers": [],
    }
    mask = Mask(np.zeros((8, 8, 4), bool), np.eye(4))
    session = sessions.Session(
        "folder", "case", (8, 8, 4), tuple(map(tuple, mask.affine)), "0" * 64, "2026-01-01T00:00:00+00:00", True, False, (), ()
    )
    record = {**json.loads(json.dumps(sessions.to_json(session))), "looks": [look]}
    sessions.from_json(record)
    fuzz(lambda rng: path.write_text(json.dumps(change_tree(record, rng))), lambda: sessions.read(path))


def test_the_grid(tmp_path):
    whole = yaml.safe_load((project.project_root() / "experiments.yml").read_text())
    path, places = tmp_path / "experiments.yml", iter(range(10**9))

    def make(rng):
        nonlocal path
        path = tmp_path / f"{next(places)}.yml"  # a file that was read once is remembered
        path.write_text(yaml.safe_dump(change_tree(whole, rng), allow_unicode=True))

    fuzz(make, lambda: config.load(path))


# --- names, headers, units, folders, outputs ---------------------------------------------------------------------------

PIECES = (
    "..",
    "/",
    "\\",
    "~",
    " ",
    "\n",
    "\0",
    "\t",
    "a",
    "B",
    "7",
    "-",
    "_",
    ".",
    "ü",
    "患",
    "\udcff",
    "x" * 100,
    ":",
    "*",
    "'",
    '"',
    ",",
    ".nii.gz",
)


def any_text(rng: np.random.Generator) -> str:
    return "".join(PIECES[rng.integers(len(PIECES))] for _ in range(rng.integers(6)))


def test_names_stay_in_their_folder_and_apart(tmp_path):
    """A made name is one file; of a table of cases, each is read with its own files, or refused."""
    (inside := tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "x.nii")
    made: dict[str, str] = {}

    def make(rng):
        text = any_text(rng)
        path = inside / f"{safe_name(text)}_0000.nii.gz"
        path.touch()
        assert path.resolve().parent == inside.resolve()
        assert made.setdefault(path.name, text.strip()) == text.strip()
        with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8", errors="replace") as handle:
            rows = [("case_id", "image", "reference"), (any_text(rng), rng.choice(["x.nii", any_text(rng).replace("\0", "")]), "")]
            csv.writer(handle).writerows(rows if rng.random() < 0.9 else rows[::-1])

    fuzz(make, lambda: own_cases.cases(tmp_path / "t.csv"))
    assert {path.name for path in tmp_path.iterdir()} == {"in", "x.nii", "t.csv"}


def test_tables_in_any_encoding(tmp_path):
    path = tmp_path / "patients.csv"
    text = "case_id,patient_id\n" + "".join(f"c{n}, Jürg {n} \n" for n in range(5))
    encodings = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "utf-32", "utf-7")

    def make(rng):
        data = text.encode(encodings[rng.integers(len(encodings))])
        path.write_bytes(change_bytes(data, rng) if rng.random() < 0.5 else data)

    fuzz(make, lambda: text_tables.read_rows(path, ("case_id", "patient_id")))


def test_headers_that_contradict_themselves(tmp_path, volume):
    """What is read has the same voxels by every part of its header, and by SimpleITK."""
    path = tmp_path / "ct.nii"
    sides = ((1, 1, 3), (1, 1, 3), (1, 1, 3), (1, 1, 5), (-1, 1, 3), (1, 1, 0.003), (1.00001, 1, 3))

    def make(rng):
        file = nibabel.Nifti1Image(volume[0], np.eye(4))
        for set_form in (file.set_sform, file.set_qform):
            set_form(np.diag([*sides[rng.integers(len(sides))], 1.0]), int(rng.integers(4) > 0))
        if rng.random() < 0.3:
            file.header["pixdim"][1:4] = np.abs(sides[rng.integers(len(sides))])
        nibabel.save(file, path)

    def read():
        image = images.read_image(path)
        assert image.spacing_mm == pytest.approx(SimpleITK.ReadImage(str(path)).GetSpacing(), rel=1e-3)

    fuzz(make, read)


def test_values_and_sizes_in_wrong_units(tmp_path):
    path = tmp_path / "ct.nii"
    chest = np.where(np.arange(30)[:, None, None] < 15, -850.0, 40.0) + np.random.default_rng(0).normal(0, 15, (30, 12, 4))
    units, factors = (
        {"HU": lambda a: a, "raw": lambda a: a + 1024, "share": lambda a: (a + 1000) / 3000, "8 bits": lambda a: a / 8 + 128},
        (1, 1000, 0.001),
    )
    chosen: list[object] = []

    def make(rng):
        chosen[:] = [list(units)[rng.integers(len(units))], factors[rng.integers(len(factors))]]
        array = units[chosen[0]](chest).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([0.8 * chosen[1], 0.8 * chosen[1], 2.0 * chosen[1], 1.0])), path)

    def read():
        grids.require_hu(images.read_image(path), path)
        assert chosen == ["HU", 1]

    fuzz(make, read)


def test_folders_with_links_of_any_kind(tmp_path, dicom):
    """A series is read once, or refused, whatever links lie beside it; none has no end."""
    root = tmp_path / "root"

    def make(rng):
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(tmp_path / "away", ignore_errors=True)
        dicom.ct_series(tmp_path / "away" / "ct" if rng.random() < 0.5 else root / "ct")
        (root / "b" / "c").mkdir(parents=True)
        (tmp_path / "away").mkdir(exist_ok=True)
        places = [root, root / "b", root / "b" / "c", tmp_path / "away", tmp_path / "nowhere", Path("."), Path("..")]
        for number in range(rng.integers(4)):
            (places[rng.integers(3)] / f"link{number}").symlink_to(places[rng.integers(len(places))])
        if rng.random() < 0.2:
            (root / "b").chmod(0)  # not for root, who may read it all the same

    def read():
        assert images.read_image(root).shape == (8, 8, 4)

    try:
        fuzz(make, read)
    finally:
        (root / "b").chmod(0o700)


def test_outputs_can_be_written_or_are_refused_and_no_input_is_changed(tmp_path):
    (source := tmp_path / "in").mkdir()
    (source / "ct.nii").write_text("CT")
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "closed").symlink_to("/proc")
    starts = ("", "in/", "link/", "new/deep/", "in/../in/", "in/ct.nii/", "closed/")
    names, chosen = ("ct.nii", "m.nii", "x" * 250 + ".nii", "x" * 235 + ".nii", "ü.nii", "CT.NII"), [Path()]

    def make(rng):
        chosen[0] = tmp_path / f"{starts[rng.integers(len(starts))]}{names[rng.integers(len(names))]}"

    def use():
        outputs.require_file(chosen[0], [source / "ct.nii"], (".nii",))
        write_text("mask", chosen[0])
        assert chosen[0].read_text() == "mask"

    fuzz(make, use)
    assert (source / "ct.nii").read_text() == "CT"
