"""Waiting for keys to change: one small poll for all connected pages together, whatever their number."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from contracts.errors import StoreError
from serving.reader import Reader

__all__ = ["Watch", "Watcher"]

_HEAD: Final = 63
"""A user value begins with its revision, so its first bytes tell a change; an alias is compared by its own."""


class Watch:
    """One page's interest in a few keys."""

    def __init__(self) -> None:
        self.keys: tuple[str, ...] = ()
        self._changed = asyncio.Event()

    def follow(self, keys: tuple[str, ...]) -> None:
        """Watch ``keys`` from now on; new ones count as changed, so that no write before the first poll is missed."""
        if keys != self.keys:
            self.keys = keys
            self.notify()

    def notify(self) -> None:
        """Wake the waiting page."""
        self._changed.set()

    async def changed(self, timeout_s: float) -> bool:
        """Wait for a change; false after ``timeout_s``. A change since the last call returns at once."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Watcher:
    """Polls the heads of all watched keys in one pipelined round every ``period_s``."""

    def __init__(self, reader: Reader, *, period_s: float = 0.05, limit: int = 500) -> None:
        self._reader, self._period_s, self._limit = reader, period_s, limit
        self._watches: set[Watch] = set()
        self._any = asyncio.Event()
        self._heads: dict[str, bytes] = {}
        self.closing = False

    def __len__(self) -> int:
        return len(self._watches)

    @property
    def full(self) -> bool:
        """Whether as many pages are fed as this process takes."""
        return len(self._watches) >= self._limit

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """A watch for as long as the block runs; tell it what to ``follow``, and refuse new ones while ``full``."""
        watch = Watch()
        self._watches.add(watch)
        self._any.set()
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    async def run(self) -> None:
        """Poll until cancelled; costs nothing while nobody watches. Redis going or coming back wakes all pages."""
        was_ok = self._reader.redis_ok
        while True:
            if not self._watches:
                self._any.clear()
                self._heads.clear()
                await self._any.wait()
            with suppress(StoreError):
                await self.poll()
            if was_ok != self._reader.redis_ok:
                was_ok = not was_ok
                self._notify_all()
            await asyncio.sleep(self._period_s)

    async def poll(self) -> None:
        """Look once, and wake whoever watches a key that changed."""
        keys: Sequence[str] = sorted({key for watch in self._watches for key in watch.keys})
        if not keys:
            return
        heads = dict(zip(keys, await self._reader.redis([("GETRANGE", key, 0, _HEAD) for key in keys]), strict=True))
        changed = {key for key, head in heads.items() if self._heads.get(key) != head}
        self._heads = heads
        for watch in self._watches:
            if changed.intersection(watch.keys):
                watch.notify()

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self.closing = True
        self._notify_all()

    def _notify_all(self) -> None:
        for watch in self._watches:
            watch.notify()
