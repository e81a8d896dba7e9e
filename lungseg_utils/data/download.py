"""Download one large file by HTTP: resume after a break, limit size and time, and move the file in place only if it is the published one.

A partial download is kept in the same folder as `.NAME.part`; `.NAME.part.json` holds its address and the state of the remote file.
Proxies and certificates are those of the environment, as `requests` reads them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag

from ..core import locks
from ..types import InputError

if TYPE_CHECKING:
    import requests
    from tqdm import tqdm


MIRROR_VARIABLE = "LUNGSEG_MIRROR"
MAX_BYTES = 64 * 2**30  # of a file whose size nobody gave
TIMEOUT_SECONDS = 30.0  # without a connection, or without a byte
WINDOW_SECONDS, LEAST_BYTES = 60.0, 2**16  # a server that trickles less than this per window has stalled
TRIES = 3  # in a row at one address that bring nothing
PAUSE_SECONDS = 2.0  # before the second try, twice as long before the third
_CHUNK = 2**16
_PROGRESS_BYTES = 2**20  # what a try must bring at least, not to count against `TRIES`
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class _BrokenOff(Exception):
    """This try ended early; another one may go on."""


class _Refused(Exception):
    """This address does not give what was asked for; another one may."""


@dataclass(frozen=True)
class Published:
    """A file as published: its name, addresses in order of preference, size in bytes (0: unknown), and digests known ({"sha256": ...}).

    A digest may also end an address, `#md5=...`, as in package indices.
    """

    file: str
    urls: tuple[str, ...]
    size: int
    digests: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, file: str, urls: Sequence[str], size: int = 0, sha256: str = "") -> Published:
        """Digests gathered from `sha256` and from the addresses, which are left without them."""
        parts = [urldefrag(url) for url in urls]
        found = {fragment.split("=", 1)[0]: fragment.split("=", 1)[1] for _, fragment in parts if "=" in fragment}
        known = {**found, **({"sha256": sha256} if sha256 else {})}
        return cls(file, tuple(url for url, _ in parts), size, tuple(sorted(known.items())))


def download(published: Published, folder: Path, progress: bool = True) -> Path:
    """Bring the file into `folder`, from its addresses in turn; returns its path.

    Raises `InputError` if no address gives it (what has come so far is kept), if what came is not the published file (it is thrown away),
    if the disk is full, or if another process is downloading it.
    """
    path = Path(folder) / published.file
    with _writing(path), locks.exclusive(_beside(path, "lock"), f"another process is downloading {published.file}"):
        part, reasons = _beside(path, "part"), []
        for url in published.urls:
            try:
                _bring(published, url, part, progress)
                _require_published(published, part)
            except _Refused as reason:
                reasons.append(f"{url}: {reason}")
                continue
            _put_in_place(part, path)
            return path
    remedy = f"Run it again to go on, or set {MIRROR_VARIABLE} to a folder that has the file of https://HOST/PATH at HOST/PATH."
    raise InputError(published.file, f"cannot be downloaded ({'; '.join(reasons)})", remedy)


def bytes_so_far(published: Published, folder: Path) -> int:
    """How much of the file an earlier download left."""
    part = _beside(Path(folder) / published.file, "part")
    return part.stat().st_size if part.is_file() else 0


def digest(path: Path, algorithm: str) -> str:
    """Hash of a file, as hexadecimal digits, read piece by piece."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def fault(published: Published, path: Path) -> str:
    """In which way a file is not the published one; "" if it is, as far as size and digests are known."""
    size = path.stat().st_size
    if published.size and size != published.size:
        return f"{size:,} bytes instead of {published.size:,}"
    wrong = [algorithm for algorithm, expected in published.digests if digest(path, algorithm) != expected]
    return f"its {' and '.join(wrong)} is not that of the published file" if wrong else ""


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{ending}")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = "the disk is full" if error.errno in _FULL_DISK else f"cannot be written ({error.strerror})"
        raise InputError(path, problem, "Free some space or choose another folder, and run it again; what has come is kept.") from error


def _require_published(published: Published, part: Path) -> None:
    problem = fault(published, part)
    if problem:
        _throw_away(part)
        raise _Refused(f"{problem}; it was thrown away")


def _throw_away(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)


def _put_in_place(part: Path, path: Path) -> None:
    with part.open("rb+") as handle:
        os.fsync(handle.fileno())
    part.replace(path)
    _throw_away(part)


def _bring(published: Published, url: str, part: Path, progress: bool) -> None:
    """The whole file into `part`, in as many tries as bring something."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        _copy(in_mirror(Path(mirror), url), part)
        return
    failures, most = 0, part.stat().st_size if part.is_file() else 0
    while True:
        try:
            _try(published, url, part, progress)
            return
        except _BrokenOff as reason:
            size = part.stat().st_size if part.is_file() else 0
            failures = 0 if size >= most + _PROGRESS_BYTES else failures + 1
            most = max(most, size)
            if failures >= TRIES:
                raise _Refused(str(reason)) from reason
            time.sleep(PAUSE_SECONDS * failures)


def in_mirror(mirror: Path, url: str) -> Path:
    """Where a local mirror holds the file of an address; its names are plain where the address writes `%20` for a blank."""
    return mirror / unquote(url.split("://", 1)[1])


def _copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise _Refused(f"the mirror lacks {source}")
    shutil.copyfile(source, part)


def _try(published: Published, url: str, part: Path, progress: bool) -> None:
    """One request, going on where `part` ends if the server can and the file there is still the same."""
    import requests
    import urllib3

    record = part.with_name(f"{part.name}.json")
    headers = {"Accept-Encoding": "identity"} | _range(published, url, part, record)
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            total = _whole_size(published, response, part)
            if response.status_code == 200:
                _throw_away(part)
                record.write_text(json.dumps({"url": url, "validator": _validator(response)}))
            _receive(response, part, total, published.size or total or MAX_BYTES, progress)
    except requests.exceptions.TooManyRedirects as error:
        raise _Refused("it is redirected without end") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _BrokenOff(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    import urllib3

    stalled = isinstance(error, urllib3.exceptions.TimeoutError) or "Timeout" in type(error).__name__
    return f"no answer within {TIMEOUT_SECONDS:g} s" if stalled else type(error).__name__


def _range(published: Published, url: str, part: Path, record: Path) -> dict[str, str]:
    """Headers that ask for the rest. With a known digest any rest will do, since the whole is checked; else only one of the same file."""
    size = part.stat().st_size if part.is_file() else 0
    known = json.loads(record.read_text()) if record.is_file() else {}
    validator = known.get("validator") if known.get("url") == url else ""
    if not size or not (validator or published.digests):
        return {}
    return {"Range": f"bytes={size}-"} | ({"If-Range": validator} if validator else {})


def _validator(response: requests.Response) -> str:
    """What tells this state of the file from another one; "" if the server does not say."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _whole_size(published: Published, response: requests.Response, part: Path) -> int:
    """Size of the whole file as the server gives it, 0 if it does not. What cannot be used is refused before a byte is read."""
    if response.status_code == 416:  # there is no such rest: what is here is of another file
        _throw_away(part)
        raise _BrokenOff("the server has no rest to go on with")
    if response.status_code in (429, *range(500, 600)):
        raise _BrokenOff(f"the server answered {response.status_code}")
    if response.status_code not in (200, 206):
        raise _Refused(f"the server answered {response.status_code}")
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if match is None or not part.is_file() or int(match[1]) != part.stat().st_size:
            _throw_away(part)
            raise _BrokenOff("the server sent another part than the one asked for")
        total = int(match[2])
    else:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else 0
    if published.size and total and total != published.size:
        raise _Refused(f"the server offers {total:,} bytes instead of {published.size:,}")
    if total > MAX_BYTES:
        raise _Refused(f"the server offers {total:,} bytes, more than {MAX_BYTES:,}")
    return total


def _receive(response: requests.Response, part: Path, total: int, limit: int, progress: bool) -> None:
    expected = total or (limit if limit < MAX_BYTES else 0)
    with part.open("ab") as handle, _bar(handle.tell(), expected, part, progress) as bar:
        size = handle.tell()
        started, before = time.monotonic(), size
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            size += len(chunk)
            if size > limit:
                break
            handle.write(chunk)
            bar.update(len(chunk))
            if time.monotonic() - started > WINDOW_SECONDS:
                if size - before < LEAST_BYTES:
                    raise _BrokenOff(f"it stalls: less than {LEAST_BYTES:,} bytes in {WINDOW_SECONDS:g} s")
                started, before = time.monotonic(), size
    if size > limit:
        _throw_away(part)
        raise _Refused(f"the server sent more than the {limit:,} bytes that the file has")
    if size < expected:
        raise _BrokenOff(f"it broke off after {size:,} of {expected:,} bytes")


def _bar(start: int, total: int, part: Path, progress: bool) -> tqdm:
    from tqdm.auto import tqdm

    name = part.name.removeprefix(".").removesuffix(".part")
    return tqdm(initial=start, total=total or None, desc=name, unit="B", unit_scale=True, disable=not progress)
