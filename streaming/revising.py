"""A batch's news merged into a stored value, by unions and maxima: order, repetition and division do not matter."""

import struct
from collections.abc import Mapping
from typing import Final

from contracts.features import USER_FEATURES
from contracts.held import merge_bought, merge_cart
from contracts.lists import MOST_ALIASES, bought_of, cart_of, hold
from contracts.packed import Packed, bucket_row, join_ids, pack_buckets, split_ids, unpack_buckets
from streaming.batching import Action, Buckets, Person, latest

__all__ = ["HELD_MS", "HORIZON_MS", "actions_of", "revise"]

HORIZON_MS: Final = 24 * 60 * 60 * 1000
"""Buckets that no window can reach any more are dropped."""

HELD_MS: Final = 30 * HORIZON_MS
"""For how long purchases and carts are remembered, where nothing else is said."""

_WIDTH: Final = len(USER_FEATURES)
_ROW: Final = bucket_row(_WIDTH)
_BUCKET_S: Final = 300
_FEW: Final = 4


def revise(packed: Packed, person: Person, keep: int, now_ms: int, held_ms: int = HELD_MS) -> None:
    """Merge ``person`` into ``packed``, in place.

    ``keep`` is how many actions are kept, 2·L; ``held_ms`` for how long a purchase and a cart are remembered.
    """
    if person.actions:
        _add_actions(packed, person.actions, keep)
    _add_buckets(packed, person.buckets, (now_ms - HORIZON_MS) // 1000 - _BUCKET_S)
    if person.aliases:
        packed.aliases = _aliases(packed.aliases, person.aliases)
    packed.owner = latest(packed.owner, person.owner)
    if person.bought:
        hold(packed, merge_bought(bought_of(packed), person.bought, now_ms - held_ms), None)
    if person.cart:
        hold(packed, None, merge_cart(cart_of(packed), person.cart, now_ms - held_ms))


def actions_of(packed: Packed) -> list[Action]:
    """The actions of a value, oldest first."""
    times = struct.unpack(f"<{len(packed.times) // 8}q", packed.times)
    return list(zip(times, split_ids(packed.ids), packed.letters, split_ids(packed.items), strict=True))


def _add_actions(packed: Packed, news: list[Action], keep: int) -> None:
    """The newest ``keep`` distinct actions of both; the set union is by event id.

    Nearly always a few actions are newer than all that are known: then the blocks are cut and joined as they are.
    Where that ends half-way, the union takes in the same actions again.
    """
    if len(news) <= _FEW and all(_append(packed, action, keep) for action in sorted(news)):
        return
    merged = {action[1]: action for action in actions_of(packed)}
    for action in news:
        merged.setdefault(action[1], action)
    kept = sorted(merged.values())[-keep:]
    if packed.indexed:
        packed.indexed.rows = b""  # places of other actions, or in another order
    packed.times = struct.pack(f"<{len(kept)}q", *[action[0] for action in kept])
    packed.ids = join_ids([action[1] for action in kept])
    packed.letters = "".join([action[2] for action in kept])
    packed.items = join_ids([action[3] for action in kept])


def _append(packed: Packed, action: Action, keep: int) -> bool:
    """Put an action behind all others, if it is newer and keeps within ``keep``; whether it was done."""
    at, event_id, letter, item_id = action
    known = len(packed.letters)
    if not known:
        packed.ids, packed.items = event_id, item_id
    elif int.from_bytes(packed.times[-8:], "little", signed=True) >= at or known > keep or event_id in packed.ids:
        return False
    elif known < keep:
        packed.ids, packed.items = f"{packed.ids}\n{event_id}", f"{packed.items}\n{item_id}"
    else:
        packed.ids = f"{packed.ids.partition(chr(10))[2]}\n{event_id}"
        packed.items = f"{packed.items.partition(chr(10))[2]}\n{item_id}"
        packed.times, packed.letters = packed.times[8:], packed.letters[1:]
        if packed.indexed:
            packed.indexed.rows = packed.indexed.rows[4:]
    packed.times += at.to_bytes(8, "little", signed=True)
    packed.letters += letter
    return True


def _add_buckets(packed: Packed, news: Buckets, oldest_s: int) -> None:
    """Keep the larger of stored and new values, and drop the buckets that start at ``oldest_s`` or before."""
    if packed.width != _WIDTH:  # written before a feature was added, or taken away
        packed.buckets = pack_buckets(unpack_buckets(packed), _WIDTH)
        packed.width = _WIDTH
    block = packed.buckets
    while block and int.from_bytes(block[:4], "little") <= oldest_s:
        block = block[_ROW.size :]
    for start, values in news.items():
        if start > oldest_s:
            block = _with_bucket(block, start, values)
    packed.buckets = block


def _with_bucket(block: bytes, start: int, values: tuple[float, ...]) -> bytes:
    """The block with a bucket in its place; most news are of the last bucket or of one behind it."""
    last = block[-_ROW.size :]
    end = int.from_bytes(last[:4], "little") if last else -1
    if start > end:
        return block + _ROW.pack(start, *values)
    if start == end:
        return block[: -_ROW.size] + _ROW.pack(start, *map(max, _ROW.unpack(last)[1:], values))
    known = {row[0]: row[1:] for row in _ROW.iter_unpack(block)}
    known[start] = tuple(map(max, known.get(start, values), values))
    return pack_buckets(known, _WIDTH)


def _aliases(known: Mapping[str, int], news: Mapping[str, int]) -> dict[str, int]:
    """The latest time of each alias; the newest :data:`MOST_ALIASES` of them."""
    merged = {alias: max(known.get(alias, 0), news.get(alias, 0)) for alias in {**known, **news}}
    newest = sorted(((at, alias) for alias, at in merged.items()), reverse=True)[:MOST_ALIASES]
    return {alias: at for at, alias in sorted(newest)}
