"""What the routes share: one set of readers, feeds and writers for a process."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from contracts.settings import Settings
from serving.admin.desk import Desk
from serving.buckets import TokenBuckets
from serving.control.room import Room
from serving.drain import Drain
from serving.feed import Feed
from serving.intake import Collector
from serving.keyring import KeyRing
from serving.ladder import Ladder
from serving.lists import Lists
from serving.logs import Names
from serving.queue import QueueSpool
from serving.reader import Reader
from serving.spool import Spool
from serving.watch import Watcher
from stores.streams import Stream

__all__ = ["Services"]

_log = logging.getLogger(__name__)
_MIB: Final = 1024 * 1024
_FAILURES_PER_S: Final = 5.0
_FAILURES: Final = 50


class Services:
    """Everything the routes need; :meth:`running` keeps it fresh."""

    def __init__(self, settings: Settings, streams: int = 500) -> None:
        self.settings = settings
        self.ring = KeyRing(settings)
        self.names = Names(self.ring.log_key)
        self.failures = TokenBuckets(_FAILURES_PER_S, _FAILURES, time.monotonic)
        """By address: how often a key that is none was shown."""
        self.reader = Reader(settings)
        self.feed = Feed(settings)
        self.ladder = Ladder(self.reader, self.feed, settings.serving.bought_within_days)
        self.lists = Lists(self.reader, self.feed, self.ladder)
        self.watcher = Watcher(self.reader, limit=streams)
        self.spool = _spool(settings)
        self.collector = Collector(settings, self.spool or QueueSpool.from_settings(settings))
        self.room = Room(settings, self.reader)
        self.desk = Desk(settings)
        self.collector.accepted = self.room.probe.offer
        self.drain: Drain | None = None
        if self.spool:
            self.drain = Drain(self.spool, self.collector, Stream.from_settings(settings, patient=False))

    @staticmethod
    def now_ms() -> int:
        """The clock, epoch ms."""
        return time.time_ns() // 1_000_000

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Background work for as long as the block runs."""
        works = [self.reader.keep, self.feed.keep, self.watcher.run, self.ring.keep, self.room.keep]
        tasks = [
            asyncio.create_task(self._always(work)) for work in (*works, *([self.drain.keep] if self.drain else []))
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            self.room.close()
            self.desk.close()
            self.reader.close()
            self.collector.close()
            if self.spool and self.drain:
                await asyncio.to_thread(self.drain.stop)
                self.spool.close()

    @staticmethod
    async def _always(work: Callable[[], Awaitable[None]]) -> None:
        """A fault in background work is logged and the work begins again; it must not end for good in silence."""
        while True:
            try:
                await work()
            except Exception:
                _log.exception("background work failed and begins again")
            await asyncio.sleep(1.0)


def _spool(settings: Settings) -> Spool | None:
    folder = settings.serving.spool_folder
    return Spool.claim(Path(folder), settings.serving.spool_max_mib * _MIB) if folder else None
