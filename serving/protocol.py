"""uvicorn's HTTP protocol with bounds that it lacks: how large a head may be, and how slowly a request may come."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.answers import ErrorAnswer, ErrorBody
from serving.replies import encode

__all__ = ["MAX_HEAD", "MAX_URL", "BoundedProtocol"]

MAX_URL: Final = 8 * 1024
MAX_HEAD: Final = 32 * 1024
_MAX_HEADERS: Final = 100
_PATIENCE_S: Final = 20.0
_LEAST_BYTES: Final = 64 * 1024
"""What must arrive of a request in each period of patience, until it is whole."""

_PHRASES: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
}


class _TooMuch(Exception):
    """Raised within the parser's callbacks; it ends the parsing."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers what breaks a bound, or is no HTTP, with a typed error and closes the connection."""

    patience_s = _PATIENCE_S

    def connection_made(self, transport: Any) -> None:
        """A client has connected: from now on it has to send something."""
        super().connection_made(transport)
        self._head = self._count = self._came = 0
        self._refusal: tuple[int, str, str] | None = None
        self._whole = False
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(self.patience_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request, or of several."""
        self._came += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head = self._count = self._came = 0
        self._whole = False
        if self._timer is None:
            self._timer = self.loop.call_later(self.patience_s, self._look)

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        if len(self.url) + len(url) > MAX_URL:
            self._refuse(414, "address_too_long", f"the address is over {MAX_URL} bytes")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._head += len(name) + len(value) + 4
        self._count += 1
        if self._head > MAX_HEAD or self._count > _MAX_HEADERS:
            self._refuse(431, "headers_too_large", f"over {MAX_HEAD} bytes or {_MAX_HEADERS} headers")
        super().on_header(name, value)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._whole = True
        self._stop()
        super().on_message_complete()

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._refusal = status, code, message
        raise _TooMuch(message)

    def send_400_response(self, msg: str) -> None:
        """The answer to what the parser refused."""
        status, code, message = self._refusal or (400, "bad_request", "this is no HTTP request that can be read")
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._say(status, code, message)
        self.transport.close()

    def _say(self, status: int, code: str, message: str) -> None:
        body = encode(ErrorAnswer(ErrorBody(code, message)))
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, _PHRASES[status], len(body)) + body)

    def _look(self) -> None:
        """Once a period: a request that is not whole must have grown."""
        self._timer = None
        if self._whole or self.transport.is_closing():
            return
        if self._came >= _LEAST_BYTES:
            self._came = 0
            self._timer = self.loop.call_later(self.patience_s, self._look)
            return
        if self.cycle is None or not self.cycle.response_started:
            self._say(408, "too_slow", f"the request was not whole within {self.patience_s:.0f} s")
        self.transport.close()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
