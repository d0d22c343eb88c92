"""Live values from the lake into Redis beside a running stream: everything merges, nothing is ever set back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from contracts.errors import ContractError, StoreError
from contracts.features import ITEM_FEATURES, TREND_WEIGHTS, larger
from contracts.held import CartMark, merge_bought, merge_cart
from contracts.keys import alias_key, item_key, trending_key, user_key
from contracts.lists import (
    MOST_ALIASES,
    REV_BYTES,
    Action,
    Owner,
    UserValue,
    decode_user,
    encode_value,
    merge_actions,
    next_rev,
    prune_buckets,
)
from contracts.settings import Settings
from stores.cluster import Cluster, Command
from stores.pace import Pace
from stores.retry import delays
from stores.scripts import compare_and_set, grow_buckets

__all__ = ["HORIZON_MS", "TRENDING_TTL_S", "ItemRow", "LiveWriter", "PersonRow", "merged"]

HORIZON_MS: Final = 24 * 3600 * 1000
HELD_S: Final = 30 * 24 * 3600
TRENDING_TTL_S: Final = 2 * 3600
_TOGETHER: Final = 250
_ROUNDS: Final = 8
_WEIGHTS: Final = [TREND_WEIGHTS.get(feature.name, 0.0) for feature in ITEM_FEATURES]

Buckets = Mapping[int, Sequence[float]]
"""Bucket start in epoch seconds → values in the order of the features."""


class PersonRow(NamedTuple):
    """What the lake says of a person."""

    subject: str
    actions: Sequence[Action] = ()
    buckets: Buckets = MappingProxyType({})
    aliases: Mapping[str, int] = MappingProxyType({})
    owner: Owner | None = None
    bought: Mapping[str, int] = MappingProxyType({})
    cart: Sequence[CartMark] = ()


class ItemRow(NamedTuple):
    """What the lake says of an item, and the category under which it trends ('': none)."""

    item_id: str
    buckets: Buckets
    category: str


def merged(value: UserValue | None, row: PersonRow, keep: int, now_us: int, held_s: int = HELD_S) -> UserValue:
    """A person's value with the lake's in it: unions of actions and of what they hold, the larger of sums.

    The live list stays as it is. ``held_s`` is for how long purchases and carts are remembered.

    >>> row = PersonRow("u.1", [Action(5, "e", "view", "A")], {600: [1.0]})
    >>> once = merged(None, row, keep=40, now_us=700_000_000)
    >>> (once.actions, once.buckets) == (row.actions, {"600": [1.0]})
    True
    >>> again = merged(once, row, keep=40, now_us=700_000_000)
    >>> again.rev > once.rev, msgspec.structs.replace(again, rev=once.rev) == once
    (True, True)
    """
    known = value or UserValue(rev="")
    buckets = dict(known.buckets)
    for start, values in row.buckets.items():
        buckets[str(start)] = larger(buckets.get(str(start)), values)
    return msgspec.structs.replace(
        known,
        rev=next_rev(known.rev or None, now_us),
        actions=merge_actions(known.actions, row.actions, keep),
        buckets=prune_buckets(buckets, now_us // 1000, HORIZON_MS),
        aliases=_latest(known.aliases, row.aliases),
        owner=max((owner for owner in (known.owner, row.owner) if owner), default=None),
        bought=merge_bought(known.bought, row.bought, now_us // 1000 - 1000 * held_s),
        cart=merge_cart(known.cart, row.cart, now_us // 1000 - 1000 * held_s),
    )


def _latest(known: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The newest aliases of both, each with its latest time, in the order of time."""
    times = {alias: max(known.get(alias, 0), other.get(alias, 0)) for alias in {**known, **other}}
    return dict(sorted(times.items(), key=lambda pair: (pair[1], pair[0]))[-MOST_ALIASES:])


@dataclass(frozen=True, slots=True)
class LiveWriter:
    """Writes live values of one shop; picklable, for tasks. ``writers`` is how many tasks write at a time.

    Each keeps to its share of ``redis.commands.per.s``. A task that runs twice writes the same twice.
    """

    shop: str
    keep: int
    writers: int

    def people(self, settings: Settings, rows: Iterable[PersonRow], now_ns: Callable[[], int]) -> int:
        """Merge people; returns how many values changed.

        Raises:
            StoreError: Redis did not answer, or a value was changed by others in every round.
        """
        ttl = settings.streaming.user_ttl_s
        return self._write(settings, rows, lambda part, to: self._people(part, to, ttl, now_ns))

    def items(self, settings: Settings, rows: Iterable[ItemRow], now_ms: int) -> int:
        """Merge items and what trends by them; returns how many.

        Raises:
            StoreError: Redis did not answer.
        """
        return self._write(settings, rows, lambda part, to: self._items(part, to, settings, now_ms))

    def aliases(self, settings: Settings, pairs: Iterable[tuple[str, str]]) -> int:
        """Write who visitors turned out to be, ``(anonymous id, subject)``, where Redis does not say; returns how many.

        Raises:
            StoreError: Redis did not answer.
        """
        ttl = settings.streaming.user_ttl_s
        return self._write(settings, pairs, lambda part, to: self._aliases(part, to, ttl))

    def _write(self, settings: Settings, rows: Iterable, write: Callable[[list, "_Paced"], int]) -> int:  # type: ignore[type-arg]
        cluster = Cluster.from_settings(settings, timeout_ms=5000, attempts=6)
        try:
            to = _Paced(cluster, Pace(max(1.0, settings.training.redis_commands_per_s / self.writers)))
            source, written = iter(rows), 0
            while part := list(islice(source, _TOGETHER)):
                written += write(part, to)
            return written
        finally:
            cluster.close()

    def _people(self, rows: list[PersonRow], to: "_Paced", ttl: int, now_ns: Callable[[], int]) -> int:
        pending, changed = rows, 0
        for _ in delays(_ROUNDS, base_s=0.01, cap_s=0.5):
            stored = to.execute([("GET", user_key(self.shop, row.subject)) for row in pending])
            now_us, commands, sent = now_ns() // 1000, list[Command](), list[PersonRow]()
            for row, data in zip(pending, stored, strict=True):
                known = _readable(data)
                value = merged(known, row, self.keep, now_us, ttl)
                if known is None or msgspec.structs.replace(value, rev=known.rev) != known:
                    head = (data or b"")[:REV_BYTES]
                    commands.append(compare_and_set(user_key(self.shop, row.subject), head, encode_value(value), ttl))
                    sent.append(row)
            won = to.execute(commands)
            changed += sum(map(bool, won))
            pending = [row for row, one in zip(sent, won, strict=True) if not one]
            if not pending:
                return changed
        message = f"{len(pending)} people were changed by others in each of {_ROUNDS} rounds; run the rebuild again"
        raise StoreError(message)

    def _items(self, rows: list[ItemRow], to: "_Paced", settings: Settings, now_ms: int) -> int:
        ttl, oldest_s = settings.streaming.item_ttl_s, (now_ms - HORIZON_MS) // 1000 - 300
        commands: list[Command] = [grow_buckets(item_key(self.shop, r.item_id), r.buckets, ttl, oldest_s) for r in rows]
        trends: dict[str, dict[str, float]] = {}
        for row in rows:
            for start, values in row.buckets.items():
                score = sum(weight * value for weight, value in zip(_WEIGHTS, values, strict=True))
                if score > 0 and start * 1000 > now_ms - TRENDING_TTL_S * 1000:
                    for key in {trending_key(self.shop, start), trending_key(self.shop, start, row.category)}:
                        trends.setdefault(key, {})[row.item_id] = score
        for key, scores in trends.items():
            commands.append(("ZADD", key, "GT", *(part for item, score in scores.items() for part in (score, item))))
            commands.append(("EXPIRE", key, TRENDING_TTL_S))
        to.execute(commands)
        return len(rows)

    def _aliases(self, pairs: list[tuple[str, str]], to: "_Paced", ttl: int) -> int:
        written = to.execute([("SET", alias_key(self.shop, a), s.encode(), "EX", ttl, "NX") for a, s in pairs])
        return sum(map(bool, written))


class _Paced:
    """A cluster whose commands are counted against a rate."""

    def __init__(self, cluster: Cluster, pace: Pace) -> None:
        self._cluster, self._pace = cluster, pace

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            return []
        self._pace.take(len(commands))
        return self._cluster.execute(commands)


def _readable(data: Any) -> UserValue | None:
    """The stored value; none where there is none or it cannot be read: the stream would replace it too."""
    try:
        return decode_user(data) if data else None
    except ContractError:
        return None
