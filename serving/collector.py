"""The collector's core, without IO: the bytes of a request become records for the stream and one outcome a record."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from contracts.errors import InvalidEvent
from contracts.events import parse, partition_key, to_ms
from contracts.ids import is_id
from serving.answers import EventResult, EventsAnswer
from serving.frames import Record

__all__ = ["Admission", "BadBody", "admit", "conclude", "split"]

_Fields = dict[str, msgspec.Raw]


class _Envelope(msgspec.Struct):
    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


_envelope = msgspec.json.Decoder(_Envelope).decode
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_fields = msgspec.json.Decoder(_Fields).decode
_text = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


class BadBody(Exception):
    """The whole request is refused, before any record is looked at."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Admission(NamedTuple):
    """``records`` are (bytes, partition key) for the stream; ``positions`` their places in ``results``."""

    results: list[EventResult]
    records: list[Record]
    positions: list[int]


def split(body: bytes, limit: int) -> list[bytes]:
    """The events of a request: one object, an array, or ``{"events": […]}``.

    >>> split(b'[{"a":1},{"a":2}]', limit=500), split(b'{"events":[{}]}', limit=500), split(b'{"a":1}', limit=500)
    ([b'{"a":1}', b'{"a":2}'], [b'{}'], [b'{"a":1}'])

    Raises:
        BadBody: the body is not JSON of one of these shapes, is empty, or holds more than ``limit`` events.
    """
    try:
        events = _split(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        code, message = "not_json", f"the body cannot be read: {exc}; expected one event, an array, or an events object"
        raise BadBody(code, message) from exc
    if not events:
        code, message = "no_events", "the body holds no event; expected 1 or more"
        raise BadBody(code, message)
    if len(events) > limit:
        code, message = "too_many_events", f"{len(events)} events; expected at most {limit}; send several requests"
        raise BadBody(code, message)
    return events


def _split(body: bytes) -> list[bytes]:
    if body.lstrip(b" \t\r\n")[:1] == b"[":
        return [bytes(raw) for raw in _array(body)]
    events = _envelope(body).events
    return [body.strip()] if events is msgspec.UNSET else [bytes(raw) for raw in events]


def admit(events: Sequence[bytes], now: datetime, shops: Collection[str], shop: str) -> Admission:
    """Stamp and validate each event; what is validated are the very bytes that go on the stream.

    Unknown fields are kept, ``received_at`` is always the collector's.

    Args:
        now: the time of receipt, UTC.
        shops: the shops of this deployment.
        shop: the shop of events that name none.
    """
    results: list[EventResult] = []
    records: list[Record] = []
    positions: list[int] = []
    received = _encode(now.astimezone(UTC).replace(microsecond=now.microsecond // 1000 * 1000))
    for position, raw in enumerate(events):
        fields: _Fields = {}
        try:
            fields = _stamped(raw, received, shop)
            data = _one_line(_encode(fields))
            event = parse(data)
            if event.shop_id not in shops:
                detail = f"shop_id is {event.shop_id!r}; this deployment serves {', '.join(sorted(shops))}"
                raise InvalidEvent(reason="bad_id", detail=detail)
        except InvalidEvent as exc:
            results.append(EventResult(_event_id(fields), "rejected", exc.reason, exc.detail[:500]))
            continue
        results.append(EventResult(event.event_id, "accepted"))
        records.append((data, partition_key(event)))
        positions.append(position)
    return Admission(results, records, positions)


def _stamped(raw: bytes, received: bytes, shop: str) -> _Fields:
    try:
        fields = _fields(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidEvent(reason="not_json", detail=f"{exc}; expected one JSON object") from exc
    fields.setdefault("shop_id", msgspec.Raw(_encode(shop)))
    fields["received_at"] = msgspec.Raw(received)
    return fields


def _one_line(data: bytes) -> bytes:
    """Without line breaks, which can only stand between tokens: the lake holds a record a line.

    >>> _one_line(b'{"a":{\\n  "b": 1}}')
    b'{"a":{"b":1}}'
    """
    if b"\n" not in data and b"\r" not in data:
        return data
    try:
        return msgspec.json.format(data, indent=-1)
    except msgspec.MsgspecError as exc:
        raise InvalidEvent(reason="not_json", detail=f"{exc}; expected one JSON object") from exc


def _event_id(fields: _Fields) -> str | None:
    """The id of a rejected event, so far as it has a usable one."""
    try:
        event_id = _text(fields["event_id"])
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return event_id if is_id(event_id) else None


def conclude(admission: Admission, outcomes: Sequence[str | None], now: datetime) -> EventsAnswer:
    """Join the outcomes (``None`` = safe, else an error code), one for each of ``admission.records``."""
    results = list(admission.results)
    for position, code in zip(admission.positions, outcomes, strict=True):
        if code is not None:
            message = "the event was not taken; send it again with the same event_id"
            results[position] = EventResult(results[position].event_id, "failed", code, message)
    counts = {
        status: sum(result.status == status for result in results) for status in ("accepted", "rejected", "failed")
    }
    return EventsAnswer(results=results, received_at=to_ms(now), **counts)
