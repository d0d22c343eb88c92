"""The events of one survival scenario: of every kind of action, out of order, some late, some twice, some broken.

Seeded, and free of any clock: the caller says what time it is when a part is sent. Prices are quarters, so that sums
are exact in whatever order they are made.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from contracts.events import Event, EventType, encode, partition_key
from local.replay_plan import malformed_record

__all__ = ["ITEMS", "Mix", "Record", "Traffic"]

ITEMS: Final = tuple(f"I{n}" for n in range(24))
_USERS: Final = 40
_VISITORS: Final = 10
_KINDS: Final[dict[EventType, int]] = {
    "view": 50,
    "click": 15,
    "add_to_cart": 12,
    "remove_from_cart": 4,
    "purchase": 12,
    "impression": 7,
}
_LATE_SHARE: Final = 0.01
_EARLY_SHARE: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How many distinct valid events, and the shares of them that come twice and that have a broken record beside."""

    events: int = 2000
    duplicates: float = 0.02
    poison: float = 0.01


class Record(NamedTuple):
    """One record to put: ``name`` is the event's id, or the marker of a broken record."""

    kind: Literal["event", "duplicate", "malformed"]
    name: str
    data: bytes
    key: str


class Traffic:
    """Makes the records of a run in parts.

    A duplicate is the same bytes under another partition key, so it mostly comes by another shard, and may come first.

    >>> from datetime import UTC
    >>> t = Traffic("r1", "shop", Mix(events=50, duplicates=1.0, poison=0.0), seed=1)
    >>> len(t.take(50, datetime(2026, 1, 1, tzinfo=UTC))), len(t.events), t.left
    (100, 50, 0)
    """

    def __init__(self, run: str, shop: str, mix: Mix, *, seed: int) -> None:
        self.run = run
        self.shop = shop
        self.mix = mix
        self.events: list[Event] = []
        self.probed: list[Event] = []
        self._broken = 0
        self._draw = random.Random(seed)

    @property
    def all_events(self) -> list[Event]:
        """Every valid event of the run, probes included."""
        return [*self.events, *self.probed]

    @property
    def left(self) -> int:
        """How many events have not been made yet."""
        return self.mix.events - len(self.events)

    def take(self, count: int, now: datetime) -> list[Record]:
        """The records of the next ``count`` events (fewer at the end), shuffled."""
        records = []
        for _ in range(min(count, self.left)):
            event = self._event(now)
            self.events.append(event)
            data = encode(event)
            records.append(Record("event", event.event_id, data, partition_key(event)))
            if self._draw.random() < self.mix.duplicates:
                records.append(Record("duplicate", event.event_id, data, f"again#{self._draw.random()}"))
            if self._draw.random() < self.mix.poison:
                marker, data = malformed_record(self.run, self._broken, now)
                self._broken += 1
                records.append(Record("malformed", marker, data, marker))
        self._draw.shuffle(records)
        return records

    def probes(self, count: int, now: datetime) -> list[Event]:
        """A view by each of so many new users; part of the run like all others."""
        return [self._view(now, user_id=f"{self.run}-{len(self.probed)}") for _ in range(count)]

    def once_more(self, now: datetime) -> list[Event]:
        """A view by everybody who did something."""
        people = {event.subject: (event.user_id, event.anonymous_id) for event in self.all_events}
        return [self._view(now, user_id=user, anonymous_id=visitor) for user, visitor in people.values()]

    def _view(self, now: datetime, **who: Any) -> Event:
        name = f"{self.run}-probe{len(self.probed)}"
        event = Event(
            shop_id=self.shop,
            event_id=name,
            event_type="view",
            item_id=ITEMS[0],
            occurred_at=now,
            received_at=now,
            **who,
        )
        self.probed.append(event)
        return event

    def _event(self, now: datetime) -> Event:
        draw = self._draw
        (kind,) = draw.choices(list(_KINDS), list(_KINDS.values()))
        number = draw.randrange(_USERS + _VISITORS)
        who: dict[str, Any] = {"user_id": f"u{number}"} if number < _USERS else {"anonymous_id": f"b{number}"}
        more: dict[str, Any] = {}
        if kind == "purchase":
            more = {"price": draw.randrange(1, 80) / 4, "quantity": draw.randrange(1, 4), "currency": "EUR"}
        elif kind in ("impression", "click"):
            more = {"request_id": f"q{draw.randrange(1000)}", "position": draw.randrange(20)}
        return Event(
            shop_id=self.shop,
            event_id=f"{self.run}-{len(self.events)}",
            event_type=kind,
            item_id=draw.choice(ITEMS),
            occurred_at=now - timedelta(milliseconds=self._age_ms()),
            received_at=now,
            **who,
            **more,
        )

    def _age_ms(self) -> int:
        """Mostly up to eight minutes; now and then late (over ten), or by a clock that runs ahead."""
        chance = self._draw.random()
        if chance < _LATE_SHARE:
            return self._draw.randrange(660_000, 1_800_000)
        if chance < _LATE_SHARE + _EARLY_SHARE:
            return -self._draw.randrange(1, 240_000)
        return int(self._draw.random() ** 2 * 480_000)
