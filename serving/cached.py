"""A small asynchronous cache: one reader at a time for a key, everyone else gets what is there, nobody waits long."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Cached"]

_log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(NamedTuple, Generic[V]):
    fresh_until: float
    value: V | None


class Cached(Generic[K, V]):
    """Values of ``read(key, last value)``, read again once older than ``ttl_s``; bounded to ``keep`` keys.

    A value that is older by less than ``stale_s`` is answered at once and read anew behind the caller's back; an older
    one, or none, is waited for, as long as the caller has time, and then the old one has to do. A read that raises is
    logged, and the last value stays.
    """

    def __init__(
        self,
        read: Callable[[K, V | None], Awaitable[V | None]],
        ttl_s: float,
        keep: int = 256,
        clock: Callable[[], float] = time.monotonic,
        stale_s: float = 60.0,
    ) -> None:
        self._read, self._ttl_s, self._keep, self._clock, self._stale_s = read, ttl_s, keep, clock, stale_s
        self._values: dict[K, _Entry[V]] = {}
        self._reading: dict[K, asyncio.Task[None]] = {}

    async def get(self, key: K, wait_s: float = 1.0) -> V | None:
        """The value of ``key``; waits at most ``wait_s`` for one to be read."""
        known = self._values.get(key)
        now = self._clock()
        if known is not None and now < known.fresh_until:
            return known.value
        task = self._reading.get(key)
        if task is None or task.done():
            task = self._reading[key] = asyncio.create_task(self._refresh(key, known.value if known else None))
        if known is not None and now < known.fresh_until + self._stale_s:
            return known.value
        if wait_s > 0:
            await asyncio.wait((task,), timeout=wait_s)
        found = self._values.get(key)
        return found.value if found else None

    async def _refresh(self, key: K, last: V | None) -> None:
        try:
            value = await self._read(key, last)
        except Exception:
            _log.exception("%r was not read anew: the last value stays", key)
            value = last
        finally:
            self._reading.pop(key, None)
        if len(self._values) >= self._keep and key not in self._values:
            del self._values[next(iter(self._values))]
        self._values[key] = _Entry(self._clock() + self._ttl_s, value)
