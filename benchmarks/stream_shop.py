"""A busy hour of a shop that never was: raw records of all types by Zipf, and a model and lists that fit them."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from contracts.items import Item

__all__ = ["Sent", "StreamShop", "live_events", "write_files"]

Records = list[tuple[int, bytes]]
"""The number of a person and the record."""

_CHUNK: Final = 50_000
_TYPES: Final = {
    "view": 0.60,
    "impression": 0.15,
    "click": 0.09,
    "add_to_cart": 0.08,
    "purchase": 0.04,
    "remove_from_cart": 0.03,
    "identify": 0.01,
}
_ACTIONS: Final = ("view", "click", "add_to_cart", "purchase")
_LATE_MS: Final = 15 * 60 * 1000


@dataclass(slots=True)
class Sent:
    """What a generator wrote; ``actions`` are the valid events that a list may be made for, late ones left out."""

    lines: int = 0
    distinct: int = 0
    actions: int = 0
    late: int = 0
    duplicates: int = 0
    malformed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamShop:
    """Equal shops make equal records but for their times.

    Shares of items fall as rank^-item_exponent, of people as rank^-person_exponent; every fourth person is an anonymous
    visitor. Items of a group (``item mod groups``) go together in the model; a category is five groups.
    ``duplicates``, ``late`` and ``malformed`` are shares of all records.
    """

    events: int = 3_000_000
    people: int = 200_000
    items: int = 50_000
    groups: int = 1000
    seed: int = 1
    item_exponent: float = 1.0
    person_exponent: float = 0.5
    duplicates: float = 0.01
    late: float = 0.002
    malformed: float = 0.001

    def item(self, number: int) -> str:
        """The id of an item."""
        return f"sku-{number:07}"

    def subject(self, number: int) -> str:
        """The key part of a person, as :func:`contracts.ids.subject_of` makes it."""
        return f"a.visitor-{number:07}" if number % 4 == 3 else f"u.user-{number:07}"

    def category(self, number: int) -> str:
        """The category of an item.

        >>> StreamShop().category(3) == StreamShop().category(1203) == "cat-003"
        True
        """
        return f"cat-{number % self.groups % (self.groups // 5):03}"

    def catalogue(self) -> Iterator[Item]:
        """Every item, with category and price."""
        for number in range(self.items):
            yield Item(
                item_id=self.item(number), title=f"Item {number}", category=self.category(number), price=_price(number)
            )

    def records(self, end_ms: int, span_ms: int = 3_600_000, run: str = "b") -> Iterator[tuple[Records, Sent]]:
        """Chunks of ``(person, record)`` in the order of arrival, over ``span_ms`` that ends at ``end_ms``.

        Args:
            run: begins every event id, so that two runs differ.
        """
        rng = np.random.default_rng(self.seed)
        people, items = _zipf(self.people, self.person_exponent), _zipf(self.items, self.item_exponent)
        users = [_person(self, number) for number in range(self.people)]
        skus = [self.item(number) for number in range(self.items)]
        for first in range(0, self.events, _CHUNK):
            count = min(_CHUNK, self.events - first)
            arrival = end_ms - span_ms + (span_ms * np.arange(first, first + count)) // self.events
            chosen = _Chunk(
                first=first,
                run=run,
                person=np.searchsorted(people, rng.random(count)),
                item=np.searchsorted(items, rng.random(count)),
                kind=rng.choice(len(_TYPES), count, p=list(_TYPES.values())),
                fate=rng.random(count),
                received=arrival,
                occurred=arrival - rng.integers(20, 500, count),
            )
            yield self._lines(chosen, users, skus)

    def _lines(self, chunk: "_Chunk", users: list[str], skus: list[str]) -> tuple[Records, Sent]:
        names = list(_TYPES)
        sent, out = Sent(), Records()
        late = chunk.fate < self.late
        occurred = _times(np.where(late, chunk.occurred - _LATE_MS, chunk.occurred))
        received = _times(chunk.received)
        repeated = (chunk.fate >= 0.5) & (chunk.fate < 0.5 + self.duplicates)
        broken = chunk.fate >= 1 - self.malformed
        person, item, kind = chunk.person.tolist(), chunk.item.tolist(), chunk.kind.tolist()
        for at, (who, what) in enumerate(zip(person, item, strict=True)):
            sent.lines += 1
            if broken[at]:
                sent.malformed += 1
                out.append((who, b'{"event_id":"%s-broken-%d","event_type":"view"' % (chunk.run.encode(), at)))
                continue
            if repeated[at] and out:
                sent.duplicates += 1
                out.append(out[max(0, len(out) - 1 - at % 1000)])
                continue
            name = names[kind[at]]
            sent.distinct += 1
            sent.late += bool(late[at])
            sent.actions += name in _ACTIONS and not late[at]
            line = (
                f'{{"event_id":"{chunk.run}-{chunk.first + at:020}","event_type":"{name}"'
                f",{users[who] if name != 'identify' else _login(who)}"
                f',"item_id":"{skus[what]}",{_details(name, who, what)}'
                f'"occurred_at":"{occurred[at]}Z","received_at":"{received[at]}Z","schema_version":1}}'
            )
            out.append((who, line.encode()))
        # A repeated record may be a broken one, which is then rejected twice.
        return out, sent

    def matrix(self, neighbours: int = 50) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """B as CSR: seven tenths of an item's neighbours are of its group, the others anywhere by Zipf; weights fall.

        >>> indptr, indices, data = StreamShop(items=2000, groups=20).matrix()
        >>> len(indptr), 45 < len(indices) / 2000 <= 50, float(data.min()) > 0
        (2001, True, True)
        """
        rng = np.random.default_rng((self.seed, 1))
        whole, size = _zipf(self.items, self.item_exponent), self.items // self.groups
        inside = min(round(0.7 * neighbours), size - 1)
        outside = (np.arange(neighbours - inside) + rng.random((self.items, neighbours - inside))) / (
            neighbours - inside
        )
        anywhere = np.minimum(np.searchsorted(whole, outside), self.items - 1)
        rows = []
        for item in range(self.items):
            group = item % self.groups + self.groups * rng.permutation(size)[: inside + 1]
            found = np.unique(np.concatenate([group[group != item][:inside], anywhere[item]]))
            rows.append(found[found != item])
        indices = np.concatenate(rows)
        indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows])))
        same = indices % self.groups == np.repeat(np.arange(self.items) % self.groups, np.diff(indptr))
        data = rng.gamma(2.0, 0.05, len(indices)) * np.where(same, 1.0, 0.3) + 1e-4
        return indptr.astype(np.int64), indices.astype(np.int32), data.astype(np.float32)

    def popularity(self) -> npt.NDArray[np.float64]:
        """Expected actions of each item."""
        shares: npt.NDArray[np.float64] = np.diff(_zipf(self.items, self.item_exponent), prepend=0.0)
        return self.events * shares


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Drawn columns of some records; times are epoch milliseconds."""

    first: int
    run: str
    person: npt.NDArray[Any]
    item: npt.NDArray[Any]
    kind: npt.NDArray[Any]
    fate: npt.NDArray[np.float64]
    received: npt.NDArray[Any]
    occurred: npt.NDArray[Any]


def write_files(shop: StreamShop, folder: Path, shards: int, end_ms: int, *, run: str = "b") -> Sent:
    """One file a shard, its records in the order of arrival; a person's records share a shard. Returns the totals."""
    folder.mkdir(parents=True, exist_ok=True)
    shard_of = [zlib.crc32(shop.subject(number).encode()) % shards for number in range(shop.people)]
    total = Sent()
    files = [(folder / f"shard-{shard}.jsonl").open("wb") for shard in range(shards)]
    try:
        for records, sent in shop.records(end_ms, run=run):
            for shard, file in enumerate(files):
                mine = records if shards == 1 else [pair for pair in records if shard_of[pair[0]] == shard]
                file.write(b"".join(line + b"\n" for _, line in mine))
            for name in Sent.__slots__:
                setattr(total, name, getattr(total, name) + getattr(sent, name))
    finally:
        for file in files:
            file.close()
    return total


def live_events(shop: StreamShop, run: str) -> Iterator[Callable[[datetime], bytes]]:
    """Events without end, for the collector; each is a function of the instant at which it occurs.

    >>> from datetime import UTC
    >>> from contracts.events import parse
    >>> make = next(live_events(StreamShop(people=10, items=10), "r"))
    >>> parse(make(datetime(2026, 1, 1, tzinfo=UTC)), require_received=False).event_id
    'r-00000000000000000000'
    """
    rng = np.random.default_rng((shop.seed, zlib.crc32(run.encode())))
    people, items = _zipf(shop.people, shop.person_exponent), _zipf(shop.items, shop.item_exponent)
    names, number = list(_TYPES), 0
    while True:
        person = np.searchsorted(people, rng.random(1000)).tolist()
        item = np.searchsorted(items, rng.random(1000)).tolist()
        kind = rng.choice(len(names), 1000, p=list(_TYPES.values())).tolist()
        for who, what, which in zip(person, item, kind, strict=True):
            head = f'{{"event_id":"{run}-{number:020}",'
            yield partial(_stamped, head, names[which], _person(shop, who), who, what, shop.item(what))
            number += 1


def _stamped(head: str, name: str, person: str, who: int, what: int, item: str, now: datetime) -> bytes:
    who_is = _login(who) if name == "identify" else person
    rest = f'"item_id":"{item}",{_details(name, who, what)}"occurred_at":"{now.isoformat()}"}}'
    return f'{head}"event_type":"{name}",{who_is},{rest}'.encode()


def _person(shop: StreamShop, number: int) -> str:
    subject = shop.subject(number)
    field = "user_id" if subject[0] == "u" else "anonymous_id"
    return f'"{field}":"{subject[2:]}","session_id":"s-{number % 9973:06}"'


def _details(name: str, who: int, what: int) -> str:
    if name in ("add_to_cart", "purchase", "remove_from_cart"):
        return f'"quantity":{1 + what % 3},"price":{_price(what)},"currency":"EUR",'
    if name in ("impression", "click"):
        return f'"request_id":"r-{who:08}","position":{what % 20},"variant":"live",'
    return ""


def _login(who: int) -> str:
    return f'"user_id":"user-{who:07}","anonymous_id":"before-{who:07}"'


def _price(number: int) -> float:
    return 1.99 + number % 200


def _zipf(count: int, exponent: float) -> npt.NDArray[np.float64]:
    share = np.arange(1, count + 1, dtype=float) ** -exponent
    total: npt.NDArray[np.float64] = np.cumsum(share / share.sum())
    total[-1] = 1.0
    return total


def _times(epoch_ms: npt.NDArray[Any]) -> list[str]:
    found: list[str] = np.datetime_as_string(epoch_ms.astype("datetime64[ms]"), unit="ms").tolist()
    return found
