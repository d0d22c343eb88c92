"""Bringing spooled events to the stream once Kinesis is back: batch by batch, ever more patiently while it is not."""

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Final

from serving.answers import SpoolStatus
from serving.frames import Record
from serving.intake import Collector
from serving.spool import Segment, Spool
from stores.streams import MAX_REQUEST_RECORDS, Stream

__all__ = ["Drain", "pause_s"]

_log = logging.getLogger(__name__)
_LOOK_S: Final = 0.25
_LONGEST_S: Final = 10.0


def pause_s(failures: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """How long to wait after so many batches in a row that were not taken: full jitter over half a second to ten.

    >>> [pause_s(failures, lambda low, high: high) for failures in (1, 2, 3, 9)]
    [0.5, 1.0, 2.0, 10.0]
    """
    return uniform(0.1, min(_LONGEST_S, 0.5 * 2 ** (failures - 1)))


class Drain:
    """Empties the spool of this process, and those that dead ones left beside it."""

    def __init__(self, spool: Spool, collector: Collector, stream: Stream) -> None:
        self._spool, self._collector, self._stream = spool, collector, stream
        self._drained = self._failures = 0
        self._rest: tuple[Path, int, list[Record]] | None = None
        self._stepping, self._stopping = threading.Lock(), False

    def status(self) -> SpoolStatus:
        """For operators."""
        spool = self._spool
        return SpoolStatus(spool.records, spool.bytes, spool.max_bytes, self._drained)

    async def keep(self) -> None:
        """Drain until cancelled."""
        while True:
            waiting = await asyncio.to_thread(self.step)
            if self._failures:
                await asyncio.sleep(pause_s(self._failures))
            elif not waiting:
                await asyncio.sleep(_LOOK_S)

    def step(self) -> bool:
        """Send one segment, or as much of it as the stream takes; false where nothing waits."""
        with self._stepping:
            for spool in chain([self._spool], self._spool.orphans()):
                if not self._stopping and (segment := spool.oldest()) is not None:
                    self._send(spool, segment)
                    return True
        return False

    def stop(self) -> None:
        """Return once no batch is under way, and let none begin: then the spool may be closed."""
        self._stopping = True
        with self._stepping:
            pass

    def _send(self, spool: Spool, segment: Segment) -> None:
        for batch, end in segment.batches(MAX_REQUEST_RECORDS):
            # Of a batch that was taken in part only the rest is sent again, or a full shard would never let it end.
            records = self._rest[2] if self._rest and self._rest[:2] == (segment.path, end) else batch
            left = self._put(records)
            if left:
                self._rest = segment.path, end, left
                self._failures = 1 if len(left) < len(records) else self._failures + 1
                return
            self._failures = 0
            segment.advance(end, len(batch))
            if self._stopping:
                return
        spool.remove(segment)
        if not spool.records:
            _log.warning("all events of %s are on the stream", spool.folder)

    def _put(self, records: list[Record]) -> list[Record]:
        """What the stream did not take."""
        outcomes = self._stream.put(records)
        self._collector.noted(outcomes)
        left = [record for record, outcome in zip(records, outcomes, strict=True) if outcome is not None]
        self._drained += len(records) - len(left)
        return left
