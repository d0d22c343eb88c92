"""What is kept of a person and what is served: recent actions, feature buckets, recommendation lists."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from contracts.errors import ContractError
from contracts.held import CartMark
from contracts.packed import (
    BATCH_PLACE,
    LETTERS,
    MOST_REASONS,
    NO_PLACE,
    REV_BYTES,
    TYPES,
    Owner,
    Packed,
    PackedList,
    join_ids,
    pack,
    pack_buckets,
    split_ids,
    unpack,
    unpack_buckets,
)

__all__ = [
    "MOST_ALIASES",
    "REV_BYTES",
    "Action",
    "BasedOn",
    "Brief",
    "Owner",
    "Reason",
    "RecommendationList",
    "Source",
    "UserValue",
    "actions_of",
    "bought_of",
    "brief_of",
    "cart_of",
    "covers",
    "decode_list",
    "decode_user",
    "encode_value",
    "hold",
    "live_of",
    "merge_actions",
    "next_rev",
    "prune_buckets",
    "unpack_user",
    "value_of",
]

Source = Literal["live", "batch", "trending", "popular"]


class BasedOn(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The newest event a list reflects; ordered as events are, by (occurred_at, event_id)."""

    occurred_ms: int
    event_id: str


class Action(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One recent action. The order of the fields is the order of actions: (occurred_at, event_id)."""

    occurred_ms: int
    event_id: str
    event_type: str
    item_id: str


class Reason(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One term of a score: the action's item it came from (or ``*`` for the batch list), and its share of the score."""

    item_id: str
    weight: float


class RecommendationList(msgspec.Struct, frozen=True, kw_only=True):
    """A ranked list. ``items``, ``scores`` and ``reasons`` run in parallel, best first; times are epoch ms UTC."""

    source: Source
    model_version: str
    based_on: BasedOn | None
    written_at: int
    items: list[str]
    scores: list[float]
    reasons: list[list[Reason]] = []

    def __post_init__(self) -> None:
        if len(self.items) != len(self.scores) or (self.reasons and len(self.reasons) != len(self.items)):
            message = (
                f"a list has {len(self.items)} items, {len(self.scores)} scores, {len(self.reasons)} reasons; "
                "expected as many of each (reasons may be absent)"
            )
            raise ValueError(message)


class UserValue(msgspec.Struct, frozen=True, kw_only=True):
    """All that is live of one person, under one Redis key, replaced as a whole by a compare-and-set on ``rev``.

    ``rev`` is 16 hex digits; a stored value begins with them (:mod:`contracts.packed` has the layout), and the guard
    compares those bytes. ``actions`` are oldest first, at most 2·L. ``buckets`` maps a bucket start (epoch seconds, as
    text) to the values of :data:`contracts.features.USER_FEATURES`.

    ``identify`` joins an anonymous visitor to a user: the user's ``aliases`` are the anonymous ids with the time of the
    latest such event (epoch ms), at most :data:`MOST_ALIASES`, the newest; the visitor's value has an ``owner``. Both
    stay what they are: a reader adds the buckets and merges the actions of a user and of all aliases.

    ``bought`` (item id → newest time, epoch ms) and ``cart`` say what the person holds, see :mod:`contracts.held`.
    """

    rev: str
    actions: list[Action] = []
    buckets: dict[str, list[float]] = {}
    live: RecommendationList | None = None
    aliases: dict[str, int] = {}
    owner: Owner | None = None
    bought: dict[str, int] = {}
    cart: list[CartMark] = []


MOST_ALIASES: Final = 32
_ADDED: Final = LETTERS["add_to_cart"]
_REMOVED: Final = LETTERS["remove_from_cart"]
_INSIDE: Final = {_ADDED: True, _REMOVED: False}
_encoder = msgspec.json.Encoder()
_list = msgspec.json.Decoder(RecommendationList)
_list_encoder = msgspec.msgpack.Encoder()
_list_decoder = msgspec.msgpack.Decoder(PackedList)


def next_rev(previous: str | None, now_us: int) -> str:
    """A revision above ``previous`` that still rises where a store lost its content: the clock, never backwards.

    >>> next_rev(None, 255), next_rev("00000000000000ff", 3)
    ('00000000000000ff', '0000000000000100')
    """
    floor = int(previous, 16) + 1 if previous else 0
    return f"{max(floor, now_us):016x}"


def encode_value(value: UserValue | RecommendationList) -> bytes:
    """The stored bytes: JSON of a list of the training, blocks of a user value.

    >>> decode_user(encode_value(UserValue(rev="0" * 16, buckets={"300": [1.0]}))).buckets
    {'300': [1.0]}
    """
    if isinstance(value, RecommendationList):
        return _encoder.encode(value)
    width = max(map(len, value.buckets.values()), default=0)
    packed = Packed(
        times=struct.pack(f"<{len(value.actions)}q", *(action.occurred_ms for action in value.actions)),
        letters="".join([LETTERS[action.event_type] for action in value.actions]),
        ids=join_ids(action.event_id for action in value.actions),
        items=join_ids(action.item_id for action in value.actions),
        width=width,
        buckets=pack_buckets({int(start): tuple(values) for start, values in value.buckets.items()}, width),
        live=_pack_list(value.live) if value.live else b"",
        aliases=value.aliases,
        owner=value.owner,
    )
    hold(packed, value.bought, value.cart)
    return pack(value.rev, packed)


def hold(packed: Packed, bought: Mapping[str, int] | None, cart: Sequence[CartMark] | None) -> None:
    """Put purchases and cart into a packed value; ``None`` leaves what is there."""
    if bought is not None:
        packed.bought_times, packed.bought = struct.pack(f"<{len(bought)}q", *bought.values()), join_ids(bought)
    if cart is not None:
        packed.cart_times = struct.pack(f"<{len(cart)}q", *[mark.occurred_ms for mark in cart])
        packed.cart_letters = "".join([_ADDED if mark.inside else _REMOVED for mark in cart])
        packed.cart_ids, packed.cart = join_ids(m.event_id for m in cart), join_ids(m.item_id for m in cart)


def bought_of(packed: Packed) -> dict[str, int]:
    """The purchases of a packed value: item id → newest time, epoch ms; oldest first."""
    times = struct.unpack(f"<{len(packed.bought_times) // 8}q", packed.bought_times)
    return dict(zip(split_ids(packed.bought), times, strict=True))


def cart_of(packed: Packed) -> list[CartMark]:
    """The marks of the cart of a packed value, oldest first."""
    times = struct.unpack(f"<{len(packed.cart_times) // 8}q", packed.cart_times)
    parts = zip(times, split_ids(packed.cart_ids), split_ids(packed.cart), packed.cart_letters, strict=True)
    return [CartMark(at, event_id, item_id, _INSIDE[letter]) for at, event_id, item_id, letter in parts]


def _pack_list(live: RecommendationList) -> bytes:
    """A live list; scores keep the precision of float32, reasons three decimals and the first three of an item."""
    terms = list(dict.fromkeys(reason.item_id for reasons in live.reasons for reason in reasons))
    place = {item_id: at for at, item_id in enumerate(terms[:BATCH_PLACE])} | {"*": BATCH_PLACE}
    places, shares = bytearray(), []
    for reasons in (reasons[:MOST_REASONS] for reasons in live.reasons):
        none = MOST_REASONS - len(reasons)
        places += bytes([*(place.get(reason.item_id, NO_PLACE) for reason in reasons), *[NO_PLACE] * none])
        shares += [*(max(-32768, min(32767, round(reason.weight * 1000))) for reason in reasons), *[0] * none]
    packed = PackedList(
        source=live.source,
        model_version=live.model_version,
        based_ms=live.based_on.occurred_ms if live.based_on else 0,
        based_id=live.based_on.event_id if live.based_on else "",
        written_at=live.written_at,
        items=join_ids(live.items).encode(),
        scores=struct.pack(f"<{len(live.scores)}f", *live.scores),
        terms=join_ids(terms),
        places=bytes(places),
        shares=struct.pack(f"<{len(shares)}h", *shares),
    )
    return _list_encoder.encode(packed)


def _unpack_list(data: bytes) -> RecommendationList:
    packed = _list_decoder.decode(data)
    scores = struct.unpack(f"<{len(packed.scores) // 4}f", packed.scores)
    source: Any = packed.source
    return RecommendationList(
        source=source,
        model_version=packed.model_version,
        based_on=BasedOn(packed.based_ms, packed.based_id) if packed.based_id else None,
        written_at=packed.written_at,
        items=split_ids(packed.items.decode()),
        scores=[round(score, 5) for score in scores],
        reasons=_unpack_reasons(packed),
    )


def _unpack_reasons(packed: PackedList) -> list[list[Reason]]:
    terms: dict[int, str] = dict(enumerate(split_ids(packed.terms))) | {BATCH_PLACE: "*"}
    shares = struct.unpack(f"<{len(packed.places)}h", packed.shares)
    named = [
        Reason(terms[place], share / 1000) if place != NO_PLACE else None
        for place, share in zip(packed.places, shares, strict=True)
    ]
    return [[reason for reason in named[at : at + MOST_REASONS] if reason] for at in range(0, len(named), MOST_REASONS)]


def actions_of(packed: Packed) -> list[Action]:
    """The recent actions of a packed value, oldest first."""
    times = struct.unpack(f"<{len(packed.times) // 8}q", packed.times)
    kinds = [TYPES[letter] for letter in packed.letters]
    parts = zip(times, split_ids(packed.ids), kinds, split_ids(packed.items), strict=True)
    return [Action(*part) for part in parts]


def live_of(packed: Packed) -> RecommendationList | None:
    """The live list of a packed value."""
    return _unpack_list(packed.live) if packed.live else None


class Brief(NamedTuple):
    """A live list without its reasons, which are most of the work; scores are not rounded."""

    source: Source
    model_version: str
    based_on: BasedOn | None
    written_at: int
    items: list[str]
    scores: tuple[float, ...]


def brief_of(packed: Packed) -> Brief | None:
    """The live list of a packed value, for readers who show a few of its items."""
    if not packed.live:
        return None
    live = _list_decoder.decode(packed.live)
    based_on = BasedOn(live.based_ms, live.based_id) if live.based_id else None
    scores = struct.unpack(f"<{len(live.scores) // 4}f", live.scores)
    source: Any = live.source
    return Brief(source, live.model_version, based_on, live.written_at, split_ids(live.items.decode()), scores)


def unpack_user(data: bytes) -> Packed:
    """The parts of a stored user value, for readers who want some of them only.

    Raises:
        ContractError: the bytes are not such a value.
    """
    try:
        int(data[:REV_BYTES], 16)
        packed = unpack(data)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise _unreadable(data, exc) from exc
    actions, bought, cart = len(packed.letters), len(packed.bought_times) // 8, len(packed.cart_letters)
    counts = (
        (actions, len(packed.times) // 8, _count(packed.ids), _count(packed.items)),
        (bought, _count(packed.bought)),
        (cart, len(packed.cart_times) // 8, _count(packed.cart_ids), _count(packed.cart)),
    )
    if any(len(set(each)) > 1 for each in counts):
        raise _unreadable(data, ValueError(f"blocks of {counts} do not fit together"))
    return packed


def _count(ids: str) -> int:
    return ids.count("\n") + 1 if ids else 0


def value_of(rev: str, packed: Packed) -> UserValue:
    """A packed value as objects."""
    return UserValue(
        rev=rev,
        actions=actions_of(packed),
        buckets={str(start): list(values) for start, values in unpack_buckets(packed).items()},
        live=live_of(packed),
        aliases=packed.aliases,
        owner=packed.owner,
        bought=bought_of(packed),
        cart=cart_of(packed),
    )


def decode_user(data: bytes) -> UserValue:
    """Read a stored user value.

    Raises:
        ContractError: the bytes are not such a value.
    """
    try:
        return value_of(data[:REV_BYTES].decode(), unpack(data))
    except (msgspec.MsgspecError, ValueError, LookupError, struct.error) as exc:
        raise _unreadable(data, exc) from exc


def _unreadable(data: bytes, exc: Exception) -> ContractError:
    return ContractError(f"a stored user value cannot be read: {exc!r}; got {data[:80]!r}; expected a UserValue")


def decode_list(data: bytes) -> RecommendationList:
    """Read a stored list.

    Raises:
        ContractError: the bytes are not such a list.
    """
    try:
        return _list.decode(data)
    except msgspec.MsgspecError as exc:
        message = f"a stored list cannot be read: {exc}; got {data[:80]!r}; expected a RecommendationList"
        raise ContractError(message) from exc


def merge_actions(known: Iterable[Action], new: Iterable[Action], keep: int) -> list[Action]:
    """The newest ``keep`` distinct actions of both, oldest first; a set union by ``event_id``.

    Order of arrival, duplicates and replays do not matter:

    >>> a, b, c = Action(1, "a", "view", "A"), Action(2, "b", "view", "B"), Action(2, "c", "view", "C")
    >>> merge_actions([c, a], [b, a], keep=2) == merge_actions([b], [c, b, a], keep=2) == [b, c]
    True
    """
    merged = {action.event_id: action for action in known}
    for action in new:
        merged.setdefault(action.event_id, action)
    return sorted(merged.values())[-keep:]


def prune_buckets(buckets: dict[str, list[float]], now_ms: int, horizon_ms: int) -> dict[str, list[float]]:
    """The buckets that no window can reach any more are left out.

    >>> prune_buckets({"0": [1.0], "600": [2.0]}, now_ms=700_000, horizon_ms=300_000)
    {'600': [2.0]}
    """
    oldest = (now_ms - horizon_ms) // 1000 - 300
    return {start: values for start, values in buckets.items() if int(start) > oldest}


def covers(based_on: BasedOn | None, occurred_ms: int, event_id: str) -> bool:
    """Whether a list reflects an event, in the order of (occurred_at, event_id).

    >>> covers(BasedOn(5, "b"), 5, "a"), covers(BasedOn(5, "b"), 5, "c"), covers(None, 5, "a")
    (True, False, False)
    """
    return based_on is not None and based_on >= BasedOn(occurred_ms, event_id)
