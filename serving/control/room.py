"""The control room behind its routes: looks at the stream now and then, and asks every part how it is."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from contracts.settings import Settings
from serving.answers import CollectorStatus
from serving.control.answers import Checkpoints, ControlStream
from serving.control.cloudwatch_source import CloudWatchSource
from serving.control.figures import Figures, Source, SourceAway, points
from serving.control.flink_source import FlinkSource
from serving.control.probe import Probe
from serving.control.stored import Stored
from serving.reader import Reader
from stores.aws import client
from stores.tables import Tables

__all__ = ["APPLICATION", "FLINK_URL", "Room", "source_of"]

T = TypeVar("T")

_log = logging.getLogger(__name__)
FLINK_URL: Final = "LIVESHELF_FLINK_URL"
APPLICATION: Final = "LIVESHELF_FLINK_APPLICATION"
"""The name of the managed application, whose figures CloudWatch keeps; Flink's own address goes before it."""
_EVERY_S: Final = 4.0
_KEPT: Final = 450  # looks: half an hour
_WATCHED_S: Final = 120.0
_LIMIT_S: Final = 4.0
_NO_SOURCE: Final = (
    f"this process knows no stream: set {FLINK_URL} to Flink's address, or {APPLICATION} to the managed application's "
    "name"
)


def source_of(settings: Settings) -> Source | None:
    """Where the stream's figures come from in this deployment."""
    if url := os.environ.get(FLINK_URL):
        return FlinkSource(url)
    if application := os.environ.get(APPLICATION):
        return CloudWatchSource.from_settings(settings, application)
    return None


class Room:
    """One a process. A local Flink is looked at all the time, so that charts have a past when somebody comes;
    CloudWatch, which remembers and costs, only while somebody is there."""

    def __init__(self, settings: Settings, reader: Reader, source: Source | None = None) -> None:
        self.settings, self.reader = settings, reader
        self.probe = Probe(reader.redis)
        self.stored = Stored(settings)
        self.tables = Tables.from_settings(settings, timeout_s=2.0)
        self.kinesis = client("kinesis", settings, read_timeout_s=2.0, attempts=1, pool=2)
        self._source = source or source_of(settings)
        self._pool = ThreadPoolExecutor(8, "control")
        self._looks: deque[tuple[int, dict[str, float]]] = deque(maxlen=_KEPT)
        self._newest: Figures | None = None
        self._problem = "" if self._source else _NO_SOURCE
        self._watched_until = 0.0
        self._looked_at = -60.0

    async def keep(self) -> None:
        """Look until cancelled."""
        while True:
            if self._source and (self._source.name == "flink" or time.monotonic() < self._watched_until):
                await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self, limit_s: float = 3 * _LIMIT_S) -> None:
        """One look at the stream."""
        assert self._source is not None
        self._looked_at = time.monotonic()
        try:
            figures = await self.within(self._source.look, limit_s)
        except (SourceAway, TimeoutError) as exc:
            self._problem = str(exc) or f"no answer of {self._source.name} within {limit_s:.0f} s"
            self._newest = None
            return
        self._problem, self._newest = "", figures
        self._looks.append((self.reader.now_ms(), figures.values))

    async def within(self, call: Callable[[], T], seconds: float = _LIMIT_S) -> T:
        """A blocking call in a thread. Raises TimeoutError; the thread ends by the call's own time-out."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        return await asyncio.wait_for(future, seconds)

    async def stream(self, collector: CollectorStatus) -> ControlStream:
        """The stream's figures; what is away is told in ``problem``."""
        self._watched_until = time.monotonic() + _WATCHED_S
        # Where nothing looks in the background (a function is frozen between requests), the question itself does.
        if self._source and time.monotonic() - self._looked_at > 3 * _EVERY_S:
            await self.look(_LIMIT_S)
        newest = self._newest
        history = (newest.history if newest else []) or points(self._looks)
        dashboard = os.environ.get(FLINK_URL) or None
        return ControlStream(
            source=self._source.name if self._source else "none",  # type: ignore[arg-type]
            problem=self._problem,
            dashboard=dashboard,
            job=newest.job if newest else None,
            checkpoints=newest.checkpoints if newest else Checkpoints(),
            figures=newest.values if newest else {},
            operators=newest.operators if newest else [],
            history=history,
            freshness=self.probe.view(),
            accepted=collector.accepted,
            refused=collector.rejected,
            failed=collector.failed,
        )

    @property
    def newest(self) -> tuple[Figures | None, str]:
        """The last look and why there is none."""
        return self._newest, self._problem

    def shard_count(self) -> Any:
        """What Kinesis says of the stream."""
        return self.kinesis.describe_stream_summary(StreamName=self.settings.stream_name)["StreamDescriptionSummary"]

    def close(self) -> None:
        """Give the threads back."""
        self.probe.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
