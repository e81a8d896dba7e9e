"""Downloads and archives, against a small local server and a small local mirror."""

import errno
import functools
import hashlib
import http.server
import io as memory
import os
import shutil
import tarfile
import threading
from types import SimpleNamespace

import pytest

from lungseg_utils.data import download, samples
from lungseg_utils.types import InputError

NAME = "ibsi_ct_phantom"


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of one folder: `folder`, `host`, and the number of requests that it got."""
    folder = tmp_path / "served"
    folder.mkdir()
    instance = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(download.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # no pause between attempts
    threading.Thread(target=instance.serve_forever, daemon=True).start()
    yield SimpleNamespace(folder=folder, host=f"127.0.0.1:{instance.server_port}", instance=instance)
    instance.shutdown()
    instance.server_close()


def _register(tmp_path, monkeypatch, contents, host, served):
    """Lay `contents` {name: bytes} into `served` and write a registry of them."""
    lines = [f"# {NAME}: {len(contents)} files, {sum(map(len, contents.values()))} bytes"]
    for name, content in contents.items():
        path = served / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        lines.append(f"{NAME}/{name} {hashlib.sha256(content).hexdigest()} http://{host}/files/{name}")
    registry = tmp_path / "registry.txt"
    registry.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(samples, "REGISTRY", registry)
    return registry


CONTENTS = {f"scan/{n}.dcm": bytes([n]) * 1000 for n in range(40)} | {"LICENSE.md": b"text"}


@pytest.fixture
def online(tmp_path, monkeypatch, server):
    _register(tmp_path, monkeypatch, CONTENTS, server.host, server.folder)
    return server


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A local copy laid out HOST/PATH, and no network at all."""
    folder = tmp_path / "mirror"
    _register(tmp_path, monkeypatch, CONTENTS, "example.invalid", folder / "example.invalid")
    monkeypatch.setenv(download.MIRROR_VARIABLE, str(folder))
    return folder / "example.invalid" / "files"


def _files(root):
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


EXPECTED = {f"{NAME}/{name}" for name in CONTENTS}


def test_everything_comes_from_the_network_and_the_license_is_shown(tmp_path, online, capsys):
    root = tmp_path / "root"
    assert not samples.available(NAME, root)
    assert samples.fetch(NAME, root, yes=True, progress=False) == root / NAME
    assert _files(root) == EXPECTED
    assert all((root / NAME / name).read_bytes() == content for name, content in CONTENTS.items())
    assert samples.available(NAME, root)
    shown = capsys.readouterr().out
    assert "CC BY-NC 3.0" in shown
    assert "41 files, 0.0 MB" in shown


def test_a_local_mirror_stands_in_for_the_network(tmp_path, mirror):
    samples.fetch(NAME, tmp_path / "root", yes=True, progress=False)
    assert _files(tmp_path / "root") == EXPECTED


def test_what_is_there_is_kept_and_what_is_damaged_comes_again(tmp_path, mirror, capsys, monkeypatch):
    root = tmp_path / "root"
    samples.fetch(NAME, root, yes=True, progress=False)
    (root / NAME / "scan/3.dcm").write_bytes(b"damaged")
    (root / NAME / "scan/4.dcm").unlink()
    untouched = (root / NAME / "scan/5.dcm").stat().st_mtime_ns
    capsys.readouterr()
    samples.fetch(NAME, root, yes=True, progress=False)
    assert "2 files" in capsys.readouterr().out
    assert (root / NAME / "scan/3.dcm").read_bytes() == CONTENTS["scan/3.dcm"]
    assert (root / NAME / "scan/5.dcm").stat().st_mtime_ns == untouched
    monkeypatch.setenv(download.MIRROR_VARIABLE, "/nowhere")  # complete: nothing is asked and nothing is copied
    samples.fetch(NAME, root, progress=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("source", ["online", "mirror"])
def test_a_wrong_checksum_names_file_and_registry_line_and_leaves_nothing(tmp_path, request, source):
    place = request.getfixturevalue(source)
    folder = place.folder / "files" if source == "online" else place
    (folder / "LICENSE.md").write_bytes(b"other text")
    with pytest.raises(InputError, match=r"ibsi_ct_phantom/LICENSE\.md.*line 42"):
        samples.fetch(NAME, tmp_path / "root", yes=True, progress=False)
    assert "ibsi_ct_phantom/LICENSE.md" not in _files(tmp_path / "root")
    assert _files(tmp_path / "root") <= EXPECTED
    assert not samples.available(NAME, tmp_path / "root")


def test_a_missing_file_on_the_server_and_in_the_mirror_are_told_apart(tmp_path, online, monkeypatch):
    (online.folder / "files" / "LICENSE.md").unlink()
    with pytest.raises(InputError, match=r"LICENSE\.md.*answered 404"):
        samples.fetch(NAME, tmp_path / "root", yes=True, progress=False)
    monkeypatch.setenv(download.MIRROR_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="the mirror lacks this file"):
        samples.fetch(NAME, tmp_path / "other", yes=True, progress=False)
    assert _files(tmp_path / "other") == set()


def test_offline_the_mirror_is_recommended(tmp_path, online):
    online.instance.shutdown()
    online.instance.server_close()
    with pytest.raises(InputError, match=rf"cannot be downloaded.*{download.MIRROR_VARIABLE}"):
        samples.fetch(NAME, tmp_path / "root", yes=True, progress=False)
    assert _files(tmp_path / "root") == set()


@pytest.mark.parametrize("answer", ["", "n", "maybe"])
def test_nothing_comes_without_a_yes(tmp_path, mirror, monkeypatch, answer):
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    with pytest.raises(InputError, match="--yes"):
        samples.fetch(NAME, tmp_path / "root", progress=False)
    assert not (tmp_path / "root").exists()


def test_a_yes_is_enough_and_no_terminal_is_a_no(tmp_path, mirror, monkeypatch):
    def closed(_question):
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    with pytest.raises(InputError, match="--yes"):
        samples.fetch(NAME, tmp_path / "root", progress=False)
    monkeypatch.setattr("builtins.input", lambda _question: " Yes ")
    samples.fetch(NAME, tmp_path / "root", progress=False)
    assert samples.available(NAME, tmp_path / "root")


def test_too_small_a_disk_is_seen_before_the_first_file(tmp_path, mirror, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=10))
    with pytest.raises(InputError, match="are free"):
        samples.fetch(NAME, tmp_path / "root", yes=True, progress=False)
    assert not (tmp_path / "root").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_disk_that_fills_up_is_named_and_leaves_no_half_file(tmp_path, mirror, monkeypatch):
    copy = shutil.copyfile

    def copy_until_full(source, target):
        if str(source).endswith("7.dcm"):
            with open(target, "wb") as half, open("/dev/full", "wb", buffering=0) as full:
                half.write(b"half")
                full.write(b"x")  # a real ENOSPC from the system
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy_until_full)
    with pytest.raises(InputError, match="disk is full"):
        samples.fetch(NAME, tmp_path / "root", yes=True, progress=False)
    left = _files(tmp_path / "root")
    assert left <= EXPECTED
    assert all((tmp_path / "root" / name).stat().st_size in (4, 1000) for name in left)


def test_a_root_that_is_a_file_is_refused(tmp_path, mirror):
    (tmp_path / "root").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        samples.fetch(NAME, tmp_path / "root", yes=True, progress=False)


def test_an_address_with_a_blank_is_a_plain_name_in_the_mirror(tmp_path, monkeypatch):
    (tmp_path / "mirror" / "host" / "Gated 40.0B").mkdir(parents=True)
    (tmp_path / "mirror" / "host" / "Gated 40.0B" / "1-1.dcm").write_bytes(b"x")
    registry_file = tmp_path / "registry.txt"
    sha256 = hashlib.sha256(b"x").hexdigest()
    registry_file.write_text(f"# {NAME}: 1 files, 1 bytes\n{NAME}/a.dcm {sha256} https://host/Gated%2040.0B/1-1.dcm\n")
    monkeypatch.setattr(samples, "REGISTRY", registry_file)
    monkeypatch.setenv(samples.MIRROR_VARIABLE, str(tmp_path / "mirror"))
    assert (samples.fetch(NAME, tmp_path / "root", yes=True, progress=False) / "a.dcm").read_bytes() == b"x"


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InputError, match=r"Known: ibsi_ct_phantom, lidc_idri, lidc_nodules, lung_4d, nsclc_radiomics"):
        samples.fetch("msd", ".")
    assert samples.names() == ["ibsi_ct_phantom", "lidc_idri", "lidc_nodules", "lung_4d", "nsclc_radiomics"]


@pytest.mark.parametrize(
    "line", ["a/b abc http://x/y", "a/../../b {sha} http://x/y", "/a/b {sha} http://x/y", "a {sha} http://x", "a/b {sha}"]
)
def test_a_bad_registry_line_is_named(tmp_path, monkeypatch, line):
    path = tmp_path / "registry.txt"
    path.write_text("# comment\n\n" + line.format(sha="0" * 64) + "\n")
    monkeypatch.setattr(samples, "REGISTRY", path)
    with pytest.raises(InputError, match="line 3"):
        samples.names()


def test_the_real_registry_is_in_poochs_form_and_only_https():
    import pooch

    store = pooch.create(path=".", base_url="", registry=None)
    store.load_registry(str(samples.REGISTRY))
    assert len(store.registry) == 886
    assert all(url.startswith("https://") for url in store.urls.values())
    assert set(store.urls) == set(store.registry)


# --- archives ------------------------------------------------------------------------------------------------------


def _tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, memory.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return path


def test_an_archive_is_unpacked(tmp_path):
    path = _tar(tmp_path / "a.tar.gz", {"Task/a.txt": b"A", "Task/sub/b.txt": b"B"})
    assert samples.extract_tar(path, tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    assert _files(tmp_path / "new") == {"folder/Task/a.txt", "folder/Task/sub/b.txt"}
    with pytest.raises(InputError, match="there already"):
        samples.extract_tar(path, tmp_path / "new" / "folder")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"good.txt": b"x", "../evil.txt": b"x"}, "cannot be unpacked"),
        ({"/../../evil.txt": b"x"}, "cannot be unpacked"),
        ({"a/../../evil.txt": b"x"}, "cannot be unpacked"),
        ({"ä\0.txt": b"x"}, "cannot be unpacked"),
        ({"link": (tarfile.SYMTYPE, "/etc"), "link/evil.txt": b"x"}, "neither file nor folder"),
        ({"hard": (tarfile.LNKTYPE, "../secret")}, "neither file nor folder"),
        ({"device": (tarfile.CHRTYPE, "")}, "neither file nor folder"),
        ({"a": bytes(600), "b": bytes(600)}, "more than 1,000 bytes"),
    ],
)
def test_a_malicious_archive_leaves_nothing(tmp_path, members, words):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = _tar(tmp_path / "a.tar.gz", members)
    with pytest.raises(InputError, match=words):
        samples.extract_tar(path, inner / "to", max_bytes=1000)
    assert list(inner.iterdir()) == []
    assert {p.name for p in tmp_path.iterdir()} == {"a.tar.gz", "inner"}


def test_a_member_with_an_absolute_path_stays_inside(tmp_path):
    samples.extract_tar(_tar(tmp_path / "a.tar", {"/tmp/inside.txt": b"x"}, "w"), tmp_path / "to")
    assert _files(tmp_path / "to") == {"tmp/inside.txt"}


@pytest.mark.parametrize("keep", [0, 30, -3000])
def test_an_archive_that_is_cut_off_or_none_leaves_nothing(tmp_path, keep):
    path = _tar(tmp_path / "a.tar.gz", {"a.txt": os.urandom(5000), "b.txt": os.urandom(5000)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.tar\.gz.*cannot be unpacked"):
        samples.extract_tar(path, tmp_path / "to")
    assert {p.name for p in tmp_path.iterdir()} == {"a.tar.gz"}


def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(tmp_path, monkeypatch):
    path = _tar(tmp_path / "a.tar", {"a.txt": b"A", "b.txt": b"B"}, "w")

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(InputError, match="disk is full"):
        samples.extract_tar(path, tmp_path / "to")
    assert {p.name for p in tmp_path.iterdir()} == {"a.tar"}
