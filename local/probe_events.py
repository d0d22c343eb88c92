"""Events that the probes send: stamped with now, ids that rise, so that the last one sent is the newest."""

import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from contracts.errors import StoreError
from contracts.events import Event, EventType, encode
from contracts.lists import BasedOn
from local.clients import MAX_EVENTS, Posted

__all__ = ["Sender", "covering"]


class Collector(Protocol):
    """Whoever takes events over HTTP; see :class:`local.clients.Api`."""

    def post_events(self, events: Sequence[bytes]) -> Posted:
        """Send encoded events; one outcome each."""
        ...


class Sender:
    """Makes events of one probe and sends them through the collector; ``prefix`` begins every event id."""

    def __init__(self, api: Collector, prefix: str) -> None:
        self._api = api
        self._prefix = prefix
        self._numbers = itertools.count()

    def event(self, kind: EventType, item_id: str, *, user: str | None = None, visitor: str | None = None) -> Event:
        """An event of a known ``user`` or an anonymous ``visitor``, now."""
        return Event(
            event_id=f"{self._prefix}-{next(self._numbers):08d}",
            event_type=kind,
            user_id=user,
            anonymous_id=visitor,
            session_id=f"{self._prefix}-{user or visitor}",
            item_id=item_id,
            occurred_at=datetime.now(UTC),
        )

    def send(self, events: Sequence[Event]) -> float:
        """Send them in order; return the monotonic time of the collector's last answer.

        Raises:
            StoreError: an event was not taken.
        """
        for start in range(0, len(events), MAX_EVENTS):
            posted = self._api.post_events([encode(event) for event in events[start : start + MAX_EVENTS]])
            if posted.refused:
                message = f"the collector refused {len(posted.refused)} events of a probe: {posted.refused}"
                raise StoreError(message)
        return time.monotonic()


def covering(events: Sequence[Event]) -> BasedOn:
    """What a list must be based on to reflect all of ``events``."""
    return max(BasedOn(event.occurred_ms, event.event_id) for event in events)
