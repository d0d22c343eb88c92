"""How a user value lies in Redis: a revision, then blocks that a writer joins and cuts without an object an action.

    16 hex digits of the revision, then MessagePack of :class:`Packed`

Ids are printable (:mod:`contracts.ids`), so lists of ids are one text with a line an id. Numbers are little-endian.
"""

import struct
from functools import lru_cache
from typing import Any, Final

import msgspec

__all__ = [
    "BATCH_PLACE",
    "LETTERS",
    "MOST_REASONS",
    "NO_PLACE",
    "REV_BYTES",
    "TYPES",
    "Indexed",
    "Owner",
    "Packed",
    "PackedList",
    "bucket_row",
    "join_ids",
    "pack",
    "pack_buckets",
    "split_ids",
    "unpack",
    "unpack_buckets",
]

REV_BYTES: Final = 16
"""What a stored value begins with and a replacement is guarded by: its revision."""

LETTERS: Final = {
    "view": "v",
    "click": "c",
    "add_to_cart": "a",
    "purchase": "p",
    "remove_from_cart": "r",
    "impression": "i",
    "identify": "d",
}
"""The letter of each event type where actions are stored or computed with. A letter is never given to another type."""
TYPES: Final = {letter: event_type for event_type, letter in LETTERS.items()}

MOST_REASONS: Final = 3
NO_PLACE: Final = 255
BATCH_PLACE: Final = 254
"""Places of reasons that are no place among a list's ``terms``: none, and the list of the last training."""


class Owner(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Who an anonymous visitor turned out to be, and when that was said; the latest counts."""

    since_ms: int
    subject: str


class PackedList(msgspec.Struct, array_like=True):
    """A live list: ids joined (in UTF-8), scores float32; ``terms`` are the item ids that reasons name, joined.

    ``places`` (uint8) and ``shares`` (int16, thousandths) hold :data:`MOST_REASONS` reasons an item, or nothing at all.
    ``based_id`` is empty where the list is based on no event.
    """

    source: str
    model_version: str
    based_ms: int
    based_id: str
    written_at: int
    items: bytes
    scores: bytes
    terms: str
    places: bytes
    shares: bytes


class Indexed(msgspec.Struct, array_like=True):
    """What one model says of a value: of use to whoever scores it with that version, and of none to anybody else.

    ``rows`` are the places of the value's actions in the model's index, in their order, −1 for an item that it does not
    know (int32); those of the newest actions may be missing. ``list_rows`` (int32) and ``list_scores`` (float32) are
    the person's list of the training, empty where there was none when it was looked for, at ``listed_s`` (epoch
    seconds, 0: never).
    """

    version: str
    rows: bytes = b""
    listed_s: int = 0
    list_rows: bytes = b""
    list_scores: bytes = b""


class Packed(msgspec.Struct, array_like=True):
    """A value's parts. ``times`` (int64 epoch ms), ``letters``, ``ids`` and ``items`` are the actions, oldest first.

    ``buckets`` are records of a start (uint32 epoch seconds) and ``width`` float64 values, by start. ``live`` is a
    :class:`PackedList`, encoded, or empty; ``aliases`` and ``owner`` as in :class:`contracts.lists.UserValue`.

    ``bought_times`` (int64 epoch ms) and ``bought`` are the purchases of :mod:`contracts.held`, oldest first, and
    ``cart_times``, ``cart_letters`` (of ``add_to_cart``, ``remove_from_cart``), ``cart_ids``, ``cart`` the marks of the
    cart. They came later: a value without them is whole. ``indexed`` is a copy of what can be looked up.
    """

    times: bytes = b""
    letters: str = ""
    ids: str = ""
    items: str = ""
    width: int = 0
    buckets: bytes = b""
    live: bytes = b""
    aliases: dict[str, int] = {}
    owner: Owner | None = None
    bought_times: bytes = b""
    bought: str = ""
    cart_times: bytes = b""
    cart_letters: str = ""
    cart_ids: str = ""
    cart: str = ""
    indexed: Indexed | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Packed)


def pack(rev: str, packed: Packed) -> bytes:
    """The stored bytes.

    >>> pack("0" * 16, Packed())[:REV_BYTES]
    b'0000000000000000'
    """
    return rev.encode() + _encoder.encode(packed)


def unpack(data: bytes) -> Packed:
    """The parts of stored bytes.

    Raises:
        msgspec.MsgspecError: they are none.
    """
    return _decoder.decode(memoryview(data)[REV_BYTES:])


def split_ids(text: str) -> list[str]:
    """The ids of a text.

    >>> split_ids(join_ids(["a", "b"])), split_ids("")
    (['a', 'b'], [])
    """
    return text.split("\n") if text else []


def join_ids(ids: Any) -> str:
    """One text of ids."""
    return "\n".join(ids)


@lru_cache(maxsize=64)
def bucket_row(width: int) -> struct.Struct:
    """The layout of a bucket of ``width`` values."""
    return struct.Struct(f"<I{width}d")


def unpack_buckets(packed: Packed) -> dict[int, tuple[float, ...]]:
    """Bucket start (epoch seconds) → values.

    >>> unpack_buckets(Packed(width=2, buckets=pack_buckets({300: (1.0, 2.0)}, 2)))
    {300: (1.0, 2.0)}
    """
    return {row[0]: row[1:] for row in bucket_row(packed.width).iter_unpack(packed.buckets)}


def pack_buckets(buckets: dict[int, tuple[float, ...]], width: int) -> bytes:
    """The block of buckets; values that are not there are 0, those beyond ``width`` are left out."""
    row = bucket_row(width)
    nothing = (0.0,) * width
    return b"".join([row.pack(start, *(tuple(buckets[start]) + nothing)[:width]) for start in sorted(buckets)])
