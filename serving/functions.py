"""What Lambda calls: ``recommend`` and ``collect`` behind API Gateway's HTTP API, ``drain`` behind the spool's queue.

The same application as the long-running service, without its background work: a function is frozen between requests, so
what the service keeps fresh is read at the beginning of a request when it is older than its period. Pages poll (answers
carry an ETag), because one invocation gives one answer: shelf streams are refused. See docs/lambda.md.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from contracts.settings import Settings, load
from serving.app import create_app
from serving.payload import Answered, body_of, scope_of
from serving.queue import drained
from stores.streams import Stream

__all__ = ["Function", "collect", "drain", "recommend"]

_POINTER_S: Final = 2.0
_CATALOGUE_S: Final = 30.0
_KEYS_S: Final = 60.0

Event = dict[str, Any]


class Function:
    """One execution environment: it answers one request at a time, as Lambda sends them.

    With ``reads`` it looks after what answers are made of; the collector needs none of it, and reaches no Redis.
    """

    def __init__(self, settings: Settings, *, reads: bool, clock: Callable[[], float] = time.monotonic) -> None:
        # A function's disk does not outlive it: nothing accepted may lie there.
        settings = replace(settings, serving=replace(settings.serving, spool_folder=None))
        self._app = create_app(settings, streams=0)
        self._services = self._app.state.services
        self._clock = clock
        self._due = {"keys": clock() + _KEYS_S} | ({"pointer": 0.0, "catalogue": 0.0} if reads else {})
        self._loop = asyncio.new_event_loop()

    def __call__(self, event: Mapping[str, Any]) -> Event:
        """The answer to one request, in payload format 2.0 as the request is."""
        return self._loop.run_until_complete(self._answer(event))

    def warm(self) -> None:
        """Connect, and read what every answer needs: while Lambda starts the environment, before the first request."""
        self._loop.run_until_complete(self._freshen())

    async def _answer(self, event: Mapping[str, Any]) -> Event:
        await self._freshen()
        messages = [{"type": "http.request", "body": body_of(event), "more_body": False}]

        async def receive() -> Event:
            if not messages:  # the client stays: a file's answer ends at once where it hears that nobody listens
                await asyncio.Event().wait()
            return messages.pop()

        answered = Answered()
        await self._app(scope_of(event), receive, answered.send)
        return answered.payload()

    async def _freshen(self) -> None:
        services = self._services
        works: dict[str, tuple[float, Callable[[], Awaitable[None]]]] = {
            "pointer": (_POINTER_S, services.reader.check),
            "catalogue": (_CATALOGUE_S, partial(asyncio.to_thread, services.feed.refresh)),
            "keys": (_KEYS_S, partial(asyncio.to_thread, services.ring.refresh)),
        }
        due = [name for name, at in self._due.items() if self._clock() >= at]
        if due:
            await asyncio.gather(*(works[name][1]() for name in due))
        for name in due:
            self._due[name] = self._clock() + works[name][0]


_ready: dict[str, Any] = {}


def _function(part: str) -> Function:
    if part not in _ready:
        _ready[part] = Function(load(), reads=part == "recommend")
        _ready[part].warm()
    function: Function = _ready[part]
    return function


def recommend(event: Event, context: Any) -> Event:
    """Answers everything but events: shelves, lists, items, pages."""
    return _function("recommend")(event)


def collect(event: Event, context: Any) -> Event:
    """Takes events in; where Kinesis is away they go to the queue of the settings (``spool.queue``), or are 503."""
    return _function("collect")(event)


def drain(event: Event, context: Any) -> Event:
    """Puts the events of the queue's messages on the stream; needs ``ReportBatchItemFailures``."""
    if "drain" not in _ready:
        _ready["drain"] = Stream.from_settings(load())
    return drained(event, _ready["drain"])


# Lambda names the handler here: while it starts an environment there is a full core, and nobody waits.
if (_part := os.environ.get("_HANDLER", "").removeprefix("serving.functions.")) in ("recommend", "collect"):
    _function(_part)
