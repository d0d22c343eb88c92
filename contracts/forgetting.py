"""Deleting a person: tombstones that the stream honours, the request while it runs, and the receipt that stays.

A tombstone says *what this person did up to a moment is gone*: whoever replays the past (Flink after a failure, a
stream read from its beginning) leaves those events out, and what the person does later begins anew. Tombstones and
receipts hold a salted hash of the person, never an id; only an open request holds ids, and it goes when it is done.
"""

import gzip
import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

import msgspec

from contracts.errors import ContractError
from contracts.ids import subject_of

__all__ = [
    "FORGOTTEN",
    "Deletion",
    "Receipt",
    "Removal",
    "Tombstones",
    "decode_deletion",
    "decode_tombstones",
    "encode_tombstones",
    "forgotten_prefix",
    "open_path",
    "receipt_path",
    "tombstones_path",
]

FORGOTTEN: Final = "forgotten"
"""The reason for which the stream leaves a record out without a trace; it is no reason of the dead-letter prefix."""

KEEP_MS: Final = 400 * 24 * 3600 * 1000
"""Longer than Kinesis can keep a record (365 days): nothing can be replayed after that."""


def forgotten_prefix(shop: str) -> str:
    """All that is kept of deletions.

    >>> forgotten_prefix("default")
    'shop=default/forgotten/'
    """
    return f"shop={shop}/forgotten/"


def tombstones_path(shop: str) -> str:
    """The tombstones of a shop, one object, replaced only as it was read."""
    return f"{forgotten_prefix(shop)}tombstones.json.gz"


def open_path(shop: str, deletion: str) -> str:
    """A deletion that is not done; it names the person."""
    return f"{forgotten_prefix(shop)}open/{deletion}.json"


def receipt_path(shop: str, deletion: str) -> str:
    """The receipt of a deletion that is done."""
    return f"{forgotten_prefix(shop)}receipts/{deletion}.json"


class Tombstones(msgspec.Struct, frozen=True, kw_only=True):
    """``people`` maps a salted hash of (shop, subject) to the moment (epoch ms) up to which the person is forgotten.

    >>> stones = Tombstones(salt="00").add("default", ["u.42"], 1_000)
    >>> [stones.covers("default", "u.42", at, at + 5) for at in (1_000, 1_001)], stones.covers("default", "u.7", 1, 1)
    ([True, False], False)
    """

    salt: str
    people: dict[str, int] = {}

    @property
    def newest_ms(self) -> int:
        """No event after this moment is anybody's forgotten past, so nobody has to be looked up for it."""
        return max(self.people.values(), default=-1)

    def name_of(self, shop: str, subject: str) -> str:
        """The hash of a person."""
        data = f"{shop}#{subject}".encode(errors="surrogatepass")
        return hashlib.blake2b(data, digest_size=16, salt=bytes.fromhex(self.salt)[:16]).hexdigest()

    def covers(self, shop: str, subject: str, occurred_ms: int, received_ms: int) -> bool:
        """Whether an event is part of a forgotten past: of a page's clock and the collector's the earlier counts."""
        return min(occurred_ms, received_ms) <= self.people.get(self.name_of(shop, subject), -1)

    def add(self, shop: str, subjects: Iterable[str], at_ms: int) -> "Tombstones":
        """With tombstones for ``subjects``; those that nothing can be replayed for any more are left out."""
        people = {name: at for name, at in self.people.items() if at > at_ms - KEEP_MS}
        for subject in subjects:
            name = self.name_of(shop, subject)
            people[name] = max(at_ms, people.get(name, at_ms))
        return Tombstones(salt=self.salt, people=people)


def no_tombstones() -> Tombstones:
    """None yet, with a salt of their own."""
    return Tombstones(salt=secrets.token_hex(16))


def encode_tombstones(stones: Tombstones) -> bytes:
    """The object's bytes."""
    return gzip.compress(msgspec.json.encode(stones), 6, mtime=0)


def decode_tombstones(data: bytes) -> Tombstones:
    """Read the object.

    Raises:
        ContractError: it cannot be read.
    """
    try:
        return msgspec.json.decode(gzip.decompress(data), type=Tombstones)
    except (OSError, EOFError, msgspec.MsgspecError) as exc:
        message = f"the tombstones ({len(data)} bytes) cannot be read: {exc}"
        raise ContractError(message) from exc


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was removed: ``count`` of ``what`` from ``where`` in ``store``."""

    store: str
    what: str
    where: str
    count: int
    at: datetime


State = Literal["requested", "removing", "waiting", "done"]


class Deletion(msgspec.Struct, kw_only=True):
    """A deletion that runs: who, how far it is, and what it removed so far.

    ``anonymous_ids`` grows as visitors are found that the person was. ``cursor`` is the last object that was looked at
    in ``phase``; ``notes`` are removals by what they are of, so that a piece of work that is repeated counts once.
    """

    id: str
    shop: str
    requested_at: datetime
    asked_by: str = ""
    user_id: str | None = None
    anonymous_ids: list[str] = []
    state: State = "requested"
    phase: str = ""
    cursor: str = ""
    looked_at: int = 0
    swept_from: datetime | None = None
    due_at: datetime | None = None
    notes: dict[str, Removal] = {}

    @property
    def subjects(self) -> list[str]:
        """The key parts of all the person's names."""
        own = [] if self.user_id is None else [subject_of(self.user_id, None)]
        return own + [subject_of(None, name) for name in self.anonymous_ids]

    @property
    def ids(self) -> list[str]:
        """The person's ids as they stand in events."""
        return ([] if self.user_id is None else [self.user_id]) + self.anonymous_ids


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What stays of a deletion. ``names`` are hashes of the person's names, ``remains`` what ends by itself."""

    id: str
    shop: str
    state: State
    requested_at: datetime
    names: list[str]
    removed: list[Removal]
    remains: list[str]
    asked_by: str = ""
    done_at: datetime | None = None
    progress: str = ""


def decode_deletion(data: bytes) -> Deletion:
    """Read an open deletion.

    Raises:
        ContractError: it cannot be read.
    """
    try:
        return msgspec.json.decode(data, type=Deletion)
    except msgspec.MsgspecError as exc:
        message = f"an open deletion ({len(data)} bytes) cannot be read: {exc}"
        raise ContractError(message) from exc
