"""The behaviour event: one JSON object a record, validated by the same code in collector, Flink and Spark."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, get_args

import msgspec

from contracts.errors import InvalidEvent
from contracts.ids import DEFAULT_SHOP, is_id, is_shop, subject_of

__all__ = [
    "ACTION_TYPES",
    "EVENT_TYPES",
    "FUTURE_MS",
    "LATE_MS",
    "MAX_BYTES",
    "REASONS",
    "Event",
    "EventType",
    "encode",
    "is_late",
    "parse",
    "partition_key",
    "stamp",
    "to_ms",
]

EventType = Literal["view", "add_to_cart", "remove_from_cart", "purchase", "impression", "click", "identify"]
EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)
ACTION_TYPES: Final = ("view", "click", "add_to_cart", "purchase")
"""The types that say what a visitor wants; only these enter the recent actions that are scored."""

SCHEMA_VERSION: Final = 1
MAX_BYTES: Final = 32 * 1024
FUTURE_MS: Final = 5 * 60 * 1000
LATE_MS: Final = 10 * 60 * 1000

REASONS: Final = {
    "too_large": f"the record is over {MAX_BYTES} bytes",
    "not_json": "the record is not one JSON object in UTF-8, on one line",
    "missing_field": "a required field is absent",
    "bad_field": "a field has the wrong type or range",
    "unknown_type": f"event_type is none of {', '.join(EVENT_TYPES)}",
    "bad_id": "an id is empty, over 128 characters, or not printable; or a shop_id is not a-z0-9_-",
    "bad_time": "a time is not RFC 3339 with an offset, or before 1970, or after 9999",
    "future": f"occurred_at is more than {FUTURE_MS // 60_000} min after received_at, or that after the arrival",
}

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing a visitor did.

    Times are RFC 3339 with an offset, kept to the millisecond; ``event_id`` is made by the client (a ULID or UUID) and
    is the key of de-duplication; ``received_at`` is stamped by the collector and is required of every record on the
    stream, because *late* and *future* are defined against it. ``price`` is the price of one unit in ``currency``.
    Unknown fields are ignored here and stay in the lake, which holds the record as it was sent.

    >>> e = parse(b'{"event_id":"e1","event_type":"view","user_id":"7","item_id":"A","colour":"red",'
    ...           b'"occurred_at":"2026-01-01T00:00:00Z","received_at":"2026-01-01T00:00:00.250Z"}')
    >>> e.shop_id, e.subject, e.occurred_ms, e.received_ms - e.occurred_ms
    ('default', 'u.7', 1767225600000, 250)
    """

    shop_id: str = DEFAULT_SHOP
    event_id: str
    event_type: EventType
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    item_id: str | None = None
    occurred_at: Time
    received_at: Time | None = None
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1
    price: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)] | None = None
    request_id: str | None = None
    position: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    variant: str | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def subject(self) -> str:
        """The person's key part, see :func:`contracts.ids.subject_of`."""
        return subject_of(self.user_id, self.anonymous_id)

    @property
    def occurred_ms(self) -> int:
        """Event time, milliseconds since the epoch, UTC."""
        return to_ms(self.occurred_at)

    @property
    def received_ms(self) -> int:
        """Collector time, milliseconds since the epoch, UTC; event time where the collector's stamp is absent."""
        return to_ms(self.received_at or self.occurred_at)

    @property
    def amount(self) -> float:
        """Price times quantity, in ``currency``; 0 without a price."""
        return (self.price or 0.0) * self.quantity


def to_ms(time: datetime) -> int:
    """Milliseconds since the epoch, rounded down exactly (no float on the way).

    >>> to_ms(datetime(1970, 1, 1, 0, 0, 1, 999_999, tzinfo=UTC))
    1999
    """
    delta = time - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
"""Engines hold no time after the year 9999: Flink would turn it into NULL, which ends a job that expects a time."""


def is_late(occurred_ms: int, received_ms: int) -> bool:
    """The one lateness rule of stream and batch: received more than 10 minutes after it occurred.

    >>> is_late(0, LATE_MS), is_late(0, LATE_MS + 1)
    (False, True)
    """
    return received_ms - occurred_ms > LATE_MS


def parse(record: bytes, *, require_received: bool = True) -> Event:
    """Decode and validate one record.

    Args:
        record: the bytes of one Kinesis record, or of one event sent to the collector.
        require_received: whether ``received_at`` must be there (records on the stream) or not yet (the collector).

    Raises:
        InvalidEvent: with ``reason`` from :data:`REASONS`.
    """
    if len(record) > MAX_BYTES:
        raise InvalidEvent(reason="too_large", detail=f"{len(record)} bytes; expected at most {MAX_BYTES}")
    try:
        if not record.isascii():
            record.decode()  # the decoder does not look inside fields it ignores
        event = _decode(record)
    except msgspec.ValidationError as exc:
        raise InvalidEvent(reason=_reason_of(str(exc)), detail=str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidEvent(reason="not_json", detail=str(exc)) from exc
    if (b"\n" in record or b"\r" in record) and len(record.strip().splitlines()) > 1:
        detail = "a line break between fields; expected one line, because the lake holds a record a line"
        raise InvalidEvent(reason="not_json", detail=detail)
    _check_ids(event)
    if event.received_at is None:
        if require_received:
            detail = "received_at is absent; producers that bypass the collector must stamp it"
            raise InvalidEvent(reason="missing_field", detail=detail)
    elif event.received_at > _LAST:
        raise InvalidEvent(reason="bad_time", detail=f"received_at is {event.received_at.isoformat()}; after 9999")
    elif event.occurred_at > event.received_at and event.occurred_ms - event.received_ms > FUTURE_MS:
        detail = f"occurred_at {event.occurred_at.isoformat()}, received_at {event.received_at.isoformat()}"
        raise InvalidEvent(reason="future", detail=detail)
    if event.occurred_at < _EPOCH:
        raise InvalidEvent(reason="bad_time", detail=f"occurred_at is {event.occurred_at.isoformat()}; before 1970")
    return event


_decode = msgspec.json.Decoder(Event).decode


def _reason_of(message: str) -> str:
    """The reason code behind a decoder's message."""
    if "missing required field" in message:
        return "missing_field"
    if "$.event_type" in message:
        return "unknown_type"
    if "_at`" in message:
        return "bad_time"
    if message.endswith("got `object`") or "Expected `object`" in message:
        return "not_json" if "$" not in message else "bad_field"
    return "bad_field"


_IDS: Final = ("event_id", "user_id", "anonymous_id", "session_id", "item_id", "request_id", "variant")


def _check_ids(event: Event) -> None:
    if not is_shop(event.shop_id):
        raise InvalidEvent(reason="bad_id", detail=f"shop_id is {event.shop_id[:80]!r}; {REASONS['bad_id']}")
    e = event  # every record of every engine comes by here: plain attributes cost a third of getattr by name
    ids = (e.event_id, e.user_id, e.anonymous_id, e.session_id, e.item_id, e.request_id, e.variant)
    for at, value in enumerate(ids):
        if value is not None and not is_id(value):
            raise InvalidEvent(
                reason="bad_id", detail=f"{_IDS[at]} is {value[:40]!r}; expected 1 to 128 printable characters"
            )
    if event.event_type == "identify":
        if event.user_id is None or event.anonymous_id is None:
            raise InvalidEvent(reason="missing_field", detail="identify needs both user_id and anonymous_id")
    elif event.item_id is None:
        raise InvalidEvent(reason="missing_field", detail=f"item_id is absent; expected on {event.event_type}")
    if event.user_id is None and event.anonymous_id is None:
        raise InvalidEvent(
            reason="missing_field", detail="user_id and anonymous_id are both absent; expected at least one"
        )


def stamp(event: Event, now: datetime) -> Event:
    """The event as the collector received it at ``now`` (UTC).

    Raises:
        InvalidEvent: ``future`` where it claims to have occurred more than 5 minutes after ``now``.
    """
    if event.occurred_ms - to_ms(now) > FUTURE_MS:
        raise InvalidEvent(
            reason="future", detail=f"occurred_at {event.occurred_at.isoformat()}, received at {now.isoformat()}"
        )
    return msgspec.structs.replace(event, received_at=now)


def encode(event: Event) -> bytes:
    """The JSON bytes of ``event``, times as they are held; :func:`parse` of it gives the event back.

    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> e = Event(event_id="e1", event_type="view", user_id="7", item_id="A", occurred_at=at)
    >>> encode(e).decode()
    '{"event_id":"e1","event_type":"view","user_id":"7","item_id":"A","occurred_at":"2026-01-01T00:00:00Z"}'
    """
    return msgspec.json.encode(event)


def partition_key(event: Event) -> str:
    """The Kinesis partition key, ``<shop>#<user>``, so that one person's events share a shard.

    Kinesis allows 256 characters; a shop id has at most 64 and a subject at most 130.
    """
    return f"{event.shop_id}#{event.subject}"
