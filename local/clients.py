"""A small HTTP client of the collector and the shelf, over one kept connection: what the replay and the probes use."""

import http.client
import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from contracts.errors import StoreError
from serving.answers import EventsAnswer, Shelf
from stores.retry import delays

__all__ = ["KEY_VARIABLE", "MAX_EVENTS", "Api", "Posted"]

KEY_VARIABLE: Final = "LIVESHELF_KEY"
"""Names the API key that is shown, where the service asks for one."""

MAX_EVENTS: Final = 500
"""The collector's limit of one request."""

_BROKEN: Final = (http.client.HTTPException, OSError)
_THROTTLED: Final = "ProvisionedThroughputExceededException"

_events = msgspec.json.Decoder(EventsAnswer).decode
_shelf = msgspec.json.Decoder(Shelf).decode


@dataclass
class Posted:
    """The outcome of a request, in order: ``refused`` maps the position of what was not taken to the reason.

    ``uncertain`` counts records that were sent again although their first sending may have arrived.
    """

    count: int
    received_at: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    uncertain: int = 0


class Api:
    """One connection to the API at ``base_url`` (``http://host:port``); not to be shared between threads.

    A context manager; the connection opens when first used.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 10.0, attempts: int = 6) -> None:
        address = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
        self._attempts = attempts

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; it opens again when used."""
        self._connection.close()

    def post_events(self, events: Sequence[bytes]) -> Posted:
        """Send up to 500 encoded events; what the stream did not take, or could not be sent, is sent again.

        Raises:
            StoreError: the collector did not answer after all attempts, or refused the request as a whole.
        """
        posted, pending, cause = Posted(len(events)), list(range(len(events))), "no attempt was made"
        for _ in delays(self._attempts, base_s=0.2):
            body = b"[" + b",".join(events[i] for i in pending) + b"]"
            try:
                status, data = self._ask("POST", "/v1/events", body)
            except ConnectionRefusedError as exc:
                cause = repr(exc)
                continue
            except _BROKEN as exc:
                cause, posted.uncertain = repr(exc), posted.uncertain + len(pending)
                continue
            cause = f"status {status}: {data[:200]!r}"
            if status not in (200, 422, 429, 503):  # 422: looked at, and each refused
                break
            if b'"results"' not in data[:20]:
                continue  # overloaded: nothing was looked at
            pending = _note(posted, pending, _events(data))
            if not pending:
                return posted
        message = f"the collector did not take {len(pending)} events: {cause}; see its log"
        raise StoreError(message)

    def shelf(self, subject: str, *, n: int = 20, hide_bought: bool = True) -> Shelf:
        """The shelf of a subject: ``u.<user>`` or ``a.<anonymous visitor>``, as in :func:`contracts.ids.subject_of`.

        Raises:
            StoreError: the API did not answer with a shelf after all attempts.
        """
        kind = {"u": "users", "a": "visitors"}[subject[0]]
        path = f"/v1/{kind}/{quote(subject[2:], safe='')}/recommendations?n={n}&filter={str(hide_bought).lower()}"
        cause = ""
        for _ in delays(self._attempts, base_s=0.1):
            try:
                status, data = self._ask("GET", path)
            except _BROKEN as exc:
                cause = repr(exc)
                continue
            if status == 200:
                return _shelf(data)
            cause = f"status {status}: {data[:200]!r}"
        message = f"no shelf at {path}: {cause}; see the API's log"
        raise StoreError(message)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body else {}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        try:
            if self._connection.sock is not None and _closed(self._connection.sock):
                self._connection.close()  # a kept connection that timed out while idle
            self._connection.request(method, path, body, headers)
            with self._connection.getresponse() as answer:
                return answer.status, answer.read()
        except _BROKEN:
            self._connection.close()
            raise


def _closed(connection: socket.socket) -> bool:
    """Whether the other side has hung up: then a request would be lost, and nobody could say whether it arrived.

    Nothing is expected between an answer and the next request, so whatever can be read there is the end.
    """
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _note(posted: Posted, pending: list[int], answer: EventsAnswer) -> list[int]:
    """Enter the outcomes; return the positions to send again."""
    posted.received_at = answer.received_at
    again = []
    for position, result in zip(pending, answer.results, strict=True):
        if result.status == "rejected":
            posted.refused[position] = f"{result.reason}: {result.message}"
        elif result.status == "failed":
            again.append(position)
            posted.uncertain += result.reason != _THROTTLED
    return again
