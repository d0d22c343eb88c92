"""Brings the whole loop up in the order in which its parts need each other, telling each stage's time."""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from contracts.keys import user_key
from contracts.lists import decode_user
from local import fill, journey, toolchain
from local.clients import Api
from local.health import wait_until
from local.probe_events import Sender
from local.replay import Collector, Replay, held_out
from local.replay_plan import Line, Sendable
from local.retrain import Trainer
from local.stack import Stack
from stores.cluster import Cluster
from stores.objects import Objects
from stores.streams import Stream

__all__ = ["Loop", "Source", "whole_line"]


def whole_line(text: str) -> None:
    """Print a line in one piece, because stages that run side by side both tell how they get on."""
    sys.stdout.write(f"{text}\n")


class Source(Protocol):
    """Data to fill the lake with instead of the default data; see :class:`local.eventlog.OwnLog`."""

    def prepare(self, now: datetime, say: Callable[[str], None]) -> Path:
        """A folder of objects for :func:`local.fill.upload`."""
        ...

    def lines(self, folder: Path) -> Sequence[Sendable]:
        """Its newest part, kept out of the lake, for the replay."""
        ...


class Loop:
    """The running loop: stores, lake, model, Flink job and HTTP service; a context manager.

    ``url`` is the storefront's address, ``job`` the Flink job's id, ``filled`` what the initial lake holds.
    With ``keys`` the service asks for API keys, which are then in :attr:`keys`, see :meth:`Stack.make_keys`.
    Without a ``source`` the lake is filled with the default data.
    """

    def __init__(
        self,
        say: Callable[[str], None] = whole_line,
        data: Path | None = None,
        source: Source | None = None,
        keys: bool = False,
    ) -> None:
        self._say = say
        self._source = source
        self._with_keys = keys
        self.keys: dict[str, str] = {}
        self.began = time.monotonic()
        self.stack = Stack(say, data)

    def __enter__(self) -> Self:
        self.stack.__enter__()
        try:
            self._start()
        except BaseException as exc:
            self.stack.__exit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.trainer.stop()
        self.redis.close()
        self.stack.__exit__(kind, error, trace)

    @property
    def seconds(self) -> dict[str, float]:
        """How long each stage took; ``first_live`` is since the start of the program."""
        return self.stack.seconds

    def _start(self) -> None:
        stack = self.stack
        stack.stage("toolchain", stack.fetch_jars)
        stack.stage("stores", stack.start_stores)
        self.now = datetime.now(UTC)
        self.objects = Objects.from_settings(stack.settings)
        self.redis = Cluster.from_settings(stack.settings)
        spark_jars = ":".join(map(str, stack.jars.spark))
        env = {**stack.environment, "JAVA_HOME": str(toolchain.java_home()), "LIVESHELF_SPARK_JARS": spark_jars}
        # The defaults are what the search chose for the default data, which does not change: no minutes for it again.
        arguments = ("--search", "never") if self._source is None else ()
        self.trainer = Trainer(env, stack.supervisor.data / "logs" / "trainer.log", self._say, arguments)
        # Filling keeps a core busy, starting Flink mostly waits: together they take as long as the longer one.
        with ThreadPoolExecutor(1) as aside:
            flink = aside.submit(stack.stage, "flink", stack.start_flink)
            self.filled = stack.stage("lake", self._fill)
            flink.result()
            submitted = aside.submit(stack.stage, "job", stack.submit)
            self.trained = stack.stage("model", lambda: self.trainer.train(echo=True))
            self.job: str = submitted.result()
        stack.start_delivery()
        self.keys = stack.make_keys() if self._with_keys else {}
        self.url: str = stack.stage("serving", stack.start_serving)

    def _fill(self) -> fill.Filled:
        if self._source is None:
            folder = fill.prepare(self.now, say=self._say)
        else:
            folder = self._source.prepare(self.now, lambda _: None)  # whoever named it has told what is in it
        self._prepared = folder
        return fill.upload(folder, self.objects, say=self._say)

    def live_traffic(self) -> Sequence[Sendable]:
        """What the demo replays: what the lake's data goes on with, unseen by the first model."""
        if self._source is None:
            return self.held_out(self.parts.replay + self.parts.test)
        return self._source.lines(self._prepared)

    def held_out(self, weeks: Sequence[int]) -> list[Line]:
        """The lines of held-out weeks."""
        return held_out(weeks, self.now)

    def replay(self, lines: Sequence[Sendable], collector: Collector, rate: float, **options: Any) -> Replay:
        """A replay of lines through the collector; malformed records go straight to the stream."""
        return Replay(lines, collector, Stream.from_settings(self.stack.settings), rate=rate, **options)

    def await_first_live(self, subject: str, seconds: float = 120.0) -> None:
        """Wait until a person's live list is there, and note how long that took since the start."""

        def live() -> bool:
            value = self.redis.get_many([user_key("default", subject)])[0]
            return value is not None and decode_user(value).live is not None

        wait_until(live, "the first live recommendation", seconds=seconds)
        self.seconds["first_live"] = round(time.monotonic() - self.began, 1)

    def await_version(self, version: str, prefix: str, seconds: float = 60.0) -> None:
        """Wait until a new visitor's live list is of this model version: the running job has taken it up."""
        sender = Sender(Api(self.url), f"{prefix}-switch")
        item = str(self.held_out(self.parts.replay[:1])[0].product)
        visitor = f"{prefix}-switch"

        def switched() -> bool:
            sender.send([sender.event("view", item, visitor=visitor)])
            value = self.redis.get_many([user_key("default", f"a.{visitor}")])[0]
            live = decode_user(value).live if value else None
            return live is not None and live.model_version == version

        wait_until(switched, f"the Flink job's switch to model {version}", seconds=seconds, every=0.5)

    @property
    def parts(self) -> journey.Split:
        """Which weeks of the data are history, live traffic and test."""
        return journey.split()
