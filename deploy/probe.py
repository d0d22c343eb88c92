"""Does output flow? An event of a shop of its own goes in, and what the job says of it has to come out on S3.

The state RUNNING of the managed service says little: a Python program that fails at its start can look like that. The
probe takes the whole way: stream, parsing in Python, de-duplication, the serving function with its write to Redis, the
checkpoint, and the Parquet file. Its shop is in no settings, so it touches no shop's figures or lists.
"""

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

import pyarrow.parquet as pq

from contracts.errors import DeploymentError
from contracts.events import Event, encode, partition_key
from contracts.lake import dataset_prefix
from stores.objects import Objects
from stores.streams import Stream

__all__ = ["SHOP", "Probe"]

SHOP: Final = "deploy-probe"
_POLL_S: Final = 5.0


class Probe:
    """Sends one event and waits for the record of what became of it."""

    def __init__(
        self,
        stream: Stream,
        objects: Objects,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stream, self._objects = stream, objects
        self._now, self._pause = now, pause

    def check(self, seconds: float, dead: Callable[[], str | None] = lambda: None) -> str:
        """What the job did with the event (an outcome of :mod:`streaming.batching`), within ``seconds``.

        Args:
            dead: says why it makes no sense to wait any longer, or None.

        Raises:
            DeploymentError: the stream took no event, nothing came out in time, or ``dead`` had a reason.
        """
        began = self._now()
        event_id = self._send(began)
        seen: set[str] = set()
        while self._now() - began < timedelta(seconds=seconds):
            found = self._outcome(event_id, began, seen)
            if found is not None:
                return found
            if reason := dead():
                raise DeploymentError(reason)
            self._pause(_POLL_S)
        message = (
            f"no output for the event {event_id} within {seconds:.0f} s, although the stream took it: the job does not "
            "run, or fails at its checkpoints; see the application's log, logger PythonDriver"
        )
        raise DeploymentError(message)

    def _send(self, now: datetime) -> str:
        event_id = f"probe-{uuid4()}"
        event = Event(
            shop_id=SHOP,
            event_id=event_id,
            event_type="view",
            user_id="probe",
            item_id="probe",
            occurred_at=now,
            received_at=now,
        )
        (refused,) = self._stream.put([(encode(event), partition_key(event))])
        if refused:
            message = f"the stream did not take the probe's event: {refused}"
            raise DeploymentError(message)
        return event_id

    def _outcome(self, event_id: str, began: datetime, seen: set[str]) -> str | None:
        """Look through files that are new; the hour in the path is the event's."""
        prefix = f"{dataset_prefix(SHOP, 'served')}year={began:%Y}/month={began:%m}/day={began:%d}/"
        for path in set(self._objects.list(prefix)) - seen:
            seen.add(path)
            if path.rpartition("/")[2].startswith(("_", ".")):
                continue
            for row in pq.ParquetFile(io.BytesIO(self._objects.get(path))).read(["event_id", "outcome"]).to_pylist():
                if row["event_id"] == event_id:
                    return str(row["outcome"])
        return None
