"""What the routes share: one set of readers, feeds and writers for a process."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final

from contracts.settings import Settings
from serving.answers import CollectorStatus, EventsAnswer
from serving.collector import admit, conclude
from serving.feed import Feed
from serving.ladder import Ladder
from serving.reader import Reader
from serving.watch import Watcher
from stores.streams import Stream

__all__ = ["Collector", "Overloaded", "Services"]

_log = logging.getLogger(__name__)
_IN_FLIGHT: Final = 64
_PUT_DEADLINE_S: Final = 8.0


class Overloaded(Exception):
    """As many requests wait for the stream as this process takes at a time."""


class Collector:
    """Takes events in: what it calls accepted is on the stream."""

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._shops = frozenset(settings.shops)
        self._stream = Stream.from_settings(settings)
        self._pool = ThreadPoolExecutor(16, "kinesis")
        self._now = now
        self._in_flight = 0
        self.counts = CollectorStatus()

    async def take(self, events: list[bytes], shop: str) -> EventsAnswer:
        """Validate, stamp and put; one outcome an event.

        A record whose outcome is not known in time counts as failed. It may be on the stream nevertheless: sending it
        again does no harm, since ``event_id`` is the key of de-duplication.

        Raises:
            Overloaded: too many requests wait already; nothing was put.
        """
        if self._in_flight >= _IN_FLIGHT:
            raise Overloaded
        self._in_flight += 1
        try:
            now = self._now()
            admission = admit(events, now, self._shops, shop)
            answer = conclude(admission, await self._put(admission.records), now)
        finally:
            self._in_flight -= 1
        self.counts.accepted += answer.accepted
        self.counts.rejected += answer.rejected
        self.counts.failed += answer.failed
        return answer

    async def _put(self, records: list[tuple[bytes, str]]) -> list[str | None]:
        if not records:
            return []
        put = asyncio.get_running_loop().run_in_executor(self._pool, self._stream.put, records)
        try:
            return await asyncio.wait_for(put, _PUT_DEADLINE_S)
        except TimeoutError:
            return ["Timeout"] * len(records)

    def close(self) -> None:
        """Give the threads back; puts that run end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Services:
    """Everything the routes need; :meth:`running` keeps it fresh."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reader = Reader(settings)
        self.ladder = Ladder(self.reader)
        self.watcher = Watcher(self.reader)
        self.feed = Feed(settings)
        self.collector = Collector(settings)

    @staticmethod
    def now_ms() -> int:
        """The clock, epoch ms."""
        return time.time_ns() // 1_000_000

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Background work for as long as the block runs."""
        tasks = [
            asyncio.create_task(self._always(work)) for work in (self.reader.keep, self.feed.keep, self.watcher.run)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            self.reader.close()
            self.collector.close()

    @staticmethod
    async def _always(work: Callable[[], Awaitable[None]]) -> None:
        """A fault in background work is logged and the work begins again; it must not end for good in silence."""
        while True:
            try:
                await work()
            except Exception:
                _log.exception("background work failed and begins again")
            await asyncio.sleep(1.0)
