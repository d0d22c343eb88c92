"""Held-out weeks of the default data as live traffic, with injected faults and an exact account of what went out."""

import argparse
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol

import msgspec

from contracts.errors import LiveshelfError, StoreError
from contracts.events import Event, encode, partition_key, to_ms
from contracts.ids import MAX_ID_LENGTH
from contracts.settings import load as load_settings
from local import journey
from local.clients import MAX_EVENTS, Api, Posted
from local.fill import LONGEST_DELAY_MS, shift_weeks
from local.replay_plan import DUPLICATE_WITHIN, Line, Sendable, Step, lines_of, malformed_record, plan
from stores.streams import Stream

__all__ = ["Account", "Collector", "Replay", "held_out", "new_run"]

_BATCHES_PER_S: Final = 10


class Collector(Protocol):
    """Whoever takes events over HTTP; see :class:`local.clients.Api`."""

    def post_events(self, events: Sequence[bytes]) -> Posted:
        """Send encoded events; one outcome each."""
        ...


class Raw(Protocol):
    """Whoever puts records on the stream without a look; see :class:`stores.streams.Stream`."""

    def put(self, records: Sequence[tuple[bytes, str]]) -> list[str | None]:
        """Put (data, partition key); ``None`` for each that was taken, else an error code."""
        ...


@dataclass
class Account:
    """What a replay sent, record by record; only what the other side confirmed is in it.

    ``duplicates`` holds the id of every record sent again on purpose, ``malformed`` the markers of the broken ones,
    ``refused`` what was not taken, with the reason. ``uncertain`` counts records that a retry may have doubled: where
    it is not 0, there may be more duplicates in the lake than were injected. A replay without an end keeps the counts
    alone (``keep`` is false).
    """

    run: str
    keep: bool = True
    sent: int = 0
    again: int = 0
    broken: int = 0
    uncertain: int = 0
    events: set[str] = field(default_factory=set)
    duplicates: list[str] = field(default_factory=list)
    malformed: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records on the stream."""
        return self.sent + self.again + self.broken

    def event(self, event_id: str) -> None:
        """A new event was taken."""
        self.sent += 1
        if self.keep:
            self.events.add(event_id)

    def duplicate(self, event_id: str) -> None:
        """An event was taken once more."""
        self.again += 1
        if self.keep:
            self.duplicates.append(event_id)

    def marker(self, marker: str) -> None:
        """A malformed record was taken."""
        self.broken += 1
        if self.keep:
            self.malformed.add(marker)


def new_run() -> str:
    """A name that no other run has; short, lower case, safe in ids."""
    return f"r{uuid.uuid4().hex[:8]}"


def held_out(weeks: Sequence[int], now: datetime, *, seed: int = journey.SEED) -> list[Line]:
    """The lines of held-out weeks, moved by the same whole weeks as the history was for ``now``."""
    newest = int(journey.load(journey.split().lake[-1:], seed=seed).lines["occurred_ms"].max())
    shift = shift_weeks(newest + LONGEST_DELAY_MS, to_ms(now))
    return lines_of(journey.load(weeks, seed=seed).lines, shift * journey.WEEK_MS)


class Replay:
    """Sends lines in order, at ``rate`` events a second, through the collector; :meth:`run` blocks until all is sent.

    Events are stamped when sent, so that the replay shares one clock with everybody else's clicks. Malformed records go
    straight to the stream, because the collector would refuse them. With ``original_times`` (for tests) events keep
    their time and go straight to the stream too, because the collector's stamp would make them all late.

    Args:
        laps: how often the lines are sent; each lap has event and session ids of its own. ``None`` repeats for ever.
        clock: the time, UTC.
        sleep: waits the given seconds.
    """

    def __init__(
        self,
        lines: Sequence[Sendable],
        collector: Collector,
        raw: Raw,
        *,
        rate: float,
        run: str | None = None,
        seed: int = journey.SEED,
        duplicates: float = 0.0,
        malformed: float = 0.0,
        laps: int | None = 1,
        original_times: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._lines, self._collector, self._raw = lines, collector, raw
        self._rate, self._laps, self._original = rate, laps, original_times
        self._plan = partial(plan, seed=seed, duplicates=duplicates, malformed=malformed)
        self._stop = threading.Event()
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep or self._wait
        self._recent: dict[int, Event] = {}
        self._order: deque[int] = deque()
        self._last_ms = 0
        self.account = Account(run or new_run(), keep=laps is not None)

    @property
    def total(self) -> int | None:
        """How many distinct events will be sent; ``None`` for ever."""
        return None if self._laps is None else self._laps * len(self._lines)

    def stop(self) -> None:
        """Ask :meth:`run` to end after the current batch; safe from another thread."""
        self._stop.set()

    def run(self) -> Account:
        """Send everything, or until :meth:`stop`, and return the account.

        Raises:
            StoreError: the collector or the stream did not take a batch after all retries.
        """
        size = int(min(MAX_EVENTS, max(1, self._rate // _BATCHES_PER_S)))
        due = self._monotonic()
        batch: list[Step] = []
        for step in self._plan(self._all_laps()):
            batch.append(step)
            if len(batch) < size:
                continue
            self._send(batch)
            # A slow answer is not made up for by a burst: the rate is an upper bound.
            due = max(due + len(batch) / self._rate, self._monotonic())
            batch = []
            self._sleep(due - self._monotonic())
            if self._stop.is_set():
                return self.account
        self._send(batch)
        return self.account

    def _wait(self, seconds: float) -> None:
        self._stop.wait(max(0.0, seconds))

    def _all_laps(self) -> Iterator[Sendable]:
        lap = 0
        while self._laps is None or lap < self._laps:
            yield from self._lines
            lap += 1

    def _send(self, batch: Sequence[Step]) -> None:
        good = [step for step in batch if step.kind != "malformed"]
        events = [self._event(step) for step in good]
        broken = [malformed_record(self.account.run, s.number, self._clock()) for s in batch if s.kind == "malformed"]
        if broken:
            taken = self._put([(data, f"default#{marker}") for marker, data in broken])
            for (marker, _), code in zip(broken, taken, strict=True):
                if code is None:
                    self.account.marker(marker)
                else:
                    self.account.refused[marker] = code
        if events:
            self._note(events, good, self._deliver(events))

    def _event(self, step: Step) -> Event:
        if step.line is None:
            return self._recent[step.number]
        line, lap = step.line, step.number // len(self._lines)
        event_id = f"{self.account.run}-{step.number:08d}-{line.name}"
        session_id = line.session and _of_lap(line.session, lap)
        if self._original:
            occurred = _time(line.occurred_ms)
            event = line.event(event_id, session_id, occurred)
            event = msgspec.structs.replace(event, received_at=occurred + timedelta(milliseconds=200))
        else:
            # Never backwards, and ids rise, so that the order of a basket survives in (occurred_at, event_id).
            self._last_ms = max(to_ms(self._clock()), self._last_ms)
            event = line.event(event_id, session_id, _time(self._last_ms))
        self._recent[step.number] = event
        self._order.append(step.number)
        # A duplicate waits for at most DUPLICATE_WITHIN events, then nobody asks for its original any more.
        if len(self._order) > 2 * DUPLICATE_WITHIN:
            del self._recent[self._order.popleft()]
        return event

    def _deliver(self, events: Sequence[Event]) -> Posted:
        if not self._original:
            return self._collector.post_events([encode(event) for event in events])
        codes = self._put([(encode(event), partition_key(event)) for event in events])
        return Posted(len(events), refused={i: code for i, code in enumerate(codes) if code is not None})

    def _put(self, records: Sequence[tuple[bytes, str]]) -> list[str | None]:
        codes = self._raw.put(records)
        if codes and all(codes):
            message = f"the stream took none of {len(records)} records: {codes[0]}; check that it exists"
            raise StoreError(message)
        return codes

    def _note(self, events: Sequence[Event], steps: Sequence[Step], posted: Posted) -> None:
        self.account.uncertain += posted.uncertain
        for position, (event, step) in enumerate(zip(events, steps, strict=True)):
            if reason := posted.refused.get(position):
                self.account.refused[event.event_id] = reason
            elif step.kind == "duplicate":
                self.account.duplicate(event.event_id)
            else:
                self.account.event(event.event_id)


def _of_lap(session: str, lap: int) -> str:
    """The session's id in a lap; never longer than an id may be.

    >>> _of_lap("31198570044", 0), _of_lap("31198570044", 2), len(_of_lap("x" * 128, 12))
    ('31198570044', '31198570044-2', 128)
    """
    tail = f"-{lap}" if lap else ""
    return session[: MAX_ID_LENGTH - len(tail)] + tail


def _time(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.replay", description="Send held-out weeks as live traffic.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the collector (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="end after so many distinct events")
    parser.add_argument("--weeks", type=int, nargs="+", metavar="N", help="of the data (default: the last 4)")
    parser.add_argument("--duplicates", type=float, default=0.0, help="share of events sent a second time")
    parser.add_argument("--malformed", type=float, default=0.0, help="malformed records for each event")
    parser.add_argument("--seed", type=int, default=journey.SEED)
    parser.add_argument("--forever", action="store_true", help="begin again at the end, with new ids")
    parser.add_argument("--original-times", action="store_true", help="keep the (shifted) times of the data")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Replay until the end or Ctrl-C, with a progress line every second; return the exit code."""
    given, parts = _arguments(argv), journey.split()
    lines = held_out(given.weeks or parts.replay + parts.test, datetime.now(UTC), seed=given.seed)[: given.limit]
    try:
        raw = Stream.from_settings(load_settings())
        with Api(given.url) as api, ThreadPoolExecutor(1) as pool:
            replay = Replay(
                lines,
                api,
                raw,
                rate=given.rate,
                seed=given.seed,
                duplicates=given.duplicates,
                malformed=given.malformed,
                laps=None if given.forever else 1,
                original_times=given.original_times,
            )
            _watch(replay, pool.submit(replay.run))
    except LiveshelfError as exc:
        print(f"\nreplay: {exc}", file=sys.stderr)
        return 1
    return 0


def _watch(replay: Replay, running: Future[Account]) -> None:
    try:
        while not running.done():
            wait([running], timeout=1.0)
            print(f"\r{_progress(replay)}", end="", flush=True)
    except KeyboardInterrupt:
        replay.stop()
    running.result()
    print(f"\r{_progress(replay)}")


def _progress(replay: Replay) -> str:
    account = replay.account
    of = "" if replay.total is None else f" of {replay.total:,}"
    faults = f"{account.again:,} duplicates, {account.broken:,} malformed, {len(account.refused):,} refused"
    return f"replay {account.run}: {account.sent:,}{of} events, {faults}"


if __name__ == "__main__":
    sys.exit(main())
