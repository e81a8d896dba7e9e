"""Cache of image embeddings: in memory up to a limit of bytes, and optionally as files for later runs.

A further prompt on a slice that was encoded in the same window then costs only prompt encoder and mask decoder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cachetools import LRUCache

from ..core import files

FOLDER_VARIABLE = "LUNGSEG_EMBEDDINGS"  # names the folder of kept embeddings; without it there is none
LIMIT_VARIABLE = "LUNGSEG_EMBEDDINGS_GB"
_DEFAULT_GB = 20.0
_FORMAT = "levels and seconds"  # of a file; those of another format are not found


@dataclass(frozen=True)
class Embedding:
    """What an encoder says of one picture, coarse and fine levels (1, channels, side, side) each, and the seconds that it took."""

    levels: list[torch.Tensor]
    seconds: float = 0.0


class EmbeddingCache:
    """Embeddings by key; beyond `max_mb` (1e6 bytes each) the least recently used are dropped."""

    def __init__(self, max_mb: float):
        self._kept: LRUCache[Hashable, Embedding] = LRUCache(max_mb * 1e6, getsizeof=_bytes)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Embedding | None:
        """The embedding, now the last one to be dropped; None if it is not kept."""
        return self._kept.get(key)

    def put(self, key: Hashable, embedding: Embedding) -> None:
        """Keep a new embedding; one that is larger than the limit by itself is not kept."""
        if _bytes(embedding) <= self._kept.maxsize:
            self._kept[key] = embedding

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()


def _bytes(embedding: Embedding) -> int:
    return sum(level.nbytes for level in embedding.levels)


class EmbeddingFolder:
    """Embeddings as files, for any number of processes; beyond `max_gb` (1e9 bytes each) the least recently used are removed.

    An embedding is found by its input: the image as the network gets it (after windowing and preprocessing), and the `identity` of the
    encoder (weights, normalization, precision). It is restored bit by bit.
    """

    def __init__(self, folder: Path, max_gb: float = _DEFAULT_GB):
        self.folder, self.max_gb = Path(folder), max_gb
        self._room = 0.0  # bytes that may be written before the folder is listed again: listing takes longer than writing

    def complete(
        self, identity: str, pictures: Sequence[np.ndarray], encode: Callable[[Sequence[np.ndarray]], list[Embedding]]
    ) -> list[Embedding]:
        """Embeddings of pictures: existing ones are read from files, the others are encoded in one call and written."""
        paths = [self._path(identity, picture) for picture in pictures]
        found = [self._read(path) for path in paths]
        missing = [n for n, embedding in enumerate(found) if embedding is None]
        for n, embedding in zip(missing, encode([pictures[n] for n in missing]) if missing else (), strict=True):
            found[n] = embedding
            self._write(paths[n], embedding)
        return found

    def _path(self, identity: str, picture: np.ndarray) -> Path:
        digest = hashlib.sha256(f"{_FORMAT} {identity} {picture.shape} {picture.dtype}".encode())
        digest.update(np.ascontiguousarray(picture))
        return self.folder / f"{digest.hexdigest()}.pt"

    def _read(self, path: Path) -> Embedding | None:
        try:
            embedding = Embedding(**torch.load(path, weights_only=True))
            os.utime(path)  # the youngest are kept
        except FileNotFoundError:  # never there, or removed by another process just now
            return None
        return embedding

    def _write(self, path: Path, embedding: Embedding) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with files.atomic_path(path) as temporary:
            torch.save({"levels": [level.cpu() for level in embedding.levels], "seconds": embedding.seconds}, temporary)
            self._room -= temporary.stat().st_size  # another process may remove it as soon as it has its name
        if self._room < 0:
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        self._room, total = self.max_gb * 1e9 / 100, 0  # other processes write as well, so only a hundredth of the limit
        for _, size, path in sorted(self._files(), reverse=True):  # the youngest first
            total += size
            if total > self.max_gb * 1e9:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size in bytes and path of each file."""
        for path in self.folder.glob("[!.]*.pt"):  # a name with a dot is of a file that is just being written
            with contextlib.suppress(FileNotFoundError):  # removed by another process just now
                status = path.stat()
                yield status.st_mtime, status.st_size, path


def folder_from_environment() -> EmbeddingFolder | None:
    """The folder that `LUNGSEG_EMBEDDINGS` names, up to `LUNGSEG_EMBEDDINGS_GB`; None without one.

    It is optional, because it may take so much of a disk.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    return EmbeddingFolder(Path(folder), float(os.environ.get(LIMIT_VARIABLE, _DEFAULT_GB))) if folder else None
