"""A batch of raw records as columns: the form in which Flink's and Spark's vectorised functions take events."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import repeat

from contracts.errors import InvalidEvent
from contracts.events import ACTION_TYPES, FUTURE_MS, is_late, parse

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
    columns = RecordColumns()
    rows = []
    arrivals = repeat(0) if arrived_ms is None else arrived_ms
    for record, arrived in zip(records, arrivals, strict=arrived_ms is not None):
        try:
            e = parse(record)
            if arrived > 0 and e.received_ms - arrived > FUTURE_MS:
                detail = f"received_at is {e.received_at}, but it arrived on the stream at {arrived} ms"
                raise InvalidEvent(reason="future", detail=detail)
        except InvalidEvent as exc:
            rows.append((exc.reason, exc.detail[:500], "", "", "", "", "", "", "", 0, 0, 0, 0.0, False, False))
            continue
        occurred, received = e.occurred_ms, e.received_ms
        rows.append(
            (
                "",
                "",
                e.shop_id,
                e.event_id,
                e.event_type,
                e.subject,
                e.anonymous_id or "",
                e.session_id or "",
                e.item_id or "",
                occurred,
                received,
                e.quantity,
                e.amount,
                is_late(occurred, received),
                e.event_type in ACTION_TYPES,
            )
        )
    if rows:
        for name, column in zip(columns.__slots__, zip(*rows, strict=True), strict=True):
            setattr(columns, name, list(column))
    return columns
