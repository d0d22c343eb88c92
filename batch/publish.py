"""Publishing: write everything under the new version, verify it, and only then switch the pointer.

Killed at any point before the switch, the old model stays live and what was written is never referred to (rows end by
their TTL, folders by the next publish). Killed after the switch, the authority (DynamoDB CURRENT) is right and only its
mirrors are behind: the next run mends them first. Two runs at a time: the switch is conditional on the parent that was
read at the start, so the second one fails with :class:`~contracts.errors.PublishConflict` and stays invisible.
"""

import gzip
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from contracts.errors import StoreError
from contracts.keys import (
    batch_key,
    batch_row,
    popular_key,
    popular_row,
    similar_key,
    similar_row,
    together_key,
    together_row,
)
from contracts.lake import model_prefix, models_prefix, people_path, pointer_path
from contracts.lists import RecommendationList, Source, encode_value
from contracts.pointer import Pointer
from contracts.settings import Settings
from contracts.snapshot import Manifest, Snapshot
from stores.cluster import Cluster
from stores.forgetting import pruned_path, pruned_versions
from stores.objects import NotFound, Objects
from stores.pace import Pace
from stores.retry import delays
from stores.tables import Tables

__all__ = [
    "Entry",
    "ListWriter",
    "Stores",
    "make_live",
    "mend_mirrors",
    "mirror",
    "mirrors",
    "pointer_in_s3",
    "prune_versions",
    "registry_entry",
    "switch",
    "upload_snapshot",
    "versions",
]

MANIFEST: Final = "manifest.json"
_TOGETHER: Final = 250
_SAMPLED: Final = 16
_MIRRORINGS: Final = 5
_LONG_PARTS: Final = frozenset({"days", "evaluation", "search", "ranker"})
_REGISTRY_BYTES: Final = 300_000
_PRUNED_KEPT: Final = 5000  # those of a year and more of hourly trainings


class Entry(NamedTuple):
    """One list to be written: ``kind`` is person, similar, together or popular; ``name`` the subject or item."""

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

    def close(self) -> None:
        """Give connections back."""
        self.cluster.close()
        self.tables.close()


@dataclass(frozen=True, slots=True)
class ListWriter:
    """Writes lists of one version to DynamoDB and Redis under keys of :mod:`contracts.keys`; picklable, for tasks.

    Rows carry the version in their key, so writing them again (a retried task, a second run) changes nothing that is
    read. ``written_ms`` is the time of the training, one for all; ``redis_ttl_s`` is 0 where ``ttl_s`` holds for Redis,
    too. ``writers`` is how many tasks write at a time: each
    keeps to its share of the run's rates (``dynamodb.units.per.s`` or PostgreSQL's ``rows.per.s``, and
    ``redis.commands.per.s``).
    """

    shop: str
    version: str
    written_ms: int
    ttl_s: int
    redis_ttl_s: int = 0
    writers: int = 1

    def write(self, settings: Settings, entries: Iterable[Entry]) -> int:
        """Write the entries to the stores of the settings; returns how many. What a Spark task calls.

        Raises:
            StoreError: a store refused rows after all retries, or one of the last rows does not read back as written.
        """
        tables = Tables.from_settings(settings, timeout_s=30, writers=self.writers)
        cluster = Cluster.from_settings(settings, timeout_ms=5000)
        try:
            pace = Pace(settings.training.redis_commands_per_s / max(1, self.writers))
            return self.write_to(tables, cluster, entries, pace)
        finally:
            cluster.close()
            tables.close()

    def write_to(self, tables: Tables, cluster: Cluster, entries: Iterable[Entry], pace: Pace | None = None) -> int:
        """:meth:`write` with open stores; ``pace`` counts Redis commands."""
        source, written = iter(entries), 0
        while batch := list(islice(source, _TOGETHER)):
            written += self._write(tables, cluster, batch, pace)
        return written

    def _write(self, tables: Tables, cluster: Cluster, entries: list[Entry], pace: Pace | None) -> int:
        values = [encode_value(self.value(entry)) for entry in entries]
        keys = [self.keys(entry) for entry in entries]
        expires_s = self.written_ms // 1000 + self.ttl_s
        tables.put_many((row, value, expires_s) for (row, _), value in zip(keys, values, strict=True))
        redis_ttl_s = self.redis_ttl_s or self.ttl_s
        cluster.set_many([(key, value, redis_ttl_s) for (_, key), value in zip(keys, values, strict=True)], pace)
        if pace:
            pace.take(len(keys))
        self._read_back(tables, cluster, keys, values)
        return len(entries)

    def _read_back(self, tables: Tables, cluster: Cluster, keys: list[tuple[str, str]], values: list[bytes]) -> None:
        """Redis answers for every row; DynamoDB, where a read costs as much as half a write, for a few."""
        found = cluster.get_many([key for _, key in keys])
        wrong = [key for (_, key), have, value in zip(keys, found, values, strict=True) if have != value]
        step = max(1, len(keys) // _SAMPLED)
        some = [row for row, _ in keys[::step]]
        kept = [row and row[1] for row in tables.rows(some, consistent=True)]
        wrong += [row for row, have, value in zip(some, kept, values[::step], strict=True) if have != value]
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
        if entry.kind == "together":
            return together_row(self.shop, self.version, entry.name), together_key(self.shop, self.version, entry.name)
        return popular_row(self.shop, self.version), popular_key(self.shop, self.version)

    def value(self, entry: Entry) -> RecommendationList:
        """The stored value; its scores have six digits, about what float32 holds, and a row costs a quarter less."""
        source: Source = "popular" if entry.kind == "popular" else "batch"
        return RecommendationList(
            source=source,
            model_version=self.version,
            based_on=None,
            written_at=self.written_ms,
            items=entry.items,
            scores=[float(f"{score:.6g}") for score in entry.scores],
        )


def upload_snapshot(
    objects: Objects, folder: Path, manifest: Manifest, scratch: Path, people: Sequence[str] = ()
) -> None:
    """Upload the snapshot in ``folder``, the manifest last, then read all of it back and compare sizes and digests.

    Args:
        people: the subjects who got a list, kept beside the snapshot so that its lists can be checked and repaired.

    Raises:
        SnapshotError: what reads back is not what the manifest says.
        StoreError: S3 did not answer.
    """
    prefix = model_prefix(manifest.shop_id, manifest.version)
    objects.put(people_path(manifest.shop_id, manifest.version), gzip.compress(msgspec.json.encode(list(people)), 6))
    objects.upload_folder(folder, prefix, list(manifest.files))
    objects.upload_folder(folder, prefix, [MANIFEST])
    objects.download_folder(prefix, [*manifest.files, MANIFEST], scratch)
    Snapshot.open(scratch, verify=True)


def switch(stores: Stores, shop: str, manifest: Manifest, now: datetime) -> Pointer:
    """Make a trained version live: registry, then the authority if its parent is still live, then the mirrors.

    Raises:
        PublishConflict: another run switched since the parent was read.
        StoreError: a store did not answer; the message says whether the version is live.
    """
    stores.tables.register(shop, manifest.version, registry_entry(manifest))
    return make_live(stores, shop, manifest.version, manifest.parent, now)


def make_live(stores: Stores, shop: str, version: str, expected: str | None, now: datetime) -> Pointer:
    """Switch the authority from ``expected`` to ``version``, then mirror it; returns what is live at the end.

    Raises:
        PublishConflict: ``expected`` is no longer live; nothing was switched.
        StoreError: a store did not answer; the message says whether the version is live.
    """
    pointer = stores.tables.switch(shop, Pointer(version=version, switched_at=now), expected)
    return mirror(stores, shop) or pointer


def registry_entry(manifest: Manifest) -> bytes:
    """The manifest; without its long parts, which S3 has, where a row of DynamoDB (400 KB at most) cannot hold them."""
    whole = msgspec.json.encode(manifest)
    if len(whole) <= _REGISTRY_BYTES:
        return whole
    plain = msgspec.to_builtins(manifest)
    return msgspec.json.encode({name: value for name, value in plain.items() if name not in _LONG_PARTS})


def mirror(stores: Stores, shop: str) -> Pointer | None:
    """Set the pointers in S3 and Redis to the authority's, until that did not change meanwhile.

    Whoever wrote the S3 pointer last looked at the authority after writing, and found what it had written; whoever
    switched the authority after that look writes later still. So once all that run have ended, S3 is right, however
    slow one of them was. Redis refuses what is older than it has. Only a process that dies between its switch and
    its last look leaves a mirror behind: the next run, or ``python -m batch.models activate``, sets it right.

    Returns:
        The live pointer; ``None`` before the first publish.

    Raises:
        StoreError: a mirror did not answer (the other one is set nevertheless), or the authority never stood still.
    """
    live = stores.tables.current(shop)
    for _ in delays(_MIRRORINGS):
        if live is None:
            return None
        _mirror(stores, shop, live)
        before, live = live, stores.tables.current(shop)
        if live == before:
            return live
    message = f"the live version of shop {shop!r} changed {_MIRRORINGS} times while it was mirrored; run one at a time"
    raise StoreError(message)


def _mirror(stores: Stores, shop: str, pointer: Pointer) -> None:
    failures: list[StoreError] = []
    for write in (
        lambda: stores.objects.put(pointer_path(shop), msgspec.json.encode(pointer)),
        lambda: stores.cluster.publish_pointer(shop, pointer),
    ):
        try:
            write()
        except StoreError as exc:
            failures.append(exc)
    if failures:
        message = (
            f"{pointer.version} is live, but a mirror of the pointer is behind: {failures[0]}; once the store answers, "
            f"run python -m batch.models activate {pointer.version} (the next training does it too)"
        )
        raise StoreError(message) from failures[0]


def mirrors(stores: Stores, shop: str) -> tuple[Pointer | None, Pointer | None]:
    """The pointers in S3 and in Redis; ``None`` where there is none that can be read."""
    try:
        in_redis = stores.cluster.pointer(shop)
    except msgspec.MsgspecError:
        in_redis = None
    return pointer_in_s3(stores.objects, shop), in_redis


def pointer_in_s3(objects: Objects, shop: str) -> Pointer | None:
    """The live version for those who read S3 alone; ``None`` where there is no pointer that can be read."""
    try:
        return msgspec.json.decode(objects.get(pointer_path(shop)), type=Pointer)
    except (NotFound, msgspec.MsgspecError):
        return None


def mend_mirrors(stores: Stores, shop: str) -> Pointer | None:
    """The live version according to the authority; mirrors that a killed run left behind are set to it."""
    current = stores.tables.current(shop)
    if current is None or mirrors(stores, shop) == (current, current):
        return current
    return mirror(stores, shop)


def versions(objects: Objects, shop: str) -> list[str]:
    """The versions with a folder in S3, oldest first; complete ones hold a manifest."""
    root = models_prefix(shop)
    below = [name.removeprefix(root) for name in objects.list(root)]
    return sorted({name.partition("/")[0] for name in below if "/" in name})


def prune_versions(objects: Objects, shop: str, keep: int, spare: Collection[str | None]) -> list[str]:
    """Delete the oldest model folders beyond the newest ``keep`` (0: all), never those in ``spare``.

    Put the live version and its parent into ``spare``. Their rows end by TTL.

    Returns:
        The versions deleted.
    """
    found = versions(objects, shop)
    gone = [version for version in found[: max(0, len(found) - keep)] if version not in spare]
    if gone:  # their lists live on until they expire: who deletes a person has to know of them
        known = pruned_versions(objects, shop)[-_PRUNED_KEPT:]
        objects.put(pruned_path(shop), msgspec.json.encode(sorted({*known, *gone})))
    for version in gone:
        # The manifest goes first: a folder without one is no snapshot, so no reader opens a half-deleted one.
        paths = objects.list(model_prefix(shop, version))
        for path in sorted(paths, key=lambda path: not path.endswith(MANIFEST)):
            objects.delete(path)
    return gone
