"""The part of a deletion that needs no engine: the request, tombstones, what Redis and the persistent store hold."""

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

import msgspec

from contracts.errors import ChangedMeanwhile, ContractError, StoreError
from contracts.events import to_ms
from contracts.forgetting import (
    Deletion,
    Receipt,
    Removal,
    Tombstones,
    decode_deletion,
    decode_tombstones,
    encode_tombstones,
    forgotten_prefix,
    no_tombstones,
    open_path,
    receipt_path,
    tombstones_path,
)
from contracts.ids import subject_of
from contracts.keys import alias_key, batch_key, batch_row, user_key
from contracts.lake import models_prefix
from contracts.lists import decode_user
from stores.cluster import Cluster
from stores.objects import NotFound, Objects
from stores.retry import delays
from stores.tables import Tables

__all__ = [
    "ask",
    "bury",
    "forget_online",
    "load_receipt",
    "load_tombstones",
    "names_in_redis",
    "open_deletions",
    "receipt_of",
    "receipts",
    "save",
    "versions_of",
]

_TOGETHER: Final = 200
_REMAINS: Final = (
    "Kinesis: the stream's own records end with its retention, by default 24 h after each was sent; a replay of them "
    "leaves this person out",
    "Flink: checkpoints hold event ids and running sums until their time to live, 75 min by default; delete savepoints "
    "that were made before",
    "Backups of Redis, DynamoDB or PostgreSQL that were made before: by their own retention",
    "Events of before that arrive after the second look (a page that was without a line, a spool while Kinesis was "
    "away): live values leave them out, the lake's raw files take them in; ask again to remove them",
)


def load_tombstones(objects: Objects, shop: str) -> tuple[Tombstones, str | None]:
    """The tombstones of a shop and their entity tag; new ones and ``None`` where there are none yet."""
    try:
        data, tag = objects.get_tagged(tombstones_path(shop))
    except NotFound:
        return no_tombstones(), None
    return decode_tombstones(data), tag


def bury(objects: Objects, shop: str, subjects: Sequence[str], at: datetime) -> Tombstones:
    """Add tombstones; two deletions at a time both keep theirs."""
    for _ in delays(10):
        stones, tag = load_tombstones(objects, shop)
        added = stones.add(shop, subjects, to_ms(at))
        if added == stones and tag is not None:
            return stones
        try:
            objects.replace(tombstones_path(shop), encode_tombstones(added), tag)
        except ChangedMeanwhile:
            continue
        return added
    message = f"the tombstones of shop {shop!r} were changed by others ten times in a row; try again"
    raise StoreError(message)


def ask(
    objects: Objects,
    cluster: Cluster,
    shop: str,
    *,
    user_id: str | None,
    anonymous_id: str | None,
    now: datetime,
    asked_by: str = "",
) -> Deletion:
    """Note a deletion, and bury what the person did up to ``now``; the same person's open deletion is returned.

    Raises:
        ContractError: the visitor is known as a user by now, who has to be named instead.
    """
    subject = subject_of(user_id, anonymous_id)
    if user_id is None and anonymous_id is not None:
        _refuse_known(cluster, shop, anonymous_id)
    for known in open_deletions(objects, shop):
        if subject in known.subjects:
            return known
    deletion = Deletion(
        id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        shop=shop,
        requested_at=now,
        asked_by=asked_by,
        user_id=user_id,
        anonymous_ids=[anonymous_id] if user_id is None and anonymous_id is not None else [],
    )
    deletion.anonymous_ids += names_in_redis(cluster, deletion)
    save(objects, deletion)
    bury(objects, shop, deletion.subjects, now)
    return deletion


def _refuse_known(cluster: Cluster, shop: str, anonymous_id: str) -> None:
    alias, value = cluster.get_many([alias_key(shop, anonymous_id), user_key(shop, subject_of(None, anonymous_id))])
    owner = None
    if value:
        try:
            owner = decode_user(value).owner
        except ContractError:
            owner = None
    if alias or owner:
        message = "this visitor has signed in since and is part of a user; delete the user, and with it the visitor"
        raise ContractError(message)


def names_in_redis(cluster: Cluster, deletion: Deletion) -> list[str]:
    """The visitors that a user was before and that are not known yet: of the user's value, and of all alias keys."""
    if deletion.user_id is None:
        return []
    subject, shop = subject_of(deletion.user_id, None), deletion.shop
    names: list[str] = []
    if data := cluster.get_many([user_key(shop, subject)])[0]:
        with suppress(ContractError):  # it is deleted all the same, and the lake names its visitors
            names += decode_user(data).aliases
    prefix = alias_key(shop, "")
    keys = (key.decode() for key in cluster.scan(f"{prefix}*"))
    while part := list(islice(keys, _TOGETHER)):
        owners = cluster.get_many(part)
        names += [key[len(prefix) :] for key, owner in zip(part, owners, strict=True) if owner == subject.encode()]
    known = set(deletion.anonymous_ids)
    return [name for name in dict.fromkeys(names) if name not in known]


def versions_of(objects: Objects, shop: str) -> list[str]:
    """Every model version whose lists may still be stored: those with a folder, and those pruned since."""
    root = models_prefix(shop)
    found = {name.removeprefix(root).partition("/")[0] for name in objects.list(root) if "/" in name.removeprefix(root)}
    return sorted(found | set(pruned_versions(objects, shop)))


def pruned_path(shop: str) -> str:
    """The versions whose snapshots were deleted while their lists may still be there."""
    return f"{models_prefix(shop)}pruned.json"


def pruned_versions(objects: Objects, shop: str) -> list[str]:
    """The content of :func:`pruned_path`."""
    try:
        return msgspec.json.decode(objects.get(pruned_path(shop)), type=list[str])
    except (NotFound, msgspec.MsgspecError):
        return []


@dataclass(frozen=True, slots=True)
class _Kind:
    what: str
    where: str
    keys: list[str]


def forget_online(
    cluster: Cluster,
    tables: Tables,
    deletion: Deletion,
    versions: Iterable[str],
    at: datetime,
    *,
    spare_new: bool = False,
) -> list[Removal]:
    """Delete what Redis and the persistent store hold of a person, and say what was there. May be repeated.

    With ``spare_new`` a live value that holds nothing from before the request stays: the person has come back.
    """
    shop, subjects, versions = deletion.shop, deletion.subjects, list(versions)
    people = [user_key(shop, subject) for subject in subjects]
    if spare_new:
        values = zip(people, cluster.get_many(people), strict=True)
        people = [key for key, data in values if data and _holds_past(data, to_ms(deletion.requested_at))]
    live = _Kind("live values", f"{shop}:user:…", people)
    aliases = _Kind("aliases", f"{shop}:alias:…", [alias_key(shop, name) for name in deletion.anonymous_ids])
    removed = []
    lists = [
        _Kind("batch lists", f"{shop}:batch:{version}:…", [batch_key(shop, version, subject) for subject in subjects])
        for version in versions
    ]
    for kind in (live, aliases, *lists):
        count = sum(cluster.execute([("DEL", key) for key in kind.keys])) if kind.keys else 0
        if count:
            removed.append(Removal(store="redis", what=kind.what, where=kind.where, count=count, at=at))
    for version in versions:
        rows = [batch_row(shop, version, subject) for subject in subjects]
        there = [row[0] for row in tables.rows(rows, consistent=True) if row]
        tables.delete_many(rows)  # all: a row that has expired is still there until the store gets to it
        if there:
            where = f"{shop}#{version}#…"
            removed.append(Removal(store=tables.kind, what="batch lists", where=where, count=len(there), at=at))
    return removed


def _holds_past(data: bytes, until_ms: int) -> bool:
    try:
        value = decode_user(data)
    except ContractError:
        return True
    starts = [int(start) * 1000 for start in value.buckets]
    return (
        min((*starts, *(action.occurred_ms for action in value.actions), *value.bought.values()), default=0) <= until_ms
    )


def save(objects: Objects, deletion: Deletion) -> None:
    """Keep how far a deletion is."""
    objects.put(open_path(deletion.shop, deletion.id), msgspec.json.encode(deletion))


def open_deletions(objects: Objects, shop: str) -> list[Deletion]:
    """The deletions that are not done, oldest first."""
    found = []
    for path in objects.list(f"{forgotten_prefix(shop)}open/"):
        try:
            found.append(decode_deletion(objects.get(path)))
        except NotFound:
            continue  # done meanwhile
    return found


def receipts(objects: Objects, shop: str) -> list[Receipt]:
    """All deletions, newest first: what is done, and how far the others are."""
    done = [
        msgspec.json.decode(objects.get(path), type=Receipt)
        for path in objects.list(f"{forgotten_prefix(shop)}receipts/")
    ]
    stones, _ = load_tombstones(objects, shop)
    running = [receipt_of(deletion, stones) for deletion in open_deletions(objects, shop)]
    ids = {receipt.id for receipt in done}
    return sorted([*done, *(r for r in running if r.id not in ids)], key=lambda r: r.id, reverse=True)


def load_receipt(objects: Objects, shop: str, deletion: str) -> Receipt | None:
    """The receipt of a deletion, so far as it is; ``None`` where there is no such deletion."""
    try:
        return msgspec.json.decode(objects.get(receipt_path(shop, deletion)), type=Receipt)
    except NotFound:
        pass
    try:
        found = decode_deletion(objects.get(open_path(shop, deletion)))
    except NotFound:
        return None
    return receipt_of(found, load_tombstones(objects, shop)[0])


def receipt_of(deletion: Deletion, stones: Tombstones, done_at: datetime | None = None) -> Receipt:
    """What may be said of a deletion to anybody: it names nobody."""
    words = f"{deletion.looked_at:,} objects looked at" if deletion.looked_at else ""
    if deletion.state == "waiting" and deletion.due_at:
        words = f"looks again after {deletion.due_at:%Y-%m-%d %H:%M} UTC for what was on its way when it began"
    return Receipt(
        id=deletion.id,
        shop=deletion.shop,
        state="done" if done_at else deletion.state,
        requested_at=deletion.requested_at,
        asked_by=deletion.asked_by,
        names=[stones.name_of(deletion.shop, subject) for subject in deletion.subjects],
        removed=sorted(deletion.notes.values(), key=lambda r: (r.store, r.where, r.what)),
        remains=list(_REMAINS),
        done_at=done_at,
        progress=words,
    )
