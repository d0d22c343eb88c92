"""Which hours of bucket values have files that are not in their compacted file, and putting them there."""

import io
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from batch.compact_rows import Merged, digest_of, merge_files, sources_of
from contracts.errors import ContractError
from contracts.lake import compacted_path, features_day_prefix
from stores.objects import Objects

__all__ = ["ENTITIES", "Compacted", "Hour", "compact_hour", "hours_of"]

ENTITIES: Final = ("item", "user")


class Stored(NamedTuple):
    """An object and its size."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of one entity of a shop: the stream's files, and the compacted file where there is one."""

    shop: str
    entity: str
    start: datetime
    files: tuple[Stored, ...]
    compacted: Stored | None

    def __str__(self) -> str:
        return f"{self.shop} {self.entity} {self.start:%Y-%m-%d %H}h"

    @property
    def path(self) -> str:
        """Where the compacted file belongs."""
        return compacted_path(self.shop, self.entity, self.start.date(), self.start.hour)


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of an hour: ``new`` files were added (none: it was left alone); ``rows``, ``bytes`` of the result."""

    new: int
    rows: int = 0
    doubled: int = 0
    bytes: int = 0


def hours_of(objects: Objects, shop: str, first: date, last: date, closed: datetime) -> Iterator[Hour]:
    """The hours of the days ``first`` to ``last`` (included) that ended by ``closed`` and have files of the stream."""
    for entity in ENTITIES:
        for day in (first + timedelta(days=at) for at in range((last - first).days + 1)):
            made = _by_hour(objects.sizes(features_day_prefix(shop, entity, day, "features-compact")))
            found = _by_hour(objects.sizes(features_day_prefix(shop, entity, day)))
            for hour, files in sorted(found.items()):
                start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
                if start + timedelta(hours=1) <= closed:
                    old = next((old for old in made.get(hour, ()) if old.path.endswith("/features.parquet")), None)
                    yield Hour(shop, entity, start, tuple(files), old)


def _by_hour(found: Mapping[str, int]) -> Mapping[int, list[Stored]]:
    """Data files by the hour of their folder; a name that begins with ``_`` or ``.`` is none, as for Spark."""
    hours: dict[int, list[Stored]] = defaultdict(list)
    for path, size in sorted(found.items()):
        *_, folder, name = path.split("/")
        if folder.startswith("hour=") and folder[5:].isdecimal() and not name.startswith(("_", ".")):
            hours[int(folder[5:])].append(Stored(path, size))
    return hours


def compact_hour(objects: Objects, hour: Hour, *, dry_run: bool = False) -> Compacted:
    """Bring the hour's compacted file up to date, by one PUT.

    Raises:
        ContractError: a file cannot be read; the compacted file stays as it was.
        StoreError: S3 did not answer; likewise.
    """
    known = _sources(objects, hour)
    new = [entry for entry in hour.files if digest_of(entry.path.rpartition("/")[2]) not in known]
    if not new or dry_run:
        return Compacted(len(new), bytes=sum(entry.bytes for entry in new))
    with tempfile.TemporaryDirectory(prefix="liveshelf-compact-") as scratch:
        folder = Path(scratch)
        inputs = _download(objects, new, folder / "new")
        if hour.compacted:
            inputs += _download(objects, [hour.compacted], folder / "old")
            known = _local_sources(inputs[-1], hour)  # another run may have replaced the file since it was looked at
        sources = known | {digest_of(entry.path.rpartition("/")[2]) for entry in new}
        out = folder / hour.path.rpartition("/")[2]
        merged: Merged = merge_files(inputs, hour.start, sources, out)
        objects.upload_folder(folder, hour.path.removesuffix(out.name), [out.name])
        return Compacted(len(new), merged.rows, merged.doubled, out.stat().st_size)


def _download(objects: Objects, entries: Sequence[Stored], folder: Path) -> list[Path]:
    prefix = entries[0].path.rpartition("/")[0] + "/"
    names = [entry.path.removeprefix(prefix) for entry in entries]
    objects.download_folder(prefix, names, folder)
    return [folder / name for name in names]


def _sources(objects: Objects, hour: Hour) -> frozenset[str]:
    """What the compacted file holds; only its footer is read."""
    if hour.compacted is None:
        return frozenset()
    remote = io.BufferedReader(cast(io.RawIOBase, _Remote(objects, hour.compacted)), 65_536)
    return _of(hour, cast(BinaryIO, remote))


def _local_sources(file: Path, hour: Hour) -> frozenset[str]:
    with file.open("rb") as opened:
        return _of(hour, opened)


def _of(hour: Hour, file: BinaryIO) -> frozenset[str]:
    try:
        return sources_of(file)
    except ContractError:
        raise
    except (ValueError, OSError) as exc:
        message = (
            f"{hour.path} cannot be read: {exc}; while its sources are there, delete it and compact the hour again"
        )
        raise ContractError(message) from exc


class _Remote(io.RawIOBase):
    """An object as a file, read piece by piece."""

    def __init__(self, objects: Objects, entry: Stored) -> None:
        self._objects, self._entry, self._at = objects, entry, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.bytes}[whence]
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        end = min(self._at + len(view), self._entry.bytes)
        if end <= self._at:
            return 0
        data = self._objects.get_range(self._entry.path, self._at, end)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
