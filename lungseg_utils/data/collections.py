"""Fetch whole data sets and published weights: archives, collections of The Cancer Imaging Archive, checkpoints.

The model files list their weights (`CHECKPOINTS`). Where the authors publish no hash, the hash of the first download is recorded in
`weights/pinned.json`, and a file with another hash is refused from then on. Nothing is unpickled here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import registry
from ..core import files
from ..types import Checkpoint, InputError
from . import download, samples
from .download import Published

if TYPE_CHECKING:
    import pandas as pd
    from idc_index import IDCClient


WEIGHTS = "weights"
PINNED = "pinned.json"
# size, md5 and both addresses: Registry of Open Data on AWS, msd-for-monai and its copy in Europe
_MD5 = "#md5=8afd997733c7fc0432f71255ba4e52dc"
ARCHIVES: Mapping[str, Published] = {
    "msd_lung": Published.of(
        "Task06_Lung.tar",
        [
            f"https://msd-for-monai.s3-us-west-2.amazonaws.com/Task06_Lung.tar{_MD5}",
            f"https://msd-for-monai-eu.s3.eu-west-2.amazonaws.com/Task06_Lung.tar{_MD5}",
        ],
        9_163_696_640,
    )
}


@dataclass(frozen=True)
class Collection:
    """A collection in NCI's Imaging Data Commons, and the DOIs whose series belong to it (others only analyse it).

    `size`: bytes of its series in release 25, to the megabyte; what is fetched is counted then.
    """

    title: str
    dois: tuple[str, ...]
    citation: str
    size: int


RIDER_CONTOURS = "10.7937/tcia.2020.jit9grk8"  # of Wee et al., which the collection's own DOI leaves out


def _of_card(name: str, size: int, *more_dois: str) -> Collection:
    card = registry.card("datasets", name)
    return Collection(card.title, (card.doi, *more_dois), card.citation, size)


def collections() -> dict[str, Collection]:
    """Collections by the name of their folder, which is also that of the collection in the Imaging Data Commons."""
    return {
        "nsclc_radiomics": _of_card("nsclc_radiomics", 35_776_000_000),
        "nsclc_radiomics_interobserver1": _of_card("nsclc_radiomics_interobserver1", 3_220_000_000),
        "lidc_idri": _of_card("lidc_idri", 133_146_000_000),  # the readers' outlines are in the installed database
        "rider_lung_ct": _of_card("rider_lung_ct", 43_971_000_000, RIDER_CONTOURS),
    }


def weights() -> dict[str, Checkpoint]:
    """All published weights that are fetched, by the name of their file, as the model files give them.

    A package brings its own, and a folder is brought by hand.
    """
    listed = [checkpoint for name in registry.names("models") for checkpoint in registry.checkpoints(name)]
    return {checkpoint.file: checkpoint for checkpoint in listed if not (checkpoint.package or checkpoint.content)}


def size(dataset: str) -> int:
    """Bytes that the whole of a data set takes on disk, an unpacked archive as much as the archive; 0 for one that is not fetched."""
    known = {**{name: archive.size for name, archive in ARCHIVES.items()}, **{name: c.size for name, c in collections().items()}}
    return known.get(dataset, 0)


def overview() -> str:
    """What can be fetched, for people."""
    whole = [f"{name} --all" if name in samples.names() else name for name in (*ARCHIVES, *collections())]
    kinds = {"samples": samples.names(), "whole data sets": whole, "weights": [WEIGHTS, *weights()]}
    return "\n".join(f"{kind + ':':<17}{', '.join(names)}" for kind, names in kinds.items())


def fetch(name: str, root: Path, whole: bool = False, yes: bool = False, progress: bool = True) -> Path:
    """Bring samples, a whole data set, or weights below the data root `root`; returns the folder or the file.

    Of a data set with samples in the registry all comes only with `whole`. Title, license, citation and size are printed, and asked for
    unless `yes`. Raises `InputError` for an unknown name, a full disk, an unreachable server, wrong content, or a missing answer.
    """
    root = Path(root).expanduser().resolve()
    known = weights()
    if name == WEIGHTS:
        for checkpoint in known.values():
            _fetch_weights(checkpoint, root / WEIGHTS, yes, progress)
        return root / WEIGHTS
    if name in known:
        return _fetch_weights(known[name], root / WEIGHTS, yes, progress)
    if name in samples.names() and not whole:
        return samples.fetch(name, root, yes, progress)
    if name in ARCHIVES:
        return _fetch_archive(name, ARCHIVES[name], root, yes, progress)
    if name in collections():
        return _fetch_collection(name, collections()[name], root, yes, progress)
    raise InputError(name, "nothing that can be fetched" + (" as a whole" if whole else ""), f"Known:\n{overview()}")


def as_published(checkpoint: Checkpoint, folder: Path) -> Published:
    """What a file of weights must be: size and hash of its model file, else those of the first download into `folder`."""
    record = files.read_json(folder / PINNED).get(checkpoint.file, {})
    sha256, size = checkpoint.sha256 or record.get("sha256", ""), checkpoint.size or record.get("size", 0)
    return Published.of(checkpoint.file, [checkpoint.url], size, sha256)


def _fetch_weights(checkpoint: Checkpoint, folder: Path, yes: bool, progress: bool) -> Path:
    published, path = as_published(checkpoint, folder), folder / checkpoint.file
    if not path.is_file() or download.fault(published, path):
        missing = max(0, published.size - download.bytes_so_far(published, folder))
        what = f"{checkpoint.file}, " + (f"{published.size / 1e6:.1f} MB" if published.size else "size not published")
        samples.announce(checkpoint.file, checkpoint.file, checkpoint.license, checkpoint.citation, what, yes, folder, missing)
        download.download(published, folder, progress)
    if "sha256" not in dict(published.digests):
        record = {"sha256": download.digest(path, "sha256"), "size": path.stat().st_size, "url": checkpoint.url}
        files.write_json({**files.read_json(folder / PINNED), checkpoint.file: record}, folder / PINNED)
    return path


def _fetch_archive(name: str, published: Published, root: Path, yes: bool, progress: bool) -> Path:
    """Download, unpack, and remove the archive, which only holds the same files once more."""
    folder, archive = root / name, root / published.file
    if folder.exists():
        return folder
    if not archive.is_file() or download.fault(published, archive):
        card, so_far = registry.card("datasets", name), download.bytes_so_far(published, root)
        what = f"{published.file}, {published.size / 1e6:.1f} MB, and as much again while it is unpacked"
        samples.announce(name, card.title, card.license, card.citation, what, yes, root, 2 * published.size - so_far)
        download.download(published, root, progress)
    samples.extract_tar(archive, folder, max_bytes=2 * published.size)
    archive.unlink()
    return folder


def _fetch_collection(name: str, collection: Collection, root: Path, yes: bool, progress: bool) -> Path:
    """All series, by NCI's own client, which goes on where it was stopped; the folder gets its place when it is complete."""
    folder, part = root / name, root / f".{name}.part"
    if (folder / samples.RECORD).is_file():
        return folder
    if folder.exists():
        problem = "something lies there that is not the whole collection, samples perhaps: its patients would come twice"
        raise InputError(folder, problem, "Move it away first, or choose another folder with --to.")
    client = _client()
    series = _series(client, name, collection)
    size, license = int(series["series_size_MB"].sum() * 1e6), ", ".join(sorted(series["license_short_name"].unique()))
    what = f"{series['PatientID'].nunique()} patients, {series['instanceCount'].sum()} files, {size / 1e6:.1f} MB"
    here = sum(path.stat().st_size for path in part.rglob("*.dcm"))
    samples.announce(name, f"{collection.title}: ALL of it", license, collection.citation, what, yes, root, max(0, size - here))
    _download_series(client, series, part, progress)
    _require_all(series, part)
    _record(client, series, part)
    part.rename(folder)
    return folder


def _client() -> IDCClient:
    try:
        from idc_index import IDCClient
    except ImportError as error:
        remedy = 'In the clone: .venv/bin/pip install -e ".[data]".'
        raise InputError("idc-index", "whole collections come by this client, which is not installed", remedy) from error
    return IDCClient()


def _series(client: IDCClient, name: str, collection: Collection) -> pd.DataFrame:
    index = client.index
    chosen = index[(index["collection_id"] == name) & index["source_DOI"].str.lower().isin([doi.lower() for doi in collection.dois])]
    if chosen.empty:
        raise InputError(name, "the Imaging Data Commons have no series of it", "Install another version of idc-index.")
    return chosen


def _download_series(client: IDCClient, series: pd.DataFrame, part: Path, progress: bool) -> None:
    part.mkdir(parents=True, exist_ok=True)
    template = "%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID"
    uids = series["SeriesInstanceUID"].tolist()
    client.download_from_selection(str(part), seriesInstanceUID=uids, dirTemplate=template, use_s5cmd_sync=True, show_progress_bar=progress)


def _require_all(series: pd.DataFrame, part: Path) -> None:
    """The client does not fail when some files did not come: they are counted."""
    for row in series.itertuples():
        place = part / row.PatientID / row.StudyInstanceUID / f"{row.Modality}_{row.SeriesInstanceUID}"
        found = len(list(place.glob("*.dcm")))
        if found != row.instanceCount:
            raise InputError(place, f"{found} files instead of {row.instanceCount}", "Run it again: it goes on from there.")


def _record(client: IDCClient, series: pd.DataFrame, part: Path) -> None:
    facts = {
        "source": f"Imaging Data Commons {client.get_idc_version()}",
        "series": len(series),
        "files": int(series["instanceCount"].sum()),
    }
    files.write_json(facts, part / samples.RECORD)
