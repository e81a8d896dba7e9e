"""Weights, an archive and whole collections: what is asked first, what is checked, and what a stopped download leaves."""

import hashlib
import io as memory
import json
import shutil
import sys
import tarfile
from types import SimpleNamespace

import pandas as pd
import pytest

from lungseg_utils import __main__ as command_line
from lungseg_utils import registry
from lungseg_utils.data import collections, download, samples
from lungseg_utils.data.download import Published
from lungseg_utils.experiments import initial_weights
from lungseg_utils.types import Checkpoint, InputError

WEIGHTS = b"weights" * 1000
KNOWN = Checkpoint(
    "known.pt", "https://example.invalid/known.pt", len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest(), "MIT", "Somebody 2020"
)
UNKNOWN = Checkpoint("unknown.pt", "https://example.invalid/unknown.pt", 0, "", "research only", "Somebody 2021")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The folder that stands in for https://example.invalid, with two files of weights."""
    folder = tmp_path / "mirror" / "example.invalid"
    folder.mkdir(parents=True)
    for checkpoint in (KNOWN, UNKNOWN):
        (folder / checkpoint.file).write_bytes(WEIGHTS)
    monkeypatch.setenv(download.MIRROR_VARIABLE, str(tmp_path / "mirror"))
    monkeypatch.setattr(collections, "weights", lambda: {c.file: c for c in (KNOWN, UNKNOWN)})
    return folder


def _fetch(name, root, **arguments):
    return collections.fetch(name, root, **{"yes": True, "progress": False, **arguments})


# --- names -----------------------------------------------------------------------------------------------------------


def test_weights_are_those_that_the_model_files_name():
    found = collections.weights()
    assert set(found) == {
        "sam_vit_b_01ec64.pth",
        "medsam_vit_b.pth",
        "sam2_hiera_tiny.pt",
        "sam2_hiera_small.pt",
        "sam2.1_hiera_tiny.pt",
        "MedSAM2_pretrain.pth",
        "MedSAM2_latest.pt",
        "MedSAM2_CTLesion.pt",
        "CLN-Segmenter-MSD-fold0.pth",
    }
    for name in ("sam", "medsam", "sam2", "medsam2", "medical_sam2"):
        module = registry.plugin("models", name)
        assert module.initial_weights(module.CARD.options) in module.CHECKPOINTS
    medsam = Published.of("x", [found["medsam_vit_b.pth"].url])
    assert medsam.digests == (("md5", "3bb6db55bd0c9ca30b61248bca72f8d6"),)


def test_samples_and_whole_data_sets_have_names_that_cannot_be_confused(capsys):
    assert command_line.main(["fetch"]) == 0
    shown = capsys.readouterr().out
    assert "samples:         ibsi_ct_phantom, lidc_idri, lidc_nodules, lung_4d, nsclc_radiomics\n" in shown
    assert "whole data sets: msd_lung, nsclc_radiomics --all, nsclc_radiomics_interobserver1, lidc_idri --all, rider_lung_ct\n" in shown
    assert not set(collections.weights()) & {*samples.names(), *collections.ARCHIVES, *collections.collections()}


@pytest.mark.parametrize(("name", "whole"), [("atlantis", False), ("ibsi_ct_phantom", True)])
def test_unknown_names_list_the_known_ones(tmp_path, name, whole):
    with pytest.raises(InputError, match=r"nothing that can be fetched(?s:.*)medsam_vit_b\.pth"):
        _fetch(name, tmp_path, whole=whole)


def test_without_all_a_data_set_with_samples_gives_those(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "fetch", lambda name, root, yes, progress: root / name / "samples")
    assert _fetch("lidc_idri", tmp_path) == tmp_path / "lidc_idri" / "samples"


# --- weights ---------------------------------------------------------------------------------------------------------


def test_weights_come_once_after_license_citation_and_size_were_shown(tmp_path, mirror, capsys, monkeypatch):
    path = _fetch("known.pt", tmp_path / "root")
    assert path == tmp_path / "root" / "weights" / "known.pt"
    assert path.read_bytes() == WEIGHTS
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("MIT", "Somebody 2020", "0.0 MB"))
    monkeypatch.setenv(download.MIRROR_VARIABLE, "/nowhere")
    assert _fetch("known.pt", tmp_path / "root", yes=False) == path
    assert capsys.readouterr().out == ""


def test_no_weights_come_without_a_yes_or_space(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _question: "n")
    with pytest.raises(InputError, match="--yes"):
        _fetch("known.pt", tmp_path / "root", yes=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=10))
    with pytest.raises(InputError, match="are free"):
        _fetch("known.pt", tmp_path / "root")
    assert not (tmp_path / "root" / "weights" / "known.pt").exists()


def test_damaged_weights_come_again(tmp_path, mirror):
    path = _fetch("known.pt", tmp_path)
    path.write_bytes(b"damaged")
    assert _fetch("known.pt", tmp_path).read_bytes() == WEIGHTS


def test_a_hash_that_nobody_published_is_recorded_at_the_first_download_and_holds_from_then_on(tmp_path, mirror):
    path = _fetch("unknown.pt", tmp_path)
    record = json.loads((tmp_path / "weights" / "pinned.json").read_text())
    expected = {"sha256": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS), "url": UNKNOWN.url}
    assert record == {"unknown.pt": expected}
    path.unlink()
    (mirror / "unknown.pt").write_bytes(WEIGHTS[::-1])
    with pytest.raises(InputError, match="sha256 is not that of the published file"):
        _fetch("unknown.pt", tmp_path)
    assert not path.exists()
    (mirror / "unknown.pt").write_bytes(WEIGHTS)
    assert _fetch("unknown.pt", tmp_path).read_bytes() == WEIGHTS
    assert json.loads((tmp_path / "weights" / "pinned.json").read_text()) == record


def test_all_weights_come_by_one_name(tmp_path, mirror):
    _fetch("weights", tmp_path)
    assert {p.name for p in (tmp_path / "weights").iterdir() if p.suffix == ".pt"} == {"known.pt", "unknown.pt"}


def test_weights_lie_where_a_model_looks_for_them(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(initial_weights.project, "cache_root", lambda: tmp_path)
    monkeypatch.setattr(registry.plugin("models", "sam"), "initial_weights", lambda options: KNOWN)
    path = _fetch("known.pt", tmp_path)
    assert initial_weights.initial_weights("sam", {}) == path


# --- an archive ------------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(mirror, monkeypatch):
    """A small Task06_Lung.tar at the second of its two addresses."""
    path = mirror / "eu" / "Task06_Lung.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("Task06_Lung/dataset.json")
        info.size = 2
        tar.addfile(info, memory.BytesIO(b"{}"))
    content = path.read_bytes()
    urls = [f"https://example.invalid/{place}/Task06_Lung.tar#md5={hashlib.md5(content).hexdigest()}" for place in ("us", "eu")]
    monkeypatch.setitem(collections.ARCHIVES, "msd_lung", Published.of("Task06_Lung.tar", urls, len(content)))
    return path


def test_the_archive_is_unpacked_and_removed(tmp_path, archive, capsys):
    root = tmp_path / "root"
    assert _fetch("msd_lung", root) == root / "msd_lung"
    assert (root / "msd_lung" / "Task06_Lung" / "dataset.json").read_bytes() == b"{}"
    assert not (root / "Task06_Lung.tar").exists()
    assert "CC BY-SA 4.0" in capsys.readouterr().out
    archive.unlink()
    assert _fetch("msd_lung", root, yes=False) == root / "msd_lung"  # it is there


def test_an_archive_that_was_not_unpacked_any_more_is_not_downloaded_again(tmp_path, archive, monkeypatch):
    unpack = samples.extract_tar
    monkeypatch.setattr(samples, "extract_tar", lambda *_arguments, **_options: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        _fetch("msd_lung", tmp_path / "root")
    monkeypatch.setattr(samples, "extract_tar", unpack)
    archive.unlink()
    assert (_fetch("msd_lung", tmp_path / "root") / "Task06_Lung" / "dataset.json").is_file()


def test_the_published_archive_has_two_addresses_a_size_and_a_digest():
    real = collections.ARCHIVES["msd_lung"]
    assert real.size == 9_163_696_640
    assert real.digests == (("md5", "8afd997733c7fc0432f71255ba4e52dc"),)
    assert len(set(real.urls)) == 2
    assert all(url.startswith("https://") and url.endswith("/Task06_Lung.tar") for url in real.urls)


# --- collections -----------------------------------------------------------------------------------------------------

COLUMNS = ["collection_id", "source_DOI", "PatientID", "StudyInstanceUID", "Modality", "SeriesInstanceUID", "instanceCount"]
INDEX = pd.DataFrame(
    [
        ("lidc_idri", "10.7937/k9/tcia.2015.lo9ql9sx", "LIDC-IDRI-0001", "1.1", "CT", "1.1.1", 3),
        ("lidc_idri", "10.7937/k9/tcia.2015.lo9ql9sx", "LIDC-IDRI-0002", "1.2", "CT", "1.2.1", 2),
        ("lidc_idri", "10.7937/tcia.2018.h7umfurq", "LIDC-IDRI-0002", "1.2", "SEG", "1.2.2", 1),  # somebody's analysis
        ("rider_lung_ct", "10.7937/k9/tcia.2015.u1x8a5nr", "RIDER-1", "2.1", "CT", "2.1.1", 2),
        ("rider_lung_ct", "10.7937/tcia.2020.jit9grk8", "RIDER-1", "2.1", "RTSTRUCT", "2.1.2", 1),
        ("rider_lung_ct", "10.7937/tcia.2020.1c3h-vp70", "RIDER-1", "2.1", "SR", "2.1.3", 1),
    ],
    columns=COLUMNS,
).assign(series_size_MB=1.0, license_short_name="CC BY 3.0")


@pytest.fixture
def idc(monkeypatch):
    """A client in the form of NCI's, which writes empty files; `lose`: a series that does not come, `calls`: what it was asked."""
    state = SimpleNamespace(lose="", calls=[])

    class Client:
        index = INDEX

        def get_idc_version(self):
            return "v0"

        def download_from_selection(self, downloadDir, **arguments):
            state.calls.append(arguments)
            for row in INDEX[INDEX["SeriesInstanceUID"].isin(arguments["seriesInstanceUID"])].itertuples():
                place = f"{downloadDir}/{row.PatientID}/{row.StudyInstanceUID}/{row.Modality}_{row.SeriesInstanceUID}"
                folder = type(samples.REGISTRY)(place)
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(row.instanceCount if row.SeriesInstanceUID != state.lose else 0):
                    (folder / f"{number}.dcm").write_bytes(b"")

    monkeypatch.setitem(sys.modules, "idc_index", SimpleNamespace(IDCClient=Client))
    return state


def test_a_collection_comes_whole_without_what_others_made_of_it(tmp_path, idc, capsys):
    folder = _fetch("lidc_idri", tmp_path, whole=True)
    assert {p.name for p in folder.iterdir()} == {"LIDC-IDRI-0001", "LIDC-IDRI-0002", "whole.json"}
    assert {p.parent.name for p in folder.rglob("*.dcm")} == {"CT_1.1.1", "CT_1.2.1"}
    assert json.loads((folder / "whole.json").read_text()) == {"files": 5, "series": 2, "source": "Imaging Data Commons v0"}
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("LIDC-IDRI: ALL of it", "2 patients, 5 files, 2.0 MB", "CC BY 3.0"))
    assert samples.is_here("lidc_idri", tmp_path)
    _fetch("lidc_idri", tmp_path, whole=True, yes=False)
    assert len(idc.calls) == 1
    assert idc.calls[0]["use_s5cmd_sync"] is True


def test_contours_that_others_published_apart_belong_to_rider(tmp_path, idc):
    folder = _fetch("rider_lung_ct", tmp_path)
    assert {p.parent.name for p in folder.rglob("*.dcm")} == {"CT_2.1.1", "RTSTRUCT_2.1.2"}


def test_a_collection_that_is_not_complete_gets_no_place_and_goes_on(tmp_path, idc):
    idc.lose = "1.2.1"
    with pytest.raises(InputError, match=r"CT_1\.2\.1: 0 files instead of 2"):
        _fetch("lidc_idri", tmp_path, whole=True)
    assert not (tmp_path / "lidc_idri").exists()
    assert not samples.is_here("lidc_idri", tmp_path)
    idc.lose = ""
    assert len(list(_fetch("lidc_idri", tmp_path, whole=True).rglob("*.dcm"))) == 5


def test_samples_and_the_whole_never_mix(tmp_path, idc):
    (tmp_path / "lidc_idri").mkdir()
    with pytest.raises(InputError, match="would come twice"):
        _fetch("lidc_idri", tmp_path, whole=True)
    assert idc.calls == []


def test_a_collection_needs_a_yes(tmp_path, idc, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _question: "")
    with pytest.raises(InputError, match="--yes"):
        _fetch("lidc_idri", tmp_path, whole=True, yes=False)
    assert idc.calls == []


def test_a_collection_that_the_client_does_not_know_is_an_error(tmp_path, idc):
    with pytest.raises(InputError, match="no series of it"):
        _fetch("nsclc_radiomics_interobserver1", tmp_path)


def test_without_the_client_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "idc_index", None)
    with pytest.raises(InputError, match=r"not installed.*\[data\]"):
        _fetch("rider_lung_ct", tmp_path)


def test_the_real_client_has_the_index_and_the_arguments_that_are_used():
    """Where the extra is installed: its index needs no network."""
    import inspect

    idc_index = pytest.importorskip("idc_index")
    arguments = {"downloadDir", "seriesInstanceUID", "dirTemplate", "use_s5cmd_sync", "show_progress_bar"}
    assert arguments <= set(inspect.signature(idc_index.IDCClient.download_from_selection).parameters)
    client = idc_index.IDCClient()
    patients = {}
    for name, collection in collections.collections().items():
        series = collections._series(client, name, collection)
        assert {"CC BY-NC 3.0", "CC BY 3.0", "CC BY 4.0"} >= set(series["license_short_name"])
        patients[name] = series["PatientID"].nunique()
    assert patients == {"nsclc_radiomics": 422, "nsclc_radiomics_interobserver1": 22, "lidc_idri": 1010, "rider_lung_ct": 32}
