"""Making a version live that was published before: its snapshot and its lists are verified first."""

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from batch.publish import Entry, ListWriter, Stores, make_live, mend_mirrors, registry_entry, versions
from contracts.errors import PublishRefused, SnapshotError
from contracts.lake import model_prefix, people_path
from contracts.pointer import Pointer
from contracts.settings import Settings
from contracts.snapshot import Manifest, Snapshot
from stores.objects import NotFound, Objects
from stores.pace import Pace

__all__ = ["Activation", "activate", "read_manifest"]

_SAMPLED: Final = 50
_TOGETHER: Final = 100
_LATE_S: Final = 7 * 24 * 3600
_ROWS: Final = {
    "person": "person_lists",
    "similar": "similar_lists",
    "together": "together_lists",
    "popular": "popular_lists",
}
_SPARSE: Final = "together"
"""Few items may have such a list, so that a sample says nothing of those that are lost."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Activation:
    """What was live before and is now, and how many lists Redis had lost and got back."""

    before: Pointer | None
    after: Pointer
    restored: int


def read_manifest(objects: Objects, shop: str, version: str) -> Manifest:
    """The manifest of a version in S3.

    Raises:
        SnapshotError: there is no such version, or it is not complete; the message names those there are.
    """
    try:
        return msgspec.json.decode(objects.get(f"{model_prefix(shop, version)}manifest.json"), type=Manifest)
    except NotFound as exc:
        found = ", ".join(versions(objects, shop)[-10:]) or "none"
        message = f"shop {shop!r} has no complete version {version!r}; its newest folders: {found}"
        raise SnapshotError(message) from exc
    except msgspec.MsgspecError as exc:
        message = f"the manifest of {version} cannot be read: {exc}; choose another version"
        raise SnapshotError(message) from exc


def activate(
    stores: Stores,
    settings: Settings,
    shop: str,
    version: str,
    *,
    now: datetime,
    scratch: Path,
    without_lists: bool = False,
    say: Say = print,
) -> Activation:
    """Verify a version, give Redis back the lists that it lost, and make it live.

    The live version may be named too: its lists and the mirrors of the pointer are set right.

    Args:
        scratch: an empty folder with room for the snapshot.
        without_lists: go on where the stored lists are gone; live recommendations need none.

    Raises:
        SnapshotError: there is no such version, or its files are not what its manifest says.
        PublishRefused: its lists are gone.
        PublishConflict: another version went live meanwhile.
        StoreError: a store did not answer; the message says whether the version is live.
    """
    before = mend_mirrors(stores, shop)
    manifest = read_manifest(stores.objects, shop, version)
    snapshot = _download(stores.objects, shop, version, manifest, scratch)
    say(f"snapshot: {len(manifest.files)} files as the manifest says, {len(snapshot.items):,} items")
    restored = _check_lists(stores, settings, snapshot, now, without_lists, say)
    stores.tables.register(shop, version, registry_entry(manifest))
    return Activation(before, make_live(stores, shop, version, before.version if before else None, now), restored)


def _download(objects: Objects, shop: str, version: str, manifest: Manifest, scratch: Path) -> Snapshot:
    try:
        objects.download_folder(model_prefix(shop, version), ["manifest.json", *manifest.files], scratch)
    except NotFound as exc:
        message = f"the snapshot of {version} is not complete: {exc}; choose another version"
        raise SnapshotError(message) from exc
    snapshot = Snapshot.open(scratch, verify=True)
    if (snapshot.manifest.shop_id, snapshot.version) != (shop, version):
        message = f"the folder of {version} holds {snapshot.version} of shop {snapshot.manifest.shop_id!r}; delete it"
        raise SnapshotError(message)
    return snapshot


def _check_lists(
    stores: Stores, settings: Settings, snapshot: Snapshot, now: datetime, without_lists: bool, say: Say
) -> int:
    """Look at a sample of every kind in both stores; restore Redis where one is missing there; returns how many."""
    shop, restored = snapshot.manifest.shop_id, 0
    writer = ListWriter(shop, snapshot.version, 0, 0)
    pace = Pace(settings.training.redis_commands_per_s)
    for kind, names in _names(stores.objects, snapshot).items():
        expected = snapshot.manifest.rows.get(_ROWS[kind], len(names))
        if not expected:
            continue
        if not names:
            say(f"lists: {expected:,} {kind}, not checked: {people_path(shop, snapshot.version)} does not name them")
            continue
        sample = names[:: max(1, len(names) // _SAMPLED)]
        keys = [writer.keys(Entry(kind, name, [], [])) for name in sample]
        rows = [row for row in stores.tables.rows([row for row, _ in keys]) if row]
        # The rows of a version expire together, so half of what one expects tells whether they are there.
        if kind != _SPARSE and len(rows) < expected / len(names) * len(sample) / 2 and not without_lists:
            message = (
                f"{len(rows)} of {len(sample)} {kind} lists of {snapshot.version} are left in DynamoDB (they expire "
                "after list.ttl.s); train again, or pass --without-lists to go on with live recommendations alone"
            )
            raise PublishRefused(message)
        held = {row for row, _, _ in rows}
        lost = sum(not there for there in stores.cluster.present([key for row, key in keys if row in held]))
        most_s = settings.training.redis_list_ttl_s
        missing = _restore(stores, writer, kind, names, now, pace, most_s) if lost else 0
        restored += missing
        say(_sentence(kind, expected, len(sample), [row[2] for row in rows], now, missing))
    return restored


def _sentence(kind: str, expected: int, sampled: int, expiries: list[int], now: datetime, missing: int) -> str:
    left_s = min(expiries, default=0) - now.timestamp()
    until = f"kept until {datetime.fromtimestamp(min(expiries), UTC):%Y-%m-%d}" if expiries else "gone"
    late = "; TRAIN SOON, they expire" if expiries and left_s < _LATE_S else ""
    back = f", {missing:,} given back to Redis" if missing else ""
    return f"lists: {expected:,} {kind}, {len(expiries)} of {sampled} sampled are in DynamoDB, {until}{back}{late}"


def _names(objects: Objects, snapshot: Snapshot) -> dict[str, Sequence[str]]:
    """Whose lists there may be, by kind; people are named beside the snapshot."""
    try:
        data = gzip.decompress(objects.get(people_path(snapshot.manifest.shop_id, snapshot.version)))
        people = msgspec.json.decode(data, type=list[str])
    except (NotFound, OSError, EOFError, msgspec.MsgspecError):
        people = []
    together = snapshot.items if _ROWS["together"] in snapshot.manifest.rows else []  # later than other lists
    return {"popular": [""], "similar": snapshot.items, "together": together, "person": people}


def _restore(
    stores: Stores, writer: ListWriter, kind: str, names: Sequence[str], now: datetime, pace: Pace, most_s: int
) -> int:
    """Copy the lists that Redis lacks from the persistent store, with the time they have left there, at most
    ``most_s`` seconds; returns how many.
    """
    written = 0
    for part in _parts(names):
        keys = [writer.keys(Entry(kind, name, [], [])) for name in part]
        pace.take(len(keys))
        there = stores.cluster.present([key for _, key in keys])
        lacking = [pair for pair, present in zip(keys, there, strict=True) if not present]
        found = zip(lacking, stores.tables.rows([row for row, _ in lacking]), strict=True)
        copies = [(key, row[1], min(most_s, row[2] - int(now.timestamp()))) for (_, key), row in found if row]
        stores.cluster.set_many([copy for copy in copies if copy[2] > 0], pace)
        written += len(copies)
    return written


def _parts(names: Sequence[str]) -> Iterator[list[str]]:
    source = iter(names)
    while part := list(islice(source, _TOGETHER)):
        yield part
