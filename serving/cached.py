"""A small asynchronous cache: one reader at a time for a key, everyone else gets what is there."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Cached"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cached(Generic[K, V]):
    """Values of ``read(key, last value)``, read again once older than ``ttl_s``; bounded to ``keep`` keys.

    While one caller reads a key anew, others are answered with its last value, or wait where there is none.
    """

    def __init__(
        self,
        read: Callable[[K, V | None], Awaitable[V | None]],
        ttl_s: float,
        keep: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._ttl_s, self._keep, self._clock = read, ttl_s, keep, clock
        self._values: dict[K, tuple[float, V | None]] = {}
        self._locks: dict[K, asyncio.Lock] = {}

    async def get(self, key: K) -> V | None:
        """The value of ``key``, at most ``ttl_s`` old unless it is being read right now."""
        known = self._values.get(key)
        if known and known[0] > self._clock():
            return known[1]
        lock = self._locks.setdefault(key, asyncio.Lock())
        if known and lock.locked():
            return known[1]
        async with lock:
            again = self._values.get(key)
            if again and again[0] > self._clock():
                return again[1]
            value = await self._read(key, again[1] if again else None)
            if len(self._values) >= self._keep and key not in self._values:
                oldest = next(iter(self._values))
                del self._values[oldest]
                self._locks.pop(oldest, None)
            self._values[key] = (self._clock() + self._ttl_s, value)
            return value
