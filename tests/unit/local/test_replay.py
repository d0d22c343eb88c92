"""The replay: order, stamps, injected faults, the pace, and an account that says no more than what was taken."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from contracts.errors import InvalidEvent, StoreError
from contracts.events import Event, encode, is_late, parse, stamp
from local.clients import Posted
from local.replay import Replay
from local.replay_plan import DUPLICATE_WITHIN, MALFORMED, Line, malformed_record, markers_in, plan

NOW = datetime(2026, 3, 5, tzinfo=UTC)
LINES = [
    Line(basket=n // 4, place=n % 4, household=n % 7, product=n, quantity=1, price=1.5, occurred_ms=1000 * n)
    for n in range(1000)
]


class Clock:
    """Time passes only where the replay sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def utc(self) -> datetime:
        return NOW + timedelta(seconds=self.now)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)


class Shop:
    """Collector and stream in one; refuses the event ids of ``refusing``."""

    def __init__(self, clock: Clock, refusing: str = "never") -> None:
        self.clock, self.refusing = clock, refusing
        self.events: list[Event] = []
        self.raw: list[bytes] = []
        self.times: list[float] = []

    def post_events(self, events: Sequence[bytes]) -> Posted:
        posted = Posted(len(events))
        for position, data in enumerate(events):
            event = stamp(parse(data, require_received=False), self.clock.utc())
            if self.refusing in event.event_id:
                posted.refused[position] = "bad_id: refused"
            else:
                self.events.append(event)
                self.times.append(self.clock.now)
        return posted

    def put(self, records: Sequence[tuple[bytes, str]]) -> list[str | None]:
        self.raw += [data for data, _ in records]
        return [None] * len(records)


def replay_of(shop: Shop, lines: Sequence[Line] = LINES, **options: object) -> Replay:
    clock = shop.clock
    settings = {"rate": 100.0, "run": "r1", "clock": clock.utc, "monotonic": clock.monotonic, "sleep": clock.sleep}
    return Replay(lines, shop, shop, **(settings | options))  # type: ignore[arg-type]


def test_every_line_is_sent_once_in_order_and_stamped_when_sent() -> None:
    shop = Shop(Clock())
    account = replay_of(shop).run()
    assert [event.item_id for event in shop.events] == [str(line.product) for line in LINES]
    assert account.events == {event.event_id for event in shop.events}
    assert len(account.events) == len(LINES)
    order = [(event.occurred_ms, event.event_id) for event in shop.events]
    assert order == sorted(order), "the order of a basket survives in (occurred_at, event_id)"
    assert all(
        event.received_at is not None and abs((event.received_at - event.occurred_at).total_seconds()) < 1
        for event in shop.events
    )


def test_the_rate_is_kept() -> None:
    shop = Shop(Clock())
    replay_of(shop, rate=50.0).run()
    assert shop.times[-1] == pytest.approx(20.0, abs=0.3)
    assert max(Counter(int(t) for t in shop.times).values()) <= 55


def test_a_slow_collector_is_not_followed_by_a_burst() -> None:
    clock = Clock()

    class Slow(Shop):
        def post_events(self, events: Sequence[bytes]) -> Posted:
            clock.now += 5.0 if not self.events else 0.0
            return super().post_events(events)

    shop = Slow(clock)
    replay_of(shop, rate=100.0).run()
    assert max(Counter(int(t) for t in shop.times).values()) <= 130, "catching up would send 500 more at once"


def test_duplicates_are_the_same_event_again_and_listed_one_by_one() -> None:
    shop = Shop(Clock())
    account = replay_of(shop, duplicates=0.1).run()
    copies = Counter(event.event_id for event in shop.events)
    assert Counter(account.duplicates) == Counter({event_id: n - 1 for event_id, n in copies.items() if n > 1})
    assert 60 < len(account.duplicates) < 140
    content: dict[str, set[bytes]] = {}
    for event in shop.events:
        unstamped = parse(encode(event))
        content.setdefault(event.event_id, set()).add(f"{unstamped.item_id}{unstamped.occurred_ms}".encode())
    assert all(len(variants) == 1 for variants in content.values())
    assert account.records == len(shop.events)


def test_malformed_records_go_round_the_collector_and_are_found_by_their_markers() -> None:
    shop = Shop(Clock())
    account = replay_of(shop, malformed=0.05).run()
    assert 25 < len(account.malformed) < 80
    assert {markers_in(data)[0] for data in shop.raw} == account.malformed
    assert len(shop.events) == len(LINES)


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_each_malformed_kind_is_rejected_for_its_reason_and_fits_one_line(number: int) -> None:
    marker, data = malformed_record("r1", number, NOW)
    with pytest.raises(InvalidEvent) as caught:
        parse(data)
    assert f"-{caught.value.reason}-end" in marker
    assert markers_in(data) == [marker]
    assert b"\n" not in data


def test_faults_depend_on_the_seed_alone() -> None:
    def faults(seed: int) -> list[tuple[str, int]]:
        steps = plan(LINES, seed=seed, duplicates=0.05, malformed=0.05)
        return [(step.kind, step.number) for step in steps]

    assert faults(1) == faults(1)
    assert faults(1) != faults(2)


def test_a_duplicate_follows_its_original_within_the_bound() -> None:
    place: dict[int, int] = {}
    for at, step in enumerate(plan(LINES, seed=3, duplicates=0.2, malformed=0.0)):
        if step.kind == "event":
            place[step.number] = at
        else:
            assert 0 < at - place[step.number] <= 2 * DUPLICATE_WITHIN


def test_what_was_refused_is_not_in_the_account_of_what_was_sent() -> None:
    shop = Shop(Clock(), refusing="-00000007-")
    account = replay_of(shop).run()
    assert list(account.refused) == ["r1-00000007-1-3"]
    assert account.events == {event.event_id for event in shop.events}


def test_each_lap_has_ids_of_its_own() -> None:
    shop = Shop(Clock())
    account = replay_of(shop, LINES[:8], laps=2).run()
    assert len(account.events) == 16
    assert [event.session_id for event in shop.events] == ["0"] * 4 + ["1"] * 4 + ["0-1"] * 4 + ["1-1"] * 4


def test_a_replay_without_end_stops_when_asked_and_keeps_counts_alone() -> None:
    shop = Shop(Clock())
    replay = replay_of(shop, LINES[:8], laps=None)
    sleep = shop.clock.sleep

    def stop_after_ten_seconds(seconds: float) -> None:
        sleep(seconds)
        if shop.clock.now > 10:
            replay.stop()

    replay._sleep = stop_after_ten_seconds
    account = replay.run()
    assert account.sent == len(shop.events) > 900
    assert not account.events


def test_original_times_are_kept_and_never_late() -> None:
    shop = Shop(Clock())
    account = replay_of(shop, original_times=True).run()
    events = [parse(data) for data in shop.raw]
    assert [event.occurred_ms for event in events] == [line.occurred_ms for line in LINES]
    assert not any(is_late(event.occurred_ms, event.received_ms) for event in events)
    assert account.sent == len(LINES)
    assert not shop.events


def test_a_stream_that_takes_nothing_ends_the_replay() -> None:
    class Gone(Shop):
        def put(self, records: Sequence[tuple[bytes, str]]) -> list[str | None]:
            return ["ResourceNotFoundException"] * len(records)

    with pytest.raises(StoreError, match="ResourceNotFoundException"):
        replay_of(Gone(Clock()), original_times=True).run()
