"""The event contract: what is accepted, and the reason of each rejection."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.errors import InvalidEvent
from contracts.events import FUTURE_MS, MAX_BYTES, REASONS, encode, parse, partition_key
from contracts.records import parse_records

GOOD: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "view",
    "user_id": "7",
    "item_id": "A",
    "occurred_at": "2026-01-01T00:00:00.500Z",
    "received_at": "2026-01-01T00:00:01Z",
}


def raw(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not None}).encode()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "not_json"),
        (b"[1, 2]", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (raw().replace(b", ", b",\n"), "not_json"),
        (raw().replace(b", ", b",\r"), "not_json"),
        (raw(event_id=None), "missing_field"),
        (raw(user_id=None), "missing_field"),
        (raw(item_id=None), "missing_field"),
        (raw(received_at=None), "missing_field"),
        (raw(event_type="identify", item_id=None), "missing_field"),
        (raw(event_type="wave"), "unknown_type"),
        (raw(event_type=3), "unknown_type"),
        (raw(occurred_at="yesterday"), "bad_time"),
        (raw(occurred_at="2026-01-01T00:00:00"), "bad_time"),
        (raw(received_at=17), "bad_time"),
        (raw(occurred_at="1969-12-31T23:59:59Z"), "bad_time"),
        (raw(occurred_at="9999-12-31T23:59:59-12:00", received_at="9999-12-31T23:59:59-12:00"), "bad_time"),
        (raw(item_id=""), "bad_id"),
        (raw(item_id="x" * 129), "bad_id"),
        (raw(user_id="a\nb"), "bad_id"),
        (raw(shop_id="No Shop"), "bad_id"),
        (raw(quantity=0), "bad_field"),
        (raw(price="1.99"), "bad_field"),
        (raw(occurred_at="2026-01-01T00:05:01.001Z"), "future"),
        (raw(padding="x" * MAX_BYTES), "too_large"),
    ],
)
def test_each_fault_has_its_reason(record: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse(record)
    assert caught.value.reason == reason
    assert reason in REASONS
    assert parse_records([record]).reason == [reason]


def test_a_line_break_around_a_record_is_no_fault() -> None:
    assert parse(raw() + b"\r\n") == parse(raw())


def test_a_clock_five_minutes_ahead_is_still_accepted() -> None:
    event = parse(raw(occurred_at="2026-01-01T00:05:01Z"))
    assert event.occurred_ms - event.received_ms == FUTURE_MS


def test_a_record_stamped_well_after_it_arrived_is_of_the_future() -> None:
    received = parse(raw()).received_ms
    arrivals = [received, received - FUTURE_MS, received - FUTURE_MS - 1, 0]
    assert parse_records([raw()] * 4, arrivals).reason == ["", "", "future", ""]


def test_unknown_fields_are_ignored_and_ids_may_be_any_printable_text() -> None:
    event = parse(raw(item_id="Käse {1} #2:3", colour="red", nested={"a": [1]}))
    assert event.item_id == "Käse {1} #2:3"


def test_times_with_an_offset_mean_the_same_instant() -> None:
    assert parse(raw(occurred_at="2026-01-01T01:00:00.500+01:00")).occurred_ms == parse(raw()).occurred_ms


def test_an_encoded_event_is_read_back_equal() -> None:
    event = parse(raw(quantity=3, price=1.25, currency="EUR", request_id="r", position=4, variant="b"))
    assert parse(encode(event)) == event
    assert event.amount == 3.75
    assert partition_key(event) == "default#u.7"


def test_a_shop_and_a_time_zone_survive(now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
    event = parse(raw(shop_id="north", anonymous_id="b7", user_id=None))
    assert (event.subject, partition_key(event), event.occurred_at.date()) == ("a.b7", "north#a.b7", now.date())
