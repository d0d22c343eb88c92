"""What a replay sends, without sending: the order of events, injected duplicates and malformed records."""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, Protocol

import msgspec
import pandas as pd

from contracts.events import FUTURE_MS, MAX_BYTES, Event, encode
from contracts.ids import subject_of
from local.journey import CURRENCY

__all__ = ["MALFORMED", "Line", "Sendable", "Step", "lines_of", "malformed_record", "markers_in", "plan"]

DUPLICATE_WITHIN: Final = 500
"""A duplicate follows its original after at most so many events, as a client's retry would."""


class Sendable(Protocol):
    """Something that happened and waits to be sent again: a line of the default data, or an event of an own log.

    ``name`` tells it from the others within the data, ``session`` is its session there, if it has one.
    """

    @property
    def name(self) -> str: ...

    @property
    def session(self) -> str | None: ...

    @property
    def subject(self) -> str: ...

    @property
    def occurred_ms(self) -> int: ...

    def event(self, event_id: str, session_id: str | None, occurred_at: datetime) -> Event:
        """It as an event of that id, session and time, as the collector takes it."""
        ...


class Line(NamedTuple):
    """One held-out basket line; ``occurred_ms`` is the shifted original time."""

    basket: int
    place: int
    household: int
    product: int
    quantity: int
    price: float
    occurred_ms: int

    @property
    def name(self) -> str:
        return f"{self.basket}-{self.place}"

    @property
    def session(self) -> str | None:
        return str(self.basket)

    @property
    def subject(self) -> str:
        return subject_of(str(self.household), None)

    def event(self, event_id: str, session_id: str | None, occurred_at: datetime) -> Event:
        """The line as a purchase."""
        return Event(
            event_id=event_id,
            event_type="purchase",
            user_id=str(self.household),
            session_id=session_id,
            item_id=str(self.product),
            occurred_at=occurred_at,
            quantity=self.quantity,
            price=self.price,
            currency=CURRENCY,
        )


def lines_of(frame: pd.DataFrame, shift_ms: int) -> list[Line]:
    """The lines of a journey with their times moved by ``shift_ms``."""
    columns = [frame[name].tolist() for name in Line._fields[:-1]]
    return [Line(*row) for row in zip(*columns, (frame["occurred_ms"] + shift_ms).tolist(), strict=True)]


class Step(NamedTuple):
    """One thing to send: a new event (``line``), an event again (``number`` of the original), or a malformed record."""

    kind: Literal["event", "duplicate", "malformed"]
    number: int
    line: Sendable | None = None


def plan(lines: Iterable[Sendable], *, seed: int, duplicates: float, malformed: float) -> Iterator[Step]:
    """Each line once and in order; after a seeded share of them a duplicate, beside a seeded share a malformed record.

    Args:
        duplicates: share of the events that are sent a second time, 0 to 1.
        malformed: malformed records for each event, 0 to 1.
    """
    draw = random.Random(seed)
    waiting: dict[int, list[int]] = {}
    broken = number = -1
    for number, line in enumerate(lines):
        yield Step("event", number, line)
        if draw.random() < duplicates:
            waiting.setdefault(number + draw.randrange(DUPLICATE_WITHIN), []).append(number)
        if draw.random() < malformed:
            broken += 1
            yield Step("malformed", broken)
        for original in waiting.pop(number, ()):
            yield Step("duplicate", original)
    for originals in waiting.values():
        for original in originals:
            yield Step("duplicate", original)


def _text(event: Event, **changes: object) -> bytes:
    """The event's JSON with some fields replaced, or left out where the value is ``None``."""
    fields = msgspec.json.decode(encode(event)) | changes
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


MALFORMED: Final[dict[str, Callable[[Event], bytes]]] = {
    "not_json": lambda event: encode(event)[:-7],
    "unknown_type": lambda event: _text(event, event_type="wave"),
    "missing_field": lambda event: _text(event, item_id=None),
    "bad_field": lambda event: _text(event, quantity=-1),
    "bad_id": lambda event: _text(event, item_id="a\u0000b"),
    "bad_time": lambda event: _text(event, occurred_at="yesterday"),
    "future": lambda event: _text(event, occurred_at=event.occurred_at + timedelta(milliseconds=2 * FUTURE_MS)),
    "too_large": lambda event: _text(event, padding="x" * MAX_BYTES),
}
"""How to break an event so that it is rejected for each reason of the contract; the event id always stays findable."""

_MARKER: Final = re.compile(rb"mal-[0-9a-z]+-[0-9]+-[a-z_]+-end")


def malformed_record(run: str, number: int, now: datetime) -> tuple[str, bytes]:
    """Marker and bytes of a run's malformed record; kinds follow each other in turn.

    The marker is the event id and ends in ``-end``, so that a record cut short elsewhere is not taken for another.

    >>> from datetime import UTC
    >>> malformed_record("r1", 1, datetime(2026, 1, 1, tzinfo=UTC))[0]
    'mal-r1-1-unknown_type-end'
    """
    kind = list(MALFORMED)[number % len(MALFORMED)]
    marker = f"mal-{run}-{number}-{kind}-end"
    event = Event(
        event_id=marker, event_type="view", anonymous_id=f"mal-{run}", item_id="1", occurred_at=now, received_at=now
    )
    return marker, MALFORMED[kind](event)


def markers_in(data: bytes) -> list[str]:
    """The markers of malformed records in some bytes, in order.

    >>> from datetime import UTC
    >>> markers_in(malformed_record("r1", 7, datetime(2026, 1, 1, tzinfo=UTC))[1])
    ['mal-r1-7-too_large-end']
    """
    return [found.decode() for found in _MARKER.findall(data)]
