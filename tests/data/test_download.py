"""A large file from a server that breaks off, lies, stalls, redirects, or has another file by now."""

import errno
import hashlib
import http.server
import json
import os
import threading
import time
from types import SimpleNamespace

import pytest

from lungseg_utils.data import download
from lungseg_utils.data.download import Published
from lungseg_utils.types import InputError

CONTENT = bytes(range(256)) * 16_384  # 4 MiB
SIZE = len(CONTENT)
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files` {path: bytes}; `server.tricks` {path: [one per request, the last one for all further ones]}."""

    def log_message(self, *_arguments):
        pass

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        tricks = self.server.tricks.get(self.path, [{}])
        trick = tricks.pop(0) if len(tricks) > 1 else tricks[0]
        if "status" in trick:
            self.send_error(trick["status"])
            return
        if "redirect" in trick:
            self.send_response(302)
            self.send_header("Location", trick["redirect"])
            self.end_headers()
            return
        self._serve(self.server.files[self.path], trick)

    def _serve(self, content, trick):
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        asked, first = self.headers.get("Range"), 0
        if asked and not trick.get("no_range") and self.headers.get("If-Range", tag) == tag:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            if first >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if first else 200)
        if first:
            start = first + trick.get("wrong_part", 0)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if not trick.get("no_length"):
            self.send_header("Content-Length", str(trick.get("length", len(content) - first)))
        if not trick.get("no_tag"):
            self.send_header("ETag", tag)
        self.end_headers()
        body = content[first:]
        self.wfile.write(body[: trick.get("cut", len(body))])
        self.wfile.write(trick.get("more", b""))
        self.wfile.flush()
        time.sleep(trick.get("stall", 0))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments):  # clients that hang up are what is tested
        pass


@pytest.fixture
def server(monkeypatch):
    """`files`, `tricks`, `requests` (path, headers), and `url(path)`."""
    instance = _Server(("127.0.0.1", 0), _Handler)
    instance.files, instance.tricks, instance.requests = {"/w.pt": CONTENT}, {}, []
    instance.url = lambda path="/w.pt": f"http://127.0.0.1:{instance.server_port}{path}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(download.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    threading.Thread(target=instance.serve_forever, daemon=True).start()
    yield instance
    instance.shutdown()
    instance.server_close()


def _fetch(server, folder, *paths, size=SIZE, sha256=SHA256):
    urls = [server.url(path) for path in paths or ("/w.pt",)]
    return download.download(Published.of("w.pt", urls, size, sha256), folder, progress=False)


def _ranges(server):
    return [headers.get("Range") for _, headers in server.requests]


def _left(folder):
    return {p.name for p in folder.iterdir()} - {".w.pt.lock"}


def test_a_file_comes_whole_and_nothing_is_left_beside_it(server, tmp_path):
    path = _fetch(server, tmp_path / "new")
    assert path == tmp_path / "new" / "w.pt"
    assert path.read_bytes() == CONTENT
    assert _left(path.parent) == {"w.pt"}


def test_a_server_that_breaks_off_is_asked_for_the_rest_only(server, tmp_path):
    server.tricks["/w.pt"] = [{"cut": 2_000_000}, {"cut": 1_500_000}, {}]
    assert _fetch(server, tmp_path).read_bytes() == CONTENT
    assert _ranges(server) == [None, "bytes=2000000-", "bytes=3500000-"]


def test_another_run_goes_on_where_the_last_one_ended(server, tmp_path):
    server.tricks["/w.pt"] = [{"cut": 2_000_000}, {"status": 503}]
    with pytest.raises(InputError, match=r"answered 503.*Run it again to go on"):
        _fetch(server, tmp_path)
    assert download.bytes_so_far(Published.of("w.pt", []), tmp_path) == 2_000_000
    server.tricks.clear()
    assert _fetch(server, tmp_path).read_bytes() == CONTENT
    assert _ranges(server)[-1] == "bytes=2000000-"


def test_with_a_known_hash_another_address_gives_the_rest(server, tmp_path):
    server.files["/eu/w.pt"] = CONTENT
    server.tricks["/w.pt"] = [{"cut": 2_000_000}, {"status": 503}]
    assert _fetch(server, tmp_path, "/w.pt", "/eu/w.pt").read_bytes() == CONTENT
    assert server.requests[-1][0] == "/eu/w.pt"
    assert _ranges(server)[-1] == "bytes=2000000-"


def test_without_a_hash_or_a_mark_of_the_file_it_starts_again(server, tmp_path):
    server.tricks["/w.pt"] = [{"cut": 2_000_000, "no_tag": True}, {}]
    assert _fetch(server, tmp_path, sha256="").read_bytes() == CONTENT
    assert _ranges(server) == [None, None]


@pytest.mark.parametrize("sha256", ["", "known"])
def test_a_file_that_changed_meanwhile_starts_again(server, tmp_path, sha256):
    other = CONTENT[::-1]
    server.tricks["/w.pt"] = [{"cut": 2_000_000}, {"status": 503}]
    with pytest.raises(InputError):
        _fetch(server, tmp_path, sha256="")
    server.tricks.clear()
    server.files["/w.pt"] = other
    expected = hashlib.sha256(other).hexdigest() if sha256 else ""
    assert _fetch(server, tmp_path, sha256=expected).read_bytes() == other


@pytest.mark.parametrize("trick", [{"no_range": True}, {"wrong_part": 5}])
def test_a_server_that_cannot_go_on_starts_again(server, tmp_path, trick):
    server.tricks["/w.pt"] = [{"cut": 2_000_000}, trick, {}]
    assert _fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_rest_beyond_the_end_of_the_file_starts_again(server, tmp_path):
    (tmp_path / ".w.pt.part").write_bytes(CONTENT + b"x")
    assert _fetch(server, tmp_path).read_bytes() == CONTENT
    assert _ranges(server) == [f"bytes={len(CONTENT) + 1}-", None]


def test_a_server_that_always_begins_anew_and_breaks_off_is_left_after_some_tries(server, tmp_path):
    server.tricks["/w.pt"] = [{"cut": 2_000_000, "no_range": True}]
    with pytest.raises(InputError, match=r"broke off|IncompleteRead|ProtocolError"):
        _fetch(server, tmp_path)
    assert len(server.requests) == 1 + download.TRIES


@pytest.mark.parametrize("size", [len(CONTENT), 0])
def test_wrong_bytes_never_get_their_place_and_the_next_address_is_asked(server, tmp_path, size):
    server.files["/w.pt"] = CONTENT[:-1] + b"!"
    with pytest.raises(InputError, match="sha256 is not that of the published file; it was thrown away"):
        _fetch(server, tmp_path, size=size)
    assert _left(tmp_path) == set()
    server.files["/eu"] = CONTENT
    assert _fetch(server, tmp_path, "/w.pt", "/eu", size=size).read_bytes() == CONTENT


def test_a_digest_at_the_end_of_an_address_counts_and_is_not_sent(server, tmp_path):
    good = Published.of("w.pt", [f"{server.url()}#md5={MD5}"])
    assert (good.urls, good.digests) == ((server.url(),), (("md5", MD5),))
    assert download.download(good, tmp_path, progress=False).read_bytes() == CONTENT
    bad = Published.of("v.pt", [f"{server.url()}#md5={'0' * 32}"])
    with pytest.raises(InputError, match="its md5 is not"):
        download.download(bad, tmp_path, progress=False)
    assert [path for path, _ in server.requests] == ["/w.pt", "/w.pt"]


def test_a_size_other_than_the_published_one_is_refused_before_a_byte_is_read(server, tmp_path):
    with pytest.raises(InputError, match=r"offers 4,194,304 bytes instead of 7"):
        _fetch(server, tmp_path, size=7)
    assert _left(tmp_path) == set()


def test_a_server_that_sends_more_than_it_should_is_cut_off(server, tmp_path):
    server.tricks["/w.pt"] = [{"no_length": True, "more": bytes(2**20)}]
    with pytest.raises(InputError, match=r"more than the 4,194,304 bytes"):
        _fetch(server, tmp_path)
    assert _left(tmp_path) == set()


def test_a_file_of_unknown_size_is_bounded(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 1_000_000)
    with pytest.raises(InputError, match=r"offers 4,194,304 bytes, more than 1,000,000"):
        _fetch(server, tmp_path, size=0, sha256="")
    server.tricks["/w.pt"] = [{"no_length": True}]
    with pytest.raises(InputError, match="more than the 1,000,000 bytes"):
        _fetch(server, tmp_path, size=0, sha256="")


def test_a_content_length_that_promises_too_much_is_a_download_that_broke_off(server, tmp_path):
    server.tricks["/w.pt"] = [{"length": len(CONTENT) + 100}]
    with pytest.raises(InputError):
        _fetch(server, tmp_path, size=0, sha256="")
    assert not (tmp_path / "w.pt").exists()


def test_a_server_that_stalls_or_trickles_ends_with_a_message(server, tmp_path, monkeypatch):
    server.tricks["/w.pt"] = [{"cut": 1000, "stall": 3}]
    monkeypatch.setattr(download, "TRIES", 1)
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    with pytest.raises(InputError, match=r"no answer within 0\.3 s"):
        _fetch(server, tmp_path)
    server.tricks["/w.pt"] = [{"cut": 1000}]
    monkeypatch.setattr(download, "WINDOW_SECONDS", 0.0)
    with pytest.raises(InputError, match="it stalls: less than 65,536 bytes"):
        _fetch(server, tmp_path / "other")


def test_redirects_are_followed_but_not_without_end(server, tmp_path):
    server.tricks["/a"] = [{"redirect": "/w.pt"}]
    assert _fetch(server, tmp_path, "/a").read_bytes() == CONTENT
    server.tricks["/b"] = [{"redirect": "/b"}]
    with pytest.raises(InputError, match="redirected without end"):
        _fetch(server, tmp_path / "other", "/b")


def test_a_missing_file_is_not_asked_for_twice_and_a_busy_server_is(server, tmp_path):
    server.tricks["/none"] = [{"status": 404}]
    server.tricks["/busy"] = [{"status": 503}, {"status": 429}, {}]
    server.files["/busy"] = CONTENT
    assert _fetch(server, tmp_path, "/none", "/busy").read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/none", "/busy", "/busy", "/busy"]


def test_when_no_address_answers_all_of_them_are_named(server, tmp_path):
    server.tricks["/none"] = [{"status": 404}]
    closed = SimpleNamespace(url=lambda path: server.url(path) if path == "/none" else "http://127.0.0.1:9/w.pt")
    with pytest.raises(InputError, match=rf"/none: the server answered 404; http://127\.0\.0\.1:9/w\.pt.*{download.MIRROR_VARIABLE}"):
        _fetch(closed, tmp_path, "/none", "/w.pt")


def test_a_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("http_proxy", server.url(""))
    server.files["http://example.invalid/w.pt"] = CONTENT  # a proxy is asked by whole address
    published = Published.of("w.pt", ["http://example.invalid/w.pt"], len(CONTENT), SHA256)
    assert download.download(published, tmp_path, progress=False).read_bytes() == CONTENT


def test_a_local_mirror_stands_in_for_the_network_and_is_checked_too(tmp_path, monkeypatch):
    source = tmp_path / "mirror" / "example.invalid" / "w.pt"
    source.parent.mkdir(parents=True)
    source.write_bytes(CONTENT)
    monkeypatch.setenv(download.MIRROR_VARIABLE, str(tmp_path / "mirror"))
    published = Published.of("w.pt", ["https://example.invalid/w.pt"], len(CONTENT), SHA256)
    assert download.download(published, tmp_path / "to", progress=False).read_bytes() == CONTENT
    source.write_bytes(b"other")
    with pytest.raises(InputError, match="5 bytes instead of"):
        download.download(published, tmp_path / "again", progress=False)
    source.unlink()
    with pytest.raises(InputError, match="the mirror lacks"):
        download.download(published, tmp_path / "again", progress=False)


def test_a_second_process_is_refused(server, tmp_path, hold_lock):
    with hold_lock(tmp_path / ".w.pt.lock"), pytest.raises(InputError, match="another process is downloading"):
        _fetch(server, tmp_path)


def test_a_full_disk_is_named_and_what_has_come_is_kept(server, tmp_path, monkeypatch):
    def full(response, part, *_arguments):
        part.write_bytes(CONTENT[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_receive", full)
    with pytest.raises(InputError, match=r"w\.pt: the disk is full.*what has come is kept"):
        _fetch(server, tmp_path)
    assert (tmp_path / ".w.pt.part").read_bytes() == CONTENT[:1000]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        _fetch(server, tmp_path)


def test_the_record_beside_a_part_names_address_and_state(server, tmp_path):
    server.tricks["/w.pt"] = [{"cut": 2_000_000}, {"status": 503}]
    with pytest.raises(InputError):
        _fetch(server, tmp_path)
    record = json.loads((tmp_path / ".w.pt.part.json").read_text())
    assert record == {"url": server.url(), "validator": f'"{MD5}"'}
