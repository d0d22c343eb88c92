"""Publishing: write everything under the new version, verify it, and only then switch the pointer.

Killed at any point before the switch, the old model stays live and what was written is never referred to (rows end by
their TTL, folders by the next publish). Killed after the switch, the authority (DynamoDB CURRENT) is right and only its
mirrors are behind: the next run mends them first. Two runs at a time: the switch is conditional on the parent that was
read at the start, so the second one fails with :class:`~contracts.errors.PublishConflict` and stays invisible.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from contracts.errors import StoreError
from contracts.keys import batch_key, batch_row, popular_key, popular_row, similar_key, similar_row
from contracts.lake import model_prefix, models_prefix, pointer_path
from contracts.lists import RecommendationList, Source, encode_value
from contracts.pointer import Pointer
from contracts.settings import Settings
from contracts.snapshot import Manifest, Snapshot
from stores.cluster import Cluster
from stores.objects import NotFound, Objects
from stores.tables import Tables

__all__ = ["Entry", "ListWriter", "Stores", "mend_mirrors", "prune_versions", "switch", "upload_snapshot"]

MANIFEST: Final = "manifest.json"
_TOGETHER: Final = 500
_SAMPLED: Final = 16


class Entry(NamedTuple):
    """One list to be written: ``kind`` is person, similar or popular; ``name`` the subject or item (popular: empty)."""

    kind: str
    name: str
    items: list[str]
    scores: list[float]


@dataclass(frozen=True, slots=True)
class Stores:
    """The three places a version is published to."""

    objects: Objects
    tables: Tables
    cluster: Cluster

    @classmethod
    def open(cls, settings: Settings) -> "Stores":
        """The stores of the settings."""
        return cls(
            Objects.from_settings(settings),
            Tables.from_settings(settings, timeout_s=30),
            Cluster.from_settings(settings, timeout_ms=5000),
        )


@dataclass(frozen=True, slots=True)
class ListWriter:
    """Writes lists of one version to DynamoDB and Redis under keys of :mod:`contracts.keys`; picklable, for tasks.

    Rows carry the version in their key, so writing them again (a retried task, a second run) changes nothing that is
    read. ``written_ms`` is the time of the training, one for all.
    """

    shop: str
    version: str
    written_ms: int
    ttl_s: int

    def write(self, settings: Settings, entries: Iterable[Entry]) -> int:
        """Write the entries; returns how many.

        Raises:
            StoreError: a store refused rows after all retries, or one of the last rows does not read back as written.
        """
        tables, cluster = Tables.from_settings(settings, timeout_s=30), Cluster.from_settings(settings, timeout_ms=5000)
        try:
            source, written = iter(entries), 0
            while batch := list(islice(source, _TOGETHER)):
                written += self._write(tables, cluster, batch)
            return written
        finally:
            cluster.close()

    def _write(self, tables: Tables, cluster: Cluster, entries: list[Entry]) -> int:
        values = [encode_value(self.value(entry)) for entry in entries]
        keys = [self.keys(entry) for entry in entries]
        expires_s = self.written_ms // 1000 + self.ttl_s
        tables.put_many((row, value, expires_s) for (row, _), value in zip(keys, values, strict=True))
        cluster.set_many([(key, value, self.ttl_s) for (_, key), value in zip(keys, values, strict=True)])
        self._read_back(tables, cluster, keys, values)
        return len(entries)

    def _read_back(self, tables: Tables, cluster: Cluster, keys: list[tuple[str, str]], values: list[bytes]) -> None:
        """Redis answers for every row (one round trip a node); DynamoDB, which takes one read a row, for a few."""
        found = cluster.get_many([key for _, key in keys])
        wrong = [key for (_, key), have, value in zip(keys, found, values, strict=True) if have != value]
        step = max(1, len(keys) // _SAMPLED * 8)
        wrong += [row for (row, _), value in list(zip(keys, values, strict=True))[::step] if tables.get(row) != value]
        if wrong:
            message = (
                f"{len(wrong)} of {len(keys)} lists of {self.version} do not read back as written, such as {wrong[0]}; "
                "check the memory limit of Redis and the clock, then train again"
            )
            raise StoreError(message)

    def keys(self, entry: Entry) -> tuple[str, str]:
        """The DynamoDB row and the Redis key of an entry."""
        if entry.kind == "person":
            return batch_row(self.shop, self.version, entry.name), batch_key(self.shop, self.version, entry.name)
        if entry.kind == "similar":
            return similar_row(self.shop, self.version, entry.name), similar_key(self.shop, self.version, entry.name)
        return popular_row(self.shop, self.version), popular_key(self.shop, self.version)

    def value(self, entry: Entry) -> RecommendationList:
        """The stored value of an entry."""
        source: Source = "popular" if entry.kind == "popular" else "batch"
        return RecommendationList(
            source=source,
            model_version=self.version,
            based_on=None,
            written_at=self.written_ms,
            items=entry.items,
            scores=entry.scores,
        )


def upload_snapshot(objects: Objects, folder: Path, manifest: Manifest, scratch: Path) -> None:
    """Upload the snapshot in ``folder``, the manifest last, then read all of it back and compare sizes and digests.

    Raises:
        SnapshotError: what reads back is not what the manifest says.
        StoreError: S3 did not answer.
    """
    prefix = model_prefix(manifest.shop_id, manifest.version)
    objects.upload_folder(folder, prefix, list(manifest.files))
    objects.upload_folder(folder, prefix, [MANIFEST])
    objects.download_folder(prefix, [*manifest.files, MANIFEST], scratch)
    Snapshot.open(scratch, verify=True)


def switch(stores: Stores, shop: str, manifest: Manifest, now: datetime) -> Pointer:
    """Make the version live: registry, then the authority if its parent is still live, then the mirrors.

    Raises:
        PublishConflict: another run switched since the parent was read.
    """
    stores.tables.register(shop, manifest.version, msgspec.json.encode(manifest))
    pointer = Pointer(version=manifest.version, switched_at=now)
    stores.tables.switch(shop, pointer, manifest.parent)
    _mirror(stores, shop, pointer)
    return pointer


def _mirror(stores: Stores, shop: str, pointer: Pointer) -> None:
    stores.objects.put(pointer_path(shop), msgspec.json.encode(pointer))
    stores.cluster.publish_pointer(shop, pointer)


def mend_mirrors(stores: Stores, shop: str) -> Pointer | None:
    """The live version according to the authority; mirrors that a killed run left behind are set to it."""
    current = stores.tables.current(shop)
    if current is None:
        return None
    try:
        in_s3 = msgspec.json.decode(stores.objects.get(pointer_path(shop)), type=Pointer)
    except (NotFound, msgspec.MsgspecError):
        in_s3 = None
    if in_s3 != current or stores.cluster.pointer(shop) != current:
        _mirror(stores, shop, current)
    return current


def prune_versions(objects: Objects, shop: str, keep: int, spare: Iterable[str | None]) -> list[str]:
    """Delete the oldest model folders beyond ``keep``, never those in ``spare``; returns the versions deleted."""
    names = objects.list(models_prefix(shop))
    below = [name.removeprefix(models_prefix(shop)) for name in names]
    versions = sorted({name.partition("/")[0] for name in below if "/" in name})
    gone = [version for version in versions[:-keep] if version not in set(spare)]
    for version in gone:
        # The manifest goes first: a folder without one is no snapshot, so no reader opens a half-deleted one.
        paths = objects.list(model_prefix(shop, version))
        for path in sorted(paths, key=lambda path: not path.endswith(MANIFEST)):
            objects.delete(path)
    return gone
