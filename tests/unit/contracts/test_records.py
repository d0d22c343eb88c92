"""A run of records read at once gives what each gives alone."""

import json
import random
from dataclasses import fields
from typing import Any

import pytest

from contracts.events import EVENT_TYPES, FUTURE_MS, MAX_BYTES
from contracts.records import RecordColumns, parse_records

GOOD: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "view",
    "user_id": "7",
    "item_id": "A",
    "occurred_at": "2026-01-01T00:00:00.500Z",
    "received_at": "2026-01-01T00:00:01.999999Z",
}
RECEIVED = 1_767_225_601_999


def raw(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not None}, ensure_ascii=False).encode()


def rows(columns: RecordColumns) -> list[tuple[Any, ...]]:
    return list(zip(*(getattr(columns, f.name) for f in fields(columns)), strict=True))


ODD = [
    b"",
    b"{",
    b"[1]",
    b"\xff",
    b"{}\n{}",
    raw() + b"\n" + raw(event_id="second"),
    raw() + b"\n",
    raw() + b"\r\n",
    raw()[:20],
    raw()[20:],
    raw().replace(b", ", b",\n"),
    raw(padding="x" * MAX_BYTES),
    raw(item_id="Käse"),
    raw(item_id="a\u0007"),
    raw(item_id="a\x7f"),
    raw(title="a\nb"),
    raw(item_id="x" * 128),
    raw(item_id="x" * 129),
    raw(item_id=""),
    raw(variant=""),
    raw(shop_id="north"),
    raw(shop_id="No Shop"),
    raw(event_type="wave"),
    raw(event_type="identify", item_id=None),
    raw(event_type="identify", item_id=None, anonymous_id="b"),
    raw(user_id=None),
    raw(user_id=None, anonymous_id="b"),
    raw(user_id=""),
    raw(item_id=None),
    raw(received_at=None),
    raw(occurred_at="1969-12-31T23:59:59.999Z"),
    raw(occurred_at="2026-01-01T00:07:00Z"),
    raw(occurred_at="2025-12-31T23:00:00Z"),
    raw(occurred_at="2026-01-01T01:00:00+01:00"),
    raw(received_at="9999-12-31T00:00:00Z"),
    raw(received_at="9999-12-31T00:00:00.001Z"),
    raw(event_type="purchase", price=1.25, quantity=3, currency="EUR"),
    raw(event_type="purchase", price=-1),
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
]


@pytest.mark.parametrize("odd", ODD, ids=lambda record: repr(record[:60]))
def test_a_record_gives_the_same_alone_and_among_good_ones(odd: bytes) -> None:
    alone, good = rows(parse_records([odd])), rows(parse_records([raw()]))
    assert rows(parse_records([raw()] * 5 + [odd] + [raw()] * 5)) == good * 5 + alone + good * 5


def test_records_that_only_together_make_whole_lines_stay_the_records_they_are() -> None:
    half, rest = raw()[:-1], raw()[-1:]
    two_in_one = raw() + b"\n" + raw(event_id="smuggled")
    for records in ([half, rest, raw()], [two_in_one, b""], [b"", two_in_one], [half, rest, two_in_one]):
        assert rows(parse_records(records)) == [row for record in records for row in rows(parse_records([record]))]


def test_any_mixture_in_any_order_is_read_as_each_record_is_alone() -> None:
    seeded = random.Random(7)
    kinds = [raw(event_type=name, anonymous_id="b", shop_id=shop) for name in EVENT_TYPES for shop in (None, "north")]
    records = [seeded.choice(ODD if seeded.random() < 0.02 else kinds) for _ in range(1500)]
    arrived = [seeded.choice([0, RECEIVED, RECEIVED - FUTURE_MS, RECEIVED - FUTURE_MS - 1]) for _ in records]
    alone = [rows(parse_records([r], [a]))[0] for r, a in zip(records, arrived, strict=True)]
    assert rows(parse_records(records, arrived)) == alone
    assert any(row[0] == "future" for row in alone)


def test_no_record_is_no_row() -> None:
    assert rows(parse_records([])) == []


def test_each_record_has_its_arrival() -> None:
    with pytest.raises(ValueError, match="1 arrival times for 2 records"):
        parse_records([raw(), raw()], [0])
