"""The collector's core: what it admits is exactly what the stream's readers accept."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.errors import InvalidEvent
from contracts.events import MAX_BYTES, parse
from serving.collector import BadBody, admit, conclude, split

NOW = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "event_id": "e1", "event_type": "view", "user_id": "7", "item_id": "A", "occurred_at": "2026-01-01T12:00:00Z"
}  # fmt: skip


def taken(*events: Any) -> Any:
    raw = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return admit(raw, NOW, {"default"}, "default")


def test_an_admitted_record_is_what_a_reader_of_the_stream_accepts_stamped_to_the_millisecond() -> None:
    admission = taken(EVENT)
    record, key = admission.records[0]
    assert json.loads(record) == EVENT | {"shop_id": "default", "received_at": "2026-01-01T12:00:00.123000Z"}
    assert (parse(record).received_ms % 1000, key) == (123, "default#u.7")


def test_a_record_that_only_the_stamp_makes_too_large_is_rejected_here_and_not_by_the_stream() -> None:
    bare = len(json.dumps(EVENT | {"note": ""}))
    padded = EVENT | {"note": "x" * (MAX_BYTES - bare)}
    assert len(json.dumps(padded)) == MAX_BYTES
    assert taken(padded).results[0].reason == "too_large"


def test_an_event_written_over_several_lines_reaches_the_stream_as_one() -> None:
    pretty = json.dumps(EVENT | {"extra": {"a": [1, {"b": "x\ny"}]}}, indent=2).replace("\n", "\r\n").encode()
    record, _ = taken(pretty).records[0]
    assert len(record.splitlines()) == 1
    assert json.loads(record)["extra"] == {"a": [1, {"b": "x\ny"}]}


@pytest.mark.parametrize("seed", range(30))
def test_no_bytes_at_all_raise_or_reach_the_stream_unreadable(seed: int) -> None:
    draw = random.Random(seed)
    mutants = []
    for _ in range(50):
        raw = bytearray(json.dumps(EVENT | {"x": [{"y": None}]}, indent=seed % 2 or None).encode())
        for _ in range(draw.randint(1, 4)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        mutants.append(bytes(raw))
    mutants += [b"", b"null", b"[]", b"{}", b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}", draw.randbytes(40)]
    admission = taken(*mutants)
    assert len(admission.results) == len(mutants)
    for record, _ in admission.records:
        try:
            parse(record)
        except InvalidEvent as exc:
            pytest.fail(f"{record!r} was admitted, a reader rejects it: {exc}")


def test_outcomes_of_the_stream_are_joined_in_the_order_of_the_request() -> None:
    admission = taken(EVENT | {"event_id": "a"}, EVENT | {"event_type": "x"}, EVENT | {"event_id": "b"})
    answer = conclude(admission, [None, "Throttled"], NOW)
    assert [(r.event_id, r.status) for r in answer.results] == [("a", "accepted"), ("e1", "rejected"), ("b", "failed")]
    assert (answer.accepted, answer.rejected, answer.failed) == (1, 1, 1)


@pytest.mark.parametrize(
    ("body", "code"), [(b"[]", "no_events"), (b'{"events":[]}', "no_events"), (b"[1,2,3]", "too_many_events")]
)
def test_a_request_with_no_or_too_many_events_is_refused_whole(body: bytes, code: str) -> None:
    with pytest.raises(BadBody) as refused:
        split(body, limit=2)
    assert refused.value.code == code
