"""Fetch sample files of a registry: check the sha256 of each file in a temporary place, then move it.

`data/registry.txt` (pooch's format) lists each file: path below the data root, sha256, public address. A machine without a network takes
the files from a local copy: the environment variable `LUNGSEG_MIRROR` names a folder that holds the file of https://HOST/PATH at
HOST/PATH. The checksums are checked there too.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .. import registry
from ..types import InputError
from .download import MIRROR_VARIABLE, in_mirror

if TYPE_CHECKING:
    import pooch
    import requests


REGISTRY = Path(__file__).resolve().parents[2] / "data" / "registry.txt"
RECORD = "whole.json"  # in the folder of a data set of which all was fetched, not the samples of the registry
_THREADS = 8  # hundreds of small files: most of the time is spent waiting for the server
_TIMEOUT_SECONDS = 30
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class _Entry:
    """One line of the registry."""

    name: str
    sha256: str
    url: str
    line: int


def names() -> list[str]:
    """Sorted names of the data sets of which samples can be fetched."""
    return sorted({entry.name.split("/")[0] for entry in _entries()})


def available(name: str, root: Path) -> bool:
    """True if every file of the data set lies below the data root (files get their place only after their check)."""
    return all((Path(root) / entry.name).is_file() for entry in _entries_of(name))


def is_here(name: str, root: Path) -> bool:
    """Samples are here if all their files are, a whole data set if its record is; of others only plug-ins know: their place will do."""
    folder = Path(root) / name
    return (folder / RECORD).is_file() or (available(name, root) if name in names() else folder.exists())


def without_network(name: str, root: Path) -> bool:
    """True if every file of the data set lies below the data root, or in the folder that LUNGSEG_MIRROR names."""
    mirror = os.environ.get(MIRROR_VARIABLE, "")
    return all(
        (Path(root) / entry.name).is_file() or (mirror and in_mirror(Path(mirror), entry.url).is_file()) for entry in _entries_of(name)
    )


def fetch(name: str, root: Path, yes: bool = False, progress: bool = True) -> Path:
    """Bring a data set below the data root `root`; returns its folder, `root/name`.

    Prints the license, the number of files and their size, and asks before it downloads unless `yes`. Files that are
    there with the right checksum are kept. Raises `InputError`, with nothing half-written left, for an unknown name, a
    wrong checksum, a full disk, an unreachable server, or a missing answer.
    """
    root = Path(root).expanduser().resolve()
    entries = _entries_of(name)
    missing = [entry for entry in entries if not _is_intact(root / entry.name, entry.sha256)]
    if missing:
        size = _size_bytes(name) * len(missing) // len(entries)
        card = registry.card("datasets", name)
        announce(name, card.title, card.license, card.citation, f"{len(missing)} files, {size / 1e6:.1f} MB", yes, root, size)
        _download_all(missing, root, progress)
    return root / name


def refuse_altered(name: str, path: Path) -> None:
    """InputError unless the file has the sha256 of the registry's entry `name` ("DATASET/FILE")."""
    entry = next((entry for entry in _entries() if entry.name == name), None)
    if entry is None:
        raise InputError(path, f"{REGISTRY.name} does not list it", "Fetch the data set by name, and keep its file names.")
    if not _is_intact(path, entry.sha256):
        raise InputError(path, f"its sha256 is not that of {REGISTRY.name}, line {entry.line}", "Remove it, and fetch the data set again.")


def extract_tar(path: Path, to: Path, max_bytes: int = 64 * 2**30) -> Path:
    """Unpack a tar archive (also compressed) into the new folder `to`, whole or not at all; returns `to`.

    Refused: members that are neither files nor folders or whose names lead upwards, more than `max_bytes` in
    total, an archive that is cut off, and a folder that is there already.
    """
    path, to = Path(path), Path(to)
    if to.exists():
        raise InputError(to, "the folder is there already", "Remove it first, or use what is in it.")
    temporary = to.with_name(f".{secrets.token_hex(4)}.tmp.{to.name}")
    try:
        temporary.mkdir(parents=True)
        _extract_members(path, temporary, max_bytes)
        temporary.rename(to)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        _raise_if_disk_full(error, to)
        raise InputError(path, f"it cannot be unpacked: {error}", "Check the path, or fetch the archive again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return to


def _extract_members(path: Path, folder: Path, max_bytes: int) -> None:
    total = 0
    with tarfile.open(path) as archive:
        for member in archive:
            total += member.size
            if not (member.isfile() or member.isdir()):
                raise InputError(path, f"its member {member.name!r} is neither file nor folder", "Do not trust this archive.")
            if total > max_bytes:
                raise InputError(path, f"it unpacks to more than {max_bytes:,} bytes", "Raise max_bytes if you trust the archive.")
            _write_member(archive, member, folder, path)


def _write_member(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, path: Path) -> None:
    """By hand: Python's own filter for archives of strangers came with 3.11.4, and Debian 12 has 3.11.2."""
    name = PurePosixPath(member.name.lstrip("/"))
    if ".." in name.parts or "\0" in member.name:
        raise InputError(path, f"it cannot be unpacked: its member {member.name!r} has no place inside", "Do not trust this archive.")
    place = folder / name
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None  # a member that is neither file nor folder was refused before
    with source, place.open("wb") as target:
        shutil.copyfileobj(source, target)


def _entries() -> tuple[_Entry, ...]:
    return _read_registry(REGISTRY)


@cache
def _read_registry(path: Path) -> tuple[_Entry, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(path, "the registry is missing", "Run from a clone of the repository.") from error
    parsed = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    for number, parts in parsed:
        if len(parts) != 3 or not re.fullmatch("[0-9a-f]{64}", parts[1]) or not _stays_inside(parts[0]):
            raise InputError(f"{path}, line {number}", "not of the form `name sha256 url`", "Correct the line.")
    return tuple(_Entry(name, sha256, url, number) for number, (name, sha256, url) in parsed)


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and len(path.parts) > 1


def _entries_of(name: str) -> list[_Entry]:
    entries = _entries()
    chosen = [entry for entry in entries if entry.name.startswith(f"{name}/")]
    if not chosen:
        known = ", ".join(sorted({entry.name.split("/")[0] for entry in entries}))
        raise InputError(name, "not a data set that can be fetched", f"Known: {known}. Of others, data/README.md tells where to ask.")
    return chosen


def _size_bytes(name: str) -> int:
    """Total size as the registry's comment line `# name: N files, N bytes` gives it."""
    match = re.search(rf"^# {re.escape(name)}: \d+ files, (\d+) bytes$", REGISTRY.read_text(encoding="utf-8"), re.MULTILINE)
    return int(match[1]) if match else 0


def _is_intact(path: Path, sha256: str) -> bool:
    import pooch

    return path.is_file() and pooch.file_hash(str(path), alg="sha256") == sha256


def announce(name: str, title: str, license: str, citation: str, what: str, yes: bool, root: Path, size: int) -> None:
    """Print what would be fetched under which license; `InputError` if `size` bytes do not fit, or if the answer (or `yes`) is not yes."""
    print(f"{title}\nlicense:  {license}\ncitation: {citation}\nto fetch: {what}")
    _refuse_small_disk(root, size)
    if not yes:
        _ask(name)


def _ask(name: str) -> None:
    try:
        answer = input(f"Fetch {name} under this license? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise InputError(name, "not fetched, since the answer was not yes", "Answer y, or give the option --yes.")


def _refuse_small_disk(root: Path, size: int) -> None:
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < size:
        raise InputError(root, f"{size / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free", "Free some space, or choose another root.")


def _download_all(entries: list[_Entry], root: Path, progress: bool) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    mirror = os.environ.get(MIRROR_VARIABLE)
    downloader = _copier(Path(mirror)) if mirror else pooch.HTTPDownloader(chunk_size=2**16, timeout=_TIMEOUT_SECONDS)
    store = pooch.create(path=root, base_url="", registry=None, retry_if_failed=0 if mirror else 2)
    store.registry = {entry.name: entry.sha256 for entry in entries}
    store.urls = {entry.name: entry.url for entry in entries}
    try:
        for folder in sorted({(root / entry.name).parent for entry in entries}):
            folder.mkdir(parents=True, exist_ok=True)  # before the threads race for it
    except OSError as error:
        _raise_if_disk_full(error, root)
        raise InputError(root, f"cannot be written: {error.strerror}", "Choose another data root.") from error
    with ThreadPoolExecutor(1 if mirror else _THREADS) as pool:
        futures = [pool.submit(_download_one, store, entry, downloader) for entry in entries]
        try:
            for future in _with_bar(futures, progress):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _with_bar(items: Iterable[Future[None]], progress: bool) -> Iterable[Future[None]]:
    from tqdm.auto import tqdm

    return tqdm(items, desc="fetch", unit="file", disable=not progress)


def _copier(mirror: Path) -> Callable[[str, str, object], None]:
    """A downloader in pooch's form that copies from a local mirror."""

    def copy(url: str, output_file: str, _store: object) -> None:
        source = in_mirror(mirror, url)
        if not source.is_file():
            raise InputError(source, "the mirror lacks this file", f"Complete the folder that {MIRROR_VARIABLE} names, or unset it.")
        shutil.copyfile(source, output_file)

    return copy


def _download_one(store: pooch.Pooch, entry: _Entry, downloader: Callable[..., None]) -> None:
    import requests

    try:
        store.fetch(entry.name, downloader=downloader)
    except InputError:
        raise
    except requests.exceptions.RequestException as error:
        _raise_if_disk_full(error, entry.name)
        remedy = f"Try again later, or set {MIRROR_VARIABLE} to a folder that has the file of https://HOST/PATH at HOST/PATH."
        raise InputError(entry.url, f"cannot be downloaded ({_reason(error)})", remedy) from error
    except OSError as error:
        _raise_if_disk_full(error, entry.name)
        raise InputError(entry.name, f"cannot be written ({error.strerror})", "Choose another data root.") from error
    except ValueError as error:  # pooch's word for a wrong hash
        problem = f"what came from {entry.url} has not the sha256 of {REGISTRY.name}, line {entry.line}; it was thrown away"
        raise InputError(entry.name, problem, "Try again; if it stays so, the source has changed: report it.") from error


def _reason(error: requests.exceptions.RequestException) -> str:
    response = getattr(error, "response", None)
    return f"the server answered {response.status_code}" if response is not None else type(error).__name__


def _raise_if_disk_full(error: BaseException, where: object) -> None:
    if getattr(error, "errno", None) in _FULL_DISK:
        raise InputError(where, "the disk is full", "Free some space and run it again; what is complete is kept.") from error
