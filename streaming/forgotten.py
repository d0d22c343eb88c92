"""Who is forgotten, followed by the step that parses: what they did leaves no trace, however often it is replayed.

Live traffic costs nothing: an event after the newest tombstone is nobody's forgotten past, and nobody is looked up.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection
from itertools import chain
from typing import Final

from contracts.errors import ContractError, StoreError
from contracts.forgetting import FORGOTTEN, Tombstones, decode_tombstones, tombstones_path
from contracts.records import RecordColumns
from stores.objects import NotFound, Objects

__all__ = ["Forgotten"]

_log = logging.getLogger(__name__)
_STALE: Final = 3


class Forgotten:
    """The tombstones of each shop, at most a few polls old.

    A worker that was held up (a long pause, Redis away) looks again before it goes on, so that whoever deletes a person
    knows after how long nothing of them is written any more. While S3 is away it goes on with what it knows.
    """

    def __init__(
        self,
        objects: Objects,
        shops: Collection[str],
        poll_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects, self._shops, self._poll_s, self._clock = objects, tuple(shops), poll_s, clock
        self._tags: dict[str, str | None] = {}
        self._stones: dict[str, Tombstones] = {}
        self._newest_ms = -1
        self._looked = -1e9
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="forgotten", daemon=True)

    def start(self) -> None:
        """Look now, then follow."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_s):
            try:
                self.look()
            except Exception:  # the thread has no caller, and must not end in silence
                _log.exception("the tombstones stay as they were")

    def look(self) -> None:
        """Read what changed; whatever goes wrong, what is known stays."""
        for shop in self._shops:
            try:
                tag = self._objects.etag(tombstones_path(shop))
                if tag is None or tag == self._tags.get(shop):
                    continue
                data, self._tags[shop] = self._objects.get_tagged(tombstones_path(shop))
                self._stones[shop] = decode_tombstones(data)
            except NotFound:
                continue
            except (StoreError, ContractError) as exc:
                _log.warning("shop %s keeps its tombstones: %s", shop, exc)
        self._newest_ms = max((stones.newest_ms for stones in self._stones.values()), default=-1)
        self._looked = self._clock()

    def leave_out(self, columns: RecordColumns) -> None:
        """Give the rows of a forgotten past the reason :data:`~contracts.forgetting.FORGOTTEN`, and empty them."""
        if self._clock() - self._looked > _STALE * self._poll_s:
            self.look()
        newest = self._newest_ms
        if newest < 0 or min(chain(columns.occurred_ms, columns.received_ms), default=newest + 1) > newest:
            return
        for at, occurred in enumerate(columns.occurred_ms):
            if occurred <= newest or columns.received_ms[at] <= newest:
                self._judge(columns, at)

    def _judge(self, columns: RecordColumns, at: int) -> None:
        stones = self._stones.get(columns.shop_id[at])
        times = columns.occurred_ms[at], columns.received_ms[at]
        if columns.reason[at] or stones is None:
            return
        if stones.covers(columns.shop_id[at], columns.subject[at], *times):
            columns.reason[at], columns.action[at] = FORGOTTEN, False
            for column in (
                columns.event_id,
                columns.subject,
                columns.anonymous_id,
                columns.session_id,
                columns.item_id,
            ):
                column[at] = ""
