"""A replay of what a forgotten person did leaves no trace, and what they do later is as anybody's."""

import gzip
import logging
from typing import Any

import pytest

from contracts.errors import StoreError
from contracts.forgetting import FORGOTTEN, Tombstones, encode_tombstones
from contracts.records import RecordColumns, parse_records
from stores.objects import NotFound
from streaming.forgotten import Forgotten


class Shelf:
    """A bucket with one object, or none, or a fault."""

    def __init__(self) -> None:
        self.content: bytes | Exception = NotFound("none")
        self.looks = 0

    def etag(self, path: str) -> str | None:
        self.looks += 1
        if isinstance(self.content, NotFound):
            return None
        return str(hash(self.get_tagged(path)[0]))

    def get_tagged(self, path: str) -> tuple[bytes, str]:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content, str(hash(self.content))


def columns(*events: tuple[str, str, int, int]) -> RecordColumns:
    """Events as (user, visitor, occurred, received in seconds)."""
    at_second = '"%s_at":"1970-01-01T00:%%02d:%%02dZ"'
    form = '{"event_id":"e%d","event_type":"view","item_id":"A",%s' + at_second % "occurred" + ","
    form += at_second % "received" + "}"
    lines = []
    for at, (user, visitor, occurred, received) in enumerate(events):
        who = (f'"user_id":"{user}",' if user else "") + (f'"anonymous_id":"{visitor}",' if visitor else "")
        lines.append((form % (at, who, *divmod(occurred, 60), *divmod(received, 60))).encode())
    return parse_records([*lines, b"{"])


@pytest.fixture
def followed() -> tuple[Any, Forgotten, list[float]]:
    shelf, now = Shelf(), [0.0]
    forgotten = Forgotten(shelf, ["default"], 2.0, clock=lambda: now[0])  # type: ignore[arg-type]
    return shelf, forgotten, now


def test_only_the_forgotten_past_is_left_out(followed: Any) -> None:
    shelf, forgotten, _ = followed
    shelf.content = encode_tombstones(Tombstones(salt="00").add("default", ["u.ada", "a.v"], 100_000))
    forgotten.look()
    found = columns(
        ("ada", "", 50, 60), ("ada", "v", 101, 102), ("", "v", 100, 200), ("bob", "v", 50, 50), ("ada", "", 120, 99)
    )
    forgotten.leave_out(found)
    assert found.reason == [FORGOTTEN, "", FORGOTTEN, "", FORGOTTEN, "not_json"]
    assert found.subject == ["", "u.ada", "", "u.bob", "", ""] and found.event_id[0] == "" and found.action[0] is False


def test_live_traffic_looks_nobody_up(followed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, forgotten, _ = followed
    shelf.content = encode_tombstones(Tombstones(salt="00").add("default", ["u.ada"], 1))
    forgotten.look()
    monkeypatch.setattr(Tombstones, "covers", lambda *_: pytest.fail("somebody was looked up"))
    found = columns(("ada", "", 50, 60))
    found.reason.pop(), found.occurred_ms.pop(), found.received_ms.pop()
    forgotten.leave_out(found)
    assert found.reason == [""]


def test_a_worker_that_was_held_up_looks_again_before_it_goes_on(followed: Any) -> None:
    shelf, forgotten, now = followed
    forgotten.look()
    shelf.content = encode_tombstones(Tombstones(salt="00").add("default", ["u.ada"], 100_000))
    first, second = columns(("ada", "", 50, 60)), columns(("ada", "", 50, 60))
    forgotten.leave_out(first)
    now[0] = 7.0
    forgotten.leave_out(second)
    assert (first.reason[0], second.reason[0]) == ("", FORGOTTEN)


@pytest.mark.parametrize("fault", [StoreError("away"), gzip.compress(b"[1")])
def test_a_fault_keeps_what_is_known(followed: Any, fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    shelf, forgotten, _ = followed
    shelf.content = encode_tombstones(Tombstones(salt="00").add("default", ["u.ada"], 100_000))
    forgotten.look()
    shelf.content = fault
    with caplog.at_level(logging.WARNING):
        forgotten.look()
    found = columns(("ada", "", 50, 60))
    forgotten.leave_out(found)
    assert found.reason[0] == FORGOTTEN and "keeps its tombstones" in caplog.text
