"""Taking events in: to Kinesis, or, while that is away, to a spool; what is called accepted is safe in either."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, Protocol

from contracts.errors import StoreError
from contracts.settings import Settings
from serving.answers import CollectorStatus, EventsAnswer
from serving.collector import Admission, admit, conclude
from serving.frames import Record
from serving.spool import SpoolFull
from stores.streams import THROTTLED, Stream

__all__ = ["BUSY", "Collector", "Overloaded", "Spooling"]

_SPOOL_FULL: Final = "SpoolFull"
BUSY: Final = frozenset({_SPOOL_FULL, THROTTLED})
"""Reasons of a failure that say *too much for now*."""

_SPOOL_FAILED: Final = "SpoolFailed"
_TIMEOUT: Final = "Timeout"
_IN_FLIGHT: Final = 64
_PUT_DEADLINE_S: Final = 8.0
_PUT_BEFORE_SPOOL_S: Final = 2.0
"""How long Kinesis is waited for where there is a spool: pages give up at about this age."""
_SPOOL_DEADLINE_S: Final = 5.0
_AGAIN_AFTER_S: Final = 5.0
"""How often one request tries a stream that is away; the others go straight to the spool."""


class Overloaded(Exception):
    """As many requests wait for the stream as this process takes at a time."""


class Spooling(Protocol):
    """A safe place beside the stream: :class:`serving.spool.Spool` on disk, or :class:`serving.queue.QueueSpool`."""

    def append(self, records: Sequence[Record]) -> None:
        """Keep all records, or raise SpoolFull, StoreError or OSError: then none is promised."""
        ...


class Collector:
    """Takes events in; ``counts`` are for operators."""

    def __init__(
        self,
        settings: Settings,
        spool: Spooling | None = None,
        *,
        stream: Stream | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shops = frozenset(settings.shops)
        self._stream = stream or Stream.from_settings(settings, patient=spool is None)
        self._spool = spool
        self._now, self._clock = now, clock
        self._pool = ThreadPoolExecutor(16, "kinesis")
        self._disk = ThreadPoolExecutor(8, "spool")
        self._in_flight = 0
        self._again_at = 0.0
        self.counts = CollectorStatus()
        self.accepted: Callable[[list[tuple[str, str]]], None] = lambda _: None
        """Told of what was accepted: (partition key, event id)."""

    async def take(self, events: list[bytes], shop: str) -> EventsAnswer:
        """Validate, stamp and keep; one outcome an event.

        A record whose outcome is not known in time is spooled, or else counts as failed. It may be on the stream
        nevertheless: sending it again does no harm, since ``event_id`` is the key of de-duplication.

        Raises:
            Overloaded: too many requests wait already; nothing was put.
        """
        if self._in_flight >= _IN_FLIGHT:
            raise Overloaded
        self._in_flight += 1
        try:
            now = self._now()
            admission = admit(events, now, self._shops, shop)
            answer = conclude(admission, await self._keep(admission.records), now)
        finally:
            self._in_flight -= 1
        if answer.accepted:
            self.accepted(_accepted(admission, answer))
        self.counts.accepted += answer.accepted
        self.counts.rejected += answer.rejected
        self.counts.failed += answer.failed
        return answer

    async def _keep(self, records: list[Record]) -> list[str | None]:
        outcomes: list[str | None] = []
        if records:
            outcomes = ["Away"] * len(records) if self._skips() else await self._put(records)
        left = [at for at, outcome in enumerate(outcomes) if outcome is not None]
        if left and self._spool is not None:
            code = await self._set_aside(self._spool, [records[at] for at in left])
            for at in left:
                outcomes[at] = code
        return outcomes

    def _skips(self) -> bool:
        """Whether the stream is left alone now; every few seconds one request tries it."""
        if self._spool is None or not self.counts.away:
            return False
        if self._clock() < self._again_at:
            return True
        self._again_at = self._clock() + _AGAIN_AFTER_S
        return False

    async def _put(self, records: list[Record]) -> list[str | None]:
        put = asyncio.get_running_loop().run_in_executor(self._pool, self._stream.put, records)
        deadline_s = _PUT_DEADLINE_S if self._spool is None else _PUT_BEFORE_SPOOL_S
        outcomes: list[str | None]
        try:
            outcomes = await asyncio.wait_for(put, deadline_s)
        except TimeoutError:
            outcomes = [_TIMEOUT] * len(records)
        self.noted(outcomes)
        return outcomes

    def noted(self, outcomes: Sequence[str | None]) -> None:
        """Learn from a put whether the stream is there; a stream that throttles is."""
        away = all(outcome is not None and outcome != THROTTLED for outcome in outcomes)
        if away:
            self._again_at = self._clock() + _AGAIN_AFTER_S
        self.counts.away = away

    async def _set_aside(self, spool: Spooling, records: list[Record]) -> str | None:
        """``None`` once the records are safe, else why they are not."""
        append = asyncio.get_running_loop().run_in_executor(self._disk, spool.append, records)
        try:
            await asyncio.wait_for(append, _SPOOL_DEADLINE_S)
        except SpoolFull:
            return _SPOOL_FULL
        except (OSError, StoreError):  # a TimeoutError is an OSError
            return _SPOOL_FAILED
        self.counts.spooled += len(records)
        return None

    def close(self) -> None:
        """Give the threads back; puts that run end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._disk.shutdown(wait=True)


def _accepted(admission: Admission, answer: EventsAnswer) -> list[tuple[str, str]]:
    results = ((answer.results[at], record) for at, record in zip(admission.positions, admission.records, strict=True))
    return [(record[1], result.event_id or "") for result, record in results if result.status == "accepted"]
