"""What Redis holds of a shop, read as the product reads it: by the contract's own functions, for one frozen instant."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeVar
from zlib import crc32

from contracts.features import USER_FEATURES
from contracts.held import MOST_BOUGHT, MOST_CART, CartMark, in_cart, merge_bought, merge_cart
from contracts.items import Item, price_positions
from contracts.keys import alias_key, item_key, trending_key, user_key
from contracts.lists import Action, UserValue, decode_user
from contracts.live import add_buckets, item_buckets, item_features, user_buckets, user_features
from stores.cluster import Cluster

__all__ = ["Names", "Reading", "chunk_of", "scan"]

_TOGETHER: Final = 1000
_NOBODY: Final = UserValue(rev="")

T = TypeVar("T")


@dataclass(slots=True)
class Names:
    """Whose live values there are: subjects, item ids, the trending keys, and who visitors turned out to be."""

    subjects: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    trending: list[str] = field(default_factory=list)
    visitors: list[str] = field(default_factory=list)


def scan(cluster: Cluster, shop: str) -> Names:
    """All names of a shop's live keys; it walks the whole key space.

    Raises:
        StoreError: Redis did not answer.
    """
    names = Names()
    prefixes = {
        user_key(shop, ""): names.subjects,
        item_key(shop, ""): names.items,
        trending_key(shop, 0).removesuffix("0"): names.trending,
        alias_key(shop, ""): names.visitors,
    }
    for prefix, found in prefixes.items():
        found += sorted(key.decode().removeprefix(prefix) for key in cluster.scan(f"{prefix}*"))
    return names


def chunk_of(entity: str, chunks: int) -> int:
    """Which part of a comparison an entity belongs to; the SQL is ``crc32(entity) % chunks``."""
    return crc32(entity.encode()) % chunks


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads live values for the instant ``at_ms``.

    ``floor_ms`` and ``actions_ms`` leave out what the other side leaves out, ``until_ms`` what is newer than the
    instant; ``keep`` is how many recent actions are compared.
    """

    cluster: Cluster
    shop: str
    at_ms: int
    floor_ms: int
    until_ms: int
    actions_ms: int
    keep: int
    catalogue: Mapping[str, Item]

    def people(self, subjects: Sequence[str]) -> Iterator[tuple[str, dict[str, Any], int]]:
        """``(person, features, how many of their stored actions are newer than the instant)``.

        An anonymous visitor who turned out to be somebody is read with that person, and not alone.
        """
        positions = price_positions(list(self.catalogue.values()))
        for part in _parts(subjects):
            values = self._values(part)
            wanted = {f"a.{alias}" for value in values.values() for alias in value.aliases}
            others = values | self._values([subject for subject in wanted if subject not in values])
            for subject in part:
                value = values.get(subject, _NOBODY)
                if value.owner is not None:
                    continue
                mine = [value] + [
                    other
                    for alias in value.aliases
                    if (other := others.get(f"a.{alias}")) and other.owner and other.owner.subject == subject
                ]
                yield subject, *self._person(mine, positions)

    def _person(self, values: Sequence[UserValue], positions: Mapping[str, float]) -> tuple[dict[str, Any], int]:
        buckets = add_buckets(
            USER_FEATURES,
            [{s: v for s, v in user_buckets(value.buckets).items() if s >= self.floor_ms} for value in values],
        )
        every = {action.event_id: action for value in values for action in value.actions}
        newest = sorted(every.values())[-self.keep :]
        known = [action for action in newest if action.occurred_ms < self.until_ms]
        features = user_features(buckets, known, self.catalogue, positions, self.at_ms)
        recent: list[Action] = features["recent_actions"]
        features["recent_actions"] = [
            (a.occurred_ms, a.event_id, a.event_type, a.item_id) for a in recent if a.occurred_ms >= self.actions_ms
        ]
        features |= self._held(values)
        return features, len(newest) - len(known)

    def _held(self, values: Sequence[UserValue]) -> dict[str, Any]:
        """Purchases and cart; nothing where newer ones have taken their place since the instant, or could have."""
        bought: dict[str, int] = {}
        cart: list[CartMark] = []
        for value in values:
            bought, cart = merge_bought(bought, value.bought, -1), merge_cart(cart, value.cart, -1)
        newest = max([*bought.values(), *(mark.occurred_ms for mark in cart)], default=0)
        if newest >= self.until_ms or len(bought) >= MOST_BOUGHT or len(cart) >= MOST_CART:
            return {}
        bought = {item: at for item, at in bought.items() if at > self.actions_ms}
        inside = in_cart(bought, [mark for mark in cart if mark.occurred_ms > self.actions_ms])
        return {"bought": sorted(bought.items()), "cart": sorted(inside)}

    def _values(self, subjects: Sequence[str]) -> dict[str, UserValue]:
        stored = self.cluster.get_many([user_key(self.shop, subject) for subject in subjects]) if subjects else []
        return {subject: decode_user(data) for subject, data in zip(subjects, stored, strict=True) if data}

    def items(self, items: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """``(item id, features)``."""
        for part in _parts(items):
            answers = self.cluster.execute([("HGETALL", item_key(self.shop, item)) for item in part])
            for item, answer in zip(part, answers, strict=True):
                buckets = item_buckets(_fields(answer))
                yield item, item_features({s: v for s, v in buckets.items() if s >= self.floor_ms}, self.at_ms)

    def trending(self, names: Sequence[str], buckets: int = 12) -> dict[tuple[str, str], float]:
        """``(category or '', item id)`` → weight over the newest ``buckets`` that begin before ``until_ms``."""
        oldest_ms = max(self.until_ms - buckets * 300_000, self.floor_ms)
        found: dict[tuple[str, str], float] = {}
        split = [(name.partition(":")[0], name.partition(":")[2]) for name in names]
        wanted = [(int(s), category) for s, category in split if oldest_ms <= int(s) * 1000 < self.until_ms]
        for part in _parts(wanted):
            keys = [trending_key(self.shop, start, category) for start, category in part]
            answers = self.cluster.execute([("ZRANGE", key, 0, -1, "WITHSCORES") for key in keys])
            for (_, category), answer in zip(part, answers, strict=True):
                for item, weight in _pairs(answer):
                    found[category, item] = found.get((category, item), 0.0) + weight
        return found

    def owners(self, visitors: Sequence[str]) -> dict[str, str]:
        """Who visitors turned out to be, by anonymous id."""
        found: dict[str, str] = {}
        for part in _parts(visitors):
            stored = self.cluster.get_many([alias_key(self.shop, visitor) for visitor in part])
            found |= {visitor: data.decode() for visitor, data in zip(part, stored, strict=True) if data}
        return found


def _parts(names: Sequence[T]) -> Iterator[list[T]]:
    source = iter(names)
    while part := list(islice(source, _TOGETHER)):
        yield part


def _fields(answer: Any) -> Mapping[bytes, bytes]:
    if isinstance(answer, dict):
        return answer
    flat = iter(answer or ())
    return dict(zip(flat, flat, strict=True))


def _pairs(answer: Sequence[Any]) -> list[tuple[str, float]]:
    """Members and scores, from either protocol's form: flat, or one pair each."""
    if answer and not isinstance(answer[0], list | tuple):
        answer = list(zip(answer[::2], answer[1::2], strict=True))
    return [(member.decode(), float(score)) for member, score in answer]
