"""A batch of raw records as columns: the form in which Flink's and Spark's vectorised functions take events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec

from contracts.errors import InvalidEvent
from contracts.events import ACTION_TYPES, FUTURE_MS, LATE_MS, MAX_BYTES, Event, Time, parse
from contracts.ids import MAX_ID_LENGTH, is_shop

__all__ = ["RecordColumns", "parse_records"]


@dataclass(slots=True)
class RecordColumns:
    """Parallel columns, one row a record, in the order of the input; rejected rows carry ``reason`` and empty values.

    Times are epoch milliseconds UTC; ``amount`` is price × quantity; ``late`` follows :func:`contracts.events.is_late`.
    """

    reason: list[str] = field(default_factory=list)
    detail: list[str] = field(default_factory=list)
    shop_id: list[str] = field(default_factory=list)
    event_id: list[str] = field(default_factory=list)
    event_type: list[str] = field(default_factory=list)
    subject: list[str] = field(default_factory=list)
    anonymous_id: list[str] = field(default_factory=list)
    session_id: list[str] = field(default_factory=list)
    item_id: list[str] = field(default_factory=list)
    occurred_ms: list[int] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    quantity: list[int] = field(default_factory=list)
    amount: list[float] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)
    action: list[bool] = field(default_factory=list)


def parse_records(records: Iterable[bytes], arrived_ms: Iterable[int] | None = None) -> RecordColumns:
    """Parse and validate each record; a bad one becomes a row with a reason, it never raises.

    The rules are those of :func:`contracts.events.parse`. Where the bytes of a whole run of records show that none can
    break them, the run is decoded at once, which takes a third of the time; any other run goes record by record.

    Args:
        records: the bytes of each.
        arrived_ms: when each arrived on the stream, where that is known (0: unknown for this one). A record that says
            it was received more than 5 minutes after that is ``future``: one producer with a wrong clock would
            otherwise push the event time of everybody ahead, and close all windows for good.

    >>> cols = parse_records([b"{", b'{"event_id":"e","event_type":"view","user_id":"7","item_id":"A",'
    ...     b'"occurred_at":"2026-01-01T00:00:00Z","received_at":"2026-01-01T00:11:00Z"}'])
    >>> cols.reason, cols.subject, cols.late
    (['not_json', ''], ['', 'u.7'], [False, True])
    """
    data = list(records)
    arrivals = [0] * len(data) if arrived_ms is None else list(arrived_ms)
    if len(arrivals) != len(data):
        message = f"{len(arrivals)} arrival times for {len(data)} records; expected one each"
        raise ValueError(message)
    columns = RecordColumns()
    for start in range(0, len(data), _RUN):
        run = slice(start, start + _RUN)
        _add(columns, _as_one(data[run], arrivals[run]) or _one_by_one(data[run], arrivals[run]))
    return columns


_RUN: Final = 128  # one bad record sends this many the slow way; shorter runs pay more for each call
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END_MS: Final = 253_402_214_400_000  # 9999-12-31, from where the one-by-one way looks closer

_Columns = Iterable[Sequence[Any]]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
_Id_ = _Id | None


class _Stamped(Event, frozen=True, kw_only=True):
    """An event with the rules of ids and of the stream that a decoder can check."""

    event_id: _Id
    user_id: _Id_ = None
    anonymous_id: _Id_ = None
    session_id: _Id_ = None
    item_id: _Id_ = None
    request_id: _Id_ = None
    variant: _Id_ = None
    received_at: Time


_decode_lines = msgspec.json.Decoder(_Stamped).decode_lines


def _add(columns: RecordColumns, more: _Columns) -> None:
    for name, values in zip(columns.__slots__, more, strict=True):
        getattr(columns, name).extend(values)


def _as_one(records: Sequence[bytes], arrivals: Sequence[int]) -> _Columns | None:
    """The columns of a run in which every record is good; None where that is not certain, or not so."""
    text = b"\n".join(records)
    if not text.isascii() or any(mark in text for mark in _UNSURE) or max(map(len, records)) > MAX_BYTES:
        return None
    try:
        events = _decode_lines(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    # A value takes at least one line: with as many of each, every line is one record whole.
    if len(events) != len(records) or text.count(b"\n") != len(records) - 1:
        return None
    occurred = _milliseconds([e.occurred_at for e in events])
    received = _milliseconds([e.received_at for e in events])
    if not _times_fit(occurred, received, arrivals) or not _persons_and_items_fit(events):
        return None
    return _columns(events, occurred, received)


def _milliseconds(times: Iterable[datetime]) -> list[int]:
    """As :func:`contracts.events.to_ms`, without a call for each."""
    return [
        (since := time - _EPOCH).days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000 for time in times
    ]


_UNSURE: Final = (b"\\", b"\x7f", b"\r")
"""Without an escape and without DEL, ASCII strings that JSON allows are printable."""


def _times_fit(occurred: Sequence[int], received: Sequence[int], arrivals: Sequence[int]) -> bool:
    if min(occurred) < 0 or max(received) >= _END_MS or max(map(int.__sub__, occurred, received)) > FUTURE_MS:
        return False
    return not any(r - a > FUTURE_MS and a > 0 for r, a in zip(received, arrivals, strict=True))


def _persons_and_items_fit(events: Sequence[Event]) -> bool:
    for e in events:
        if e.event_type == "identify":
            if e.user_id is None or e.anonymous_id is None:
                return False
        elif e.item_id is None or (e.user_id is None and e.anonymous_id is None):
            return False
    return all(map(is_shop, {e.shop_id for e in events}))


def _columns(events: Sequence[Event], occurred: Sequence[int], received: Sequence[int]) -> _Columns:
    """The columns of good events, in the order of :class:`RecordColumns`."""
    none = [""] * len(events)
    return (
        none,
        none,
        [e.shop_id for e in events],
        [e.event_id for e in events],
        [e.event_type for e in events],
        [f"u.{e.user_id}" if e.user_id is not None else f"a.{e.anonymous_id}" for e in events],
        [e.anonymous_id or "" for e in events],
        [e.session_id or "" for e in events],
        [e.item_id or "" for e in events],
        occurred,
        received,
        [e.quantity for e in events],
        [e.price * e.quantity if e.price else 0.0 for e in events],
        [r - o > LATE_MS for o, r in zip(occurred, received, strict=True)],
        [e.event_type in ACTION_TYPES for e in events],
    )


def _one_by_one(records: Sequence[bytes], arrivals: Sequence[int]) -> _Columns:
    rows: list[tuple[Any, ...]] = []
    for record, arrived in zip(records, arrivals, strict=True):
        try:
            e = parse(record)
            if arrived > 0 and e.received_ms - arrived > FUTURE_MS:
                detail = f"received_at is {e.received_at}, but it arrived on the stream at {arrived} ms"
                raise InvalidEvent(reason="future", detail=detail)
        except InvalidEvent as exc:
            rows.append((exc.reason, exc.detail[:500], "", "", "", "", "", "", "", 0, 0, 0, 0.0, False, False))
            continue
        columns = _columns([e], [e.occurred_ms], [e.received_ms])
        rows.append(tuple(column[0] for column in columns))
    return zip(*rows, strict=True)
