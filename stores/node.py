"""One connection to one Redis server for all requests of an event loop: what is asked at the same time goes together.

Commands that are given within one turn of the loop leave in one write, and answers come back in order, so a request
costs no thread, no lock and no connection of its own. hiredis packs and reads.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis

from contracts.errors import StoreError
from stores.login import CONNECTION_LIFE_S
from stores.scripts import Command

__all__ = ["Login", "Node"]

Login = Callable[[], tuple[str, str]]
"""Name and password."""

_INCOMPLETE: Final = object()
_STUCK_S: Final = 2.0
_MOST_WAITING: Final = 10_000


class _Call:
    """Answers that one caller waits for."""

    __slots__ = ("answers", "count", "future", "since")

    def __init__(self, count: int, future: "asyncio.Future[list[Any]]", since: float) -> None:
        self.count, self.future, self.since = count, future, since
        self.answers: list[Any] = []


class _Link(asyncio.Protocol):
    """One connection, from its making to its end; it is not used again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._calls: deque[_Call] = deque()
        self._out: list[bytes] = []

    def stuck(self, now: float) -> bool:
        """Whether it is time to give it up."""
        calls = self._calls
        return bool(calls) and (len(calls) >= _MOST_WAITING or now - calls[0].since > _STUCK_S)

    def send(
        self, loop: asyncio.AbstractEventLoop, commands: Sequence[Command], future: "asyncio.Future[list[Any]]"
    ) -> None:
        """Put the commands into the write of this turn of the loop."""
        self._calls.append(_Call(len(commands), future, loop.time()))
        if not self._out:
            loop.call_soon(self._flush)
        self._out += map(hiredis.pack_command, commands)

    def _flush(self) -> None:
        out, self._out = b"".join(self._out), []
        if self._transport is not None:
            self._transport.write(out)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to be asked."""
        self._transport, self.open = cast("asyncio.Transport", transport), True

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who wait, in the order in which they asked."""
        reader, calls = self._reader, self._calls
        try:
            reader.feed(data)
            while calls and (answer := reader.gets()) is not _INCOMPLETE:
                call = calls[0]
                call.answers.append(answer)
                if len(call.answers) == call.count:
                    calls.popleft()
                    if not call.future.done():
                        call.future.set_result(call.answers)
        except hiredis.ProtocolError as exc:
            self.abort(f"it does not speak Redis: {exc}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._end(str(exc or "closed"))

    def abort(self, why: str) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    def _end(self, why: str) -> None:
        self._transport, self.open, self._out = None, False, []
        waiting, self._calls = self._calls, deque()
        for call in waiting:
            if not call.future.done():
                message = f"the connection to Redis at {self.name} ended: {why}"
                call.future.set_exception(StoreError(message))


class Node:
    """A server; connects when it is first asked, and again after the connection broke.

    A caller whose time is over is told so, while the connection stays: the answer is taken off it when it comes. Only
    where nothing came for two seconds it is ended, and whoever waits is told.

    Args:
        login: gives name and password whenever a connection is opened.
        life_s: how old a connection with a login may become; the next one is opened behind the callers' backs.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        login: Login | None = None,
        life_s: float = CONNECTION_LIFE_S,
    ) -> None:
        self.host, self.port, self._tls, self._login, self._life_s = host, port, tls, login, life_s
        self._link = _Link(self.name)
        self._renew_at = float("inf")
        self._connecting: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    async def call(self, commands: Sequence[Command], timeout_s: float) -> list[Any]:
        """The answers in the order of the commands; an error answer is an exception among them.

        Raises:
            StoreError: the server did not answer in time, or the connection broke.
        """
        loop = asyncio.get_running_loop()
        if self._link.stuck(loop.time()):
            self._link.abort(f"no answer for {_STUCK_S:.0f} s")
        future: asyncio.Future[list[Any]] = loop.create_future()
        timer = loop.call_later(timeout_s, self._expire, future, timeout_s)
        try:
            if not self._link.open:
                await self._connected(loop, future)
            elif loop.time() >= self._renew_at:
                self._connect_once(loop)
            self._link.send(loop, commands, future)
            return await future
        finally:
            timer.cancel()

    def _expire(self, future: "asyncio.Future[list[Any]]", timeout_s: float) -> None:
        if not future.done():
            message = f"Redis at {self.name} did not answer within {timeout_s * 1000:.0f} ms"
            future.set_exception(StoreError(message))

    async def _connected(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[list[Any]]") -> None:
        """Wait for the connection, but not beyond the caller's time."""
        connecting = self._connect_once(loop)
        await asyncio.wait((connecting, future), return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            future.result()
        if (error := connecting.exception()) or not self._link.open:
            message = f"no connection to Redis at {self.name}: {error}"
            raise StoreError(message) from error

    def _connect_once(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Task[None]":
        if self._connecting is None or self._connecting.done():
            self._connecting = loop.create_task(self._connect(loop))
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen, if by nobody
        return self._connecting

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        link = _Link(self.name)
        host = self.host if self._tls else None
        connecting = loop.create_connection(lambda: link, self.host, self.port, ssl=self._tls, server_hostname=host)
        await asyncio.wait_for(connecting, _STUCK_S)
        if self._login is not None:
            answered: asyncio.Future[list[Any]] = loop.create_future()
            link.send(loop, [("AUTH", *self._login())], answered)
            (answer,) = await asyncio.wait_for(answered, _STUCK_S)
            if isinstance(answer, Exception):
                link.abort("the login was refused")
                message = f"Redis at {self.name} refused the login: {answer}; check redis.user and redis.cache"
                raise StoreError(message)
            self._renew_at = loop.time() + self._life_s
        before, self._link = self._link, link
        loop.call_later(_STUCK_S, before.abort, "renewed")  # whoever waits on it has had an answer by then

    def close(self) -> None:
        """Give the connection up."""
        if self._connecting is not None:
            self._connecting.cancel()
        self._link.abort("closed")
