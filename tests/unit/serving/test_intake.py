"""The collector keeps what the stream does not take, leaves an absent stream alone, and drains when it is back."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import StoreError
from contracts.settings import Settings
from serving.answers import EventsAnswer
from serving.drain import Drain
from serving.frames import Record
from serving.intake import Collector
from serving.spool import Spool
from stores.streams import THROTTLED

ABSENT, ROOM = "EndpointConnectionError", 1 << 20


class Kinesis:
    """A stream that takes what its ``script`` says: an outcome a record, or one for all; then everything."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.calls: list[int] = []
        self.taken: list[str] = []

    def put(self, records: Sequence[Record]) -> list[str | None]:
        said = self.script.pop(0) if self.script else None
        outcomes = said if isinstance(said, list) else [said] * len(records)
        self.calls.append(len(records))
        self.taken += [json.loads(r[0])["event_id"] for r, o in zip(records, outcomes, strict=True) if o is None]
        return outcomes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def events(*names: str) -> list[bytes]:
    at = "2026-01-01T00:00:00Z"
    fields = {"event_type": "view", "user_id": "7", "item_id": "A", "occurred_at": at}
    return [json.dumps(fields | {"event_id": name}).encode() for name in names]


@pytest.fixture
def kinesis() -> Kinesis:
    return Kinesis()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool.claim(tmp_path, ROOM)
    yield made
    made.close()


def collector(kinesis: Any, spool: Any, clock: Clock | None = None) -> Collector:
    return Collector(Settings(), spool, stream=kinesis, clock=clock or Clock())


def take(collector: Collector, *names: str) -> EventsAnswer:
    return asyncio.run(collector.take(events(*names), "default"))


def reasons(answer: EventsAnswer) -> list[str | None]:
    return [result.reason for result in answer.results]


def test_what_a_shard_has_no_room_for_is_spooled_and_the_rest_is_not(kinesis: Any, spool: Spool) -> None:
    kinesis.script = [[None, THROTTLED, None]]
    answer = take(collector(kinesis, spool), "a", "b", "c")
    assert (answer.accepted, answer.failed, kinesis.taken, spool.records) == (3, 0, ["a", "c"], 1)


def test_a_stream_that_is_away_is_asked_by_one_request_in_five_seconds(kinesis: Any, spool: Spool) -> None:
    clock = Clock()
    under_test = collector(kinesis, spool, clock)
    kinesis.script = [ABSENT, ABSENT]
    for name in "abc":
        assert take(under_test, name).accepted == 1
    assert (len(kinesis.calls), spool.records, under_test.counts.away) == (1, 3, True)
    clock.now = 5.1
    take(under_test, "d")
    take(under_test, "e")
    assert (len(kinesis.calls), spool.records) == (2, 5)
    clock.now = 10.3
    take(under_test, "f")
    assert (kinesis.taken, under_test.counts.away) == (["f"], False)
    take(under_test, "g")
    assert kinesis.taken == ["f", "g"]


def test_a_full_spool_fails_by_name_and_promises_nothing(kinesis: Any, tmp_path: Path) -> None:
    tiny = Spool.claim(tmp_path, 250)
    kinesis.script = [ABSENT]
    under_test = collector(kinesis, tiny)
    assert take(under_test, "a").accepted == 1
    answer = take(under_test, "b", "c")
    assert (answer.accepted, reasons(answer)) == (0, ["SpoolFull"] * 2)
    assert under_test.counts.spooled == 1
    tiny.close()


@pytest.mark.parametrize("trouble", [OSError("disk"), StoreError("queue")])
def test_a_spool_that_fails_is_not_taken_for_a_promise(kinesis: Any, trouble: Exception) -> None:
    class Broken:
        def append(self, records: Sequence[Record]) -> None:
            raise trouble

    kinesis.script = [ABSENT]
    assert reasons(take(collector(kinesis, Broken()), "a")) == ["SpoolFailed"]


def test_without_a_spool_the_stream_is_asked_every_time(kinesis: Any) -> None:
    kinesis.script = [ABSENT, ABSENT]
    under_test = collector(kinesis, None)
    assert [reasons(take(under_test, "a")), reasons(take(under_test, "b"))] == [[ABSENT], [ABSENT]]
    assert take(under_test, "c").accepted == 1


def test_a_drain_sends_of_a_batch_only_what_is_left_and_brings_the_stream_back(kinesis: Any, spool: Spool) -> None:
    under_test = collector(kinesis, spool)
    kinesis.script = [ABSENT]
    take(under_test, "a", "b", "c")
    drain = Drain(spool, under_test, kinesis)
    kinesis.script = [ABSENT, [None, THROTTLED, None]]
    assert drain.step() and kinesis.taken == []
    assert drain.step() and kinesis.taken == ["a", "c"]
    assert drain.step() and kinesis.taken == ["a", "c", "b"]
    assert (kinesis.calls, drain.step()) == ([3, 3, 3, 1], False)
    status = drain.status()
    assert (status.waiting, status.bytes, status.drained, under_test.counts.away) == (0, 0, 3, False)


def test_a_drain_takes_over_what_a_dead_process_left(kinesis: Any, tmp_path: Path) -> None:
    alive, dead = Spool.claim(tmp_path, ROOM), Spool.claim(tmp_path, ROOM)
    kinesis.script = [ABSENT]
    take(collector(kinesis, dead), "a")
    dead.close()
    drain = Drain(alive, collector(kinesis, alive), kinesis)
    assert drain.step() and not drain.step()
    assert kinesis.taken == ["a"]
    alive.close()


def test_a_stopped_drain_begins_no_batch(kinesis: Any, spool: Spool) -> None:
    kinesis.script = [ABSENT]
    under_test = collector(kinesis, spool)
    take(under_test, "a")
    drain = Drain(spool, under_test, kinesis)
    drain.stop()
    assert not drain.step() and kinesis.taken == []
