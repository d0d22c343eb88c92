"""What the collector calls accepted is on the stream, once and unharmed; everything else is named, record by record."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.events import MAX_BYTES, parse

pytestmark = pytest.mark.serving


def test_each_record_has_its_own_outcome_in_order(shop: Any, event: Any) -> None:
    good, late = event(colour="red"), event(occurred_at="2020-01-01T00:00:00+02:00")
    future = event(occurred_at=(datetime.now(UTC) + timedelta(minutes=6)).isoformat())
    bad = event(event_type="wave")
    huge = event(note="x" * MAX_BYTES)
    body = [good, bad, future, huge, 5, late, {"event_type": "view"}]
    answer = shop.http.post("/v1/events", json=body)
    results = answer.json()["results"]
    assert answer.status_code == 200
    assert [(r["status"], r.get("reason")) for r in results] == [
        ("accepted", None), ("rejected", "unknown_type"), ("rejected", "future"), ("rejected", "too_large"),
        ("rejected", "not_json"), ("accepted", None), ("rejected", "missing_field"),
    ]  # fmt: skip
    assert [r["event_id"] for r in results[:4]] == [e["event_id"] for e in body[:4]]
    assert {k: answer.json()[k] for k in ("accepted", "rejected", "failed")} == {
        "accepted": 2,
        "rejected": 5,
        "failed": 0,
    }
    records = {r["event_id"]: r for r in shop.records()}
    assert good["event_id"] in records and late["event_id"] in records
    assert not {bad["event_id"], future["event_id"], huge["event_id"]} & set(records)


def test_a_record_keeps_unknown_fields_and_is_stamped_by_the_collector_alone(shop: Any, event: Any) -> None:
    sent = event(colour={"deep": [1, None]}, received_at="1999-01-01T00:00:00Z")
    received_ms = shop.http.post("/v1/events", json=sent).json()["received_at"]
    record = next(r for r in shop.records() if r["event_id"] == sent["event_id"])
    key = record.pop("_key")
    assert parse(json.dumps(record).encode()).received_ms == received_ms
    assert record | {"received_at": sent["received_at"]} == sent | {"shop_id": "default"}
    assert key == "default#u.7"


@pytest.mark.parametrize(
    "wrap", [lambda e: e, lambda e: [e], lambda e: {"events": [e]}], ids=["one", "array", "object"]
)
def test_all_three_shapes_of_a_body_are_taken(shop: Any, event: Any, wrap: Any) -> None:
    assert shop.http.post("/v1/events", json=wrap(event())).json()["accepted"] == 1


def test_500_events_are_taken_and_501_are_refused_whole(shop: Any, event: Any) -> None:
    assert shop.http.post("/v1/events", json=[event() for _ in range(500)]).json()["accepted"] == 500
    before = len(shop.records())
    refused = shop.http.post("/v1/events", json=[event() for _ in range(501)])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_many_events")
    assert len(shop.records()) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[{]", b"7", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe"])
def test_a_body_that_is_not_json_is_refused(shop: Any, body: bytes) -> None:
    refused = shop.http.post("/v1/events", content=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_json")


def test_a_body_over_the_limit_is_refused_whether_its_length_is_announced_or_not(shop: Any) -> None:
    def chunks() -> Any:
        yield from (b" " * (1 << 20) for _ in range(18))

    for content in (b" " * (18 << 20), chunks()):
        refused = shop.http.post("/v1/events", content=content)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")


def test_an_event_of_a_shop_that_is_not_served_is_rejected(shop: Any, event: Any) -> None:
    result = shop.http.post("/v1/events", json=event(shop_id="other")).json()["results"][0]
    assert (result["status"], result["reason"]) == ("rejected", "bad_id")
    assert shop.http.post("/v1/events?shop=other", json=event()).json()["error"]["code"] == "unknown_shop"


def test_a_deeply_nested_record_is_rejected_and_the_rest_of_the_request_taken(shop: Any, event: Any) -> None:
    nested = json.dumps(event())[:-1] + ',"x":' + "[" * 900 + "]" * 900 + "}"
    answer = shop.http.post("/v1/events", content=f"[{json.dumps(event())},{nested}]").json()
    assert answer["results"][0]["status"] == "accepted"
    assert answer["accepted"] + answer["rejected"] == 2
