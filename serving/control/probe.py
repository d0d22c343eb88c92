"""Freshness as serving sees it: from an event the collector accepted to a live list in Redis that reflects it.

It follows a few events a second, and only while somebody looks at the control room, so that it costs next to nothing.
"""

import asyncio
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from contracts.errors import ContractError, StoreError
from contracts.keys import user_key
from contracts.lists import UserValue, covers, decode_user
from serving.control.answers import FreshnessView

__all__ = ["EDGES_MS", "Probe", "reflects", "summary"]

EDGES_MS: Final = (50, 100, 150, 200, 300, 500, 750, 1000, 2000, 5000)
_KEPT: Final = 500
_AT_ONCE: Final = 4
_PATIENCE_S: Final = 10.0
_EVERY_S: Final = 0.02
_WATCHED_S: Final = 60.0

Read = Callable[[Sequence[tuple[Any, ...]]], Awaitable[list[Any]]]


class Probe:
    """``offer`` accepted events, ``view`` what came out; both from the event loop."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._took: deque[float] = deque(maxlen=_KEPT)
        self._missed = 0
        self._running: set[asyncio.Task[None]] = set()
        self._watched_until = 0.0

    def offer(self, accepted: Iterable[tuple[str, str]]) -> None:
        """Accepted events as (partition key, event id); the last is followed if there is room and somebody looks."""
        if self._clock() > self._watched_until or len(self._running) >= _AT_ONCE:
            return
        for key, event_id in list(accepted)[-1:]:
            shop, _, subject = key.partition("#")
            task = asyncio.get_running_loop().create_task(self._follow(user_key(shop, subject), event_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _follow(self, key: str, event_id: str) -> None:
        began = self._clock()
        while self._clock() - began < _PATIENCE_S:
            try:
                (data,) = await self._read([("GET", key)])
                if data and reflects(decode_user(data), event_id):
                    self._took.append((self._clock() - began) * 1000)
                    return
            except (StoreError, ContractError):
                return  # a Redis that is away says nothing of freshness; health tells it
            await asyncio.sleep(_EVERY_S)
        self._missed += 1

    def view(self) -> FreshnessView:
        """The newest measurements; from now on for a minute further ones are made."""
        self._watched_until = self._clock() + _WATCHED_S
        return summary(self._took, self._missed)

    def close(self) -> None:
        """Follow nothing any more."""
        for task in self._running:
            task.cancel()


def reflects(value: UserValue, event_id: str) -> bool:
    """Whether the person's live list reflects the event."""
    at = next((action.occurred_ms for action in value.actions if action.event_id == event_id), None)
    return at is not None and value.live is not None and covers(value.live.based_on, at, event_id)


def summary(took_ms: Iterable[float], missed: int) -> FreshnessView:
    """A histogram and its quantiles.

    >>> view = summary([60.0, 80.0, 9000.0], missed=1)
    >>> view.counts[:2], view.counts[-1], view.p50_ms, view.missed
    ([0, 2], 1, 80.0, 1)
    """
    ordered = sorted(took_ms)
    counts = [0] * (len(EDGES_MS) + 1)
    for value in ordered:
        counts[bisect_left(EDGES_MS, value)] += 1
    quantiles = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99) if ordered]
    return FreshnessView(list(EDGES_MS), counts, len(ordered), missed, *(round(value, 1) for value in quantiles))
